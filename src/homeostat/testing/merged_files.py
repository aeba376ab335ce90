"""Files merged and compared without a repository, as git would."""

import difflib
import subprocess
import tempfile
from pathlib import Path

from homeostat.model.change import FileState


def merge_files(
    base: FileState | None, ours: FileState | None, theirs: FileState | None
) -> tuple[FileState | None, bool]:
    """Merge one path in three ways; return what it becomes, and whether that is clean."""
    if theirs in (base, ours):
        return ours, True
    if ours == base:
        return theirs, True
    if base is None or ours is None or theirs is None:
        return ours or theirs, False
    with tempfile.TemporaryDirectory() as folder:
        places = [Path(folder, name) for name in ("ours", "base", "theirs")]
        for place, state in zip(places, (ours, base, theirs), strict=True):
            place.write_bytes(state.content)
        done = subprocess.run(["git", "merge-file", "-p", *map(str, places)], capture_output=True, check=False)
    return FileState(content=done.stdout, mode=ours.mode), done.returncode == 0


def git_diff(path: str, before: FileState | None, after: FileState | None) -> str:
    """Return the git diff of one path; empty where nothing changed."""
    if before == after:
        return ""
    head = [f"diff --git a/{path} b/{path}\n"]
    if before is None and after is not None:
        head.append(f"new file mode {after.mode:o}\n")
    elif after is None and before is not None:
        head.append(f"deleted file mode {before.mode:o}\n")
    elif before is not None and after is not None and before.mode != after.mode:
        head.append(f"old mode {before.mode:o}\nnew mode {after.mode:o}\n")
    lines = list(
        difflib.unified_diff(
            _lines(before),
            _lines(after),
            fromfile="/dev/null" if before is None else f"a/{path}",
            tofile="/dev/null" if after is None else f"b/{path}",
        )
    )
    ended = [line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines]
    return "".join([*head, *ended])


def _lines(state: FileState | None) -> list[str]:
    return [] if state is None else state.content.decode().splitlines(keepends=True)
