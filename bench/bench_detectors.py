"""How often the detectors over a whole service take a harmless change back, and how soon one that harms both arms.

Run: ``python -m bench detectors``. Each change has an hour before it, the same hours of the day before, and is watched
while it is tried (ten minutes) and for an hour after. Beside ours on the same streams: the thresholds as named,
with no past, no grace time and no confirmation. The tables of `docs/CANARY.md` are written with ``--write``.
"""

import os
import statistics
import sys
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench.figures import Figure, is_kept, number
from homeostat.model.settings import DetectorSettings
from homeostat.model.vitals import STRETCH_S, Stretch
from homeostat.rollout.detectors import DETECTORS, Fired, View, detect_in
from homeostat.rollout.detectors.errors import rank_evidence
from homeostat.rollout.detectors.health import usual_health
from homeostat.rollout.detectors.service import Service, count_service
from homeostat.rollout.detectors.spells import Limit, longest, spells
from homeostat.rollout.sequential import upper_bound
from homeostat.testing.services import NO_HARM, Harm, Kind, whole_service

PAGE = Path(__file__).parent.parent / "docs" / "CANARY.md"
FOUND = """\
The tables by kind of service and by harm, ours beside the plain thresholds, stand in docs/CANARY.md.
"""
BEGIN, END = "<!-- detectors measured -->", "<!-- detectors until here -->"

_NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
_AIM = 0.01
_TRIED_S = 600
_WATCHED_S = 3600
_RUNS = 50
"""Changes without harm, of each kind."""

_HARMED_RUNS = 20
SETTINGS = DetectorSettings(slo_availability=0.98)
"""With an objective: twice the errors that most kinds have."""

_KINDS: tuple[tuple[str, Kind, bool], ...] = (
    ("steady", Kind.STEADY, False),
    ("diurnal, 24 h", Kind.DIURNAL, True),
    ("diurnal, 100 s", Kind.DIURNAL, False),
    ("bursty", Kind.BURSTY, False),
    ("heavy-tailed", Kind.HEAVY_TAILED, False),
    ("sparse errors", Kind.SPARSE_ERRORS, False),
    ("bimodal", Kind.BIMODAL, False),
    ("quiet", Kind.QUIET, False),
    ("drifting", Kind.DRIFTING, False),
    ("slow leak", Kind.SLOW_LEAK, False),
)
_OUTSIDE = ("drifting", "slow leak")
"""Neither stationary nor like the day before: nothing is promised, and the table has them to show by how much."""

_HARMS: tuple[tuple[str, Harm], ...] = (
    ("errors 1 % → 2 %", Harm(errors=0.01)),
    ("errors 1 % → 3 %", Harm(errors=0.02)),
    ("errors 1 % → 5 %", Harm(errors=0.04)),
    ("errors 1 % → 30 %", Harm(errors=0.29)),
    ("errors 1 % → 100 %", Harm(errors=0.99)),
    ("1.5 times slower", Harm(slower=1.5)),
    ("3 times slower", Harm(slower=3.0)),
    ("a fifth takes 10 times as long", Harm(tail=0.2)),
)


@dataclass(frozen=True, kw_only=True)
class Task:
    """One change of one service."""

    kind: Kind
    daily: bool
    seed: int
    harm: Harm = NO_HARM


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """After how many seconds each detector first fired; those that never did are missing."""

    fired_s: dict[str, float] = field(default_factory=dict)
    naive_s: dict[str, float] = field(default_factory=dict)


def main() -> dict[str, float]:
    """Measure, print the tables, and return figures by name."""
    results: dict[str, float] = {}
    with ProcessPoolExecutor(max_workers=len(os.sched_getaffinity(0))) as pool:
        text = "\n\n".join([_without_harm(pool.map, results), _with_harm(pool.map, results)])
    print(text)
    if "--write" in sys.argv:
        head, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
        tail = rest.partition(END)[2]
        PAGE.write_text(f"{head}{BEGIN}\n\n{text}\n\n{END}{tail}", encoding="utf-8")
    return results


def figures(results: dict[str, float]) -> list[Figure]:
    """Hold the results against their aims."""
    return [
        Figure(
            what=f"harmless changes taken back by a detector ({results['changes']:,.0f} changes, canary and an hour)",
            measured=f"{results['taken back']:.2%} (at most {results['at most']:.1%}, 99 % sure); worst kind"
            f" {results['worst kind']:.1%} (at most {results['worst kind, at most']:.1%})",
            beside=f"plain thresholds {results['naive']:.1%}",
            aim="1 % of each kind that is stationary or diurnal",
            met=is_kept(results["worst kind"], at_most=results["worst kind, at most"], aim=_AIM),
        ),
        Figure(
            what="errors from 1 % to 30 % in both arms: a detector takes it back, median",
            measured=number(results["1 to 30, s"], "s"),
            beside="the judge of the arms: never",
        ),
    ]


def watch(task: Task) -> Outcome:
    """Return when each detector fires first, looked at after every stretch."""
    yesterday, before, after = streams(task)
    whole = count_service(_view(yesterday, before, after), SETTINGS)
    fired: dict[str, float] = {}
    for index in worth_a_look(whole):
        seen = _view(yesterday, before, after[: index + 1])
        for item in detect_in(replace(whole, view=seen, after=whole.after[: index + 1])):
            if isinstance(item.result, Fired):
                fired.setdefault(item.name, (index + 1) * STRETCH_S)
        if fired:
            break
    return Outcome(fired_s=fired, naive_s=_naive([*yesterday, *before], after))


def streams(task: Task) -> tuple[list[Stretch], list[Stretch], list[Stretch]]:
    """Return the same hours of the day before, the hour before, and the time since the change."""
    length = _TRIED_S + _WATCHED_S
    day = (task.seed * 0.618) % 1 if task.daily else None
    begins = _NOON - timedelta(hours=1)
    # Harm begins with the change: so many ticks after the hour before.
    harm = replace(task.harm, from_tick=3600) if task.harm is not NO_HARM else NO_HARM
    present = list(
        whole_service(task.kind, seed=f"{task.seed}", start=begins, seconds=3600 + length, harm=harm, day=day)
    )
    margin = 1800
    earlier = whole_service(
        task.kind,
        seed=f"{task.seed} yesterday",
        start=_NOON - timedelta(days=1, seconds=margin),
        seconds=length + 2 * margin,
        day=None if day is None else day + (3600 - margin) / 86_400,
    )
    hour = 3600 // STRETCH_S
    return list(earlier), present[:hour], present[hour:]


def worth_a_look(service: Service) -> Sequence[int]:
    """Return after which stretches a detector can fire at all; the others need no look, and looks take time."""
    found: set[int] = set()
    settings = service.settings
    floors = [settings.health, usual_health(service) - settings.health_drop]
    limits = [Limit(what="", measure=lambda pool: pool.health, floor=floor, within_s=0) for floor in floors]
    limits.append(Limit(what="", measure=lambda pool: pool.availability, floor=settings.slo_availability, within_s=0))
    starts = [minute.start for minute in service.after]
    for limit in limits:
        if min(limit.measure(past.total) for past in service.past) < limit.floor:
            continue
        for spell in spells(service.after, limit):
            if spell.seconds >= settings.grace_s + longest(service, limit):
                first = bisect_left(starts, spell.since)
                count = round(spell.seconds / STRETCH_S)
                found.update(range(first + round(settings.grace_s / STRETCH_S) - 1, min(first + count, len(starts))))
    new = service.yardstick.rates(service.view.after, least=settings.min_requests)
    confirmed = [
        rank_evidence(past.rates, new, rise=settings.error_rise, alpha=settings.false_alarm)[0] for past in service.past
    ]
    times = [since for since in confirmed if since is not None]
    if len(times) == len(confirmed):
        found.update(range(bisect_left(starts, max(times)), len(starts)))
    return sorted(found)


def _view(yesterday: Sequence[Stretch], before: Sequence[Stretch], after: Sequence[Stretch]) -> View:
    live = _NOON + timedelta(seconds=_TRIED_S)
    now = after[-1].end + timedelta(seconds=3)
    steps = [step for step in (_NOON, live) if step <= now]
    return View(before=before, day_ago=yesterday, after=after, steps=steps, now=now, reach_s=3600.0)


def _naive(past: Sequence[Stretch], after: Sequence[Stretch]) -> dict[str, float]:
    """Return when the plain thresholds are crossed, from a minute on: in the last minute, or by the rate since."""
    old = sum(item.errors for item in past) / max(sum(item.requests for item in past), 1)
    availability = 1 - old
    found: dict[str, float] = {}
    for index in range(3, len(after)):
        at_s = (index + 1) * STRETCH_S
        minute = after[index - 3 : index + 1]
        asked, failed = sum(item.requests for item in minute), sum(item.errors for item in minute)
        since = after[: index + 1]
        rate = sum(item.errors for item in since) / max(sum(item.requests for item in since), 1)
        health = 1 - failed / asked if asked else 1.0
        for name, crossed in (
            ("health", health < 0.9),
            ("health-drop", health < availability - 0.1),
            ("slo", at_s <= 300 and health < SETTINGS.slo_availability),
            ("error-rate", rate > 1.25 * old),
        ):
            if crossed:
                found.setdefault(name, at_s)
    return found


def _without_harm(run: Callable[..., Iterable[Outcome]], results: dict[str, float]) -> str:
    names = list(DETECTORS)
    rows = [
        "| kind of service | any of ours | at most, 99 % sure | "
        + " | ".join(f"`{name}`" for name in names)
        + " | plain thresholds |",
        "| --- " * (4 + len(names)) + "|",
    ]
    worst, worst_bound, taken, naive, changes = 0.0, 0.0, 0, 0, 0
    for name, kind, daily in _KINDS:
        ended = list(run(watch, [Task(kind=kind, daily=daily, seed=seed) for seed in range(_RUNS)], chunksize=4))
        back = sum(bool(each.fired_s) for each in ended)
        plain = sum(bool(each.naive_s) for each in ended)
        cells = [f"{sum(one in each.fired_s for each in ended) / _RUNS:.1%}" for one in names]
        bound = upper_bound(back, _RUNS, alpha=0.01)
        rows.append(f"| {name} | {back / _RUNS:.1%} | {bound:.1%} | {' | '.join(cells)} | {plain / _RUNS:.0%} |")
        print(rows[-1], flush=True)
        if name not in _OUTSIDE:
            worst, worst_bound = max(worst, back / _RUNS), max(worst_bound, bound)
            taken, naive, changes = taken + back, naive + plain, changes + _RUNS
    results |= {
        "changes": changes,
        "taken back": taken / changes,
        "naive": naive / changes,
        "worst kind": worst,
        "at most": upper_bound(taken, changes, alpha=0.01),
        "worst kind, at most": worst_bound,
    }
    return "### Harmless changes that detectors take back\n\n" + "\n".join(rows)


def _with_harm(run: Callable[..., Iterable[Outcome]], results: dict[str, float]) -> str:
    rows = [f"| harm, in both arms | taken back | after, median | p90 | first by |\n{'| --- ' * 5}|"]
    for name, harm in _HARMS:
        tasks = [Task(kind=Kind.STEADY, daily=False, seed=10_000 + seed, harm=harm) for seed in range(_HARMED_RUNS)]
        ended = list(run(watch, tasks, chunksize=2))
        took = sorted(min(each.fired_s.values()) for each in ended if each.fired_s)
        first = [min(each.fired_s, key=lambda one: each.fired_s[one]) for each in ended if each.fired_s]
        by = ", ".join(f"`{one}` {first.count(one) / len(first):.0%}" for one in DETECTORS if one in first)
        median = statistics.median(took) if took else float("inf")
        cells = f"{median:,.0f} s | {took[len(took) * 9 // 10]:,.0f} s" if took else "- | -"
        rows.append(f"| {name} | {len(took) / _HARMED_RUNS:.0%} | {cells} | {by} |")
        print(rows[-1], flush=True)
        if name == "errors 1 % → 30 %":
            results["1 to 30, s"] = median
    return "### Harm to the whole service, five requests/s, one of a hundred failing before\n\n" + "\n".join(rows)


if __name__ == "__main__":
    main()
