"""What a patch makes of the files it is for, in memory: every byte known, or a refusal.

Where a hunk goes: at the line its header names, when all its old lines stand there byte for byte.
When one hunk of a file does not fit its line, or the old and new line numbers contradict each other,
the numbers prove nothing any more: then every hunk of the file must have context and fit at exactly one
place in the whole file, in order. There is no fuzz: context that differs is a refusal. Two claims of a
hunk are kept, as git and GNU patch keep them: one without context after its last change ends at the end
of the file (a shifted one also when it has less context after than before), and a shifted one that
starts at line 1 with less context before than after stays at the start.

A hunk that only inserts and has no context (``git diff -U0``) would fit any file. It is taken only where
the file is empty, or is the very file the diff was made from, by the object name on its ``index`` line.

Cost: a file's lines are walked once with a cursor that only goes forward, and a hunk is compared as one
block of bytes, so fitting costs O(file + patch). A shifted hunk costs at most two searches for its
block, each linear (CPython's two-way search); `MAX_PATCH_SEARCH_BYTES` bounds all searches of a patch.
"""

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from homeostat.core.limits import MAX_PATCH_SEARCH_BYTES, MAX_PATCHED_BYTES
from homeostat.model.change import EXECUTABLE, REGULAR, ChangeKind, FileChange, FileState, TreeChange
from homeostat.model.verdict import Denied
from homeostat.validation.hunks import Hunk, Refused
from homeostat.validation.patch import PatchFile, UnverifiedPatch
from homeostat.validation.paths import collision_key, parents, shown

_STALE_HINT = "make the diff again, against the base commit as it is"
_MIN_BLOB_DIGITS = 7


def resolve(
    patch: UnverifiedPatch, base: Mapping[str, FileState | None], *, tree_paths: Collection[str] = ()
) -> TreeChange | Denied:
    """Return what the patch does to the base tree, or why it does not fit it.

    `base` has the file at each of `patch.paths`; None, or no entry, means that no file is there.
    `tree_paths` are all paths of the tree (files, links and submodules): against them a new path is
    checked for what is in its way. All files fit or nothing is returned.
    """
    size = sum(len(state.content) for path in patch.paths if (state := base.get(path)) is not None)
    if size > MAX_PATCHED_BYTES:
        return Denied(
            code="base-too-large", reasons=(f"the files to change have {size} bytes; {MAX_PATCHED_BYTES} are allowed",)
        )
    budget = _Budget(left=MAX_PATCH_SEARCH_BYTES)
    tree = _Tree.of(base, tree_paths if any(_is_new(item) for item in patch.files) else ())
    try:
        changes = tuple(_resolve_file(item, base, tree, budget) for item in patch.files)
        tree.check_new_folders(path for item in patch.files if _is_new(item) for path in parents(item.path))
    except Refused as refusal:
        return refusal.denied
    return TreeChange(files=changes)


@dataclass(slots=True, kw_only=True)
class _Budget:
    """Bytes that may still be searched for this patch."""

    left: int

    def spend(self, amount: int, item: PatchFile) -> None:
        self.left -= amount
        if self.left < 0:
            raise Refused(
                Denied(
                    code="search-too-large",
                    reasons=(f"`{shown(item.path)}`: too many hunks are not at their lines in files this large",),
                    hint=_STALE_HINT,
                )
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tree:
    """What stands in the base tree, for the question whether a new path is free."""

    files: frozenset[str]
    folders: frozenset[str]
    keys: Mapping[str, str]
    """Collision key to one path, of every file and folder."""

    @classmethod
    def of(cls, base: Mapping[str, FileState | None], tree_paths: Collection[str]) -> "_Tree":
        files = frozenset(tree_paths) | {path for path, state in base.items() if state is not None}
        folders = frozenset(parent for path in files for parent in parents(path))
        return cls(files=files, folders=folders, keys={collision_key(path): path for path in files | folders})

    def check_free(self, item: PatchFile) -> None:
        """Refuse a new path where something is, or would be for some file system."""
        path = item.path
        if path in self.folders:
            raise _conflict(item, f"`{shown(path)}` is a folder of the tree")
        for parent in parents(path):
            if parent in self.files:
                raise _conflict(item, f"`{shown(path)}` would lie below `{shown(parent)}`, which is a file of the tree")
        for part in (*parents(path), path):
            other = self.keys.get(collision_key(part))
            if other is not None and part not in self.folders and part not in self.files:
                raise _collision(item.line, part, other)

    def check_new_folders(self, folders: Iterable[str]) -> None:
        """Refuse two new folders that some file system takes for one."""
        seen: dict[str, str] = {}
        for folder in folders:
            other = seen.setdefault(collision_key(folder), folder)
            if other != folder and not {other, folder} <= self.folders:
                raise _collision(None, folder, other)


def _resolve_file(item: PatchFile, base: Mapping[str, FileState | None], tree: _Tree, budget: _Budget) -> FileChange:
    if _is_new(item):
        if base.get(item.path) is not None or item.path in tree.files:
            raise Refused(
                Denied(
                    code="file-exists",
                    reasons=(f"line {item.line}: `{shown(item.path)}` would be created, but it is there already",),
                    hint=_STALE_HINT,
                )
            )
        tree.check_free(item)
    before = _before(item, base)
    after = _after(item, before, budget)
    if item.old_path == item.path and before == after:
        raise Refused(
            Denied(
                code="no-op-change", reasons=(f"line {item.line}: `{shown(item.path)}` is the same before and after",)
            )
        )
    return FileChange(kind=item.kind, path=item.path, old_path=item.old_path, before=before, after=after)


def _is_new(item: PatchFile) -> bool:
    return item.kind in (ChangeKind.CREATE, ChangeKind.RENAME)


def _before(item: PatchFile, base: Mapping[str, FileState | None]) -> FileState | None:
    if item.kind is ChangeKind.CREATE:
        return None
    before = base.get(item.old_path)
    if before is None:
        raise Refused(
            Denied(
                code="file-missing",
                reasons=(f"line {item.line}: `{shown(item.old_path)}` is not there as a regular file",),
                hint=_STALE_HINT,
            )
        )
    if before.mode not in (REGULAR, EXECUTABLE):
        raise _stale(item.line, item, f"the file has the mode {before.mode:o}, which is no regular file's")
    if item.mode is not None and item.mode != before.mode:
        raise _stale(item.line, item, f"the file has the mode {before.mode:o}, the patch says {item.mode:o}")
    return before


def _after(item: PatchFile, before: FileState | None, budget: _Budget) -> FileState | None:
    if before is None:
        content = b"".join(hunk.new for hunk in item.hunks)
        return FileState(content=content, mode=REGULAR)
    if item.kind is ChangeKind.DELETE:
        removed = b"".join(hunk.old for hunk in item.hunks)
        if removed != before.content:
            raise _stale(item.line, item, "the file to be deleted has other contents than the patch removes")
        return None
    return FileState(content=_patched(item, before.content, budget), mode=before.mode)


def _patched(item: PatchFile, content: bytes, budget: _Budget) -> bytes:
    _check_evidence(item, content)
    places = _places_as_named(item.hunks, content)
    if None in places or not _numbers_agree(item.hunks):
        places = [_unique_place(item, hunk, content, budget) for hunk in item.hunks]
    pieces: list[bytes] = []
    end = 0
    for hunk, place in zip(item.hunks, places, strict=True):
        assert place is not None  # each is found by now, or refused
        if place < end:
            raise Refused(
                Denied(
                    code="overlapping-hunks",
                    reasons=(f"line {hunk.line}: `{shown(item.path)}`: shifted, the hunk meets the one before it",),
                    hint=_STALE_HINT,
                )
            )
        pieces += (content[end:place], hunk.new)
        end = place + len(hunk.old)
    pieces.append(content[end:])
    return b"".join(pieces)


def _check_evidence(item: PatchFile, content: bytes) -> None:
    """Refuse an insertion without context into a file that nothing shows to be the right one."""
    blind = next((hunk for hunk in item.hunks if not hunk.old), None)
    if blind is None or (not content and len(item.hunks) == 1):
        return
    named = item.old_blob or ""
    if len(named) < _MIN_BLOB_DIGITS or not any(name.startswith(named) for name in _blob_names(content)):
        raise _stale(blind.line, item, "lines are inserted without context, and nothing shows that this is the file")


def _blob_names(content: bytes) -> Iterable[str]:
    """Yield Git's object name of these contents, in repositories of SHA-1 and of SHA-256."""
    data = b"blob %d\0" % len(content) + content
    yield hashlib.sha1(data, usedforsecurity=False).hexdigest()
    yield hashlib.sha256(data).hexdigest()


def _numbers_agree(hunks: tuple[Hunk, ...]) -> bool:
    """Tell whether each hunk's new line number follows from its old one and the hunks before it."""
    shift = 0
    for hunk in hunks:
        if hunk.new_index != hunk.old_index + shift:
            return False
        shift += hunk.new_count - hunk.old_count
    return True


def _places_as_named(hunks: tuple[Hunk, ...], content: bytes) -> list[int | None]:
    """Return the offset of each hunk at the line its header names; None where it does not fit."""
    places: list[int | None] = []
    line, offset = 0, 0  # `line` whole lines end before `offset`; -1: the file has fewer
    for hunk in hunks:
        while line < hunk.old_index and offset >= 0:
            offset = content.find(b"\n", offset) + 1 or -1
            line += 1
        places.append(offset if offset >= 0 and _fits(hunk, content, offset) else None)
    return places


def _fits(hunk: Hunk, content: bytes, offset: int) -> bool:
    """Tell whether the old lines stand at this start of a line, with the file's end where it is claimed."""
    if not content.startswith(hunk.old, offset):
        return False
    rest = len(content) - offset - len(hunk.old)
    if _claims_end(hunk) and rest:
        return False
    if not hunk.old.endswith(b"\n") and hunk.old:
        return rest == 0
    return True


def _claims_end(hunk: Hunk) -> bool:
    return hunk.new_is_unterminated or (hunk.trailing == 0 and hunk.leading > 0)


def _unique_place(item: PatchFile, hunk: Hunk, content: bytes, budget: _Budget) -> int:
    """Return the only offset in the whole file where this hunk fits."""
    if not hunk.leading and not hunk.trailing:
        raise _stale(hunk.line, item, "the line numbers do not fit the file, and a hunk without context is not moved")
    budget.spend(2 * len(content), item)
    if hunk.old_start <= 1 and hunk.leading < hunk.trailing:
        candidates = [0]
    elif hunk.trailing < hunk.leading or not hunk.old.endswith(b"\n") or hunk.new_is_unterminated:
        candidates = [len(content) - len(hunk.old)]
    else:
        candidates = _occurrences(hunk.old, content)
    fitting = [place for place in candidates if _is_line_start(content, place) and _fits(hunk, content, place)]
    if not fitting:
        raise _stale(hunk.line, item, "the lines that the hunk expects are nowhere in the file")
    if len(fitting) > 1:
        raise Refused(
            Denied(
                code="ambiguous-place",
                reasons=(
                    f"line {hunk.line}: `{shown(item.path)}`: the file has moved, and the hunk fits at several places",
                ),
                hint=_STALE_HINT,
            )
        )
    return fitting[0]


def _occurrences(block: bytes, content: bytes) -> list[int]:
    """Return the first two line starts at which these whole lines stand."""
    # With a newline before both, each hit is a line start: two searches are always enough.
    padded, needle = b"\n" + content, b"\n" + block
    first = padded.find(needle)
    if first < 0:
        return []
    second = padded.find(needle, first + 1)
    return [first] if second < 0 else [first, second]


def _is_line_start(content: bytes, offset: int) -> bool:
    return offset == 0 or (offset > 0 and content[offset - 1 : offset] == b"\n")


def _stale(line: int, item: PatchFile, why: str) -> Refused:
    return Refused(
        Denied(code="stale-context", reasons=(f"line {line}: `{shown(item.old_path)}`: {why}",), hint=_STALE_HINT)
    )


def _conflict(item: PatchFile, why: str) -> Refused:
    return Refused(Denied(code="path-conflict", reasons=(f"line {item.line}: {why}",)))


def _collision(line: int | None, path: str, other: str) -> Refused:
    where = f"line {line}: " if line is not None else ""
    return Refused(
        Denied(
            code="case-collision",
            reasons=(f"{where}`{shown(path)}` and `{shown(other)}` are one name where letter case does not count",),
        )
    )
