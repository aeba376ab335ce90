"""The names in a patch's headers: quoting, prefixes, time stamps, and what a name may not be.

Names are taken as ``git apply -p1`` takes them: the first folder (``a/``, ``b/``) is a prefix that goes
away. Where git would guess, this refuses: both sides must say the same path, the two prefixes must
differ (else ``src/x.py`` could be meant with or without its ``src``), and a name without any folder
stands for itself.
"""

import re
from dataclasses import dataclass

from homeostat.model.verdict import Denied
from homeostat.validation.hunks import Lines, Refused, cut_off, malformed_header
from homeostat.validation.paths import decode_name, path_fault, shown

OLD_NAME = b"--- "
NEW_NAME = b"+++ "
_DEV_NULL = b"/dev/null"
_MAX_HEADER_BYTES = 20_000
_KNOWN_PREFIXES = frozenset({b"a", b"b", b"c", b"i", b"o", b"w", b"1", b"2"})
"""What git writes, with and without ``diff.mnemonicPrefix``; needed where only one side has a name."""

_STAMP = re.compile(rb"(1969-12-31|1970-01-01) ([0-2][0-9]):([0-5][0-9]):00(?:\.0+)? ([-+])([0-2][0-9]):?([0-5][0-9])")
_ESCAPES = {
    b"a": b"\a",
    b"b": b"\b",
    b"t": b"\t",
    b"n": b"\n",
    b"v": b"\v",
    b"f": b"\f",
    b"r": b"\r",
    b'"': b'"',
    b"\\": b"\\",
}
_QUOTED_PIECE = re.compile(rb'[^"\\]+|\\([abtnvfr"\\])|\\([0-3][0-7]{2})')


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """The names of the ``---`` and ``+++`` lines as written; None for ``/dev/null``."""

    old: bytes | None
    new: bytes | None
    old_epoch: bool
    """The time stamp is the zero of Unix time: so ``diff -N`` marks a file that is not there."""

    new_epoch: bool


def header_text(lines: Lines) -> bytes:
    """Return the present header line; a patch with CRLF line ends has a carriage return on it."""
    line = lines.peek() or b""
    if lines.cut_off:
        raise cut_off(lines.number, "")
    if len(line) > _MAX_HEADER_BYTES:
        raise malformed_header(lines.number, f"a header line is longer than {_MAX_HEADER_BYTES} bytes")
    return line.removesuffix(b"\r")


def read_names(lines: Lines) -> Names:
    number = lines.number
    old, old_epoch = _read_name(header_text(lines)[len(OLD_NAME) :], number)
    lines.advance()
    if not (lines.peek() or b"").startswith(NEW_NAME):
        raise malformed_header(number, "a line `--- ` is not followed by `+++ `")
    new, new_epoch = _read_name(header_text(lines)[len(NEW_NAME) :], lines.number)
    lines.advance()
    if not (lines.peek() or b"").startswith(b"@@ "):
        raise malformed_header(number, "the names are followed by no hunk")
    return Names(old=old, new=new, old_epoch=old_epoch, new_epoch=new_epoch)


def _read_name(text: bytes, number: int) -> tuple[bytes | None, bool]:
    """Read the name of one side, and whether its stamp is the epoch; the stamp stands after a tab."""
    if text.startswith(b'"'):
        name, end = _unquote(text, number)
        if text[end : end + 1] not in (b"", b"\t"):
            raise malformed_header(number, "text follows the quoted name")
        return name, _is_epoch(text[end + 1 :])
    name, _, stamp = text.partition(b"\t")
    if not name:
        raise malformed_header(number, "the name is empty")
    return (None if name == _DEV_NULL else name), _is_epoch(stamp)


def _is_epoch(stamp: bytes) -> bool:
    match = _STAMP.fullmatch(stamp)
    if match is None:
        return False
    day, hour, minute, sign, offset_h, offset_min = match.groups()
    minutes = (int(hour) * 60 + int(minute)) - (1440 if day == b"1969-12-31" else 0)
    offset = int(offset_h) * 60 + int(offset_min)
    return minutes == (-offset if sign == b"-" else offset)


def _unquote(text: bytes, number: int) -> tuple[bytes, int]:
    """Read the C-style quoted name that `text` starts with; return it and where the text goes on."""
    out = []
    place = 1
    while text[place : place + 1] != b'"':
        piece = _QUOTED_PIECE.match(text, place)
        if piece is None:
            raise malformed_header(number, "a quoted name is not closed or has an unknown escape")
        if piece[1] is not None:
            out.append(_ESCAPES[piece[1]])
        elif piece[2] is not None:
            out.append(bytes((int(piece[2], 8),)))
        else:
            out.append(piece[0])
        place = piece.end()
    if not out:
        raise malformed_header(number, "the name is empty")
    return b"".join(out), place + 1


def bare_name(text: bytes, number: int) -> bytes:
    if not text.startswith(b'"'):
        return text
    name, end = _unquote(text, number)
    if end != len(text):
        raise malformed_header(number, "text follows the quoted name")
    return name


def header_names(rest: bytes, old: bytes | None, number: int) -> tuple[bytes, bytes]:
    """Split the two names of a ``diff --git`` line.

    Unquoted names may hold spaces. `old`, where other lines tell it, says where the first one ends;
    else both must be the same but for a prefix of the same length, so the line is cut in its middle.
    """
    if rest.startswith(b'"'):
        first, end = _unquote(rest, number)
    elif b' "' in rest:
        end = rest.index(b' "')
        first = rest[:end]
    elif old is None:
        end = len(rest) // 2
        first = rest[:end]
    else:
        end = rest.find(b"/") + 1 + len(old)
        first = rest[:end]
    if rest[end : end + 1] != b" " or not first or len(rest) == end + 1:
        raise ambiguous_header(number, "this is no line `diff --git a/path b/path`")
    return first, bare_name(rest[end + 1 :], number)


def only_name(name: bytes, number: int) -> bytes:
    prefix, slash, path = name.partition(b"/")
    if not slash:
        return name
    if prefix not in _KNOWN_PREFIXES:
        raise ambiguous_header(number, f"is `{shown(prefix)}/` a prefix or a folder?")
    return path


def common_name(old: bytes, new: bytes, number: int) -> bytes:
    old_prefix, old_slash, old_path = old.partition(b"/")
    new_prefix, new_slash, new_path = new.partition(b"/")
    if not old_slash and not new_slash and old == new:
        return new
    if not old_slash or not new_slash or old_path != new_path:
        raise ambiguous_header(number, f"`{shown(old)}` and `{shown(new)}` name different files")
    if old_prefix == new_prefix:
        raise ambiguous_header(number, f"is `{shown(old_prefix)}/` a prefix or a folder?")
    return new_path


def checked_path(raw: bytes, number: int) -> str:
    """Return a name as the path of a file in the tree, or refuse it as unsafe."""
    path = decode_name(raw)
    fault = "is not UTF-8" if path is None else path_fault(path)
    if path is None or fault is not None:
        raise Refused(
            Denied(
                code="unsafe-path",
                reasons=(f"line {number}: the path `{shown(raw)}` {fault}",),
                hint="name files by their plain path below the repository's root",
            )
        )
    return path


def ambiguous_header(line: int, why: str) -> Refused:
    return Refused(
        Denied(
            code="ambiguous-header",
            reasons=(f"line {line}: {why}",),
            hint="make the diff with git's prefixes a/ and b/ (git diff --src-prefix=a/ --dst-prefix=b/)",
        )
    )
