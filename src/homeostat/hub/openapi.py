"""The published description of the interface, made to say what the hub really answers.

FastAPI describes a 422 that is never sent here, and knows nothing of the gate in front of the routes.
"""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from homeostat.hub.contract import Problem
from homeostat.hub.problems import PROTOBUF

_PROBLEM = {"schema": {"$ref": "#/components/schemas/Problem"}}
_WITH_BODY = {
    "408": "The body took too long",
    "413": "The body is too large, as sent or inflated",
}
_EVERYWHERE = {
    "401": "No token, or one that is not known here",
    "403": "Not for this credential, Host or Origin",
    "500": "Something was altered that may not be, it is not known what happened, or the hub failed",
    "503": "A part that is needed is not there now: try again later",
}
_SAID = {
    "400": "The request is not as documented, or was refused",
    "404": "What was named does not exist",
    "409": "The world has moved on: read again and decide again",
    "415": "The body is in a form that is not read here; the details say which one is",
}
_NEVER_SENT = ("HTTPValidationError", "ValidationError")


def describe(app: FastAPI, *, open_paths: frozenset[str]) -> dict[str, Any]:
    """Return the OpenAPI document. Paths in `open_paths` need no token."""
    document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    schemas = document["components"]["schemas"]
    for name in _NEVER_SENT:
        schemas.pop(name, None)
    schemas["Problem"] = Problem.model_json_schema()
    document["components"]["securitySchemes"] = {
        "token": {"type": "http", "scheme": "bearer", "description": "`homeostat token`, or `--agent NAME` for a bot"}
    }
    for path, item in document["paths"].items():
        for operation in item.values():
            responses = operation["responses"]
            if responses.pop("422", None):
                responses.setdefault("400", _response(_SAID["400"], plain=True))
            _say_problems(responses)
            if path in open_paths:
                continue
            if "requestBody" in operation:
                for status, text in _WITH_BODY.items():
                    responses.setdefault(status, _response(text))
            operation["security"] = [{"token": []}]
            for status, text in _EVERYWHERE.items():
                responses.setdefault(status, _response(text))
            if PROTOBUF in operation.get("requestBody", {}).get("content", {}):
                _say_statuses(responses)
            operation["responses"] = dict(sorted(responses.items()))
    _link_proposals(document)
    return document


def _say_problems(responses: dict[str, Any]) -> None:
    """Problems are `application/problem+json`, but for a 400: the source's contract wants plain JSON there."""
    for status, response in responses.items():
        if _PROBLEM in response.get("content", {}).values():
            responses[status] = _response(_SAID[status], plain=status == "400")


def _say_statuses(responses: dict[str, Any]) -> None:
    """Who asks in protobuf is told problems as a `google.rpc.Status`."""
    for response in responses.values():
        response["content"].setdefault(PROTOBUF, {"schema": {"type": "string", "format": "binary"}})


def _link_proposals(document: dict[str, Any]) -> None:
    """Say where the id of a proposal that was handed in may be used."""
    (handed_in,) = (
        operation
        for item in document["paths"].values()
        for operation in item.values()
        if operation["operationId"] == "submit_proposal"
    )
    handed_in["responses"]["201"]["links"] = {
        operation["operationId"]: {
            "operationId": operation["operationId"],
            "parameters": {"proposal_id": "$response.body#/proposal_id"},
        }
        for path, item in document["paths"].items()
        for operation in item.values()
        if "{proposal_id}" in path
    }


def _response(text: str, *, plain: bool = False) -> dict[str, Any]:
    return {"description": text, "content": {"application/json" if plain else "application/problem+json": _PROBLEM}}
