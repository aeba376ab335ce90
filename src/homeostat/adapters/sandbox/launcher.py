"""The process that stands between us and sandboxed code: starts it, watches it, ends all of it.

Started by `run` as a fresh process with nothing but the standard library, because what follows forks
and changes the process for good. Reads a spec on stdin, hands its stdout and stderr to the command,
and writes one line of JSON to the status descriptor that is named in its arguments. It ends when its
parent does, and takes every sandboxed process along.
"""

import json
import os
import select
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn

from homeostat.adapters.sandbox import innermost, kernel, stages, tree
from homeostat.adapters.sandbox.spec import Limits, SandboxSpec, decode_spec

_LOOK_EVERY_S = 0.1
_KILL_WITHIN_S = 10.0
_MAX_MESSAGE = 2000


class _Stopped(Exception):
    """Somebody asked us to end, or our parent is gone."""


def main(arguments: list[str]) -> int:
    """Run the spec on stdin; `arguments` are the status descriptor and the parent's process id."""
    status_fd, parent = int(arguments[0]), int(arguments[1])
    signal.signal(signal.SIGTERM, _on_stop)
    signal.signal(signal.SIGINT, _on_stop)
    kernel.die_with_parent(signal.SIGTERM, parent)
    kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
    spec = decode_spec(sys.stdin.buffer.read())
    status = _run(spec)
    with suppress(BrokenPipeError):
        os.write(status_fd, json.dumps(status).encode() + b"\n")
    return 0


def _on_stop(number: int, frame: FrameType | None) -> NoReturn:
    raise _Stopped


def _run(spec: SandboxSpec) -> dict[str, str | int | None]:
    try:
        free_at_start = {bind.source: _free_bytes(bind.source) for bind in spec.binds if bind.writable}
    except OSError as error:
        return {"ended": "setup", "code": None, "message": str(error)}
    ready, ready_child = os.pipe()
    os.set_blocking(ready, False)
    me = os.getpid()
    child = os.fork()
    if child == 0:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        stages.enter(spec, supervisor=me, ready_fd=ready_child)
    os.close(ready_child)
    code: int | None = None
    try:
        ended = _watch(child, spec.limits, free_at_start)
        if ended == "exited":
            code = _reaped(child)
    except _Stopped:
        ended = "stopped"
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the rest must not be cut short
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    all_dead = tree.kill_descendants(me, timeout_s=_KILL_WITHIN_S)
    message = _read_all(ready)
    if innermost.READY not in message and ended == "exited":
        ended = "setup"
    return {
        "ended": ended if all_dead else "survivors",
        "code": code,
        "message": message.replace(innermost.READY, b"").decode("utf-8", "replace").strip(),
    }


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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
