"""Writing objects without touching any index, work tree or branch: blobs, a tree over another, a commit."""

import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from homeostat.adapters.git.index_entries import IndexEntry, write_entries
from homeostat.adapters.git.paths import Sides
from homeostat.adapters.git.reader import tree_entries, tree_of
from homeostat.adapters.git.repository import GitRepository
from homeostat.adapters.git.tree_files import disk_errors
from homeostat.core.errors import Conflict, InvalidInput
from homeostat.core.ids import CommitId, parse_commit_id
from homeostat.model.change import FileState

_MAX_MESSAGE_CHARS = 100_000
_SCRATCH = "use the folder for temporary files"


def commit_change(
    repository: GitRepository, *, parent: CommitId, sides: Mapping[str, Sides], message: str, at: datetime
) -> CommitId:
    """Make the commit `parent` + change. The same arguments give the same commit id.

    `Conflict` (``base-differs``) unless every touched path of `parent` is as the before side says:
    a change that was resolved against another tree is never put on this one.
    """
    entries = tree_entries(repository, parent, sides)
    strangers = []
    for path, item in sides.items():
        entry = entries[path]
        present = None if entry is None else (entry.mode, entry.object_id)
        wanted = None if item.before is None else (item.before.mode, repository.blob_id(item.before.content))
        if present != wanted:
            strangers.append(path)
    if strangers:
        raise Conflict(
            "base-differs",
            f"at {parent[:12]} the change's base is not found in {_names(strangers)}",
            hint="make the patch again on the present commit",
        )
    tree = write_tree(repository, base=parent, files={path: item.after for path, item in sides.items()})
    return write_commit(repository, tree=tree, parent=parent, message=message, at=at)


def write_tree(repository: GitRepository, *, base: CommitId | None, files: Mapping[str, FileState | None]) -> str:
    """Write these files (None: remove) over the tree of `base` and return the new tree's name."""
    kept = {path: state for path, state in files.items() if state is not None}
    names = write_objects(repository, "blob", [state.content for state in kept.values()])
    entries: dict[str, IndexEntry | None] = dict.fromkeys(files)
    for (path, state), name in zip(kept.items(), names, strict=True):
        entries[path] = IndexEntry(mode=state.mode, object_id=name)
    with disk_errors(_SCRATCH), tempfile.TemporaryDirectory(prefix="homeostat-", ignore_cleanup_errors=True) as folder:
        index = Path(folder) / "index"
        env = {"GIT_INDEX_FILE": str(index)}
        if base is not None:
            repository.git.write("read-tree", tree_of(base), env=env)
        write_entries(repository.git, entries, index=index)
        return repository.git.write("write-tree", env=env).out.decode("ascii").strip()


def write_commit(
    repository: GitRepository, *, tree: str, parent: CommitId | None, message: str, at: datetime
) -> CommitId:
    """Write a commit object with our fixed identity, dated `at` (aware; whole seconds count)."""
    if at.tzinfo is None:
        raise InvalidInput("naive-time", "a commit needs a time with its zone")
    if not message.strip() or "\0" in message or len(message) > _MAX_MESSAGE_CHARS:
        raise InvalidInput("bad-message", "a commit needs a message without NUL, of at most 100,000 characters")
    date = f"@{int(at.astimezone(UTC).timestamp())} +0000"
    answer = repository.git.write(
        "commit-tree",
        tree,
        *(("-p", parse_commit_id(parent)) if parent is not None else ()),
        stdin=(message.rstrip() + "\n").encode("utf-8", "replace"),
        env={"GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date},
    )
    return parse_commit_id(answer.out.decode("ascii").strip())


def write_objects(repository: GitRepository, kind: str, contents: Sequence[bytes]) -> Sequence[str]:
    """Write blobs or trees, all in one call, and return their names."""
    if not contents:
        return []
    with disk_errors(_SCRATCH), tempfile.TemporaryDirectory(prefix="homeostat-", ignore_cleanup_errors=True) as folder:
        paths = [Path(folder) / str(number) for number in range(len(contents))]
        for path, content in zip(paths, contents, strict=True):
            path.write_bytes(content)
        answer = repository.git.write(
            "hash-object",
            "-w",
            "-t",
            kind,
            "--no-filters",
            "--stdin-paths",
            stdin=b"".join(bytes(path) + b"\n" for path in paths),
        )
    return answer.out.decode("ascii").split()


def _names(paths: Sequence[str]) -> str:
    shown = ", ".join(f"`{path}`" for path in paths[:5])
    return shown if len(paths) <= 5 else f"{shown} and {len(paths) - 5} more"
