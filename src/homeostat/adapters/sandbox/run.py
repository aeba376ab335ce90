"""Start a sandboxed run and wait for it: output bounded, nothing left behind."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Self

import homeostat
from homeostat.adapters.sandbox.spec import SandboxSpec, Shown, encode_shown, encode_spec
from homeostat.core.errors import Unavailable

_GRACE_S = 20.0
"""How much longer than its time limit a launcher may live: it has to kill what it started."""

_ORPHANS_S = 1.0
_START = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); "
    "from homeostat.adapters.sandbox.zygote import main; sys.exit(main(sys.argv[1:]))"
)
_READ_AT_ONCE = 65_536
_MAX_ANSWER = 1000


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


class Zygote:
    """A warm process that forks a launcher for each run. Close it, or everything it runs lives on with us.

    It ends, and its runs with it, when this process ends, however that happens. Safe to share between
    threads. A fork of this process that lives on would keep it: fork before, or exec.

    `shown` is mounted before a run is asked for, in the kind that it concerns; each run's spec must have it.
    """

    def __init__(self, shown: Shown | None = None) -> None:
        self._lock = threading.Lock()
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        source = str(Path(homeostat.__file__).parents[1])
        with theirs:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-I", "-S", "-c", _START, source, str(theirs.fileno())),
                    *([encode_shown(shown)] if shown is not None else []),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
                cwd="/",
                env={"PATH": "/usr/local/bin:/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"},
            )

    @property
    def process_id(self) -> int:
        return self._process.pid

    def launch(self, spec: SandboxSpec, *, output_fd: int, status_fd: int) -> int:
        """Start a launcher for this spec and return a handle on it (pidfd), which is the caller's to close."""
        spec_fd = os.memfd_create("spec")
        try:
            with open(spec_fd, "wb", closefd=False) as file:
                file.write(encode_spec(spec))
            os.lseek(spec_fd, 0, os.SEEK_SET)
            with self._lock:
                socket.send_fds(self._control, [spec.kind.encode()], [spec_fd, output_fd, status_fd])
                answer, handles, _, _ = socket.recv_fds(self._control, _MAX_ANSWER, 1)
        except OSError as error:
            raise _launcher_died(f"its zygote does not answer: {error.strerror}") from error
        finally:
            os.close(spec_fd)
        if len(handles) != 1:
            raise _launcher_died(answer.decode("utf-8", "replace") or "its zygote is gone")
        return handles[0]

    def close(self) -> None:
        """End the zygote. Runs that are still under way are ended by their launchers."""
        self._control.close()
        try:
            self._process.wait(timeout=_GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def run_in_sandbox(spec: SandboxSpec, *, zygote: Zygote, output_chars: int) -> Ended:
    """Run the spec to its end and return that with the last `output_chars` of its output.

    `Unavailable` when the launcher died or processes survived; both mean that the run says nothing.
    """
    started = time.monotonic()
    with ExitStack() as stack:
        told, output = _pipe(stack), _pipe(stack)
        os.set_blocking(told.reading, False)
        launcher = zygote.launch(spec, output_fd=output.writing, status_fd=told.writing)
        stack.callback(os.close, launcher)
        told.close_writing()
        output.close_writing()
        tail = _Tail(output.reading, keep=4 * output_chars)
        tail.start()
        ended = False
        try:
            ended = _wait(told.reading, spec.limits.timeout_s + _GRACE_S)  # for its word, or its end without one
        finally:
            if not ended:
                _end(launcher)
        status = _status(told.reading)
        # Without a launcher its orphans may hold the pipe, until the zygote has ended them.
        tail.join(timeout=_GRACE_S if status else _ORPHANS_S)
    text = tail.text()[-output_chars:]
    return _judge(status, text, tail.total, round((time.monotonic() - started) * 1000))


def _launcher_died(why: str) -> Unavailable:
    return Unavailable("sandbox-launcher-died", f"the sandbox's launcher died: {why}")


def _judge(status: dict[str, object], text: str, total: int, duration_ms: int) -> Ended:
    if status.get("ended") == "survivors":
        raise Unavailable("sandbox-survivors", "sandboxed processes could not be ended")
    if not status:
        raise _launcher_died(text[-500:].strip())
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


def _wait(handle: int, timeout_s: float) -> bool:
    """Wait until a descriptor can be read, as that of a process that ended can, and tell whether it can."""
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    return bool(poll.poll(timeout_s * 1000))


def _end(launcher: int) -> None:
    """Let a launcher that is still alive kill its tree; only one that does not react is killed itself."""
    for request in (signal.SIGTERM, signal.SIGKILL):
        if _wait(launcher, 0):
            return
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(launcher, request)
        _wait(launcher, _GRACE_S)


def _status(handle: int) -> dict[str, object]:
    try:
        found = json.loads(os.read(handle, _READ_AT_ONCE) or b"{}")
    except (ValueError, BlockingIOError):
        return {}
    return found if isinstance(found, dict) else {}


@dataclass(slots=True)
class _Pipe:
    reading: int
    writing: int
    written: bool = False

    def close_writing(self) -> None:
        if not self.written:
            self.written = True
            os.close(self.writing)


def _pipe(stack: ExitStack) -> _Pipe:
    """Return a new pipe whose ends are closed with `stack` at the latest."""
    pipe = _Pipe(*os.pipe())
    stack.callback(os.close, pipe.reading)
    stack.callback(pipe.close_writing)
    return pipe


class _Tail(threading.Thread):
    """Reads a pipe to its end and keeps only the last bytes, however much comes."""

    def __init__(self, pipe: int, *, keep: int) -> None:
        super().__init__(name="sandbox-output", daemon=True)
        self._descriptor = os.dup(pipe)  # ours, so that closing the pipe never lets us read another file
        self._keep = keep
        self._kept = bytearray()
        self.total = 0

    def run(self) -> None:
        try:
            while data := os.read(self._descriptor, _READ_AT_ONCE):
                self.total += len(data)
                self._kept += data
                if len(self._kept) > 2 * self._keep + _READ_AT_ONCE:
                    del self._kept[: -self._keep]
        finally:
            os.close(self._descriptor)

    def text(self) -> str:
        return bytes(self._kept[-self._keep :]).decode("utf-8", "replace")
