"""How long a live change takes in a process under load, beside jurigged doing the same.

Run: ``python -m bench swap``. First in a FastAPI service of a process of its own, which a load generator
keeps at 100 % of a core: 60 times the hub's door asks its agent to prepare, swap and roll back one function over
the connection, and then 50 functions at once, and the whole request counts, as the hub sees it. jurigged is called
in the same service under the same load, without a connection.

Then in this process. Four threads call functions of a module without pause while one
function's body is changed and changed back. *Prepare* plans, looks through the process and
verifies; *swap* looks and verifies again, exchanges, and looks once more; *rollback* is the way
back. All are whole requests as the hub sees them. *Exchange* is the part in which functions are
actually replaced. *Longest call* is the longest that any caller waited meanwhile, beside that of
the same callers left alone. jurigged plans less and verifies nothing; it is the peer for the wait.
"""

import contextlib
import importlib
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from homeostat_agent.reload import Change, Module, Reloader

from bench import service
from bench.figures import Figure, number
from homeostat.adapters.agents.gateway import AgentGateway
from homeostat.core.ids import ProcessId
from homeostat.model.process import LiveOutcome, LiveResult
from homeostat.ports.live import LiveChange, ModuleChange

_SERVED_ROUNDS = 60
_SERVED_ROUNDS_OF_MANY = 10
_SERVED_WARM_S = 2.0
_ROUNDS = 20
_THREADS = 4
_FUNCTIONS = 60
_MANY = f", {service.CHANGED_RULES} functions"
_BALLAST = 200_000
"""Objects that the process holds besides, as a service of some size does."""

_FILLER = "\n".join(f"def f{index}(x):\n    return x + {index}\n" for index in range(_FUNCTIONS))
_OLD = "def price(items):\n    return sum(items)\n\n\n" + _FILLER
_NEW = _OLD.replace("return sum(items)", "total = sum(items)\n    return total + 1")


def main() -> dict[str, float]:
    """Measure, print a table, and return milliseconds by name (``exchange`` in microseconds)."""
    served = {**_served_ours(), **_served_jurigged()}
    _table("swap, saturated FastAPI service", served)
    ballast = [[number] for number in range(_BALLAST)]
    with tempfile.TemporaryDirectory() as name:
        sys.path.insert(0, name)
        try:
            results = {**_idle(Path(name)), **_ours(Path(name)), **_jurigged(Path(name)), **_returns(Path(name))}
        finally:
            sys.path.remove(name)
    assert len(ballast) == _BALLAST
    _table(f"swap, {_THREADS} busy threads", results)
    return {**served, **results}


def _table(title: str, results: dict[str, float]) -> None:
    print(f"{title:<44}{'p50':>12}{'p95':>12}")
    for what in dict.fromkeys(key.rsplit(" ", 1)[0] for key in results if key.endswith(" p50")):
        print(f"{what:<44}{results[what + ' p50']:>12.3f}{results[what + ' p95']:>12.3f}")
    for what in (key for key in results if not key.endswith((" p50", " p95"))):
        print(f"{what:<44}{results[what]:>12.3f}")


def _served_ours() -> dict[str, float]:
    times: dict[str, list[float]] = {}

    with contextlib.ExitStack() as stack:
        place, load = stack.enter_context(service.place()), stack.enter_context(service.load_generator())
        hub = stack.enter_context(place.hub())
        running = stack.enter_context(service.serve(place, place.agent_environment()))
        process = _connected(hub)

        def ask(what: str, request: Callable[..., LiveResult], *arguments: Any) -> float:
            started = time.perf_counter()
            answer = request(process, *arguments, timeout_s=30)
            times.setdefault(f"{what} (ms)", []).append(_since(started))
            assert answer.outcome is LiveOutcome.SWAPPED, answer.detail
            return float(answer.swap_us or 0)

        def change_and_back(new: str, many: str, index: int) -> None:
            module = ModuleChange(path="pricing.py", old_source=service.PRICING, new_source=new)
            change = LiveChange(id=f"c{many}{index}", modules=(module,), mode="safe")
            ask(f"prepare{many}", hub.prepare, change)
            place.pricing.write_text(new)
            times.setdefault(f"exchange{many} (us)", []).append(ask(f"swap{many}", hub.swap, change))
            place.pricing.write_text(service.PRICING)
            back_us = ask(f"rollback{many}", hub.rollback, change.id)
            times.setdefault(f"exchange back{many} (us)", []).append(back_us)

        load.begin(running.port, _SERVED_WARM_S)
        calm = load.result()
        load.begin(running.port, 600.0)
        time.sleep(_SERVED_WARM_S)
        for index in range(_SERVED_ROUNDS):
            change_and_back(service.NEW_PRICING, "", index)
        for index in range(_SERVED_ROUNDS_OF_MANY):
            change_and_back(service.NEW_RULES, _MANY, index)
        load.stop()
        found = load.result()
    return {
        **{key: value for what, values in times.items() for key, value in _row(f"service: {what}", values).items()},
        "service: requests": found["requests"],
        "service: requests failed": found["failed"],
        "service: longest request (ms)": found["longest"],
        "service: longest request, no swap (ms)": calm["longest"],
    }


def _connected(hub: AgentGateway) -> ProcessId:
    deadline_s = time.monotonic() + 30
    while not (found := [item for item in hub.processes() if item.connected]):
        assert time.monotonic() < deadline_s, "the agent did not connect"
        time.sleep(0.05)
    return found[0].id


def _served_jurigged() -> dict[str, float]:
    swaps, backs, many = list[float](), list[float](), list[float]()
    with contextlib.ExitStack() as stack:
        place, load = stack.enter_context(service.place()), stack.enter_context(service.load_generator())
        running = stack.enter_context(service.serve(place, service.refreshing_environment(place)))
        stdin, stdout = running.process.stdin, running.process.stdout
        assert stdin is not None
        assert stdout is not None

        def apply(source: str) -> float:
            place.pricing.write_text(source)
            stdin.write(f"{place.pricing}\n")
            stdin.flush()
            return float(stdout.readline())

        apply(service.PRICING)
        load.begin(running.port, 600.0)
        time.sleep(_SERVED_WARM_S)
        for _ in range(_SERVED_ROUNDS // 6):
            swaps.append(apply(service.NEW_PRICING))
            backs.append(apply(service.PRICING))
        for _ in range(_SERVED_ROUNDS_OF_MANY // 5):
            many.append(apply(service.NEW_RULES))
            apply(service.PRICING)
        load.stop()
        failed = load.result()["failed"]
    return {
        **_row("service: jurigged swap (ms)", swaps),
        **_row("service: jurigged change back (ms)", backs),
        **_row(f"service: jurigged swap{_MANY} (ms)", many),
        "service: requests failed, jurigged": failed,
    }


def _idle(folder: Path) -> dict[str, float]:
    module, _ = _module(folder, "idle_shop")
    with _load(module) as longest:
        waits = []
        for _ in range(_ROUNDS):
            longest.clear()
            time.sleep(0.05)
            waits.append(max(longest, default=0.0))
    return _row("longest call, no swap (ms)", waits)


def _ours(folder: Path) -> dict[str, float]:
    module, path = _module(folder, "our_shop")
    reloader = Reloader(str(folder))
    prepares, swaps, cpu, backs, exchanges, waits = [], [], [], [], [], []
    change = Change("c", (Module(path.name, _OLD, _NEW),), "safe")
    with _load(module) as longest:
        for _ in range(_ROUNDS):
            longest.clear()
            started = time.perf_counter()
            assert reloader.prepare(change).outcome == "swapped"
            prepares.append(_since(started))
            path.write_text(_NEW)
            started, started_cpu_s = time.perf_counter(), time.thread_time()
            outcome = reloader.swap(change)
            swaps.append(_since(started))
            cpu.append((time.thread_time() - started_cpu_s) * 1000)
            assert outcome.outcome == "swapped" and module.price([1]) == 2, outcome.detail
            exchanges.append(float(outcome.swap_us or 0))
            path.write_text(_OLD)
            started = time.perf_counter()
            assert reloader.rollback("c").outcome == "swapped"
            backs.append(_since(started))
            assert module.price([1]) == 1
            waits.append(max(longest, default=0.0))
    return {
        **_row("homeostat prepare (ms)", prepares),
        **_row("homeostat swap (ms)", swaps),
        **_row("homeostat swap, processor time (ms)", cpu),
        **_row("homeostat rollback (ms)", backs),
        **_row("homeostat exchange (us)", exchanges),
        **_row("longest call, homeostat (ms)", waits),
    }


def _returns(folder: Path) -> dict[str, float]:
    """Time from the request for a rollback until every function has its old code again. To be run last.

    An audit hook tells when; it can never be taken out again, and it makes each look slower.
    """
    module, path = _module(folder, "back_shop")
    reloader = Reloader(str(folder))
    change = Change("c", (Module(path.name, _OLD, _NEW),), "safe")
    assigned: list[float] = []

    def note(event: str, arguments: tuple[object, ...]) -> None:
        if event == "object.__setattr__" and arguments[1] == "__code__":
            assigned.append(time.perf_counter())

    sys.addaudithook(note)
    times = []
    with _load(module):
        for _ in range(_ROUNDS):
            assert reloader.swap(change).outcome == "swapped"
            assigned.clear()
            time.sleep(0.001)  # as where a command is received: its thread has just got the interpreter
            started = time.perf_counter()
            assert reloader.rollback("c").outcome == "swapped"
            times.append((assigned[_FUNCTIONS] - started) * 1000)
    return _row("homeostat rollback, until the old code runs (ms)", times)


def _jurigged(folder: Path) -> dict[str, float]:
    from jurigged.register import registry

    module, path = _module(folder, "peer_shop")
    registry.prepare(module.__name__, str(path))
    code_file = registry.get(str(path))  # parses and associates now, so that the first change does not pay for it
    swaps, cpu, backs, waits = [], [], [], []

    def apply(source: str) -> float:
        path.write_text(source)
        started, started_cpu_s = time.perf_counter(), time.thread_time()
        code_file.refresh()
        cpu.append((time.thread_time() - started_cpu_s) * 1000)
        return _since(started)

    with _load(module) as longest:
        for _ in range(_ROUNDS):
            longest.clear()
            swaps.append(apply(_NEW))
            assert module.price([1]) == 2
            backs.append(apply(_OLD))
            assert module.price([1]) == 1
            waits.append(max(longest, default=0.0))
    return {
        **_row("jurigged swap (ms)", swaps),
        **_row("jurigged change back (ms)", backs),
        **_row("jurigged swap, processor time (ms)", cpu),
        **_row("longest call, jurigged (ms)", waits),
    }


def _module(folder: Path, name: str) -> tuple[ModuleType, Path]:
    path = folder / f"{name}.py"
    path.write_text(_OLD)
    importlib.invalidate_caches()
    return importlib.import_module(name), path


@contextlib.contextmanager
def _load(module: ModuleType) -> Iterator[list[float]]:
    """Call the module's functions from several threads; the list collects calls that took over 1 ms."""
    stop, longest = threading.Event(), list[float]()
    failures: list[BaseException] = []

    def call() -> None:
        calls: list[Callable[[int], int]] = [getattr(module, f"f{index}") for index in range(_FUNCTIONS)]
        try:
            while not stop.is_set():
                started = time.perf_counter()
                for index, function in enumerate(calls):
                    assert function(1) == 1 + index
                assert module.price([1, 2]) in (3, 4)
                took_ms = _since(started)
                if took_ms > 1:
                    longest.append(took_ms)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=call, daemon=True) for _ in range(_THREADS)]
    for thread in threads:
        thread.start()
    try:
        yield longest
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not failures, failures


def _since(started: float) -> float:
    return (time.perf_counter() - started) * 1000


def _row(what: str, values: list[float]) -> dict[str, float]:
    return {f"{what} p50": statistics.median(values), f"{what} p95": statistics.quantiles(values, n=20)[-1]}


FOUND = """A prepared swap looks at what `prepare` remembers and at what is young; where the host has collected
everything in between, all is looked through. The other part of the time is the wait for a core, of the service, of its
agent and of whoever asks: it rises with the load, and the processor time does not."""


def figures(results: dict[str, float]) -> list[Figure]:
    """Hold the results against their aims."""

    def ms(name: str) -> str:
        return number(results[f"{name} p50"], "ms")

    failed, many = results["service: requests failed"], f"service: swap{_MANY} (ms)"
    return [
        Figure(
            what=f"swap in a saturated FastAPI service, as the hub sees it, p50 of {_SERVED_ROUNDS}",
            measured=f"{ms('service: swap (ms)')} (p95 {number(results['service: swap (ms) p95'], 'ms')})",
            beside=f"jurigged, without the connection: {ms('service: jurigged swap (ms)')}",
            aim="10 ms",
            met=results["service: swap (ms) p50"] < 10,
        ),
        Figure(
            what=f"the same, {service.CHANGED_RULES} functions at once, p50 of {_SERVED_ROUNDS_OF_MANY}",
            measured=f"{ms(many)} (p95 {number(results[f'{many} p95'], 'ms')})",
            beside=f"jurigged, without the connection: {ms(f'service: jurigged swap{_MANY} (ms)')}",
            aim="50 ms",
            met=results[f"{many} p50"] < 50,
        ),
        Figure(
            what=f"requests failed in {_SERVED_ROUNDS + _SERVED_ROUNDS_OF_MANY} swaps and rollbacks",
            measured=f"{failed:.0f} of {results['service: requests']:,.0f}",
            beside=f"longest request {number(results['service: longest request (ms)'], 'ms')}; "
            f"without swaps {number(results['service: longest request, no swap (ms)'], 'ms')}",
            aim="0",
            met=failed == 0,
        ),
        Figure(
            what="rollback there: until the old code runs in the process, p50 (exchange)",
            measured=number(results["service: exchange back (us) p50"] / 1000, "ms"),
            beside=f"the whole request: {ms('service: rollback (ms)')}; "
            f"jurigged: {ms('service: jurigged change back (ms)')}",
            aim="0.5 ms",
            met=results["service: exchange back (us) p50"] < 500,
        ),
        Figure(
            what=f"swap beside {_THREADS} busy threads and {_BALLAST:,} objects, in the process, p50",
            measured=f"{ms('homeostat swap (ms)')}, {ms('homeostat swap, processor time (ms)')} of it processor time; "
            f"prepared in {ms('homeostat prepare (ms)')}",
            beside=f"jurigged: {ms('jurigged swap (ms)')}, "
            f"{ms('jurigged swap, processor time (ms)')} of it processor time",
            aim="10 ms",
            met=results["homeostat swap (ms) p50"] < 10,
        ),
        Figure(
            what="rollback there: from the request until the old code runs, p50",
            measured=ms("homeostat rollback, until the old code runs (ms)"),
            beside=f"the whole request: {ms('homeostat rollback (ms)')}; jurigged: {ms('jurigged change back (ms)')}",
            aim="0.5 ms",
            met=results["homeostat rollback, until the old code runs (ms) p50"] < 0.5,
        ),
        Figure(
            what="longest that a caller waited in such a round, p50",
            measured=ms("longest call, homeostat (ms)"),
            beside=f"jurigged: {ms('longest call, jurigged (ms)')}; no swap: {ms('longest call, no swap (ms)')}",
        ),
    ]


if __name__ == "__main__":
    main()
