"""When a change is taken back, when it is said to do well, and when nobody can say."""

import random
import statistics
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from homeostat.model.settings import ObservationSettings
from homeostat.model.vitals import RouteVitals, VitalsTick
from homeostat.rollout.arms import Arm, arm_of, watched_time_s
from homeostat.rollout.observation import (
    Continue,
    Hold,
    Judgement,
    Symptom,
    Well,
    Worse,
    judge,
    judge_symptom,
)

NOW = datetime(2026, 1, 10, tzinfo=UTC)
SETTINGS = ObservationSettings(window_s=60, min_requests=30, max_rise=0.25, false_rollback=0.01)
NOTHING = Arm(requests=0, errors=0, seconds=0, error_seconds=0)


def served(requests: int, errors: int, seconds: float | None = None) -> Arm:
    return Arm(requests=requests, errors=errors, seconds=requests / 10 if seconds is None else seconds, error_seconds=0)


def idle(seconds: float, error_seconds: int) -> Arm:
    return Arm(requests=0, errors=0, seconds=seconds, error_seconds=error_seconds)


def say(
    before: Arm,
    after: Arm,
    *,
    symptom: Symptom | None = None,
    elapsed_s: float = 61,
    watched_s: float | None = None,
    connected: bool = True,
    settings: ObservationSettings = SETTINGS,
) -> Judgement:
    return judge(
        baseline=before,
        after=after,
        symptom=symptom,
        elapsed_s=elapsed_s,
        watched_s=elapsed_s if watched_s is None else watched_s,
        settings=settings,
        connected=connected,
    )


def symptom(before: int, baseline: Arm, after: int, now: Arm) -> Symptom:
    return Symptom(baseline_occurrences=before, baseline=baseline, after_occurrences=after, after=now)


# --- worse ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (served(1000, 20), served(100, 30)),
        (served(1000, 0), served(60, 12)),
        (served(50, 0), served(100, 40)),
        (served(1000, 300), served(300, 200)),
        (NOTHING, served(10, 10)),
        (idle(600, 0), idle(60, 10)),
    ],
)
@pytest.mark.parametrize("elapsed_s", [1, 61, 10_000])
def test_a_confirmed_rise_is_worse_at_any_time(before: Arm, after: Arm, elapsed_s: float) -> None:
    said = say(before, after, elapsed_s=elapsed_s)
    assert isinstance(said, Worse)
    assert said.e_value >= 2 / SETTINGS.false_rollback
    assert said.rate_after > said.tolerated > said.rate_before


def test_a_confirmed_rise_is_worse_though_the_agent_is_gone() -> None:
    assert isinstance(say(served(1000, 0), served(60, 12), connected=False), Worse)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (served(1000, 20), served(100, 2)),
        (served(1000, 20), served(100, 4)),
        (served(1000, 20), served(1000, 24)),
        (served(1000, 0), served(100, 1)),
        (served(1000, 0), served(2, 2)),
        (served(5, 0), served(5, 3)),
        (served(1000, 999), served(1000, 1000)),
        (served(0, 0), served(2, 2)),
        (NOTHING, NOTHING),
        (idle(600, 60), idle(60, 8)),
    ],
)
def test_what_chance_or_too_little_traffic_explains_is_not_worse(before: Arm, after: Arm) -> None:
    assert not isinstance(say(before, after, elapsed_s=5), Worse)


# --- well -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (served(1000, 20), served(600, 12)),
        (served(1000, 20), served(600, 0)),
        (served(1000, 0), served(30, 0)),
        (served(1000, 0), served(10_000, 20)),
        (NOTHING, served(100, 0)),
        (idle(600, 3), idle(60, 0)),
    ],
)
def test_after_the_window_no_rise_and_enough_traffic_is_well(before: Arm, after: Arm) -> None:
    assert isinstance(say(before, after), Well)


@pytest.mark.parametrize("elapsed_s", [0, 1, 59.9])
def test_before_the_window_is_over_nothing_is_well(elapsed_s: float) -> None:
    assert isinstance(say(served(10_000, 0), served(10_000, 0), elapsed_s=elapsed_s), Continue)


# --- hold -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        (served(1000, 20), NOTHING, "too few requests"),
        (served(1000, 0), served(29, 0, 3), "too few requests"),
        (served(1000, 0), idle(3600, 0), "too few requests"),
        (NOTHING, NOTHING, "too few seconds"),
        (idle(600, 0), idle(10, 0), "too few seconds"),
        (served(1000, 20), served(100, 7), "neither confirmed nor excluded"),
        (served(20, 0), served(100, 12), "too little was seen before"),
        (served(60, 0), served(1000, 60), "neither confirmed nor excluded"),
        (served(400, 3), served(4000, 60), "neither confirmed nor excluded"),
        (served(200, 0), served(10_000, 100), "too little was seen before"),
        (served(2, 1), served(1000, 300), "too little was seen before"),
        (NOTHING, served(100, 2), "nothing to compare"),
        (served(6000, 0, 600), served(50, 0, 60), "may be stuck"),
    ],
)
def test_without_enough_evidence_it_is_held(before: Arm, after: Arm, why: str) -> None:
    said = say(before, after)
    assert isinstance(said, Hold)
    assert why in said.reason


@pytest.mark.parametrize("before", [5, 10, 28])
@pytest.mark.parametrize("after", [served(1233, 97), served(12_330, 970), served(100, 8)])
def test_a_short_time_before_excuses_no_failures_though_it_does_not_speak_against_them(before: int, after: Arm) -> None:
    """Chance alone shows 0 of 28 beside 97 of 1,233 one time in nine: no reason to take back, nor to be content."""
    said = say(served(before, 0), after, settings=replace(SETTINGS, min_requests=5))
    assert isinstance(said, Hold)
    assert "too little was seen before" in said.reason
    assert isinstance(say(served(before, 0), replace(after, errors=0), settings=SETTINGS), Well)


def test_what_takes_the_place_of_a_symptom_is_excused_by_no_short_time_before_either() -> None:
    before, after = served(100, 30), served(2000, 100)
    said = say(before, after, symptom=symptom(30, before, 0, after))
    assert isinstance(said, Hold) and "taken its place" in said.reason


@pytest.mark.parametrize(("units_before", "rate"), [(100, 0.05), (1000, 0.01), (1000, 0.1)])
def test_a_harmless_change_is_seldom_held_for_its_failures(units_before: int, rate: float) -> None:
    """Of 400 at most a quarter, where the time before is long enough to have shown that rate."""
    chance = random.Random(20260110)
    held = 0
    for _ in range(400):
        before = served(units_before, _failures(chance, units_before, rate))
        held += isinstance(say(before, served(1000, _failures(chance, 1000, rate), units_before / 10)), Hold)
    assert held <= 100


def test_an_agent_that_is_gone_is_never_well() -> None:
    assert isinstance(say(served(1000, 0), served(1000, 0), connected=False), Hold)
    assert isinstance(say(served(1000, 0), served(1000, 0), connected=False, elapsed_s=1), Continue)


# --- the symptom ------------------------------------------------------------------------------------


def test_a_fix_is_well_when_its_symptom_is_gone() -> None:
    before, after = served(1000, 50), served(200, 0)
    assert isinstance(say(before, after, symptom=symptom(50, before, 0, after)), Well)


def test_a_fix_is_well_when_its_symptom_is_confirmed_rarer() -> None:
    before, after = served(1000, 200), served(1000, 20)
    said = say(before, after, symptom=symptom(200, before, 20, after))
    assert isinstance(said, Well)
    assert "rarer" in said.reason


@pytest.mark.parametrize(
    ("before", "known", "after", "seen"),
    [
        (served(1000, 50), 50, served(1000, 50), 50),  # nothing changed
        (served(1000, 50), 50, served(1000, 45), 45),  # not confirmed rarer
        (served(1000, 3), 3, served(100, 0), 0),  # too rare to say so yet
        (served(1000, 0), 0, served(1000, 0), 0),  # was never seen
        (NOTHING, 5, served(1000, 0), 0),  # seen, nobody knows among how many
        (served(1000, 50), 50, served(1000, 50), 0),  # gone, and another has taken its place
        (served(1000, 50), 50, served(1000, 60), 1),
    ],
)
def test_a_fix_whose_symptom_is_not_confirmed_gone_is_held(before: Arm, known: int, after: Arm, seen: int) -> None:
    assert isinstance(say(before, after, symptom=symptom(known, before, seen, after)), Hold)


def test_a_fix_that_makes_things_worse_is_worse_though_its_symptom_is_gone() -> None:
    before, after = served(1000, 50), served(200, 80)
    assert isinstance(say(before, after, symptom=symptom(50, before, 0, after)), Worse)


def test_a_symptom_that_failed_no_requests_does_not_stand_for_their_failures() -> None:
    before, after = served(1000, 20), served(1000, 20)
    assert isinstance(say(before, after, symptom=symptom(300, before, 0, after)), Well)


def test_the_number_of_units_that_makes_a_symptom_gone_is_told_and_right() -> None:
    before = served(400, 40)
    needed = judge_symptom(symptom(40, before, 0, served(1, 0))).units_needed
    assert not judge_symptom(symptom(40, before, 0, served(needed - 1, 0))).gone
    assert judge_symptom(symptom(40, before, 0, served(needed, 0))).gone
    assert needed == 32


@pytest.mark.parametrize("seen", [1, 2, 40])
def test_a_symptom_that_occurred_after_the_change_is_never_called_gone(seen: int) -> None:
    assert not judge_symptom(symptom(40, served(400, 40), seen, served(100_000, 40))).gone


@pytest.mark.parametrize(("known", "before"), [(0, served(400, 0)), (3, NOTHING)])
def test_a_symptom_nobody_saw_before_cannot_be_gone(known: int, before: Arm) -> None:
    verdict = judge_symptom(symptom(known, before, 0, served(10_000, 0)))
    assert not verdict.gone
    assert (verdict.units_needed, verdict.chance) == (0, 1.0)


def test_without_requests_the_symptom_is_counted_by_seconds() -> None:
    assert judge_symptom(symptom(60, idle(600, 60), 0, idle(60, 0))).gone
    assert not judge_symptom(symptom(60, idle(600, 60), 0, idle(10, 0))).gone


# --- ticks ------------------------------------------------------------------------------------------


def tick(requests: int = 0, errors: int = 0, logged: int = 0, length_s: float = 1) -> VitalsTick:
    route = RouteVitals(requests=requests, errors=errors, latency_ms_sum=0, latency_ms_buckets=(0,) * 14)
    start = NOW - timedelta(seconds=length_s)
    return VitalsTick(process_id="p", start=start, end=NOW, routes={"/": route}, errors_logged=logged)


def test_ticks_add_up_to_an_arm() -> None:
    ticks = [tick(10, 2, 5), tick(5, 0, 1), tick(5), tick(0, 0, 3, length_s=60), tick(0, 0, 90, length_s=60)]
    other = replace(tick(0, 0, 1), process_id="q", serves=True)
    one = Arm(requests=20, errors=2, seconds=123, error_seconds=1 + 1 + 3 + 60)
    two = Arm(requests=0, errors=0, seconds=1, error_seconds=1, serves=True)
    assert arm_of([*ticks, other]) == Arm(
        requests=20, errors=2, seconds=124, error_seconds=66, serves=True, parts={"p": one, "q": two}
    )
    assert arm_of([]) == NOTHING


# --- measured ---------------------------------------------------------------------------------------


def _failures(chance: random.Random, units: int, rate: float) -> int:
    return sum(chance.random() < rate for _ in range(units))


@pytest.mark.parametrize(("units_before", "rate"), [(20, 0.05), (100, 0.3), (1000, 0.02)])
def test_a_harmless_change_that_is_looked_at_a_hundred_times_is_kept(units_before: int, rate: float) -> None:
    """At alpha 5 %, of 200 harmless changes at most 10 may be taken back; the bounds are loose, so fewer are."""
    settings = replace(SETTINGS, false_rollback=0.05)
    chance = random.Random(20260110)
    taken_back = 0
    for _ in range(200):
        before = served(units_before, _failures(chance, units_before, rate))
        after = served(0, 0)
        for _ in range(100):
            after = served(after.requests + 5, after.errors + _failures(chance, 5, rate))
            if isinstance(say(before, after, elapsed_s=1, settings=settings), Worse):
                taken_back += 1
                break
    assert taken_back <= 10


@pytest.mark.parametrize(
    ("units_before", "rate_before", "rate_after", "median"),
    [(1000, 0.02, 0.2, 60), (200, 0.02, 0.2, 120), (1000, 0.0, 0.05, 130)],
)
def test_a_harmful_change_is_found_within_so_many_requests(
    units_before: int, rate_before: float, rate_after: float, median: int
) -> None:
    chance = random.Random(20260110)
    needed = []
    for _ in range(40):
        before = served(units_before, _failures(chance, units_before, rate_before))
        after = served(0, 0)
        while not isinstance(say(before, after, elapsed_s=1), Worse):
            after = served(after.requests + 1, after.errors + (chance.random() < rate_after))
        needed.append(after.requests)
    assert statistics.median(needed) <= median


def test_a_symptom_that_is_still_there_is_rarely_called_gone() -> None:
    """However often it is asked: at most 5 % of 400."""
    chance = random.Random(20260110)
    fooled = 0
    for _ in range(400):
        known = _failures(chance, 500, 0.02)
        baseline = served(500, known)
        for n in range(1, 400):
            if chance.random() < 0.02:
                break
            if judge_symptom(symptom(known, baseline, 0, served(n, 0))).gone:
                fooled += 1
                break
    assert fooled <= 20


def test_what_no_agent_vouches_for_decides_nothing() -> None:
    route = RouteVitals(requests=100, errors=100, latency_ms_sum=1.0, latency_ms_buckets=())
    tick = VitalsTick(
        process_id="otlp:p-1", start=NOW, end=NOW + timedelta(seconds=1), routes={"/": route}, errors_logged=100
    )
    assert arm_of([tick]) == NOTHING
    assert arm_of([replace(tick, process_id="p-1")]).errors == 100


def _tick(start_s: float, end_s: float, process: str = "p-1") -> VitalsTick:
    start, end = NOW + timedelta(seconds=start_s), NOW + timedelta(seconds=end_s)
    return VitalsTick(process_id=process, start=start, end=end, routes={}, errors_logged=0)


@pytest.mark.parametrize(
    ("ticks", "watched_s"),
    [
        ([], 0),
        ([_tick(0, 1), _tick(1, 2)], 2),
        ([_tick(1, 2), _tick(0, 1)], 2),
        ([_tick(0, 1), _tick(0.5, 1.5, "p-2")], 1.5),
        ([_tick(0, 9), _tick(2, 3, "p-2"), _tick(4, 10, "p-2")], 10),
        ([_tick(0, 1), _tick(3600, 3601)], 2),
        ([_tick(5, 4)], 0),
        ([_tick(0, 1, "otlp:p-1")], 0),
    ],
)
def test_time_counts_as_watched_once_and_only_when_an_agent_was_there(
    ticks: list[VitalsTick], watched_s: float
) -> None:
    assert watched_time_s(ticks) == watched_s


@pytest.mark.parametrize("watched_s", [0, 1, 53.9])
def test_a_window_that_was_not_watched_did_not_pass_well(watched_s: float) -> None:
    said = say(served(1000, 0), served(600, 0), elapsed_s=3600, watched_s=watched_s)
    assert isinstance(said, Hold) and "were watched" in said.reason
    assert isinstance(say(served(1000, 0), served(600, 0), elapsed_s=3600, watched_s=54), Well)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (replace(idle(60, 0), serves=True), idle(60, 0)),
        (idle(60, 0), replace(idle(60, 0), serves=True)),
        (NOTHING, replace(idle(600, 0), serves=True)),
    ],
)
def test_quiet_seconds_of_a_service_are_no_evidence_though_nobody_ever_asked_it(before: Arm, after: Arm) -> None:
    assert isinstance(say(idle(60, 0), idle(60, 0)), Well), "a worker has nothing but its seconds"
    said = say(before, after)
    assert isinstance(said, Hold)
    assert "too few requests" in said.reason and "waits for requests" in said.reason
    assert isinstance(say(before, replace(served(100, 0), serves=True)), Well), "requests settle it"


def test_the_symptom_of_a_service_that_nobody_asks_is_not_called_gone() -> None:
    before, after = replace(idle(600, 60), serves=True), replace(idle(600, 0), serves=True)
    assert not judge_symptom(symptom(60, before, 0, after)).gone


# --- several processes ------------------------------------------------------------------------------


def together(**parts: Arm) -> Arm:
    return replace(
        Arm(
            requests=sum(part.requests for part in parts.values()),
            errors=sum(part.errors for part in parts.values()),
            seconds=sum(part.seconds for part in parts.values()),
            error_seconds=sum(part.error_seconds for part in parts.values()),
        ),
        parts=parts,
    )


def pool(seconds: float, error_seconds: int, *, idle_ones: int = 30, name: str = "worker") -> Arm:
    return together(**{name: idle(seconds, error_seconds)}, **{f"idle{n}": idle(seconds, 0) for n in range(idle_ones)})


def test_idle_processes_do_not_hide_the_worker_that_fails() -> None:
    before, after = pool(600, 0, idle_ones=99), pool(60, 15, idle_ones=99)
    assert not isinstance(say(replace(before, parts={}), replace(after, parts={})), Worse), "it is hidden in the sum"
    said = say(before, after)
    assert isinstance(said, Worse)
    assert "in one of 100 processes 15 of 60 seconds failed, 0 of 600 before" in said.reason


def test_a_worker_that_failed_as_often_before_is_not_blamed_on_the_change() -> None:
    assert isinstance(say(pool(600, 60), pool(60, 7)), Well)


def test_a_new_worker_is_compared_with_the_worst_of_its_kind() -> None:
    assert not isinstance(say(pool(600, 60), pool(60, 7, name="next")), Worse)
    said = say(pool(600, 0), pool(60, 20, name="next"))
    assert isinstance(said, Worse) and "not there before" in said.reason


def test_a_worker_beside_a_service_is_judged_by_its_own_seconds() -> None:
    before = together(web=served(6000, 0, 600), worker=idle(600, 0))
    said = say(before, together(web=served(600, 0, 60), worker=idle(60, 30)))
    assert isinstance(said, Worse)
    assert "in one of 2 processes 30 of 60 seconds failed" in said.reason
    assert isinstance(say(before, together(web=served(600, 0, 60), worker=idle(60, 0))), Well)


def test_a_rise_in_one_process_that_is_not_confirmed_is_held() -> None:
    before = together(web=served(6000, 0, 600), worker=idle(600, 0))
    said = say(before, together(web=served(600, 0, 60), worker=idle(60, 5)))
    assert isinstance(said, Hold) and "in one process" in said.reason


@pytest.mark.parametrize(("workers", "rate"), [(2, 0.05), (8, 0.2)])
def test_harmless_changes_to_many_processes_are_kept_however_often_they_are_looked_at(
    workers: int, rate: float
) -> None:
    """At alpha 5 %, of 100 at most 5 may be taken back, half of the processes being new ones."""
    settings = replace(SETTINGS, false_rollback=0.05)
    chance = random.Random(20260110)
    taken_back = 0
    for _ in range(100):
        before = together(**{f"p{n}": idle(200, _failures(chance, 200, rate)) for n in range(workers)})
        failed = dict.fromkeys(range(workers), 0)
        for look in range(1, 31):
            failed = {n: known + _failures(chance, 10, rate) for n, known in failed.items()}
            names = {n: f"p{n}" if n % 2 else f"new{n}" for n in range(workers)}
            after = together(**{names[n]: idle(10 * look, known) for n, known in failed.items()})
            if isinstance(say(before, after, elapsed_s=1, settings=settings), Worse):
                taken_back += 1
                break
    assert taken_back <= 5
