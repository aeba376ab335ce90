"""What must hold of rows, ledger, branch, checkout, backups, candidates and processes together, at any moment of rest.

`homeostat doctor` shows what is violated, and the fault tests check the same after every fault:

1. Each row stands in the state, and at least at the version, that its last ledger entry names.
2. What is approved, or further, was approved as the change that the row names.
3. What is applied is in the deployed branch, and its files are in the checkout as the branch has them.
4. What is not applied, or was taken back, is neither in branch nor checkout, and in no process.
5. What is under way is being worked on: no row is in motion for longer than its work can take.
6. One change at a time is being put on the deployed branch.
7. The backup of every applied change can be read, and is what taking it back needs.
8. Code branches exist only for proposals that are not decided.
9. The record in Git does not lag behind the rows for long.
10. No process runs a change that the rows do not know as applied, and what went live runs everywhere.
11. The repository is not locked by a move that nobody is making.

Each is a function of what was observed; what could not be observed is a violation of its own, number 0.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from homeostat.model.ledger import LedgerEntry
from homeostat.model.process import HostProcess
from homeostat.model.proposal import IN_MOTION, REVERT_WAITS, Proposal, ProposalState

S = ProposalState

APPLIED = frozenset({S.OBSERVING, S.AWAITING_RESTART, S.IMPLEMENTED})
"""States whose change is in branch and checkout, for good or for now."""

_LIVE = frozenset({S.APPLYING, S.OBSERVING, S.IMPLEMENTED, S.REVERTING})
_CONSENTED = frozenset({S.APPROVED, S.APPLYING, S.CANARY, *APPLIED, S.REVERTING, S.REVERTED})
_UNDECIDED = frozenset({S.PENDING, S.VALIDATING, S.AWAITING_APPROVAL, S.DEFERRED, S.APPROVED, S.APPLYING, S.CANARY})
_REVERSE = ":revert"
"""How the id of a change ends that brought the old code to a process which had started with the new."""

STUCK_AFTER = timedelta(minutes=15)
RECORD_AFTER = timedelta(minutes=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Traces:
    """What there is of one change in the repository and the backups."""

    in_branch: bool
    """Its commit is part of the deployed branch."""

    taken_back: bool
    """So is the commit that took it back."""

    at_application: bool
    """The branch still stands where the change was put on it, or was to be."""

    differs: Sequence[str] = ()
    """Touched paths that index or checkout have otherwise than the branch has them."""

    backup: str = ""
    """What is wrong with its backup; empty: nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """One look at everything. The rows were read first: what moved meanwhile was left out by whoever looked."""

    at: datetime
    proposals: Sequence[Proposal]
    entries: Mapping[str, LedgerEntry]
    """Proposal id → the last entry that moved it."""

    moved: frozenset[str]
    """Proposals that moved while everything was looked at: nothing is said of them."""

    branch: str
    traces: Mapping[str, Traces]
    """Proposal id → what there is of it, for those that have an application."""

    candidates: Sequence[str]
    """Proposals that have a code branch."""

    unrecorded: frozenset[str]
    """Proposals whose status commit is still to be made."""

    processes: Sequence[HostProcess] | None
    """None: no hub is up that could be asked."""

    swappable: frozenset[str] = frozenset()
    """Applied proposals that concern running processes, and can be swapped into them."""

    reloads: frozenset[str] = frozenset()
    """Ids of what developers saved and the ledger knows to have been swapped in."""

    lock: str = ""
    """A lock of Git's index that a move of ours left or holds: its path."""

    proof_takes: timedelta = timedelta(0)
    """How long the proof of one change may take."""

    problems: Mapping[str, str] = field(default_factory=dict)
    """What could not be looked at → why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One invariant that does not hold of one thing, and what mends it."""

    number: int
    subject: str
    """The proposal, or what else it is about."""

    detail: str
    remedy: str
    level: Literal["fail", "warn"] = "fail"
    """``warn``: it may be somebody's own doing, or mends itself."""


def violations(seen: Observed) -> tuple[Violation, ...]:
    """Check every invariant; empty when all hold."""
    found = [
        Violation(number=0, subject=part, detail=f"could not be looked at: {why}", remedy="mend that, then look again")
        for part, why in seen.problems.items()
    ]
    for check in _CHECKS:
        found += check(seen)
    return tuple(found)


def _row_and_ledger(seen: Observed) -> Iterator[Violation]:
    """1. Each row stands in the state, and at least at the version, that its last ledger entry names."""
    for row in seen.proposals:
        entry = seen.entries.get(row.id)
        if entry is None:
            yield _broken(1, row, "the ledger has no entry of it")
        elif entry.body.get("to") != row.state.value or not _reaches(entry.body.get("version"), row.version):
            yield _broken(1, row, f"since entry {entry.seq} it is {entry.body.get('to')!r}")


def _reaches(recorded: object, version: int) -> bool:
    return isinstance(recorded, int) and recorded <= version


def _broken(number: int, row: Proposal, what: str) -> Violation:
    return Violation(
        number=number,
        subject=row.id,
        detail=f"the row is {row.state.value} (version {row.version}), but {what}",
        remedy="homeostat verify",
    )


def _consent(seen: Observed) -> Iterator[Violation]:
    """2. What is approved, or further, was approved as the change that the row names."""
    for row in seen.proposals:
        if row.state not in _CONSENTED:
            continue
        review = row.review
        if review is None or review.decision != "approved" or review.change_digest != row.change.change_digest:
            yield _broken(2, row, "holds no approval of this change")


def _applied(seen: Observed) -> Iterator[Violation]:
    """3. What is applied is in the deployed branch, and its files are in the checkout as the branch has them."""
    for row, traces in _with_traces(seen):
        if row.state not in APPLIED or row.application is None:
            continue
        if not traces.in_branch:
            commit = row.application.commit
            yield Violation(
                number=3,
                subject=row.id,
                detail=f"it is {row.state.value}, but its commit {commit[:12]} is not in {seen.branch}",
                remedy=f"git cherry-pick {commit[:12]}",
            )
        elif traces.differs and traces.at_application:
            yield _differs(3, row, traces, "the checkout differs from what was applied")


def _not_applied(seen: Observed) -> Iterator[Violation]:
    """4. What is not applied, or was taken back, is neither in branch nor checkout, and in no process."""
    for row, traces in _with_traces(seen):
        application = row.application
        assert application is not None
        half = row.state is S.FAILED and application.automatic_revert
        if row.state in (*_LIVE, *APPLIED) or half:
            continue
        if traces.in_branch and not traces.taken_back:
            yield Violation(
                number=4,
                subject=row.id,
                detail=f"it is {row.state.value}, but its commit {application.commit[:12]} is in {seen.branch}",
                remedy=f"git revert {application.commit[:12]}",
            )
        elif traces.differs and traces.at_application:
            yield _differs(4, row, traces, "the checkout differs from the branch, as an unfinished change leaves it")
    if seen.processes is None:
        return
    off: dict[str, Proposal] = {
        row.id: row for row in seen.proposals if row.state not in (*_LIVE, S.CANARY, S.AWAITING_RESTART)
    }
    for process in seen.processes:
        for row in (off[change] for change in process.changes if change in off):
            if row.application is not None and row.application.taken_out_by in process.changes:
                continue  # what took it out was swapped in upon it, and counts
            yield _runs(4, process.pid, f"runs {row.id}, which is {row.state.value}")


def _differs(number: int, row: Proposal, traces: Traces, what: str) -> Violation:
    paths = ", ".join(traces.differs)
    return Violation(
        number=number,
        subject=row.id,
        detail=f"{what}: {paths}",
        remedy=f"git diff HEAD -- {paths}",
        level="warn",
    )


def _runs(number: int, pid: int, what: str) -> Violation:
    return Violation(number=number, subject=f"process {pid}", detail=what, remedy="restart this program")


def _worked_on(seen: Observed) -> Iterator[Violation]:
    """5. What is under way is being worked on: no row is in motion for longer than its work can take."""
    for row in seen.proposals:
        asked = row.state is S.APPROVED and row.apply_requested
        if row.state not in IN_MOTION and not asked:
            continue
        bound = STUCK_AFTER + (2 * seen.proof_takes if row.state is S.VALIDATING else timedelta(0))
        since = seen.at - row.updated_at
        if row.state is S.REVERTING and row.state_reason.startswith(REVERT_WAITS):
            yield Violation(
                number=5, subject=row.id, detail=row.state_reason, remedy="restart these programs", level="warn"
            )
        elif seen.processes is None:
            detail = f"it is {row.state.value}, and no hub is up to go on with it"
            yield Violation(number=5, subject=row.id, detail=detail, remedy="homeostat up", level="warn")
        elif since > bound:
            detail = f"it is {row.state.value} for {since.total_seconds() / 60:.0f} minutes: {row.state_reason}"
            yield Violation(number=5, subject=row.id, detail=detail, remedy="restart the hub: homeostat up")


def _one_at_a_time(seen: Observed) -> Iterator[Violation]:
    """6. One change at a time is being put on the deployed branch."""
    moving = [row.id for row in seen.proposals if row.state is S.APPLYING]
    if len(moving) > 1:
        yield Violation(
            number=6,
            subject=seen.branch,
            detail=f"several are being applied: {', '.join(moving)}",
            remedy="homeostat up",
        )


def _backups(seen: Observed) -> Iterator[Violation]:
    """7. The backup of every applied change can be read, and is what taking it back needs."""
    for row, traces in _with_traces(seen):
        if traces.backup and row.state in (*APPLIED, S.APPLYING, S.CANARY, S.REVERTING):
            assert row.application is not None
            yield Violation(
                number=7,
                subject=row.id,
                detail=traces.backup,
                remedy=f"git revert {row.application.commit[:12]} takes it back by Git alone",
            )


def _code_branches(seen: Observed) -> Iterator[Violation]:
    """8. Code branches exist only for proposals that are not decided."""
    states: dict[str, ProposalState] = {row.id: row.state for row in seen.proposals}
    for proposal_id in (item for item in seen.candidates if item not in seen.moved):
        state = states.get(proposal_id)
        if state is None or state not in _UNDECIDED:
            what = "which nobody knows" if state is None else f"which is {state.value}"
            yield Violation(
                number=8,
                subject=proposal_id,
                detail=f"there is a code branch of this proposal, {what}",
                remedy=f"git branch -D homeostat/proposal-{proposal_id}",
                level="warn",
            )


def _records(seen: Observed) -> Iterator[Violation]:
    """9. The record in Git does not lag behind the rows for long."""
    for row in seen.proposals:
        if row.id in seen.unrecorded and seen.at - row.updated_at > RECORD_AFTER:
            detail = "its status commit is not in Git yet"
            yield Violation(number=9, subject=row.id, detail=detail, remedy="homeostat up", level="warn")


def _live(seen: Observed) -> Iterator[Violation]:
    """10. No process runs a change that the rows do not know as applied, and what went live runs everywhere."""
    if seen.processes is None:
        return
    known = {*(row.id for row in seen.proposals), *seen.moved}
    for process in seen.processes:
        for change in process.changes:
            if change.removesuffix(_REVERSE) not in known and change not in seen.reloads:
                yield _runs(10, process.pid, f"runs the change {change}, which no row knows")
    for row in seen.proposals:
        application = row.application
        if row.state is not S.OBSERVING or application is None or row.id not in seen.swappable:
            continue
        for process in seen.processes:
            started_with_it = process.started_at > application.at
            if process.connected and row.id not in process.changes and not started_with_it:
                yield _runs(10, process.pid, f"does not run {row.id}, which is being observed as live")


def _locks(seen: Observed) -> Iterator[Violation]:
    """11. The repository is not locked by a move that nobody is making."""
    moving = any(row.state in (S.APPLYING, S.REVERTING) for row in seen.proposals)
    if seen.lock and not moving:
        yield Violation(
            number=11,
            subject=seen.branch,
            detail=f"{seen.lock} was left by an interrupted change, and none is under way",
            remedy=f"rm {seen.lock}",
        )


def _with_traces(seen: Observed) -> list[tuple[Proposal, Traces]]:
    return [(row, seen.traces[row.id]) for row in seen.proposals if row.id in seen.traces]


_CHECKS: tuple[Callable[[Observed], Iterator[Violation]], ...] = (
    _row_and_ledger,
    _consent,
    _applied,
    _not_applied,
    _worked_on,
    _one_at_a_time,
    _backups,
    _code_branches,
    _records,
    _live,
    _locks,
)
