"""What a canary costs each call of a function that changed, beside a plain call and a `functools.wraps` wrapper.

Run: ``python -m bench routing``. For every kind of function: the function as it is; under canary, called in a
request, as most calls are; and wrapped in Python in the way decorators do, which is what a router in front of the
functions would cost at the least. Then the calls that are no request's: in an asyncio task, and as the outermost
call of a thread, which begins a unit, ends it and counts it. The least of many short turns counts, in
changing order, so that neighbours on the machine and its drift fall on all alike. Then what it costs that a function
is declared pure: a call that is passed over, one that is copied and compared, and one under the share that follows.
Last, fifty functions go into a canary and out of it.
"""

import asyncio
import contextvars
import functools
import gc
import importlib
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from homeostat_agent.canary.switch import Terms
from homeostat_agent.capture.failures import Failures
from homeostat_agent.capture.traffic import Traffic
from homeostat_agent.reload import Change, Module, Reloader

from bench.figures import Figure, number

_TURNS = 300
_CALLS = 500
_FUNCTIONS = 50
_ROUNDS = 10

_OLD = """
def plain(x, y):
    return 1
def named(x, *, y=2, **more):
    return 1
class Holder:
    def method(self, x, y):
        return 1
def generator(x, y):
    yield 1
async def coroutine(x, y):
    return 1
async def stream(x, y):
    yield 1
""" + "\n".join(f"def f{index}(x):\n    return 1\n" for index in range(_FUNCTIONS))
_NEW = _OLD.replace("return 1", "return 1 + 0 * 2").replace("yield 1", "yield 1 + 0 * 2")

_KINDS = ("plain", "named", "method", "generator", "coroutine", "asynchronous generator")
_BARE, _ROUTED, _WRAPPED, _BEHIND = "as it is", "canary", "wrapped", "after promotion"
_SHADOWED, _AFTER_SHADOW = "shadowed, passed over", "canary, shadowed before"


def main() -> dict[str, float]:
    """Measure, print a table, and return nanoseconds a call by kind and way, and milliseconds of the exchanges."""
    results: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        sys.path.insert(0, name)
        try:
            _measure_calls(Path(name), results)
            _measure_shadow(Path(name), results)
            _measure_exchanges(Path(name), results)
        finally:
            sys.path.remove(name)
    for what, value in results.items():
        print(f"{what:<56}{value:>12.1f}")
    return results


def _load(folder: Path, name: str) -> tuple[Any, Change]:
    path = folder / f"{name}.py"
    path.write_text(_OLD)
    importlib.invalidate_caches()
    return importlib.import_module(name), Change(name, (Module(path.name, _OLD, _NEW),), "safe")


def _measure_calls(folder: Path, results: dict[str, float]) -> None:
    bare, _ = _load(folder, "bare")
    routed, change = _load(folder, "routed")
    promoted, another = _load(folder, "promoted")
    reloader = Reloader(str(folder))
    for item in (change, another):
        outcome = reloader.canary(item, Terms(50, None, 3600))
        assert outcome.outcome == "swapped", outcome.detail
    assert reloader.promote(another.id).outcome == "swapped"
    ways = {
        _BARE: _callers(bare, lambda function: function),
        _ROUTED: _callers(routed, lambda function: function),
        _WRAPPED: _callers(bare, _wrap),
        _BEHIND: _callers(promoted, lambda function: function),
    }
    gc.disable()
    try:
        for kind in _KINDS:
            times = asyncio.run(_in_a_request({way: callers[kind] for way, callers in ways.items()}))
            results |= {f"{kind}, {way} (ns)": value for way, value in times.items()}
        plain = {way: ways[way]["plain"] for way in (_BARE, _ROUTED)}
        in_task = asyncio.run(_in_a_task(plain))
        outermost = {way: min(_seconds(run) for _ in range(_TURNS)) for way, run in plain.items()}
    finally:
        gc.enable()
    results["plain, canary, in a task (ns)"] = in_task[_ROUTED]
    results["plain, canary, outermost call of a thread (ns)"] = outermost[_ROUTED] * 1e9
    (report,) = reloader.take_reports()[-1:]
    assert sum(arm.units for arm in report.arms.values()) > _TURNS, "the units were counted"


def _measure_shadow(folder: Path, results: dict[str, float]) -> None:
    """Measure calls of a function declared pure, in a request: while others are compared, and under the share after."""
    module, change = _load(folder, "shadowed")
    reloader = Reloader(str(folder))
    shadowed = frozenset({"shadowed.py:plain"})
    outcome = reloader.canary(change, Terms(0, None, 3600, shadowed))
    assert outcome.outcome == "swapped", outcome.detail
    order = {"lines": [{"item": "tea", "cents": 450, "count": 2}] * 5, "coupon": "SPRING10"}
    held_up = contextvars.copy_context().run(_held_up, module.plain, order, reloader)
    results["plain, shadowed, copied and compared (ns)"] = held_up
    (switch,) = reloader.canaries
    assert switch.shadow is not None
    switch.shadow.rest_for(3600)
    callers = {_SHADOWED: _callers(module, lambda function: function)["plain"]}
    results |= {f"plain, {way} (ns)": value for way, value in asyncio.run(_in_a_request(callers)).items()}
    assert reloader.canary(change, Terms(50, None, 3600)).outcome == "swapped"
    callers = {_AFTER_SHADOW: callers[_SHADOWED]}
    results |= {f"plain, {way} (ns)": value for way, value in asyncio.run(_in_a_request(callers)).items()}
    reloader.rollback(change.id)


def _held_up(function: Callable[..., Any], order: Any, reloader: Reloader) -> float:
    """Return the median nanoseconds of a call that is compared; each is waited for until it is."""
    (switch,) = reloader.canaries
    assert switch.shadow is not None
    times = []
    _begin_request()
    for _ in range(_TURNS):
        switch.shadow.rest_for(0)
        started = time.perf_counter()
        function(order, 2)
        times.append((time.perf_counter() - started) * 1e9)
        while switch.shadow.busy:
            time.sleep(0.0001)
    found: dict[str, int] = {}
    for report in reloader.take_reports():
        for (_, outcome, _), calls in report.shadow.found.items() if report.shadow is not None else ():
            found[outcome] = found.get(outcome, 0) + calls
    assert found == {"same": _TURNS}, found
    return statistics.median(times)


def _callers(module: Any, around: Callable[[Any], Any]) -> dict[str, Callable[[], Any]]:
    """Return by kind what calls it `_CALLS` times; of the asynchronous kinds, a coroutine function."""
    plain, named, generator = around(module.plain), around(module.named), around(module.generator)
    coroutine, stream = around(module.coroutine), around(module.stream)
    holder = type("Holder", (), {"method": around(module.Holder.method)})()

    def call_plain() -> None:
        for _ in range(_CALLS):
            plain(1, 2)

    def call_named() -> None:
        for _ in range(_CALLS):
            named(1, y=3, z=4)

    def call_method() -> None:
        for _ in range(_CALLS):
            holder.method(1, 2)

    def call_generator() -> None:
        for _ in range(_CALLS):
            for _ in generator(1, 2):
                pass

    async def call_coroutine() -> None:
        for _ in range(_CALLS):
            await coroutine(1, 2)

    async def call_stream() -> None:
        for _ in range(_CALLS):
            async for _ in stream(1, 2):
                pass

    every = (call_plain, call_named, call_method, call_generator, call_coroutine, call_stream)
    return dict(zip(_KINDS, every, strict=True))


def _wrap(function: Any) -> Any:
    """Wrap it as decorators do, each kind in its own kind."""
    code = function.__code__
    if code.co_name == "generator":

        @functools.wraps(function)
        def generating(*a: Any, **k: Any) -> Iterator[Any]:
            return (yield from function(*a, **k))

        return generating
    if code.co_name == "coroutine":

        @functools.wraps(function)
        async def waiting(*a: Any, **k: Any) -> Any:
            return await function(*a, **k)

        return waiting
    if code.co_name == "stream":

        @functools.wraps(function)
        async def streaming(*a: Any, **k: Any) -> Any:
            async for item in function(*a, **k):
                yield item

        return streaming

    @functools.wraps(function)
    def calling(*a: Any, **k: Any) -> Any:
        return function(*a, **k)

    return calling


async def _in_a_request(runs: dict[str, Callable[[], Any]]) -> dict[str, float]:
    _begin_request()
    return await _least(runs)


def _begin_request() -> None:
    traffic = Traffic(
        failures=Failures(), on_escape=lambda *_: None, on_ending=lambda *_: None, on_disconnect=lambda *_: None
    )
    traffic.begin({}, lambda *_: "/")


async def _in_a_task(runs: dict[str, Callable[[], Any]]) -> dict[str, float]:
    return await _least(runs)


async def _least(runs: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """Return the least nanoseconds a call of each, measured in turns."""
    least = dict.fromkeys(runs, float("inf"))
    names = list(runs)
    for turn in range(_TURNS):
        for name in names if turn % 2 else names[::-1]:
            started = time.perf_counter()
            waiting: Awaitable[None] | None = runs[name]()
            if waiting is not None:
                await waiting
            least[name] = min(least[name], (time.perf_counter() - started) / _CALLS * 1e9)
    return least


def _seconds(run: Callable[[], Any]) -> float:
    context = contextvars.Context()
    started = time.perf_counter()
    context.run(run)
    return (time.perf_counter() - started) / _CALLS


def _measure_exchanges(folder: Path, results: dict[str, float]) -> None:
    """Go into a canary and out of it with all functions of a module."""
    module, change = _load(folder, "fifty")
    reloader = Reloader(str(folder))
    times: dict[str, list[float]] = {"begin": [], "promote": [], "give back": []}

    def timed(what: str, act: Callable[[], Any]) -> None:
        started = time.perf_counter()
        outcome = act()
        times[what].append((time.perf_counter() - started) * 1000)
        assert outcome.outcome == "swapped", outcome.detail

    for _ in range(_ROUNDS):
        assert reloader.prepare(change).outcome == "swapped"
        timed("begin", lambda: reloader.canary(change, Terms(50, None, 3600)))
        timed("give back", lambda: reloader.rollback(change.id))
        reloader.canary(change, Terms(50, None, 3600))
        timed("promote", lambda: reloader.promote(change.id))
        reloader.rollback(change.id)
    assert module.f1(1) == 1
    for what, values in times.items():
        results[f"{what}, {_FUNCTIONS + len(_KINDS)} functions (ms)"] = statistics.median(values)


FOUND = """The least of 300 turns counts. The outermost call of a thread pays for a whole unit: its arm is drawn, it is
made current, timed and counted; the call is 0.3 µs of that. All others look up the arm of the request or task that
they are part of, and go through one more frame. An asynchronous generator that yields once takes two steps, and
asyncio notes every one that begins, for 0.5 µs: a dispatched one is two, as a wrapped one is. Driven without asyncio
it costs 0.8 µs more than the plain one. Of functions declared pure one call at a time is copied and compared; the
others look at one number more."""


def figures(results: dict[str, float]) -> list[Figure]:
    """Hold the results against their aims."""

    def more(kind: str, way: str) -> float:
        return results[f"{kind}, {way} (ns)"] - results[f"{kind}, {_BARE} (ns)"]

    found = []
    for kind in _KINDS:
        bare = results[f"{kind}, {_BARE} (ns)"]
        found.append(
            Figure(
                what=f"a call under canary, in a request: {kind}",
                measured=f"{more(kind, _ROUTED):+.0f} ns",
                beside=f"`functools.wraps` wrapper {more(kind, _WRAPPED):+.0f} ns; the call itself {bare:.0f} ns; "
                f"after promotion {more(kind, _BEHIND):+.0f} ns",
                aim="1 µs",
                met=more(kind, _ROUTED) < 1000,
            )
        )
    for way in ("in a task", "outermost call of a thread"):
        extra = results[f"plain, canary, {way} (ns)"] - results[f"plain, {_BARE} (ns)"]
        found.append(
            Figure(what=f"a call under canary, {way}", measured=f"{extra:+.0f} ns", aim="1 µs", met=extra < 1000)
        )
    for way, what in (
        (_SHADOWED, "a call of a function declared pure, passed over while others are compared"),
        (_AFTER_SHADOW, "a call of a function declared pure, under the share that follows"),
    ):
        extra = results[f"plain, {way} (ns)"] - results[f"plain, {_BARE} (ns)"]
        found.append(Figure(what=what, measured=f"{extra:+.0f} ns", aim="1 µs", met=extra < 1000))
    held_up_us = results["plain, shadowed, copied and compared (ns)"] / 1000
    found.append(
        Figure(
            what="a call that is copied and compared, given an order of five lines, p50",
            measured=number(held_up_us, "µs"),
            beside="the caller's part: copies of arguments and result; one call at a time, a tenth of a core at most",
            aim="1 ms",
            met=held_up_us < 1000,
        )
    )
    count = _FUNCTIONS + len(_KINDS)
    times = {what: results[f"{what}, {count} functions (ms)"] for what in ("begin", "promote", "give back")}
    found.append(
        Figure(
            what=f"{count} functions of a prepared change go under canary, p50",
            measured=number(times["begin"], "ms"),
            beside=f"promoted: {number(times['promote'], 'ms')}; given back: {number(times['give back'], 'ms')}",
            aim="50 ms",
            met=times["begin"] < 50,
        )
    )
    return found


if __name__ == "__main__":
    main()
