"""Any JSON is either refused as a whole, or read in part and counted; nothing else can happen."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homeostat.core.errors import InvalidInput
from homeostat.telemetry.otlp import CumulativeReader, decode, decode_logs, parse_logs, parse_metrics
from homeostat.telemetry.redact import clean

NOW = datetime(2026, 1, 10, tzinfo=UTC)

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["", "1", "-1", "NaN", str(2**64), "17", "x", "password=x", "/home/a/b/c", "a@b.org", "\ud800"])
    | st.text(max_size=20)
)
json_values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)
values = st.one_of(
    json_values,
    st.builds(lambda text: {"stringValue": text}, scalars),
    st.builds(lambda number: {"intValue": number}, scalars),
    st.builds(
        lambda inner: {"arrayValue": {"values": [{"stringValue": item} for item in inner]}},
        st.lists(scalars, max_size=3),
    ),
)
keys = st.sampled_from(
    [
        "exception.type",
        "exception.message",
        "exception.stacktrace",
        "code.file.path",
        "code.function.name",
        "code.line.number",
        "http.route",
        "homeostat.trace",
        "error.type",
        "http.response.status_code",
        "other",
    ]
)
attributes = (
    st.lists(st.builds(lambda key, value: {"key": key, "value": value}, keys, values), max_size=5) | json_values
)


def fields(**known: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Objects with some of these fields, now and then of a wrong kind."""
    return st.fixed_dictionaries({}, optional={key: value | json_values for key, value in known.items()}) | json_values


times = st.sampled_from([str(int(NOW.timestamp()) * 10**9 + step) for step in (-(10**9), 0, 5)]) | scalars
resources = fields(attributes=attributes)
records = fields(
    timeUnixNano=times, observedTimeUnixNano=times, severityNumber=st.integers(0, 24) | scalars, severityText=scalars,
    body=values, attributes=attributes,
)  # fmt: skip
logs = fields(
    resourceLogs=st.lists(
        fields(
            resource=resources,
            scopeLogs=st.lists(
                fields(scope=fields(name=scalars), logRecords=st.lists(records, max_size=4)), max_size=2
            ),
        ),
        max_size=2,
    )
)
points = fields(
    timeUnixNano=times, startTimeUnixNano=times, count=scalars, sum=scalars, asInt=scalars, asDouble=scalars,
    scale=scalars, bucketCounts=st.lists(scalars, max_size=4), explicitBounds=st.lists(scalars, max_size=3),
    attributes=attributes, positive=fields(offset=scalars, bucketCounts=st.lists(scalars, max_size=4)),
)  # fmt: skip
data = fields(aggregationTemporality=st.integers(0, 3), dataPoints=st.lists(points, max_size=3))
metric_names = st.sampled_from(
    [
        "http.server.request.duration",
        "http.server.duration",
        "homeostat.errors_logged",
        "process.memory.usage",
        "process.cpu.utilization",
        "homeostat.generation",
        "other",
    ]
)
metrics = fields(
    resourceMetrics=st.lists(
        fields(
            resource=resources,
            scopeMetrics=st.lists(
                fields(
                    metrics=st.lists(
                        fields(
                            name=metric_names,
                            unit=scalars,
                            histogram=data,
                            exponentialHistogram=data,
                            sum=data,
                            gauge=data,
                        ),
                        max_size=3,
                    )
                ),
                max_size=2,
            ),
        ),
        max_size=2,
    )
)


@settings(max_examples=400)
@given(logs)
def test_logs_are_read_or_refused(body: Any) -> None:
    try:
        parsed = parse_logs(body, now=NOW, repository="/srv/app")
    except InvalidInput as error:
        assert error.code == "bad-telemetry"
        return
    for record in parsed.records:
        assert abs(record.at - NOW) <= timedelta(days=7)
        assert record.severity in ("warning", "error", "critical")
        assert clean(record.message) == record.message
        assert clean(record.exception_type) == record.exception_type
        assert not record.location.path.startswith(("/", "~"))
        repr(record).encode()  # no half of a surrogate pair is left in it


@settings(max_examples=400)
@given(logs)
def test_logs_decoded_from_their_bytes_say_the_same(body: Any) -> None:
    data = json.dumps(body).encode()
    try:
        whole = parse_logs(decode(data), now=NOW, repository="/srv/app")
    except InvalidInput as refused:
        with pytest.raises(InvalidInput) as again:
            parse_logs(decode_logs(data), now=NOW, repository="/srv/app")
        assert again.value.message == refused.message
    else:
        assert parse_logs(decode_logs(data), now=NOW, repository="/srv/app") == whole


@settings(max_examples=400)
@given(st.lists(metrics, min_size=1, max_size=3))
def test_metrics_are_read_or_refused(bodies: list[Any]) -> None:
    reader = CumulativeReader()
    for body in bodies:
        try:
            parsed = parse_metrics(body, reader=reader, now=NOW)
        except InvalidInput as error:
            assert error.code == "bad-telemetry"
            continue
        for tick in parsed.records:
            assert tick.start <= tick.end
            assert tick.errors_logged >= 0
            assert 0 <= tick.errors <= tick.requests < 2**63
            for route in tick.routes.values():
                assert sum(route.latency_ms_buckets) in (0, route.requests)
