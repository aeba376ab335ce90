"""The judge says what two arms show, in words that name it, and never takes silence for health."""

import random
from collections.abc import Iterator

import pytest
from arch.source import ROOT

from homeostat.core.errors import InvalidInput
from homeostat.rollout.canary import (
    ArmTick,
    CanaryJudge,
    CanaryTick,
    CanaryVerdict,
    Continue,
    Inconclusive,
    JudgeSettings,
    Promote,
    Quantile,
    Rollback,
    arm_tick,
)


def arm(rng: random.Random, units: int, rate: float, *, slower: float = 1.0, kind: str = "KeyError") -> ArmTick:
    return arm_tick(
        failures={kind: sum(rng.random() < rate for _ in range(units))},
        latencies_s=[rng.lognormvariate(-3, 0.5) * slower for _ in range(units)],
    )


def until_decided(judge: CanaryJudge, ticks: Iterator[CanaryTick], most: int = 400) -> CanaryVerdict:
    for tick, _ in zip(ticks, range(most), strict=False):
        if isinstance(judge.feed(tick), Rollback | Promote):
            break
    return judge.verdict


def service(
    seed: int, *, rate: float = 0.01, canary_rate: float = 0.01, share: float = 0.1, units: int = 200, slower: float = 1
) -> Iterator[CanaryTick]:
    rng, ours = random.Random(seed), round(units * share)
    while True:
        yield CanaryTick(
            control=arm(rng, units - ours, rate), canary=arm(rng, ours, canary_rate, slower=slower), share=share
        )


def test_the_example_of_the_docs_says_what_the_docs_say_that_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    page = (ROOT / "docs" / "CANARY.md").read_text(encoding="utf-8")
    code = page.partition("```python\n")[2].partition("```")[0]
    exec(code, {})
    said = capsys.readouterr().out.strip()
    assert said.startswith("more failures") and f"*{said}*" in " ".join(page.split())


def test_a_harmless_change_is_promoted() -> None:
    said = until_decided(CanaryJudge(), service(1))
    assert isinstance(said, Promote)
    assert said.evidence.rise_at_most is not None and said.evidence.rise_at_most <= 0.01
    assert min(said.evidence.within_margin.values()) >= 20


def test_a_change_that_fails_more_often_is_taken_back() -> None:
    said = until_decided(CanaryJudge(), service(2, canary_rate=0.05))
    assert isinstance(said, Rollback)
    assert "more failures" in said.reason and said.evidence.against >= 100


def test_a_slower_change_is_taken_back_with_both_latencies_in_words() -> None:
    said = until_decided(CanaryJudge(), service(3, slower=1.5))
    assert isinstance(said, Rollback)
    assert "slower at p" in said.reason and "ms with the change" in said.reason


def test_a_change_that_is_slower_by_less_than_is_tolerated_is_promoted() -> None:
    assert isinstance(until_decided(CanaryJudge(), service(4, slower=1.05)), Promote)


def test_a_faster_change_is_promoted() -> None:
    """Neither quantiles nor spread take an improvement for a harm."""
    assert isinstance(until_decided(CanaryJudge(), service(5, slower=0.5)), Promote)


def test_a_change_that_makes_two_modes_of_one_is_spread() -> None:
    """The upper quantiles are told to tolerate it, so that only spread can see it."""
    rng = random.Random(6)
    settings = JudgeSettings(quantiles=(Quantile(at=0.5, tolerated=1.1, margin=1.25),))
    judge = CanaryJudge(settings)
    for _ in range(400):
        split = [rng.lognormvariate(-3, 0.2) * rng.choice((0.5, 1.6)) for _ in range(20)]
        control = arm_tick(latencies_s=[rng.lognormvariate(-3, 0.2) for _ in range(180)])
        if isinstance(judge.observe(control=control, canary=arm_tick(latencies_s=split)), Rollback):
            break
    assert isinstance(judge.verdict, Rollback) and "spread" in judge.verdict.reason


def test_a_rollback_once_said_stays_said() -> None:
    judge = CanaryJudge()
    first = until_decided(judge, service(7, canary_rate=0.3))
    later = until_decided(judge, service(8, canary_rate=0.0), most=1000)
    assert isinstance(later, Rollback) and later.reason == first.reason


def test_no_two_ticks_take_a_change_back_however_bad_they_are() -> None:
    judge = CanaryJudge()
    bad = CanaryTick(control=arm_tick(units=900), canary=arm_tick(units=100, failures=100))
    assert not isinstance(judge.feed(bad), Rollback)
    assert not isinstance(judge.feed(bad), Rollback)
    assert isinstance(judge.feed(bad), Rollback)


def test_a_rise_that_is_sure_and_practically_nothing_is_not_taken_back() -> None:
    """2.2 % against 1.8 % of a million requests is beyond chance, and below what is felt."""
    judge = CanaryJudge()
    for _ in range(100):
        said = judge.observe(
            control=arm_tick(units=5000, failures=90), canary=arm_tick(units=5000, failures=110), share=0.5
        )
    assert said.evidence.errors > 100
    assert isinstance(said, Promote)


def test_fewer_failures_than_count_are_not_taken_back() -> None:
    judge = CanaryJudge(JudgeSettings(least_failures=20))
    for _ in range(19):
        said = judge.observe(control=arm_tick(units=90), canary=arm_tick(units=10, failures=1))
        assert not isinstance(said, Rollback)
    assert isinstance(judge.observe(control=arm_tick(units=90), canary=arm_tick(units=10, failures=1)), Rollback)


def test_harm_that_begins_late_is_seen() -> None:
    well, bad = service(9), service(10, canary_rate=0.3)
    judge = CanaryJudge.replay(next(well) for _ in range(100))
    for _ in range(10):
        judge.feed(next(bad))
    assert isinstance(judge.verdict, Rollback)


def test_what_both_arms_suffer_is_no_harm_of_the_change() -> None:
    rng, judge = random.Random(11), CanaryJudge()
    for second in range(300):
        rate = 0.4 if second % 10 < 3 else 0.01
        slower = 20.0 if second % 10 < 3 else 1.0
        judge.observe(control=arm(rng, 90, rate, slower=slower), canary=arm(rng, 10, rate, slower=slower), share=0.1)
        assert not isinstance(judge.verdict, Rollback)


def test_a_new_share_is_a_new_step_that_must_be_shown_anew() -> None:
    judge = CanaryJudge()
    assert isinstance(until_decided(judge, service(12)), Promote)
    half = service(13, share=0.5)
    said = judge.feed(next(half))
    assert isinstance(said, Continue) and "in this step" in said.reason
    assert isinstance(until_decided(judge, half), Promote)


def test_evidence_of_harm_is_kept_over_a_new_step() -> None:
    judge = CanaryJudge()
    for _ in range(20):
        said = judge.observe(control=arm_tick(units=90), canary=arm_tick(units=10, failures=1), share=0.1)
        if said.evidence.against > 10:
            break
    before = said.evidence.errors
    quiet = judge.observe(control=arm_tick(units=50), canary=arm_tick(units=50), share=0.5)
    assert quiet.evidence.errors == before


def test_silence_is_inconclusive_and_ends_with_the_first_unit() -> None:
    judge = CanaryJudge()
    for _ in range(59):
        assert isinstance(judge.observe(control=ArmTick(), canary=ArmTick()), Continue)
    said = judge.observe(control=ArmTick(), canary=ArmTick())
    assert isinstance(said, Inconclusive) and "silence is no evidence" in said.reason
    assert isinstance(judge.observe(control=arm_tick(units=2), canary=arm_tick(units=1)), Continue)


@pytest.mark.parametrize("share", [None, 0.1])
def test_an_arm_that_has_no_units_any_more_is_inconclusive(share: float | None) -> None:
    judge = CanaryJudge()
    for _ in range(50):
        judge.observe(control=arm_tick(units=90), canary=arm_tick(units=10), share=share)
    judge.observe(control=arm_tick(units=90), canary=ArmTick(), share=share)
    said = judge.observe(control=arm_tick(units=10), canary=ArmTick(), share=share)
    assert isinstance(said, Inconclusive) and "no unit with the change" in said.reason


def test_an_arm_that_never_had_a_unit_is_inconclusive_for_either_arm() -> None:
    many, none = arm_tick(units=500), ArmTick()
    for control, canary, word in ((many, none, "no unit with the"), (none, many, "no unit without")):
        said = CanaryJudge().observe(control=control, canary=canary)
        assert isinstance(said, Inconclusive) and word in said.reason


def test_arms_that_are_not_of_the_planned_size_are_not_promoted() -> None:
    """A canary that hangs answers fewer requests than it was given."""
    rng, judge = random.Random(14), CanaryJudge()
    for _ in range(200):
        said = judge.observe(control=arm(rng, 95, 0.01), canary=arm(rng, 5, 0.01), share=0.1)
        assert not isinstance(said, Promote)
    assert isinstance(said, Inconclusive) and "5.0% of the units where 10.0% were planned" in said.reason


def test_arms_that_are_drawn_as_planned_are_no_mismatch() -> None:
    rng, judge = random.Random(15), CanaryJudge()
    for _ in range(300):
        ours = sum(rng.random() < 0.1 for _ in range(100))
        said = judge.observe(control=arm(rng, 100 - ours, 0.01), canary=arm(rng, ours, 0.01), share=0.1)
    assert not isinstance(said, Inconclusive)


def test_the_horizon_without_either_is_inconclusive() -> None:
    judge = CanaryJudge(JudgeSettings(horizon_s=30))
    ticks = service(16, units=20, share=0.5)
    verdicts = [judge.feed(next(ticks)) for _ in range(31)]
    assert all(isinstance(said, Continue) for said in verdicts[:29])
    assert isinstance(verdicts[30], Inconclusive) and "neither harm nor its absence" in verdicts[30].reason


def test_a_tick_may_be_one_unit() -> None:
    """Small ticks are judged together, so that one arm's tick is not without the other's."""
    rng, judge = random.Random(17), CanaryJudge()
    for _ in range(4000):
        one, ours = arm(rng, 1, 0.05 if (ours := rng.random() < 0.1) else 0.005), ours
        judge.observe(control=ArmTick() if ours else one, canary=one if ours else ArmTick(), share=0.1)
        if isinstance(judge.verdict, Rollback):
            break
    assert isinstance(judge.verdict, Rollback)


def test_a_key_that_fails_many_times_counts_once() -> None:
    """A broken user of the canary is one failure; as many broken users as it has failures are a harm."""
    judge = CanaryJudge()
    judge.observe(
        control=ArmTick(units=500, at_risk=500), canary=ArmTick(units=500, failures={"KeyError": 1}, at_risk=500)
    )
    quiet = judge.observe(control=ArmTick(at_risk=500), canary=ArmTick(at_risk=499))
    assert quiet.evidence.errors < 3
    for still in range(499, 450, -1):
        said = judge.observe(
            control=ArmTick(at_risk=500), canary=ArmTick(failures={"KeyError": 1}, at_risk=still), share=0.5
        )
    assert isinstance(said, Rollback)


def test_nothing_is_promoted_by_counts_of_keys_that_may_still_fail() -> None:
    judge = CanaryJudge()
    for tick in range(100):
        risk = 100 * (tick + 1)
        said = judge.observe(control=ArmTick(units=100, at_risk=risk), canary=ArmTick(units=100, at_risk=risk))
    assert isinstance(said, Continue) and "failures" in said.reason


def test_keys_that_count_with_their_first_request_are_units_like_others() -> None:
    judge = CanaryJudge()
    for _ in range(100):
        said = judge.observe(control=ArmTick(units=100), canary=ArmTick(units=100))
    assert isinstance(said, Promote)


def test_without_latencies_a_promotion_says_that_nothing_is_known_of_them() -> None:
    judge = CanaryJudge()
    for _ in range(50):
        said = judge.observe(control=arm_tick(units=200), canary=arm_tick(units=200))
        if isinstance(said, Promote):
            break
    assert isinstance(said, Promote) and "latencies were not counted" in said.reason


def test_a_canary_without_latencies_beside_a_control_with_them_is_not_promoted() -> None:
    rng, judge = random.Random(18), CanaryJudge()
    for _ in range(60):
        said = judge.observe(control=arm(rng, 100, 0.0), canary=arm_tick(units=100))
    assert isinstance(said, Continue) and "p50" in said.reason


@pytest.mark.parametrize(
    "wrong",
    [
        {"false_rollback": 0.0},
        {"false_promotion": 1.0},
        {"rise_margin": 0.0},
        {"least_rise": -0.1},
        {"spread_tolerated": 0.9},
        {"quantiles": (Quantile(at=0.5, tolerated=1.3, margin=1.2),)},
        {"quantiles": (Quantile(at=1.0, tolerated=1.1, margin=1.2),)},
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict) -> None:
    with pytest.raises(InvalidInput):
        JudgeSettings(**wrong)
