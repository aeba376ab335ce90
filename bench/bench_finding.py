"""How long from the occurrence that reaches the floor until its finding is seen.

Run: ``python -m bench finding``. A real program runs under `homeostat run`, raises an error that nobody saw
before three times (the floor), and says by the machine's monotonic clock when the third was logged. From there
it goes through the agent's ring and thread, the socket, the hub's cleaning, grouping and committing; the
clock stops when ``GET /api/findings``, which the console and the command line show, answers with it. First
with the hub at rest, then while other senders keep it busy with error records all the time.
"""

import itertools
import json
import random
import string
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from bench.bench_ingest import log_body
from bench.figures import Figure, number
from bench.hub import BenchHub, Connection, percentile

_FINDINGS = 120
_FLOOR = 3
_ASK_EVERY_S = 0.01
_GIVE_UP_S = 30.0
_LOAD_RECORDS = 128
FOUND = """\
A record waits up to 250 ms for the agent's next turn; from then on it waits for the transaction before, and
for the disk: whatever came meanwhile is counted in the next one together, and its findings are written with it.
"""

_HOST = '''"""Raises errors of the kinds that it is told by name, and says when the last of each was logged."""

import json
import logging
import sys
import time

log = logging.getLogger("shop")
logging.basicConfig(handlers=[logging.NullHandler()])
for line in sys.stdin:
    kind = type(line.strip(), (Exception,), {})
    for _ in range(FLOOR):
        try:
            raise kind("the order was lost")
        except kind:
            log.exception("it failed")
    print(json.dumps(time.monotonic()), flush=True)
'''


def main() -> dict[str, float]:
    """Measure, print a table, and return milliseconds by name."""
    results: dict[str, float] = {}
    with BenchHub({"shop.py": _HOST.replace("FLOOR", str(_FLOOR))}) as hub:
        results |= _measure(hub, "at rest")
        with _load(hub) as sent:
            began_s = time.monotonic()
            results |= _measure(hub, "at load")
            results["records a second beside, at load"] = len(sent) * _LOAD_RECORDS / (time.monotonic() - began_s)
    print(f"{f'{_FINDINGS} findings each, seen after':<36}{'p50':>8}{'p99':>8}{'max':>8}  ms")
    for when in ("at rest", "at load"):
        print(f"{when:<36}" + "".join(f"{results[f'{when} {part} ms']:>8.0f}" for part in ("p50", "p99", "max")))
    print(f"at load, the hub took {results['records a second beside, at load']:,.0f} other records a second")
    return results


def figures(results: dict[str, float]) -> list[Figure]:
    """Hold the results against their aim."""
    beside_s = number(results["records a second beside, at load"])
    load = f"p50 {number(results['at load p50 ms'], 'ms')}; {beside_s} other records/s"
    return [
        Figure(
            what=f"the occurrence that reaches the floor → finding seen, {when}, p99",
            measured=number(results[f"{when} p99 ms"], "ms"),
            beside=beside,
            aim="1 s",
            met=results[f"{when} p99 ms"] < 1000,
        )
        for when, beside in (("at rest", f"p50 {number(results['at rest p50 ms'], 'ms')}"), ("at load", load))
    ]


def _measure(hub: BenchHub, when: str) -> dict[str, float]:
    connection, rng = hub.connect(), random.Random(when)
    took_ms = []
    with hub.host("shop.py") as host:
        assert host.stdin is not None and host.stdout is not None
        _wait_for_agent(connection)
        for name in itertools.islice(_names(rng), _FINDINGS):
            time.sleep(rng.random() * 0.3)  # at any moment between two turns of the agent
            host.stdin.write(f"{name}\n")
            host.stdin.flush()
            occurred_s = json.loads(host.stdout.readline())
            took_ms.append((_seen_at_s(connection, name) - occurred_s) * 1000)
    return {
        f"{when} p50 ms": percentile(took_ms, 0.5),
        f"{when} p99 ms": percentile(took_ms, 0.99),
        f"{when} max ms": max(took_ms),
    }


def _names(rng: random.Random) -> Iterator[str]:
    while True:
        yield "Lost" + "".join(rng.choices(string.ascii_lowercase, k=12)).capitalize()


def _wait_for_agent(connection: Connection) -> None:
    deadline_s = time.monotonic() + _GIVE_UP_S
    while not any(process["connected"] for process in connection.request("GET", "/api/processes")[1]["processes"]):
        if time.monotonic() > deadline_s:
            raise RuntimeError("the agent did not connect")
        time.sleep(0.05)


def _seen_at_s(connection: Connection, name: str) -> float:
    deadline_s = time.monotonic() + _GIVE_UP_S
    while True:
        _, answer = connection.request("GET", "/api/findings?limit=5")
        if any(name in finding["title"] for finding in answer["findings"]):
            return time.monotonic()
        if time.monotonic() > deadline_s:
            raise RuntimeError(f"the finding of {name} is not there after {_GIVE_UP_S} s")
        time.sleep(_ASK_EVERY_S)


@contextmanager
def _load(hub: BenchHub) -> Iterator[list[int]]:
    """Keep the hub busy with errors that it knows; yields a list that grows by one with each request taken."""
    sent: list[int] = []
    stop = threading.Event()
    rng = random.Random(2)
    words = ("reading", "writing", "closing", "opening")
    messages = [
        f"{words[n % 4]} block blk_{rng.randrange(10**12)} of 10.0.{n % 250}.7 failed" for n in range(_LOAD_RECORDS)
    ]

    def work() -> None:
        connection = hub.connect()
        while not stop.is_set():
            status, answer = connection.request("POST", "/v1/logs", log_body(messages, rng))
            if status != 200:
                raise RuntimeError(f"the hub answered {status}: {answer}")
            sent.append(status)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield sent
    finally:
        stop.set()
        for thread in threads:
            thread.join()


if __name__ == "__main__":
    main()
