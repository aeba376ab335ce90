"""Processes of the product that begin where its imports end: forked from a server that has them done already.

A hub's imports take two seconds and those of a command half of one, and the end-to-end tests start some hundreds of
them. What comes after the imports is the same: the process has a group, a folder, an environment and output files of
its own. That the installed command does its imports by itself is seen in `e2e.test_installed` and `unit.cli`.
"""

import gc
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

from homeostat.adapters.sandbox import kernel

_IMPORTED = (
    "homeostat.hub.serving",
    "homeostat.cli.main",
    "homeostat.adapters.settings",
    "homeostat.adapters.story",
    "homeostat.adapters.supervising.supervisor",
    "homeostat.cli.consistency",
    "homeostat.cli.following",
    "alembic.command",
    "dbos._sys_db_sqlite",
    "httpx",
)


class Forked:
    """A process that was forked. What is used of `subprocess.Popen` is there, and means the same."""

    def __init__(self, target: Callable[..., None], *arguments: Any) -> None:
        """Call `target` in it; `begin` comes first there."""
        self._process = _server().Process(target=target, args=arguments, daemon=True)
        self._process.start()
        assert self._process.pid
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        code = self.returncode
        if code is None:
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0.0)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def homeostat(arguments: Sequence[str | Path], *, cwd: Path, env: Mapping[str, str], out: Path, err: Path) -> Forked:
    """Start `homeostat ARGUMENTS` in a folder, its output to files."""
    return Forked(_type, tuple(map(str, arguments)), cwd, dict(env), out, err)


def _server() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_IMPORTED))
    return context


def begin(*, environment: Mapping[str, str], out: Path, err: Path) -> None:
    """Make this process look as if a shell had started it: nothing of the test run is left in it but its imports."""
    gc.freeze()  # or each full collection copied what all of them share
    os.setsid()
    # Should the test run itself be killed, the server ends when it sees so, and this process with it.
    os.close(forkserver._forkserver._forkserver_alive_fd)  # type: ignore[attr-defined]
    kernel.die_with_parent(signal.SIGKILL, os.getppid())
    _open(Path(os.devnull), os.O_RDONLY, 0)
    _open(out, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 1)
    if err == out:
        os.dup2(1, 2)
    else:
        _open(err, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 2)
    os.environ.clear()
    os.environ |= environment


def _open(path: Path, flags: int, number: int) -> None:
    handle = os.open(path, flags, 0o600)
    if handle != number:
        os.dup2(handle, number)
        os.close(handle)


def _type(arguments: Sequence[str], folder: Path, environment: Mapping[str, str], out: Path, err: Path) -> None:
    begin(environment=environment, out=out, err=err)
    from homeostat.cli.main import main

    os.chdir(folder)
    sys.argv = ["homeostat", *arguments]
    main()
