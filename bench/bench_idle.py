"""What a hub costs that has nothing to do: two agents attached, no traffic, no proposal.

Run: ``python -m bench idle [SECONDS]``. A real hub and two programs that sleep, each under `homeostat run`,
settle for ten seconds; then the processor time and the memory of the hub and of everything below it are
read from ``/proc`` over at least a minute. Beside the programs sleeps a third one without an agent.

Limits: under 1 % of one core, and 200 MB.
"""

import os
import subprocess
import time
from pathlib import Path

from bench.figures import Figure, number
from bench.project import project, wait_for

_SETTLE_S = 10.0
_MEASURE_S = float(os.environ.get("HOMEOSTAT_BENCH_IDLE_S", "60"))
_AGENTS = 2
_SLEEPER = "import time\nwhile True:\n    time.sleep(3600)\n"
_SETTINGS = '[host]\ntest_command = ["python", "-m", "unittest"]\n[hmr]\nenabled = true\n'
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_MOST_SHARE, _MOST_MB = 0.01, 200.0


def main() -> dict[str, float]:
    """Measure, print a table, and return shares of a core and megabytes."""
    with project({"sleeper.py": _SLEEPER}, settings=_SETTINGS) as made:
        client = made.start_hub()
        with_agent = [made.start_program("sleeper.py", agent=True) for _ in range(_AGENTS)]
        bare = made.start_program("sleeper.py", agent=False)
        wait_for(lambda: _connected(client.get("/api/processes").json()) == _AGENTS, "the agents")
        client.close()
        time.sleep(_SETTLE_S)
        assert made.hub is not None
        found = _measure(made.hub, with_agent, bare)
    print(f"{'idle':<34}{'% of a core':>12}{'MB':>10}")
    for who in ("hub and all below it", "one program with its agent", "the same program, bare"):
        print(f"{who:<34}{found[f'{who}, share'] * 100:>12.2f}{found[f'{who}, MB']:>10.0f}")
    return found


def _measure(
    hub: "subprocess.Popen[bytes]", with_agent: "list[subprocess.Popen[bytes]]", bare: "subprocess.Popen[bytes]"
) -> dict[str, float]:
    # Children that ended before, the self-test's worker say, are counted in none of the two.
    groups = {
        "hub and all below it": ([hub.pid, *_below(hub.pid)], 1),
        "one program with its agent": ([program.pid for program in with_agent], len(with_agent)),
        "the same program, bare": ([bare.pid], 1),
    }
    before = {name: _cpu_s(processes) for name, (processes, _) in groups.items()}
    started = time.monotonic()
    time.sleep(_MEASURE_S)
    elapsed_s = time.monotonic() - started
    found: dict[str, float] = {}
    for name, (processes, count) in groups.items():
        found[f"{name}, share"] = (_cpu_s(processes) - before[name]) / elapsed_s / count
        found[f"{name}, MB"] = sum(map(_memory_mb, processes)) / count
    return found


def _connected(answer: dict[str, list[dict[str, object]]]) -> int:
    return sum(1 for process in answer["processes"] if process["connected"])


def _cpu_s(processes: list[int]) -> float:
    total = 0
    for process in processes:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        total += sum(int(field) for field in fields[11:15])  # its own time, and that of children that ended
    return total / _TICKS_PER_S


def _memory_mb(process: int) -> float:
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def _below(process: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{process}/task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            found += [child, *_below(child)]
    return found


FOUND = ""


def figures(results: dict[str, float]) -> list[Figure]:
    """Hold the hub's share and memory against their limits."""
    hub, agent, bare = "hub and all below it", "one program with its agent", "the same program, bare"
    share, memory = results[f"{hub}, share"], results[f"{hub}, MB"]
    return [
        Figure(
            what="idle hub, two agents: processor",
            measured=f"{share:.2%} of a core",
            beside=f"a program with its agent {results[f'{agent}, share']:.2%}, bare {results[f'{bare}, share']:.2%}",
            aim="under 1 %",
            met=share < _MOST_SHARE,
        ),
        Figure(
            what="idle hub: memory",
            measured=number(memory, "MB"),
            beside=f"a program with its agent {results[f'{agent}, MB']:.0f} MB, bare {results[f'{bare}, MB']:.0f} MB",
            aim="at most 200 MB",
            met=memory <= _MOST_MB,
        ),
    ]


if __name__ == "__main__":
    main()
