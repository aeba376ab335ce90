"""The header of one file in a unified or git diff: which change, which path, which mode.

Names are taken as ``git apply -p1`` takes them: the first folder (``a/``, ``b/``) is a prefix that goes
away. Where git would guess, this refuses: both sides must say the same path, the two prefixes must
differ (else ``src/x.py`` could be meant with or without its ``src``), and a name without any folder
stands for itself.
"""

import re
from dataclasses import dataclass

from homeostat.model.change import EXECUTABLE, REGULAR, ChangeKind, FileMode
from homeostat.model.verdict import Denied
from homeostat.validation.hunks import Lines, Refused, cut_off, malformed_header
from homeostat.validation.paths import decode_name, path_fault, shown

GIT_HEADER = b"diff --git "
OLD_NAME = b"--- "
NEW_NAME = b"+++ "
_DEV_NULL = b"/dev/null"
_MAX_HEADER_BYTES = 20_000
_KNOWN_PREFIXES = frozenset({b"a", b"b", b"c", b"i", b"o", b"w", b"1", b"2"})
"""What git writes, with and without ``diff.mnemonicPrefix``; needed where only one side has a name."""

_EXTENDED = (
    b"old mode ",
    b"new mode ",
    b"deleted file mode ",
    b"new file mode ",
    b"copy from ",
    b"copy to ",
    b"rename from ",
    b"rename to ",
    b"similarity index ",
    b"dissimilarity index ",
    b"index ",
)
_MODE = re.compile(rb"[0-7]{6}")
_PERCENT = re.compile(rb"(?:[0-9]{1,2}|100)%")
_INDEX = re.compile(rb"[0-9A-Za-z]{1,64}\.\.[0-9A-Za-z]{1,64}(?: ([0-7]{6}))?")
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
class Header:
    """What stands above the hunks of one file."""

    line: int
    kind: ChangeKind
    old_path: str
    path: str
    mode: FileMode | None
    """The mode the patch says the file has; None when it says none."""

    may_be_bare: bool
    """True when the header alone is a change: a rename, or an empty file that comes or goes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Names:
    """The names of the ``---`` and ``+++`` lines as written; None for ``/dev/null``."""

    old: bytes | None
    new: bytes | None


def read_git_header(lines: Lines) -> Header:
    """Read a header that starts with ``diff --git`` and leave the cursor at the first hunk."""
    number = lines.number
    rest = _text(lines)[len(GIT_HEADER) :]
    lines.advance()
    fields = _read_fields(lines)
    names = _read_names(lines) if _at_names(lines) else None
    if not fields.keys() - {b"index ", b"similarity index ", b"dissimilarity index "} and names is None:
        raise malformed_header(number, "no change follows this header")
    mode = _check_fields(fields, number)
    kind = _kind(fields, names, number)
    old, new = _git_paths(rest, fields, names, number)
    old_path, path = _checked_path(old, number), _checked_path(new, number)
    if kind is ChangeKind.RENAME and old_path == path:
        raise Refused(
            Denied(code="no-op-change", reasons=(f"line {number}: `{shown(path)}`: renamed to its own name",))
        )
    return Header(
        line=number,
        kind=kind,
        old_path=old_path,
        path=path,
        mode=mode,
        may_be_bare=names is None and kind is not ChangeKind.MODIFY,
    )


def read_plain_header(lines: Lines) -> Header:
    """Read a header of only ``---`` and ``+++`` and leave the cursor at the first hunk."""
    number = lines.number
    names = _read_names(lines)
    if names.old is None and names.new is None:
        raise malformed_header(number, "both sides are /dev/null")
    for name in (names.old, names.new):
        if name is not None and name.startswith(b"/"):
            raise unsafe_path(number, name, "is absolute")
    if names.old is None or names.new is None:
        kind = ChangeKind.CREATE if names.old is None else ChangeKind.DELETE
        only = (names.old if names.new is None else names.new) or b""
        path = _checked_path(_only_name(only, number), number)
    else:
        kind = ChangeKind.MODIFY
        path = _checked_path(_common_name(names.old, names.new, number), number)
    return Header(line=number, kind=kind, old_path=path, path=path, mode=None, may_be_bare=False)


def unsafe_path(line: int, path: str | bytes, fault: str) -> Refused:
    return Refused(
        Denied(
            code="unsafe-path",
            reasons=(f"line {line}: the path `{shown(path)}` {fault}",),
            hint="name files by their plain path below the repository's root",
        )
    )


def ambiguous_header(line: int, why: str) -> Refused:
    return Refused(
        Denied(
            code="ambiguous-header",
            reasons=(f"line {line}: {why}",),
            hint="make the diff with git's prefixes a/ and b/ (git diff --src-prefix=a/ --dst-prefix=b/)",
        )
    )


def _text(lines: Lines) -> bytes:
    """Return the present header line; a patch with CRLF line ends has a carriage return on it."""
    line = lines.peek() or b""
    if lines.cut_off:
        raise cut_off(lines.number, "")
    if len(line) > _MAX_HEADER_BYTES:
        raise malformed_header(lines.number, f"a header line is longer than {_MAX_HEADER_BYTES} bytes")
    return line.removesuffix(b"\r")


def _at_names(lines: Lines) -> bool:
    return (lines.peek() or b"").startswith(OLD_NAME)


def _read_names(lines: Lines) -> _Names:
    number = lines.number
    old = _read_name(_text(lines)[len(OLD_NAME) :], number)
    lines.advance()
    if not (lines.peek() or b"").startswith(NEW_NAME):
        raise malformed_header(number, "a line `--- ` is not followed by `+++ `")
    new = _read_name(_text(lines)[len(NEW_NAME) :], lines.number)
    lines.advance()
    if not (lines.peek() or b"").startswith(b"@@ "):
        raise malformed_header(number, "the names are followed by no hunk")
    return _Names(old=old, new=new)


def _read_name(text: bytes, number: int) -> bytes | None:
    """Read the name of one side; after a tab stands a time stamp, or nothing."""
    if text.startswith(b'"'):
        name, end = _unquote(text, number)
        if text[end : end + 1] not in (b"", b"\t"):
            raise malformed_header(number, "text follows the quoted name")
        return name
    name = text.partition(b"\t")[0]
    if not name:
        raise malformed_header(number, "the name is empty")
    return None if name == _DEV_NULL else name


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


def _read_fields(lines: Lines) -> dict[bytes, tuple[bytes, int]]:
    """Read git's extended header lines: keyword to (value, line number)."""
    fields: dict[bytes, tuple[bytes, int]] = {}
    while (line := lines.peek()) is not None:
        if line.startswith((b"GIT binary patch", b"Binary files ")):
            raise Refused(
                Denied(
                    code="binary-patch",
                    reasons=(f"line {lines.number}: the patch changes a binary file",),
                    hint="propose changes to text files only",
                )
            )
        keyword = next((item for item in _EXTENDED if line.startswith(item)), None)
        if keyword is None:
            break
        if keyword in fields:
            raise malformed_header(lines.number, f"a second line `{keyword.decode().strip()}`")
        fields[keyword] = (_text(lines)[len(keyword) :], lines.number)
        lines.advance()
    return fields


def _check_fields(fields: dict[bytes, tuple[bytes, int]], number: int) -> FileMode | None:
    """Refuse what the fields ask for beyond contents and names; return the mode they state."""
    modes = [fields[key] for key in _EXTENDED[:4] if key in fields]
    if b"index " in fields:
        value, line = fields[b"index "]
        match = _INDEX.fullmatch(value)
        if match is None:
            raise malformed_header(line, "this is no line `index old..new mode`")
        if match[1] is not None:
            modes.append((match[1], line))
    stated = {_mode(value, line) for value, line in modes}
    if b"old mode " in fields or b"new mode " in fields:
        raise _mode_change(number, "the patch changes a file's mode")
    if len(stated) > 1:
        raise malformed_header(number, "the header states two modes")
    mode = stated.pop() if stated else None
    if b"new file mode " in fields and mode == EXECUTABLE:
        raise _mode_change(number, "the patch creates an executable file")
    if b"copy from " in fields or b"copy to " in fields:
        raise Refused(
            Denied(
                code="copy-in-patch",
                reasons=(f"line {number}: the patch copies a file",),
                hint="make the diff without -C: the copy is then a new file with all its lines",
            )
        )
    for key in (b"similarity index ", b"dissimilarity index "):
        if key in fields and not _PERCENT.fullmatch(fields[key][0]):
            raise malformed_header(fields[key][1], "an index of similarity is a percentage")
    return mode


def _mode(text: bytes, line: int) -> FileMode:
    if not _MODE.fullmatch(text):
        raise malformed_header(line, f"`{shown(text)}` is no file mode")
    mode = FileMode(int(text, 8))
    if mode in (REGULAR, EXECUTABLE):
        return mode
    if mode == 0o120000:
        raise Refused(Denied(code="symlink-in-patch", reasons=(f"line {line}: the patch touches a symbolic link",)))
    if mode == 0o160000:
        raise Refused(Denied(code="submodule-in-patch", reasons=(f"line {line}: the patch touches a submodule",)))
    raise _mode_change(line, f"no file in a tree has the mode {mode:06o}")


def _mode_change(line: int, why: str) -> Refused:
    return Refused(
        Denied(
            code="mode-change", reasons=(f"line {line}: {why}",), hint="a person changes modes, outside of proposals"
        )
    )


def _kind(fields: dict[bytes, tuple[bytes, int]], names: _Names | None, number: int) -> ChangeKind:
    creates, deletes = b"new file mode " in fields, b"deleted file mode " in fields
    renames = b"rename from " in fields
    if renames != (b"rename to " in fields):
        raise malformed_header(number, "`rename from` and `rename to` belong together")
    if creates + deletes + renames > 1:
        raise malformed_header(number, "the header asks for more than one of creation, deletion and rename")
    if names is not None and ((names.old is None) != creates or (names.new is None) != deletes):
        raise malformed_header(
            number, "/dev/null stands on the old side exactly with `new file mode`, on the new with `deleted file mode`"
        )
    if creates:
        return ChangeKind.CREATE
    if deletes:
        return ChangeKind.DELETE
    return ChangeKind.RENAME if renames else ChangeKind.MODIFY


def _git_paths(
    rest: bytes, fields: dict[bytes, tuple[bytes, int]], names: _Names | None, number: int
) -> tuple[bytes, bytes]:
    """Return old and new path, and refuse unless every line of the header says the same."""
    if b"rename from " in fields:
        old, new = (_bare_name(*fields[key]) for key in (b"rename from ", b"rename to "))
        raw_old, raw_new = _header_names(rest, old, number)
        if raw_old.partition(b"/")[2] != old or raw_new.partition(b"/")[2] != new:
            raise ambiguous_header(number, "the names of this line are not those of the rename")
    else:
        known = names and (names.old or names.new)
        raw_old, raw_new = _header_names(rest, known.partition(b"/")[2] if known else None, number)
        old, new = raw_old.partition(b"/")[2], raw_new.partition(b"/")[2]
        if old != new:
            raise ambiguous_header(number, "the two names of this line differ, but nothing is renamed")
    for raw in (raw_old, raw_new):
        if raw.startswith(b"/"):
            raise unsafe_path(number, raw, "is absolute")
        if b"/" not in raw:
            raise ambiguous_header(number, "the names have no prefix")
    if raw_old.partition(b"/")[0] == raw_new.partition(b"/")[0]:
        raise ambiguous_header(number, "both names start with the same folder: a prefix or not?")
    if names is not None and (names.old not in (None, raw_old) or names.new not in (None, raw_new)):
        raise ambiguous_header(number, "the names of this line are not those after `---` and `+++`")
    return old, new


def _bare_name(text: bytes, number: int) -> bytes:
    if not text.startswith(b'"'):
        return text
    name, end = _unquote(text, number)
    if end != len(text):
        raise malformed_header(number, "text follows the quoted name")
    return name


def _header_names(rest: bytes, old: bytes | None, number: int) -> tuple[bytes, bytes]:
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
    return first, _bare_name(rest[end + 1 :], number)


def _only_name(name: bytes, number: int) -> bytes:
    prefix, slash, path = name.partition(b"/")
    if not slash:
        return name
    if prefix not in _KNOWN_PREFIXES:
        raise ambiguous_header(number, f"is `{shown(prefix)}/` a prefix or a folder?")
    return path


def _common_name(old: bytes, new: bytes, number: int) -> bytes:
    old_prefix, old_slash, old_path = old.partition(b"/")
    new_prefix, new_slash, new_path = new.partition(b"/")
    if not old_slash and not new_slash and old == new:
        return new
    if not old_slash or not new_slash or old_path != new_path:
        raise ambiguous_header(number, f"`{shown(old)}` and `{shown(new)}` name different files")
    if old_prefix == new_prefix:
        raise ambiguous_header(number, f"is `{shown(old_prefix)}/` a prefix or a folder?")
    return new_path


def _checked_path(raw: bytes, number: int) -> str:
    path = decode_name(raw)
    if path is None:
        raise unsafe_path(number, raw, "is not UTF-8")
    fault = path_fault(path)
    if fault is not None:
        raise unsafe_path(number, path, fault)
    return path
