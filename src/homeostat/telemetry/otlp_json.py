"""Reading OTLP/JSON: protobuf's JSON mapping with OpenTelemetry's exceptions, from any sender.

64-bit integers are text or numbers, enums are integers (their names are taken too), doubles may be the
text ``NaN`` or ``Infinity``, absent fields have their zero value, and unknown fields are ignored. What
is wrong with the frame of a body raises `InvalidInput` (``bad-telemetry``) and names the place; what is
wrong with one record raises `BadRecord`, and the parser counts it and goes on.
"""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, TypeAlias, TypeVar

import msgspec

from homeostat.core.errors import InvalidInput

Value: TypeAlias = "None | bool | int | float | str | list[Value] | dict[str, Value]"
Record = TypeVar("Record")

_MAX_VALUE_DEPTH = 8
_MAX_INT_CHARS = 20
_INT64 = 1 << 63

MAX_AHEAD = timedelta(minutes=1)
"""A time further in the future is a wrong clock: the time of receipt stands for it."""

MAX_BEHIND = timedelta(days=7)
"""A time further in the past likewise."""


class BadRecord(ValueError):
    """This record (data point, attribute) cannot be read; the rest of the body can."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed(Generic[Record]):
    """What a body held: the records that could be read, and how many could not (OTLP's partial success)."""

    records: tuple[Record, ...]
    rejected: int = 0


def decode(data: bytes) -> Any:
    """Decode a JSON text. `ValueError`, or `RecursionError` where it is nested deeper than the interpreter goes."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        # The standard library takes what some senders write all the same: `NaN`, UTF-16, half a surrogate pair.
        return json.loads(data)


def objects(parent: Mapping[str, Any], key: str, place: str) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Yield the objects of an array of the frame, each with its place; an absent array is empty."""
    for index, item in enumerate(items(parent, key, place)):
        where = f"{place}{key}[{index}]"
        if not isinstance(item, dict):
            raise InvalidInput("bad-telemetry", f"{where} is not an object")
        yield item, where + "."


def items(parent: Mapping[str, Any], key: str, place: str) -> list[Any]:
    """Return an array of the frame; an absent one is empty."""
    value = parent.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise InvalidInput("bad-telemetry", f"{place}{key} is not an array")
    return value


def member(parent: Mapping[str, Any], key: str, place: str) -> Mapping[str, Any]:
    """Return an object of the frame; an absent one is empty."""
    value = parent.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidInput("bad-telemetry", f"{place}{key} is not an object")
    return value


def integer(value: object) -> int:
    """Read a 64-bit integer written as number or text."""
    if isinstance(value, str) and len(value) <= _MAX_INT_CHARS and value.isascii():
        try:
            value = int(value)
        except ValueError:
            raise BadRecord("not an integer") from None
    elif isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not -_INT64 <= value < 2 * _INT64:
        raise BadRecord("not a 64-bit integer")
    return value


def count(value: object) -> int:
    """Read an integer that counts something; absent is 0."""
    number = integer(0 if value is None else value)
    if number < 0:
        raise BadRecord("a negative count")
    return number


def finite(value: object) -> float:
    """Read a double that is a number; ``NaN`` and the infinities are refused."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            raise BadRecord("not a number") from None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadRecord("not a number")
    try:
        number = float(value)
    except OverflowError:
        raise BadRecord("not a double") from None
    if not math.isfinite(number):
        raise BadRecord("not a finite number")
    return number


def enum(value: object, names: Mapping[str, int]) -> int:
    """Read an enum's integer, or its name; absent is 0."""
    if value is None:
        return 0
    if isinstance(value, str) and value in names:
        return names[value]
    return integer(value)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_AHEAD_S, _BEHIND_S = MAX_AHEAD.total_seconds(), MAX_BEHIND.total_seconds()


def time_at(value: object, *, now: datetime) -> datetime | None:
    """Read nanoseconds since 1970 as an aware time; None for 0 or absent; `now` for a clock that is far off."""
    if isinstance(value, str) and len(value) < _MAX_INT_CHARS and value.isascii() and value.isdigit():
        nanoseconds = int(value)  # as nearly all say it
    else:
        nanoseconds = count(value)
    if nanoseconds == 0:
        return None
    # Compared as numbers: 64 bits of nanoseconds may lie beyond the calendar of `datetime`.
    if not -_BEHIND_S <= nanoseconds / 1e9 - now.timestamp() <= _AHEAD_S:
        return now
    return _EPOCH + timedelta(microseconds=nanoseconds // 1000)


def value_of(any_value: object, *, depth: int = 0) -> Value:
    """Read an ``AnyValue`` as a plain value; bytes stay in their base64 text, an empty value is None."""
    if isinstance(any_value, dict) and len(any_value) == 1 and isinstance(known := any_value.get("stringValue"), str):
        return known  # nearly all are
    if depth > _MAX_VALUE_DEPTH or not isinstance(any_value, dict):
        raise BadRecord("not an attribute value")
    for key, value in any_value.items():
        match key:
            case "stringValue" | "bytesValue":
                if not isinstance(value, str):
                    raise BadRecord("not text")
                return value
            case "boolValue":
                if not isinstance(value, bool):
                    raise BadRecord("not a boolean")
                return value
            case "intValue":
                return integer(value)
            case "doubleValue":
                return float(value) if value in ("NaN", "Infinity", "-Infinity") else finite(value)
            case "arrayValue":
                return [value_of(item, depth=depth + 1) for item in _values(value)]
            case "kvlistValue":
                return pairs(_values(value), depth=depth + 1)
            case _:
                continue
    return None


def _values(value: object) -> list[Any]:
    inner = value.get("values", []) if isinstance(value, dict) else None
    if not isinstance(inner, list):
        raise BadRecord("not a list of values")
    return inner


def pairs(attributes: object, *, allow: frozenset[str] | None = None, depth: int = 0) -> dict[str, Value]:
    """Read a list of key and value. With `allow`, all other keys are skipped unread: structure before values."""
    if attributes is None:
        return {}
    if not isinstance(attributes, list):
        raise BadRecord("attributes are not an array")
    found: dict[str, Value] = {}
    for attribute in attributes:
        key = attribute.get("key") if isinstance(attribute, dict) else None
        if not isinstance(key, str):
            raise BadRecord("an attribute without a key")
        if allow is None or key in allow:
            found[key] = value_of(attribute.get("value", {}), depth=depth)
    return found


def text(value: Value) -> str:
    """Return a value that should be text; anything else counts as absent."""
    return value if isinstance(value, str) else ""
