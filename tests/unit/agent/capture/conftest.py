"""Hosts for the capture: this process, and programs of their own."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from homeostat_agent.capture import Capture, install
from homeostat_agent.capture.occurrence import Occurrence
from homeostat_agent.context import HostContext
from homeostat_agent.ring import Ring

AGENT = Path(__file__).parents[4] / "agent" / "src"
HARNESS = Path(__file__).parent / "harness"
DEADLINE_S = 30.0


@dataclass
class Captured:
    """A capture in this process, and what it has seen."""

    ring: Ring
    capture: Capture
    repository: Path

    def occurrences(self) -> list[Occurrence]:
        return self.ring.drain(10_000)


@pytest.fixture
def captured(tmp_path: Path) -> Iterator[Captured]:
    ring = Ring()
    repository = tmp_path / "repository"
    repository.mkdir()
    capture = install(ring, HostContext(repository=str(repository), commit=None, service_name="s", process_id="p"))
    try:
        yield Captured(ring, capture, repository)
    finally:
        capture.uninstall()


@dataclass
class HostRun:
    """What a program did, and what the capture in each of its processes saw."""

    returncode: int
    stdout: str
    stderr: str
    reports: list[dict[str, Any]]
    answers: dict[str, int] = field(default_factory=dict)

    @property
    def report(self) -> dict[str, Any]:
        assert len(self.reports) == 1, (self.reports, self.stderr)
        return self.reports[0]

    def requests(self) -> dict[tuple[str, str], int]:
        """Requests of all processes by route and kind of error."""
        total: dict[tuple[str, str], int] = {}
        for report in self.reports:
            for route, kind, count, _ in report["requests"]:
                total[route, kind] = total.get((route, kind), 0) + count
        return total

    def occurrences(self) -> list[dict[str, Any]]:
        return [item for report in self.reports for item in report["occurrences"]]


class Host:
    """A repository with a program in it, to be run with the capture inside."""

    def __init__(self, folder: Path) -> None:
        self.repository = folder / "host"
        self.repository.mkdir()
        self._reports = folder / "reports"
        self._reports.mkdir()
        self.begin_inside = False
        """Whether the program itself begins the capture, by ``import sitecustomize; sitecustomize.begin()``."""

    def write(self, name: str, source: str) -> Path:
        path = self.repository / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
        return path

    def run(self, *arguments: str, python: str = sys.executable) -> HostRun:
        """Run it to its end."""
        done = subprocess.run(
            [python, *arguments],
            cwd=self.repository,
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
        )
        return self._result(done.returncode, done.stdout, done.stderr)

    def serve(
        self,
        *arguments: str,
        paths: Sequence[str],
        port: int,
        stop: signal.Signals = signal.SIGTERM,
        also: Callable[[int], None] = lambda _port: None,
        enough: Callable[[HostRun], bool] | None = None,
    ) -> HostRun:
        """Start it, ask for each path in turn, do what else there is, wait until enough was seen, stop it.

        Enough is by default as many requests as were asked for; a test that waits in vain goes on to its assertions.
        """
        wanted = enough or (lambda run: sum(run.requests().values()) >= len(paths))
        log = self.repository.parent / "log"
        with log.open("w") as file:
            process = subprocess.Popen(
                [sys.executable, *arguments], cwd=self.repository, env=self._environment(), stdout=file, stderr=file
            )
        try:
            until_listening(port, process, log)
            answers = {path: ask(port, path) for path in paths}
            also(port)
            deadline = time.monotonic() + 5.0
            while not wanted(self._result(0, "", "")) and time.monotonic() < deadline:
                time.sleep(0.02)
            process.send_signal(stop)
            returncode = process.wait(DEADLINE_S)
        finally:
            process.kill()
            process.wait()
        return self._result(returncode, "", log.read_text(), answers)

    def _environment(self) -> dict[str, str]:
        return {
            **{key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "FLASK", "DJANGO"))},
            "PYTHONPATH": os.pathsep.join([str(HARNESS), str(AGENT)]),
            "PYTHONDONTWRITEBYTECODE": "1",
            "CAPTURE_REPORTS": str(self._reports),
            "CAPTURE_REPOSITORY": str(self.repository),
            "CAPTURE_FROM": "inside" if self.begin_inside else "start",
        }

    def _result(self, code: int, out: str, err: str, answers: dict[str, int] | None = None) -> HostRun:
        reports = [json.loads(path.read_text()) for path in sorted(self._reports.glob("*.json"))]
        return HostRun(code, out, err, reports, answers or {})


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def until_listening(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise AssertionError("the server does not listen:\n" + log.read_text())


def ask(port: int, path: str) -> int:
    """Return the status of one request on a connection of its own."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=DEADLINE_S) as answer:
            answer.read()
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            error.read()
            return error.code


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.01)


@pytest.fixture(name="until")
def until_fixture() -> Callable[[Callable[[], bool]], None]:
    return until
