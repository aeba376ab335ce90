"""Characters in added lines that make code read differently from what it does."""

import re
import unicodedata
from collections.abc import Iterable

from homeostat.model.change import TreeChange
from homeostat.model.proof import PolicyFinding, PolicySeverity
from homeostat.policy.document import PolicyDocument
from homeostat.policy.rules.shape import Rule, added_lines

_PLAIN = re.compile(r"[\x20-\x7e\t\r\f]*")
"""What most lines are."""

_ALLOWED = frozenset("\t\r\f\ufeff")
"""A byte order mark counts only at the start of a file, checked below."""


def _check(change: TreeChange, document: PolicyDocument) -> Iterable[PolicyFinding]:
    for item in change.files:
        for number, line in added_lines(item):
            if _PLAIN.fullmatch(line):
                continue
            bad = next((char for place, char in enumerate(line) if _is_hidden(char, number == 1 and place == 0)), None)
            if bad is not None:
                name = f"U+{ord(bad):04X} {unicodedata.name(bad, '')}".strip()
                yield PolicyFinding(
                    rule="hidden-characters",
                    severity=PolicySeverity.BLOCK,
                    path=item.path,
                    line=number,
                    message=f"this line holds the invisible character {name}",
                    remedy="write it as an escape where it is meant, or take it out",
                )


def _is_hidden(char: str, first: bool) -> bool:
    if char == "\ufeff":
        return not first
    # Cf: bidirectional controls, zero-width joiners and spaces, tags; Cc: other control characters.
    return char not in _ALLOWED and unicodedata.category(char) in ("Cf", "Cc")


RULE = Rule(id="hidden-characters", summary="No invisible or bidirectional characters are added", check=_check)
