"""OTLP/JSON values, as OpenTelemetry's own examples and the encoding's edge cases have them."""

from datetime import UTC, datetime
from typing import Any

import pytest
from public_data import vectors

from homeostat.telemetry.otlp_json import BadRecord, count, enum, finite, integer, pairs, time_at, value_of

NOW = datetime(2026, 1, 10, tzinfo=UTC)


def test_the_public_vectors_attributes_are_read() -> None:
    checked = 0
    for vector in vectors("otlp/vectors.json"):
        spans = vector["otlp"]["resourceSpans"][0]["scopeSpans"][0]["spans"]
        for span, want in zip(spans, vector["want"], strict=False):
            assert pairs(span.get("attributes")) == want["attributes"], vector["name"]
            checked += 1
    assert checked >= 10


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        ({}, None),
        ({"stringValue": ""}, ""),
        ({"boolValue": False}, False),
        ({"intValue": "-5"}, -5),
        ({"intValue": 5.0}, 5),
        ({"doubleValue": "Infinity"}, float("inf")),
        ({"bytesValue": "AA=="}, "AA=="),
        ({"arrayValue": {"values": [{"intValue": 1}, {}]}}, [1, None]),
        ({"somethingNew": 1}, None),
    ],
)
def test_values_are_read(sent: Any, read: Any) -> None:
    assert value_of(sent) == read


NESTED: dict[str, Any] = {"stringValue": "x"}
for _ in range(20):
    NESTED = {"arrayValue": {"values": [NESTED]}}


@pytest.mark.parametrize(
    "bad",
    [
        None,
        "x",
        {"stringValue": 1},
        {"boolValue": "true"},
        {"intValue": "1.5"},
        {"intValue": True},
        {"intValue": "9" * 30},
        {"intValue": "\u0665"},
        {"doubleValue": "one"},
        {"doubleValue": True},
        {"arrayValue": []},
        {"arrayValue": {"values": {}}},
        {"kvlistValue": {"values": [{"value": {}}]}},
        NESTED,
    ],
)
def test_what_is_no_value_is_refused(bad: Any) -> None:
    with pytest.raises(BadRecord):
        value_of(bad)


@pytest.mark.parametrize(
    ("read", "bad"),
    [
        (integer, None),
        (integer, "1e3"),
        (integer, 2**64),
        (integer, -(2**63) - 1),
        (count, -1),
        (count, "-1"),
        (finite, "NaN"),
        (finite, float("inf")),
        (finite, None),
        (finite, 10**400),
        (lambda value: enum(value, {"A": 1}), "B"),
        (lambda value: time_at(value, now=NOW), "later"),
    ],
)
def test_what_is_no_number_is_refused(read: Any, bad: Any) -> None:
    with pytest.raises(BadRecord):
        read(bad)


def test_attributes_that_are_not_allowed_are_not_even_looked_at() -> None:
    sent = [{"key": "a", "value": "broken"}, {"key": "b", "value": {"intValue": 1}}]
    assert pairs(sent, allow=frozenset({"b"})) == {"b": 1}


def test_times_keep_their_microseconds() -> None:
    assert time_at("1768000000123456789", now=datetime(2026, 1, 10, tzinfo=UTC)) == datetime(
        2026, 1, 9, 23, 6, 40, 123456, tzinfo=UTC
    )
