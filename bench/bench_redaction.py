"""How fast text is cleaned, and how well: real log lines, and lines with labelled secrets.

Run: ``python -m bench redaction``. The log lines are the Loghub samples of the public test data; the labelled
ones come from `homeostat.testing.secret_lines`. Beside ours stands detect-secrets with all its plug-ins, on the
same lines in the same run. Times are processor time of the one thread at work, so that a second program on
the machine does not count.

"RE2 alone" is the same table with RE2 doing the substitutions too, which is what was tried and left: its
Python binding costs more per line than its engine saves.
"""

import os
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import re2
from detect_secrets import SecretsCollection
from detect_secrets.settings import default_settings
from homeostat_agent.redact import MAX_CHARS, clean_text, rules, settle

from bench.figures import Figure, number
from homeostat.telemetry.redact import clean, clean_all
from homeostat.testing.secret_lines import ORDINARY_LINES, leaks, secret_lines

DATA = Path(os.environ.get("HOMEOSTAT_TEST_DATA") or Path(__file__).parents[2] / "shared" / "data")
NO_LINES = "not measured: no log lines in HOMEOSTAT_TEST_DATA"
_CHUNK = 400
_ROUNDS = 5
_PEER_TRIES = 3
"""In each round, for its chunks last a hundred times as long as ours: the shorter one is, the likelier undisturbed."""

_EVERY_NTH_FOR_PEER = 30
_HUB = "hub, raw lines (RE2 screens)"
_TWICE = "hub, raw lines of which each is there twice"
Work = tuple[Sequence[str], Callable[[Sequence[str]], object]]
_SECRET_MARKS = ("[REDACTED_KEY]", "[REDACTED]")


def main() -> dict[str, float]:
    """Measure, print two tables, and return their figures by name."""
    labelled = list(secret_lines())
    figures: dict[str, float] = {}
    lines = _log_lines()
    if lines:
        figures |= _speeds(lines)
    else:
        print(f"no log lines below {DATA / 'loghub'}: speed and false changes of real lines are not measured")
    ordinary = [*lines, *ORDINARY_LINES]
    print(f"\n{f'{len(labelled)} labelled secrets, {len(ordinary)} ordinary lines':<46}{'removed':>9}{'changed':>9}")
    for name, redact in (("agent", clean_text), ("hub", clean)):
        recall = sum(not leaks(redact(item.text), item.secret) for item in labelled) / len(labelled)
        false = _share(ordinary, lambda line, redact=redact: _false_alarm(line, redact(line)))  # type: ignore[misc]
        _tell(figures, name, recall, false)
    found = _peer([item.text for item in labelled])
    recall = sum(
        not leaks(_without(item.text, values), item.secret) for item, values in zip(labelled, found, strict=True)
    ) / len(labelled)
    _tell(figures, "detect-secrets", recall, _share(_peer(_some_lines(ordinary)), bool))
    return figures


def _speeds(lines: list[str]) -> dict[str, float]:
    cleaned = [clean(line) for line in lines]
    alone = _re2_alone()
    assert cleaned == [clean_text(line) for line in lines] == [alone(line) for line in lines] == clean_all(lines)
    changed = _share(range(len(lines)), lambda at: lines[at] != cleaned[at])
    speeds = _in_turns(
        {
            _HUB: (lines, clean_all),
            "hub, raw lines one by one": (lines, lambda part: [clean(line) for line in part]),
            "hub, lines an agent has cleaned": (cleaned, clean_all),
            _TWICE: (lines, lambda part: clean_all([*part, *part])),
            "agent, raw lines (standard library)": (lines, lambda part: [clean_text(line) for line in part]),
            "RE2 alone, raw lines (not used)": (lines, lambda part: [alone(line) for line in part]),
            "detect-secrets, raw lines": (_some_lines(lines), _peer),
        }
    )
    speeds[_TWICE] *= 2
    bytes_per_line = sum(len(line.encode()) for line in lines) / len(lines)
    print(f"{f'{len(lines)} log lines, {changed:.0%} changed':<46}{'MB/s':>9}{'us/line':>9}")
    for what, speed in speeds.items():
        print(f"{what:<46}{speed:>9.2f}{bytes_per_line / speed:>9.1f}")
    ratio = speeds[_HUB] / speeds["detect-secrets, raw lines"]
    print(f"{'hub, times detect-secrets':<46}{ratio:>9.0f}")
    return {f"{what} MB/s": speed for what, speed in speeds.items()} | {"times detect-secrets": ratio}


def _log_lines() -> list[str]:
    files = sorted((DATA / "loghub").glob("*/*_2k.log"))
    return [line for file in files for line in file.read_text(errors="replace").splitlines()]


def _re2_alone() -> Callable[[str], str]:
    table = [(re2.compile(rule.pattern), rule) for rule in rules()]

    def apply(text: str) -> str:
        before = text
        for pattern, rule in table:
            if pattern.search(before):
                text = pattern.sub(rule.replace, text)
        return text

    return lambda text: settle(text, apply, MAX_CHARS)


def _in_turns(works: dict[str, Work]) -> dict[str, float]:
    """Return megabytes a second: each chunk counts with the best of some rounds, since other programs disturb.

    All take their turn in each round: what lasts for seconds falls on one round of everybody.
    """
    best_s: dict[tuple[str, int], float] = {}
    for _ in range(_ROUNDS):
        for name, (texts, work) in works.items():
            for start in range(0, len(texts), _CHUNK):
                part = texts[start : start + _CHUNK]
                for _ in range(_PEER_TRIES if work is _peer else 1):
                    began_s = time.process_time()
                    work(part)
                    took_s = time.process_time() - began_s
                    best_s[name, start] = min(took_s, best_s.get((name, start), took_s))
    return {
        name: sum(len(text.encode()) for text in texts)
        / 1e6
        / sum(best_s[name, start] for start in range(0, len(texts), _CHUNK))
        for name, (texts, _) in works.items()
    }


def _false_alarm(line: str, cleaned: str) -> bool:
    return any(mark in cleaned and mark not in line for mark in _SECRET_MARKS)


def _some_lines(lines: Sequence[str]) -> Sequence[str]:
    """Return a sample for the peer, which would take minutes for all."""
    return lines[::_EVERY_NTH_FOR_PEER]


def _peer(texts: Sequence[str]) -> list[set[str]]:
    """Return what detect-secrets finds in each text, scanning all of them as one file, as it is meant to be used."""
    owners: list[int] = []
    for owner, text in enumerate(texts):
        owners.extend([owner] * len(text.split("\n")))
    found: list[set[str]] = [set() for _ in texts]
    with tempfile.NamedTemporaryFile("w", suffix=".log", encoding="utf-8") as file, default_settings():
        file.write("\n".join(texts))
        file.flush()
        secrets = SecretsCollection()
        secrets.scan_file(file.name)
        for _, secret in secrets:
            if secret.secret_value:
                found[owners[min(secret.line_number, len(owners)) - 1]].add(secret.secret_value)
    return found


def _without(text: str, values: set[str]) -> str:
    for value in values:
        text = text.replace(value, "")
    return text


def _share(items: Iterable[object], holds: Callable[..., bool]) -> float:
    answers = [holds(item) for item in items]
    return sum(answers) / len(answers)


def _tell(figures: dict[str, float], name: str, recall: float, false: float) -> None:
    figures[f"{name} secrets removed"] = recall
    figures[f"{name} ordinary lines changed as secrets"] = false
    print(f"{name:<46}{recall:>9.1%}{false:>9.2%}")


FOUND = """\
A call into RE2 takes a microsecond whatever the text, and half of the lines hold an address or a path, after whose
replacement they are looked at once more, because it could let another rule match. So eight neighbours are looked at
together first, with a character between them that no match crosses; lines in which the same rules match are one text
to these rules and to the second look; and only what is not at rest then is cleaned alone. What is left is mostly the
standard library's substitution, a call of Python for each match. It stands at its limit: when each was measured at
a time of its own, runs gave 97.6 and 105 times detect-secrets; in turns, the least disturbed try of each chunk
counting, 100 and 115.
"""


def figures(results: dict[str, float]) -> list[Figure]:
    """Hold the results against their aims; without real lines to clean the page says that speeds were not measured."""
    found = [
        Figure(
            what=what,
            measured=f"{results[f'{name} {key}']:.1%}",
            beside=f"detect-secrets {results[f'detect-secrets {key}']:.1%}",
        )
        for name in ("hub", "agent")
        for key, what in (
            ("secrets removed", f"{name}: labelled secrets removed"),
            ("ordinary lines changed as secrets", f"{name}: ordinary lines changed as if they held one"),
        )
    ]
    if "times detect-secrets" not in results:
        return [Figure(what="speed on raw lines", measured=NO_LINES, aim="15 MB/s, 100 times detect-secrets"), *found]
    hub, agent = results[f"{_HUB} MB/s"], results["agent, raw lines (standard library) MB/s"]
    peer, times = results["detect-secrets, raw lines MB/s"], results["times detect-secrets"]
    beside = f"detect-secrets {peer:.2f} MB/s"
    return [
        Figure(
            what=f"hub, raw lines, {_CHUNK} at once",
            measured=number(hub, "MB/s"),
            beside=f"{beside}; one by one {number(results['hub, raw lines one by one MB/s'], 'MB/s')}",
            aim="15 MB/s",
            met=hub >= 15,
        ),
        Figure(what="hub, times detect-secrets", measured=number(times, "times"), aim="100 times", met=times >= 100),
        Figure(what="agent, raw lines, standard library alone", measured=number(agent, "MB/s"), beside=beside),
        *found,
    ]


if __name__ == "__main__":
    main()
