"""The judge on simulated services, a seeded share: `python -m bench canary` runs thousands (docs/CANARY.md)."""

import itertools
import statistics

import pytest

from homeostat.rollout.canary import Inconclusive, Promote, Rollback
from homeostat.rollout.sequential import chance_of_at_most
from homeostat.testing.services import Harm, Kind, play, service

HARMLESS = tuple(kind for kind in Kind if kind not in (Kind.KEYED_REQUESTS, Kind.OWN_BURSTS, Kind.SILENT))


def test_a_seed_is_one_stream_and_another_seed_another() -> None:
    for kind in Kind:
        first, again = (list(itertools.islice(service(kind, seed=3, units=20), 8)) for _ in range(2))
        assert first == again
        other = list(itertools.islice(service(kind, seed=4, units=20), 8))
        assert (first == other) == (kind is Kind.SILENT)


def test_harmless_changes_are_taken_back_no_more_often_than_chance_allows() -> None:
    """Ten of each kind, forty looks: so many that chance at 1 % exceeds it once in a million times are too many."""
    runs = [
        play(service(kind, seed=seed, units=30, share=0.3), ticks=40, promote=False)
        for kind in HARMLESS
        for seed in range(10)
    ]
    taken_back = sum(isinstance(run.verdict, Rollback) for run in runs)
    allowed = next(k for k in itertools.count() if chance_of_at_most(k, len(runs), rate=0.01) > 1 - 1e-6)
    assert taken_back <= allowed


def test_errors_from_one_to_five_in_a_hundred_are_caught_in_a_median_of_450_requests_an_arm() -> None:
    """Latencies are counted as well, so that all tests are on."""
    runs = [
        play(service(Kind.STEADY, seed=seed, units=20, share=0.5, harm=Harm(errors=0.04)), ticks=200)
        for seed in range(40)
    ]
    assert sum(isinstance(run.verdict, Rollback) for run in runs) >= 38
    assert statistics.median(run.canary_units for run in runs) <= 450


@pytest.mark.parametrize(
    "harm",
    [Harm(slower=2), Harm(tail=0.2), Harm(split=3), Harm(errors=0.3, from_tick=20), Harm(slower=4, grows_over=60)],
)
def test_a_great_harm_is_taken_back_whatever_it_is(harm: Harm) -> None:
    run = play(service(Kind.STEADY, seed=1, harm=harm), ticks=150, promote=False)
    assert isinstance(run.verdict, Rollback)


@pytest.mark.parametrize("kind", [Kind.BURSTY, Kind.DRIFTING, Kind.HEAVY_TAILED, Kind.USERS, Kind.KEYED_USERS])
def test_a_great_harm_is_taken_back_in_any_weather(kind: Kind) -> None:
    run = play(service(kind, seed=2, harm=Harm(errors=0.3)), ticks=150)
    assert isinstance(run.verdict, Rollback)


def test_a_harm_that_both_arms_suffer_alike_cannot_be_seen() -> None:
    """The judge compares; whether the service as a whole is well is not its question."""
    run = play(service(Kind.STEADY, seed=3, harm=Harm(errors=0.3, leaks=1)), ticks=100)
    assert not isinstance(run.verdict, Rollback)


def test_a_harmless_change_is_promoted_and_without_traffic_nothing_is() -> None:
    assert isinstance(play(service(Kind.STEADY, seed=4), ticks=300).verdict, Promote)
    assert isinstance(play(service(Kind.SILENT, seed=4), ticks=300).verdict, Inconclusive)
