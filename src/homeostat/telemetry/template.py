"""What makes two errors the same: type of the exception, place in the code, and message without its values.

The place is path and function but not the line, so that an edit further up in the file does not make a
known error new. Nothing is learned from other records: the template of an occurrence depends on it
alone, so neither order nor restarts can change how errors are grouped.
"""

import re
from functools import lru_cache
from typing import NamedTuple

from homeostat.core.canonical_json import encode
from homeostat.core.digests import Digest, digest_bytes
from homeostat.model.finding import ErrorOccurrence

MAX_TEMPLATE_CHARS = 300
_MAX_READ_CHARS = 2_000
_MAX_ROUNDS = 8


class _Mask(NamedTuple):
    """A pattern that stands for values, and what must be in a text that holds a match of it."""

    pattern: re.Pattern[str]
    mask: str
    hints: tuple[str, ...]


_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DIGITS = tuple("0123456789")
_ANY_TEXT = ("",)

_MASKS: tuple[_Mask, ...] = tuple(
    _Mask(re.compile(pattern, re.ASCII), mask, hints)
    for pattern, mask, hints in (
        # What redaction put there, and masks themselves, are one value each: they go first and stay.
        (r"\[(?:REDACTED_KEY|REDACTED|EMAIL|EXTERNAL_IP|TEXT)\]|\b192\.168\.x\.x\b", "<*>", ("[", "192.168.")),
        (r"\b[A-Za-z][A-Za-z0-9+.-]{1,30}://[^\x00-\x20\"'<>,;)\]}]+", "<*>", ("://",)),
        (r"(?<![A-Za-z0-9])'(?:[^'\\\n]|\\[^\n]){0,300}'|\"(?:[^\"\\\n]|\\[^\n]){0,300}\"", "<*>", ("'", '"')),
        (r"\b[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}\b", "<*>", ("-",)),
        (r"\b[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ][0-9:.,]{5,20})?(?:Z|[+-][0-9]{2}:?[0-9]{2})?", "<*>", ("-",)),
        (
            r"\b(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]{0,6},? {1,2})?"
            rf"(?:{'|'.join(_MONTHS)})[a-z]{{0,6}} {{1,2}}[0-9]{{1,2}}\b(?:,? [0-9:.]{{4,15}}){{0,2}}",
            "<*>",
            _MONTHS,
        ),
        (r"\b0[xX][0-9A-Fa-f]+\b", "<*>", ("0x", "0X")),
        (r"(?:^|(?<=[\x00-\x20=:(\[,]))~?/[^\x00-\x20\"'<>,;:)\]}]+", "<*>", ("/",)),
        (r"\b[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){5}\b", "<*>", (":",)),
        (
            r"\b(?:[A-Za-z0-9-]{1,63}\.){1,8}(?:com|net|org|edu|gov|info|biz|internal|local|lan|[a-z]{2}\.[a-z]{2})\b",
            "<*>",
            (".",),
        ),
        (r"(?<=[A-Za-z0-9_]=)[^\x00-\x20,;&<>)\]}]+", "<*>", ("=",)),
        # Ids: words that end in numbers, long hexadecimal words, and words that mix letters and two or more digits.
        (r"\b[A-Za-z]{1,32}(?:[_-]{1,2}[0-9]+)+\b", "<*>", ("_", "-")),
        (r"(?:(?<![A-Za-z0-9_])[+-])?\b(?=[0-9A-Fa-f]*[0-9])[0-9A-Fa-f]{8,}\b", "<*>", _DIGITS),
        (r"\b(?=[A-Za-z_.-]{0,64}[0-9])[A-Za-z0-9_-]{12,}\b", "<*>", _DIGITS),
        (r"\b[0-9]+(?:\.[0-9]+)? ?(?:[KMGT]i?B|[Bb]ytes?|B|[mu]?s|min|sec(?:onds?)?)\b", "<*>", _DIGITS),
        (r"(?<![A-Za-z0-9_])[+-]?[0-9]+(?:[.,:/-][0-9]+)*(?:[eE][+-]?[0-9]+)?(?:%|[A-Za-z]{1,3}\b)?", "<*>", _DIGITS),
        (r"(?<=[A-Za-z_#-])[0-9]+(?![0-9A-Za-z])", "<*>", _DIGITS),
        (r"<\*>(?:[ ]?(?:[,:/|x×-]|\.)?[ ]?<\*>)+", "<*>", ("<*>",)),
        (r"[\x00-\x20]+", " ", _ANY_TEXT),
    )
)


_INTERFACES = frozenset({"asgi", "wsgi", "aiohttp"})
"""What the agent calls the interface at which it sees requests."""

_KNOWN_SHAPES = 8192
_ANY_DIGIT = str.maketrans("023456789", "111111111")
_ANY_DIGIT_BUT_0 = str.maketrans("23456789", "11111111")
_DIGIT = re.compile(r"[0-9]", re.ASCII)


def masked(message: str) -> str:
    """Return the message with its variable parts as ``<*>``, at most `MAX_TEMPLATE_CHARS` long; idempotent."""
    # No mask asks which digit it is (but for the 0 of `0x`, and of the marks, which go first): so what
    # becomes of a message is known from another one that differs from it in digits only. Nearly all do.
    text = message[:_MAX_READ_CHARS].strip()
    if "[" in text or "192.168." in text:
        text = _MASKS[0].pattern.sub("<*>", text)
    known = _masked_shape(text.translate(_ANY_DIGIT_BUT_0 if "0x" in text or "0X" in text else _ANY_DIGIT))
    return known if _DIGIT.search(known) is None else _masked(text)


@lru_cache(maxsize=_KNOWN_SHAPES)
def _masked_shape(shape: str) -> str:
    return _masked(shape)


def _masked(text: str) -> str:
    for _ in range(_MAX_ROUNDS):
        changed = _mask_once(text)
        if changed == text:
            return text
        text = changed
    return "<*>"  # what never comes to rest is a value as a whole


def _mask_once(text: str) -> str:
    for pattern, mask, hints in _MASKS:
        for hint in hints:
            if hint in text:
                text = pattern.sub(mask, text)
                break
    text = text.strip()
    if len(text) > MAX_TEMPLATE_CHARS:
        # At a word's end: the middle of a value differs from the value.
        text = text[:MAX_TEMPLATE_CHARS].rpartition(" ")[0] or text[:MAX_TEMPLATE_CHARS]
    return text


def template_of(occurrence: ErrorOccurrence) -> tuple[Digest, str]:
    """Return (group key, message template) of one occurrence.

    Without an exception and without a place in the repository the logger's name stands for the place; where
    that is only the interface of the server, which saw a request fail, the route stands beside it.
    """
    template = masked(occurrence.message)
    place = occurrence.location
    nowhere = not occurrence.exception_type and not place.path
    logger = occurrence.logger if nowhere else ""
    if logger in _INTERFACES and occurrence.route:
        logger = f"{logger} {occurrence.route}"
    return _key(occurrence.exception_type, place.path, place.function, logger, template), template


@lru_cache(maxsize=_KNOWN_SHAPES)
def _key(*parts: str) -> Digest:
    return digest_bytes(encode(("error-template-1", *parts)))
