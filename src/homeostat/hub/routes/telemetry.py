"""OTLP/HTTP in protobuf and JSON: what any OpenTelemetry sender posts. The answer has the form of the request."""

import zlib
from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from homeostat.core.errors import InvalidInput, NotFound
from homeostat.core.limits import MAX_HTTP_BODY_BYTES
from homeostat.flows.ingesting import Ingested, ingest_logs, ingest_metrics
from homeostat.hub.context import HubContext
from homeostat.hub.contract import Problem
from homeostat.hub.problems import PROTOBUF, NotTaken, content_type
from homeostat.hub.routes import Caller, Context
from homeostat.telemetry.otlp import decode, decode_logs
from homeostat.telemetry.otlp_protobuf import logs_answer, metrics_answer, read_logs, read_metrics

router = APIRouter(prefix="/v1", tags=["telemetry"])

_BINARY = {PROTOBUF: {"schema": {"type": "string", "format": "binary"}}}
_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"content": _BINARY},
    400: {"model": Problem},
    415: {"model": Problem},
}
_OTLP = {"requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object"}}, **_BINARY}}}
"""The body is read by our own parser, which takes every dialect; `Content-Encoding: gzip` and `deflate` too."""

_WINDOW_BITS = {"gzip": zlib.MAX_WBITS | 16, "deflate": zlib.MAX_WBITS}
_WHY_REJECTED = "records without their required fields"


@router.post("/logs", response_model=dict[str, Any], responses=_ANSWERS, openapi_extra=_OTLP)
async def post_logs(request: Request, context: Context, actor: Caller) -> Any:
    """Take an OTLP ``ExportLogsServiceRequest``; durable when it is answered, in the form of the request."""
    data = await request.body()

    def take() -> Ingested:
        return ingest_logs(context.deps, _decode(data, request, decode_logs, read_logs), source=actor.id)

    done = await _taken(context, "logs", take)
    return _answer(request, done, "rejectedLogRecords", logs_answer)


@router.post("/metrics", response_model=dict[str, Any], responses=_ANSWERS, openapi_extra=_OTLP)
async def post_metrics(request: Request, context: Context, actor: Caller) -> Any:
    """Take an OTLP ``ExportMetricsServiceRequest``; answered in the form of the request."""
    data = await request.body()

    def take() -> Ingested:
        return ingest_metrics(context.deps, _decode(data, request, decode, read_metrics), reader=context.reader)

    done = await _taken(context, "metrics", take)
    return _answer(request, done, "rejectedDataPoints", metrics_answer)


@router.post("/traces", include_in_schema=False)
async def post_traces() -> None:
    """Say to a sender of traces that there is no place for them; a 404 is not tried again."""
    raise NotFound(
        "no-traces",
        "traces are not taken here, only /v1/logs and /v1/metrics",
        hint="set OTEL_TRACES_EXPORTER=none, or send them elsewhere (OTEL_EXPORTER_OTLP_TRACES_ENDPOINT)",
    )


def _decode(
    data: bytes, request: Request, of_json: Callable[[bytes], Any], of_protobuf: Callable[[bytes], dict[str, Any]]
) -> dict[str, Any]:
    """Return the body as its JSON mapping, which the parsers read, whichever form it came in."""
    form = content_type(request.scope)
    if form not in ("application/json", PROTOBUF, ""):
        raise NotTaken(
            415,
            "unsupported-media-type",
            f"{form[:60]!r} is not taken here; send `Content-Type: {PROTOBUF}` or `application/json`",
            hint="set the exporter's protocol to http/protobuf or http/json (OTEL_EXPORTER_OTLP_PROTOCOL)",
        )
    encoding = request.headers.get("content-encoding", "").strip().lower()
    try:
        whole = _inflate(data, encoding)
        body = of_protobuf(whole) if form == PROTOBUF else of_json(whole)
    except zlib.error as error:
        raise InvalidInput("bad-telemetry", f"the body is not one whole {encoding} stream") from error
    except (ValueError, RecursionError) as error:
        wanted = "OTLP in protobuf" if form == PROTOBUF else "JSON"
        raise InvalidInput("bad-telemetry", f"the body is not {wanted}: {type(error).__name__}") from error
    if not isinstance(body, dict):
        raise InvalidInput("bad-telemetry", "the body is not a JSON object")
    return body


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


async def _taken(context: HubContext, signal: str, take: Callable[[], Ingested]) -> Ingested:
    try:
        done = await run_in_threadpool(take)
    except RecursionError as error:
        # What is nested deeper than the interpreter goes was nowhere read, and nothing of it is stored.
        raise InvalidInput("bad-telemetry", "the body is nested too deeply") from error
    context.metrics.ingested.labels(signal, "accepted").inc(done.accepted)
    context.metrics.ingested.labels(signal, "rejected").inc(done.rejected)
    return done


def _answer(
    request: Request, done: Ingested, rejected_name: str, in_protobuf: Callable[[int, str], bytes]
) -> dict[str, Any] | Response:
    if content_type(request.scope) == PROTOBUF:
        return Response(in_protobuf(done.rejected, _WHY_REJECTED), media_type=PROTOBUF)
    if not done.rejected:
        return {"partialSuccess": {}}
    return {"partialSuccess": {rejected_name: str(done.rejected), "errorMessage": _WHY_REJECTED}}
