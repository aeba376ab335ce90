"""Many seeds of the simulation: whatever happens in whichever order, nothing is lost and nothing left half done.

What it was seen to find is written down in README.md beside this file.
"""

import logging
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import pytest

from homeostat.testing.simulation.run import simulate

HOURS = 0.1
BATCH = 10
IN_MAKE_TEST = 20
IN_MAKE_SOAK = 3000


@pytest.fixture(autouse=True)
def quiet():
    """The trace says it all; what the flows log of every injected fault would only hide it."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def play(first, count, hours):
    seen = Counter()
    for seed in range(first, first + count):
        outcome = simulate(seed, hours=hours)
        assert not outcome.wrong, outcome.report()
        seen.update(outcome.states)
    return seen


@pytest.mark.parametrize("first", range(0, IN_MAKE_TEST, BATCH))
def test_a_run_ends_with_nothing_lost_and_nothing_half_done(first):
    play(first, BATCH, HOURS)


@pytest.mark.matrix
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("first", range(1000, 1000 + IN_MAKE_SOAK, 100))
def test_thousands_of_runs_end_with_nothing_lost_and_nothing_half_done(first):
    play(first, 100, 0.25)


def test_the_runs_get_far_enough_to_mean_something():
    """Changes are applied, taken back and refused in them, and hubs die."""
    seen, hubs = Counter(), 0
    for seed in (20, 47, 51, 5):
        outcome = simulate(seed, hours=0.25)
        seen.update(outcome.states)
        hubs += outcome.hubs
    assert {"implemented", "reverted", "rejected"} <= set(seen), seen
    assert hubs > 8


def test_the_same_seed_plays_the_same_run_in_another_process():
    script = (
        "import logging; logging.disable(50)\n"
        "from homeostat.testing.simulation.run import simulate\n"
        "print(simulate(7, hours=0.1).digest)"
    )
    digests = set()
    for hash_seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        done = subprocess.run(
            [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True, timeout=100
        )
        digests.add(done.stdout.strip())
    assert digests == {simulate(7, hours=0.1).digest}
    assert digests != {simulate(8, hours=0.1).digest}


def test_a_run_that_fails_says_how_to_see_it_again():
    report = replace(simulate(3, hours=0.01), wrong=("something is lost",)).report()
    assert "WRONG: something is lost" in report
    assert "python -m homeostat.testing.simulation --seed 3 --hours 0.01" in report
