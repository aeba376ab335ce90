"""How long after a save the new code answers, beside jurigged's watcher and a program that restarts itself.

Run: ``python -m bench reload``. A FastAPI program under uvicorn answers with a number out of one function's body. The
number is changed in the file (one write), and the program is asked until it answers with the new one. First beside
a hub with `hmr.auto_reload`: the hub sees the save, journals it, and swaps it over the agent's connection. Then
with jurigged in the process (its own watcher and debounce, no hub, no record), and last under ``uvicorn
--reload``, which ends the process and starts it anew. *Idle* is what the hub takes while nobody saves anything.
"""

import contextlib
import http.client
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from bench.figures import Figure, number
from bench.project import Project, project, wait_for

FOUND = """
Slower than the peer. Of a save's time 20 ms go by on average until the hub looks, and 30 ms in which nothing more may
come (a person saves several files as one; jurigged waits 50 ms). Most of the rest is the agent's swap, which plans
the file with its own compiler and looks through the whole process before the exchange and after it; then come the hub's
plan of the file and the journal, which is durable before anything moves. jurigged looks up what it noted at import,
verifies nothing, and writes nothing down.
"""

_ROUNDS = 30
_RESTARTS = 4
_IDLE_S = 5.0
_PAUSE_S = 0.002
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_APP = """
from fastapi import FastAPI

import answers

app = FastAPI()


@app.get("/")
async def root():
    return answers.number()
"""
_ANSWERS = "def number():\n    return {number}\n" + "".join(
    f"\n\ndef other_{index}(x):\n    return x + {index}\n" for index in range(60)
)
_SETTINGS = 'profile = "dev"\n\n[hmr]\nenabled = true\nauto_reload = true\n'
_WATCHER = """
import sys
if "uvicorn" in " ".join(sys.orig_argv):
    import jurigged
    jurigged.watch({pattern!r}, logger=lambda event: None)
"""


def main() -> dict[str, float]:
    """Measure, print a table, and return milliseconds and percent by name."""
    found = {**_ours(), **_jurigged(), **_restarted()}
    for what, value in found.items():
        print(f"{what:<44}{value:>12.3f}")
    return found


def figures(found: Mapping[str, float]) -> list[Figure]:
    """Show what was measured beside both peers."""

    def row(whose: str) -> str:
        return f"{number(found[f'{whose} p50 (ms)'], 'ms')}, p95 {number(found[f'{whose} p95 (ms)'], 'ms')}"

    return [
        Figure(
            what="from a save until the new code answers, p50",
            measured=row("homeostat"),
            beside=f"jurigged {row('jurigged')}; uvicorn --reload {row('restart')}",
        ),
        Figure(
            what="the hub's processor time while nothing is saved",
            measured=number(found["idle (%)"], "% of a core"),
            beside=f"without auto-reload {number(found['idle without (%)'], '%')}",
        ),
    ]


def _ours() -> dict[str, float]:
    with project(_files(), settings=_SETTINGS) as place:
        place.start_hub().close()
        port = place.free_port()
        place.start_program(*_uvicorn(port), agent=True)
        times = _saves(place.root, port, _ROUNDS)
        idle = _idle_percent(place)
    with project(_files(), settings=_SETTINGS.replace("auto_reload = true\n", "")) as place:
        place.start_hub().close()
        port = place.free_port()
        place.start_program(*_uvicorn(port), agent=True)
        wait_for(lambda: _ask(port) is not None, "the program")
        without = _idle_percent(place)
    return {**_row("homeostat", times), "idle (%)": idle, "idle without (%)": without}


def _jurigged() -> dict[str, float]:
    with project(_files(), settings=_SETTINGS) as place:
        folder = place.root.parent / "watcher"
        folder.mkdir()
        (folder / "sitecustomize.py").write_text(_WATCHER.format(pattern=str(place.root / "*.py")))
        port = place.free_port()
        with _program(place, *_uvicorn(port), PYTHONPATH=str(folder)):
            return _row("jurigged", _saves(place.root, port, _ROUNDS))


def _restarted() -> dict[str, float]:
    with project(_files(), settings=_SETTINGS) as place:
        port = place.free_port()
        with _program(place, *_uvicorn(port), "--reload"):
            return _row("restart", _saves(place.root, port, _RESTARTS))


def _files() -> dict[str, str]:
    return {"app.py": _APP, "answers.py": _ANSWERS.format(number=0)}


def _uvicorn(port: int) -> tuple[str, ...]:
    return ("-m", "uvicorn", "app:app", "--port", str(port), "--no-access-log", "--log-level", "error")


@contextlib.contextmanager
def _program(place: Project, *words: str, **environment: str) -> Iterator[None]:
    process = subprocess.Popen(
        [sys.executable, *words], cwd=place.root, env={**os.environ, **environment}, start_new_session=True
    )
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)  # what it restarts, too
        process.wait(30)


def _saves(root: Path, port: int, rounds: int) -> list[float]:
    """Save one number after the other, and return how long each took to be answered; the first is for warming up."""
    wait_for(lambda: _ask(port) == "0", "the program")
    time.sleep(2.5)  # whoever watches has found the file by now
    times = []
    for value in range(1, rounds + 2):
        time.sleep(0.2 + 0.037 * (value % 7))  # at any moment of a turn
        began_s = time.perf_counter()
        (root / "answers.py").write_text(_ANSWERS.format(number=value))
        wait_for(lambda value=value: _ask(port) == str(value), f"number {value}", pause_s=_PAUSE_S)  # type: ignore[misc]
        times.append((time.perf_counter() - began_s) * 1000)
    return times[1:]


def _ask(port: int) -> str | None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/")
        return connection.getresponse().read().decode()
    except OSError:
        return None
    finally:
        connection.close()


def _idle_percent(place: Project) -> float:
    assert place.hub is not None
    time.sleep(2.0)

    def taken_s() -> float:
        fields = Path(f"/proc/{place.hub.pid}/stat").read_text().rpartition(")")[2].split()  # type: ignore[union-attr]
        return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S

    before_s = taken_s()
    time.sleep(_IDLE_S)
    return (taken_s() - before_s) / _IDLE_S * 100


def _row(what: str, values: list[float]) -> dict[str, float]:
    return {f"{what} p50 (ms)": statistics.median(values), f"{what} p95 (ms)": statistics.quantiles(values, n=20)[-1]}
