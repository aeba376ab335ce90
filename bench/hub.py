"""A real hub in a process of its own, over a new repository, for the benchmarks that speak to it."""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

_CONFIG = """\
[host]
python = "{python}"
test_command = ["{python}", "-m", "unittest"]
"""
_START_S = 60.0
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class BenchHub:
    """`homeostat up` on a free port. Use it as a context; nothing is left of it afterwards."""

    def __init__(self, files: Mapping[str, str]) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="homeostat-bench-")
        self.repository = Path(self._folder.name) / "host"
        self.repository.mkdir()
        for name, text in {**files, "homeostat.toml": _CONFIG.format(python=sys.executable)}.items():
            (self.repository / name).write_text(text, encoding="utf-8")
        git = ["git", "-c", "user.name=bench", "-c", "user.email=bench@localhost", "-C", str(self.repository)]
        for arguments in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "A host"]):
            subprocess.run([*git, *arguments], check=True)
        self._state = self.repository / ".homeostat"
        self._log = Path(self._folder.name) / "hub.log"

    def __enter__(self) -> "BenchHub":
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                self.command("up", "--port", "0"), cwd=self.repository, stdout=log, stderr=log, start_new_session=True
            )
        place = self._state / "run" / "hub.json"
        deadline_s = time.monotonic() + _START_S
        while True:
            with contextlib.suppress(OSError, ValueError):
                self.port = int(json.loads(place.read_text())["url"].rpartition(":")[2])
                if self.connect().request("GET", "/api/findings")[0] == 200:
                    return self
            if time.monotonic() > deadline_s or self._process.poll() is not None:
                raise RuntimeError(f"the hub did not start:\n{self._log.read_text()[-2000:]}")
            time.sleep(0.05)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._folder.cleanup()

    @staticmethod
    def command(*arguments: str) -> list[str]:
        return [sys.executable, "-m", "homeostat", *arguments]

    @contextlib.contextmanager
    def host(self, *command: str) -> Iterator[subprocess.Popen[str]]:
        """Run a program under the agent, with pipes to talk to it."""
        run = self.command("run", "--", sys.executable, *command)
        with self._log.open("a") as log:
            process = subprocess.Popen(
                run, cwd=self.repository, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
            )
        try:
            yield process
        finally:
            with contextlib.suppress(OSError):
                process.communicate(timeout=20)

    def connect(self) -> "Connection":
        token = (self._state / "keys" / "owner.token").read_text().strip()
        return Connection(self.port, token)

    def cpu_s(self) -> float:
        """Return the processor time that the hub's process has used."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


class Connection:
    """One kept connection to the hub, with the owner's token."""

    def __init__(self, port: int, token: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self._headers = {"Authorization": f"Bearer {token}"}

    def request(
        self, method: str, path: str, body: bytes | None = None, content_type: str = "application/json"
    ) -> tuple[int, Any]:
        headers = self._headers if body is None else {**self._headers, "Content-Type": content_type}
        self._connection.request(method, path, body, headers)
        answer = self._connection.getresponse()
        data = answer.read()
        return answer.status, json.loads(data) if answer.headers.get_content_type() == "application/json" else data


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that this share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
