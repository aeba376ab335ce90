"""One process of a supervised program: started by us, or found running and taken over."""

import os
import select
import shlex
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from homeostat_agent.redact import clean_text

from homeostat.adapters.agents.launch import Launch
from homeostat.adapters.supervising.slot import Remembered, remember_process
from homeostat.core.errors import InvalidInput

_LAST_LINES = 20
_LAST_BYTES = 16 << 10
_LAST_CHARS = 2_000
_FORWARD_BYTES = 1 << 16


class ProgramProcess:
    """A process that is watched through a descriptor of its own, so its number is never mistaken.

    `popen` is None for one that was found: its exit code is then not known to anybody but init.
    """

    def __init__(self, known: Remembered, *, popen: "subprocess.Popen[bytes] | None" = None) -> None:
        """Watch it. `ProcessLookupError` when it is gone, or its number belongs to another one."""
        self.known = known
        self._popen = popen
        self._descriptor = os.pidfd_open(known.pid)
        if popen is None and not known.is_alive():
            os.close(self._descriptor)
            raise ProcessLookupError(known.pid)

    @property
    def pid(self) -> int:
        return self.known.pid

    def is_alive(self) -> bool:
        return not self.wait(0.0)

    def wait(self, timeout_s: float | None) -> bool:
        """Block until it has ended; False when the time ran out. Its code is read then."""
        waiting = select.poll()
        waiting.register(self._descriptor, select.POLLIN)
        ended = bool(waiting.poll(None if timeout_s is None else timeout_s * 1000))
        if ended and self._popen is not None:
            self._popen.poll()
        return ended

    def code(self) -> int | None:
        """Return the exit code of one that ended (128 and the number of the signal that ended it)."""
        if self._popen is None or self._popen.poll() is None:
            return None
        code = self._popen.returncode
        return code if code >= 0 else 128 - code

    def signal(self, number: int) -> None:
        """Send a signal; nothing happens when it has ended."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._descriptor, number)

    def forget(self) -> None:
        """Remove its launch file: it has ended."""
        Path(self.known.launch_file).unlink(missing_ok=True)


class LastWords:
    """What a process on trial writes to stderr: shown as it comes, and kept in case it fails.

    A file, and no pipe: a program must not be hurt when its supervisor is killed.
    """

    def __init__(self, path: Path, *, repository: Path) -> None:
        """`path` is where it is kept; files below `repository` are shown relative to that."""
        self._path = path
        self._repository = str(repository)
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        self.descriptor = os.open(path, flags, 0o600)
        self._shown = 0

    def show(self) -> None:
        """Pass on what was written since."""
        while data := os.pread(self.descriptor, _FORWARD_BYTES, self._shown):
            self._shown += len(data)
            with suppress(OSError):
                os.write(2, data)

    def read(self) -> str:
        """Return the last lines, cleaned of what is private."""
        size = os.fstat(self.descriptor).st_size
        data = os.pread(self.descriptor, _LAST_BYTES, max(size - _LAST_BYTES, 0))
        lines = data.decode("utf-8", "replace").splitlines()[-_LAST_LINES:]
        said = "\n".join(lines)[-_LAST_CHARS:]
        return clean_text(said, repository=self._repository, max_chars=_LAST_CHARS)

    def close(self) -> None:
        self._path.unlink(missing_ok=True)
        os.close(self.descriptor)


def start_process(
    command: Sequence[str],
    *,
    launch: Launch,
    environ: Mapping[str, str],
    folder: Path | None,
    stderr: int | None = None,
) -> ProgramProcess:
    """Start the program; `InvalidInput` (``command-not-started``) when there is no such program."""
    try:
        popen = subprocess.Popen(list(command), env=launch.environment(environ), cwd=folder, stderr=stderr)
    except OSError as error:
        launch.discard()
        raise cannot_start(command, error) from error
    return ProgramProcess(remember_process(popen.pid, launch_file=launch.file, launch_id=launch.id), popen=popen)


def cannot_start(command: Sequence[str], error: OSError) -> InvalidInput:
    """Say that a program is not there, or is none."""
    return InvalidInput("command-not-started", f"{shlex.quote(command[0])} cannot be started: {error.strerror}")
