"""Entries of an index, the user's or a temporary one: read, replaced, removed."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from homeostat.adapters.git.command import Git
from homeostat.adapters.git.paths import check_path, decode_path, encode_path

_MAX_ARGUMENT_BYTES = 256 << 10
"""What one run of git is given; the kernel allows some two megabytes, environment included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexEntry:
    """One path of the index. Stage 0 is the ordinary one; others belong to an unfinished merge."""

    mode: int
    object_id: str
    stage: int = 0


def read_entries(git: Git, paths: Sequence[str]) -> Mapping[str, Sequence[IndexEntry]]:
    """Return the index's entries at these paths and, where the index has a folder, below them."""
    out = git.read("ls-files", "--stage", "-z", "--full-name", "--", *(encode_path(path) for path in paths)).out
    found: dict[str, list[IndexEntry]] = {}
    for record in out.split(b"\0"):
        if record:
            facts, _, raw_path = record.partition(b"\t")
            mode, object_id, stage = facts.split()
            entry = IndexEntry(mode=int(mode, 8), object_id=object_id.decode("ascii"), stage=int(stage))
            found.setdefault(decode_path(raw_path), []).append(entry)
    return found


def write_entries(git: Git, entries: Mapping[str, IndexEntry | None], *, index: Path) -> None:
    """Replace these entries of the index file (None: remove), removals first.

    `Conflict` (``path-in-the-way``) when a file or submodule stands where a folder is needed. They
    are given as arguments: `--index-info` would put the folder in its place without a word, and
    leave out paths that git does not like without an error.
    """
    for path in entries:
        check_path(path)
    for arguments in _runs(entries):
        git.write("update-index", "--add", *arguments, env={"GIT_INDEX_FILE": str(index)})


def _runs(entries: Mapping[str, IndexEntry | None]) -> Iterator[list[str | bytes]]:
    run: list[str | bytes] = []
    size = 0
    for path, entry in sorted(entries.items(), key=lambda item: item[1] is not None):
        name = encode_path(path)
        if entry is None:
            words: list[str | bytes] = ["--force-remove", b"./" + name]
        else:
            words = ["--cacheinfo", f"{entry.mode:o},{entry.object_id},".encode() + name]
        size += len(name) + 100
        if run and size > _MAX_ARGUMENT_BYTES:
            yield run
            run, size = [], len(name) + 100
        run += words
    if run:
        yield run
