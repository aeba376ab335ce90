"""What one redaction rule is, and the words that stand for what was removed.

The patterns of all rules keep to what both the standard library and RE2 understand (no look-around,
no back-references). None takes more than linear time: what repeats without a bound ends a match and
can no longer fail, and what can still fail is bounded. ``tests/property/test_redact.py`` measures it.
"""

from __future__ import annotations

import re
from typing import Callable, NamedTuple

KEY = "[REDACTED_KEY]"
BEARER = "[REDACTED]"
TEXT = "[TEXT]"
EMAIL = "[EMAIL]"
INTERNAL_IP = "192.168.x.x"
EXTERNAL_IP = "[EXTERNAL_IP]"

Replace = Callable[["re.Match[str]"], str]
"""Gets a match of either engine; uses only `group`, `start`, `end` and `string`."""


class Rule(NamedTuple):
    """One line of the table.

    `hints` are in lower case: a text in which none of them occurs `at_least` times (once it is in lower
    case too) holds no match. They decide cheaply whether the pattern is tried at all.
    """

    name: str
    pattern: str
    replace: Replace
    hints: tuple[str, ...]
    at_least: int = 1
