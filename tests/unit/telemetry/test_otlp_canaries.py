"""What an agent tells of a canary, as the agent itself writes it, and what is wrong with it."""

import copy

import pytest
from homeostat_agent.canary.counts import ArmCounts
from homeostat_agent.canary.report import CanaryReport
from homeostat_agent.canary.shadow import ShadowCounts
from homeostat_agent.context import HostContext
from homeostat_agent.otlp import encode_metrics

from homeostat.core.errors import InvalidInput
from homeostat.model.latency import buckets_of
from homeostat.telemetry.otlp_canaries import NOT_TOLD, parse_canaries

CHANGE = "00000000-0000-4000-8000-000000000001"
CONTEXT = HostContext(repository="/srv/shop", commit=None, service_name="shop", process_id="p-1")


def arm(seconds, failures, *, at_risk=None):
    counts = ArmCounts(at_risk)
    for one in seconds:
        counts.add_unit(one)
    for kind in failures:
        counts.add_failure(kind)
    return counts


REPORT = CanaryReport(
    change_id=CHANGE,
    percent=10.0,
    arms={
        False: arm([0.0125] * 83 + [0.0131] * 5 + [2.0], ["KeyError"] * 3),
        True: arm([0.012] * 7 + [0.0, 1e9], ["ValueError"] * 2),
    },
    lapsed=False,
)


def body(*reports):
    snapshot = {"requests": {}, "errors_logged": 0, "canaries": reports, "start_unix_ns": 1, "end_unix_ns": 2}
    return encode_metrics(snapshot, CONTEXT)


def points(told, name):
    (metric,) = [item for item in told["resourceMetrics"][0]["scopeMetrics"][0]["metrics"] if item["name"] == name]
    return (metric.get("histogram") or metric.get("sum") or metric.get("gauge"))["dataPoints"]


def test_both_arms_are_read_as_the_agent_counted_them():
    parsed = parse_canaries(body(REPORT))
    (told,) = parsed.records
    assert (told.change_id, told.percent, parsed.rejected) == (CHANGE, 10, 0)
    assert (told.control.units, dict(told.control.failures)) == (89, {"KeyError": 3})
    assert dict(told.control.latency) == buckets_of([0.0125] * 83 + [0.0131] * 5 + [2.0])
    assert (told.canary.units, dict(told.canary.failures)) == (9, {"ValueError": 2})
    assert dict(told.canary.latency) == buckets_of([0.012] * 7 + [0.0, 1e9])


def shadowed(*found, skipped=0):
    counts = ShadowCounts()
    for function, outcome, difference, times in found:
        for _ in range(times):
            counts.add(function, outcome, difference)
    counts.skipped = skipped
    counts.seconds = {False: 0.5, True: 0.25}
    return REPORT._replace(percent=0, arms={}, shadow=counts)


def test_what_was_found_on_copies_is_read_as_the_agent_counted_it():
    found = ("shop/prices.py:Cart.total", "result", "[].rate: Decimal became float", 2)
    raised = ("shop/prices.py:f", "raised", "shop.prices.NoSuchItem", 1)
    parsed = parse_canaries(body(shadowed(found, ("shop/prices.py:f", "same", "", 3), raised, skipped=9)))
    (told,) = parsed.records
    assert (told.percent, parsed.rejected, told.shadow.control_s, told.shadow.canary_s) == (0, 0, 0.5, 0.25)
    assert {
        (kind.function, kind.outcome.value, kind.difference): count for kind, count in told.shadow.calls.items()
    } == {
        found[:3]: 2,
        ("shop/prices.py:f", "same", ""): 3,
        raised[:3]: 1,
        ("", "skipped", ""): 9,
    }
    assert parse_canaries(body(REPORT)).records[0].shadow is None


@pytest.mark.parametrize("words", ["secret=a1b2c3", "ada@example.org became str", "a\nb", "/home/ada", "'x'", "€"])
def test_words_that_are_no_kinds_are_not_told(words):
    (told,) = parse_canaries(body(shadowed(("shop.py:f", "result", words, 1)))).records
    assert [kind.difference for kind in told.shadow.calls] == [NOT_TOLD]


@pytest.mark.parametrize(
    ("function", "outcome"),
    [("f", "same"), ("shop.py:f g", "same"), ("x" * 300 + ".py:f", "same"), ("shop.py:f", "better"), ("", "same")],
)
def test_what_no_agent_would_say_of_a_compared_call_is_rejected(function, outcome):
    parsed = parse_canaries(body(shadowed((function, outcome, "", 1))))
    assert parsed.rejected == 1
    assert parsed.records[0].shadow is None


def test_kinds_of_what_is_told_are_bounded():
    reports = [
        shadowed(*(("shop.py:f", "raised", f"E{part}x{number}", 1) for number in range(45))) for part in range(6)
    ]
    parsed = parse_canaries(body(*reports))
    assert (len(parsed.records[0].shadow.calls), parsed.rejected) == (200, 70)


def test_a_body_without_canaries_tells_of_none():
    assert parse_canaries(body()).records == ()
    assert parse_canaries({}).records == ()


def test_several_changes_are_told_apart():
    other = REPORT._replace(change_id=CHANGE[:-1] + "2", percent=50.0, arms={})
    assert [item.percent for item in parse_canaries(body(REPORT, other)).records] == [10, 50]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda point: point.update(bucketCounts=[1]),
        lambda point: point.update(count="7"),
        lambda point: point.update(count="-1"),
        lambda point: point["bucketCounts"].__setitem__(0, "1"),
        lambda point: point.update(explicitBounds=[0.0] * len(point["explicitBounds"])),
        lambda point: point.update(explicitBounds="x"),
        lambda point: point.update(explicitBounds=[float("nan")] * len(point["explicitBounds"])),
        lambda point: point.update(attributes=[]),
        lambda point: point.update(attributes=[{"key": "homeostat.change", "value": {"stringValue": "../x"}}]),
        lambda point: point.update(attributes=[{"key": "homeostat.change", "value": {"stringValue": CHANGE}}]),
        lambda point: point.clear(),
    ],
)
def test_a_point_that_cannot_be_read_is_rejected_and_the_others_count(spoil):
    told = copy.deepcopy(body(REPORT))
    spoil(points(told, "homeostat.canary.duration")[1])
    points(told, "homeostat.canary.failures").pop()
    parsed = parse_canaries(told)
    assert parsed.rejected == 1
    (canary,) = parsed.records
    assert (canary.control.units, canary.canary.units) == (89, 0)


@pytest.mark.parametrize("attributes", [[], [{"key": "error.type", "value": {"stringValue": "x"}}]])
def test_failures_of_nothing_known_are_rejected(attributes):
    told = copy.deepcopy(body(REPORT))
    points(told, "homeostat.canary.failures")[0]["attributes"] = attributes
    parsed = parse_canaries(told)
    assert parsed.rejected == 1
    assert parsed.records[0].control.failures == {}


def test_more_failures_than_units_are_believed_of_nobody():
    told = copy.deepcopy(body(REPORT))
    points(told, "homeostat.canary.failures")[1]["asInt"] = "10"
    assert parse_canaries(told).records == ()


def test_with_a_key_more_may_fail_than_came_but_not_more_than_were_at_risk():
    nobody = arm([], [], at_risk=0)
    keyed = REPORT._replace(arms={False: nobody, True: arm([0.012], ["KeyError"] * 5, at_risk=30)})
    (told,) = parse_canaries(body(keyed)).records
    assert (told.canary.units, told.canary.at_risk, dict(told.canary.failures)) == (1, 31, {"KeyError": 5})
    few = REPORT._replace(arms={False: nobody, True: arm([0.012], ["KeyError"] * 5, at_risk=1)})
    assert parse_canaries(body(few)).records == ()


def test_arms_of_which_only_one_counts_keys_are_believed_of_nobody():
    """No judge can compare them, and one that was stored would be in the way of every later look."""
    mixed = REPORT._replace(arms={False: arm([0.012], []), True: arm([0.012], [], at_risk=30)})
    parsed = parse_canaries(body(mixed))
    assert (parsed.records, parsed.rejected) == ((), 1)


def test_a_change_whose_share_is_not_told_counts_for_nothing():
    told = body(REPORT)
    points(told, "homeostat.canary.percent").clear()
    assert parse_canaries(told).records == ()


def test_a_frame_that_is_none_is_refused():
    with pytest.raises(InvalidInput):
        parse_canaries({"resourceMetrics": [{"scopeMetrics": "x"}]})
