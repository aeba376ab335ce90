"""What a restart costs those who call meanwhile, beside a plain stop and start of the same program.

Run: ``python -m bench restart``. A FastAPI program under uvicorn answers from a supervised process, while four
customers in this process ask without pause, each request on a connection of its own. It is restarted
with its sockets handed over, and then, for comparison, ended with SIGTERM and started again. *Gap* is the
longest time in which nobody was answered.
"""

import http.client
import itertools
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from bench.figures import Figure, number
from homeostat.adapters.agents.gateway import AgentGateway
from homeostat.adapters.agents.launch import prepare_launch
from homeostat.adapters.agents.socket_place import choose_socket_path
from homeostat.adapters.clock import SystemClock
from homeostat.adapters.keys import load_or_create_keys
from homeostat.adapters.supervising.client import SupervisorRestarter
from homeostat.adapters.supervising.supervisor import Supervisor
from homeostat.model.restart import RestartPhase, RestartPlan

FOUND = ""

_ROUNDS = 3
_PLAN = RestartPlan(timeout_s=60, drain_s=10, settle_s=1.0)
_APP = """
from fastapi import FastAPI

app = FastAPI()


@app.get("/")
async def root():
    return {"ok": True}
"""


class _Customers:
    def __init__(self, port: int) -> None:
        self._port = port
        self._stop = threading.Event()
        self.answered: list[float] = []
        self.latencies_ms: list[float] = []
        self.failed = 0
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._ask_on, daemon=True) for _ in range(4)]

    def __enter__(self) -> "_Customers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def longest_gap_ms(self) -> float:
        """Return the longest time between two answers."""
        with self._lock:
            times = sorted(self.answered)
        return max((after - before) * 1000 for before, after in itertools.pairwise(times))

    def _ask_on(self) -> None:
        while not self._stop.is_set():
            began_s = time.perf_counter()
            good = _answers(self._port)
            ended_s = time.perf_counter()
            with self._lock:
                if good:
                    self.answered.append(ended_s)
                    self.latencies_ms.append((ended_s - began_s) * 1000)
                else:
                    self.failed += 1
            self._stop.wait(0.002)


def main() -> dict[str, float]:
    """Measure, print a table, and return seconds, milliseconds and counts by name."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "web.py").write_text(_APP)
        port = _free_port()
        ours, ours_s = _measure_ours(folder, port)
        plain, plain_s = _measure_plain(folder, port)
    found = {
        "restart_s": statistics.median(ours_s),
        "restart_requests": float(len(ours.answered) + ours.failed),
        "restart_failed": float(ours.failed),
        "restart_gap_ms": ours.longest_gap_ms(),
        "restart_latency_ms_max": max(ours.latencies_ms),
        "plain_s": statistics.median(plain_s),
        "plain_requests": float(len(plain.answered) + plain.failed),
        "plain_failed": float(plain.failed),
        "plain_gap_ms": plain.longest_gap_ms(),
    }
    print(f"{_ROUNDS} restarts under load{'':<12}{'handed over':>14}{'stop and start':>16}")
    for what, key in (
        ("seconds (median)", "s"),
        ("requests", "requests"),
        ("failed", "failed"),
        ("gap (ms)", "gap_ms"),
    ):
        print(f"{what:<30}{found['restart_' + key]:>14.2f}{found['plain_' + key]:>16.2f}")
    return found


def figures(found: Mapping[str, float]) -> list[Figure]:
    """Hold what was measured against its aim."""
    return [
        Figure(
            what="failed requests in 3 restarts under load",
            measured=f"{found['restart_failed']:.0f} of {found['restart_requests']:,.0f}",
            beside=f"stop and start: {found['plain_failed']:.0f} of {found['plain_requests']:,.0f}",
            aim="0",
            met=found["restart_failed"] == 0,
        ),
        Figure(
            what="longest time without an answer",
            measured=number(found["restart_gap_ms"], "ms"),
            beside=f"stop and start: {number(found['plain_gap_ms'], 'ms')}",
        ),
        Figure(
            what="a restart, from the request until the old process is gone (1 s of it to settle)",
            measured=number(found["restart_s"], "s"),
            beside=f"stop and start: {number(found['plain_s'], 's')}",
        ),
    ]


def _measure_ours(folder: Path, port: int) -> tuple[_Customers, list[float]]:
    times = []
    with _supervised(folder, port) as restarter, _Customers(port) as customers:
        program = restarter.programs()[0].id
        time.sleep(1)
        for number_of in range(_ROUNDS):
            began_s = time.perf_counter()
            restarter.begin(program, f"round-{number_of}", _PLAN)
            while True:
                report = restarter.programs()[0].report
                if report is not None and report.request_id == f"round-{number_of}" and report.phase.is_over:
                    break
                time.sleep(0.02)
            assert report.phase is RestartPhase.DONE, report
            times.append(time.perf_counter() - began_s)
            time.sleep(0.5)
    return customers, times


def _measure_plain(folder: Path, port: int) -> tuple[_Customers, list[float]]:
    times = []
    process = _start_plain(folder, port)
    try:
        with _Customers(port) as customers:
            time.sleep(1)
            for _ in range(_ROUNDS):
                began_s = time.perf_counter()
                process.send_signal(signal.SIGTERM)
                process.wait()
                process = _start_plain(folder, port)
                times.append(time.perf_counter() - began_s)
                time.sleep(0.5)
    finally:
        process.terminate()
        process.wait()
    return customers, times


@contextmanager
def _supervised(folder: Path, port: int) -> Iterator[SupervisorRestarter]:
    state = folder / ".homeostat"
    keys = load_or_create_keys(state)
    gateway = AgentGateway(
        socket_path=choose_socket_path(state),
        master_key=keys.agent_key,
        clock=SystemClock(),
        on_telemetry=lambda *_: None,
        on_processes_changed=lambda: None,
    )
    gateway.start()
    supervisor = Supervisor(
        state_dir=state,
        kind="run",
        command=_command(port),
        folder=folder,
        make_launch=lambda door: prepare_launch(
            state_dir=state,
            repository=folder,
            commit=None,
            service_name="web",
            hmr_enabled=True,
            hmr_mode="safe",
            supervisor=door,
        ),
        on_exit=lambda: None,
        say=lambda text: None,
        hub_is_up=lambda: True,
    )
    supervisor.start()
    try:
        _wait_for_answer(port)
        yield SupervisorRestarter(state)
    finally:
        supervisor.stop()
        gateway.close()


def _start_plain(folder: Path, port: int) -> "subprocess.Popen[bytes]":
    process = subprocess.Popen(_command(port), cwd=folder, env=os.environ)
    _wait_for_answer(port)
    return process


def _command(port: int) -> list[str]:
    return [sys.executable, "-m", "uvicorn", "web:app", "--port", str(port), "--log-level", "error"]


def _wait_for_answer(port: int) -> None:
    deadline_s = time.monotonic() + 60
    while not _answers(port):
        assert time.monotonic() < deadline_s, "the program does not answer"
        time.sleep(0.01)


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", "/")
        answer = connection.getresponse()
        answer.read()
        return answer.status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
