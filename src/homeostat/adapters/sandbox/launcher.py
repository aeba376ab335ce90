"""The process that stands between us and sandboxed code: starts it, watches it, ends all of it.

Forked by `zygote` for one run, because what follows changes the process for good. It reads a spec,
gives the command the output descriptor, and writes one line of JSON to the status descriptor. It
ends when its parent does, and takes every sandboxed process along.
"""

import json
import os
import select
import signal
import socket
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn

from homeostat.adapters.sandbox import kernel, stages, tree
from homeostat.adapters.sandbox.spec import Kind, Limits, Shown

_LOOK_EVERY_S = 0.1
_KILL_WITHIN_S = 10.0
_MAX_MESSAGE = 2000
MAX_REQUEST = 40
"""A request is the name of a kind."""


class _Stopped(Exception):
    """Somebody asked us to end, or our parent is gone."""


def main(door: socket.socket, *, parent: int, expected: Kind, shown: Shown | None) -> int:
    """Make ready for a run, wait for its request at `door`, run it, and say at its status descriptor how it ended.

    Ends with `parent`, the process that forked us. Ready is what the `expected` kind needs; another can come.
    """
    signal.signal(signal.SIGTERM, _on_stop)
    signal.signal(signal.SIGINT, _on_stop)
    kernel.die_with_parent(signal.SIGTERM, parent)
    kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
    os.umask(0o022)
    try:
        waiting = stages.prepare(expected, shown)
        request, handles, _, _ = socket.recv_fds(door, MAX_REQUEST, 3)
        door.close()
    except _Stopped:
        return 0
    if not request:
        return 0
    spec_fd, output_fd, status_fd = handles
    ours = os.dup(2)  # never closed: whoever reads the worker's stderr to its end knows that no launcher is left
    os.dup2(output_fd, 1)
    os.dup2(output_fd, 2)
    os.close(output_fd)
    report, report_child = os.pipe()
    os.set_blocking(report, False)
    kind = Kind(request.decode())
    if waiting.kind is not kind:
        waiting.end()
        waiting = stages.prepare(kind, shown)
    child = waiting.start(spec_fd, report_child)
    status = _follow(kind, child, spec_fd=spec_fd, report=report, report_child=report_child, ours=ours)
    with suppress(BrokenPipeError):
        os.write(status_fd, json.dumps(status).encode() + b"\n")
    return 0


def _on_stop(number: int, frame: FrameType | None) -> NoReturn:
    raise _Stopped


def _hold_mounts(child: int) -> None:
    """Keep a run's mounts for as long as we live: taking them down can wait until its end was told."""
    with suppress(OSError):
        os.open(f"/proc/{child}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)


def _follow(
    kind: Kind, child: int, *, spec_fd: int, report: int, report_child: int, ours: int
) -> dict[str, str | int | None]:
    """See a run to its end, with everything that it started; return how it ended."""
    code: int | None = None
    message = ""
    try:
        os.close(report_child)
        for number in (1, 2):  # the output is at its end when the run is, and not only when we are
            os.dup2(ours, number)
        if kind is Kind.NAMESPACES:
            _hold_mounts(child)
        spec = stages.read_spec(spec_fd)
        free_at_start = {bind.source: _free_bytes(bind.source) for bind in spec.binds if bind.writable}
        ended = _watch(child, spec.limits, free_at_start)
        if ended == "exited":
            code = _reaped(child)
    except _Stopped:
        ended = "stopped"
    except OSError as error:
        ended, message = "setup", str(error)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the rest must not be cut short
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    all_dead = tree.kill_descendants(os.getpid(), timeout_s=_KILL_WITHIN_S)
    came_up, said = stages.read_report(kind, _read_all(report))
    if not came_up and ended == "exited":
        ended = "setup"
    return {"ended": ended if all_dead else "survivors", "code": code, "message": message or said}


def _watch(child: int, limits: Limits, free_at_start: dict[str, int]) -> str:
    """Wait until the command ends or a limit does; return ``exited``, ``time``, ``memory`` or ``disk``."""
    deadline = time.monotonic() + limits.timeout_s
    handle = os.pidfd_open(child)
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    me = os.getpid()
    try:
        while True:
            left = deadline - time.monotonic()
            if poll.poll(max(0.0, min(left, _LOOK_EVERY_S)) * 1000):
                return "exited"
            if left <= 0:
                return "time"
            if tree.memory_bytes(tree.descendants(me)) > limits.tree_memory_mb << 20:
                return "memory"
            if _disk_is_used_up(free_at_start, limits):
                return "disk"
    finally:
        os.close(handle)


def _disk_is_used_up(free_at_start: dict[str, int], limits: Limits) -> bool:
    """Tell whether the writable folders outgrew their limit; they are walked only when the disk filled."""
    limit = limits.disk_mb << 20
    if not any(start - _free_bytes(path) > limit for path, start in free_at_start.items()):
        return False
    return sum(map(_used_bytes, free_at_start)) > limit


def _free_bytes(path: str) -> int:
    facts = os.statvfs(path)
    return facts.f_bfree * facts.f_frsize


def _used_bytes(folder: str) -> int:
    total = 0
    for parent, _, files in os.walk(folder):
        for name in files:
            with suppress(OSError):
                total += Path(parent, name).lstat().st_blocks * 512
    return total


def _reaped(child: int) -> int:
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _read_all(handle: int) -> bytes:
    try:
        return os.read(handle, _MAX_MESSAGE)
    except BlockingIOError:
        return b""
