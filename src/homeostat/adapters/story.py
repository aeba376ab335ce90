"""Collecting what `homeostat verify` looks at, with the hub down and without writing anything."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from homeostat.adapters.backups import FolderBackupStore
from homeostat.adapters.clock import SystemClock
from homeostat.adapters.git.reader import GitCommitReader
from homeostat.adapters.git.records import GitRecordBranch
from homeostat.adapters.git.repository import open_repository
from homeostat.adapters.keys import load_verifier
from homeostat.adapters.store.store import SqlStore
from homeostat.audit.chain import EMPTY_HEAD
from homeostat.audit.head import TRAILER_KEY, parse_head
from homeostat.audit.story import BackupResult, StoryInputs
from homeostat.core.errors import HomeostatError, NotFound
from homeostat.core.ids import CommitId
from homeostat.model.ledger import LedgerEntry, LedgerHead
from homeostat.model.proposal import Proposal

_PAGE = 1000

T = TypeVar("T")


def collect_story(repository: Path, state_dir: Path) -> StoryInputs:
    """Read everything that is there; what cannot be read is named in `problems`, never left out.

    `IntegrityFailure` or `Unavailable` when there is no public key to check signatures with.
    """
    problems: dict[str, str] = {}
    signer = load_verifier(state_dir)
    entries: Sequence[LedgerEntry] = ()
    proposals: Sequence[Proposal] = ()
    unrecorded: frozenset[str] = frozenset()
    db_head = EMPTY_HEAD
    try:
        store = SqlStore.open(
            state_dir / "homeostat.sqlite",
            signer=signer,
            clock=SystemClock(),
            head_path=state_dir / "ledger-head.json",
            unsafe_skip_head_check=True,
            read_only=True,
        )
    except HomeostatError as error:
        problems["ledger"] = problems["proposals"] = error.message
    else:
        try:
            # Proposals before entries: a hub that writes meanwhile can only make entries newer.
            unrecorded = frozenset(identity for identity, _ in store.records.pending_records())
            proposals = _noting(problems, "proposals", (), lambda: _all_proposals(store))
            entries = _noting(problems, "ledger", (), lambda: _all_entries(store))
            db_head = _noting(problems, "ledger", EMPTY_HEAD, store.ledger.head)
        finally:
            store.close()
    return StoryInputs(
        entries=entries,
        db_head=db_head,
        head_file=_noting(problems, "head-file", None, lambda: _head_file(state_dir)),
        trailers=_noting(problems, "git", (), lambda: _trailers(repository)),
        verify=signer.verify,
        proposals=proposals,
        unrecorded=unrecorded,
        backups=[_look_at_backup(state_dir, name) for name in _backups_named(proposals)],
        commits=_noting(problems, "git", frozenset(), lambda: _existing(repository, proposals)),
        problems=problems,
    )


def _noting(problems: dict[str, str], what: str, instead: T, read: Callable[[], T]) -> T:
    try:
        return read()
    except HomeostatError as error:
        problems[what] = error.message
    except OSError as error:
        problems[what] = str(error)
    return instead


def _all_entries(store: SqlStore) -> list[LedgerEntry]:
    entries: list[LedgerEntry] = []
    while page := store.ledger.entries(after=entries[-1].seq if entries else 0, limit=_PAGE):
        entries += page
    return entries


def _all_proposals(store: SqlStore) -> list[Proposal]:
    proposals: list[Proposal] = []
    while page := store.proposals.find(limit=_PAGE, offset=len(proposals)):
        proposals += page
    return proposals


def _head_file(state_dir: Path) -> LedgerHead | None:
    path = state_dir / "ledger-head.json"
    return parse_head(path.read_bytes()) if path.exists() else None


def _trailers(repository: Path) -> Sequence[tuple[CommitId, str]]:
    return GitRecordBranch(open_repository(repository)).trailers(TRAILER_KEY)


def _backups_named(proposals: Sequence[Proposal]) -> list[str]:
    return [proposal.application.backup for proposal in proposals if proposal.application is not None]


def _look_at_backup(state_dir: Path, name: str) -> BackupResult:
    try:
        change = FolderBackupStore(state_dir / "backups").load(name)
    except HomeostatError as error:
        return BackupResult(name=name, intact=False, detail=error.message)
    return BackupResult(name=name, intact=True, detail=f"{len(change.files)} files")


def _existing(repository: Path, proposals: Sequence[Proposal]) -> frozenset[CommitId]:
    reader = GitCommitReader(open_repository(repository))
    named: set[CommitId] = set()
    for proposal in proposals:
        named.add(proposal.change.base_commit)
        if proposal.application is not None:
            named |= {proposal.application.before_commit, proposal.application.commit}
            if proposal.application.revert_commit is not None:
                named.add(proposal.application.revert_commit)
    return frozenset(commit for commit in named if _exists(reader, commit))


def _exists(reader: GitCommitReader, commit: CommitId) -> bool:
    try:
        reader.resolve(commit)
    except NotFound:
        return False
    return True
