"""Requests at a steady rate from a process of its own, and what was answered when.

Run by `Steady`; each request goes out when it is due, on a kept connection that has nothing under way, whether the ones
before were answered or not. An answer is a JSON object with a field ``code``, or the ``detail`` of an error with one.
"""

import contextlib
import json
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_CONNECTIONS = 64


@dataclass(frozen=True)
class Answered:
    """What was answered between `Steady.begin` and `Steady.end`. Times are of `time.monotonic`."""

    counts: dict[str, int]
    """By status and code, as ``200 old``."""

    first_s: dict[str, float]
    last_s: dict[str, float]
    latency_ms: dict[str, float]
    """p50, p95 and p99."""


class Steady:
    """The generator's process, in which one thing runs at a time."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def begin(self, port: int, path: str, *, rate: float) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{port} {path} {rate}\n")
        self._process.stdin.flush()

    def end(self) -> Answered:
        assert self._process.stdout is not None
        self._process.send_signal(signal.SIGUSR1)
        return Answered(**json.loads(self._process.stdout.readline()))


@contextlib.contextmanager
def steady() -> Iterator[Steady]:
    command = [sys.executable, str(Path(__file__))]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield Steady(process)
    finally:
        process.kill()
        process.communicate()


def _generate() -> None:
    stopped = threading.Event()
    signal.signal(signal.SIGUSR1, lambda *_: stopped.set())
    for line in sys.stdin:
        port, path, rate = line.split()
        stopped.clear()
        print(json.dumps(_Load(int(port), path, float(rate)).run(stopped)), flush=True)


class _Load:
    def __init__(self, port: int, path: str, rate: float) -> None:
        self._request = f"GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode()
        self._pause_s = 1 / rate
        self._selector = selectors.DefaultSelector()
        self._idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(_CONNECTIONS)]
        for connection in self._idle:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._selector.register(connection, selectors.EVENT_READ)
        self._sent_s: dict[socket.socket, float] = {}
        self._received: dict[socket.socket, bytes] = {}
        self._counts: Counter[str] = Counter()
        self._first_s: dict[str, float] = {}
        self._last_s: dict[str, float] = {}
        self._took_s: list[float] = []

    def run(self, stopped: threading.Event) -> dict[str, object]:
        due_s = time.monotonic()
        while not stopped.is_set():
            now_s = time.monotonic()
            if now_s >= due_s and self._idle:
                connection = self._idle.pop(0)
                self._sent_s[connection], self._received[connection] = due_s, b""
                connection.sendall(self._request)
                due_s += self._pause_s
                continue
            for key, _ in self._selector.select(max(min(due_s - now_s, 0.1), 0.0) if self._idle else 0.1):
                assert isinstance(key.fileobj, socket.socket)
                self._take(key.fileobj)
        for connection in (*self._idle, *self._sent_s):
            connection.close()
        took_ms = sorted(value * 1000 for value in self._took_s)
        at = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
        latency_ms = {name: took_ms[int(share * (len(took_ms) - 1))] for name, share in at.items()}
        return {"counts": self._counts, "first_s": self._first_s, "last_s": self._last_s, "latency_ms": latency_ms}

    def _take(self, connection: socket.socket) -> None:
        data = connection.recv(65536)
        if not data:
            raise RuntimeError("the service closed a connection")
        received = self._received[connection] = self._received[connection] + data
        head, _, body = received.partition(b"\r\n\r\n")
        if not body.endswith(b"}"):
            return  # head and body come apart; the body is an object
        now_s = time.monotonic()
        said = json.loads(body)
        kind = f"{head[9:12].decode()} {said.get('code', said.get('detail'))}"
        self._counts[kind] += 1
        self._first_s.setdefault(kind, now_s)
        self._last_s[kind] = now_s
        self._took_s.append(now_s - self._sent_s.pop(connection))
        self._idle.append(connection)


if __name__ == "__main__":
    _generate()
