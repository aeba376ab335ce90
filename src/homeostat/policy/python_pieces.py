"""Pieces of Python that are no whole file: what a patch shows of one, statement by statement.

A hunk begins and ends anywhere: inside a function, a bracket or a text. What stands there in whole statements is
parsed as such, headers without their body too; of the rest, whatever looks like a call is taken for one. That may find
a call in what is a text; it finds every one that is written as a call.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from homeostat.policy.python_uses import Use, no_warnings, uses_of, uses_of_quietly
from homeostat.policy.signs import Signs

_MOST_LINES = 200
"""Lines that one statement may take; longer ones are read line by line."""

_MOST_LOOKED_AT = 20_000
"""Lines that may be looked at, some more than once, to find where statements end; then each line is one."""

_MOST_PARSED = 4_000
"""Times that a statement is parsed; of those after them, whatever looks like a call is taken for one."""

_HEADS = (
    (re.compile(r"(?:elif|else)\b"), "if 0:\n pass\n"),
    (re.compile(r"(?:except|finally)\b"), "try:\n pass\n"),
    (re.compile(r"case\b"), "match 0:\n "),
)
_CALL = re.compile(r"(?<![\w.])((?:[^\W\d]\w{0,60}\.){0,8}[^\W\d]\w{0,60})\s{0,8}\(")
_MARK = re.compile(r"[\"'#()\[\]{}]")
_OPENING, _CLOSING = "([{", ")]}"


def uses_of_any(source: bytes, signs: Signs) -> Sequence[Use]:
    """Return the uses of a source, read whole where it parses and in pieces where it does not.

    What has none of the `signs` is left out, where that saves reading it.
    """
    if not signs.stand_in(source.decode("utf-8", errors="replace")):
        return ()
    uses = _uses_of_whole(source)
    return uses_in_pieces(source, signs) if uses is None else uses


@lru_cache(maxsize=128)
def uses_in_pieces(source: bytes, signs: Signs) -> tuple[Use, ...]:
    """Return the uses in a source that is not whole, as far as its statements with one of the `signs` show them."""
    found: list[Use] = []
    reader = _Reader(left=_MOST_PARSED)
    with no_warnings():
        for number, text in _statements_of(source):
            if signs.stand_in(text):
                found += reader.uses(text, number)
    return tuple(found)


@lru_cache(maxsize=128)
def _uses_of_whole(source: bytes) -> tuple[Use, ...] | None:
    """Return the uses of a source that parses, once for all rules; None where it does not."""
    try:
        return tuple(uses_of(source))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


@lru_cache(maxsize=128)
def _statements_of(source: bytes) -> tuple[tuple[int, str], ...]:
    return tuple(statements(source.decode("utf-8", errors="replace").split("\n")))


@dataclass(slots=True)
class _Reader:
    """Reads statements, of which only so many are parsed."""

    left: int

    def uses(self, text: str, number: int) -> list[Use]:
        bare = text.strip()
        if not bare or bare.startswith("#"):
            return []
        for before, after in _frames(bare):
            self.left -= 1
            if self.left < 0:
                break
            try:
                uses = uses_of_quietly(before + dedented(text) + after)
            except (SyntaxError, ValueError, RecursionError, MemoryError):
                continue
            shift = number - 1 - before.count("\n")
            return [replace(use, line=use.line + shift) for use in uses]
        lines = text.split("\n")
        if len(lines) > 1:
            return [use for at, line in enumerate(lines) for use in self.uses(line, number + at)]
        return [Use(match[1], number, (None,), {}) for match in _CALL.finditer(_without_remark(bare))]


def _without_remark(line: str) -> str:
    """Return a line without the comment at its end, where no text before it may hold the mark."""
    before, mark, _ = line.partition("#")
    return line if mark and ("'" in before or '"' in before) else before


def _frames(bare: str) -> Iterator[tuple[str, str]]:
    """Yield what to put around a statement so that it may be a whole one."""
    before = next((framing for head, framing in _HEADS if head.match(bare)), "")
    yield before, ""
    yield before, "\n pass" if not before.endswith(" ") else "\n  pass"
    if bare.startswith("@"):
        yield "", "\ndef f(): pass"


def statements(lines: list[str]) -> Iterator[tuple[int, str]]:
    """Yield number and text of each statement, which goes on while a bracket or a text is open."""
    at, left = 0, _MOST_LOOKED_AT + len(lines)
    while at < len(lines):
        end, depth, quote = at, 0, ""
        while True:
            depth, quote = _open_after(lines[end], depth, quote)
            end += 1
            goes_on = depth > 0 or quote or lines[end - 1].endswith("\\")
            left -= 1
            if not goes_on or end >= len(lines) or end - at >= _MOST_LINES or left < 0:
                break
        if goes_on and end - at > 1:  # what is open is never closed: it may have been a closing one
            end = at + 1
        yield at + 1, "\n".join(lines[at:end])
        at = end


def _open_after(line: str, depth: int, quote: str) -> tuple[int, str]:
    """Return how many brackets, and which long text, are open after a line."""
    at = 0
    while at < len(line):
        if quote:
            end = line.find(quote, at)
            if end < 0:
                return depth, quote
            at, quote = end + 3, ""
            continue
        mark = _MARK.search(line, at)
        if mark is None:
            break
        at, char = mark.start(), mark[0]
        if char == "#":
            break
        if char in "\"'":
            if line.startswith(char * 3, at):
                quote, at = char * 3, at + 3
                continue
            at = _end_of_text(line, at)
            continue
        depth += (char in _OPENING) - (char in _CLOSING)
        at += 1
    return max(depth, 0), quote


def _end_of_text(line: str, at: int) -> int:
    mark, at = line[at], at + 1
    while at < len(line) and line[at] != mark:
        at += 2 if line[at] == "\\" else 1
    return at + 1


def dedented(text: str) -> str:
    """Return a statement as it would stand at the left margin."""
    first, *rest = text.split("\n")
    margin = len(first) - len(first.lstrip())
    return "\n".join([first.lstrip(), *(line[margin:] if line[:margin].isspace() else line for line in rest)])
