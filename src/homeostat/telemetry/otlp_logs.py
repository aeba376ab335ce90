"""OTLP/JSON log records into occurrences: allow-listed fields first, then every value cleaned."""

from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any, TypeAlias, TypedDict

import msgspec

from homeostat.core.errors import InvalidInput
from homeostat.core.ids import CommitId
from homeostat.core.limits import MAX_OTLP_RECORDS
from homeostat.model.finding import CodeLocation, ErrorOccurrence
from homeostat.telemetry import origin
from homeostat.telemetry.otlp_json import (
    BadRecord,
    Parsed,
    Value,
    decode,
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
_KNOWN_FACTS = 4096
_MAX_KNOWN_BYTES = 1_000
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


class _Facts(msgspec.Struct, frozen=True):
    """What a record's attributes say. Records of one place in the code mostly say the same."""

    exception_type: str
    message: str
    """Raw: of the exception."""

    is_logged: bool
    """There is a stack or a type: an error, also without a severity."""

    trace: tuple[CodeLocation, ...]
    location: CodeLocation
    route: str


_Unfinished: TypeAlias = tuple[datetime, str, str, str, CommitId | None, _Facts]
"""All of an occurrence but its message: when, severity, logger, process id, commit, and what the attributes say."""


def decode_logs(data: bytes) -> Any:
    """Decode the JSON of a body for `parse_logs`, the records' attributes still in their bytes. `ValueError`.

    A body that is not of the right form is decoded all the same: what is wrong with it, `parse_logs` says.
    """
    try:
        return _REQUEST.decode(data.decode())
    except (UnicodeDecodeError, msgspec.DecodeError):
        return decode(data)


_RECORD_FIELDS = ("timeUnixNano", "observedTimeUnixNano", "severityNumber", "severityText", "body")
_Record = TypedDict("_Record", {**dict.fromkeys(_RECORD_FIELDS, Any), "attributes": msgspec.Raw}, total=False)  # type: ignore[misc]


class _Scope(TypedDict, total=False):
    scope: Any
    logRecords: list[_Record] | None


class _Resource(TypedDict, total=False):
    resource: Any
    scopeLogs: list[_Scope] | None


class _Request(TypedDict, total=False):
    resourceLogs: list[_Resource] | None


_REQUEST = msgspec.json.Decoder(_Request)


def parse_logs(body: Mapping[str, Any], *, now: datetime, repository: str = "") -> Parsed[ErrorOccurrence]:
    """Read an ``ExportLogsServiceRequest``: its records of WARN and above, cleaned, in their order.

    Records below WARN are no errors and count neither as read nor as rejected. `repository` is the host's
    checkout: absolute paths of senders that know nothing of it are made relative to it, or left out.
    `InvalidInput` (``bad-telemetry``) where the frame of the body is not as it must be.
    """
    if not isinstance(body, Mapping):
        raise InvalidInput("bad-telemetry", "the body is not an object")
    raw_messages: list[str] = []
    found: list[_Unfinished] = []
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
                    read = _read(record, now, repository)
                except BadRecord:
                    rejected += 1
                    continue
                if read is not None:
                    message, at, severity, facts = read
                    raw_messages.append(message)
                    found.append((at, severity, logger, process_id, commit, facts))
    messages = clean_all(raw_messages, max_chars=MAX_MESSAGE_CHARS)
    return Parsed(records=tuple(map(_occurrence, messages, found)), rejected=rejected)


def _read(record: object, now: datetime, repository: str) -> tuple[str, datetime, str, _Facts] | None:
    """Read one record: its raw message, which the caller cleans with those of the others, and what else differs."""
    if not isinstance(record, dict):
        raise BadRecord("not an object")
    severity = _severity(record)
    if severity is not None and severity < _WARN:
        return None
    attributes = record.get("attributes")
    if isinstance(attributes, msgspec.Raw):
        facts = _facts_in(bytes(attributes), repository)
    else:
        facts = _facts(attributes, repository)
    if severity is None:
        if not facts.is_logged:
            return None
        severity = _ERROR
    at = time_at(record.get("timeUnixNano"), now=now) or time_at(record.get("observedTimeUnixNano"), now=now) or now
    word = "critical" if severity >= _FATAL else "error" if severity >= _ERROR else "warning"
    return facts.message or _message(record.get("body")), at, word, facts


def _occurrence(message: str, unfinished: _Unfinished) -> ErrorOccurrence:
    at, severity, logger, process_id, commit, facts = unfinished
    return ErrorOccurrence(
        at=at,
        severity=severity,
        logger=logger,
        exception_type=facts.exception_type,
        message=message,
        location=facts.location,
        commit=commit,
        process_id=process_id,
        trace=facts.trace,
        route=facts.route,
    )


def _facts(attributes: object, repository: str) -> _Facts:
    known = pairs(attributes, allow=LOG_ATTRIBUTES)
    exception_type = origin.name(text(known.get("exception.type")))
    stack = text(known.get("exception.stacktrace"))
    trace = origin.trace_of(known.get("homeostat.trace"), repository) or origin.trace_of_stack(stack, repository)
    return _Facts(
        exception_type=exception_type,
        message=text(known.get("exception.message")),
        is_logged=bool(exception_type or stack),
        trace=trace,
        location=_location(known, trace, repository),
        route=origin.route(text(known.get("http.route"))),
    )


def _facts_in(data: bytes, repository: str) -> _Facts:
    """Read attributes from their bytes, and those that hold no text of one occurrence once for many records."""
    if len(data) > _MAX_KNOWN_BYTES or b"exception.message" in data or b"exception.stacktrace" in data:
        return _decoded_facts(data, repository)
    return _known_facts(data, repository)


def _decoded_facts(data: bytes, repository: str) -> _Facts:
    try:
        attributes = decode(data)
    except ValueError:
        raise BadRecord("attributes that are not JSON") from None
    return _facts(attributes, repository)


_known_facts = lru_cache(maxsize=_KNOWN_FACTS)(_decoded_facts)


def _severity(record: Mapping[str, Any]) -> int | None:
    """Return the severity number; from the text where it has none; None when it has neither."""
    said = record.get("severityNumber")
    if type(said) is int and 0 < said <= 24:
        return said  # as nearly all say it
    number = enum(said, _SEVERITY_NAMES)
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
