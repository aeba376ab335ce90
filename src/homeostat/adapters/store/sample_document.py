"""One sample of an error as a document: cleaned before it came here, stored as it came."""

import json
from collections.abc import Mapping
from typing import Any

import msgspec
from sqlalchemy import RowMapping

from homeostat.adapters.store.row_values import NOT_OURS, malformed
from homeostat.audit.chain import parse_utc_text, utc_text
from homeostat.core.errors import InvalidInput
from homeostat.core.ids import CommitId
from homeostat.model.finding import CodeLocation, ErrorOccurrence

SCHEMA = 1


def encode_sample(occurrence: ErrorOccurrence) -> str:
    document = {
        "schema": SCHEMA,
        "at": utc_text(occurrence.at),
        "severity": occurrence.severity,
        "logger": occurrence.logger,
        "exception_type": occurrence.exception_type,
        "message": occurrence.message,
        "location": _encode_location(occurrence.location),
        "commit": occurrence.commit,
        "process_id": occurrence.process_id,
        "trace": [_encode_location(frame) for frame in occurrence.trace],
        "route": occurrence.route,
    }
    try:
        return msgspec.json.encode(document).decode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidInput("not-canonical", "a lone surrogate has no JSON") from error


def decode_sample(row: RowMapping) -> ErrorOccurrence:
    """Read it back. `IntegrityFailure` when it is not one of ours."""
    try:
        document = json.loads(row["document"])
        if document["schema"] != SCHEMA:
            raise ValueError(f"its schema is {document['schema']!r}")
        return _decode(document)
    except NOT_OURS as error:
        raise malformed(f"error sample {row['id']}", error) from error


def _decode(document: Mapping[str, Any]) -> ErrorOccurrence:
    commit = document["commit"]
    return ErrorOccurrence(
        at=parse_utc_text(document["at"]),
        severity=document["severity"],
        logger=document["logger"],
        exception_type=document["exception_type"],
        message=document["message"],
        location=_decode_location(document["location"]),
        commit=None if commit is None else CommitId(commit),
        process_id=document["process_id"],
        trace=tuple(_decode_location(frame) for frame in document["trace"]),
        route=document["route"],
    )


def _encode_location(location: CodeLocation) -> dict[str, Any]:
    return {"path": location.path, "function": location.function, "line": location.line}


def _decode_location(value: Mapping[str, Any]) -> CodeLocation:
    return CodeLocation(path=value["path"], function=value["function"], line=value["line"])
