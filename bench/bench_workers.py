"""Changes and rollbacks in two uvicorn workers that are saturated: whether a request fails, and what they wait.

Run: ``python -m bench workers``. A load generator in a process of its own keeps 16 connections full; the hub's door,
in this process, sends each change to both workers at once. In each, 500 times one function gets the other body, 100
times the last change is rolled back, and every answer must be a 200 with what the one body makes or with what the other
does. What these are was seen before, with nothing but the one and the other running. A tenth of the swaps is prepared
first, as applying does; the others plan and look through the whole process at once, which takes longest. The latencies
stand beside those of the same service left alone, before.
"""

import contextlib
import itertools
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from bench import service
from bench.figures import Figure, number
from homeostat.adapters.agents.gateway import AgentGateway
from homeostat.core.ids import ProcessId
from homeostat.model.process import LiveOutcome, LiveResult
from homeostat.ports.live import LiveChange, ModuleChange

_WORKERS = 2
_SWAPS = 500
_ROLLBACKS = 100
_PREPARED_EVERY = 10
_CALM_S = 8.0
_TIMEOUT_S = 60.0
_TOLD = ("p50", "p95", "p99", "longest")


def main() -> dict[str, float]:
    """Measure, print a table, and return figures by name."""
    with contextlib.ExitStack() as stack:
        place, load = stack.enter_context(service.place()), stack.enter_context(service.load_generator())
        place.pricing.write_text(service.SMALL_PRICING)
        hub = stack.enter_context(place.hub())
        running = stack.enter_context(service.serve(place, place.agent_environment(), workers=_WORKERS))
        pool = stack.enter_context(ThreadPoolExecutor(_WORKERS + 1))
        # The parent of the workers has the agent, too: it is asked like every other process.
        changing = _Changing(place, hub, _connected(hub, _WORKERS + 1), pool)
        load.begin(running.port, _CALM_S)
        calm = load.result()
        (old,) = calm["bodies"]
        changing.swap()
        load.begin(running.port, 1.0)
        (new,) = load.result()["bodies"]
        changing.rollback()
        load.begin(running.port, 3_600.0)
        started_s = time.monotonic()
        changing.run()
        took_s = time.monotonic() - started_s
        load.stop()
        found = load.result()
    assert old != new, "the change shows in no answer"
    results = {
        "seconds": took_s,
        "requests": found["requests"],
        "failed": found["failed"],
        "answers of the old body": found["bodies"].get(old, 0),
        "answers of the new body": found["bodies"].get(new, 0),
        "other answers": sum(count for body, count in found["bodies"].items() if body not in (old, new)),
        **{f"{name}, changing (ms)": found[name] for name in _TOLD},
        **{f"{name}, left alone (ms)": calm[name] for name in _TOLD},
        "requests/s, changing": found["requests"] / found["seconds"],
        "requests/s, left alone": calm["requests"] / calm["seconds"],
        "swap p50 (ms)": statistics.median(changing.times["swap"]),
        "rollback p50 (ms)": statistics.median(changing.times["rollback"]),
    }
    for what, value in results.items():
        print(f"{what:<40}{value:>12,.1f}")
    return results


class _Changing:
    """The door of the hub, and what it has sent."""

    def __init__(
        self, place: service.Place, hub: AgentGateway, processes: Sequence[ProcessId], pool: ThreadPoolExecutor
    ) -> None:
        self._place, self._hub, self._processes, self._pool = place, hub, processes, pool
        self._sources = (service.SMALL_PRICING, service.changed(service.SMALL_PRICING))
        self._changes: list[str] = []
        self.times: dict[str, list[float]] = {"prepare": [], "swap": [], "rollback": []}

    def run(self) -> None:
        """Swap and roll back, as often as is measured."""
        for index in range(_SWAPS):
            self.swap(prepared=index % _PREPARED_EVERY == 0)
            if index % (_SWAPS // _ROLLBACKS) == 0:
                self.rollback()

    def swap(self, *, prepared: bool = False) -> None:
        at = len(self._changes) % 2
        old, new = self._sources[at], self._sources[1 - at]
        name = f"c{next(_numbers)}"
        module = ModuleChange(path="pricing.py", old_source=old, new_source=new)
        change = LiveChange(id=name, modules=(module,), mode="safe")
        if prepared:
            self._everywhere("prepare", lambda process: self._hub.prepare(process, change, timeout_s=_TIMEOUT_S))
        self._place.pricing.write_text(new)
        self._everywhere("swap", lambda process: self._hub.swap(process, change, timeout_s=_TIMEOUT_S))
        self._changes.append(name)

    def rollback(self) -> None:
        name = self._changes.pop()
        self._place.pricing.write_text(self._sources[len(self._changes) % 2])
        self._everywhere("rollback", lambda process: self._hub.rollback(process, name, timeout_s=_TIMEOUT_S))

    def _everywhere(self, what: str, ask: Callable[[ProcessId], LiveResult]) -> None:
        started_s = time.perf_counter()
        for answer in self._pool.map(ask, self._processes):
            assert answer.outcome is LiveOutcome.SWAPPED, answer.detail
        self.times[what].append((time.perf_counter() - started_s) * 1000)


_numbers = itertools.count()


def _connected(hub: AgentGateway, count: int) -> list[ProcessId]:
    deadline_s = time.monotonic() + 60
    while len(found := [item.id for item in hub.processes() if item.connected]) < count:
        assert time.monotonic() < deadline_s, f"{len(found)} of {count} processes connected"
        time.sleep(0.05)
    return found


FOUND = """Whoever waits here waits for a core: two workers, the generator and the hub share them all, and what a
swap looks through (see *swap*) is taken from the requests of both workers at once. The latencies are those of
a service in which changes follow each other without pause."""


def figures(results: dict[str, float]) -> list[Figure]:
    """Hold the results against their aims."""
    count = f"{_WORKERS * _SWAPS:,} swaps and {_WORKERS * _ROLLBACKS} rollbacks in {_WORKERS} saturated uvicorn workers"
    old, new = results["answers of the old body"], results["answers of the new body"]

    def latencies(when: str) -> str:
        return ", ".join(f"{name} {number(results[f'{name}, {when} (ms)'], 'ms')}" for name in _TOLD)

    return [
        Figure(
            what=f"requests failed, or answered by neither code, in {count}",
            measured=f"{results['failed'] + results['other answers']:.0f} of {results['requests']:,.0f}",
            beside=f"answered by the old code {old:,.0f}, by the new {new:,.0f}, in {results['seconds']:,.0f} s",
            aim="0",
            met=not results["failed"] and not results["other answers"],
        ),
        Figure(
            what="a request meanwhile",
            measured=latencies("changing"),
            beside=f"left alone: {latencies('left alone')}",
        ),
    ]


if __name__ == "__main__":
    main()
