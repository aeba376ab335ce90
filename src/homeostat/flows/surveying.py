"""Looking at everything once, for the invariants of `homeostat.rollout.invariants`; changes nothing."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from homeostat.audit.proposal_story import PROPOSAL_PREFIX
from homeostat.audit.story import unlike_commits
from homeostat.core.errors import HomeostatError, IntegrityFailure, NotFound
from homeostat.core.ids import CommitId, ProposalId
from homeostat.flows.transition import read_readable
from homeostat.model.change import TreeChange
from homeostat.model.ledger import LedgerEntry
from homeostat.model.process import HostProcess
from homeostat.model.proposal import Proposal
from homeostat.ports.repository import BackupStore, CandidateBranch, CommitReader, DeployedTree
from homeostat.ports.store import LedgerStore, ProposalStore, RecordStore
from homeostat.rollout.invariants import APPLIED, Observed, Traces
from homeostat.rollout.live import plan_change

_PAGE = 5000
_LOOKED_AT = 200
"""Applications whose files and backups are looked at, the newest; `homeostat verify` looks at all backups."""

_NAMED = 5

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where to look. A part of what flows are given, so that `homeostat doctor` can look without a hub."""

    proposals: ProposalStore
    records: RecordStore
    ledger: LedgerStore
    commits: CommitReader
    candidates: CandidateBranch
    deployed: DeployedTree
    backups: BackupStore


def survey(
    places: Places,
    *,
    now: Callable[[], datetime],
    processes: Callable[[], Sequence[HostProcess]] | None,
    lock: Callable[[], str] = lambda: "",
    proof_takes: timedelta = timedelta(0),
) -> Observed:
    """Look at rows first and at the world after them; a row that moved meanwhile is left out.

    What cannot be looked at is named in `Observed.problems`. `processes` is None where no hub can be asked.
    """
    problems: dict[str, str] = {}
    no_ids: Sequence[ProposalId] = ()
    no_lag: Sequence[tuple[ProposalId, int]] = ()
    no_entries: tuple[Mapping[str, LedgerEntry], frozenset[str]] = ({}, frozenset())
    rows = _rows(problems, places)
    head = _noting(problems, "branch", None, places.commits.head)
    looked = [row for row in rows if row.application is not None][:_LOOKED_AT]
    changes = {row.id: _change(places, row) for row in looked}
    traces: Mapping[str, Traces] = {}
    if head is not None:
        traces = _noting(
            problems,
            "checkout",
            {},
            lambda: {row.id: _traces(places, row, head, changes[row.id], rows) for row in looked},
        )
    running = None if processes is None else _noting(problems, "processes", None, processes)
    candidates = _noting(problems, "candidates", no_ids, places.candidates.proposals)
    unrecorded = _noting(problems, "records", no_lag, places.records.pending_records)
    entries, reloads = _noting(problems, "ledger", no_entries, lambda: _last_moves(places.ledger))
    left_by = _noting(problems, "lock", "", lock)
    still = _rows(problems, places)
    unmoved = {(row.id, row.version) for row in rows} & {(row.id, row.version) for row in still}
    kept = {proposal_id for proposal_id, _ in unmoved}
    # Nothing is said of what a row that cannot be read may be about, but that it cannot be read.
    unknown = {*entries} - {row.id for row in rows} if "proposals" in problems else set()
    return Observed(
        at=now(),
        proposals=[row for row in rows if row.id in kept],
        moved=frozenset({*(row.id for row in (*rows, *still) if row.id not in kept), *unknown}),
        entries=entries,
        branch=_noting(problems, "branch", "", places.commits.deployed_branch),
        traces=traces,
        candidates=candidates,
        unrecorded=frozenset(proposal_id for proposal_id, _ in unrecorded),
        processes=running,
        reloads=reloads,
        swappable=frozenset(row.id for row in looked if row.state in APPLIED and _is_swappable(changes[row.id])),
        lock=left_by,
        proof_takes=proof_takes,
        problems=problems,
    )


def _rows(problems: dict[str, str], places: Places) -> Sequence[Proposal]:
    none: tuple[Sequence[Proposal], Sequence[IntegrityFailure]] = ((), ())
    rows, unreadable = _noting(problems, "proposals", none, lambda: read_readable(places.proposals))
    if unreadable:
        problems["proposals"] = "; ".join(error.message for error in unreadable[:_NAMED])
    return rows


def _noting(problems: dict[str, str], part: str, instead: _T, look: Callable[[], _T]) -> _T:
    try:
        return look()
    except HomeostatError as error:
        problems[part] = error.message
        return instead


def _last_moves(ledger: LedgerStore) -> tuple[Mapping[str, LedgerEntry], frozenset[str]]:
    """Return the entry that moved each proposal last, and what else the ledger knows to have been swapped in."""
    last: dict[str, LedgerEntry] = {}
    reloads: set[str] = set()
    after = 0
    while page := ledger.entries(after=after, limit=_PAGE):
        last |= {
            entry.subject: entry for entry in page if entry.kind.startswith(PROPOSAL_PREFIX) and "to" in entry.body
        }
        reloads.update(entry.subject for entry in page if entry.kind == "reload.begun")
        after = page[-1].seq
    return last, frozenset(reloads)


def _change(places: Places, row: Proposal) -> TreeChange | None:
    """Return the applied change as its backup has it; None when that cannot be read, which is said elsewhere."""
    application = row.application
    assert application is not None
    try:
        return places.backups.load(application.backup)
    except HomeostatError:
        return None


def _traces(
    places: Places, row: Proposal, head: CommitId, change: TreeChange | None, rows: Sequence[Proposal]
) -> Traces:
    application = row.application
    assert application is not None
    revert = application.revert_commit
    if revert == application.revert_parent:
        revert = None  # an automatic revert whose files could not be had made no commit
    in_branch = _is_in(places, application.commit, head)
    taken_back = revert is not None and _is_in(places, revert, head)
    by = next((item for item in rows if item.id == application.taken_out_by), None)
    if by is not None and by.application is not None:
        out_again = by.application.revert_commit
        stays = out_again is None or not _is_in(places, out_again, head)
        taken_back = by.takes_back == row.id and _is_in(places, by.application.commit, head) and stays
    at_application = head == (revert if taken_back else application.commit if in_branch else application.before_commit)
    return Traces(
        in_branch=in_branch,
        taken_back=taken_back,
        at_application=at_application,
        differs=_differing(places, change, in_branch and not taken_back) if at_application and change else (),
        backup=_backup_problem(places, row),
    )


def _is_in(places: Places, commit: CommitId, head: CommitId) -> bool:
    try:
        return places.commits.is_ancestor(commit, head)
    except NotFound:
        return False


def _differing(places: Places, change: TreeChange, applied: bool) -> Sequence[str]:
    return tuple(item.path for item in places.deployed.drift(change.inverse() if applied else change))


def _backup_problem(places: Places, row: Proposal) -> str:
    application = row.application
    assert application is not None
    try:
        change = places.backups.load(application.backup)
        return unlike_commits(change, application, places.commits.read_files)
    except HomeostatError as error:
        return error.message


def _is_swappable(change: TreeChange | None) -> bool:
    if change is None:
        return False
    plan = plan_change(change)
    return plan.needs_live and not plan.restart_reasons
