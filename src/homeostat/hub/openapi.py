"""The published description of the interface, made to say what the hub really answers.

FastAPI describes a 422 that is never sent here, and knows nothing of the gate in front of the routes.
"""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from homeostat.hub.contract import Problem

_PROBLEM = {"schema": {"$ref": "#/components/schemas/Problem"}}
_EVERYWHERE = {
    "401": "No token, or one that is not known here",
    "403": "Not for this credential, Host or Origin",
    "503": "A part that is needed is not there now: try again later",
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
                responses.setdefault("400", _response("The request is not as documented, or was refused"))
            if path in open_paths:
                continue
            operation["security"] = [{"token": []}]
            for status, text in _EVERYWHERE.items():
                responses.setdefault(status, _response(text))
            operation["responses"] = dict(sorted(responses.items()))
    return document


def _response(text: str) -> dict[str, Any]:
    return {"description": text, "content": {"application/problem+json": _PROBLEM}}
