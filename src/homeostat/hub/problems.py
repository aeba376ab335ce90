"""Errors as answers: the contract's error fields and problem details (RFC 9457) in one body.

On ``/api/selfimprove/apply`` a request that was not understood has every field of `ApplyError`, like
every other answer there. Nothing of a request is echoed but its field names and the proposal's id.
An OpenTelemetry sender that speaks protobuf is answered in protobuf, as OTLP has it.
"""

import logging

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from homeostat.core.error_table import Family, family_of
from homeostat.core.errors import HomeostatError
from homeostat.hub.context import HubContext
from homeostat.hub.contract import APPLY_PATH, INVALID_REQUEST, Problem, apply_error, problem_text
from homeostat.telemetry.otlp_protobuf import status as otlp_status

_log = logging.getLogger(__name__)

_MAX_DETAIL_CHARS = 2_000
_MAX_PLACE_CHARS = 80
_MAX_PLACES = 5
_MAX_ID_CHARS = 200

PROTOBUF = "application/x-protobuf"
OTLP_PREFIX = "/v1/"
"""Below it is what OpenTelemetry senders post to."""


def content_type(scope: Scope) -> str:
    """Return the media type of a request's body, without its parameters; empty where none is said."""
    return Headers(scope=scope).get("content-type", "").partition(";")[0].strip().lower()


class ProblemResponse(JSONResponse):
    """A problem, sent as a ``google.rpc.Status`` to who asked in OTLP's protobuf."""

    text = ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"].startswith(OTLP_PREFIX) and content_type(scope) == PROTOBUF:
            self.body = otlp_status(self.text)
            self.headers["Content-Type"] = PROTOBUF
            self.headers["Content-Length"] = str(len(self.body))
        await super().__call__(scope, receive, send)


def problem(
    status: int, code: str, details: str, *, hint: str | None = None, family: Family | None = None
) -> JSONResponse:
    """Answer with an error. The body of a 400 is plain JSON, as the contract has it."""
    text = _sendable(details)
    body = Problem(
        error=problem_text(status, code),
        details=text,
        type=f"urn:homeostat:error:{code}",
        title=code,
        status=status,
        detail=text,
        family=family.label if family else None,
        hint=_sendable(hint) if hint else None,
    ).model_dump(exclude_none=True)
    media_type = "application/problem+json" if status != 400 else None
    answer = ProblemResponse(body, status_code=status, media_type=media_type)
    answer.text = "; ".join(filter(None, (f"{code}: {text}", body.get("hint"))))
    return answer


def known_error(request: Request, error: Exception) -> Response:
    """Answer with an error of ours, by its family, and count it."""
    assert isinstance(error, HomeostatError)
    family = family_of(error)
    context: HubContext = request.app.state.context
    context.metrics.errors.labels(family.label).inc()
    return problem(family.http_status, error.code, error.message, hint=error.hint, family=family)


def bad_request(request: Request, error: Exception) -> Response:
    """Answer 400 to a body or query that is not as documented, naming the places (never 422)."""
    assert isinstance(error, RequestValidationError)
    places = []
    for item in error.errors()[:_MAX_PLACES]:
        if item["type"] == "json_invalid":
            places.append(f"the body is not JSON (character {item['loc'][-1]})")
            continue
        place = ".".join(str(part) for part in item["loc"] if part != "body")[:_MAX_PLACE_CHARS]
        places.append(f"{place or 'body'}: {item['msg']}")
    hint = None
    if isinstance(error.body, bytes):  # the framework left it unread
        hint = "send a JSON body with `Content-Type: application/json`"
    named = error.body.get("proposal_id") if isinstance(error.body, dict) else None
    return _invalid(request, "; ".join(places), named if isinstance(named, str) else "", hint)


def http_error(request: Request, error: Exception) -> Response:
    """Answer what the framework refused: no such path or method, a body that cannot be decoded."""
    assert isinstance(error, HTTPException)
    if error.status_code == 400:
        return _invalid(request, "the body is not JSON", "", None)
    answer = problem(error.status_code, "http-error", str(error.detail))
    answer.headers.update(error.headers or {})
    return answer


class NotTaken(Exception):
    """A body that is not read: too large, or in a form that is not understood here."""

    def __init__(self, status: int, code: str, details: str, *, hint: str | None = None, accept: str = "") -> None:
        super().__init__(details)
        self.answer = problem(status, code, details, hint=hint)
        if accept:
            self.answer.headers["Accept-Encoding"] = accept


def not_taken(request: Request, error: Exception) -> Response:
    """Answer what a route would not read."""
    assert isinstance(error, NotTaken)
    return error.answer


def gone(request: Request, error: Exception) -> Response:
    """Answer, for nobody, a caller that went away in the middle of its body."""
    assert isinstance(error, ClientDisconnect)
    return _invalid(request, "the body broke off", "", None)


def crash(request: Request, error: Exception) -> Response:
    """Answer 500 to what should not have happened; the log has the details, the caller has none."""
    _log.error("unexpected %s in %s", type(error).__name__, request.scope["path"], exc_info=error)
    context: HubContext = request.app.state.context
    context.metrics.errors.labels("bug").inc()
    return problem(500, "bug", "the hub failed to answer; its log has the details")


def _invalid(request: Request, details: str, proposal_id: str, hint: str | None) -> Response:
    if request.scope["path"] == APPLY_PATH:
        told = f"{details}; {hint}" if hint else details
        body = apply_error(_sendable(proposal_id)[:_MAX_ID_CHARS], INVALID_REQUEST, _sendable(told))
        return JSONResponse(body.model_dump(), status_code=400)
    return problem(400, "invalid-request", details, hint=hint)


def _sendable(text: str) -> str:
    """Return text that has an encoding: a key or path in an answer may hold a lone surrogate."""
    return text[:_MAX_DETAIL_CHARS].encode("utf-8", "backslashreplace").decode("utf-8")
