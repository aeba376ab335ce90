"""How fast text is cleaned: real log lines, line by line, as they come.

Run: ``python -m bench redaction``. The lines are the Loghub samples of the public test data. The
agent's path is the standard library with the table's hints; the hub's is RE2 as a screen before the
same rules. "RE2 alone" is the same table with RE2 doing the substitutions too, which is what was tried
and left: its Python binding costs more per line than its engine saves.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path

import re2
from homeostat_agent.redact import MAX_CHARS, clean_text, rules, settle

from bench.figures import Figure, number
from homeostat.telemetry.redact import clean, clean_all

_DATA = Path(os.environ.get("HOMEOSTAT_TEST_DATA") or Path(__file__).parents[2] / "shared" / "data")
_ROUNDS = 3


def main() -> dict[str, float]:
    """Measure, print a table, and return megabytes a second by name; nothing where the lines are missing."""
    lines = _lines()
    if not lines:
        print(f"redaction: no log lines below {_DATA / 'loghub'}")
        return {}
    cleaned = [clean(line) for line in lines]
    alone = _re2_alone()
    assert cleaned == [clean_text(line) for line in lines] == [alone(line) for line in lines]
    hit = sum(line != result for line, result in zip(lines, cleaned, strict=True))
    results = {
        "agent, raw lines (standard library)": _speed(lines, lambda: [clean_text(line) for line in lines]),
        "hub, raw lines (RE2 screens)": _speed(lines, lambda: [clean(line) for line in lines]),
        "hub, lines an agent has cleaned": _speed(cleaned, lambda: [clean(line) for line in cleaned]),
        "hub, as a batch with repetitions": _speed(lines * 2, lambda: clean_all(lines * 2)),
        "RE2 alone, raw lines (not used)": _speed(lines, lambda: [alone(line) for line in lines]),
    }
    print(f"{f'redaction, {len(lines)} lines, {hit / len(lines):.0%} changed':<42}{'MB/s':>8}{'us/line':>10}")
    for what, speed in results.items():
        per_line_us = sum(map(len, lines)) / len(lines) / speed
        print(f"{what:<42}{speed:>8.1f}{per_line_us:>10.1f}")
    return results


def _lines() -> list[str]:
    files = sorted((_DATA / "loghub").glob("*/*_2k.log"))
    return [line for file in files for line in file.read_text(errors="replace").splitlines()]


def _re2_alone() -> Callable[[str], str]:
    table = [(re2.compile(rule.pattern), rule) for rule in rules()]

    def apply(text: str) -> str:
        lowered = text.lower()
        for pattern, rule in table:
            if any(lowered.count(hint) >= rule.at_least for hint in rule.hints):
                text = pattern.sub(rule.replace, text)
        return text

    return lambda text: settle(text, apply, MAX_CHARS)


def _speed(texts: list[str], work: Callable[[], object]) -> float:
    """Return megabytes a second, the best of some rounds."""
    size_mb = sum(len(text.encode()) for text in texts) / 1e6
    best_s = float("inf")
    for _ in range(_ROUNDS):
        start_s = time.perf_counter()
        work()
        best_s = min(best_s, time.perf_counter() - start_s)
    return size_mb / best_s


FOUND = ""


def figures(results: dict[str, float]) -> list[Figure]:
    """Hold the results against their aims; no line where there was no text to clean."""
    if not results:
        return []
    hub, agent = results["hub, raw lines (RE2 screens)"], results["agent, raw lines (standard library)"]
    return [
        Figure(what="hub, raw lines", measured=number(hub, "MB/s"), aim="15 MB/s", met=hub >= 15),
        Figure(what="agent, raw lines, standard library alone", measured=number(agent, "MB/s")),
    ]


if __name__ == "__main__":
    main()
