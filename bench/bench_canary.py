"""How often a harmless change is taken back, how soon a harmful one, and when it is promoted: ours beside two others.

Run: ``python -m bench canary``. Every judge is fed the same simulated services (`homeostat.testing.services`),
tick by tick, and asked after each: 10,000 canaries without harm, and a grid of harms. The tables of `docs/CANARY.md`
are written with ``--write``. It takes a quarter of an hour on two cores.
"""

import itertools
import os
import statistics
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from bench.canary_peers import FixedThreshold, RepeatedMannWhitney, Said
from bench.figures import Figure, is_kept, number
from homeostat.rollout.canary import CanaryJudge, Promote, Rollback, time_to_promote, together
from homeostat.rollout.sequential import upper_bound
from homeostat.testing.services import NO_HARM, Harm, Kind, play, service

PAGE = Path(__file__).parent.parent / "docs" / "CANARY.md"
FOUND = """\
The tables by kind of service and by harm, ours beside a fixed threshold as in Argo Rollouts and a repeated Mann-Whitney
test as in Kayenta, stand in docs/CANARY.md. The time of a promotion varies: its p90 is three to four times the median.
"""

_RUNS = 920
"""Canaries without harm, of each kind."""

_PEER_RUNS = 200
_HARMED_RUNS = 100
_TICKS = 100
_ALPHA = 0.01
_OUTSIDE = (Kind.KEYED_REQUESTS, Kind.OWN_BURSTS)
"""What the judge does not promise; the table has them to show by how much."""

_HARMLESS = tuple(kind for kind in Kind if kind not in (Kind.SILENT, *_OUTSIDE))

_HARMS: tuple[tuple[str, Kind, float, Harm], ...] = tuple(
    (name, kind, share, harm)
    for share in (0.5, 0.1)
    for name, kind, harm in (
        ("errors 1 % → 2 %", Kind.STEADY, Harm(errors=0.01)),
        ("errors 1 % → 3 %", Kind.STEADY, Harm(errors=0.02)),
        ("errors 1 % → 5 %", Kind.STEADY, Harm(errors=0.04)),
        ("errors 1 % → 10 %", Kind.STEADY, Harm(errors=0.09)),
        ("errors 1 % → 30 %", Kind.STEADY, Harm(errors=0.29)),
        ("errors 1 % → 5 %, in storms", Kind.BURSTY, Harm(errors=0.04)),
        ("errors 1 % → 30 %, from tick 50 on", Kind.STEADY, Harm(errors=0.29, from_tick=50)),
        ("1.05 times slower: tolerated", Kind.STEADY, Harm(slower=1.05)),
        ("1.3 times slower", Kind.STEADY, Harm(slower=1.3)),
        ("1.5 times slower", Kind.STEADY, Harm(slower=1.5)),
        ("2 times slower", Kind.STEADY, Harm(slower=2.0)),
        ("2 times slower, heavy tails", Kind.HEAVY_TAILED, Harm(slower=2.0)),
        ("a tenth takes 10 times as long", Kind.STEADY, Harm(tail=0.1)),
        ("half 2 times faster, half 2 times slower", Kind.STEADY, Harm(split=2.0)),
        ("ever slower, 3 times after 100 ticks", Kind.STEADY, Harm(slower=3.0, grows_over=100)),
        ("errors 1 % → 30 %, in both arms", Kind.STEADY, Harm(errors=0.29, leaks=1.0)),
    )
)


@dataclass(frozen=True)
class Outcome:
    """How one judge ended one canary."""

    said: Said
    units: int
    """Of the canary, until then."""


def main() -> dict[str, float]:
    """Measure, print the tables, and return figures by name."""
    results: dict[str, float] = {}
    with ProcessPoolExecutor(max_workers=len(os.sched_getaffinity(0))) as pool:
        tables = [
            _without_harm(pool.map, results),
            _with_harm(pool.map, results),
            _median_450(pool.map, results),
            _promotion(pool.map, results),
        ]
    text = "\n\n".join(tables)
    print(text)
    if "--write" in sys.argv:
        head, _, rest = PAGE.read_text(encoding="utf-8").partition("<!-- measured -->")
        tail = rest.partition("<!-- until here -->")[2]
        page = f"{head}<!-- measured -->\n\n{text}\n\n<!-- until here -->{tail}"
        PAGE.write_text(page, encoding="utf-8")
    return results


def figures(results: dict[str, float]) -> list[Figure]:
    """Hold the results against their aims."""
    runs = f"{results['canaries without harm']:,.0f} canaries, {_TICKS} looks at each"
    return [
        Figure(
            what=f"harmless changes taken back ({runs})",
            measured=f"{results['taken back, ours']:.2%}; worst kind {results['worst kind, ours']:.2%}"
            f" (at most {results['worst kind, at most']:.1%}, 99 % sure)",
            beside=f"fixed threshold {results['taken back, threshold']:.2%}, worst kind"
            f" {results['worst kind, threshold']:.1%}; repeated Mann-Whitney {results['taken back, ranks']:.2%},"
            f" worst kind {results['worst kind, ranks']:.1%}",
            aim="1 % of each kind",
            met=is_kept(results["worst kind, ours"], at_most=results["worst kind, at most"], aim=_ALPHA),
        ),
        Figure(
            what="errors from 1 % to 5 %, equal arms, all tests on: requests an arm until it is taken back, median",
            measured=number(results["1 to 5, median"]),
            beside="316 for one test with all of alpha that knows both rates",
            aim="450",
            met=results["1 to 5, median"] <= 450,
        ),
        Figure(
            what="errors from 1 % to 30 %, a tenth of the calls, 200 requests/s, four ticks a second: taken back, p95",
            measured=number(results["1 to 30, p95 s"], "s"),
            beside=f"p50 {number(results['1 to 30, p50 s'], 's')}; the judge alone",
            aim="3 s",
            met=results["1 to 30, p95 s"] < 3,
        ),
        Figure(
            what="a harmless change is promoted (1 % errors, a tenth of 100 requests/s), median",
            measured=number(results["promoted, median s"], "s"),
            beside=f"said beforehand: {number(results['promoted, forecast s'], 's')}",
        ),
    ]


@dataclass(frozen=True, kw_only=True)
class Task:
    """One canary, and who judges it."""

    kind: Kind
    seed: int
    share: float
    harm: Harm = NO_HARM
    units: float = 100
    promotes: bool = True
    """Without, only a rollback ends it for ours, so that all looks are taken."""

    peers: bool = True


def judge_all(task: Task) -> list[Outcome]:
    """Return how ours, the fixed threshold and the repeated Mann-Whitney test end on the same stream."""
    ours = CanaryJudge()
    peers = (FixedThreshold(), RepeatedMannWhitney()) if task.peers else ()
    ended: list[Outcome | None] = [None] * (1 + len(peers))
    units = 0
    for tick in itertools.islice(
        service(task.kind, seed=task.seed, units=task.units, share=task.share, harm=task.harm), _TICKS
    ):
        units += tick.canary.units
        said = [_said(ours.verdict if ended[0] else ours.feed(tick), promotes=task.promotes)]
        said += [peer.feed(tick) for peer in peers]
        for index, one in enumerate(said):
            if ended[index] is None and one is not Said.CONTINUE:
                ended[index] = Outcome(one, units)
        if all(ended):
            break
    return [one or Outcome(Said.CONTINUE, units) for one in ended]


def _said(verdict: object, *, promotes: bool) -> Said:
    if isinstance(verdict, Rollback):
        return Said.ROLLBACK
    return Said.PROMOTE if promotes and isinstance(verdict, Promote) else Said.CONTINUE


_NAMES = ("ours", "threshold", "ranks")


def _without_harm(run: Callable[..., Iterable], results: dict[str, float]) -> str:
    """Half of the canaries get half of the requests, half a tenth; the others judge the first of ours."""
    rows = [
        f"| kind of service | ours | at most, 99 % sure | fixed threshold | repeated Mann-Whitney |\n{'| --- ' * 5}|"
    ]
    whole, worst, worst_bound = [0, 0, 0], [0.0, 0.0, 0.0], 0.0
    runs = (_RUNS, _PEER_RUNS, _PEER_RUNS)
    for kind in (*_HARMLESS, *_OUTSIDE):
        tasks = [
            Task(
                kind=kind, seed=seed, share=0.5 if seed % 2 else 0.1, units=40, promotes=False, peers=seed < _PEER_RUNS
            )
            for seed in range(_RUNS)
        ]
        ended = list(run(judge_all, tasks, chunksize=5))
        back = [sum(each[judge].said is Said.ROLLBACK for each in ended[: runs[judge]]) for judge in range(3)]
        shares = [count / of for count, of in zip(back, runs, strict=True)]
        bound = upper_bound(back[0], _RUNS, alpha=0.01)
        rows.append(f"| {kind.value} | {shares[0]:.1%} | {bound:.1%} | {shares[1]:.1%} | {shares[2]:.1%} |")
        print(rows[-1], flush=True)
        if kind in _OUTSIDE:
            continue
        worst_bound = max(worst_bound, bound)
        whole = [a + b for a, b in zip(whole, back, strict=True)]
        worst = [max(a, b) for a, b in zip(worst, shares, strict=True)]
    results |= {"canaries without harm": _RUNS * len(_HARMLESS), "worst kind, at most": worst_bound}
    for judge, name in enumerate(_NAMES):
        results[f"taken back, {name}"] = whole[judge] / (runs[judge] * len(_HARMLESS))
        results[f"worst kind, {name}"] = worst[judge]
    return "### Taken back without harm\n\n" + "\n".join(rows)


def _with_harm(run: Callable[..., Iterable], results: dict[str, float]) -> str:
    rows = [f"| harm | share | ours | fixed threshold | repeated Mann-Whitney |\n{'| --- ' * 5}|"]
    for name, kind, share, harm in _HARMS:
        tasks = [Task(kind=kind, seed=10_000 + seed, share=share, harm=harm) for seed in range(_HARMED_RUNS)]
        ended = list(run(judge_all, tasks, chunksize=5))
        cells = [_cell([each[index] for each in ended]) for index in range(3)]
        rows.append(f"| {name} | {share:.0%} | {' | '.join(cells)} |")
        print(rows[-1], flush=True)
    return "### Harm\n\n" + "\n".join(rows)


def _cell(ended: list[Outcome]) -> str:
    back = [one.units for one in ended if one.said is Said.ROLLBACK]
    promoted = sum(one.said is Said.PROMOTE for one in ended) / len(ended)
    share = f"{len(back) / len(ended):.0%}"
    if back:
        share += f" after {statistics.median(back):,.0f}"
    return f"{share}, promoted {promoted:.0%}"


def until_taken_back(task: tuple[int, float, float, float, int]) -> tuple[int, int]:
    """Return after how many ticks, and units of the canary, a harm is taken back; no promotion ends it."""
    seed, units, share, errors, ticks = task
    stream = service(Kind.STEADY, seed=seed, units=units, share=share, harm=Harm(errors=errors))
    ended = play(stream, ticks=ticks, promote=False)
    return (ended.ticks, ended.canary_units) if isinstance(ended.verdict, Rollback) else (ticks, 10**9)


def _median_450(run: Callable[..., Iterable], results: dict[str, float]) -> str:
    rows = [f"| requests a tick, both arms | median | mean | p90 |\n{'| --- ' * 4}|"]
    for units in (2, 20, 100):
        tasks = [(seed, units, 0.5, 0.04, 20_000 // units) for seed in range(2 * _HARMED_RUNS)]
        took = sorted(each for _, each in run(until_taken_back, tasks, chunksize=5))
        median = statistics.median(took)
        rows.append(f"| {units} | {median:,.0f} | {statistics.mean(took):,.0f} | {took[len(took) * 9 // 10]:,.0f} |")
        results["1 to 5, median"] = max(results.get("1 to 5, median", 0.0), median)
    tasks = [(seed, 50, 0.1, 0.29, 400) for seed in range(2 * _HARMED_RUNS)]
    ticks = sorted(each for each, _ in run(until_taken_back, tasks, chunksize=5))
    results |= {"1 to 30, p50 s": statistics.median(ticks) / 4, "1 to 30, p95 s": ticks[len(ticks) * 95 // 100] / 4}
    return "### Requests an arm until errors from 1 % to 5 % are taken back, equal arms\n\n" + "\n".join(rows)


def until_promoted(task: tuple[Kind, int, float, float]) -> float:
    """Return after how many seconds a harmless change is promoted; infinite where it is not within the hour."""
    kind, seed, units, share = task
    ended = play(service(kind, seed=seed, units=units, share=share), ticks=3600)
    return ended.ticks if isinstance(ended.verdict, Promote) else float("inf")


def _promotion(run: Callable[..., Iterable], results: dict[str, float]) -> str:
    rows = [f"| kind of service | requests/s | share | said beforehand | median | p90 |\n{'| --- ' * 6}|"]
    for kind, units, share in (
        (Kind.STEADY, 100, 0.1), (Kind.STEADY, 100, 0.5), (Kind.STEADY, 20, 0.1), (Kind.SPARSE_ERRORS, 100, 0.1),
        (Kind.DIURNAL, 100, 0.1), (Kind.BURSTY, 100, 0.1), (Kind.HEAVY_TAILED, 100, 0.1), (Kind.BIMODAL, 100, 0.1),
    ):  # fmt: skip
        seen = together(tick.control for tick in itertools.islice(service(kind, seed=1, units=200, share=0.0), 100))
        said = time_to_promote(seen, units_per_s=units, share=share)
        took = sorted(run(until_promoted, [(kind, seed, units, share) for seed in range(20)], chunksize=2))
        median, p90 = statistics.median(took), took[len(took) * 9 // 10]
        rows.append(
            f"| {kind.value} | {units} | {share:.0%} | {said.seconds:,.0f} s | {median:,.0f} s | {p90:,.0f} s |"
        )
        print(rows[-1], flush=True)
        if (kind, units, share) == (Kind.STEADY, 100, 0.1):
            results |= {"promoted, median s": median, "promoted, forecast s": said.seconds}
    return "### Promoted without harm\n\n" + "\n".join(rows)


if __name__ == "__main__":
    main()
