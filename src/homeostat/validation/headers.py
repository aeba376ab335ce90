"""The header of one file in a unified or git diff: which change, which path, which mode.

Every line of a header must say the same, and what it asks beyond contents and names is refused.
"""

import re
from dataclasses import dataclass

from homeostat.model.change import EXECUTABLE, REGULAR, ChangeKind, FileMode
from homeostat.model.verdict import Denied
from homeostat.validation.hunks import Lines, Refused, malformed_header
from homeostat.validation.names import (
    OLD_NAME,
    Names,
    ambiguous_header,
    bare_name,
    checked_path,
    common_name,
    header_names,
    header_text,
    only_name,
    read_names,
)
from homeostat.validation.paths import shown

GIT_HEADER = b"diff --git "
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
_INDEX = re.compile(rb"([0-9A-Za-z]{1,64})\.\.([0-9A-Za-z]{1,64})(?: ([0-7]{6}))?")
_EMPTY_BLOBS = (
    "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391",
    "473a0f4c3be8a93681a267e3b1e9a7dcda1185436fe141f7749120a303721813",
)
"""Git's names of the empty file, with SHA-1 and with SHA-256."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What stands above the hunks of one file."""

    line: int
    kind: ChangeKind
    old_path: str
    path: str
    mode: FileMode | None
    """The mode the patch says the file has; None when it says none."""

    old_blob: str | None
    """What the ``index`` line says of the old contents' Git object name; usually abbreviated."""

    bare: bool
    """True when the header alone is the change: a rename, or an empty file that comes or goes."""


def read_git_header(lines: Lines) -> Header:
    """Read a header that starts with ``diff --git`` and leave the cursor at the first hunk."""
    number = lines.number
    rest = header_text(lines)[len(GIT_HEADER) :]
    lines.advance()
    fields = _read_fields(lines)
    names = read_names(lines) if _at_names(lines) else None
    if not fields.keys() - {b"index ", b"similarity index ", b"dissimilarity index "} and names is None:
        raise malformed_header(number, "no change follows this header")
    mode = _check_fields(fields, number)
    kind = _kind(fields, names, number)
    old, new = _git_paths(rest, fields, names, number)
    old_path, path = checked_path(old, number), checked_path(new, number)
    if kind is ChangeKind.RENAME and old_path == path:
        raise Refused(
            Denied(code="no-op-change", reasons=(f"line {number}: `{shown(path)}`: renamed to its own name",))
        )
    if names is None:
        _check_bare(fields, kind)
    return Header(
        line=number,
        kind=kind,
        old_path=old_path,
        path=path,
        mode=mode,
        old_blob=_blobs(fields)[0],
        bare=names is None,
    )


def read_plain_header(lines: Lines) -> Header:
    """Read a header of only ``---`` and ``+++`` and leave the cursor at the first hunk."""
    number = lines.number
    names = read_names(lines)
    if names.old is None and names.new is None:
        raise malformed_header(number, "both sides are /dev/null")
    for name in (names.old, names.new):
        if name is not None:
            checked_path(name, number)  # before its prefix goes away: `/x` and `../x` have none
    if names.old is None or names.new is None:
        kind = ChangeKind.CREATE if names.old is None else ChangeKind.DELETE
        only = (names.old if names.new is None else names.new) or b""
        path = checked_path(only_name(only, number), number)
    else:
        kind = _stamped_kind(names, lines.peek() or b"")
        path = checked_path(common_name(names.old, names.new, number), number)
    return Header(line=number, kind=kind, old_path=path, path=path, mode=None, old_blob=None, bare=False)


def missing_hunks(line: int, why: str) -> Refused:
    return Refused(
        Denied(code="truncated-patch", reasons=(f"line {line}: {why}, but the header is followed by no hunk",))
    )


def _at_names(lines: Lines) -> bool:
    return (lines.peek() or b"").startswith(OLD_NAME)


def _stamped_kind(names: Names, hunk_header: bytes) -> ChangeKind:
    """Return what ``diff -N`` meant: it writes the name on both sides, and the epoch where nothing is.

    A file may have the epoch as its real time (reproducible archives), so the counts must agree.
    """
    if names.old_epoch and not names.new_epoch and hunk_header.startswith(b"@@ -0,0 "):
        return ChangeKind.CREATE
    if names.new_epoch and not names.old_epoch and b" +0,0 @@" in hunk_header:
        return ChangeKind.DELETE
    return ChangeKind.MODIFY


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
        fields[keyword] = (header_text(lines)[len(keyword) :], lines.number)
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
        if match[3] is not None:
            modes.append((match[3], line))
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


def _blobs(fields: dict[bytes, tuple[bytes, int]]) -> tuple[str | None, str | None]:
    """Return the (abbreviated) names of the old and new contents, as far as they are stated."""
    match = _INDEX.fullmatch(fields[b"index "][0]) if b"index " in fields else None
    return (match[1].decode().lower(), match[2].decode().lower()) if match else (None, None)


def _check_bare(fields: dict[bytes, tuple[bytes, int]], kind: ChangeKind) -> None:
    """Refuse a header whose hunks are missing: it says itself that contents would change."""
    similarity = fields.get(b"similarity index ")
    if kind is ChangeKind.RENAME and similarity is not None and similarity[0] != b"100%":
        raise missing_hunks(similarity[1], "the renamed file's contents change")
    new_blob = _blobs(fields)[1]
    if kind is ChangeKind.CREATE and new_blob is not None and not any(b.startswith(new_blob) for b in _EMPTY_BLOBS):
        raise missing_hunks(fields[b"index "][1], "the created file is not empty")


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


def _kind(fields: dict[bytes, tuple[bytes, int]], names: Names | None, number: int) -> ChangeKind:
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
    rest: bytes, fields: dict[bytes, tuple[bytes, int]], names: Names | None, number: int
) -> tuple[bytes, bytes]:
    """Return old and new path, and refuse unless every line of the header says the same."""
    if b"rename from " in fields:
        old, new = (bare_name(*fields[key]) for key in (b"rename from ", b"rename to "))
        raw_old, raw_new = header_names(rest, old, number)
        if raw_old.partition(b"/")[2] != old or raw_new.partition(b"/")[2] != new:
            raise ambiguous_header(number, "the names of this line are not those of the rename")
    else:
        known = names and (names.old or names.new)
        raw_old, raw_new = header_names(rest, known.partition(b"/")[2] if known else None, number)
        old, new = raw_old.partition(b"/")[2], raw_new.partition(b"/")[2]
        if old != new:
            raise ambiguous_header(number, "the two names of this line differ, but nothing is renamed")
    for raw in (raw_old, raw_new):
        checked_path(raw, number)
        if b"/" not in raw:
            raise ambiguous_header(number, "the names have no prefix")
    one, other = raw_old.partition(b"/")[0], raw_new.partition(b"/")[0]
    if one == other:
        raise ambiguous_header(number, "both names start with the same folder: a prefix or not?")
    # `git diff -R -B` exchanges the prefixes of this line, but not of the two below.
    swapped = (other + b"/" + old, one + b"/" + new)
    if names is not None and not any(
        names.old in (None, left) and names.new in (None, right) for left, right in ((raw_old, raw_new), swapped)
    ):
        raise ambiguous_header(number, "the names of this line are not those after `---` and `+++`")
    return old, new
