"""Collecting what `homeostat verify` looks at, with the hub down or at work, and writing nothing."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from homeostat.adapters.backups import FolderBackupStore
from homeostat.adapters.clock import SystemClock
from homeostat.adapters.git.reader import GitCommitReader, existing_commits
from homeostat.adapters.git.records import GitRecordBranch
from homeostat.adapters.git.repository import open_repository
from homeostat.adapters.keys import load_verifier
from homeostat.adapters.store.head_file import HeadFile
from homeostat.adapters.store.snapshot import StoreSnapshot
from homeostat.adapters.store.store import SqlStore
from homeostat.audit.chain import EMPTY_HEAD
from homeostat.audit.checkpoint import CHECKPOINT_TRAILER, ledger_key
from homeostat.audit.head import TRAILER_KEY
from homeostat.audit.story import Check, StoryInputs, unlike_commits, verify_story
from homeostat.audit.story_parts import BackupResult, StoryPart, named_commits
from homeostat.core.errors import HomeostatError, InvalidInput
from homeostat.core.ids import CommitId
from homeostat.model.ledger import LedgerHead
from homeostat.model.proposal import Application, Proposal
from homeostat.ports.signer import Signer
from homeostat.proposals.markdown import is_as_written, parse_header, record_path, time_text

T = TypeVar("T")


def check_story(repository: Path, state_dir: Path, *, kept: Sequence[tuple[str, str]] = ()) -> tuple[Check, ...]:
    """Run the checks of `homeostat verify`; what is there is read piece by piece, however much it is.

    `kept` are checkpoints from elsewhere, (words for where, note), that the ledger must go on from.
    """
    with open_story(repository, state_dir) as inputs:
        return verify_story(replace(inputs, kept=kept))


@contextmanager
def open_story(repository: Path, state_dir: Path) -> Iterator[StoryInputs]:
    """Give everything that is there; what cannot be read is named in `problems`, never left out.

    The witnesses are read before the database: a commit in between then looks like a witness that
    lags. What the database says was recorded in Git is looked for in Git afterwards.
    `IntegrityFailure` or `Unavailable` when there is no public key to check signatures with.
    """
    problems: dict[str, str] = {}
    signer = load_verifier(state_dir)
    head_file = _noting(problems, "head-file", None, lambda: _head_file(state_dir))
    none: Sequence[tuple[CommitId, str]] = ()
    trailers = _noting(problems, "git", none, lambda: _trailers(repository, TRAILER_KEY))
    checkpoints = _noting(problems, "git", none, lambda: _trailers(repository, CHECKPOINT_TRAILER))
    with ExitStack() as stack:
        snapshot = _noting(problems, "ledger", None, lambda: stack.enter_context(_snapshot(state_dir, signer)))
        if snapshot is None:
            problems["proposals"] = problems["ledger"]
        else:
            problems = snapshot.problems = {**problems, **snapshot.problems}
        later_trailers = _noting(problems, "git", none, lambda: _later_trailers(repository, trailers))
        yield StoryInputs(
            entries=() if snapshot is None else snapshot.entries(),
            parts=() if snapshot is None else _parts(repository, state_dir, snapshot),
            db_head=EMPTY_HEAD if snapshot is None else snapshot.head,
            head_file=head_file,
            trailers=trailers,
            nodes=() if snapshot is None else snapshot.nodes(),
            checkpoints=checkpoints,
            kept=(),
            key=ledger_key(signer.public_key()),
            later_trailers=later_trailers,
            verify=signer.verify,
            unrecorded=frozenset() if snapshot is None else snapshot.unrecorded,
            actors=() if snapshot is None else snapshot.actors,
            token_digests={} if snapshot is None else snapshot.token_digests,
            problems=problems,
        )


def _parts(repository: Path, state_dir: Path, snapshot: StoreSnapshot) -> Iterator[StoryPart]:
    none_wrong: Sequence[str] = ()
    no_commits: frozenset[CommitId] = frozenset()
    problems = snapshot.problems
    for rows in snapshot.rows():
        recorded = [row for row in rows.proposals if row.id not in snapshot.unrecorded]
        yield StoryPart(
            proposals=rows.proposals,
            entries=rows.moves,
            row_digests=rows.digests,
            backups=_look_at_backups(repository, state_dir, _applications(rows.proposals)),
            commits=_noting(problems, "git", no_commits, partial(_existing, repository, rows.proposals)),
            records=_noting(problems, "git", none_wrong, partial(_look_at_records, repository, recorded)),
        )


def _look_at_records(repository: Path, recorded: Sequence[Proposal]) -> Sequence[str]:
    rows = {record_path(row): row for row in recorded}
    records = GitRecordBranch(open_repository(repository))
    return [line for path, data in records.read_all(list(rows)) if (line := unlike_row(path, data, rows[path]))]


def unlike_row(path: str, data: bytes | None, row: Proposal) -> str:
    """Say what is wrong with the record at `path`, which must tell of this row; empty when it does."""
    remedy = "the row is the truth, and the next status commit writes it anew"
    if data is None:
        return f"the record {path} was removed by hand; {remedy}"
    try:
        if not is_as_written(data):
            return f"the record {path} was edited by hand; {remedy}, and keeps what was written there"
        header = parse_header(data)
        # A later one was written after the row was read: a hub is at work.
        if header.status != row.status and header.fields.get("Updated", "") < time_text(row.updated_at):
            return f"the record {path} is an older one, which does not say {row.status}; {remedy}"
    except InvalidInput as error:
        return f"the record {path} cannot be read ({error.message}); {remedy}"
    return ""


def _noting(problems: dict[str, str], what: str, instead: T, read: Callable[[], T]) -> T:
    try:
        return read()
    except HomeostatError as error:
        problems[what] = error.message
    except OSError as error:
        problems[what] = str(error)
    return instead


@contextmanager
def _snapshot(state_dir: Path, signer: Signer) -> Iterator[StoreSnapshot]:
    store = SqlStore.open(
        state_dir / "homeostat.sqlite",
        signer=signer,
        clock=SystemClock(),
        head_path=state_dir / "ledger-head.json",
        unsafe_skip_head_check=True,
        read_only=True,
    )
    try:
        with store.snapshot() as snapshot:
            yield snapshot
    finally:
        store.close()


def _head_file(state_dir: Path) -> LedgerHead | None:
    return HeadFile(state_dir / "ledger-head.json").read()


def _trailers(repository: Path, key: str) -> Sequence[tuple[CommitId, str]]:
    return GitRecordBranch(open_repository(repository)).trailers(key)


def _later_trailers(repository: Path, known: Sequence[tuple[CommitId, str]]) -> Sequence[tuple[CommitId, str]]:
    """Return all there are now. What was read before is read again only where the branch did not simply go on."""
    records = GitRecordBranch(open_repository(repository))
    if not known:
        return records.trailers(TRAILER_KEY)
    since = records.trailers_since(known[0][0], TRAILER_KEY)
    return records.trailers(TRAILER_KEY) if since is None else [*since, *known]


def _applications(proposals: Sequence[Proposal]) -> list[Application]:
    return [proposal.application for proposal in proposals if proposal.application is not None]


def _look_at_backups(repository: Path, state_dir: Path, applications: Sequence[Application]) -> Sequence[BackupResult]:
    if not applications:
        return []
    store = FolderBackupStore(state_dir / "backups")
    try:
        reader = GitCommitReader(open_repository(repository))
    except HomeostatError as error:
        return [BackupResult(name=item.backup, intact=False, detail=error.message) for item in applications]
    return [_look_at_backup(store, reader, item) for item in applications]


def _look_at_backup(store: FolderBackupStore, reader: GitCommitReader, application: Application) -> BackupResult:
    name = application.backup
    try:
        change = store.load(name)
        unlike = unlike_commits(change, application, reader.read_files)
        if unlike:
            return BackupResult(name=name, intact=False, detail=unlike)
    except HomeostatError as error:
        return BackupResult(name=name, intact=False, detail=error.message)
    return BackupResult(name=name, intact=True, detail=f"{len(change.files)} files")


def _existing(repository: Path, proposals: Sequence[Proposal]) -> frozenset[CommitId]:
    return existing_commits(open_repository(repository), named_commits(proposals))
