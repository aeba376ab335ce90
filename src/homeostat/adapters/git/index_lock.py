"""git's own lock on a checkout's index, held while branch and files move together.

While ``index.lock`` exists, the user's `git add`, `git commit` and `git switch` refuse to start, so
nobody can commit a half-moved tree. The new index is written beside the old one by git itself and
takes its place in one rename. A lock that a dead process of ours left is known by its first bytes
and removed by the next caller, who must hold `GitRepository.exclusive`.
"""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from homeostat.adapters.folders import sync_folder
from homeostat.adapters.git.command import Git
from homeostat.adapters.git.failures import disk_failure, lock_held
from homeostat.adapters.git.index_entries import IndexEntry, write_entries

_MARK = b"homeostat: the deployed tree is being moved; the hub finishes this when it starts\n"


class IndexLock:
    """The lock of one checkout's index. `take`, then `prepare` and `publish`, and always `release`."""

    def __init__(self, git: Git, git_dir: Path) -> None:
        self._git = git
        self._index = git_dir / "index"
        self._lock = git_dir / "index.lock"
        self._mark = git_dir / "index.homeostat.mark"
        self._next = git_dir / "index.homeostat"
        self._next_lock = git_dir / "index.homeostat.lock"
        self._held = False

    def take(self) -> None:
        """Take the lock, or raise `Unavailable` (``git-lock-held``) when a git is at work."""
        with suppress(FileNotFoundError):
            if self._lock.read_bytes() == _MARK:
                self._lock.unlink()
        # The mark is written first and then linked into place: dying in between must not leave a
        # lock that nobody knows as ours.
        try:
            self._mark.unlink(missing_ok=True)
            self._mark.write_bytes(_MARK)
            self._lock.hardlink_to(self._mark)
        except FileExistsError as error:
            raise lock_held(str(self._lock)) from error
        except OSError as error:
            raise disk_failure(error, f"take the lock `{self._lock}`") from error
        finally:
            with suppress(OSError):
                self._mark.unlink(missing_ok=True)
        self._held = True

    def release(self) -> None:
        """Let go, and forget an index that was prepared but not published."""
        if not self._held:
            return
        self._held = False
        try:
            for path in (self._next, self._next_lock, self._lock):
                path.unlink(missing_ok=True)
        except OSError as error:
            raise disk_failure(error, f"remove the lock `{self._lock}`") from error

    def prepare(self, entries: Mapping[str, IndexEntry | None]) -> None:
        """Write the coming index: the present one with these entries replaced (None: removed)."""
        try:
            self._next_lock.unlink(missing_ok=True)
            self._next.unlink(missing_ok=True)
            if self._index.exists():
                self._next.write_bytes(self._index.read_bytes())
        except OSError as error:
            raise disk_failure(error, f"write `{self._next}`") from error
        write_entries(self._git, entries, index=self._next)
        with self._next.open("rb") as file:
            os.fsync(file.fileno())

    def publish(self) -> None:
        """Put the prepared index in the place of the present one."""
        self._next.rename(self._index)
        sync_folder(self._index.parent)


def left_lock(git_dir: Path) -> str:
    """Return the path of an ``index.lock`` that a move of ours left or holds; empty when there is none."""
    lock = git_dir / "index.lock"
    try:
        return str(lock) if lock.read_bytes() == _MARK else ""
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise disk_failure(error, f"read `{lock}`") from error
