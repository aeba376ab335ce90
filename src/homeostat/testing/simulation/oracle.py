"""What must hold, judged by what really happened in the run and not by what any flow believes.

`after_event` looks at every new entry of the ledger; `at_rest` at a world that was left alone for long
enough. Both return what is wrong, in words.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from datetime import datetime, timedelta
from typing import Any

from homeostat.adapters.store.documents import encode_proposal
from homeostat.adapters.store.row_digest import row_digest
from homeostat.adapters.story import unlike_row
from homeostat.audit.checkpoint import CHECKPOINT_TRAILER, ledger_key
from homeostat.audit.head import TRAILER_KEY
from homeostat.audit.proposal_story import PROPOSAL_PREFIX
from homeostat.audit.story import StoryInputs, verify_story
from homeostat.audit.story_parts import BackupResult, StoryPart, named_commits
from homeostat.core.ids import ProcessId, ProposalId
from homeostat.flows.applying import change_of
from homeostat.flows.deps import Deps
from homeostat.flows.observing import look
from homeostat.flows.surveying import Places, survey
from homeostat.model.ledger import LedgerEntry
from homeostat.model.proposal import Application, Proposal, ProposalState
from homeostat.ports.signer import Signer
from homeostat.proposals.markdown import record_path
from homeostat.rollout.invariants import violations
from homeostat.rollout.observation import Hold
from homeostat.testing.memory_repository import MemoryRepository
from homeostat.testing.memory_tree import nodes_of
from homeostat.testing.simulation.fleet import Fleet, SimulatedProcess
from homeostat.testing.simulation.people import Journal
from homeostat.testing.simulation.program import KINDS, failing_share, reply, sources_at
from homeostat.testing.simulation.trace import Trace
from homeostat.testing.simulation.trials import Trials

S = ProposalState

CLEAR_HARM = 0.2
"""A rise of the failing share that nobody may overlook, where enough was seen before."""

_UNSEEN_S = 4.0
"""How long the steps between the last look at the processes and the word *reverted* may take in bad weather."""

_LATE_S = 15.0
"""How long a process that is there again may lack a change in force: a look for late ones, and its weather."""

_LOOKS_S = 60.0
"""How long after the end of its window a change is judged at the latest, where nothing goes wrong."""

_RESTING = frozenset(
    {
        S.AWAITING_APPROVAL,
        S.APPROVED,
        S.IMPLEMENTED,
        S.REVERTED,
        S.BLOCKED,
        S.REJECTED,
        S.DEFERRED,
        S.FAILED,
        S.OBSERVING,
        S.CANARY,
    }
)
_UNDECIDED = frozenset({S.AWAITING_APPROVAL, S.DEFERRED, S.APPROVED, S.CANARY})


class Oracle:
    """Knows the truth of one run: the world without its weather, and what everybody really did."""

    def __init__(
        self,
        *,
        world: Deps,
        repository: MemoryRepository,
        fleet: Fleet,
        journal: Journal,
        trace: Trace,
        signer: Signer,
        stormy: Callable[[], bool],
    ) -> None:
        self._world = world
        self._repository = repository
        self._fleet = fleet
        self._journal = journal
        self._trace = trace
        self._signer = signer
        self._stormy = stormy
        self._trials = Trials(world=world, repository=repository, fleet=fleet, harm_of=self._harm_of)
        self._seen = 0
        self._states: dict[str, str] = {}
        self._connected_at: dict[str, dict[ProcessId, int]] = {}
        """By proposal that is being taken back: the processes that were connected at the start, and their losses."""

        self._moved_on: dict[str, bool] = {}
        self._brought_back: dict[str, frozenset[ProcessId]] = {}
        """By proposal that was taken back in processes only: those that were there then."""

    # After each event

    def after_event(self) -> list[str]:
        wrong: list[str] = []
        for entry in self._world.ledger.entries(after=self._seen):
            self._seen = entry.seq
            if "to" in entry.body and entry.kind.startswith(PROPOSAL_PREFIX):
                wrong += self._moved(entry)
            else:
                self._trace.line("ledger", f"{entry.kind} {entry.subject[-8:]}")
        return [*wrong, *self._trials.after_event()]

    def _moved(self, entry: LedgerEntry) -> Iterator[str]:
        row = self._world.proposals.get(ProposalId(entry.subject))
        if row is None:
            yield f"{entry.subject} has an entry and no row"
            return
        name, to = row.id[-3:], str(entry.body["to"])
        reason = row.state_reason if row.version == entry.body["version"] else ""
        self._trace.line("ledger", f"{name} {entry.kind.removeprefix('proposal.')} -> {to}: {reason[:150]}")
        if entry.body["from"] != self._states.get(row.id, ""):
            yield f"{name} moved from {entry.body['from']!r}, though it was {self._states.get(row.id)!r}"
        before, self._states[row.id] = self._states.get(row.id, ""), to
        yield from self._trials.moved(row, entry)
        if to == S.IMPLEMENTED:
            yield from self._implemented(row)
        if to == S.REVERTED:
            yield from self._reverted(row)
        if to == S.REVERTING and before != to:
            self._connected_at[row.id] = {process.id: process.losses for process in self._connected()}
            self._moved_on[row.id] = self._has_moved_on(row)
        if to == S.FAILED and entry.kind == "proposal.revert_aborted":
            yield from self._taken_back_in_processes_only(row)

    def _implemented(self, row: Proposal) -> Iterator[str]:
        application = row.application
        assert application is not None and application.observed_from is not None
        name = row.id[-3:]
        needed = self._world.settings.observation.min_requests
        served = self._fleet.requests_since(application.observed_from)
        if served < needed:
            yield f"{name} is implemented after {served} requests, though {needed} are needed"
        harm = self._harm_of(row)
        before, after = self._failed_before(application), self._failed_since(application.observed_from)
        if harm > CLEAR_HARM and self._failing_now() > CLEAR_HARM and before < 0.1 and after > before + CLEAR_HARM / 2:
            yield f"{name} is implemented, though {after:.0%} of its requests failed, {before:.0%} before"
        for process in self._connected():
            if process.connected_for_s(self._world.clock.now()) < _LATE_S:
                continue  # it was asked to take the change, once; in bad weather it is asked again
            old = self._runs(process, row, before=True)
            if old:
                yield f"{name} is implemented, and process {process.id[-3:]} still runs the old {old}"

    def _reverted(self, row: Proposal) -> Iterator[str]:
        for process in self._connected():
            if process.connected_for_s(self._world.clock.now()) < _UNSEEN_S:
                continue  # it came after the last look; whether it is brought in line is seen at the end
            new = self._runs(process, row, before=False)
            if new:
                yield f"{row.id[-3:]} is reverted, and process {process.id[-3:]} still runs its {new}"

    def _taken_back_in_processes_only(self, row: Proposal) -> Iterator[str]:
        """Look whether the files really were somebody else's by then, and the processes really brought back."""
        self._brought_back[row.id] = frozenset(self._fleet.processes)
        if not (self._moved_on.get(row.id) or self._has_moved_on(row)):
            yield f"{row.id[-3:]} was not taken back on disk, though nobody had touched its files"
        there = self._connected_at.get(row.id, {})
        for process in self._connected():
            if there.get(process.id) != process.losses or f"process {process.pid} " in row.state_reason:
                continue
            for item in change_of(self._world, row).files:
                if item.before is None or item.after is None or item.before.content == item.after.content:
                    continue
                if self._fleet.sources(process).get(item.path) == item.after.content.decode():
                    name = process.id[-3:]
                    yield f"{row.id[-3:]} is said to be out of the processes, and {name} runs its {item.path}"

    def _harm_of(self, row: Proposal) -> float:
        intent = self._journal.submitted.get(row.id)
        return intent.harm if intent is not None else 0.0

    def _has_moved_on(self, row: Proposal) -> bool:
        """Tell whether head, index or checkout are not as the change left them, or a move was left half done."""
        return bool(self._world.deployed.drift(change_of(self._world, row).inverse())) or self._repository.half_moved

    def _failed_before(self, application: Application) -> float:
        since = application.at - timedelta(seconds=self._world.settings.observation.baseline_s)
        before = [item for item in self._fleet.served if since <= item.start and item.end <= application.at]
        requests = sum(item.requests for item in before)
        return 1.0 if self._stormy() or not requests else sum(item.errors for item in before) / requests

    def _failed_since(self, since: datetime) -> float:
        """Return the share that failed of what was told and kept: what is stuck, or was lost, has none to show."""
        ticks = self._world.vitals.ticks(since=since, until=self._world.clock.now())
        after = [tick for tick in ticks if tick.start >= since]
        return sum(tick.errors for tick in after) / max(sum(tick.requests for tick in after), 1)

    def _failing_now(self) -> float:
        """Return the failing share of what is on disk: a later change may have mended an earlier one's harm."""
        return failing_share(sources_at(self._repository.disk))

    def _connected(self) -> list[SimulatedProcess]:
        return [process for process in self._fleet.processes.values() if process.connected]

    def _runs(self, process: SimulatedProcess, row: Proposal, *, before: bool) -> str:
        """Return the first changed file of which a process runs exactly this side."""
        for item in change_of(self._world, row).files:
            side, other = (item.before, item.after) if before else (item.after, item.before)
            if self._repository.disk.get(item.path) != other:
                continue  # somebody went on from there
            running = self._fleet.sources(process).get(item.path)
            if side is not None and other is not None and running == side.content.decode() != other.content.decode():
                return item.path
        return ""

    # At the end

    def at_rest(self, troubles: Mapping[str, str]) -> list[str]:
        rows = self._world.proposals.find(limit=10_000)
        wrong = [f"trouble was left: {activity}: {text}" for activity, text in sorted(troubles.items())]
        for row in rows:
            wrong += self._unrested(row)
        wrong += self._lost(rows)
        wrong += self._violations()
        wrong += self._tree()
        wrong += self._processes()
        wrong += self._trials.left_over()
        wrong += [f"check {check.number} of the story: {check.detail}" for check in self._story(rows) if not check.ok]
        wrong += self._journal.wrongly_allowed
        wrong += [f"the record of {name[-3:]} lags" for name, _ in self._world.records.pending_records()]
        undecided = {row.id for row in rows if row.state in _UNDECIDED}
        wrong += [
            f"{name[-3:]} still has a branch" for name in self._world.candidates.proposals() if name not in undecided
        ]
        return wrong

    def _unrested(self, row: Proposal) -> Iterator[str]:
        name = row.id[-3:]
        if row.state not in _RESTING or (row.state is S.APPROVED and row.apply_requested):
            yield f"{name} is still {row.state.value}: {row.state_reason}"
        if row.state is S.CANARY:
            yield from self._trials.at_rest(row)
        if row.state is not S.OBSERVING:
            return
        seen = look(self._world, row)
        # What was tried on a share for long has gone live only a moment ago.
        if not isinstance(seen.judgement, Hold) and seen.elapsed_s > seen.window_s + _LOOKS_S:
            yield f"{name} is still observing, though it can be judged: {seen.judgement.reason}"
        intent = self._journal.submitted.get(row.id)
        known = seen.baseline.requests >= 100 and seen.baseline.errors < 0.1 * seen.baseline.requests
        harmed = seen.after.requests >= 100 and seen.after.errors > 0.15 * seen.after.requests
        if intent is not None and intent.harm > CLEAR_HARM and known and harmed:
            yield f"{name} ({intent.kind}) is still in force: {seen.judgement.reason}"

    def _violations(self) -> Iterator[str]:
        """Yield what `homeostat doctor` would say of this world."""
        world = self._world
        places = Places(**{item.name: getattr(world, item.name) for item in fields(Places)})
        for item in violations(survey(places, now=world.clock.now, processes=world.live.processes)):
            if item.level == "fail":
                yield f"invariant {item.number} of {item.subject[-3:]}: {item.detail}"

    def _lost(self, rows: Any) -> Iterator[str]:
        by_id = {row.id: row for row in rows}
        kinds: dict[str, set[str]] = {}
        digests: dict[str, set[object]] = {}
        for entry in self._world.ledger.entries(limit=1_000_000):
            kinds.setdefault(entry.subject, set()).add(entry.kind)
            if entry.kind == "proposal.approved":
                digests.setdefault(entry.subject, set()).add(entry.body["change_seen"])
        for name in self._journal.submitted:
            if name not in by_id:
                yield f"{name[-3:]} was accepted and is lost"
        for name, digest in self._journal.approved.items():
            if digest not in digests.get(name, ()):
                yield f"the approval of {name[-3:]} is lost"
        for name in self._journal.apply_accepted:
            if not kinds.get(name, set()) & {"proposal.apply_started", "proposal.apply_failed", "proposal.rejected"}:
                yield f"{name[-3:]} was to be applied, and nothing came of it"
        for name in self._journal.revert_accepted:
            if not kinds.get(name, set()) & {"proposal.reverted", "proposal.revert_aborted"}:
                yield f"{name[-3:]} was to be reverted, and nothing came of it"

    def _tree(self) -> Iterator[str]:
        head = self._repository.at(self._repository.branches[self._repository.deployed]).tree
        for path in sorted(head.keys() | self._repository.index.keys() | self._repository.disk.keys()):
            sides = [place.get(path) for place in (head, self._repository.index, self._repository.disk)]
            if sides[0] != sides[1] or sides[0] != sides[2]:
                yield f"{path} is not the same in head, index and checkout"

    def _processes(self) -> Iterator[str]:
        right: dict[str, list[tuple[str, frozenset[ProcessId] | None]]] = {
            path: [(source, None)] for path, source in sources_at(self._repository.disk).items()
        }
        for row in self._world.proposals.find(states=frozenset({S.FAILED}), limit=10_000):
            # Taken back in the processes that were there only, because the files had moved on: a person must decide.
            there = self._brought_back.get(row.id, frozenset())
            for item in change_of(self._world, row).files if there else ():
                if item.path in right and item.before is not None:
                    right[item.path].append((item.before.content.decode(), there))
        for process in self._fleet.processes.values():
            for path, source in self._fleet.sources(process).items():
                texts = [source, *(text for text, there in right[path] if there is None or process.id in there)]
                answers = [[reply(text, path, kind).value for kind in KINDS] for text in texts]
                if answers[0] not in answers[1:]:
                    yield f"process {process.id[-3:]} does not run what {path} says"

    def _story(self, rows: Any) -> Any:
        world = self._world
        trailers = world.record_branch.trailers(TRAILER_KEY)
        entries = world.ledger.entries(limit=1_000_000)
        part = StoryPart(
            proposals=rows,
            entries=entries,
            row_digests={row.id: row_digest(encode_proposal(row)) for row in rows},
            backups=[self._backup(row.application) for row in rows if row.application is not None],
            commits=frozenset(name for name in named_commits(rows) if name in self._repository.commits),
            records=list(self._unlike_records(rows)),
        )
        inputs = StoryInputs(
            entries=entries,
            parts=[part],
            db_head=world.ledger.head(),
            head_file=world.ledger.head(),
            trailers=trailers,
            nodes=nodes_of(entries),
            checkpoints=world.record_branch.trailers(CHECKPOINT_TRAILER),
            kept=(),
            key=ledger_key(self._signer.public_key()),
            later_trailers=trailers,
            verify=self._signer.verify,
            unrecorded=frozenset(name for name, _ in world.records.pending_records()),
            actors=world.actors.list_actors(),
            token_digests={},
            problems={},
        )
        return verify_story(inputs)

    def _unlike_records(self, rows: Sequence[Proposal]) -> Iterator[str]:
        unrecorded = {name for name, _ in self._world.records.pending_records()}
        for row in rows:
            path = record_path(row)
            if row.id not in unrecorded and (line := unlike_row(path, self._world.record_branch.read(path), row)):
                yield line

    def _backup(self, application: Application) -> BackupResult:
        kept = self._world.backups.load(application.backup)
        tree = self._repository.at(application.before_commit).tree
        intact = all(tree.get(item.old_path) == item.before for item in kept.files)
        return BackupResult(name=application.backup, intact=intact, detail="the kept bytes are others")
