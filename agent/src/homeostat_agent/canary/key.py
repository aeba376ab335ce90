"""What keeps a user on one arm: a header, a cookie or a query parameter of the request.

The value is only ever hashed together with the change's id, and never leaves the process.
"""

from __future__ import annotations

from hashlib import blake2b

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Iterable

PLACES = ("header", "cookie", "query")
_MAX_NAME_CHARS = 200


class Key:
    """A named value of a request."""

    __slots__ = ("name", "place")

    def __init__(self, place: str, name: str) -> None:
        self.place = place
        self.name = name

    def point(self, change_id: str, source: Any) -> float | None:
        """Return where in [0, 1) this request's value falls for this change; None where the request has none.

        `source` is an ASGI scope, a WSGI environment, or an object with `headers` and `query_string`. Values
        are compared as they were sent, without decoding. Never raises.
        """
        try:
            value = self._value(source)
        except Exception:  # the host's own mapping: anything may come out of it
            return None
        if not value:
            return None
        digest = blake2b(change_id.encode() + b"\0" + value.encode("utf-8", "replace"), digest_size=6).digest()
        return int.from_bytes(digest, "big") / (1 << 48)

    def _value(self, source: Any) -> str:
        if self.place == "header":
            return _header(source, self.name)
        if self.place == "cookie":
            return _pick(_header(source, "cookie").split(";"), self.name)
        if isinstance(source, dict):
            query = source.get("query_string", source.get("QUERY_STRING", ""))
        else:
            query = source.query_string
        return _pick(_text(query).split("&"), self.name)


def parse_key(text: str) -> Key | None:
    """Read ``header:NAME``, ``cookie:NAME`` or ``query:NAME``; None when it is none of these."""
    place, _, name = text.partition(":")
    usable = 0 < len(name) <= _MAX_NAME_CHARS and name.isascii() and name.isprintable() and " " not in name
    return Key(place, name) if place in PLACES and usable else None


def _header(source: Any, name: str) -> str:
    if not isinstance(source, dict):
        return str(source.headers.get(name) or "")
    if "headers" not in source:
        return str(source.get("HTTP_" + name.upper().replace("-", "_")) or "")
    wanted = name.lower().encode()
    return _text(next((value for key, value in source["headers"] if key.lower() == wanted), b""))


def _pick(parts: Iterable[str], name: str) -> str:
    for part in parts:
        found, _, value = part.strip().partition("=")
        if found == name:
            return value
    return ""


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)
