"""Log records of any OpenTelemetry sender become occurrences, or are left out, or are refused."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from unit.telemetry.otlp_bodies import COMMIT, NOW, attributes, body, ns, record

from homeostat.core import limits
from homeostat.core.errors import InvalidInput
from homeostat.model.finding import CodeLocation, ErrorOccurrence
from homeostat.telemetry.otlp import parse_logs


def read(*records: Any, **options: Any) -> tuple[ErrorOccurrence, ...]:
    return parse_logs(body(*records), now=NOW, **options).records


def test_a_record_of_the_agent_is_read_whole() -> None:
    sent = record(
        attributes=attributes(
            exception__type="KeyError",
            exception__message="'total'",
            code__file__path="orders/pricing.py",
            code__function__name="total",
            code__line__number=17,
            http__route="/orders/{id}",
            homeostat__trace=["orders/app.py:5:get_order", "orders/pricing.py:17:total"],
        )
    )
    resource = {"attributes": attributes(service__instance__id="process-1", vcs__ref__head__revision=COMMIT)}
    parsed = parse_logs(body(sent, resource=resource), now=NOW)
    assert parsed.rejected == 0
    assert parsed.records == (
        ErrorOccurrence(
            at=NOW,
            severity="error",
            logger="orders.pricing",
            exception_type="KeyError",
            message="'total'",
            location=CodeLocation(path="orders/pricing.py", function="total", line=17),
            commit=COMMIT,  # type: ignore[arg-type]
            process_id="process-1",
            trace=(
                CodeLocation(path="orders/app.py", function="get_order", line=5),
                CodeLocation(path="orders/pricing.py", function="total", line=17),
            ),
            route="/orders/{id}",
        ),
    )


def test_a_log_record_without_exception_keeps_its_message_and_place() -> None:
    (seen,) = read(record(severityNumber=13, attributes=attributes(code__file__path="a.py", code__lineno=3)))
    assert (seen.severity, seen.exception_type, seen.message) == ("warning", "", "it broke")
    assert seen.location == CodeLocation(path="a.py", function="", line=3)


@pytest.mark.parametrize(
    ("number", "text", "severity"),
    [
        (13, "", "warning"),
        (16, "", "warning"),
        (17, "", "error"),
        ("17", "", "error"),
        (20, "", "error"),
        (21, "", "critical"),
        (24, "", "critical"),
        ("SEVERITY_NUMBER_ERROR2", "", "error"),
        (0, "warning", "warning"),
        (None, "Critical", "critical"),
        (17, "INFO", "error"),
        (12, "ERROR", None),
        (9, "", None),
        (1, "", None),
        (0, "INFO", None),
        (0, "whatever", None),
        (0, "", None),
    ],
)
def test_severity_is_the_number_and_else_the_text(number: Any, text: str, severity: str | None) -> None:
    found = read(record(severityNumber=number, severityText=text))
    assert [item.severity for item in found] == ([severity] if severity else [])


def test_an_exception_without_any_severity_is_an_error() -> None:
    (seen,) = read(record(severityNumber=0, severityText="", attributes=attributes(exception__type="ValueError")))
    assert seen.severity == "error"


STACK = """Traceback (most recent call last):
  File "/srv/app/orders/old.py", line 3, in inner
    raise ValueError(secret_value_in_source)
ValueError: x

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "/srv/app/.venv/lib/python3.11/site-packages/fastapi/routing.py", line 9, in run
    return await call()
  File "/srv/app/orders/app.py", line 40, in get_order
    return total(order)
  File "/srv/app/orders/pricing.py", line 17, in total
    return order["total"]
  File "/usr/lib/python3.11/json/decoder.py", line 337, in decode
    obj = 1
  File "<frozen importlib._bootstrap>", line 1, in x
KeyError: 'total'
"""


def test_the_place_is_read_from_another_senders_stack_trace_and_its_text_dropped() -> None:
    sent = record(
        attributes=attributes(
            exception__type="KeyError",
            exception__message="'total'",
            exception__stacktrace=STACK,
            code__file__path="/srv/app/orders/log.py",
            code__function__name="log_it",
        )
    )
    (seen,) = read(sent, repository="/srv/app")
    assert seen.location == CodeLocation(path="orders/pricing.py", function="total", line=17)
    assert [place.path for place in seen.trace] == ["orders/app.py", "orders/pricing.py"]
    assert "secret_value_in_source" not in repr(seen)
    assert "/srv" not in repr(seen)


def test_absolute_paths_outside_a_known_repository_are_not_kept() -> None:
    (seen,) = read(record(attributes=attributes(code__file__path="/home/al/x.py", exception__stacktrace=STACK)))
    assert seen.location.path == ""
    assert seen.trace == ()


@pytest.mark.parametrize("path", ["../../etc/passwd", "C:\\x\\y.py", "~/x.py", "/x.py", "a/../../b.py", "<string>"])
def test_paths_that_lead_out_of_the_repository_are_not_kept(path: str) -> None:
    (seen,) = read(record(attributes=attributes(code__file__path=path, homeostat__trace=[f"{path}:1:f"])))
    assert seen.location.path == ""
    assert seen.trace == ()


def test_what_a_sender_did_not_clean_is_cleaned_here() -> None:
    sent = record(
        body={"stringValue": "login of bob@example.com from 8.8.8.8 with password=hunter2"},
        attributes=attributes(exception__type="E\x1b[31m", http__route="/users/bob@example.com/17?q=secret"),
    )
    (seen,) = parse_logs(body(sent, scope="mail bob@example.com"), now=NOW).records
    assert seen.message == "login of [EMAIL] from [EXTERNAL_IP] with password=[REDACTED_KEY]"
    assert seen.route == "/users/{id}/{id}"
    assert seen.logger == "mail [EMAIL]"
    assert seen.exception_type == "E"


def test_fields_that_are_not_allow_listed_are_never_read() -> None:
    sent = record(attributes=attributes(user__email="bob@example.com", prompt="tell me"), traceId="zz", extra={"a": 1})
    (seen,) = read(sent)
    assert "bob" not in repr(seen)
    assert "tell me" not in repr(seen)


def test_of_a_structured_body_only_the_message_is_read() -> None:
    said = {"kvlistValue": {"values": attributes(message="it broke", user="bob")}}
    assert [item.message for item in read(record(body=said))] == ["it broke"]
    other = {"kvlistValue": {"values": attributes(prompt="tell me")}}
    assert [item.message for item in read(record(body=other), record(body=None))] == ["", ""]


def test_long_messages_are_cut() -> None:
    (seen,) = read(record(body={"stringValue": "word " * 10_000}))
    assert len(seen.message) == 2_000


@pytest.mark.parametrize(
    ("sent", "seen"),
    [
        (ns(NOW - timedelta(seconds=5)), NOW - timedelta(seconds=5)),
        (ns(NOW + timedelta(seconds=5)), NOW + timedelta(seconds=5)),
        (ns(NOW + timedelta(days=400)), NOW),
        (ns(NOW - timedelta(days=400)), NOW),
        (str(2**64 - 1), NOW),
        ("1", NOW),
        ("0", NOW),
        (0, NOW),
        (None, NOW),
    ],
)
def test_a_clock_that_is_far_off_counts_as_the_time_of_receipt(sent: Any, seen: datetime) -> None:
    (found,) = read(record(timeUnixNano=sent))
    assert found.at == seen
    assert found.at.tzinfo is UTC


def test_the_observed_time_stands_in_for_a_missing_time() -> None:
    (found,) = read(record(timeUnixNano="0", observedTimeUnixNano=ns(NOW - timedelta(seconds=9))))
    assert found.at == NOW - timedelta(seconds=9)


@pytest.mark.parametrize(
    "bad",
    [
        "text",
        None,
        [],
        record(timeUnixNano="soon"),
        record(timeUnixNano=-1),
        record(timeUnixNano=1.5),
        record(timeUnixNano=True),
        record(timeUnixNano=str(2**65)),
        record(timeUnixNano="1" * 5000),
        record(severityNumber=25),
        record(severityNumber=-1),
        record(severityNumber="loud"),
        record(severityNumber={}),
        record(body="text"),
        record(body={"stringValue": 5}),
        record(attributes={"key": "x"}),
        record(attributes=["x"]),
        record(attributes=[{"value": {"stringValue": "x"}}]),
        record(attributes=[{"key": "exception.type", "value": "x"}]),
        record(attributes=[{"key": "exception.type", "value": {"stringValue": ["x"]}}]),
    ],
)
def test_one_bad_record_is_counted_and_the_others_are_read(bad: Any) -> None:
    parsed = parse_logs(body(record(), bad, record()), now=NOW)
    assert (len(parsed.records), parsed.rejected) == (2, 1)


@pytest.mark.parametrize(
    ("bad", "place"),
    [
        ({"resourceLogs": {}}, "resourceLogs is not an array"),
        ({"resourceLogs": ["x"]}, "resourceLogs[0] is not an object"),
        ({"resourceLogs": [{}, {"scopeLogs": 3}]}, "resourceLogs[1].scopeLogs is not an array"),
        ({"resourceLogs": [{"scopeLogs": [{"logRecords": "x"}]}]}, "resourceLogs[0].scopeLogs[0].logRecords"),
        ({"resourceLogs": [{"scopeLogs": [{"scope": 1}]}]}, "resourceLogs[0].scopeLogs[0].scope is not an object"),
        ({"resourceLogs": [{"resource": []}]}, "resourceLogs[0].resource is not an object"),
        ({"resourceLogs": [{"resource": {"attributes": [1]}}]}, "resourceLogs[0].resource.attributes"),
    ],
)
def test_a_body_with_a_broken_frame_is_refused_and_the_place_named(bad: Any, place: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_logs(bad, now=NOW)
    assert caught.value.code == "bad-telemetry"
    assert place in caught.value.message


@pytest.mark.parametrize("empty", [{}, {"resourceLogs": []}, {"resourceLogs": None}, {"resourceLogs": [{}]}, {"x": 1}])
def test_an_empty_body_holds_nothing(empty: Any) -> None:
    assert parse_logs(empty, now=NOW).records == ()


def test_records_beyond_the_limit_are_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed = parse_logs(body(*[record(severityNumber=9)] * limits.MAX_OTLP_RECORDS, record(), record()), now=NOW)
    assert (len(parsed.records), parsed.rejected) == (0, 2)


@pytest.mark.parametrize(
    ("resource", "process_id"),
    [
        (attributes(service__name="shop", process__pid=17), "shop-17"),
        (attributes(service__name="shop"), "shop"),
        (attributes(process__pid=17), "17"),
        ([], "unknown"),
        (attributes(service__instance__id="bob@example.com"), "[EMAIL]"),
    ],
)
def test_a_process_without_an_id_is_named_by_what_there_is(resource: Any, process_id: str) -> None:
    (seen,) = parse_logs(body(record(), resource={"attributes": resource}), now=NOW).records
    assert seen.process_id == process_id


@pytest.mark.parametrize("commit", ["main", "9b2118d", COMMIT.upper() + "0", ""])
def test_a_revision_that_is_no_full_commit_is_not_taken_for_one(commit: str) -> None:
    resource = {"attributes": attributes(vcs__ref__head__revision=commit)}
    (seen,) = parse_logs(body(record(), resource=resource), now=NOW).records
    assert seen.commit is None
