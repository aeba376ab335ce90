"""A small repository under care of a hub of its own, for benchmarks of the whole."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

_READY_S = 60.0


class Project:
    """The repository, its hub, and the programs that were started with the agent in them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.hub: subprocess.Popen[bytes] | None = None
        self._programs: list[subprocess.Popen[bytes]] = []

    def git(self, *words: str) -> str:
        identity = ["-c", "user.name=b", "-c", "user.email=b@localhost"]
        done = subprocess.run(["git", *identity, *words], cwd=self.root, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def start_hub(self, *words: str) -> httpx.Client:
        """Start the hub and return a client with the owner's token, once it answers.

        `words` start another kind of hub of this repository, by Python.
        """
        command = [sys.executable, *words] if words else [*_HOMEOSTAT, "up", "--port", "0", "--repo", str(self.root)]
        with (self.root.parent / "hub.log").open("wb") as log:
            self.hub = subprocess.Popen(command, stdout=log, stderr=log, env=_environment())
        state = self.root / ".homeostat"
        file = state / "run" / "hub.json"
        try:
            wait_for(file.exists, "the hub", give_up=self._hub_is_gone)
        except RuntimeError as error:
            raise RuntimeError((self.root.parent / "hub.log").read_text()[-2000:]) from error
        token = (state / "keys" / "owner.token").read_text().strip()
        return httpx.Client(
            base_url=json.loads(file.read_text())["url"],
            headers={"Authorization": f"Bearer {token}"},
            timeout=60,
            trust_env=False,
        )

    def start_program(self, *words: str, agent: bool) -> subprocess.Popen[bytes]:
        """Start a program in the host's interpreter, with the agent in it or bare."""
        prefix = [*_HOMEOSTAT, "run", "--repo", str(self.root), "--"] if agent else []
        program = subprocess.Popen([*prefix, sys.executable, *words], cwd=self.root, env=_environment())
        self._programs.append(program)
        return program

    @staticmethod
    def free_port() -> int:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port: int = probe.getsockname()[1]
        return port

    def _hub_is_gone(self) -> bool:
        return self.hub is not None and self.hub.poll() is not None

    def end(self) -> None:
        for process in (*self._programs, *((self.hub,) if self.hub else ())):
            process.send_signal(signal.SIGTERM)
        for process in (*self._programs, *((self.hub,) if self.hub else ())):
            process.wait(30)


_HOMEOSTAT = (sys.executable, "-m", "homeostat")


@contextmanager
def project(files: Mapping[str, str], *, settings: str) -> Iterator[Project]:
    """Make a repository with these files and this homeostat.toml; end everything that was started afterwards."""
    with tempfile.TemporaryDirectory(prefix="homeostat-bench-") as name:
        Path(name).chmod(0o755)
        made = Project(Path(name, "project"))
        made.root.mkdir()
        for path, text in {**files, "homeostat.toml": settings, ".gitignore": ".homeostat/\n__pycache__/\n"}.items():
            (made.root / path).parent.mkdir(parents=True, exist_ok=True)
            (made.root / path).write_text(text)
        made.git("init", "--quiet", "--initial-branch=main")
        made.git("add", "--all")
        made.git("commit", "--quiet", "--message", "Begin")
        try:
            yield made
        finally:
            made.end()


def wait_for(
    condition: Callable[[], Any],
    what: str,
    *,
    within_s: float = _READY_S,
    pause_s: float = 0.05,
    give_up: Callable[[], bool] = lambda: False,
) -> Any:
    """Return the first true answer of `condition`."""
    end_s = time.monotonic() + within_s
    while not (answer := condition()):
        if time.monotonic() > end_s or give_up():
            raise RuntimeError(f"waited in vain for {what}")
        time.sleep(pause_s)
    return answer


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("HOMEOSTAT_", "AETHERRA_"))}
