"""What one redaction rule is, and the words that stand for what was removed.

The patterns of all rules keep to what both the standard library and RE2 understand (no look-around,
no back-references). None takes more than linear time: what repeats without a bound ends a match and
can no longer fail, and what can still fail is bounded. ``tests/property/test_redact.py`` measures it.
"""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Iterable, NamedTuple

    Replace = Callable[[re.Match[str]], str]
    """Gets a match of either engine; uses only `group`, `start`, `end` and `string`."""
else:
    from homeostat_agent.record import NamedTuple

KEY = "[REDACTED_KEY]"
BEARER = "[REDACTED]"
TEXT = "[TEXT]"
EMAIL = "[EMAIL]"
INTERNAL_IP = "192.168.x.x"
EXTERNAL_IP = "[EXTERNAL_IP]"


def any_case(pattern: str) -> str:
    """Return a pattern of plain letters and groups so that it matches capitals, too.

    To the standard library ``[Pp][Ww]`` is several times quicker than ``(?i:pw)``: an alternative that
    begins with a class is passed over at once.
    """
    return re.sub(
        r"\\.|\[[^\]]*\]|[A-Za-z]", lambda m: m[0] if len(m[0]) > 1 else f"[{m[0].upper()}{m[0].lower()}]", pattern
    )


def by_first_letter(words: Iterable[str]) -> str:
    """Return an alternation of patterns, in which the first letter leaves few to try. Order is kept within a letter."""
    grouped: dict[str, list[str]] = {}
    for word in words:
        grouped.setdefault(word[0], []).append(word[1:])
    return "|".join(f"{letter}(?:{'|'.join(rest)})" for letter, rest in grouped.items())


class Rule(NamedTuple):
    """One line of the table.

    `hints` and `near` decide cheaply whether the pattern is tried at all by the standard library, whose
    engine is quick only where a search begins with a fixed character. A text holds no match unless, once
    it is in lower case, one of `hints` occurs in it `at_least` times (no hints: any text) and the pattern
    `near` is found in it. `quick` finds what `pattern` finds, in another way that the standard library is
    quicker at. `near` and `quick` are for the standard library alone, and may look around.
    """

    name: str
    pattern: str
    replace: Replace
    hints: tuple[str, ...] = ()
    at_least: int = 1
    near: str = ""
    quick: str = ""
