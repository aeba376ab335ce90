"""Canonical JSON: one value has exactly one encoding, so that it can be hashed and signed.

Keys are sorted by code point, there is no white space, text is UTF-8 without escapes beyond what
JSON demands, and floats are refused (their shortest form differs between writers): store
milliseconds, basis points or text. This is RFC 8785 without its number formatting.
"""

import json
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from homeostat.core.errors import InvalidInput

JsonValue: TypeAlias = "None | bool | int | str | Sequence[JsonValue] | Mapping[str, JsonValue]"

_MAX_DEPTH = 32
_MAX_INT = 2**53 - 1  # beyond this, readers in other languages lose digits


def encode(value: JsonValue) -> bytes:
    """Return the canonical encoding of `value`, or raise `InvalidInput` when it has none."""
    _check(value, depth=0)
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidInput("not-canonical", "a lone surrogate has no canonical JSON") from error


def _check(value: JsonValue, *, depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise InvalidInput("not-canonical", f"nested deeper than {_MAX_DEPTH} levels")
    match value:
        case None | bool() | str():
            return
        case int():
            if abs(value) > _MAX_INT:
                raise InvalidInput("not-canonical", f"the integer {value} is beyond 2**53 - 1")
        case dict():
            for key, item in value.items():
                if not isinstance(key, str):
                    raise InvalidInput("not-canonical", f"the key {key!r} is not text")
                _check(item, depth=depth + 1)
        case list() | tuple():
            for item in value:
                _check(item, depth=depth + 1)
        case _:
            raise InvalidInput("not-canonical", f"a {type(value).__name__} has no canonical JSON")
