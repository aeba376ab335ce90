"""The judge of a canary on any ticks: it never forgets what it must not do."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from homeostat.rollout.canary import ArmTick, CanaryJudge, CanaryTick, Promote, Rollback, arm_tick

kinds = st.sampled_from(["KeyError", "ValueError", "OSError"])


@st.composite
def arms(draw: st.DrawFn, most: int = 30) -> ArmTick:
    latencies = draw(st.lists(st.floats(0, 1e5), max_size=most))
    failed = draw(st.lists(kinds, max_size=len(latencies)))
    return arm_tick(latencies_ms=latencies, failures={kind: failed.count(kind) for kind in set(failed)})


ticks = st.builds(
    CanaryTick,
    control=arms(),
    canary=arms(),
    share=st.none() | st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    seconds=st.floats(0, 100),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(ticks, max_size=12), st.integers(0, 12))
def test_a_judge_that_is_fed_the_same_ticks_says_the_same(known: list[CanaryTick], split: int) -> None:
    judge = CanaryJudge.replay(known[:split])
    for tick in known[split:]:
        judge.feed(tick)
    assert judge.verdict == CanaryJudge.replay(known).verdict
    assert judge.verdict.reason


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1e5), min_size=1, max_size=80), st.randoms(), st.lists(ticks, max_size=5))
def test_the_order_of_the_units_within_a_tick_does_not_matter(
    latencies: list[float], rng: object, before: list[CanaryTick]
) -> None:
    other = list(latencies)
    rng.shuffle(other)
    said = [
        CanaryJudge.replay(
            [*before, CanaryTick(control=arm_tick(latencies_ms=order), canary=arm_tick(units=9))]
        ).verdict
        for order in (latencies, other)
    ]
    assert said[0] == said[1]


@settings(max_examples=60, deadline=None)
@given(st.lists(arms(), min_size=1, max_size=12), st.booleans())
def test_nothing_is_promoted_or_taken_back_without_units_in_both_arms(one: list[ArmTick], canary: bool) -> None:
    judge = CanaryJudge()
    for arm in one:
        said = judge.observe(control=ArmTick() if canary else arm, canary=arm if canary else ArmTick())
        assert not isinstance(said, Promote | Rollback)


@settings(max_examples=60, deadline=None)
@given(st.lists(ticks, min_size=1, max_size=12), st.data())
def test_one_more_failure_of_the_canary_never_lowers_the_evidence_of_more_failures(
    known: list[CanaryTick], data: st.DataObject
) -> None:
    index = data.draw(st.integers(0, len(known) - 1))
    tick = known[index]
    if tick.canary.failed == tick.canary.units:
        return
    failures = {**tick.canary.failures, "KeyError": tick.canary.failures.get("KeyError", 0) + 1}
    worse = [*known[:index], replace(tick, canary=replace(tick.canary, failures=failures)), *known[index + 1 :]]
    before, after = (CanaryJudge.replay(each).verdict.evidence for each in (known, worse))
    assert after.errors >= before.errors * (1 - 1e-9)


@settings(max_examples=60, deadline=None)
@given(st.lists(ticks, max_size=12))
def test_whatever_is_decided_has_its_evidence(known: list[CanaryTick]) -> None:
    judge = CanaryJudge()
    for tick in known:
        match judge.feed(tick):
            case Rollback(evidence=evidence):
                assert judge.verdict.reason and min(evidence.control.units, evidence.canary.units) >= 10
            case Promote(evidence=evidence):
                assert min(evidence.control.units, evidence.canary.units) >= 200
                assert evidence.within_margin["failures"] >= 20 * (1 - 1e-9)
                assert evidence.against < 10
