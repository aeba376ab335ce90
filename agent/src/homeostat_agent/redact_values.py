"""What a value looks like: how a credential is told from a word, a count, an id, or nothing at all."""

from __future__ import annotations

import math
import re
from collections import Counter

from homeostat_agent.redact_rules import BEARER, EMAIL, EXTERNAL_IP, KEY, TEXT

MARKS = frozenset((KEY, BEARER, EMAIL, EXTERNAL_IP, TEXT))
"""What redaction itself puts in place of something."""

# Patterns are kept as text: `re` compiles them when they are first needed, and keeps them.
_PLACEHOLDER = (
    r"(?i:\(?(?:none|null|nil|nan)\)?|true|false|undefined|empty|missing|required|invalid|valid|not|no|yes|ok|on|off"
    r"|str|int|bool|string|bytes|expired|incorrect|wrong|rejected|denied|accepted|changed|unchanged|updated|reset|set"
    r"|unset|unknown|default|failure|success|enabled|disabled|revoked|refreshed|mismatch|optional|encrypted"
    r"|failed[a-z_]{0,40}|[0-9]{1,2}|\*+|x{3,}|\.{3}|%[sdr]|\$?\{[a-z0-9_.:-]{0,80}\}?|\$\(?[a-z_][a-z0-9_]{0,80}\)?"
    r"|\{\{.{0,80}|%\([a-z_]{1,40}\)s?|<[a-z0-9_ -]{0,80}>?|\[?redacted\]?)?"
)
_CREDENTIAL = r"[A-Za-z0-9+/_.=~%-]+"
_UUID = r"(?i:[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12})"
_INTERLEAVED = r"[0-9][^0-9]*[A-Za-z]"
_PROSE = r" [a-z]{2,12}(?:[ .,;:!?]|$)"


def is_placeholder(value: str) -> bool:
    """Tell whether a value says that there is none, or where it comes from: ``None``, ``expired``, ``${X}``."""
    return value in MARKS or re.fullmatch(_PLACEHOLDER, value, re.ASCII) is not None


def is_prose(head: str, value: str, rest: str) -> bool:
    """Tell ``password: user not found`` from ``password: letmein``: a word that a sentence goes on from."""
    return head.endswith(": ") and value.isalpha() and value.islower() and re.match(_PROSE, rest, re.ASCII) is not None


def entropy(text: str) -> float:
    """Return Shannon's entropy of the characters, in bits a character."""
    size = len(text)
    return -sum(n / size * math.log2(n / size) for n in Counter(text).values())


def is_mixed(value: str) -> bool:
    """Letters and digits, as in nearly all credentials and few words."""
    return any(c.isdigit() for c in value) and any(c.isalpha() for c in value)


def is_uuid(value: str) -> bool:
    return re.fullmatch(_UUID, value, re.ASCII) is not None


def looks_secret(value: str, *, least: int) -> bool:
    """Tell whether a value after a word that only may mean a credential looks like one."""
    if (
        len(value) < least
        or not re.fullmatch(_CREDENTIAL, value, re.ASCII)
        or re.fullmatch(_UUID, value, re.ASCII)
        or value[:2] in ("0x", "0X")
    ):
        return False
    return is_mixed(value) and entropy(value[:128]) >= min(3.0, math.log2(least) - 0.3)


def looks_like_password(value: str) -> bool:
    """Tell ``s3cr3t!x`` from words, counts and names: letters and digits, or letters and a mark amid them."""
    if len(value) < 6 or value[0] in "/~<{[(" or value[:2] in ("0x", "0X") or is_uuid(value):
        return False
    return is_mixed(value) or (any(c in "!@$%^&*" for c in value[:-1]) and any(c.isalpha() for c in value))


def is_interleaved(value: str) -> bool:
    """Tell ``a1b2c3`` from ``policy2``: a letter comes after a digit."""
    return re.search(_INTERLEAVED, value, re.ASCII) is not None


_KINDS = str.maketrans(
    {c: "u" if c.isupper() else "l" if c.islower() else "d" if c.isdigit() else " " for c in map(chr, range(128))}
)
_UNLIKE_NEIGHBOURS = ("ul", "lu", "ud", "du", "ld", "dl")


def is_random(value: str) -> bool:
    """Tell a long random text of capitals, small letters and digits from a path, a class or a hash; of ASCII alone.

    In a random text three of five neighbours are of different kinds; in words, one of five. Without
    capitals or small letters it is a hash or an id, of which logs are full.
    """
    kinds = value[:200].translate(_KINDS)
    count = kinds.count
    upper, lower, digits = count("u"), count("l"), count("d")
    if min(upper, lower, digits) < 3:
        return False
    neighbours = upper + lower + digits - len(kinds.split())
    return sum(map(count, _UNLIKE_NEIGHBOURS)) >= 0.42 * neighbours and entropy(value[:200]) >= 4.0
