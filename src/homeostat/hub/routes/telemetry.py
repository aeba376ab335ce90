"""OTLP/HTTP JSON: what any OpenTelemetry sender posts."""

import json
import zlib
from typing import Any

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool

from homeostat.core.errors import InvalidInput
from homeostat.core.limits import MAX_HTTP_BODY_BYTES
from homeostat.flows.ingesting import Ingested, ingest_logs, ingest_metrics
from homeostat.hub.context import HubContext
from homeostat.hub.routes import Caller, Context

router = APIRouter(prefix="/v1", tags=["telemetry"])


@router.post("/logs")
async def post_logs(request: Request, context: Context, actor: Caller) -> dict[str, Any]:
    """Take an OTLP ``ExportLogsServiceRequest`` in JSON; durable when it is answered."""
    body = _decode(await request.body(), request.headers.get("content-encoding", ""), _content_type(request))
    done = await run_in_threadpool(ingest_logs, context.deps, body)
    return _answer(context, "logs", done, "rejectedLogRecords")


@router.post("/metrics")
async def post_metrics(request: Request, context: Context, actor: Caller) -> dict[str, Any]:
    """Take an OTLP ``ExportMetricsServiceRequest`` in JSON."""
    body = _decode(await request.body(), request.headers.get("content-encoding", ""), _content_type(request))
    done = await run_in_threadpool(ingest_metrics, context.deps, body, reader=context.reader)
    return _answer(context, "metrics", done, "rejectedDataPoints")


def _content_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _decode(data: bytes, encoding: str, content_type: str) -> dict[str, Any]:
    if content_type not in ("application/json", ""):
        raise InvalidInput(
            "bad-telemetry", f"{content_type!r} is not taken here", hint="set the exporter's protocol to http/json"
        )
    try:
        if encoding == "gzip":
            inflater = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
            data = inflater.decompress(data, MAX_HTTP_BODY_BYTES)
            if inflater.unconsumed_tail:
                raise InvalidInput("bad-telemetry", "the body inflates beyond the limit")
        elif encoding not in ("", "identity"):
            raise InvalidInput("bad-telemetry", f"content encoding {encoding[:20]!r} is not taken here")
        body = json.loads(data)
    except (ValueError, RecursionError, zlib.error) as error:
        raise InvalidInput("bad-telemetry", f"the body is not JSON: {type(error).__name__}") from error
    if not isinstance(body, dict):
        raise InvalidInput("bad-telemetry", "the body is not a JSON object")
    return body


def _answer(context: HubContext, signal: str, done: Ingested, rejected_name: str) -> dict[str, Any]:
    context.metrics.ingested.labels(signal, "accepted").inc(done.accepted)
    context.metrics.ingested.labels(signal, "rejected").inc(done.rejected)
    if not done.rejected:
        return {"partialSuccess": {}}
    return {
        "partialSuccess": {rejected_name: str(done.rejected), "errorMessage": "records without their required fields"}
    }
