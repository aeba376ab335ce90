"""A small web program in several frameworks, under any server, and customers who notice every lost request."""

import http.client
import json
import socket
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from e2e.support.processes import wait_for
from e2e.support.shop import ALL_AT_ONCE, HOST_SETTINGS, Edit, Shop, replacing
from e2e.support.terminal import Hub, Terminal

ASGI = '''"""A web program."""

import os

from fastapi import FastAPI

VERSION = 1
app = FastAPI()


@app.get("/")
async def root():
    return {"version": VERSION, "pid": os.getpid()}


@app.get("/health")
async def health():
    return {"ok": True}
'''

WSGI = '''"""A web program."""

import os

from flask import Flask

VERSION = 1
app = Flask(__name__)


@app.get("/")
def root():
    return {"version": VERSION, "pid": os.getpid()}


@app.get("/health")
def health():
    return {"ok": True}
'''

WORKER = '''"""Works in a loop, and listens nowhere."""

import time
from pathlib import Path

VERSION = 1


def main():
    while True:
        with Path("work.log").open("a") as log:
            log.write(f"{VERSION}\\n")
        time.sleep(0.05)


if __name__ == "__main__":
    main()
'''

TESTS = """import unittest


import web


class Web(unittest.TestCase):
    def test_it_has_a_version(self):
        self.assertTrue(web.VERSION)
"""

SETTINGS = (
    HOST_SETTINGS
    + """
[observation]
window_s = 600
min_requests = 40

[restart]
settle_s = 1.0
timeout_s = {timeout_s}
drain_s = 10
automatic = {automatic}
health_path = "{health_path}"
command = {command}
"""
    + ALL_AT_ONCE
)

NEWER = replacing("web.py", "VERSION = 1", "VERSION = int(2)")
"""A value that import computes: that cannot be swapped in."""

CRASH = replacing(
    "web.py",
    "VERSION = 1",
    "VERSION = 2\nimport sys\nif 'unittest' not in sys.modules:\n"
    "    raise RuntimeError('this version does not come up')",
)
"""Passes its tests, and does not come up anywhere else."""

SICK_ASGI = replacing("web.py", "async def health():\n", "async def health(version: int = VERSION, *, mood: str):\n")
"""The health path wants something that nobody sends: it is answered with 422."""


def found(
    root: Path,
    source: str,
    *,
    automatic: bool = False,
    health_path: str = "",
    timeout_s: float = 90,
    command: tuple[str, ...] = (),
) -> Shop:
    """Make the program's repository."""
    settings = SETTINGS.format(
        python=sys.executable,
        automatic=str(automatic).lower(),
        health_path=health_path,
        timeout_s=timeout_s,
        command=json.dumps(list(command)),
    )
    files = {
        "web.py": source,
        "tests/__init__.py": "",
        "tests/test_web.py": TESTS,
        ".gitignore": "__pycache__/\n*.log\n*.sock\n",
        "homeostat.toml": settings,
    }
    return Shop.found(root, files=files, settings=None)


def free_port(host: str = "127.0.0.1") -> int:
    """Return a port that is free now."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


Address = tuple[str, int] | str


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def ask(address: Address, path: str = "/", *, timeout_s: float = 15.0) -> Mapping[str, object] | str:
    """GET once on a connection of its own; return the document, or what went wrong."""
    connection: http.client.HTTPConnection
    if isinstance(address, str):
        connection = _UnixConnection(address, timeout_s)
    else:
        connection = http.client.HTTPConnection(address[0], address[1], timeout=timeout_s)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            return f"status {answer.status}"
        document: Mapping[str, object] = json.loads(body)
        return document
    except (OSError, http.client.HTTPException, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    finally:
        connection.close()


@dataclass(frozen=True)
class Served:
    began_s: float
    version: object
    pid: object
    failure: str


class Customers:
    """Several who ask all the time, each request on a new connection. Use it as a context."""

    def __init__(self, address: Address, *, customers: int = 4, pause_s: float = 0.004) -> None:
        self._address = address
        self._pause_s = pause_s
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._served: list[Served] = []
        self._threads = [threading.Thread(target=self._ask_on, daemon=True) for _ in range(customers)]

    def __enter__(self) -> "Customers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)

    def served(self) -> list[Served]:
        with self._lock:
            return list(self._served)

    def failures(self) -> list[Served]:
        return [item for item in self.served() if item.failure]

    def versions(self, since_s: float = 0.0) -> set[object]:
        return {item.version for item in self.served() if item.began_s >= since_s}

    def wait_for(self, count: int) -> None:
        """Wait for so many more answers."""
        before = len(self.served())
        wait_for(lambda: len(self.served()) >= before + count, what=f"{count} answers", within_s=60)

    def _ask_on(self) -> None:
        while not self._stop.is_set():
            began_s = time.monotonic()
            answer = ask(self._address)
            if isinstance(answer, str):
                served = Served(began_s, None, None, answer)
            else:
                served = Served(began_s, answer["version"], answer["pid"], "")
            with self._lock:
                self._served.append(served)
            self._stop.wait(self._pause_s)


def wait_until_served(address: Address) -> Mapping[str, object]:
    """Wait until the program answers and return what."""
    answer = wait_for(lambda: (a := ask(address)) and not isinstance(a, str) and a, what=f"an answer at {address}")
    assert not isinstance(answer, str | bool)
    return answer


def put_on_disk(terminal: Terminal, hub: Hub, edit: Edit, title: str) -> str:
    """Propose and apply a change that needs a restart; return its id."""
    proposed = terminal.propose(edit, title)
    assert proposed["state"] == "awaiting_approval", proposed["state_reason"]
    identity = str(proposed["proposal_id"])
    applied = terminal.ok("proposals", "apply", identity)
    assert "not live yet" in applied.out and "homeostat restart" in applied.err, applied
    return identity
