"""Start a sandboxed run and wait for it: output bounded, nothing left behind."""

import json
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import IO

import homeostat
from homeostat.adapters.sandbox.spec import SandboxSpec, encode_spec
from homeostat.core.errors import Unavailable

_GRACE_S = 20.0
"""How much longer than its time limit a launcher may live: it has to kill what it started."""

_ORPHANS_S = 1.0
_START = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); "
    "from homeostat.adapters.sandbox.launcher import main; sys.exit(main(sys.argv[1:]))"
)
_READ_AT_ONCE = 65_536


class End(StrEnum):
    """Why a run ended."""

    EXITED = "exited"
    TIME = "time"
    MEMORY = "memory"
    DISK = "disk"
    SETUP = "setup"
    """The sandbox could not be made; the command was not started."""

    STOPPED = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a run ended. `code` is None unless it exited; 128 and the signal for a killed command."""

    end: End
    code: int | None
    message: str
    output_tail: str
    output_bytes: int
    duration_ms: int


def run_in_sandbox(spec: SandboxSpec, *, output_chars: int) -> Ended:
    """Run the spec to its end and return that with the last `output_chars` of its output.

    `Unavailable` when the launcher died or processes survived; both mean that the run says nothing.
    """
    started = time.monotonic()
    status_fd, status_child = os.pipe()
    os.set_blocking(status_fd, False)
    source = str(Path(homeostat.__file__).parents[1])
    with _closing(status_fd):
        try:
            launcher = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _START, source, str(status_child), str(os.getpid())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=(status_child,),
                start_new_session=True,
                cwd="/",
                env={"PATH": "/usr/local/bin:/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"},
            )
        finally:
            os.close(status_child)
        assert launcher.stdin is not None
        assert launcher.stdout is not None
        tail = _Tail(launcher.stdout, keep=4 * output_chars)
        tail.start()
        try:
            with suppress(BrokenPipeError), launcher.stdin:
                launcher.stdin.write(encode_spec(spec))
            _wait(launcher, spec.limits.timeout_s + _GRACE_S)
        finally:
            _end(launcher)
        status = _status(status_fd)
        # Without a launcher its orphans may hold the pipe; whoever is their subreaper ends them.
        tail.join(timeout=_GRACE_S if status else _ORPHANS_S)
        launcher.stdout.close()
        text = tail.text()[-output_chars:]
        return _judge(status, text, tail.total, round((time.monotonic() - started) * 1000))


def _judge(status: dict[str, object], text: str, total: int, duration_ms: int) -> Ended:
    if status.get("ended") == "survivors":
        raise Unavailable("sandbox-survivors", "sandboxed processes could not be ended")
    if not status:
        raise Unavailable("sandbox-launcher-died", f"the sandbox's launcher died: {text[-500:].strip()}")
    code = status.get("code")
    end = End(str(status["ended"]))
    return Ended(
        end=end,
        code=code if isinstance(code, int) and end is End.EXITED else None,
        message=str(status.get("message", "")) or (text[-500:].strip() if end is End.SETUP else ""),
        output_tail=text,
        output_bytes=total,
        duration_ms=duration_ms,
    )


def _wait(launcher: subprocess.Popen[bytes], timeout_s: float) -> None:
    # Popen.wait() with a timeout looks every 50 ms only.
    handle = os.pidfd_open(launcher.pid)
    try:
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        if poll.poll(timeout_s * 1000):
            launcher.wait()
    finally:
        os.close(handle)


def _end(launcher: subprocess.Popen[bytes]) -> None:
    """Let a launcher that is still alive kill its tree; only one that does not react is killed itself."""
    if launcher.poll() is not None:
        return
    launcher.terminate()
    _wait(launcher, _GRACE_S)
    if launcher.poll() is None:
        launcher.kill()
        launcher.wait()


def _status(handle: int) -> dict[str, object]:
    try:
        found = json.loads(os.read(handle, _READ_AT_ONCE) or b"{}")
    except (ValueError, BlockingIOError):
        return {}
    return found if isinstance(found, dict) else {}


@contextmanager
def _closing(handle: int) -> Iterator[None]:
    try:
        yield
    finally:
        os.close(handle)


class _Tail(threading.Thread):
    """Reads a pipe to its end and keeps only the last bytes, however much comes."""

    def __init__(self, pipe: IO[bytes], *, keep: int) -> None:
        super().__init__(name="sandbox-output", daemon=True)
        self._handle = os.dup(pipe.fileno())  # ours, so that closing the pipe never lets us read another file
        self._keep = keep
        self._kept = bytearray()
        self.total = 0

    def run(self) -> None:
        try:
            while data := os.read(self._handle, _READ_AT_ONCE):
                self.total += len(data)
                self._kept += data
                if len(self._kept) > 2 * self._keep + _READ_AT_ONCE:
                    del self._kept[: -self._keep]
        finally:
            os.close(self._handle)

    def text(self) -> str:
        return bytes(self._kept[-self._keep :]).decode("utf-8", "replace")
