"""Which functions run on copies first, and what follows from what was found there."""

from dataclasses import replace
from datetime import timedelta

import pytest
from builders import modify, tree

from homeostat.model.canary import CanaryStage, Shadowed, ShadowOutcome, ShadowTick
from homeostat.model.settings import CanarySettings, Reaction
from homeostat.rollout.course import Ask, GiveBack, Judging, Pass, Wait, Widen, plan_after_shadow, plan_course
from homeostat.rollout.live import plan_change
from homeostat.rollout.shadow import ShadowTally, plan_shadow, rate_of_difference, say_what_was_found
from homeostat.testing.example_rows import START, example_canary_tick, example_shadow_tick

O = ShadowOutcome  # noqa: E741
NAME = "shop.py:price"
OLD = """
def price(x):
    def rounded(y):
        return y
    return rounded(x)
def numbers(x):
    if x:
        yield x
def lines(x):
    def inner():
        yield x
    return [*inner(), lambda: (yield x)]
class Cart:
    def total(self):
        return 1
    async def later(self):
        return 1
"""
NEW = (
    OLD.replace("return y", "return -y")
    .replace("return 1", "return 2")
    .replace("  yield x\ndef", "  yield -x\ndef")
    .replace("[*", "[1, *")
)
PURE = CanarySettings(pure=("shop.py:*",), steps=(10, 50), step_s=5.0, max_s=600.0)


def planned(*pure, old=OLD, new=NEW, path="shop.py"):
    change = tree(modify(path, old, new))
    return plan_shadow(change, plan_change(change), replace(PURE, pure=pure))


def tally(**found):
    made = ShadowTally()
    made.add(ShadowTick(calls={Shadowed(function=NAME, outcome=O(name)): count for name, count in found.items()}))
    return made


def course(*, after_s=60.0, settings=PURE, **found):
    stage = CanaryStage(began_at=START, percent=0, shadowed=(NAME,))
    return plan_after_shadow(stage, tally(**found), now=START + timedelta(seconds=after_s), settings=settings)


def test_nothing_is_shadowed_that_nobody_declared_pure():
    assert planned().functions == ()
    assert planned("other.py:*", "shop.py:prices", "price", "*/shop.py:price").functions == ()


@pytest.mark.parametrize(
    ("pure", "functions"),
    [
        (("shop.py:Cart.total", "shop.py:Cart.total"), {"Cart.total"}),
        (("*:Cart.*",), {"Cart.total", "Cart.later"}),
        (("shop.py:lines",), {"lines"}),
    ],
)
def test_those_are_shadowed_that_are_declared_and_change(pure, functions):
    found = planned(*pure)
    assert set(found.functions) <= {f"shop.py:{name}" for name in functions}
    assert len(found.functions) == len(set(found.functions)) > 0
    assert not found.left_out


def test_a_generator_is_not_compared_and_the_plan_says_why():
    found = planned("shop.py:numbers", "shop.py:Cart.total")
    assert found.functions == ("shop.py:Cart.total",)
    assert list(found.left_out) == ["shop.py:numbers"] and "generator" in found.left_out["shop.py:numbers"]


@pytest.mark.parametrize("pure", ["shop.py:price", "shop.py:price.<locals>.*", "*"])
def test_a_function_inside_of_another_shares_its_variables_and_is_not_compared(pure):
    found = planned(pure)
    assert "shop.py:price.<locals>.rounded" in found.left_out
    assert not any("price" in name for name in found.functions)


@pytest.mark.parametrize("side", ["old", "new"])
def test_what_sets_names_of_its_module_is_not_pure_whatever_was_declared(side):
    sources = {"old": "def f():\n    return 1\n", "new": "def f():\n    return 2\n"}
    sources[side] = sources[side].replace("    return", "    global seen\n    seen = 1\n    return")
    found = planned("shop.py:f", **sources)
    assert (found.functions, list(found.left_out)) == ((), ["shop.py:f"])


def test_a_module_that_needs_a_restart_has_nothing_shadowed():
    assert planned("shop.py:*", new="import os\nprint(os)\n" + NEW).functions == ()
    assert planned("shop.py:*", new="def (").functions == ()


def test_no_call_is_no_pass_and_in_the_end_a_person_is_asked():
    assert isinstance(course(), Wait)
    assert isinstance(course(after_s=601), Ask)
    open_ones = {"not_copied": 500, "not_comparable": 500, "unrepeatable": 500, "skipped": 10_000, "interrupted": 9}
    assert isinstance(course(**open_ones), Wait)
    asked = course(after_s=601, **open_ones)
    assert isinstance(asked, Ask) and "no call was compared" in asked.reason and "not copied" in asked.reason


def test_what_was_the_same_often_enough_and_long_enough_has_the_first_share():
    assert isinstance(course(same=99), Wait)
    assert isinstance(course(same=100, after_s=4), Wait)
    widened = course(same=100)
    assert isinstance(widened, Widen) and widened.percent == 10
    assert "0 of 100 calls differ (0.0% to 3.6%, 95 % sure)" in widened.reason


def test_where_shares_were_set_to_none_meanwhile_all_calls_have_it_next():
    assert isinstance(course(settings=replace(PURE, steps=()), same=100), Pass)


@pytest.mark.parametrize("outcome", ["result", "arguments", "returned", "raised_otherwise"])
def test_a_difference_holds_and_asks_unless_the_settings_say_otherwise(outcome):
    found = {"same": 500, outcome: 1}
    asked = course(**found)
    assert isinstance(asked, Ask) and "1 of 501 calls differ" in asked.reason and NAME in asked.reason
    assert isinstance(course(settings=replace(PURE, shadow_differs=Reaction.GO_ON), **found), Widen)
    assert isinstance(course(settings=replace(PURE, shadow_differs=Reaction.TAKE_BACK), **found), GiveBack)


def test_new_code_that_raises_is_taken_back_unless_the_settings_say_otherwise():
    found = {"same": 500, "raised": 1, "result": 2}
    assert isinstance(course(**found), GiveBack)
    assert isinstance(course(settings=replace(PURE, shadow_raises=Reaction.ASK), **found), Ask)
    both = replace(PURE, shadow_raises=Reaction.GO_ON, shadow_differs=Reaction.GO_ON)
    assert isinstance(course(settings=both, **found), Widen)
    assert isinstance(course(settings=replace(both, shadow_differs=Reaction.ASK), **found), Ask)


def test_what_does_not_end_is_asked_about_whatever_the_settings_say():
    lenient = replace(PURE, shadow_raises=Reaction.GO_ON, shadow_differs=Reaction.GO_ON)
    assert isinstance(course(settings=lenient, same=500, unfinished=1), Ask)


def test_the_bounds_of_the_rate_are_those_of_clopper_and_pearson():
    low, high = rate_of_difference(tally(same=90, result=10))
    assert (round(low, 4), round(high, 4)) == (0.0490, 0.1762)
    assert rate_of_difference(tally()) == (0.0, 1.0)


def test_what_is_said_names_the_commonest_kinds_and_how_many_more_there_are():
    made = tally(same=10)
    for number in range(5):
        made.add(ShadowTick(calls={Shadowed(function=NAME, outcome=O.RAISED, difference=f"E{number}"): number + 1}))
    said = say_what_was_found(made)
    assert said.index("(E4)") < said.index("(E2)")
    assert "(E1)" not in said and "and 2 kinds more" in said


def test_ticks_of_that_time_say_nothing_to_the_judge_of_the_arms():
    judging, alone = Judging(PURE), Judging(PURE)
    for second in range(1, 5):
        tick = example_canary_tick(float(second), percent=0, failed=9, shadow=example_shadow_tick())
        judging.feed(tick)
    assert judging.verdict == alone.verdict
    assert judging.processes == {tick.process_id}
    assert (judging.shadow.compared, judging.shadow.control_s) == (4 * 42, 1.0)
    for second in range(5, 60):
        for each in (judging, alone):
            each.feed(example_canary_tick(float(second)))
    stage = CanaryStage(began_at=START, percent=10)
    now = START + timedelta(seconds=60)
    assert judging.verdict == alone.verdict
    assert plan_course(stage, judging.verdict, now=now, settings=PURE) == plan_course(
        stage, alone.verdict, now=now, settings=PURE
    )
