"""Processes that a test starts, and that are gone when it is over, whatever happened."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias, TypeVar

from e2e.support.forked import Forked

T = TypeVar("T")
Started: TypeAlias = "subprocess.Popen[bytes] | Forked"


def wait_for(condition: Callable[[], T], *, what: str, within_s: float = 90.0, pause_s: float = 0.05) -> T:
    """Return the first true answer of `condition`; fail when there was none in time."""
    end_s = time.monotonic() + within_s
    while True:
        answer = condition()
        if answer:
            return answer
        assert time.monotonic() < end_s, f"waited {within_s} s in vain for {what}"
        time.sleep(pause_s)


def start(
    command: Sequence[str | Path], *, cwd: Path, env: dict[str, str], out: Path, err: Path
) -> "subprocess.Popen[bytes]":
    """Start a program that leads a group of its own, its output to files."""
    with out.open("ab") as stdout, err.open("ab") as stderr:
        return subprocess.Popen(
            list(map(str, command)),
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )


class Processes:
    """Starts each process in a group of its own and kills whole groups at the end."""

    def __init__(self) -> None:
        self._started: list[Started] = []

    def adopt(self, process: Started) -> None:
        """End this one, too, and the group that it leads."""
        self._started.append(process)

    def start(
        self, command: Sequence[str | Path], *, cwd: Path, env: dict[str, str], log: Path
    ) -> "subprocess.Popen[bytes]":
        process = start(command, cwd=cwd, env=env, out=log, err=log)
        self.adopt(process)
        return process

    def end(self) -> None:
        for process in reversed(self._started):
            process.kill()  # before it leads its group, too
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)


def is_running(pid: int) -> bool:
    """Tell whether there is a process of this number that is not just waiting to be reaped."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def descendants(pid: int) -> list[int]:
    """Return every process below this one, now."""
    parents = dict(_parents())
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found[1:]


def _parents() -> Iterator[tuple[int, int]]:
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            with contextlib.suppress(OSError):
                yield int(path.name), int((path / "stat").read_text().rpartition(")")[2].split()[1])
