"""Reading a unified or git diff: bytes in, a well-formed but unverified patch out, or a refusal.

The grammar is that of ``git apply``, without its guesses. Prose before a file's header is skipped as
git skips it (mail headers, a diffstat); after hunks, text that looks like more of a hunk is refused,
because a reader of the diff would take it for part of the change. Time and memory are linear in the
size of the patch: every line is looked at a fixed number of times.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from homeostat.core.limits import MAX_DIFF_BYTES, MAX_DIFF_FILES, MAX_DIFF_HUNKS
from homeostat.model.change import ChangeKind, FileMode
from homeostat.model.verdict import Denied
from homeostat.validation.headers import GIT_HEADER, Header, read_git_header, read_plain_header
from homeostat.validation.hunks import Hunk, Lines, Refused, check_order, cut_off, malformed_hunk, read_hunk
from homeostat.validation.names import NEW_NAME, OLD_NAME
from homeostat.validation.paths import collision_key, parents, shown

_FRAGMENT = re.compile(rb"@@ -[0-9]")
_COMBINED = (b"diff --cc ", b"diff --combined ", b"@@@ ")
_BINARY = re.compile(rb"Binary files .* differ\r?|GIT binary patch\r?", re.DOTALL)
_SIGNATURE = re.compile(rb"-- ?\r?")
_BEGINNINGS = (GIT_HEADER, OLD_NAME, NEW_NAME, b"@@ -")


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchFile:
    """What the patch wants of one file. Only a rename has an `old_path` other than `path`."""

    line: int
    """Number of the header's first line in the patch, from 1."""

    kind: ChangeKind
    old_path: str
    path: str
    mode: FileMode | None
    """The mode the patch says the file has, before and after; None when it says none."""

    old_blob: str | None
    """Git's (abbreviated) object name of the old contents, as the patch states it; it may be invented."""

    hunks: tuple[Hunk, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class UnverifiedPatch:
    """A well-formed patch with safe paths. Nothing is known yet about the tree it is for."""

    files: tuple[PatchFile, ...]

    @property
    def paths(self) -> tuple[str, ...]:
        """Every path whose base content must be read to resolve it, sorted.

        Both sides of a rename, and files to be created too: to see that nothing is there.
        """
        return tuple(sorted({path for item in self.files for path in (item.old_path, item.path)}))


def parse_patch(data: bytes) -> UnverifiedPatch | Denied:
    """Read a patch, or say why it is refused (the reason names line and path).

    Refused are: what is too large, malformed, cut off, or can be read in two ways; paths that could
    leave the tree or reach into ``.git``; symbolic links, submodules, binary patches, copies, modes;
    one file named twice, or two names that some file system takes for one; and changes of nothing.
    """
    if len(data) > MAX_DIFF_BYTES:
        return Denied(code="diff-too-large", reasons=(f"the diff has {len(data)} bytes; {MAX_DIFF_BYTES} are allowed",))
    try:
        files = tuple(_read_files(Lines(data)))
        _check_paths(files)
    except Refused as refusal:
        return refusal.denied
    return UnverifiedPatch(files=files)


def _read_files(lines: Lines) -> Iterable[PatchFile]:
    files: list[PatchFile] = []
    hunks = 0
    while True:
        _skip_prose(lines, after_file=bool(files))
        line = lines.peek()
        if line is None:
            break
        if len(files) == MAX_DIFF_FILES:
            raise Refused(
                Denied(code="too-many-files", reasons=(f"line {lines.number}: more than {MAX_DIFF_FILES} files",))
            )
        item = _read_file(lines, git=line.startswith(GIT_HEADER), hunks_before=hunks)
        hunks += len(item.hunks)
        files.append(item)
    if not files:
        raise Refused(
            Denied(
                code="empty-patch",
                reasons=("no change to any file was found",),
                hint="hand in a unified diff, as `git diff` writes it",
            )
        )
    return files


def _skip_prose(lines: Lines, *, after_file: bool) -> None:
    """Go to the next file's header, or to the end.

    Directly after a file only blank lines, a header, a mail's signature or plain prose may stand:
    anything that looks like a line of a hunk is more than the hunk's header counted.
    """
    in_tail = after_file
    while (line := lines.peek()) is not None:
        if line.startswith(GIT_HEADER):
            return
        if line.startswith(OLD_NAME) and (lines.peek(1) or b"").startswith(NEW_NAME):
            return
        _check_prose(lines, line)
        if in_tail and line not in (b"", b"\r"):
            if not _SIGNATURE.fullmatch(line) and line.startswith((b" ", b"+", b"-", b"\\", b"@")):
                raise Refused(
                    Denied(
                        code="leftover-text",
                        reasons=(f"line {lines.number}: more lines follow than the hunk's header counts",),
                    )
                )
            if lines.cut_off and any(item.startswith(line) for item in _BEGINNINGS):
                raise cut_off(lines.number, "")
            in_tail = False
        lines.advance()


def _check_prose(lines: Lines, line: bytes) -> None:
    """Refuse what would be a change if it stood in its place: to skip it would hide it."""
    if _FRAGMENT.match(line):
        raise malformed_hunk(lines.number, "", "a hunk without a header that names its file")
    if line.startswith(_COMBINED):
        raise Refused(
            Denied(
                code="combined-diff",
                reasons=(f"line {lines.number}: a combined diff of a merge",),
                hint="make a diff between two commits",
            )
        )
    if _BINARY.fullmatch(line):
        raise Refused(
            Denied(
                code="binary-patch",
                reasons=(f"line {lines.number}: the patch changes a binary file",),
                hint="propose changes to text files only",
            )
        )


def _read_file(lines: Lines, *, git: bool, hunks_before: int) -> PatchFile:
    header = read_git_header(lines) if git else read_plain_header(lines)
    hunks: list[Hunk] = []
    while not header.bare and (lines.peek() or b"").startswith(b"@@"):
        if hunks_before + len(hunks) == MAX_DIFF_HUNKS:
            raise Refused(
                Denied(code="too-many-hunks", reasons=(f"line {lines.number}: more than {MAX_DIFF_HUNKS} hunks",))
            )
        hunks.append(read_hunk(lines, header.path))
    check_order(hunks, header.path)
    _check_whole_file(header, hunks)
    return PatchFile(
        line=header.line,
        kind=header.kind,
        old_path=header.old_path,
        path=header.path,
        mode=header.mode,
        old_blob=header.old_blob,
        hunks=tuple(hunks),
    )


def _check_whole_file(header: Header, hunks: list[Hunk]) -> None:
    """A created file has no old lines, a deleted one no new lines, and each is one hunk from its start."""
    if header.kind not in (ChangeKind.CREATE, ChangeKind.DELETE) or not hunks:
        return
    first = hunks[0]
    if len(hunks) > 1:
        raise malformed_hunk(hunks[1].line, header.path, "a file is created or deleted by one hunk")
    if header.kind is ChangeKind.CREATE:
        empty, start = (first.old_start, first.old_count), first.new_start
    else:
        empty, start = (first.new_start, first.new_count), first.old_start
    if empty != (0, 0) or start != 1:
        raise malformed_hunk(first.line, header.path, "a created file comes from `-0,0`, a deleted one goes to `+0,0`")


def _check_paths(files: Iterable[PatchFile]) -> None:
    """Refuse one file named twice, two names for one file, and a file below another file."""
    seen: dict[str, tuple[str, int]] = {}
    for item in files:
        for path in dict.fromkeys((item.old_path, item.path)):
            key = collision_key(path)
            if key in seen:
                other, line = seen[key]
                code = "path-twice" if other == path else "case-collision"
                raise _clash(code, item.line, path, other, line)
            seen[key] = (path, item.line)
    for path, line in seen.values():
        for parent in parents(path):
            clash = seen.get(collision_key(parent))
            if clash is not None:
                raise _clash("path-conflict", line, path, *clash)


def _clash(code: str, line: int, path: str, other: str, other_line: int) -> Refused:
    if code == "path-twice":
        reason = f"line {line}: `{shown(path)}` is named on line {other_line} already"
        return Refused(Denied(code="path-twice", reasons=(reason,), hint="put all changes of a file under one header"))
    if code == "case-collision":
        reason = f"line {line}: `{shown(path)}` and `{shown(other)}` are one file where letter case does not count"
        return Refused(Denied(code="case-collision", reasons=(reason,)))
    reason = f"line {line}: `{shown(path)}` lies below `{shown(other)}`, which the patch has as a file"
    return Refused(Denied(code="path-conflict", reasons=(reason,)))
