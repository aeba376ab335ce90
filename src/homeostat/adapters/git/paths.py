"""Paths of a tree as git has them, and the two sides of a change path by path.

A path is text with forward slashes; bytes that are not UTF-8 travel as surrogate escapes.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from homeostat.core.errors import InvalidInput
from homeostat.model.change import EXECUTABLE, REGULAR, FileState, TreeChange

MAX_PATH_BYTES = 4096
MAX_NAME_BYTES = 255


def encode_path(path: str) -> bytes:
    """Return the bytes that git and the file system have for this path."""
    return path.encode("utf-8", "surrogateescape")


def decode_path(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def check_path(path: str) -> None:
    """Raise `InvalidInput` unless this is a plain relative path that stays inside the tree."""
    raw = encode_path(path)
    names = raw.split(b"/")
    if b"\0" in raw or len(raw) > MAX_PATH_BYTES:
        raise InvalidInput("bad-path", f"{path[:80]!r} is not a path of a tree")
    for name in names:
        if name in (b"", b".", b"..") or name.lower() == b".git" or len(name) > MAX_NAME_BYTES:
            raise InvalidInput("bad-path", f"{path[:80]!r} is not a path inside the tree")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sides:
    """What one path is before and after a change; None: no file there."""

    before: FileState | None
    after: FileState | None


def sides_of(change: TreeChange) -> Mapping[str, Sides]:
    """Return before and after of every touched path, sorted by path.

    Chains and swaps of renames are resolved here, so that nobody else has to think of kinds.
    """
    before: dict[str, FileState] = {}
    after: dict[str, FileState] = {}
    for item in change.files:
        for path in item.touched_paths:
            check_path(path)
        for target, path, state in ((before, item.old_path, item.before), (after, item.path, item.after)):
            if state is None:
                continue
            if path in target:
                raise InvalidInput("bad-change", f"the change names `{path}` twice")
            if state.mode not in (REGULAR, EXECUTABLE):
                raise InvalidInput("bad-change", f"`{path}` has the mode {state.mode:o}, which no file may have")
            target[path] = state
    touched = sorted({path for item in change.files for path in item.touched_paths}, key=encode_path)
    if not touched:
        raise InvalidInput("empty-change", "the change touches no file")
    return {path: Sides(before=before.get(path), after=after.get(path)) for path in touched}


def check_deployable(sides: Mapping[str, Sides]) -> None:
    """Refuse what a checkout cannot be taken through file by file.

    A `.gitattributes` changes how git writes *other* files, and a file that becomes a folder (or
    the reverse) has no moment at which both sides can be put back.
    """
    for path in sides:
        if path.rsplit("/", 1)[-1].lower() == ".gitattributes":
            raise InvalidInput("unsupported-change", f"`{path}` changes how git writes other files: commit it by hand")
    for side in ("before", "after"):
        other = "after" if side == "before" else "before"
        files = {path for path, item in sides.items() if getattr(item, side) is not None}
        for path, item in sides.items():
            if getattr(item, other) is None:
                continue
            parts = path.split("/")
            for depth in range(1, len(parts)):
                parent = "/".join(parts[:depth])
                if parent in files:
                    raise InvalidInput(
                        "unsupported-change", f"`{parent}` is a file and a folder in one change: make it two"
                    )
