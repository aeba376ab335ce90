"""How many error records a hub takes in: cleaned, grouped and committed, over its real HTTP route.

Run: ``python -m bench ingest``. Every record is of severity ERROR and so takes the whole way: decoded, cleaned,
masked, grouped, counted, sampled, and committed with ``synchronous=FULL`` before the request is answered. The
messages are those of the Loghub samples of the public test data; from the second pass on their digits are
drawn anew, so that no message comes twice. Requests have 512 records, as OpenTelemetry's batch processor sends
them. Beside it, in this process: the same bodies decoded and nothing else, and decoded, parsed and cleaned.

The hub is one process. Records a second are given by the clock, with eight senders on the same machine, and per
second of the hub's own processor time, which other programs disturb less.
"""

import csv
import json
import random
import re
import string
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import msgspec

from bench.bench_redaction import DATA, NO_LINES
from bench.figures import Figure, number
from bench.hub import BenchHub
from homeostat.telemetry.otlp import CumulativeReader, decode_logs, parse_logs, parse_metrics

_PER_REQUEST = 512
_HELD_NS = 5_000_000_000
"""A batch holds records of at most so long: OpenTelemetry's processor sends what it has every five seconds."""

_PASSES = 3
_SENDERS = 8
_PROCESSES_PER_REQUEST = 50
_TICK_REQUESTS = 60
_BY_THE_CLOCK, _AIM = "log records cleaned, grouped and committed, by the clock", "15,000/s in one process"

FOUND = """\
The figure is for eight senders with 512 records a request, each of which sends the next when the last was answered.
Requests that come while one is being committed are counted together in the next transaction, and each is answered
after its commit: so statements, samples and the wait for the disk are shared by several. Of the hub's processor time
for a record half is reading it (two fifths of that is cleaning), a tenth its template, a third the transaction with
its findings, and the rest HTTP. Statements hold many rows each, since a thread that gives up the interpreter's lock
for every row waits for it as often. Two senders get about half of this by the clock, because nobody shares.
It stands at its limit: runs on one evening gave 14,467 and 15,729/s.
"""


def main() -> dict[str, float]:
    """Measure, print a table, and return records (ticks) a second by name; nothing where the messages are missing."""
    messages = _messages()
    if not messages:
        print(f"ingest: no log lines below {DATA / 'loghub'}")
        return {}
    rng = random.Random(5)
    with BenchHub({"app.py": ""}) as hub:
        # The first pass makes most findings: from then on nearly all errors are known ones.
        _send(hub, "/v1/logs", _log_bodies(messages, rng))
        logs = _log_bodies([_redrawn(text, rng) for _ in range(_PASSES) for text in messages], rng)
        log_wall_s, log_cpu_s = _send(hub, "/v1/logs", logs)
        ticks = _metric_bodies()
        tick_wall_s, tick_cpu_s = _send(hub, "/v1/metrics", ticks)
    records, told = len(messages) * _PASSES, _PROCESSES_PER_REQUEST * _TICK_REQUESTS
    results = {
        "log records, by the clock": records / log_wall_s,
        "log records, per second of the hub's processor": records / log_cpu_s,
        "log records, decoded only": records / _alone(logs, msgspec.json.decode),
        "log records, decoded, parsed and cleaned only": records / _alone(logs, _parse_log_body),
        "ticks, by the clock": told / tick_wall_s,
        "ticks, per second of the hub's processor": told / tick_cpu_s,
        "ticks, decoded and parsed only": told / _alone(ticks, _metric_parser()),
    }
    print(f"{records} records, {sum(map(len, logs)) / records:.0f} bytes each")
    for what, rate in results.items():
        print(f"{what:<50}{rate:>10,.0f}/s")
    return results


def figures(results: dict[str, float]) -> list[Figure]:
    """Hold the results against their aims."""
    if not results:
        return [Figure(what=_BY_THE_CLOCK, measured=NO_LINES, aim=_AIM)]
    parsed = results["log records, decoded, parsed and cleaned only"]
    beside = (
        f"decoded only {number(results['log records, decoded only'], '/s')}; parsed and cleaned {number(parsed, '/s')}"
    )
    clock, cpu = results["log records, by the clock"], results["log records, per second of the hub's processor"]
    return [
        Figure(
            what=_BY_THE_CLOCK,
            measured=number(clock, "/s"),
            beside=beside,
            aim=_AIM,
            met=clock >= 15_000,
        ),
        Figure(what="the same, per second of the hub's processor time", measured=number(cpu, "/s")),
        Figure(
            what="ticks of vitals committed, by the clock",
            measured=number(results["ticks, by the clock"], "/s"),
            beside=f"decoded and parsed {number(results['ticks, decoded and parsed only'], '/s')}",
        ),
    ]


def log_body(messages: Sequence[str], rng: random.Random) -> bytes:
    """Return an OTLP/JSON request with one error record a message."""
    now_ns = time.time_ns()
    records = [
        {
            "timeUnixNano": str(now_ns - rng.randrange(_HELD_NS)),
            "severityNumber": 17,
            "severityText": "ERROR",
            "body": {"stringValue": message},
            "attributes": [
                {"key": "code.file.path", "value": {"stringValue": "shop/orders.py"}},
                {"key": "code.function.name", "value": {"stringValue": "total"}},
                {"key": "code.line.number", "value": {"intValue": "12"}},
                {"key": "http.route", "value": {"stringValue": "/orders/{id}"}},
            ],
        }
        for message in messages
    ]
    scope = {"scope": {"name": "shop.orders"}, "logRecords": records}
    return json.dumps({"resourceLogs": [{"resource": _resource("one"), "scopeLogs": [scope]}]}).encode()


def _messages() -> list[str]:
    messages: list[str] = []
    for path in sorted((DATA / "loghub").glob("*/*_structured_corrected.csv")):
        with path.open(newline="", encoding="utf-8", errors="replace") as file:
            messages.extend(row["Content"] for row in csv.DictReader(file))
    random.Random(3).shuffle(messages)
    return messages


def _redrawn(text: str, rng: random.Random) -> str:
    """Draw each digit anew but for the parts of addresses, which would no longer be any."""
    return re.sub(
        r"(?<![0-9.])[0-9]{2,}(?![0-9.])", lambda found: "".join(rng.choices(string.digits, k=len(found[0]))), text
    )


def _log_bodies(messages: Sequence[str], rng: random.Random) -> list[bytes]:
    return [log_body(messages[at : at + _PER_REQUEST], rng) for at in range(0, len(messages), _PER_REQUEST)]


def _resource(process: str) -> dict[str, object]:
    pairs = (("service.name", "shop"), ("service.instance.id", process), ("vcs.ref.head.revision", "a" * 40))
    return {"attributes": [{"key": key, "value": {"stringValue": value}} for key, value in pairs]}


def _metric_bodies() -> list[bytes]:
    """Return requests as a collector sends them: what many processes counted in one second, one tick each."""
    bodies = []
    for second in range(_TICK_REQUESTS):
        end_ns = time.time_ns() - (_TICK_REQUESTS - second) * 1_000_000_000
        span = {"startTimeUnixNano": str(end_ns - 1_000_000_000), "timeUnixNano": str(end_ns)}
        point = {
            **span,
            "count": "9",
            "sum": 0.21,
            "explicitBounds": [0.01, 0.05, 0.1],
            "bucketCounts": ["2", "4", "2", "1"],
        }
        points = [
            {**point, "attributes": [{"key": "http.route", "value": {"stringValue": route}}]}
            for route in ("/orders", "/orders/{id}", "/health")
        ]
        metrics = [
            {
                "name": "http.server.request.duration",
                "unit": "s",
                "histogram": {"aggregationTemporality": 1, "dataPoints": points},
            },
            {"name": "process.memory.usage", "unit": "By", "gauge": {"dataPoints": [{**span, "asInt": "73400320"}]}},
        ]
        entries = [
            {"resource": _resource(f"process-{process}"), "scopeMetrics": [{"metrics": metrics}]}
            for process in range(_PROCESSES_PER_REQUEST)
        ]
        bodies.append(json.dumps({"resourceMetrics": entries}).encode())
    return bodies


def _send(hub: BenchHub, path: str, bodies: Sequence[bytes]) -> tuple[float, float]:
    """Send all from a few connections at once; return seconds by the clock and of the hub's processor."""
    left = list(reversed(bodies))
    failures: list[object] = []

    def work() -> None:
        connection = hub.connect()
        while left and not failures:
            try:
                body = left.pop()
            except IndexError:
                return
            status, answer = connection.request("POST", path, body)
            if status != 200 or answer["partialSuccess"]:
                failures.append((status, answer))

    threads = [threading.Thread(target=work) for _ in range(_SENDERS)]
    wall_s, cpu_s = time.perf_counter(), hub.cpu_s()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise RuntimeError(f"the hub did not take a request: {failures[0]}")
    return time.perf_counter() - wall_s, hub.cpu_s() - cpu_s


def _alone(bodies: Sequence[bytes], work: Callable[[bytes], object]) -> float:
    """Return the processor seconds that `work` takes for all bodies, each the best of three."""
    spent_s = 0.0
    for body in bodies:
        times = []
        for _ in range(3):
            start_s = time.process_time()
            work(body)
            times.append(time.process_time() - start_s)
        spent_s += min(times)
    return spent_s


def _parse_log_body(body: bytes) -> object:
    return parse_logs(decode_logs(body), now=datetime.now(UTC))


def _metric_parser() -> Callable[[bytes], object]:
    reader = CumulativeReader()
    return lambda body: parse_metrics(msgspec.json.decode(body), reader=reader, now=datetime.now(UTC))


if __name__ == "__main__":
    main()
