"""The private folder of one proof or self-test: held by a lock while its worker lives, swept when it does not."""

import fcntl
import os
import shutil
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
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    # Another uid must pass through to its checkout where there are no mounts; it cannot list this.
    folder.chmod(0o711)
    handle = os.open(folder / _LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield folder
    finally:
        _remove_held(folder)
        os.close(handle)


def sweep_stale_folders() -> int:
    """Remove folders that workers of this user left behind when they were killed; return how many."""
    swept = 0
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        status = folder.lstat() if folder.exists() else None
        if status is None or status.st_uid != os.getuid() or folder.is_symlink() or not folder.is_dir():
            continue
        if _is_abandoned(folder):
            _remove_held(folder)
            swept += 1
    return swept


def _is_abandoned(folder: Path) -> bool:
    try:
        handle = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return not any(folder.iterdir())  # died before its lock was made; one that starts now is young and empty
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(handle)
    return True


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
