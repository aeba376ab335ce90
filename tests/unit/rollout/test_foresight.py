"""What applying a change would do, and how long its canary takes at the traffic that was seen."""

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from homeostat.model.change import REGULAR, ChangeKind, FileChange, FileState, TreeChange
from homeostat.model.latency import quantile_s
from homeostat.model.process import HostProcess
from homeostat.model.settings import CanarySettings, HmrSettings, Settings
from homeostat.model.vitals import LATENCY_BOUNDS_MS, RouteVitals, VitalsTick
from homeostat.rollout.foresight import Way, foresee, traffic_of

NOW = datetime(2026, 11, 22, tzinfo=UTC)
OLD = "import sys\nfrom functools import lru_cache\ndef f():\n    return 1\n@lru_cache\ndef g(x):\n    return 1\n"
BODY = OLD.replace("def f():\n    return 1", "def f():\n    return 2")
CACHED = OLD.replace("def g(x):\n    return 1", "def g(x):\n    return 2")
SETTINGS = Settings(hmr=HmrSettings(enabled=True), canary=CanarySettings(steps=(10, 50)))
PROCESS = HostProcess(
    id="p",
    pid=4711,
    started_at=NOW,
    python="3.11.7",
    command="python3",
    commit=None,
    hmr_enabled=True,
    generation=0,
    changes=(),
    connected=True,
)


LOST = replace(PROCESS, id="q", pid=7, connected=False)
AT_ONCE = replace(SETTINGS, canary=CanarySettings(steps=()))


def changed(new, *, path="app/m.py", old=OLD):
    before, after = (FileState(content=text.encode(), mode=REGULAR) for text in (old, new))
    item = FileChange(kind=ChangeKind.MODIFY, path=path, old_path=path, before=before, after=after)
    return TreeChange(files=(item,))


def served(*, seconds=600, requests=50, errors=0, process="p", in_bucket=3):
    """Ticks of one second each, all of whose requests took about as long."""
    buckets = [0] * (len(LATENCY_BOUNDS_MS) + 1)
    buckets[in_bucket] = requests
    route = RouteVitals(requests=requests, errors=errors, latency_ms_sum=1.0, latency_ms_buckets=tuple(buckets))
    return [
        VitalsTick(
            process_id=process,
            start=NOW - timedelta(seconds=at + 1),
            end=NOW - timedelta(seconds=at),
            routes={"/": route},
            errors_logged=0,
        )
        for at in range(seconds)
    ]


def plan(new=BODY, *, lately=(), settings=SETTINGS, processes=(PROCESS,), path="app/m.py"):
    return foresee(changed(new, path=path), processes=processes, lately=lately, settings=settings)


def test_a_change_that_can_be_tried_has_its_steps_and_the_time_that_they_take():
    found = plan(lately=served())
    assert (found.way, found.window_s) == (Way.SHARE, 3600.0)
    assert [(step.percent, step.decides) for step in found.steps] == [(10, True), (50, True)]
    ten, half = found.steps
    assert ten.expected_s >= half.expected_s >= 60.0  # a larger share is sooner decided, and each has its least time
    assert found.canary_s == ten.expected_s + half.expected_s
    assert ten.forecast.canary_units == pytest.approx(ten.forecast.seconds * 5)


def test_more_traffic_is_decided_sooner_and_failures_later():
    base = plan(lately=served()).steps[0].forecast.seconds
    assert plan(lately=served(requests=200)).steps[0].forecast.seconds < base
    assert plan(lately=served(errors=5)).steps[0].forecast.seconds > base


@pytest.mark.parametrize("lately", [(), served(requests=0)])
def test_without_traffic_it_will_hold_and_ask(lately):
    found = plan(lately=lately)
    assert found.way is Way.SHARE
    assert [(step.decides, step.forecast.reason) for step in found.steps] == 2 * [(False, "never: there is no traffic")]
    assert found.canary_s == math.inf


def test_what_takes_longer_than_a_share_may_last_will_hold_and_ask():
    slow = replace(SETTINGS, canary=CanarySettings(steps=(10,), max_s=60))
    found = plan(lately=served(requests=1), settings=slow)
    assert not found.steps[0].decides and found.canary_s == math.inf
    assert found.steps[0].forecast.reason.startswith("not within 60 s")


@pytest.mark.parametrize(
    ("given", "way", "why"),
    [
        ({"settings": AT_ONCE}, Way.AT_ONCE, "canary.steps"),
        ({"new": CACHED}, Way.AT_ONCE, "app/m.py:6: g: a cache is in front of it"),
        ({"new": BODY.replace("return 2", "return sys._getframe()")}, Way.AT_ONCE, "looks at the frames"),
        ({"new": OLD + "print()\n"}, Way.RESTART, "a statement of the module's top level changed"),
        ({"settings": replace(SETTINGS, hmr=HmrSettings())}, Way.RESTART, "hmr.enabled"),
        ({"processes": ()}, Way.RESTART, "no running process is attached"),
        ({"processes": (LOST, PROCESS), "settings": AT_ONCE}, Way.RESTART, "process 7 cannot be reached"),
        ({"processes": (PROCESS, LOST), "new": CACHED}, Way.RESTART, "process 7 cannot be reached"),
        ({"processes": (replace(PROCESS, hmr_enabled=False),)}, Way.RESTART, "process 4711 has hot module reload"),
        ({"path": "docs/conf.py"}, Way.NOT_LOADED, "no running process loads"),
    ],
)
def test_every_other_way_says_why(given, way, why):
    found = plan(**given, lately=served())
    assert found.way is way and why in found.reason
    assert (found.steps, found.canary_s) == ((), 0)


@pytest.mark.parametrize(
    ("processes", "why"),
    [
        ((PROCESS, LOST), "of others when they do: process 7 cannot"),
        ((LOST,), "waits until one of the processes answers"),
    ],
)
def test_one_that_does_not_answer_is_asked_to_take_its_share_later(processes, why):
    found = plan(processes=processes, lately=served())
    assert found.way is Way.SHARE and why in found.reason


def test_files_that_only_a_start_reads_are_named():
    found = plan("new", path="app/prompt.txt")
    assert (found.way, found.read_at_start) == (Way.RESTART, ("app/prompt.txt",))


def test_latencies_between_two_bounds_are_spread_between_them():
    settings = CanarySettings(quick_ms=0)
    for index, (low, high) in enumerate([(0.5, 1), (1, 2), (2, 5), (5, 10)]):
        latency = traffic_of(served(seconds=1, requests=1000, in_bucket=index), settings).seen.latency
        assert sum(latency.values()) == 1000
        assert low * 0.9 < quantile_s(latency, 0.01) * 1000 < quantile_s(latency, 0.99) * 1000 < high * 1.1
    beyond = traffic_of(served(seconds=1, in_bucket=13), settings).seen.latency
    assert 10 < quantile_s(beyond, 0.5) < 20


def test_quick_calls_are_all_alike_as_they_are_to_the_judge():
    latency = traffic_of(served(in_bucket=1), CanarySettings(quick_ms=5)).seen.latency
    assert len(latency) == 1 and quantile_s(latency, 0.5) == pytest.approx(0.005, rel=0.1)


def test_two_processes_serve_at_the_same_time_and_a_bot_does_not_count():
    both = traffic_of([*served(), *served(process="q")], CanarySettings())
    assert both.units_per_s == pytest.approx(100)
    forged = traffic_of([*served(), *served(process="otlp:q", requests=10_000)], CanarySettings())
    assert forged.units_per_s == pytest.approx(50)


def test_counts_that_do_not_fit_together_are_read_so_that_they_do():
    (tick,) = served(seconds=1, requests=5)
    route = replace(tick.routes["/"], requests=2, errors=9)
    seen = traffic_of([replace(tick, routes={"/": route})], CanarySettings()).seen
    assert (seen.units, seen.failed, sum(seen.latency.values())) == (9, 9, 5)


@pytest.mark.parametrize(
    ("way", "settings", "shadowed"),
    [
        (Way.SHARE, ("app/m.py:f",), ("app/m.py:f",)),
        (Way.SHARE, ("app/m.py:g",), ()),
        (Way.AT_ONCE, ("app/m.py:f",), ()),
    ],
)
def test_functions_declared_pure_are_named_that_run_on_copies_first_and_take_a_step_more(way, settings, shadowed):
    canary = replace(SETTINGS.canary if way is Way.SHARE else AT_ONCE.canary, pure=settings)
    found = foresee(changed(BODY), processes=[PROCESS], lately=served(), settings=replace(SETTINGS, canary=canary))
    assert (found.way, found.shadow.functions) == (way, shadowed)
    more_s = found.canary_s - sum(step.expected_s for step in found.steps)
    assert more_s == pytest.approx(canary.step_s if shadowed else 0)
