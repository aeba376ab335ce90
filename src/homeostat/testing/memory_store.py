"""The store in memory, with a real ledger and faults on demand; for tests and simulation.

It obeys the contract suite that the SQLite store obeys. Nothing is durable: "process died" is a
matter for the real store's tests.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice

from homeostat.adapters.keys import Ed25519Signer
from homeostat.adapters.store.documents import encode_proposal
from homeostat.adapters.store.row_digest import ROW_DIGEST, row_digest
from homeostat.audit.chain import EMPTY_HEAD, append, head_of
from homeostat.core.digests import Digest
from homeostat.core.errors import Conflict, NotFound, OutcomeUnknown, Unavailable
from homeostat.core.ids import ActorId, FindingId, ProposalId
from homeostat.core.limits import MAX_BATCHES_REMEMBERED, MAX_SAMPLES_PER_CALL, MAX_SAMPLES_PER_TEMPLATE
from homeostat.improvement.findings import standing_of
from homeostat.model.actor import Actor, Role
from homeostat.model.canary import ProcessTick
from homeostat.model.finding import AGENTS, ErrorGroup, ErrorOccurrence, Finding, GroupStanding, Recorded
from homeostat.model.ledger import EntryDraft, LedgerEntry, LedgerHead
from homeostat.model.proposal import Proposal, ProposalState, Tally
from homeostat.model.vitals import Stretch, VitalsTick, stretches_of
from homeostat.ports.clock import Clock
from homeostat.ports.signer import Signer
from homeostat.ports.store import Decision, decides_nothing
from homeostat.proposals.markdown import month_of
from homeostat.telemetry.making_room import Standing, choose_to_go, place_of, source_of_group, surplus_of
from homeostat.testing.memory_tree import MemoryTree

_RANK = ("warning", "error", "critical")


@dataclass(slots=True)
class Faults:
    """How many of the next writes shall go wrong, and in which way."""

    fail_before_commit: int = 0
    """Raise `Unavailable`; nothing was written."""

    fail_after_commit: int = 0
    """Raise `OutcomeUnknown`, though everything was written."""

    def before_commit(self) -> None:
        if self.fail_before_commit:
            self.fail_before_commit -= 1
            raise Unavailable("store-locked", "injected: the write did not happen")

    def after_commit(self) -> None:
        if self.fail_after_commit:
            self.fail_after_commit -= 1
            raise OutcomeUnknown("commit-unknown", "injected: the write happened all the same")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Record:
    wanted_version: int
    wanted_seq: int
    made_version: int


@dataclass(slots=True)
class Rows:
    """Everything that is stored. A write works on a copy, which takes its place when it commits."""

    proposals: dict[ProposalId, Proposal] = field(default_factory=dict)
    records: dict[ProposalId, _Record] = field(default_factory=dict)
    ledger: list[LedgerEntry] = field(default_factory=list)
    groups: dict[Digest, ErrorGroup] = field(default_factory=dict)
    sources: dict[Digest, str] = field(default_factory=dict)
    batches: dict[Digest, None] = field(default_factory=dict)
    times: dict[Digest, list[datetime]] = field(default_factory=dict)
    totals: dict[str, int] = field(default_factory=dict)
    findings: dict[FindingId, Finding] = field(default_factory=dict)
    ticks: list[VitalsTick] = field(default_factory=list)
    canary_ticks: dict[int, ProcessTick] = field(default_factory=dict)
    actors: dict[ActorId, tuple[Actor, Digest | None]] = field(default_factory=dict)

    def copy(self) -> "Rows":
        return Rows(
            proposals=dict(self.proposals),
            records=dict(self.records),
            ledger=list(self.ledger),
            groups=dict(self.groups),
            sources=dict(self.sources),
            batches=dict(self.batches),
            times={key: list(times) for key, times in self.times.items()},
            totals=dict(self.totals),
            findings=dict(self.findings),
            ticks=list(self.ticks),
            canary_ticks=dict(self.canary_ticks),
            actors=dict(self.actors),
        )


class _Memory:
    """The rows, their lock and their ledger: what every noun works on."""

    def __init__(self, clock: Clock, signer: Signer, faults: Faults) -> None:
        self.rows = Rows()
        self._clock = clock
        self.signer = signer
        self._faults = faults
        self._lock = threading.Lock()

    @contextmanager
    def writing(self) -> Iterator[Rows]:
        with self._lock:
            rows = self.rows.copy()
            yield rows
            self._faults.before_commit()
            self.rows = rows
            self._faults.after_commit()

    def append(self, rows: Rows, draft: EntryDraft) -> LedgerEntry:
        entry = append(_head(rows), draft, at=self._clock.now(), sign=self.signer.sign)
        rows.ledger.append(entry)
        return entry


class MemoryStore:
    """Every noun of `homeostat.ports.store` in memory. `faults` says what the next writes shall do."""

    def __init__(self, *, clock: Clock, signer: Signer | None = None) -> None:
        self.faults = Faults()
        self.signer: Signer = signer or Ed25519Signer.generate()
        memory = _Memory(clock, self.signer, self.faults)
        self.proposals = MemoryProposals(memory)
        self.records = MemoryRecords(memory)
        self.ledger = MemoryLedger(memory)
        self.findings = MemoryFindings(memory)
        self.vitals = MemoryVitals(memory)
        self.canaries = MemoryCanaries(memory)
        self.actors = MemoryActors(memory)

    def close(self) -> None:
        """Nothing is held; for the shape of the real store."""


class MemoryProposals:
    def __init__(self, memory: _Memory) -> None:
        self._memory = memory

    def insert(self, proposal: Proposal, entry: EntryDraft) -> LedgerEntry:
        with self._memory.writing() as rows:
            if proposal.id in rows.proposals:
                raise Conflict("proposal-exists", f"there is a proposal {proposal.id} already")
            rows.proposals[proposal.id] = proposal
            written = self._memory.append(rows, _with_digest(entry, proposal))
            _want_record(rows, proposal, written.seq)
            return written

    def save(self, proposal: Proposal, entry: EntryDraft | None) -> Proposal:
        saved = replace(proposal, version=proposal.version + 1)
        with self._memory.writing() as rows:
            present = rows.proposals.get(proposal.id)
            if present is None:
                raise NotFound("no-such-proposal", f"proposal {proposal.id} does not exist")
            if present.version != proposal.version:
                raise Conflict("stale-row", f"proposal {proposal.id} is at version {present.version}")
            rows.proposals[proposal.id] = saved
            if entry is not None:
                _want_record(rows, saved, self._memory.append(rows, _with_digest(entry, saved)).seq)
        return saved

    def get(self, proposal_id: ProposalId) -> Proposal | None:
        return self._memory.rows.proposals.get(proposal_id)

    def find(
        self,
        *,
        states: frozenset[ProposalState] | None = None,
        prefix: str = "",
        limit: int = 100,
        offset: int = 0,
        after: Proposal | None = None,
    ) -> Sequence[Proposal]:
        found = self._newest(
            lambda item: (
                (states is None or item.state in states)
                and item.id.startswith(prefix)
                and (after is None or (item.created_at, item.id) < (after.created_at, after.id))
            ),
        )
        start = max(offset, 0)
        return found[start : start + max(limit, 0)]

    def count_by_state(self) -> Mapping[ProposalState, int]:
        counts: dict[ProposalState, int] = {}
        for proposal in self._memory.rows.proposals.values():
            counts[proposal.state] = counts.get(proposal.state, 0) + 1
        return counts

    def find_by_diff(self, diff_digest: Digest) -> Sequence[Proposal]:
        return self._newest(lambda item: item.change.diff_digest == diff_digest)

    def _newest(self, wanted: Callable[[Proposal], bool]) -> list[Proposal]:
        rows = [item for item in self._memory.rows.proposals.values() if wanted(item)]
        return sorted(rows, key=lambda item: (item.created_at, item.id), reverse=True)


class MemoryRecords:
    def __init__(self, memory: _Memory) -> None:
        self._memory = memory

    def pending_records(self) -> Sequence[tuple[ProposalId, int]]:
        records = self._memory.rows.records
        pending = [item for item in records.items() if item[1].made_version < item[1].wanted_version]
        pending.sort(key=lambda item: item[1].wanted_seq)
        return [(proposal_id, record.wanted_version) for proposal_id, record in pending]

    def tallies(self) -> Sequence[Tally]:
        rows = self._memory.rows.proposals.values()
        counts = Counter((month_of(row), row.state, row.category, row.severity) for row in rows)
        return [
            Tally(month=month, state=state, category=category, severity=severity, count=count)
            for (month, state, category, severity), count in counts.items()
        ]

    def mark_recorded(self, proposal_id: ProposalId, version: int) -> None:
        with self._memory.writing() as rows:
            present = rows.proposals.get(proposal_id)
            if present is None:
                raise NotFound("no-such-proposal", f"proposal {proposal_id} does not exist")
            if version > present.version:
                raise Conflict("unknown-version", f"proposal {proposal_id} is at version {present.version}")
            record = rows.records[proposal_id]
            rows.records[proposal_id] = replace(record, made_version=max(record.made_version, version))


class MemoryLedger:
    def __init__(self, memory: _Memory) -> None:
        self._memory = memory
        self._tree = MemoryTree()

    def append(self, entry: EntryDraft) -> LedgerEntry:
        with self._memory.writing() as rows:
            return self._memory.append(rows, entry)

    def entries(self, *, after: int = 0, limit: int = 1000, subject: str | None = None) -> Sequence[LedgerEntry]:
        start = max(after, 0)
        if subject is None:
            return self._memory.rows.ledger[start : start + max(limit, 0)]
        about = (entry for entry in self._memory.rows.ledger[start:] if entry.subject == subject)
        return list(islice(about, max(limit, 0)))

    def head(self) -> LedgerHead:
        return _head(self._memory.rows)

    def checkpoint(self) -> str:
        return self._tree.checkpoint(self._memory.rows.ledger, self._memory.signer)


class MemoryFindings:
    def __init__(self, memory: _Memory) -> None:
        self._memory = memory

    def record(
        self,
        occurrences: Sequence[tuple[Digest, str, ErrorOccurrence]],
        *,
        source: str = "",
        batch: Digest | None = None,
        wanted: Callable[[GroupStanding], bool] = lambda standing: True,
        decide: Callable[[ErrorGroup, Finding | None], Decision] = decides_nothing,
    ) -> Recorded:
        if not occurrences:
            return Recorded()
        with self._memory.writing() as rows:
            if batch is None or batch not in rows.batches:
                if batch is not None:
                    rows.batches = dict.fromkeys([*rows.batches, batch][-MAX_BATCHES_REMEMBERED:])
                self._count(rows, occurrences, source)
            groups = _wanted(rows, dict.fromkeys(key for key, _, _ in occurrences), wanted)
            made = {finding.group.key: finding for finding in rows.findings.values()}
            decisions = [decide(group, made.get(group.key)) for group in groups]
            fresh = [item[0] for item in decisions if item is not None and self._put(rows, *item)]
            return Recorded(groups=tuple(groups), findings=tuple(fresh))

    @staticmethod
    def _count(rows: Rows, occurrences: Sequence[tuple[Digest, str, ErrorOccurrence]], source: str) -> None:
        left = Counter(key for key, _, _ in occurrences)
        for key, template, occurrence in occurrences:
            sample = left[key] <= MAX_SAMPLES_PER_CALL
            left[key] -= 1
            rows.groups[key] = _merge(rows.groups.get(key), key, template, occurrence, sample=sample)
            rows.sources[key] = source_of_group(rows.sources.get(key, ""), source)
            if source == AGENTS:
                rows.times.setdefault(key, []).append(occurrence.at)
            rows.totals[occurrence.severity] = rows.totals.get(occurrence.severity, 0) + 1
        _evict(rows)

    def put_findings(self, items: Sequence[tuple[Finding, EntryDraft]]) -> Sequence[bool]:
        if not items:
            return []
        with self._memory.writing() as rows:
            return [self._put(rows, finding, entry) for finding, entry in items]

    def _put(self, rows: Rows, finding: Finding, entry: EntryDraft) -> bool:
        known = rows.findings.get(finding.id)
        rows.groups.setdefault(finding.group.key, finding.group)
        rows.sources.setdefault(finding.group.key, "")
        rows.findings[finding.id] = finding
        if known is not None and known.state is finding.state:
            return False
        self._memory.append(rows, entry)
        return True

    def get_finding(self, finding_id: FindingId) -> Finding | None:
        rows = self._memory.rows
        finding = rows.findings.get(finding_id)
        return None if finding is None else replace(finding, group=rows.groups[finding.group.key])

    def findings(self, *, limit: int = 100) -> Sequence[Finding]:
        rows = self._memory.rows
        oldest = sorted(sorted(rows.findings.values(), key=lambda item: item.id, reverse=True), key=_found_at)
        newest = oldest[::-1][: max(limit, 0)]
        return [replace(item, group=rows.groups[item.group.key]) for item in newest]

    def count_since(self, key: Digest, since: datetime) -> int:
        return sum(at >= since for at in self._memory.rows.times.get(key, ()))

    def error_counts(self) -> Mapping[str, int]:
        return dict(self._memory.rows.totals)


class MemoryVitals:
    def __init__(self, memory: _Memory) -> None:
        self._memory = memory

    def record_ticks(self, ticks: Sequence[VitalsTick]) -> None:
        with self._memory.writing() as rows:
            # Ticks cannot be hashed, and a test's world has few of one moment.
            for tick in ticks:
                if not any(tick == known for known in rows.ticks if known.end == tick.end):
                    rows.ticks.append(tick)

    def ticks(self, *, since: datetime, until: datetime) -> Sequence[VitalsTick]:
        return sorted((tick for tick in self._memory.rows.ticks if since < tick.end <= until), key=_end)

    def stretches(self, *, since: datetime, until: datetime) -> Sequence[Stretch]:
        ticks = (tick for tick in self._memory.rows.ticks if since < tick.end <= until)
        found = sorted(stretches_of(ticks).values(), key=_start)
        return [item for item in found if item.start >= since and item.end <= until]

    def latest(self) -> datetime | None:
        return max((tick.end for tick in self._memory.rows.ticks), default=None)

    def prune(self, *, before: datetime) -> int:
        with self._memory.writing() as rows:
            kept = [tick for tick in rows.ticks if tick.end >= before]
            forgotten = len(rows.ticks) - len(kept)
            rows.ticks = kept
            rows.times = {key: [at for at in times if at >= before] for key, times in rows.times.items()}
            return forgotten


class MemoryCanaries:
    def __init__(self, memory: _Memory) -> None:
        self._memory = memory

    def record(self, ticks: Sequence[ProcessTick]) -> None:
        with self._memory.writing() as rows:
            for tick in ticks:
                if tick not in rows.canary_ticks.values():
                    rows.canary_ticks[max(rows.canary_ticks, default=0) + 1] = tick

    def ticks(self, change_id: ProposalId, *, after: int = 0) -> Sequence[tuple[int, ProcessTick]]:
        kept = self._memory.rows.canary_ticks
        return [(number, kept[number]) for number in kept if number > after and kept[number].change_id == change_id]

    def prune(self, *, before: datetime) -> int:
        with self._memory.writing() as rows:
            kept = {number: tick for number, tick in rows.canary_ticks.items() if tick.end >= before}
            forgotten = len(rows.canary_ticks) - len(kept)
            rows.canary_ticks = kept
            return forgotten


class MemoryActors:
    def __init__(self, memory: _Memory) -> None:
        self._memory = memory

    def create(self, *, actor: Actor, token_digest: Digest) -> None:
        with self._memory.writing() as rows:
            if actor.id in rows.actors or any(digest == token_digest for _, digest in rows.actors.values()):
                raise Conflict("actor-exists", f"the actor {actor.id}, or its token, is in use already")
            rows.actors[actor.id] = (actor, token_digest)

    def by_token(self, token_digest: Digest) -> Actor | None:
        return next((actor for actor, digest in self._memory.rows.actors.values() if digest == token_digest), None)

    def get(self, actor_id: ActorId) -> Actor | None:
        found = self._memory.rows.actors.get(actor_id)
        return None if found is None else found[0]

    def list_actors(self, *, role: Role | None = None) -> Sequence[Actor]:
        actors = (actor for _, (actor, _digest) in sorted(self._memory.rows.actors.items()))
        return [actor for actor in actors if role is None or actor.role is role]

    def erase_name(self, actor_id: ActorId) -> None:
        with self._memory.writing() as rows:
            if actor_id not in rows.actors:
                raise NotFound("no-such-actor", f"there is no actor {actor_id}")
            rows.actors[actor_id] = (replace(rows.actors[actor_id][0], name=None), None)


def _head(rows: Rows) -> LedgerHead:
    return head_of(rows.ledger[-1]) if rows.ledger else EMPTY_HEAD


def _with_digest(entry: EntryDraft, row: Proposal) -> EntryDraft:
    return replace(entry, body={**entry.body, ROW_DIGEST: row_digest(encode_proposal(row))})


def _want_record(rows: Rows, proposal: Proposal, seq: int) -> None:
    record = rows.records.get(proposal.id, _Record(wanted_version=0, wanted_seq=seq, made_version=0))
    was_made = record.made_version >= record.wanted_version
    rows.records[proposal.id] = replace(
        record, wanted_version=proposal.version, wanted_seq=seq if was_made else record.wanted_seq
    )


def _merge(
    known: ErrorGroup | None, key: Digest, template: str, occurrence: ErrorOccurrence, *, sample: bool
) -> ErrorGroup:
    fresh = ErrorGroup(
        key=key,
        exception_type=occurrence.exception_type,
        message_template=template,
        location=occurrence.location,
        severity=occurrence.severity,
        count=1,
        first_at=occurrence.at,
        last_at=occurrence.at,
        commit=occurrence.commit,
        samples=(occurrence,) if sample else (),
    )
    if known is None:
        return fresh
    return replace(
        fresh if occurrence.at >= known.last_at else known,
        severity=max(known.severity, occurrence.severity, key=_rank),
        count=known.count + 1,
        first_at=min(known.first_at, occurrence.at),
        last_at=max(known.last_at, occurrence.at),
        samples=(*known.samples, *fresh.samples)[-MAX_SAMPLES_PER_TEMPLATE:],
    )


def _wanted(rows: Rows, keys: Iterable[Digest], wanted: Callable[[GroupStanding], bool]) -> list[ErrorGroup]:
    findings = {finding.group.key: finding for finding in rows.findings.values()}
    groups = [rows.groups[key] for key in keys if key in rows.groups]
    return [group for group in groups if wanted(standing_of(group, findings.get(group.key)))]


def _evict(rows: Rows) -> None:
    surplus = surplus_of(len(rows.groups))
    kept = {finding.group.key for finding in rows.findings.values()}
    standings = [
        Standing(
            key=key,
            source=rows.sources[key],
            place=place_of(group.location.path, group.location.function, group.exception_type),
            last_us=int(group.last_at.timestamp() * 1e6),
        )
        for key, group in rows.groups.items()
        if surplus and key not in kept
    ]
    for key in choose_to_go(standings, surplus):
        del rows.groups[key], rows.sources[key]
        rows.times.pop(key, None)


def _rank(severity: str) -> int:
    return _RANK.index(severity) if severity in _RANK else -1


def _found_at(finding: Finding) -> datetime:
    return finding.found_at


def _end(tick: VitalsTick) -> datetime:
    return tick.end


def _start(stretch: Stretch) -> datetime:
    return stretch.start
