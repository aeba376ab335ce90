"""One hunk of a unified diff: read by its counts, never by what its lines look like.

A removed line ``-- old`` shows as ``--- old``, and an added one ``++ new`` as ``+++ new``; only the
counts of the header tell them from the headers of a next file.
"""

import re
from dataclasses import dataclass

from homeostat.model.verdict import Denied
from homeostat.validation.paths import shown

_HEADER = re.compile(rb"@@ -([0-9]{1,9})(?:,([0-9]{1,9}))? \+([0-9]{1,9})(?:,([0-9]{1,9}))? @@(?: .*|\r)?", re.DOTALL)
_MARKER = b"\\ "
_MIN_MARKER_BYTES = 12
"""The text after the backslash may be in any language, but it is never shorter (git's own rule)."""


class Refused(Exception):
    """Carries a refusal out of the depth of the parser; never leaves `validation`."""

    def __init__(self, denied: Denied) -> None:
        super().__init__(denied.code)
        self.denied = denied


@dataclass(frozen=True, slots=True, kw_only=True)
class Hunk:
    """One stretch of lines and what takes its place, byte for byte, terminators included."""

    line: int
    """Number of the header's line in the patch, from 1."""

    old_start: int
    """First old line, from 1; with `old_count` 0, the line after which the new ones go."""

    old_count: int
    new_start: int
    new_count: int
    old: bytes
    new: bytes
    leading: int
    """Context lines before the first change."""

    trailing: int
    """Context lines after the last change."""

    new_is_unterminated: bool
    """The last new line ends the file without a newline."""

    @property
    def old_index(self) -> int:
        """Return how many whole old lines stand before this hunk."""
        return self.old_start - 1 if self.old_count else self.old_start

    @property
    def new_index(self) -> int:
        """Return how many whole new lines stand before this hunk."""
        return self.new_start - 1 if self.new_count else self.new_start


class Lines:
    """The lines of a patch, by ``\\n`` alone (a form feed, U+2028 or lone CR is content), with a cursor."""

    __slots__ = ("_lines", "index", "unterminated")

    def __init__(self, data: bytes) -> None:
        self._lines = data.split(b"\n")
        self.unterminated = self._lines[-1] != b""
        if not self.unterminated:
            self._lines.pop()
        self.index = 0

    @property
    def number(self) -> int:
        """Return the number of the present line, from 1."""
        return self.index + 1

    @property
    def cut_off(self) -> bool:
        """Tell whether the present line is the last and has no newline."""
        return self.unterminated and self.index == len(self._lines) - 1

    def peek(self, ahead: int = 0) -> bytes | None:
        """Return the line under the cursor (or `ahead` of it) without its newline; None past the end."""
        place = self.index + ahead
        return self._lines[place] if place < len(self._lines) else None

    def advance(self) -> None:
        self.index += 1


def malformed_hunk(line: int, path: str, why: str) -> Refused:
    return Refused(Denied(code="malformed-hunk", reasons=(f"line {line}: `{shown(path)}`: {why}",)))


def malformed_header(line: int, why: str) -> Refused:
    return Refused(Denied(code="malformed-header", reasons=(f"line {line}: {why}",)))


def cut_off(line: int, path: str) -> Refused:
    where = f"`{shown(path)}`: " if path else ""
    return Refused(
        Denied(
            code="truncated-patch",
            reasons=(f"line {line}: {where}the patch ends in the middle of this line",),
            hint="end the last line of the patch with a newline",
        )
    )


class _Body:
    """What has been read of a hunk's lines so far."""

    __slots__ = ("changed", "leading", "new", "new_closed", "old", "old_closed", "trailing")

    def __init__(self) -> None:
        self.old: list[bytes] = []
        self.new: list[bytes] = []
        self.leading = 0
        self.trailing = 0
        self.changed = False
        self.old_closed = False
        self.new_closed = False

    def add(self, sign: bytes, text: bytes) -> None:
        if sign != b"+":
            self.old.append(text)
        if sign != b"-":
            self.new.append(text)
        if sign != b" ":
            self.changed = True
            self.trailing = 0
        elif self.changed:
            self.trailing += 1
        else:
            self.leading += 1

    def close(self, sign: bytes) -> None:
        """Take the newline off the line that was read last."""
        if sign != b"+":
            self.old[-1] = self.old[-1][:-1]
            self.old_closed = True
        if sign != b"-":
            self.new[-1] = self.new[-1][:-1]
            self.new_closed = True


def read_hunk(lines: Lines, path: str) -> Hunk:
    """Read the hunk under the cursor and leave the cursor after it, or raise `Refused`."""
    number = lines.number
    old_start, old_count, new_start, new_count = _read_header(lines, path)
    body = _Body()
    last = b""
    while True:
        complete = len(body.old) == old_count and len(body.new) == new_count
        line = lines.peek()
        if line is not None and line.startswith(_MARKER):
            if not last or len(line) < _MIN_MARKER_BYTES:
                raise malformed_hunk(lines.number, path, "a line with a backslash belongs to no line of the hunk")
            body.close(last)
            last = b""
            lines.advance()
            continue
        if complete:
            break
        if line is None:
            raise malformed_hunk(lines.number, path, "the patch ends before the lines that the hunk's header counts")
        if lines.cut_off:
            raise cut_off(lines.number, path)
        last = line[:1] or b" "  # some tools strip the blank of an empty context line
        if last not in (b" ", b"+", b"-"):
            raise malformed_hunk(lines.number, path, "the hunk has fewer lines than its header counts")
        if (last != b"+" and body.old_closed) or (last != b"-" and body.new_closed):
            raise malformed_hunk(lines.number, path, "a line follows the end of the file without newline")
        body.add(last, line[1:] + b"\n")
        if len(body.old) > old_count or len(body.new) > new_count:
            raise malformed_hunk(lines.number, path, "the hunk has other lines than its header counts")
        lines.advance()
    if not body.changed:
        raise Refused(
            Denied(code="no-op-change", reasons=(f"line {number}: `{shown(path)}`: the hunk changes nothing",))
        )
    return Hunk(
        line=number,
        old_start=old_start,
        old_count=old_count,
        new_start=new_start,
        new_count=new_count,
        old=b"".join(body.old),
        new=b"".join(body.new),
        leading=body.leading,
        trailing=body.trailing,
        new_is_unterminated=body.new_closed,
    )


def _read_header(lines: Lines, path: str) -> tuple[int, int, int, int]:
    line = lines.peek() or b""
    match = _HEADER.fullmatch(line)
    if match is None:
        raise malformed_hunk(lines.number, path, "this is no hunk header `@@ -line,count +line,count @@`")
    if lines.cut_off:
        raise cut_off(lines.number, path)
    old_start, old_count, new_start, new_count = (int(group) if group is not None else 1 for group in match.groups())
    if (old_start == 0 and old_count) or (new_start == 0 and new_count):
        raise malformed_hunk(lines.number, path, "line numbers start at 1")
    lines.advance()
    return old_start, old_count, new_start, new_count


def check_order(hunks: list[Hunk], path: str) -> None:
    """Refuse hunks that overlap or stand in another order than the file's lines."""
    end = 0
    for hunk in hunks:
        first = hunk.old_index + 1
        if first <= end:
            raise Refused(
                Denied(
                    code="overlapping-hunks",
                    reasons=(f"line {hunk.line}: `{shown(path)}`: the hunk overlaps or precedes the one before it",),
                )
            )
        # An insertion takes the gap before `first`: a second one there would have no order.
        end = first + max(hunk.old_count, 1) - 1
    for earlier in hunks[:-1]:
        if earlier.new_is_unterminated:
            raise malformed_hunk(earlier.line, path, "the file ends without newline before its last hunk")
