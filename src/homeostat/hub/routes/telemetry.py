"""OTLP/HTTP JSON: what any OpenTelemetry sender posts."""

import json
import zlib
from collections.abc import Callable
from typing import Any

import msgspec
from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool

from homeostat.core.errors import InvalidInput
from homeostat.core.limits import MAX_HTTP_BODY_BYTES
from homeostat.flows.ingesting import Ingested, ingest_logs, ingest_metrics
from homeostat.hub.context import HubContext
from homeostat.hub.contract import Problem
from homeostat.hub.problems import NotTaken
from homeostat.hub.routes import Caller, Context

router = APIRouter(prefix="/v1", tags=["telemetry"])

_REFUSED: dict[int | str, dict[str, Any]] = {400: {"model": Problem}, 415: {"model": Problem}}
_OTLP = {"requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}}}
"""The body is read by our own parser, which takes every dialect; `Content-Encoding: gzip` and `deflate` too."""

_WINDOW_BITS = {"gzip": zlib.MAX_WBITS | 16, "deflate": zlib.MAX_WBITS}


@router.post("/logs", responses=_REFUSED, openapi_extra=_OTLP)
async def post_logs(request: Request, context: Context, actor: Caller) -> dict[str, Any]:
    """Take an OTLP ``ExportLogsServiceRequest`` in JSON; durable when it is answered."""
    data = await request.body()

    def take() -> Ingested:
        return ingest_logs(context.deps, _decode(data, request), source=actor.id)

    return _answer(context, "logs", await _taken(take), "rejectedLogRecords")


@router.post("/metrics", responses=_REFUSED, openapi_extra=_OTLP)
async def post_metrics(request: Request, context: Context, actor: Caller) -> dict[str, Any]:
    """Take an OTLP ``ExportMetricsServiceRequest`` in JSON."""
    data = await request.body()

    def take() -> Ingested:
        return ingest_metrics(context.deps, _decode(data, request), reader=context.reader)

    return _answer(context, "metrics", await _taken(take), "rejectedDataPoints")


def _decode(data: bytes, request: Request) -> dict[str, Any]:
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type not in ("application/json", ""):
        what = "OTLP in protobuf" if "protobuf" in content_type else repr(content_type[:60])
        raise NotTaken(
            415,
            "unsupported-media-type",
            f"{what} is not taken here; send `Content-Type: application/json`",
            hint="set the exporter's protocol to http/json (OTEL_EXPORTER_OTLP_PROTOCOL=http/json)",
        )
    encoding = request.headers.get("content-encoding", "").strip().lower()
    try:
        body = _loads(_inflate(data, encoding))
    except (ValueError, RecursionError, zlib.error) as error:
        raise InvalidInput("bad-telemetry", f"the body is not JSON: {type(error).__name__}") from error
    if not isinstance(body, dict):
        raise InvalidInput("bad-telemetry", "the body is not a JSON object")
    return body


def _loads(data: bytes) -> Any:
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        # The standard library takes what some senders write all the same: `NaN`, UTF-16, half a surrogate pair.
        return json.loads(data)


def _inflate(data: bytes, encoding: str) -> bytes:
    if encoding in ("", "identity"):
        return data
    if encoding not in _WINDOW_BITS:
        raise NotTaken(
            415, "unsupported-encoding", f"content encoding {encoding[:20]!r} is not taken here", accept="gzip, deflate"
        )
    inflater = zlib.decompressobj(wbits=_WINDOW_BITS[encoding])
    # One byte more than the limit shows that there is more, however much it would be.
    inflated = inflater.decompress(data, MAX_HTTP_BODY_BYTES + 1)
    if len(inflated) > MAX_HTTP_BODY_BYTES:
        raise NotTaken(413, "body-too-large", f"the body inflates to more than {MAX_HTTP_BODY_BYTES} bytes")
    if not inflater.eof or inflater.unused_data:
        raise InvalidInput("bad-telemetry", f"the body is not one whole {encoding} stream")
    return inflated


async def _taken(take: Callable[[], Ingested]) -> Ingested:
    try:
        return await run_in_threadpool(take)
    except RecursionError as error:
        # What is nested deeper than the interpreter goes was nowhere read, and nothing of it is stored.
        raise InvalidInput("bad-telemetry", "the body is nested too deeply") from error


def _answer(context: HubContext, signal: str, done: Ingested, rejected_name: str) -> dict[str, Any]:
    context.metrics.ingested.labels(signal, "accepted").inc(done.accepted)
    context.metrics.ingested.labels(signal, "rejected").inc(done.rejected)
    if not done.rejected:
        return {"partialSuccess": {}}
    return {
        "partialSuccess": {rejected_name: str(done.rejected), "errorMessage": "records without their required fields"}
    }
