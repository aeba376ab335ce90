"""What a sandbox costs before the first line of a host's test runs: each kind beside a bare interpreter.

Run: ``python bench/bench_sandbox.py``. A start includes laying out the folders, asking the host's
interpreter for its paths, the launcher, and the command itself: four starts of Python with bubblewrap,
three with the others.
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from homeostat.adapters.sandbox.identity import unprivileged_uid
from homeostat.adapters.sandbox.interpreter import read_interpreter
from homeostat.adapters.sandbox.layout import Site, lay_out
from homeostat.adapters.sandbox.run import End, run_in_sandbox
from homeostat.adapters.sandbox.selftest import examine_isolation
from homeostat.adapters.sandbox.spec import Kind, Limits, SandboxSpec
from homeostat.model.verdict import Denied

_RUNS = 20
_LIMITS = Limits(timeout_s=30, memory_mb=512, tree_memory_mb=1024, max_processes=64)
_PYTHONS = (sys.executable, "/usr/bin/python3")


def _times_ms(run: Callable[[], None]) -> dict[str, float]:
    run()
    samples = []
    for _ in range(_RUNS):
        started = time.perf_counter()
        run()
        samples.append((time.perf_counter() - started) * 1000)
    samples.sort()
    return {"p50_ms": round(statistics.median(samples), 1), "p95_ms": round(samples[int(_RUNS * 0.95) - 1], 1)}


def _bare(python: str) -> None:
    subprocess.run([python, "-c", "print(1)"], check=True, capture_output=True)


def _in_sandbox(kind: Kind, python: str) -> Denied | None:
    folder = Path(tempfile.mkdtemp(prefix="homeostat-bench-"))
    folder.chmod(0o711)
    try:
        for name in ("tree", "results", "private", "probe", "staging"):
            (folder / name).mkdir(mode=0o755)
        paths = {name: str(folder / name) for name in ("tree", "results", "private", "probe", "staging")}
        spec = lay_out(
            kind,
            site=Site(repository="/srv/homeostat-bench/repository", **paths),
            interpreter=read_interpreter(python),
            command=("python", "-c", "print(1)"),
            extra_env={},
            limits=_LIMITS,
            uid=unprivileged_uid(),
        )
        if not isinstance(spec, SandboxSpec):
            return spec
        ended = run_in_sandbox(spec, output_chars=100)
        assert (ended.end, ended.code, ended.output_tail) == (End.EXITED, 0, "1\n"), ended
        return None
    finally:
        shutil.rmtree(folder)


def main() -> dict[str, object]:
    """Measure, print a table, and return p50 and p95 in milliseconds for each kind, and the self-test's time."""
    started = time.perf_counter()
    isolation = examine_isolation(state_folder=None)
    found: dict[str, object] = {
        "self_test_ms": round((time.perf_counter() - started) * 1000),
        "root": os.getuid() == 0,
    }
    found["bare interpreter"] = _times_ms(lambda: _bare(sys.executable))
    for kind in Kind:
        usable = any(item.usable for item in isolation if item.name == kind.value)
        python = next((p for p in _PYTHONS if usable and _in_sandbox(kind, p) is None), None)
        if python is None:
            found[kind.value] = "not usable here"
            continue

        def run(kind: Kind = kind, python: str = python) -> None:
            _in_sandbox(kind, python)

        found[kind.value] = _times_ms(run)
    _print(found)
    return found


def _print(found: dict[str, object]) -> None:
    print(f"self-test of all kinds: {found['self_test_ms']} ms; as root: {found['root']}")
    print(f"{'start of a Python that prints 1':<32} {'p50 ms':>8} {'p95 ms':>8}")
    for name in ("bare interpreter", *(kind.value for kind in Kind)):
        times = found[name]
        if isinstance(times, dict):
            print(f"{name:<32} {times['p50_ms']:>8} {times['p95_ms']:>8}")
        else:
            print(f"{name:<32} {times}")


if __name__ == "__main__":
    main()
