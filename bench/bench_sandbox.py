"""What a sandbox costs before the first line of a test runs: each kind beside a bare interpreter and a container.

Run: ``python -m bench sandbox``. Everything starts the same Python, in turns, so that a busy machine
is busy for all. A start is what each of a proof's two runs pays: laying out what may be seen, the warm
zygote's launcher, and the command to its end; asking the interpreter for its paths and starting the
zygote come once in a proof and have figures of their own. The container is podman's, with an image
made of the files of that same Python; where podman or root is missing, the figure is too.

Limits: 1.5 times the bare interpreter, and a fifth of the container; 10 s for the self-test.
"""

import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from bench.figures import Figure, number
from homeostat.adapters.sandbox.identity import unprivileged_uid, write_identity
from homeostat.adapters.sandbox.interpreter import HostInterpreter, read_interpreter
from homeostat.adapters.sandbox.layout import Site, lay_out, shown_to_all
from homeostat.adapters.sandbox.run import End, Zygote, run_in_sandbox
from homeostat.adapters.sandbox.selftest import examine_isolation
from homeostat.adapters.sandbox.spec import Kind, Limits, SandboxSpec

_ROUNDS = 40
_BARE, _CONTAINER = "bare interpreter", "container (podman, runc)"
_LIMITS = Limits(timeout_s=30, memory_mb=512, tree_memory_mb=1024, max_processes=64)
_PYTHONS = ("/usr/bin/python3", sys.executable)
_REPOSITORY = "/srv/homeostat-bench/repository"
_IMAGE = "homeostat-bench"
_PODMAN = ("podman", "--runtime", "runc")
_RUN = ("run", "--rm", "--network", "none", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096")
_SELF_TEST = "self-test of all kinds"
_PROGRAM = ("-c", "print(1)")


def main() -> dict[str, float]:
    """Measure, print a table, and return p50 and p95 in milliseconds by what was started."""
    started = time.perf_counter()
    isolation = examine_isolation(state_folder=None)
    found = {_SELF_TEST: _since_ms(started)}
    python = next(path for path in _PYTHONS if Path(path).exists())
    started = time.perf_counter()
    interpreter = read_interpreter(python)
    found["asking the interpreter, first time"] = _since_ms(started)
    started = time.perf_counter()
    read_interpreter(python)
    found["asking the interpreter, again"] = _since_ms(started)
    usable = {item.name for item in isolation if item.usable}
    with _container(python) as container, ExitStack() as stack:
        starts: dict[str, Callable[[], float]] = {_BARE: lambda: _timed([python, *_PROGRAM])}
        for kind in Kind:
            if kind.value in usable:
                warm = stack.enter_context(_warm(interpreter))  # each its own, as a proof keeps to one kind
                starts[kind.value] = lambda kind=kind, warm=warm: _in_sandbox(kind, interpreter, warm)  # type: ignore[misc]
        started = time.perf_counter()
        with _warm(interpreter) as another:
            _in_sandbox(next(iter(Kind)), interpreter, another)
            found["zygote and its first start"] = _since_ms(started)
        if container is not None:
            starts[_CONTAINER] = lambda: _timed(container)
        found |= _in_turns(starts)
    _print(found, missing=[kind.value for kind in Kind if kind.value not in usable])
    return found


class _Warm(NamedTuple):
    """What all starts share, as the two runs of a proof do."""

    zygote: Zygote
    identity: str


@contextmanager
def _warm(interpreter: HostInterpreter) -> Iterator[_Warm]:
    """Start a zygote as a proof does, with what both runs are shown mounted ahead."""
    with tempfile.TemporaryDirectory(prefix="homeostat-bench-") as root:
        Path(root).chmod(0o711)
        empty = Path(root, "root")
        empty.mkdir()
        identity = write_identity(Path(root, "identity"), unprivileged_uid())
        shown = shown_to_all(interpreter, repository=_REPOSITORY, identity=identity, limits=_LIMITS, root=str(empty))
        with Zygote(shown) as zygote:
            yield _Warm(zygote, identity)


def _in_turns(starts: dict[str, Callable[[], float]]) -> dict[str, float]:
    samples: dict[str, list[float]] = {name: [] for name in starts}
    for start in starts.values():
        start()
    for _ in range(_ROUNDS):
        for name, start in starts.items():
            samples[name].append(start())
    figures = {}
    for name, values in samples.items():
        figures[f"{name} p50"] = statistics.median(values)
        figures[f"{name} p95"] = statistics.quantiles(values, n=20)[-1]
    return figures


def _timed(command: list[str]) -> float:
    started = time.perf_counter()
    done = subprocess.run(command, check=True, capture_output=True)
    taken = _since_ms(started)
    assert done.stdout == b"1\n", done
    return taken


def _in_sandbox(kind: Kind, interpreter: HostInterpreter, warm: _Warm) -> float:
    folder = Path(tempfile.mkdtemp(prefix="homeostat-bench-"))
    folder.chmod(0o711)
    try:
        paths = {name: str(folder / name) for name in ("tree", "results", "private", "probe", "staging")}
        for path in paths.values():
            Path(path).mkdir(mode=0o755)
        started = time.perf_counter()
        spec = lay_out(
            kind,
            site=Site(repository=_REPOSITORY, identity=warm.identity, **paths),
            interpreter=interpreter,
            command=("python", *_PROGRAM),
            extra_env={},
            limits=_LIMITS,
            uid=unprivileged_uid(),
        )
        assert isinstance(spec, SandboxSpec), spec
        ended = run_in_sandbox(spec, zygote=warm.zygote, output_chars=100)
        taken = _since_ms(started)
        assert (ended.end, ended.code, ended.output_tail) == (End.EXITED, 0, "1\n"), ended
        return taken
    finally:
        shutil.rmtree(folder)


@contextmanager
def _container(python: str) -> Iterator[list[str] | None]:
    """Make an image of this Python and what it loads, and yield the command that starts it; None without podman."""
    if shutil.which("podman") is None or shutil.which("runc") is None or os.getuid() != 0:
        yield None
        return
    with tempfile.TemporaryDirectory() as name:
        archive = Path(name, "image.tar")
        with tarfile.open(archive, "w", dereference=True) as tar:
            for path in _files_of(python):
                tar.add(path)
        made = subprocess.run([*_PODMAN, "import", str(archive), _IMAGE], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        print(f"container: no image could be made: {made.stderr.strip()[-200:]}")
        yield None
        return
    try:
        yield [*_PODMAN, *_RUN, _IMAGE, python, *_PROGRAM]
    finally:
        subprocess.run([*_PODMAN, "rmi", "--force", _IMAGE], capture_output=True, check=False)


def _files_of(python: str) -> list[str]:
    linked = subprocess.run(["ldd", python], capture_output=True, text=True, check=True).stdout.split()
    ask = "import os, sys; print(os.path.dirname(os.__file__), *(p for p in sys.path if p.endswith('lib-dynload')))"
    library = subprocess.run([python, "-I", "-S", "-c", ask], capture_output=True, text=True, check=True).stdout.split()
    return [python, *(word for word in linked if word.startswith("/")), *library[:1]]


def _since_ms(started: float) -> float:
    return (time.perf_counter() - started) * 1000


def _print(found: dict[str, float], missing: list[str]) -> None:
    for name, figure in found.items():
        if not name.endswith((" p50", " p95")):
            print(f"{name:<38}{figure:>8.1f} ms")
    print(f"{'start of a Python that prints 1':<38}{'p50 ms':>8}{'p95 ms':>8}{'x bare':>8}{'of the container':>18}")
    bare, container = found[f"{_BARE} p50"], found.get(f"{_CONTAINER} p50")
    for name in [key.removesuffix(" p50") for key in found if key.endswith(" p50")]:
        p50 = found[f"{name} p50"]
        share = "not measured" if container is None else f"{p50 / container:.2f}"
        print(f"{name:<38}{p50:>8.1f}{found[f'{name} p95']:>8.1f}{p50 / bare:>8.2f}{share:>18}")
    print(f"{'limit':<38}{'':>16}{1.5:>8.2f}{0.2:>18.2f}")
    for name in missing:
        print(f"{name}: not usable here")


FOUND = """What is left beside the command itself, in namespaces: half a millisecond for laying out, 1 ms until the
request is with the waiting process and read, 1 ms for the mounts of this one run, 1 ms for privileges and the filter,
2 ms until the first process of the namespaces has ended and with it everything in them (measured at real-time
priority beside a bare start of 15 ms). The filter costs the interpreter nothing that could be measured, since the
kernel remembers which calls pass whatever their arguments. On a disk each file that is made costs a millisecond and
more: four of them were a sixth of a start. bubblewrap reads the whole mount table again for each of some forty
mounts, and starts two programs for limits and uid, 4 ms; it builds and enters its namespaces in one go, so nothing of
that can be made ahead. At that priority and load 4 namespaces took 1.4 to 1.5 times the bare start, Landlock 1.4 to
1.5 and bubblewrap 2.8 to 3.0; before anything was mounted ahead it was 1.88, 1.88 and 3.57. Without a priority a busy
machine delays each of the processes that hand a run on, but a bare start once, and the ratio says little."""


def figures(results: dict[str, float]) -> list[Figure]:
    """Hold the start of each kind against the bare interpreter's and the container's."""
    bare, container = results[f"{_BARE} p50"], results.get(f"{_CONTAINER} p50")
    made = []
    for kind in Kind:
        start = results.get(f"{kind.value} p50")
        if start is None:
            made.append(Figure(what=f"start in {kind.value}, p50", measured="not usable here"))
            continue
        beside, aim = f"bare interpreter: {number(bare, 'ms')}", "at most 1.5 times the bare one"
        if container is not None:
            beside, aim = f"{beside}; container: {number(container, 'ms')}", f"{aim}, and a fifth of the container"
        else:
            beside += "; container: not measured"
        made.append(
            Figure(
                what=f"start in {kind.value}, p50",
                measured=number(start, "ms"),
                beside=beside,
                aim=aim,
                met=start <= 1.5 * bare and (container is None or start <= container / 5),
            )
        )
    made.append(
        Figure(
            what=_SELF_TEST,
            measured=number(results[_SELF_TEST], "ms"),
            beside="done once at the start of a hub, before the first proof",
            aim="10 s",
            met=results[_SELF_TEST] < 10_000,
        )
    )
    return made


if __name__ == "__main__":
    main()
