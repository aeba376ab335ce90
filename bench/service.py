"""A FastAPI service as a process of its own, what can be put into it, and a load generator in another process.

Used by ``bench_agent``, ``bench_swap`` and ``bench_workers``. The service is uvicorn with one worker (or with as many
as are asked for), asyncio and h11: what ``pip install uvicorn`` gives. It checks a body, prices it in a module of
its own, answers with a checked model, and logs a warning for one request in 50.
"""

import contextlib
import http.server
import json
import math
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from homeostat.adapters.agents.gateway import AgentGateway
from homeostat.adapters.agents.launch import prepare_launch
from homeostat.adapters.agents.socket_place import choose_socket_path
from homeostat.adapters.clock import SystemClock

CONNECTIONS = 16
_KINDS = 8
_START_S = 60.0
_SOURCES = os.pathsep.join(str(Path(__file__).parents[1] / part) for part in ("src", "agent/src"))

_APP = """
import logging
from typing import Annotated
from fastapi import Depends, FastAPI
from pydantic import BaseModel, Field
import pricing

log = logging.getLogger("shop")
app = FastAPI()
count = 0

class Item(BaseModel):
    name: str
    price: float
    quantity: int = Field(ge=1)

class Order(BaseModel):
    customer: str
    items: list[Item]

class Receipt(BaseModel):
    order_id: int
    total: float
    lines: list[str]

def discount(coupon: str = "none") -> float:
    return pricing.discount(coupon)

@app.post("/orders/{order_id}")
async def place(order_id: int, order: Order, share: Annotated[float, Depends(discount)]) -> Receipt:
    global count
    count += 1
    if count % 50 == 0:
        log.warning("slow supplier for order %d", order_id)
    total = pricing.price([(item.price, item.quantity) for item in order.items]) * share
    lines = [pricing.line(item.name, item.quantity) for item in order.items]
    return Receipt(order_id=order_id, total=total, lines=lines)
"""

_PRICING_REST = "".join(
    f"\n\ndef rule_{index}(x):\n    table = [item + {index} for item in (x, x + 1)]\n    return table[0]\n"
    for index in range(60)
)
SMALL_PRICING = (
    "def price(lines):\n    return sum(price * count for price, count in lines)\n\n\n"
    "def discount(coupon):\n    return 0.9 if coupon == 'ten' else 1.0\n\n\n"
    "def line(name, count):\n    return f'{count} x {name}'\n"
)
PRICING = SMALL_PRICING + _PRICING_REST


def changed(pricing: str) -> str:
    """Return the source with another `price`, whose result differs, and nothing else."""
    return pricing.replace(
        "    return sum(price * count for price, count in lines)",
        "    total = 0.0\n    for price, count in lines:\n        total += price * count\n    return total + 1.0",
    )


NEW_PRICING = changed(PRICING)

CHANGED_RULES = 50
NEW_RULES = PRICING.replace("return table[0]", "return table[1] - 1", CHANGED_RULES)
"""The source with so many functions changed, none of which is called."""

_BODY = json.dumps(
    {"customer": "c-17", "items": [{"name": f"thing-{n}", "price": 2.5 * n + 1, "quantity": n + 1} for n in range(4)]}
).encode()
_REQUEST = (
    b"POST /orders/17?coupon=ten HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    b"content-length: %d\r\n\r\n" % len(_BODY)
) + _BODY


class Place:
    """The service's repository, with a state directory and the agents' key."""

    def __init__(self, folder: Path) -> None:
        self.repository = folder
        self.state = folder / ".homeostat"
        for path in (self.state, self.state / "keys", self.state / "run"):
            path.mkdir(mode=0o700)
        self.key = os.urandom(32)
        key_file = self.state / "keys" / "agent.key"
        key_file.write_bytes(self.key)
        key_file.chmod(0o600)
        self.socket = choose_socket_path(self.state)
        (folder / "shop_app.py").write_text(_APP)
        self.pricing = folder / "pricing.py"
        self.pricing.write_text(PRICING)

    def agent_environment(self) -> dict[str, str]:
        launch = prepare_launch(
            state_dir=self.state,
            repository=self.repository,
            commit=None,
            service_name="shop",
            hmr_enabled=True,
            hmr_mode="safe",
        )
        return launch.environment(_clean())

    @contextlib.contextmanager
    def hub(self) -> Iterator[AgentGateway]:
        """The agents' door of a hub, in this process."""
        gateway = AgentGateway(
            socket_path=self.socket,
            master_key=self.key,
            clock=SystemClock(),
            on_telemetry=lambda *_: None,
            on_processes_changed=lambda: None,
        )
        gateway.start()
        try:
            yield gateway
        finally:
            gateway.close()

    @contextlib.contextmanager
    def hub_process(self) -> Iterator[subprocess.Popen[str]]:
        """The same in a process of its own, to be killed. See `told`."""
        command = [sys.executable, "-m", "bench.service", "hub", str(self.socket), self.key.hex()]
        with _process(command, _own(), self.repository) as process:
            yield process


def told(hub: subprocess.Popen[str]) -> dict[str, int]:
    """Return how many processes are connected to a hub of `Place.hub_process`, and how many log records it got."""
    assert hub.stdin is not None
    assert hub.stdout is not None
    hub.stdin.write("\n")
    hub.stdin.flush()
    answer: dict[str, int] = json.loads(hub.stdout.readline())
    return answer


class Service:
    """One running service."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process = process
        self.port = port

    def cpu_s(self) -> float:
        """CPU that the process has taken so far, all threads."""
        return time.clock_gettime((~self.process.pid << 3) | 2)

    def memory_mb(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/statm").read_text().split()
        return int(fields[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


@contextlib.contextmanager
def serve(place: Place, environment: dict[str, str], *prefix: str, workers: int = 1) -> Iterator[Service]:
    """Start the service and wait until it answers; `prefix` is a command that starts Python programs its own way."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    run = [*prefix, sys.executable, "-m", "uvicorn"]
    arguments = ["--port", str(port), "--loop", "asyncio", "--http", "h11", "--no-access-log", "--log-level", "error"]
    arguments += ["--workers", str(workers)] if workers > 1 else []
    with _process([*run, "shop_app:app", *arguments], environment, place.repository) as process:
        deadline_s = time.monotonic() + _START_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=5).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline_s:
                    raise RuntimeError(f"the service did not start: {process.args}") from None
                time.sleep(0.05)
        yield Service(process, port)


def keep_on(pid: int, cores: Collection[int]) -> None:
    """Keep all threads that a process has now, and those that they start, on these cores."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(int(thread.name), cores)


class Load:
    """A load generator in another process: full load on a port whenever it is asked for."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        return self._process.pid

    def begin(self, port: int, seconds: float, *, requests: int | None = None) -> None:
        """Keep the service busy for so long, or with exactly so many requests, the last of which is answered then."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{port} {seconds} {requests or 0}\n")
        self._process.stdin.flush()

    def result(self) -> dict[str, Any]:
        """Return what was begun: requests, failed, seconds, latencies in ms (p50, p95, p99, longest).

        `bodies` counts the answers with status 200 by what they said, as far as there are no more than a few kinds.
        """
        assert self._process.stdout is not None
        found: dict[str, Any] = json.loads(self._process.stdout.readline())
        return found

    def stop(self) -> None:
        """End what was begun before its time."""
        self._process.send_signal(signal.SIGUSR1)


@contextlib.contextmanager
def load_generator() -> Iterator[Load]:
    with _process([sys.executable, "-m", "bench.service", "load"], _own(), Path.cwd()) as process:
        yield Load(process)


@contextlib.contextmanager
def instrumented_environment() -> Iterator[dict[str, str]]:
    """What OpenTelemetry's auto-instrumentation needs, with a sink of its own for traces, metrics and logs."""
    with _process([sys.executable, "-m", "bench.service", "sink"], _own(), Path.cwd()) as sink:
        assert sink.stdout is not None
        yield _clean() | {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{int(sink.stdout.readline())}",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_TRACES_EXPORTER": "otlp",
            "OTEL_METRICS_EXPORTER": "otlp",
            "OTEL_LOGS_EXPORTER": "otlp",
            "OTEL_PYTHON_LOGGING_AUTO_INSTRUMENTATION_ENABLED": "true",
            "OTEL_SERVICE_NAME": "shop",
        }


_REFRESHER = """
import sys, threading, time

def refresh():
    code_file = None
    for line in sys.stdin:
        if code_file is None:  # it parses and associates now, so that the first change does not pay for it
            from jurigged.register import registry
            registry.prepare("pricing", line.strip())
            code_file = registry.get(line.strip())
        started = time.perf_counter()
        code_file.refresh()
        print((time.perf_counter() - started) * 1000, flush=True)

threading.Thread(target=refresh, daemon=True).start()
"""


def refreshing_environment(place: Place) -> dict[str, str]:
    """Let jurigged take the changed ``pricing.py`` in whenever the service reads its path from stdin."""
    folder = place.state / "refresher"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(_REFRESHER)
    return _clean() | {"PYTHONPATH": str(folder)}


INSTRUMENT = str(Path(sys.executable).with_name("opentelemetry-instrument"))


@contextlib.contextmanager
def place() -> Iterator[Place]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "shop"
        folder.mkdir()
        yield Place(folder)


def plain_environment() -> dict[str, str]:
    return _clean()


def _own() -> dict[str, str]:
    return _clean() | {"PYTHONPATH": os.pathsep.join((_SOURCES, str(Path(__file__).parents[1])))}


def _clean() -> dict[str, str]:
    return {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}


@contextlib.contextmanager
def _process(command: list[str], environment: dict[str, str], folder: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        command,
        env=environment,
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # its workers, too
        process.communicate()


# What runs in the other processes


def _generate() -> None:
    stopped = threading.Event()
    signal.signal(signal.SIGUSR1, lambda *_: stopped.set())
    for line in sys.stdin:
        port, seconds, requests = line.split()
        stopped.clear()
        print(json.dumps(_full_load(int(port), float(seconds), int(requests) or math.inf, stopped)), flush=True)


def _full_load(port: int, seconds: float, requests: float, stopped: threading.Event) -> dict[str, Any]:
    selector = selectors.DefaultSelector()
    latencies: list[float] = []
    bodies: Counter[bytes] = Counter()
    failed = 0
    left = requests
    """What is still to be sent."""

    sent_at: dict[socket.socket, float] = {}
    answers: dict[socket.socket, bytes] = {}

    def connect() -> None:
        nonlocal left
        left -= 1
        connection = socket.create_connection(("127.0.0.1", port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        selector.register(connection, selectors.EVENT_READ)
        sent_at[connection] = time.perf_counter()
        answers[connection] = b""
        connection.sendall(_REQUEST)

    for _ in range(CONNECTIONS):
        connect()
    start_s = time.perf_counter()
    while time.perf_counter() - start_s < seconds and not stopped.is_set() and len(latencies) < requests:
        for key, _ in selector.select(0.1):
            connection = key.fileobj
            assert isinstance(connection, socket.socket)
            data = connection.recv(65536)
            answer = answers[connection] = answers[connection] + data
            if data and not data.endswith(b"}"):
                continue  # head and body come apart; the body is an object
            answers[connection] = b""
            now_s = time.perf_counter()
            latencies.append(now_s - sent_at[connection])
            if answer.startswith(b"HTTP/1.1 200 ") and answer.endswith(b"}"):
                body = answer.partition(b"\r\n\r\n")[2]
                bodies[body if body in bodies or len(bodies) < _KINDS else b"(other)"] += 1
                if left > 0:
                    left -= 1
                    sent_at[connection] = now_s
                    connection.sendall(_REQUEST)
                continue
            failed += 1
            selector.unregister(connection)
            connection.close()
            connect()
    took_s = time.perf_counter() - start_s
    for key in list(selector.get_map().values()):
        assert isinstance(key.fileobj, socket.socket)
        key.fileobj.close()
    latencies.sort()
    shares = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "longest": 1.0}
    ms = {name: latencies[min(len(latencies) - 1, int(len(latencies) * at))] * 1000 for name, at in shares.items()}
    told = {body.decode("latin-1"): count for body, count in bodies.items()}
    return {"requests": len(latencies), "failed": failed, "seconds": took_s, "bodies": told, **ms}


def _be_hub(socket_path: str, key: str) -> None:
    heard = 0

    def on_telemetry(kind: str, body: dict[str, Any], _process: Any) -> None:
        nonlocal heard
        if kind == "logs":
            heard += sum(len(scope["logRecords"]) for item in body["resourceLogs"] for scope in item["scopeLogs"])

    gateway = AgentGateway(
        socket_path=Path(socket_path),
        master_key=bytes.fromhex(key),
        clock=SystemClock(),
        on_telemetry=on_telemetry,
        on_processes_changed=lambda: None,
    )
    gateway.start()
    for _ in sys.stdin:
        connected = sum(item.connected for item in gateway.processes())
        print(json.dumps({"connected": connected, "records": heard}), flush=True)


def _be_sink() -> None:
    """Take what an exporter of OTLP/HTTP posts, and print the port first."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    if sys.argv[1] == "load":
        _generate()
    elif sys.argv[1] == "sink":
        _be_sink()
    else:
        _be_hub(*sys.argv[2:])
