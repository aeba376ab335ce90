"""The files that a person edits, on this machine's disk. Asked again and again (ADR 0035 says why nobody tells)."""

import os
import stat
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from homeostat.model.reload import FileText, Stamp, Unreadable

MAX_SOURCE_BYTES = 1 << 20
"""Of one file: nobody edits a larger one by hand, and both its texts go to each process in one frame."""

_LOCK = "index.lock"
_NOT_CODE = frozenset({".git", ".homeostat"})
_LATEST_NS = 2**62
"""A file system may tell any time at all."""


class DiskEditedFiles:
    """Implements `homeostat.ports.editing.EditedFiles` for a checkout."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._real_root = root.resolve()
        self._git_dir = _git_dir(root)
        self._places: dict[str, Path] = {}

    def stamps(self, paths: Iterable[str]) -> Mapping[str, Stamp | None]:
        return {path: self._stamp(path) for path in paths}

    def read(self, path: str) -> FileText:
        try:
            # Not waited for: whoever put a pipe in the place of the file may never write to it.
            descriptor = os.open(self._root / path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return Unreadable("it is not there any more")
        except OSError as error:
            return Unreadable(f"it cannot be read: {error.strerror}")
        try:
            if not self._is_inside(descriptor):
                return Unreadable("it leads out of the repository, or to what is not its code")
            return _content(descriptor)
        finally:
            os.close(descriptor)

    def git_is_at_work(self) -> bool:
        return self._git_dir is not None and (self._git_dir / _LOCK).exists()

    def _is_inside(self, descriptor: int) -> bool:
        """Tell whether what was opened is a file of the checkout: a path of it may be a link to anywhere."""
        try:
            parts = Path(f"/proc/self/fd/{descriptor}").readlink().relative_to(self._real_root).parts
        except (OSError, ValueError):
            return False
        return not _NOT_CODE & set(parts)

    def _place(self, path: str) -> Path:
        found = self._places.get(path)
        if found is None:  # joining two paths takes as long as asking the disk
            found = self._places[path] = self._root / path
        return found

    def _stamp(self, path: str) -> Stamp | None:
        try:
            facts = self._place(path).stat()
        except (OSError, ValueError):
            return None
        return _stamp_of(facts) if stat.S_ISREG(facts.st_mode) else None


def _stamp_of(facts: os.stat_result) -> Stamp:
    # Nobody can set this time: it is when content, mode or name changed, whatever a tool made of `st_mtime`.
    changed_at = datetime.fromtimestamp(min(max(facts.st_ctime_ns, 0), _LATEST_NS) / 1e9, tz=UTC)
    identity = (facts.st_dev, facts.st_ino, facts.st_mtime_ns, facts.st_ctime_ns)
    return Stamp(changed_at, facts.st_size, identity)


def _content(descriptor: int) -> FileText:
    try:
        before = os.fstat(descriptor)
        if not stat.S_ISREG(before.st_mode):
            return Unreadable("it is not a file any more")
        if before.st_size > MAX_SOURCE_BYTES:
            return Unreadable(f"it has {before.st_size} bytes, more than the {MAX_SOURCE_BYTES} that are reloaded")
        data = os.pread(descriptor, MAX_SOURCE_BYTES + 1, 0)
        if _stamp_of(os.fstat(descriptor)) != _stamp_of(before) or len(data) != before.st_size:
            return Unreadable("it is just being written")
    except OSError as error:
        return Unreadable(f"it cannot be read: {error.strerror}")
    return data


def _git_dir(root: Path) -> Path | None:
    """Return where Git keeps this checkout's index: in it, or where the file of a linked work tree points."""
    found = root / ".git"
    try:
        if found.is_file():
            word, _, place = found.read_text(encoding="utf-8", errors="surrogateescape").partition("gitdir:")
            return (root / place.strip()) if not word else None
        return found if found.is_dir() else None
    except OSError:
        return None
