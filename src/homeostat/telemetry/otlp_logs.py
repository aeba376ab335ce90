"""OTLP/JSON log records into occurrences: allow-listed fields first, then every value cleaned."""

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Any

from homeostat.core.errors import InvalidInput
from homeostat.core.ids import CommitId
from homeostat.core.limits import MAX_OTLP_RECORDS
from homeostat.model.finding import CodeLocation, ErrorOccurrence
from homeostat.telemetry import origin
from homeostat.telemetry.otlp_json import (
    BadRecord,
    Parsed,
    Value,
    enum,
    items,
    member,
    objects,
    pairs,
    text,
    time_at,
    value_of,
)
from homeostat.telemetry.redact import clean_all

LOG_ATTRIBUTES = frozenset(
    {
        "exception.type",
        "exception.message",
        "exception.stacktrace",  # read for the location, never stored
        "code.file.path",
        "code.function.name",
        "code.line.number",
        "code.filepath",  # the names before OpenTelemetry's semantic conventions 1.30
        "code.function",
        "code.lineno",
        "http.route",
        "homeostat.trace",
    }
)
"""All that is ever read of a record's attributes. Everything else that a sender puts there is left unread."""

MAX_MESSAGE_CHARS = 2_000
_BODY_FIELDS = ("message", "msg", "event")
"""Of a structured body, the developer's own words are under one of these; the rest may be anybody's."""

_SEVERITY_NAMES = {
    f"SEVERITY_NUMBER_{word}{suffix}": first + step
    for first, word in ((1, "TRACE"), (5, "DEBUG"), (9, "INFO"), (13, "WARN"), (17, "ERROR"), (21, "FATAL"))
    for step, suffix in enumerate(("", "2", "3", "4"))
}
_SEVERITY_WORDS = {
    "WARN": 13,
    "WARNING": 13,
    "ERROR": 17,
    "ERR": 17,
    "SEVERE": 17,
    "CRITICAL": 21,
    "CRIT": 21,
    "FATAL": 21,
    "ALERT": 21,
    "EMERGENCY": 21,
    "PANIC": 21,
}
_WARN, _ERROR, _FATAL = 13, 17, 21


_Unfinished = Callable[..., ErrorOccurrence]
"""Makes the occurrence once it is given its `message`."""


def parse_logs(body: Mapping[str, Any], *, now: datetime, repository: str = "") -> Parsed[ErrorOccurrence]:
    """Read an ``ExportLogsServiceRequest``: its records of WARN and above, cleaned, in their order.

    Records below WARN are no errors and count neither as read nor as rejected. `repository` is the host's
    checkout: absolute paths of senders that know nothing of it are made relative to it, or left out.
    `InvalidInput` (``bad-telemetry``) where the frame of the body is not as it must be.
    """
    if not isinstance(body, Mapping):
        raise InvalidInput("bad-telemetry", "the body is not an object")
    found: list[tuple[str, _Unfinished]] = []
    rejected = seen = 0
    for resource, place in objects(body, "resourceLogs", ""):
        process_id, commit = origin.resource_of(resource, place)
        for scope, scope_place in objects(resource, "scopeLogs", place):
            logger = origin.name(text(member(scope, "scope", scope_place).get("name")))
            for record in items(scope, "logRecords", scope_place):
                seen += 1
                if seen > MAX_OTLP_RECORDS:
                    rejected += 1
                    continue
                try:
                    occurrence = _occurrence(record, logger, process_id, commit, now, repository)
                except BadRecord:
                    rejected += 1
                    continue
                if occurrence is not None:
                    found.append(occurrence)
    messages = clean_all((message for message, _ in found), max_chars=MAX_MESSAGE_CHARS)
    finished = (finish(message=message) for message, (_, finish) in zip(messages, found, strict=True))
    return Parsed(records=tuple(finished), rejected=rejected)


def _occurrence(
    record: object, logger: str, process_id: str, commit: CommitId | None, now: datetime, repository: str
) -> tuple[str, _Unfinished] | None:
    """Read one record: its raw message, which the caller cleans with those of the others, and all the rest."""
    if not isinstance(record, dict):
        raise BadRecord("not an object")
    severity = _severity(record)
    if severity is not None and severity < _WARN:
        return None
    attributes = pairs(record.get("attributes"), allow=LOG_ATTRIBUTES)
    exception_type = origin.name(text(attributes.get("exception.type")))
    stack = text(attributes.get("exception.stacktrace"))
    if severity is None:
        if not exception_type and not stack:
            return None
        severity = _ERROR
    trace = origin.trace_of(attributes.get("homeostat.trace"), repository) or origin.trace_of_stack(stack, repository)
    message = text(attributes.get("exception.message")) or _message(record.get("body"))
    return message, partial(
        ErrorOccurrence,
        at=time_at(record.get("timeUnixNano"), now=now) or time_at(record.get("observedTimeUnixNano"), now=now) or now,
        severity="critical" if severity >= _FATAL else "error" if severity >= _ERROR else "warning",
        logger=logger,
        exception_type=exception_type,
        location=_location(attributes, trace, repository),
        commit=commit,
        process_id=process_id,
        trace=trace,
        route=origin.route(text(attributes.get("http.route"))),
    )


def _severity(record: Mapping[str, Any]) -> int | None:
    """Return the severity number; from the text where it has none; None when it has neither."""
    number = enum(record.get("severityNumber"), _SEVERITY_NAMES)
    if not 0 <= number <= 24:
        raise BadRecord("no such severity")
    word = record.get("severityText")
    if number == 0 and isinstance(word, str) and word:
        return _SEVERITY_WORDS.get(word.upper(), 1)
    return number or None


def _message(body: object) -> str:
    value: Value = None if body is None else value_of(body)
    if isinstance(value, dict):
        value = next((value[field] for field in _BODY_FIELDS if isinstance(value.get(field), str)), None)
    return text(value)


def _location(attributes: Mapping[str, Value], trace: tuple[CodeLocation, ...], repository: str) -> CodeLocation:
    """Return what the sender says; where that lies outside the repository, the innermost frame inside."""
    path = attributes.get("code.file.path", attributes.get("code.filepath"))
    function = attributes.get("code.function.name", attributes.get("code.function"))
    line = attributes.get("code.line.number", attributes.get("code.lineno"))
    said = origin.location(path, function, line, repository)
    if trace and ("exception.stacktrace" in attributes or not said.path):
        return trace[-1]  # OpenTelemetry's own handlers say where it was logged, not where it was raised
    return said
