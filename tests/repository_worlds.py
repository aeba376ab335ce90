"""The repositories that the contract of the repository's ports is tried on, and one change of every kind."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from homeostat.adapters.backups import FolderBackupStore
from homeostat.adapters.git.candidate import GitCandidateBranch
from homeostat.adapters.git.deployed import GitDeployedTree
from homeostat.adapters.git.merging import GitCommitMerger
from homeostat.adapters.git.reader import GitCommitReader
from homeostat.adapters.git.records import GitRecordBranch
from homeostat.adapters.git.repository import open_repository
from homeostat.core.ids import CommitId, ProposalId
from homeostat.model.change import EXECUTABLE, REGULAR, ChangeKind, FileChange, FileMode, FileState, TreeChange
from homeostat.ports.repository import (
    BackupStore,
    CandidateBranch,
    CommitMerger,
    CommitReader,
    DeployedTree,
    RecordBranch,
)
from homeostat.testing.git_repository import UserRepository
from homeostat.testing.memory_repository import (
    MemoryBackupStore,
    MemoryCandidateBranch,
    MemoryCommitMerger,
    MemoryCommitReader,
    MemoryDeployedTree,
    MemoryRecordBranch,
    MemoryRepository,
)

AT = datetime(2026, 1, 10, 14, 32, tzinfo=UTC)
ID = ProposalId("0b0e7a4c-8f6e-4a5e-9d8f-0123456789ab")


def state(content: bytes, mode: FileMode = REGULAR) -> FileState:
    return FileState(content=content, mode=mode)


@dataclass(frozen=True, kw_only=True)
class World:
    """The ports, and what the user may do beside them."""

    reader: CommitReader
    merger: CommitMerger
    candidates: CandidateBranch
    records: RecordBranch
    deployed: DeployedTree
    backups: BackupStore
    user_commit: Callable[[Mapping[str, FileState | None]], CommitId]
    user_edit: Callable[[str, bytes | None], None]
    user_stage: Callable[[str], None]
    disk: Callable[[str], FileState | None]


def memory_world() -> World:
    repository = MemoryRepository()

    def edit(path: str, content: bytes | None) -> None:
        if content is None:
            repository.disk.pop(path)
        else:
            repository.disk[path] = state(content)

    return World(
        reader=MemoryCommitReader(repository),
        merger=MemoryCommitMerger(repository),
        candidates=MemoryCandidateBranch(repository),
        records=MemoryRecordBranch(repository),
        deployed=MemoryDeployedTree(repository),
        backups=MemoryBackupStore(),
        user_commit=lambda files: repository.user_commit(files, at=AT),
        user_edit=edit,
        user_stage=lambda path: repository.index.__setitem__(path, repository.disk[path]),
        disk=lambda path: repository.disk.get(path),
    )


def git_world(root: Path, object_format: str) -> World:
    user = UserRepository(root / "repository", object_format=object_format)

    def commit(files: Mapping[str, FileState | None]) -> CommitId:
        for path, item in files.items():
            if item is None:
                (user.root / path).unlink()
            else:
                user.write(path, item.content, executable=item.mode == EXECUTABLE)
        return user.commit()

    def edit(path: str, content: bytes | None) -> None:
        if content is None:
            (user.root / path).unlink()
        else:
            user.write(path, content)

    def disk(path: str) -> FileState | None:
        place = user.root / path
        if not place.is_file():
            return None
        return state(place.read_bytes(), EXECUTABLE if place.stat().st_mode & 0o100 else REGULAR)

    repository = open_repository(user.root)
    return World(
        reader=GitCommitReader(repository),
        merger=GitCommitMerger(repository),
        candidates=GitCandidateBranch(repository),
        records=GitRecordBranch(repository),
        deployed=GitDeployedTree(repository),
        backups=FolderBackupStore(root / "backups"),
        user_commit=commit,
        user_edit=edit,
        user_stage=lambda path: user.git("add", "--", path) and None,
        disk=disk,
    )


BASE = {
    "app/orders.py": state(b"def total():\n    return 1\n"),
    "app/tool": state(b"#!/bin/sh\n", EXECUTABLE),
    "app/old.py": state(b"old = True\n"),
    "gone/last.py": state(b"x = 1\n"),
    "README": state(b"orders\n"),
}
CHANGE = TreeChange(
    files=(
        FileChange(
            kind=ChangeKind.MODIFY,
            path="app/orders.py",
            old_path="app/orders.py",
            before=BASE["app/orders.py"],
            after=state(b"def total():\n    return 2\n"),
        ),
        FileChange(
            kind=ChangeKind.MODIFY,
            path="app/tool",
            old_path="app/tool",
            before=BASE["app/tool"],
            after=state(b"#!/bin/sh\n", REGULAR),
        ),
        FileChange(
            kind=ChangeKind.RENAME,
            path="app/new.py",
            old_path="app/old.py",
            before=BASE["app/old.py"],
            after=state(b"new = True\n", EXECUTABLE),
        ),
        FileChange(
            kind=ChangeKind.DELETE,
            path="gone/last.py",
            old_path="gone/last.py",
            before=BASE["gone/last.py"],
            after=None,
        ),
        FileChange(
            kind=ChangeKind.CREATE,
            path="fresh/deep/made.py",
            old_path="fresh/deep/made.py",
            before=None,
            after=state(b"made = True\r\n\xff\x00"),
        ),
    )
)
AFTER: dict[str, FileState | None] = {
    "app/orders.py": state(b"def total():\n    return 2\n"),
    "app/tool": state(b"#!/bin/sh\n"),
    "app/old.py": None,
    "app/new.py": state(b"new = True\n", EXECUTABLE),
    "gone/last.py": None,
    "fresh/deep/made.py": state(b"made = True\r\n\xff\x00"),
}
PATHS = sorted(AFTER)


def on_disk(world: World) -> dict[str, FileState | None]:
    return {path: world.disk(path) for path in PATHS}


def before() -> dict[str, FileState | None]:
    return {path: BASE.get(path) for path in PATHS}
