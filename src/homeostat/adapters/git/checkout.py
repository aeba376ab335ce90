"""A commit's files in an empty folder, byte for byte as they are committed.

This is not `git checkout`: no filter driver runs, no line ending is converted, no `export-ignore`
leaves anything out, no hook is called, and there is no `.git`. What is proved is what is committed;
a large-file pointer stays a pointer. Executable bits and symlinks are kept, a link that points out
of the folder too (it gives a sandboxed test nothing that the path itself would not give), but
nothing is ever written through one. A submodule is an empty folder.
"""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from homeostat.adapters.git.command import Git
from homeostat.adapters.git.failures import disk_failure
from homeostat.adapters.git.paths import check_path, encode_path
from homeostat.adapters.git.reader import TreeEntry, parse_entry, tree_of
from homeostat.core.errors import IntegrityFailure, InvalidInput, NotFound
from homeostat.model.change import EXECUTABLE, REGULAR

_SYMLINK = 0o120000
_SUBMODULE = 0o160000
_CHUNK = 1 << 20
_MAX_LINK_BYTES = 4096


def write_checkout(repository: Path, commit: str, into: Path) -> None:
    """Write the files of `commit` into `into`, which is made when missing and must be empty.

    When it raises, what was written so far is left for the caller to throw away with the folder.
    """
    git = Git(repository)
    listing = git.read("ls-tree", "-r", "-l", "-z", "--full-tree", tree_of(commit)).out
    entries = [parse_entry(record) for record in listing.split(b"\0") if record]
    _check_tree(commit, [path for path, _ in entries])
    try:
        into.mkdir(parents=True, exist_ok=True)
        if any(into.iterdir()):
            raise InvalidInput("not-empty", f"`{into}` is not empty")
        _write_all(git, entries, into)
    except OSError as error:
        raise disk_failure(error, f"write the checkout in `{into}`") from error


def _check_tree(commit: str, paths: Sequence[str]) -> None:
    """Refuse a tree that git itself would never have made: it could lead a write out of the folder."""
    taken = set(paths)
    for path in paths:
        try:
            check_path(path)
        except InvalidInput as error:
            raise IntegrityFailure("bad-tree", f"{commit[:12]} holds the path {path[:80]!r}") from error
        parts = path.split("/")
        if any("/".join(parts[:depth]) in taken for depth in range(1, len(parts))):
            raise IntegrityFailure("bad-tree", f"{commit[:12]} has a file and a folder of one name at {path[:80]!r}")
    if len(taken) != len(paths):
        raise IntegrityFailure("bad-tree", f"{commit[:12]} names a path twice")


def _write_all(git: Git, entries: Sequence[tuple[str, TreeEntry]], into: Path) -> None:
    for folder in sorted({_place(into, path).parent for path, _ in entries}):
        folder.mkdir(parents=True, exist_ok=True)
    # Links last: while files are written there is no link to be led away by.
    files = [item for item in entries if item[1].mode in (REGULAR, EXECUTABLE, 0o100664)]
    links = [item for item in entries if item[1].mode == _SYMLINK]
    for path, entry in entries:
        if entry.mode == _SUBMODULE:
            _place(into, path).mkdir()
    with tempfile.TemporaryFile(prefix="homeostat-") as wanted:
        wanted.write(b"".join(f"{entry.object_id}\n".encode() for _, entry in (*files, *links)))
        wanted.seek(0)
        with git.stream("cat-file", "--batch", "--buffer", stdin=wanted) as blobs:
            for path, entry in files:
                _write_file(blobs, _place(into, path), entry)
            for path, entry in links:
                size = _blob_size(blobs, entry)
                if size > _MAX_LINK_BYTES:
                    raise IntegrityFailure("bad-tree", f"the link {path!r} has a target of {size} bytes")
                target = _exactly(blobs, size)
                _place(into, path).symlink_to(os.fsdecode(target))
                _exactly(blobs, 1)


def _write_file(blobs: IO[bytes], place: Path, entry: TreeEntry) -> None:
    left = _blob_size(blobs, entry)
    mode = 0o777 if entry.mode == EXECUTABLE else 0o666
    fd = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    with os.fdopen(fd, "wb") as file:
        while left:
            chunk = _exactly(blobs, min(left, _CHUNK))
            file.write(chunk)
            left -= len(chunk)
    _exactly(blobs, 1)


def _blob_size(blobs: IO[bytes], entry: TreeEntry) -> int:
    fields = blobs.readline().split()
    if len(fields) != 3 or fields[1] != b"blob":
        raise NotFound("unknown-object", f"the object {entry.object_id} is not in the repository")
    return int(fields[2])


def _exactly(blobs: IO[bytes], size: int) -> bytes:
    data = blobs.read(size)
    if len(data) != size:
        raise NotFound("unknown-object", "git ended before it had given every file")
    return data


def _place(into: Path, path: str) -> Path:
    return into / os.fsdecode(encode_path(path))
