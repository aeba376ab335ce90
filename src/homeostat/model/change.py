"""A change to files: what a parsed patch says, and what it makes of a tree."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NewType

FileMode = NewType("FileMode", int)
REGULAR = FileMode(0o100644)
EXECUTABLE = FileMode(0o100755)


class ChangeKind(StrEnum):
    MODIFY = "modify"
    CREATE = "create"
    DELETE = "delete"
    RENAME = "rename"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileState:
    """A regular file's bytes and mode in a tree."""

    content: bytes
    mode: FileMode


@dataclass(frozen=True, slots=True, kw_only=True)
class FileChange:
    """What happens to one path. For a rename, `old_path` differs from `path` and goes away."""

    kind: ChangeKind
    path: str
    old_path: str
    before: FileState | None
    after: FileState | None

    @property
    def touched_paths(self) -> tuple[str, ...]:
        """Every path that is written or removed."""
        return (self.path,) if self.path == self.old_path else (self.old_path, self.path)


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeChange:
    """All file changes of one patch, resolved against one base tree; nothing in it is half-known."""

    files: tuple[FileChange, ...]

    @property
    def touched_paths(self) -> tuple[str, ...]:
        return tuple(sorted({path for change in self.files for path in change.touched_paths}))

    def inverse(self) -> "TreeChange":
        """Return the change that takes this one back, byte for byte."""
        swapped = {
            ChangeKind.CREATE: ChangeKind.DELETE,
            ChangeKind.DELETE: ChangeKind.CREATE,
        }
        return TreeChange(
            files=tuple(
                FileChange(
                    kind=swapped.get(change.kind, change.kind),
                    path=change.old_path,
                    old_path=change.path,
                    before=change.after,
                    after=change.before,
                )
                for change in self.files
            )
        )
