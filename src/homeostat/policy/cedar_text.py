"""Cedar policies as text: taken apart into single ones, each with its place, and bounded before Cedar sees them.

Cedar's parser goes down as deep as a text nests, and a few thousand brackets end the process. So what is
handed to it is short and flat; and one policy at a time, so that an error has a file and a line.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from homeostat.core.errors import InvalidInput
from homeostat.core.limits import MAX_POLICY_CHARS, MAX_POLICY_FILE_CHARS, MAX_POLICY_NESTING

# What can hide a `;` or a bracket comes first: comments, and strings, which may go over several lines.
_TOKEN = re.compile(r'//[^\n\r]*|"(?:\\.|[^"\\])*"|[A-Za-z_][A-Za-z0-9_]*|\S', re.DOTALL)
_OPENS, _CLOSES = "([{", ")]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyText:
    """One policy of a file."""

    place: str
    """``file:line`` of its first word."""

    text: str


def split(name: str, text: str) -> Iterator[PolicyText]:
    """Take a file apart at the ends of its policies; `InvalidInput` ``bad-policy`` for what is too large or deep."""
    if len(text) > MAX_POLICY_FILE_CHARS:
        raise bad_policy(name, f"it has {len(text)} characters; at most {MAX_POLICY_FILE_CHARS} are read")
    start, nests, ifs = -1, 0, 0
    for token in _TOKEN.finditer(text):
        word = token[0]
        if word.startswith("//"):
            continue
        if start < 0:
            start, nests, ifs = token.start(), 0, 0
        if word == '"':
            raise bad_policy(_place(name, text, token.start()), "a text begins here and does not end")
        nests += (word in _OPENS) - (word in _CLOSES)
        ifs += word == "if"
        if max(nests, ifs) > MAX_POLICY_NESTING:
            why = f"the policy nests deeper than {MAX_POLICY_NESTING}: brackets, or one `if` in another"
            raise bad_policy(_place(name, text, start), why)
        if token.end() - start > MAX_POLICY_CHARS:
            why = f"a policy has at most {MAX_POLICY_CHARS} characters: make it several"
            raise bad_policy(_place(name, text, start), why)
        if word == ";":
            yield PolicyText(place=_place(name, text, start), text=text[start : token.end()])
            start = -1
    if start >= 0:
        raise bad_policy(_place(name, text, start), "the policy that begins here does not end with `;`")


def bad_policy(place: str, why: str) -> InvalidInput:
    """Return the error for a policy that cannot be used."""
    return InvalidInput("bad-policy", f"{place}: {why}", hint="mend it, or move the file away; docs/POLICY.md says how")


def _place(name: str, text: str, offset: int) -> str:
    return f"{name}:{text.count(chr(10), 0, offset) + 1}"
