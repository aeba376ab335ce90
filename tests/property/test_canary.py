"""The judge of a canary on any ticks: it never forgets what it must not do."""

from hypothesis import given, settings
from hypothesis import strategies as st

from homeostat.rollout.canary import ArmTick, CanaryJudge, CanaryTick, Promote, Rollback, arm_tick
from homeostat.rollout.canary.harm import TOLERATED_ODDS
from homeostat.rollout.wagers import exposure_gains

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


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 400), st.integers(1, 400), st.data())
def test_one_more_failure_of_the_canary_never_lowers_what_a_bet_on_harm_gains(
    canary: int, control: int, data: st.DataObject
) -> None:
    """Of one bet. What all bets are worth may fall by what each further one costs, and by how far failures clump."""
    ours, theirs = data.draw(st.integers(0, canary - 1)), data.draw(st.integers(0, control))
    before, after = (
        exposure_gains(canary, control, ours + theirs + more, ours + more, tolerated=TOLERATED_ODDS) for more in (0, 1)
    )
    assert all(new >= old - 1e-9 for old, new in zip(before, after, strict=True))


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
