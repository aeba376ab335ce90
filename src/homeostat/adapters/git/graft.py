"""A few files put into a large tree: only the folders on their way are read and written.

An index of the whole tree, as `git read-tree` makes one, takes time with the number of all its files;
this takes time with the number of names in the folders that are touched.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from homeostat.adapters.git.objects import write_objects
from homeostat.adapters.git.repository import GitRepository
from homeostat.core.errors import Bug, Conflict, IntegrityFailure
from homeostat.core.ids import CommitId

_TREE_MODE = b"40000"
_FILE_MODE = b"100644"


@dataclass(slots=True)
class _Folder:
    """One folder of the new tree: what it holds (name → mode and object), and the folders in it that change."""

    names: dict[bytes, tuple[bytes, str]]
    changed: dict[bytes, "_Folder"] = field(default_factory=dict)


def graft(repository: GitRepository, *, base: CommitId | None, blobs: Mapping[str, str]) -> str:
    """Write the tree of `base` with these blobs (path → object) in it as plain files; return the tree's name.

    `Conflict` (``path-taken``) where a folder stands at one of the paths, or a file on the way to it.
    """
    folders = {path.rpartition("/")[0] for path in blobs}
    ways = sorted({"/".join(folder.split("/")[:depth]) for folder in folders for depth in range(folder.count("/") + 2)})
    read = _read_trees(repository, base, ways) if base is not None else {}
    root = _Folder(read.get("", {}))
    for path, blob in blobs.items():
        *way, name = path.split("/")
        _put(_walk(root, way, read), path, name.encode(), blob)
    return _write(repository, root)


def _walk(root: _Folder, way: list[str], read: Mapping[str, dict[bytes, tuple[bytes, str]]]) -> _Folder:
    here = root
    for depth, part in enumerate(way, start=1):
        name = part.encode()
        present = here.names.get(name)
        if present is not None and present[0] != _TREE_MODE:
            raise Conflict("path-taken", f"`{'/'.join(way[:depth])}` is a file on the branch, and must be a folder")
        if name not in here.changed:
            here.changed[name] = _Folder(read.get("/".join(way[:depth]), {}))
        here = here.changed[name]
    return here


def _put(folder: _Folder, path: str, name: bytes, blob: str) -> None:
    present = folder.names.get(name)
    if name in folder.changed or (present is not None and present[0] == _TREE_MODE):
        raise Conflict("path-taken", f"`{path}` is a folder on the branch, and must be a file")
    folder.names[name] = (_FILE_MODE, blob)


def _read_trees(
    repository: GitRepository, base: CommitId, paths: list[str]
) -> dict[str, dict[bytes, tuple[bytes, str]]]:
    asked = "".join(f"{base}:{path}\n" for path in paths).encode()
    out = repository.git.read("cat-file", "--batch", stdin=asked).out
    found: dict[str, dict[bytes, tuple[bytes, str]]] = {}
    place = 0
    for path in paths:
        end = out.index(b"\n", place)
        header, place = out[place:end], end + 1
        if header.endswith(b" missing"):
            continue
        _, kind, size = header.rsplit(b" ", 2)
        data, place = out[place : place + int(size)], place + int(size) + 1
        if kind == b"tree":  # a file on the way is seen as a name in the folder above it
            found[path] = _parse(data, id_bytes=len(base) // 2)
    return found


def _parse(data: bytes, *, id_bytes: int) -> dict[bytes, tuple[bytes, str]]:
    names: dict[bytes, tuple[bytes, str]] = {}
    place = 0
    while place < len(data):
        end = data.find(b"\0", place)
        if end < 0 or end + 1 + id_bytes > len(data):
            raise IntegrityFailure("bad-tree", "a tree of the branch cannot be read", hint="look at it with `git fsck`")
        mode, _, name = data[place:end].partition(b" ")
        place = end + 1 + id_bytes
        names[name] = (mode, data[end + 1 : place].hex())
    return names


def _write(repository: GitRepository, root: _Folder) -> str:
    """Write the changed folders in one call; their names are known before, so those below come first."""
    trees: list[bytes] = []

    def settle(folder: _Folder) -> str:
        for name, child in folder.changed.items():
            folder.names[name] = (_TREE_MODE, settle(child))
        trees.append(_encode(folder))
        return repository.object_id("tree", trees[-1])

    wanted = settle(root)
    written = write_objects(repository, "tree", trees)
    if written[-1] != wanted:
        raise Bug("bad-tree", "git names a tree otherwise than we do")
    return wanted


def _encode(folder: _Folder) -> bytes:
    # Git orders a folder as if its name ended with a slash.
    ordered = sorted(folder.names.items(), key=lambda item: item[0] + b"/" * (item[1][0] == _TREE_MODE))
    return b"".join(mode + b" " + name + b"\0" + bytes.fromhex(blob) for name, (mode, blob) in ordered)
