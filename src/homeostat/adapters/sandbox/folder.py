"""The private folder of one proof or self-test: held by a lock while its worker lives, swept when it does not."""

import fcntl
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PREFIX = "homeostat-proof-"
_LOCK = "lock"


@contextmanager
def proof_folder() -> Iterator[Path]:
    """Make a folder, hold it, and remove it with everything in it, whatever the sandboxed code made there."""
    folder, handle = _made()
    try:
        yield folder
    finally:
        _remove_held(folder)
        os.close(handle)


def sweep_stale_folders() -> int:
    """Remove folders that workers of this user left behind when they were killed; return how many.

    Safe beside workers that make, hold, remove or sweep folders at the same time.
    """
    return sum(_sweep(folder) for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"))


def _made() -> tuple[Path, int]:
    """Make a folder and take its lock. One that a sweep took for abandoned before it was held is let go."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        with suppress(FileNotFoundError):
            # Another uid must pass through to its checkout where there are no mounts; it cannot list this.
            folder.chmod(0o711)
            handle = os.open(folder / _LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            fcntl.flock(handle, fcntl.LOCK_EX)
            if _is_lock_of(folder, handle):
                return folder, handle
            os.close(handle)


def _sweep(folder: Path) -> bool:
    """Remove a folder of this user that nobody holds; return whether it was there to be removed."""
    try:
        status = folder.lstat()
        if status.st_uid != os.getuid() or not stat.S_ISDIR(status.st_mode):
            return False
        handle = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return _removed_empty(folder)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # INVARIANT: whoever removes a folder holds its lock, so that nobody else comes to hold what is being removed.
        abandoned = _is_lock_of(folder, handle)
        if abandoned:
            _remove_held(folder)
        return abandoned
    except BlockingIOError:
        return False
    finally:
        os.close(handle)


def _removed_empty(folder: Path) -> bool:
    """Remove a folder whose maker died before it made the lock. A maker that lives sees it gone, and makes another."""
    try:
        folder.rmdir()  # refused as soon as anything is in it
    except OSError:
        return False
    return True


def _is_lock_of(folder: Path, handle: int) -> bool:
    """Tell whether this open lock is still the one in the folder: the folder may have been removed meanwhile."""
    try:
        return os.path.samestat(os.fstat(handle), (folder / _LOCK).lstat())
    except FileNotFoundError:
        return False


def _remove_held(folder: Path) -> None:
    """Remove a folder of ours, its lock last: what resists keeps the mark by which the next sweep knows it."""
    for path in folder.iterdir():
        if path.name != _LOCK:
            remove_tree(path)
    if not any(path.name != _LOCK for path in folder.iterdir()):
        remove_tree(folder)


def remove_tree(folder: Path) -> None:
    """Remove a folder although code of others may have closed or nested parts of it. No such code may run now.

    What still resists is left for the next sweep.
    """
    with suppress(OSError, RecursionError):
        shutil.rmtree(folder)
        return
    for command in (["chmod", "-R", "u+rwX", "--", str(folder)], ["rm", "-rf", "--", str(folder)]):
        subprocess.run(command, capture_output=True, check=False, stdin=subprocess.DEVNULL)
