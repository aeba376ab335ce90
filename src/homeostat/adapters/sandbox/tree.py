"""The processes below one: counted, weighed, and ended to the last.

The root of the tree must be a child subreaper, so that nothing leaves the tree by daemonising.
"""

import os
import resource
import signal
import time
from collections.abc import Collection, Iterable
from contextlib import suppress

_PROC = "/proc"
_LOOK_EVERY_S = 0.002
_MAX_BYTES = 16_384


def descendants(root: int) -> list[int]:
    """Return the ids of every process below `root`, parents before their children."""
    children = _children()
    found: list[int] = []
    queue = children.get(root, [])
    while queue:
        found += queue
        queue = [child for process in queue for child in children.get(process, [])]
    return found


def memory_bytes(processes: Iterable[int]) -> int:
    """Return what these hold in memory that is not backed by files; shared pages count for each."""
    total = 0
    for process in processes:
        for line in _read(f"{_PROC}/{process}/status").splitlines():
            if line.startswith(("RssAnon:", "RssShmem:")):
                total += int(line.split()[1]) << 10
    return total


def kill_descendants(root: int, *, timeout_s: float) -> bool:
    """End every process below `root` and reap those that became its children; False if some remain.

    Each is first forbidden to fork and stopped, so that a tree which grows while it is read is
    caught in the next round.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        if not _reap() and root == os.getpid():
            return True  # whoever loses a parent below a subreaper becomes its child: no child, no descendant
        found = descendants(root)
        if not found:
            return True
        _kill(found)
        if time.monotonic() > deadline:
            return False
        time.sleep(_LOOK_EVERY_S)


def kill_other_children(known: Collection[int], *, timeout_s: float) -> bool:
    """End and reap every child of this process that is not `known`, and all below it; False if some remain."""
    deadline = time.monotonic() + timeout_s
    while True:
        others = [child for child in _children().get(os.getpid(), ()) if child not in known]
        if not others:
            return True
        _kill([process for other in others for process in (other, *descendants(other))])
        for other in others:
            with suppress(ChildProcessError):
                os.waitpid(other, os.WNOHANG)
        if time.monotonic() > deadline:
            return False
        time.sleep(_LOOK_EVERY_S)


def _kill(processes: Collection[int]) -> None:
    for process in processes:
        with suppress(OSError, ValueError):
            resource.prlimit(process, resource.RLIMIT_NPROC, (0, 0))
        with suppress(ProcessLookupError, PermissionError):
            os.kill(process, signal.SIGSTOP)
    for process in processes:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(process, signal.SIGKILL)


def _children() -> dict[int, list[int]]:
    """Return the children of every process that has some."""
    children: dict[int, list[int]] = {}
    for name in os.listdir(_PROC):  # noqa: PTH208 - ten times a second
        if name.isdigit():
            parent = _parent_of(int(name))
            if parent is not None:
                children.setdefault(parent, []).append(int(name))
    return children


def _reap() -> bool:
    """Reap what has ended; return whether this process still has children."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


def _parent_of(process: int) -> int | None:
    text = _read(f"{_PROC}/{process}/stat")
    # The name in parentheses may itself hold spaces and parentheses.
    fields = text.rpartition(")")[2].split()
    return int(fields[1]) if len(fields) > 1 else None


def _read(path: str) -> str:
    """Return a small file of /proc; by the bare calls, since every process of the machine is looked at."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""  # it ended meanwhile
    try:
        return os.read(handle, _MAX_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
    finally:
        os.close(handle)
