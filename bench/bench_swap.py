"""How long a live change takes in a process under load, beside jurigged doing the same.

Run: ``python -m bench swap``. Four threads call functions of a module without pause while one
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

from homeostat_agent.reload import Change, Module, Reloader

from bench.figures import Figure, number

_ROUNDS = 10
_THREADS = 4
_FUNCTIONS = 60
_BALLAST = 200_000
"""Objects that the process holds besides, as a service of some size does."""

_FILLER = "\n".join(f"def f{index}(x):\n    return x + {index}\n" for index in range(_FUNCTIONS))
_OLD = "def price(items):\n    return sum(items)\n\n\n" + _FILLER
_NEW = _OLD.replace("return sum(items)", "total = sum(items)\n    return total + 1")


def main() -> dict[str, float]:
    """Measure, print a table, and return milliseconds by name (``exchange`` in microseconds)."""
    ballast = [[number] for number in range(_BALLAST)]
    with tempfile.TemporaryDirectory() as name:
        sys.path.insert(0, name)
        try:
            results = {**_idle(Path(name)), **_ours(Path(name)), **_jurigged(Path(name))}
        finally:
            sys.path.remove(name)
    assert len(ballast) == _BALLAST
    print(f"{'swap, ' + str(_THREADS) + ' busy threads':<34}{'p50':>12}{'p95':>12}")
    for what in dict.fromkeys(key.rsplit(" ", 1)[0] for key in results):
        print(f"{what:<34}{results[what + ' p50']:>12.3f}{results[what + ' p95']:>12.3f}")
    return results


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
    prepares, swaps, backs, exchanges, waits = [], [], [], [], []
    change = Change("c", (Module(path.name, _OLD, _NEW),), "safe")
    with _load(module) as longest:
        for _ in range(_ROUNDS):
            longest.clear()
            started = time.perf_counter()
            assert reloader.prepare(change).outcome == "swapped"
            prepares.append(_since(started))
            path.write_text(_NEW)
            started = time.perf_counter()
            outcome = reloader.swap(change)
            swaps.append(_since(started))
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
        **_row("homeostat rollback (ms)", backs),
        **_row("homeostat exchange (us)", exchanges),
        **_row("longest call, homeostat (ms)", waits),
    }


def _jurigged(folder: Path) -> dict[str, float]:
    from jurigged.register import registry

    module, path = _module(folder, "peer_shop")
    registry.prepare(module.__name__, str(path))
    code_file = registry.get(str(path))  # parses and associates now, so that the first change does not pay for it
    swaps, backs, waits = [], [], []

    def apply(source: str) -> float:
        path.write_text(source)
        started = time.perf_counter()
        code_file.refresh()
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


FOUND = ""


def figures(results: dict[str, float]) -> list[Figure]:
    """Hold the results against their aims."""
    swap, back = results["homeostat swap (ms) p50"], results["homeostat rollback (ms) p50"]
    peer = f"jurigged: {number(results['jurigged swap (ms) p50'], 'ms')}"
    peer_back = f"jurigged: {number(results['jurigged change back (ms) p50'], 'ms')}"
    return [
        Figure(
            what="swap under 4 busy threads, p50", measured=number(swap, "ms"), beside=peer, aim="20 ms", met=swap < 20
        ),
        Figure(what="rollback, p50", measured=number(back, "ms"), beside=peer_back, aim="1 ms", met=back < 1),
    ]


if __name__ == "__main__":
    main()
