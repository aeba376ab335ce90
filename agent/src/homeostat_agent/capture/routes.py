"""The route of a request: the template that the framework matched, else its path with the variable parts masked.

What may be read of ASGI scopes and WSGI environments, as of FastAPI 0.165, Starlette 1.10, Flask 3.1 and Django 5.2:

- Starlette puts ``route`` (and ``app_root_path``, ``root_path`` below a mount) into the scope, in place.
- FastAPI keeps included routers apart: ``route`` is the route as it was written, and
  ``scope["fastapi"]["effective_route_context"]`` has the path with the prefixes of the inclusions. Plain
  routes and mounts leave only ``endpoint``.
- Litestar puts ``path_template`` into the scope, Bottle ``bottle.route`` into the environment.
- Flask leaves its request in ``werkzeug.request`` while it is being handled (so: read it when the
  response starts). Django leaves nothing: `homeostat_agent.capture.servers` hooks its resolver.
"""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

UNMATCHED = "(unmatched)"
"""The framework had no route, or nobody knew one and the answer was 404: a scanner may try any number of paths."""

_MAX_CHARS = 200
_MASK = "{id}"
_MAX_SEGMENTS = 12
_PLAIN = re.compile(r"[A-Za-z][A-Za-z_.~-]{0,30}[0-9]{0,2}|v[0-9]{1,3}(?:\.[0-9]{1,3})?|", re.ASCII)


def masked(path: str) -> str:
    """Return a path whose segments are words; numbers, ids, addresses and long tokens become ``{id}``."""
    segments = path.split("?", 1)[0].split("/", _MAX_SEGMENTS)[:_MAX_SEGMENTS]
    return "/".join(segment if _PLAIN.fullmatch(segment) else _MASK for segment in segments)[:_MAX_CHARS] or "/"


def asgi_route(scope: Any, status: int) -> str:
    """Return the route of an ASGI scope. Called again while it becomes better known; the last answer counts."""
    route = scope.get("route")
    template = _template(route)
    if template is None:
        known = scope.get("path_template")
        if isinstance(known, str):
            return known[:_MAX_CHARS]
    context = scope.get("fastapi")
    if context is not None:
        template = _fastapi_template(context, route, template)
    prefix = _mount_prefix(scope, route)
    if template is None and "endpoint" in scope:
        template = _template_of_endpoint(scope)
    if template is None and prefix:
        template = "/{path}"
    if template is not None:
        return (prefix + template)[:_MAX_CHARS] or "/"
    if status == 404 or ("router" in scope and "endpoint" not in scope):
        return UNMATCHED
    return masked(scope.get("path") or "/")


def wsgi_route(environ: Any, status: int) -> str:
    """Return the route of a WSGI environment; best asked when the response starts."""
    rule = getattr(getattr(environ.get("werkzeug.request"), "url_rule", None), "rule", None)
    if rule is None:
        rule = getattr(environ.get("bottle.route"), "rule", None)
    if isinstance(rule, str):
        return rule[:_MAX_CHARS]
    return UNMATCHED if status == 404 else masked(environ.get("PATH_INFO") or "/")


def _template(route: Any) -> str | None:
    if hasattr(route, "routes"):
        return None  # a mount: what it holds says the rest
    # ``path_format`` is ``path`` without the convertors: /items/{id} for /items/{id:int}.
    template = getattr(route, "path_format", None) or getattr(route, "path", None)
    return template if isinstance(template, str) else None


def _fastapi_template(context: Any, route: Any, template: str | None) -> str | None:
    effective = context.get("effective_route_context")
    if effective is None or (route is not None and effective.original_route is not route):
        return template
    return _template(effective.starlette_route) or _template(effective) or template


def _mount_prefix(scope: Any, route: Any) -> str:
    outer = scope.get("app_root_path")
    if outer is None:
        return ""
    prefix = scope.get("root_path", "")[len(outer) :]
    own = getattr(route, "param_convertors", ())
    names = {str(value): name for name, value in (scope.get("path_params") or {}).items() if name not in own}
    return "/".join(
        "{" + names[part] + "}" if part in names else masked(part) if part else "" for part in prefix.split("/")
    )


def _template_of_endpoint(scope: Any) -> str | None:
    endpoint = scope["endpoint"]
    for route in getattr(scope.get("app"), "routes", ()):
        if getattr(route, "endpoint", None) is endpoint:
            return _template(route)
    return None
