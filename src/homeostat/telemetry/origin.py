"""Who sent it and from where: the few attributes that are read of a resource, a frame, and a route."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from homeostat.core.errors import InvalidInput
from homeostat.core.ids import CommitId, parse_commit_id
from homeostat.model.finding import CodeLocation
from homeostat.telemetry.otlp_json import BadRecord, Value, member, pairs, text
from homeostat.telemetry.redact import clean

RESOURCE_ATTRIBUTES = frozenset({"service.name", "service.instance.id", "process.pid", "vcs.ref.head.revision"})
MAX_NAME_CHARS = 200
MAX_TRACE_FRAMES = 30
_MAX_ID_CHARS = 100
_MAX_ROUTE_SEGMENTS = 20

UNKNOWN_PROCESS = "unknown"

_LIBRARY = re.compile(r"(?:^|/)(?:site-packages|dist-packages|lib/python3(?:\.[0-9]+)?)(?:/|$)|^<", re.ASCII)
_FRAME = re.compile(r"(.{1,400}):([0-9]{1,9}):([^:]{0,200})", re.ASCII)
_STACK_LINE = re.compile(r'^[ |+]{0,200}File "([^"\n]{1,400})", line ([0-9]{1,9})(?:, in ([^\n]{1,200}))?')
_NEXT_EXCEPTION = ("During handling of the above exception", "The above exception was the direct cause")
_MAX_STACK_CHARS = 64_000


def resource_of(resource_entry: Mapping[str, Any], place: str) -> tuple[str, CommitId | None]:
    """Return (process id, running commit) of a ``resourceLogs`` or ``resourceMetrics`` entry."""
    resource = member(resource_entry, "resource", place)
    try:
        attributes = pairs(resource.get("attributes"), allow=RESOURCE_ATTRIBUTES)
    except BadRecord as error:
        raise InvalidInput("bad-telemetry", f"{place}resource.attributes: {error}") from error
    process = text(attributes.get("service.instance.id"))
    if not process:
        parts = (text(attributes.get("service.name")), str(attributes.get("process.pid") or ""))
        process = "-".join(part for part in parts if part) or UNKNOWN_PROCESS
    try:
        commit = parse_commit_id(text(attributes.get("vcs.ref.head.revision")).lower())
    except InvalidInput:
        commit = None
    return clean(process, max_chars=_MAX_ID_CHARS), commit


@lru_cache(maxsize=4096)
def name(value: str) -> str:
    """Return a name (logger, type, function) cleaned and cut."""
    return clean(value, max_chars=MAX_NAME_CHARS).replace("\n", " ")


@lru_cache(maxsize=4096)
def relative_path(path: str, repository: str) -> str:
    """Return a file's path inside the repository, or an empty text for one that is not part of it.

    A relative path is taken at its word: the sender's own working folder is nearly always the repository.
    """
    path = path.replace("\\", "/")
    root = repository.replace("\\", "/").rstrip("/") + "/"
    if len(root) > 1 and path.startswith(root):
        path = path[len(root) :].lstrip("/")
    if path.startswith(("/", "~")) or path[1:2] == ":" or ".." in path.split("/") or _LIBRARY.search(path):
        return ""
    return clean(path.removeprefix("./"), max_chars=MAX_NAME_CHARS)


@lru_cache(maxsize=4096)
def route(template: str) -> str:
    """Return a route with anything that looks like a value masked; what the agent sends stays as it is."""
    segments = _QUERY.split(template, 1)[0].split("/", _MAX_ROUTE_SEGMENTS)[:_MAX_ROUTE_SEGMENTS]
    return "/".join(_segment(segment) for segment in segments)[:MAX_NAME_CHARS]


_QUERY = re.compile(r"(?<!\()\?")
"""Where a query begins; ``(?P<pk>`` belongs to a route that is a regular expression."""

_VALUE_SEGMENT = re.compile(r"[0-9]+|[0-9A-Fa-f]{8,}|[0-9A-Fa-f-]{32,}|[^{<(:^]{41,}", re.ASCII)


def _segment(segment: str) -> str:
    return "{id}" if _VALUE_SEGMENT.fullmatch(segment) or clean(segment) != segment else segment


def location(path: Value, function: Value, line: Value, repository: str) -> CodeLocation:
    """Return a place in code from the attributes of a record."""
    number = line if isinstance(line, int) and 0 <= line < 1 << 31 else 0
    return CodeLocation(path=relative_path(text(path), repository), function=name(text(function)), line=number)


def trace_of(value: Value, repository: str) -> tuple[CodeLocation, ...]:
    """Read ``homeostat.trace``: frames inside the repository, outermost first; others are skipped."""
    if not isinstance(value, list):
        return ()
    frames = (_FRAME.fullmatch(item) for item in value[:MAX_TRACE_FRAMES] if isinstance(item, str))
    places = (location(frame[1], frame[3], int(frame[2]), repository) for frame in frames if frame)
    return tuple(place for place in places if place.path)


def trace_of_stack(stack: str, repository: str) -> tuple[CodeLocation, ...]:
    """Read the text of a Python traceback, the last exception of a chain; nothing of the text is kept."""
    places: list[CodeLocation] = []
    if not stack:
        return ()
    for line in stack[-_MAX_STACK_CHARS:].splitlines():
        if line.lstrip(" |").startswith(_NEXT_EXCEPTION):
            places.clear()
        elif found := _STACK_LINE.match(line):
            place = location(found[1], found[3] or "", int(found[2]), repository)
            if place.path:
                places.append(place)
    return tuple(places[-MAX_TRACE_FRAMES:])
