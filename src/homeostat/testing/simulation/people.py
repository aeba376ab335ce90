"""Whoever stands around a hub: bots that propose good and harmful changes, a slow owner, a user who also commits."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from homeostat.core.digests import Digest, digest_bytes
from homeostat.core.ids import FindingId, ProposalId
from homeostat.flows.applying import request_apply
from homeostat.flows.deciding import approve, defer, reject, resume
from homeostat.flows.deps import Deps
from homeostat.flows.observing import accept
from homeostat.flows.proposing import Submission, submit
from homeostat.flows.restarting import AskedRestart, request_restart
from homeostat.flows.reverting import request_revert
from homeostat.model.change import REGULAR, FileState
from homeostat.model.proposal import MUST_RESTART, Proposal, ProposalState
from homeostat.model.verdict import Denied
from homeostat.testing.memory_repository import MemoryRepository
from homeostat.testing.simulation.fleet import Fleet
from homeostat.testing.simulation.hazards import Hazards
from homeostat.testing.simulation.hub import SimulatedHub
from homeostat.testing.simulation.program import (
    PARTS,
    STUCK,
    clause,
    diff_of,
    failing_share,
    path_of,
    sources_at,
    with_clause,
    without_clauses,
)
from homeostat.testing.simulation.timeline import Timeline
from homeostat.testing.simulation.trace import Trace
from homeostat.testing.world import BOT, OWNER

S = ProposalState


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """What a proposer really meant to do, which no flow may know."""

    kind: str
    harm: float
    """By how much the share of failing requests rises when it runs."""


@dataclass(slots=True)
class Journal:
    """What was answered with yes: none of it may be lost."""

    submitted: dict[ProposalId, Intent] = field(default_factory=dict)
    approved: dict[ProposalId, Digest] = field(default_factory=dict)
    apply_accepted: set[ProposalId] = field(default_factory=set)
    revert_accepted: set[ProposalId] = field(default_factory=set)
    wrongly_allowed: list[str] = field(default_factory=list)


class People:
    """Each acts by chance, at times of their own, on whatever hub there is."""

    def __init__(
        self,
        *,
        timeline: Timeline,
        rng: random.Random,
        trace: Trace,
        world: Deps,
        repository: MemoryRepository,
        fleet: Fleet,
        hazards: Hazards,
        hub: Callable[[], SimulatedHub | None],
        supervised: Callable[[], bool],
    ) -> None:
        self.journal = Journal()
        self.still_propose = True
        self.still_decide = True
        self.still_meddle = True
        self._timeline = timeline
        self._rng = rng
        self._trace = trace
        self._world = world
        self._repository = repository
        self._fleet = fleet
        self._hazards = hazards
        self._hub = hub
        self._supervised = supervised
        self._count = 0

    def begin(self) -> None:
        for act, every_s in ((self._propose, 40.0), (self._decide, 15.0), (self._meddle, 150.0), (self._operate, 40.0)):
            self._again(act, every_s)

    def _again(self, act: Callable[[], None], every_s: float) -> None:
        def happen() -> None:
            act()
            self._again(act, every_s)

        self._timeline.after(self._rng.uniform(0.2, 1.8) * every_s, happen)

    # Proposers

    def _propose(self) -> None:
        hub = self._hub()
        if hub is None or not self.still_propose:
            return
        self._count += 1
        kind = self._rng.choice(tuple(_KINDS))
        head = self._repository.branches[self._repository.deployed]
        before = sources_at(self._repository.at(head).tree)
        after = _KINDS[kind](before, self._rng, self._count)
        diff = "this is no diff\n" if kind == "malformed" else diff_of(before, after)
        harm = failing_share({path: after[path] for path in before}) - failing_share(before)
        submission = Submission(
            title=f"{kind} {self._count}", rationale="a simulated reason", diff=diff, finding_id=self._finding(after)
        )
        actor = self._rng.choice((BOT, BOT, OWNER))

        def answered(answer: Proposal | Denied) -> None:
            if isinstance(answer, Denied):
                self._trace.line("proposer", f"{submission.title}: refused, {answer.code}")
            elif answer.id not in self.journal.submitted:
                self._trace.line("proposer", f"{submission.title} is {answer.id[-3:]}")
                self.journal.submitted[answer.id] = Intent(kind=kind, harm=harm)

        hub.ask("proposer", lambda deps: submit(deps, submission, actor=actor), answered)

    def _finding(self, after: Mapping[str, str]) -> FindingId:
        for finding in self._world.findings.findings():
            path = finding.group.location.path
            if "raise" not in after.get(path, "raise") and self._rng.random() < 0.8:
                return finding.id
        return FindingId("")

    # The owner

    def _decide(self) -> None:
        hub = self._hub() if self.still_decide else None
        undecided = [row for row in self._world.proposals.find(limit=1000) if row.state in _DECISIONS]
        if hub is None or not undecided:
            return
        row = undecided[0] if self._rng.random() < 0.7 else self._rng.choice(undecided)  # the newest fits best
        choices, weights = zip(*_DECISIONS[row.state], strict=True)
        decision = self._rng.choices(choices, weights)[0]
        act = getattr(self, f"_{decision}", None)
        if act is not None:
            act(hub, row)

    def _consent(self, hub: SimulatedHub, row: Proposal, what: str, act: Callable[[Deps], Proposal | Denied]) -> None:
        def answered(answer: Proposal | Denied) -> None:
            if isinstance(answer, Denied):
                self._trace.line("owner", f"{what} {row.id[-3:]}: refused, {answer.code}")
                return
            self._trace.line("owner", f"{what} {row.id[-3:]}: {answer.state.value}")
            if what in ("approves", "applies"):
                self.journal.approved.setdefault(row.id, row.change.change_digest)
            if what == "applies":
                self.journal.apply_accepted.add(row.id)
            if what == "reverts":
                self.journal.revert_accepted.add(row.id)

        hub.ask("owner", act, answered)

    def _apply(self, hub: SimulatedHub, row: Proposal) -> None:
        seen = row.change.change_digest
        self._consent(hub, row, "applies", lambda deps: request_apply(deps, row.id, actor=OWNER, seen=seen))

    def _approve(self, hub: SimulatedHub, row: Proposal) -> None:
        seen = row.change.change_digest
        self._consent(hub, row, "approves", lambda deps: approve(deps, row.id, actor=OWNER, seen=seen))

    def _reject(self, hub: SimulatedHub, row: Proposal) -> None:
        self._consent(hub, row, "rejects", lambda deps: reject(deps, row.id, actor=OWNER, notes="no"))

    def _defer(self, hub: SimulatedHub, row: Proposal) -> None:
        self._consent(hub, row, "defers", lambda deps: defer(deps, row.id, actor=OWNER))

    def _resume(self, hub: SimulatedHub, row: Proposal) -> None:
        self._consent(hub, row, "resumes", lambda deps: resume(deps, row.id, actor=OWNER))

    def _revert(self, hub: SimulatedHub, row: Proposal) -> None:
        self._consent(hub, row, "reverts", lambda deps: request_revert(deps, row.id, actor=OWNER, reason="asked"))

    def _accept(self, hub: SimulatedHub, row: Proposal) -> None:
        reason = "it is well as far as I can see"
        self._consent(hub, row, "accepts", lambda deps: accept(deps, row.id, actor=OWNER, reason=reason))

    def _let_the_bot_apply(self, hub: SimulatedHub, row: Proposal) -> None:
        self._must_refuse(hub, row, lambda deps: request_apply(deps, row.id, actor=BOT, seen=None))

    def _approve_something_else(self, hub: SimulatedHub, row: Proposal) -> None:
        other = digest_bytes(b"something else")
        self._must_refuse(hub, row, lambda deps: approve(deps, row.id, actor=OWNER, seen=other))

    def _must_refuse(self, hub: SimulatedHub, row: Proposal, act: Callable[[Deps], Proposal | Denied]) -> None:
        def answered(answer: Proposal | Denied) -> None:
            # Asked for what is applied already, it answers as the first time; that allows nothing.
            if isinstance(answer, Proposal) and answer.version > row.version and answer.review is None:
                self.journal.wrongly_allowed.append(f"{row.id}: somebody who may not has approved it")

        hub.ask("stranger", act, answered)

    # The operator and the user

    def _operate(self) -> None:
        """Restart what waits for a restart, and mend by hand what was left to a person."""
        rows = self._world.proposals.find(states=frozenset({S.AWAITING_RESTART, S.REVERTING}), limit=100)
        hub = self._hub()
        troubles = hub.troubles.last.values() if hub is not None else ()
        if any(row.state is S.AWAITING_RESTART or "restarted" in row.state_reason for row in rows) or any(
            MUST_RESTART in text for text in troubles
        ):
            if hub is not None and self._supervised():
                # Asked for by the owner, as `homeostat restart` does.
                hub.ask("operator", lambda deps: request_restart(deps, actor=OWNER), self._restart_asked)
            else:
                self._trace.line("operator", "restarts the program")
                self._fleet.restart_all()
        elif self._left_to_a_person() and not self._hazards.git_is_locked:
            self._mend_by_hand()

    def _restart_asked(self, answer: AskedRestart | Denied) -> None:
        said = answer.code if isinstance(answer, Denied) else f"restart {answer.request_id[-3:]} is asked for"
        self._trace.line("operator", said)

    def _left_to_a_person(self) -> bool:
        return (
            any(
                row.application is not None and row.application.automatic_revert
                for row in self._world.proposals.find(states=frozenset({S.FAILED}), limit=100)
            )
            and failing_share(sources_at(self._repository.disk)) > 0.2
        )

    def _mend_by_hand(self) -> None:
        self._trace.line("user", "mends by hand and restarts")
        texts = {path: without_clauses(text) for path, text in sources_at(self._repository.disk).items()}
        mended = {path: FileState(content=text.encode(), mode=REGULAR) for path, text in texts.items()}
        self._repository.user_commit(mended, at=self._timeline.now(), message="mend by hand")
        self._fleet.restart_all()

    def _meddle(self) -> None:
        """Do what users do: commit something else, commit to the same files, leave edits lying about."""
        if not self.still_meddle or self._hazards.moving:
            return
        self._count += 1
        path = path_of(self._rng.choice(PARTS))
        dice = self._rng.random()
        if dice < 0.6 and self._hazards.git_is_locked:
            return
        if dice < 0.4:
            self._commit("README.md", f"Change {self._count}.\n")
        elif dice < 0.6:
            self._commit(path, self._edited(path))
        else:
            self._trace.line("user", f"edits {path} and leaves it lying")
            self._repository.disk[path] = FileState(content=self._edited(path).encode(), mode=REGULAR)
            self._timeline.after(self._rng.uniform(5, 60), lambda: self._undo(path))

    def _edited(self, path: str) -> str:
        return self._repository.disk[path].content.decode() + f"# edit {self._count}\n"

    def _commit(self, path: str, text: str) -> None:
        self._trace.line("user", f"commits {path}")
        state = FileState(content=text.encode(), mode=REGULAR)
        self._repository.user_commit({path: state}, at=self._timeline.now())

    def _undo(self, path: str) -> None:
        if self._hazards.git_is_locked:
            self._timeline.after(1, lambda: self._undo(path))
            return
        self._trace.line("user", f"undoes the edit of {path}")
        self._repository.disk[path] = self._repository.index[path]


_DECISIONS: Mapping[ProposalState, tuple[tuple[str, float], ...]] = {
    S.AWAITING_APPROVAL: (
        ("apply", 12),
        ("approve", 2),
        ("reject", 1),
        ("defer", 1),
        ("let_the_bot_apply", 1),
        ("approve_something_else", 1),
    ),
    S.APPROVED: (("apply", 3), ("reject", 1)),
    S.DEFERRED: (("resume", 3), ("reject", 1)),
    S.CANARY: (("revert", 1), ("accept", 3), ("nothing", 12)),
    S.OBSERVING: (("revert", 1), ("nothing", 20)),
    S.IMPLEMENTED: (("revert", 1), ("nothing", 20)),
    S.BLOCKED: (("reject", 1),),
}

Sources = Mapping[str, str]


def _harmless(before: Sources, rng: random.Random, count: int) -> Sources:
    path = rng.choice(sorted(before))
    return {**before, path: with_clause(before[path], clause((rng.randrange(10),), f"return kind + {count} - {count}"))}


def _mending(before: Sources, rng: random.Random, count: int) -> Sources:
    broken = [path for path in sorted(before) if "raise" in before[path]]
    if not broken:
        return _harmless(before, rng, count)
    path = rng.choice(broken)
    return {**before, path: without_clauses(before[path])}


def _harmful(before: Sources, rng: random.Random, count: int) -> Sources:
    path = rng.choice(sorted(before))
    lines = clause(tuple(range(2, 10)), f'raise ValueError("{count} is no kind")')
    return {**before, path: with_clause(before[path], lines)}


def _getting_stuck(before: Sources, rng: random.Random, count: int) -> Sources:
    path = rng.choice(sorted(before))
    return {**before, path: with_clause(before[path], clause((rng.randrange(2, 10),), f'return "{STUCK}"'))}


def _needing_restart(before: Sources, rng: random.Random, count: int) -> Sources:
    path = rng.choice(sorted(before))
    return {**before, path: _with_limit(before[path], 10 + count)}


def _harmful_after_restart(before: Sources, rng: random.Random, count: int) -> Sources:
    harmful = _harmful(before, rng, count)
    return {path: text if text == before[path] else _with_limit(text, 10 + count) for path, text in harmful.items()}


def _with_limit(source: str, limit: int) -> str:
    """Change a statement at the top of the module: a process must be restarted for that."""
    lines = source.splitlines(keepends=True)
    return "".join(f"LIMIT = {limit}\n" if line.startswith("LIMIT") else line for line in lines)


def _failing_tests(before: Sources, rng: random.Random, count: int) -> Sources:
    path = rng.choice(sorted(before))
    return {**before, path: with_clause(before[path], clause((0,), f'raise KeyError("{count}")'))}


def _in_two_files(before: Sources, rng: random.Random, count: int) -> Sources:
    return _harmless(_harmless(before, rng, count), rng, count + 1)


def _with_new_file(before: Sources, rng: random.Random, count: int) -> Sources:
    return {**before, f"shop/extra_{count}.py": f"NUMBER = {count}\n"}


def _forbidden(before: Sources, rng: random.Random, count: int) -> Sources:
    return {**before, ".env": f"NUMBER={count}\n"}


_KINDS: Mapping[str, Callable[[Sources, random.Random, int], Sources]] = {
    "harmless": _harmless,
    "mending": _mending,
    "harmful": _harmful,
    "getting stuck": _getting_stuck,
    "needing restart": _needing_restart,
    "harmful after restart": _harmful_after_restart,
    "failing tests": _failing_tests,
    "in two files": _in_two_files,
    "with new file": _with_new_file,
    "forbidden": _forbidden,
    "malformed": _harmless,
}
