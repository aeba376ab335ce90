"""Reading commits: which branch runs, what is in a tree, who descends from whom."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from homeostat.adapters.git.kept import Kept
from homeostat.adapters.git.paths import check_path, decode_path, encode_path
from homeostat.adapters.git.repository import GitRepository
from homeostat.core.errors import InvalidInput, NotFound
from homeostat.core.ids import CommitId, parse_commit_id
from homeostat.model.change import EXECUTABLE, REGULAR, FileMode, FileState

MAX_FILE_BYTES = 32 << 20
"""A file that a change touches; larger ones are refused (``file-too-large``)."""

_KEPT = 16
_KEPT_BYTES = 1 << 20
_KEPT_PATHS = 20_000
"""What is kept of commits that were read: of each answer at most so much, and so many answers of either kind.

Whoever looks at a proposal asks for the same files again and again, a proof's watcher many times a second.
"""

_MAX_REVISION_CHARS = 500
_PATHS_AT_ONCE = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeEntry:
    """One path of a tree: octal mode, object name, and for a file its size in bytes."""

    mode: int
    object_id: str
    size: int | None


class GitCommitReader:
    """`homeostat.ports.repository.CommitReader` on a real repository."""

    def __init__(self, repository: GitRepository, *, deployed_branch: str = "") -> None:
        self._repository = repository
        self._configured = deployed_branch
        self._files: Kept[Mapping[str, FileState | None]] = Kept(_KEPT, weight=_bytes_of, heaviest=_KEPT_BYTES)
        self._paths: Kept[tuple[str, ...]] = Kept(_KEPT, weight=len, heaviest=_KEPT_PATHS)

    def deployed_branch(self) -> str:
        return self._repository.deployed_branch(self._configured)

    def head(self) -> CommitId:
        return self._repository.head(self.deployed_branch())

    def resolve(self, revision: str) -> CommitId:
        """Resolve a person's word; `NotFound` when it names no commit, `InvalidInput` when it is ambiguous."""
        if not revision or len(revision) > _MAX_REVISION_CHARS or any(ord(char) < 32 for char in revision):
            raise InvalidInput("bad-revision", f"{revision[:60]!r} is not a revision")
        answer = self._repository.git.read(
            "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}", ok=(0, 1, 128)
        )
        if answer.code != 0:
            raise NotFound("unknown-commit", f"`{revision[:60]}` names no commit, or more than one")
        return parse_commit_id(answer.out.decode("ascii").strip())

    def read_files(self, commit: CommitId, paths: Sequence[str]) -> Mapping[str, FileState | None]:
        return dict(self._files.get((commit, tuple(paths)), lambda: self._read_files(commit, paths)))

    def _read_files(self, commit: CommitId, paths: Sequence[str]) -> Mapping[str, FileState | None]:
        entries = tree_entries(self._repository, commit, paths)
        for path, entry in entries.items():
            if entry is None:
                continue
            if entry.size is None or entry.mode not in (REGULAR, EXECUTABLE):
                raise InvalidInput("not-a-file", f"`{path}` is a {_KINDS.get(entry.mode, 'strange entry')}, not a file")
            if entry.size > MAX_FILE_BYTES:
                raise InvalidInput("file-too-large", f"`{path}` has {entry.size} bytes; {MAX_FILE_BYTES} are allowed")
        blobs = read_blobs(self._repository, {entry.object_id for entry in entries.values() if entry is not None})
        return {
            path: None if entry is None else FileState(content=blobs[entry.object_id], mode=FileMode(entry.mode))
            for path, entry in entries.items()
        }

    def list_files(self, commit: CommitId) -> Sequence[str]:
        return self._paths.get(commit, lambda: self._list_files(commit))

    def _list_files(self, commit: CommitId) -> tuple[str, ...]:
        answer = self._repository.git.read("ls-tree", "-r", "-z", "--name-only", "--full-tree", tree_of(commit))
        return tuple(decode_path(raw) for raw in answer.out.split(b"\0") if raw)

    def is_ancestor(self, ancestor: CommitId, of: CommitId) -> bool:
        """Tell whether `of` contains `ancestor`. In a shallow clone only the history that is there counts."""
        return is_ancestor(self._repository, ancestor, of)


def _bytes_of(files: Mapping[str, FileState | None]) -> int:
    return sum(len(file.content) for file in files.values() if file is not None)


_KINDS = {0o040000: "folder", 0o120000: "symlink", 0o160000: "submodule"}


def tree_of(commit: str) -> str:
    """Return git's word for a commit's tree; the id is checked, so that it can never be read as an option."""
    return f"{parse_commit_id(commit)}^{{tree}}"


def is_ancestor(repository: GitRepository, ancestor: str, of: str) -> bool:
    answer = repository.git.read(
        "merge-base", "--is-ancestor", parse_commit_id(ancestor), parse_commit_id(of), ok=(0, 1)
    )
    return answer.code == 0


def tree_entries(repository: GitRepository, commit: str, paths: Iterable[str]) -> Mapping[str, TreeEntry | None]:
    """Return what stands at each path of a commit; None where nothing does."""
    wanted = list(dict.fromkeys(paths))
    found: dict[str, TreeEntry | None] = dict.fromkeys(wanted)
    for path in wanted:
        check_path(path)
    for start in range(0, len(wanted), _PATHS_AT_ONCE):
        chunk = [encode_path(path) for path in wanted[start : start + _PATHS_AT_ONCE]]
        answer = repository.git.read("ls-tree", "-l", "-z", "--full-tree", tree_of(commit), "--", *chunk)
        for record in answer.out.split(b"\0"):
            if record:
                path, entry = parse_entry(record)
                found[path] = entry
    return found


def parse_entry(record: bytes) -> tuple[str, TreeEntry]:
    """Read one record of ``git ls-tree -l -z``."""
    facts, _, raw_path = record.partition(b"\t")
    mode, _, object_id, size = facts.split()
    if size == b"BAD":
        raise NotFound("unknown-object", f"the content of `{decode_path(raw_path)}` is not in the repository")
    return decode_path(raw_path), TreeEntry(
        mode=int(mode, 8), object_id=object_id.decode("ascii"), size=None if size == b"-" else int(size)
    )


_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")


def existing_commits(repository: GitRepository, commits: Iterable[CommitId]) -> frozenset[CommitId]:
    """Return those of the commits that are there; one git looks for them all."""
    wanted = sorted(commit for commit in commits if _COMMIT.fullmatch(commit))
    if not wanted:
        return frozenset()
    asked = "".join(f"{commit}\n" for commit in wanted).encode()
    out = repository.git.read("cat-file", "--batch-check=%(objecttype)", stdin=asked).out
    return frozenset(commit for commit, kind in zip(wanted, out.splitlines(), strict=True) if kind == b"commit")


def read_blobs(repository: GitRepository, object_ids: Iterable[str]) -> Mapping[str, bytes]:
    """Return the content of each blob, in one run of git. `NotFound` when one is not there."""
    wanted = sorted(set(object_ids))
    if not wanted:
        return {}
    out = repository.git.read("cat-file", "--batch", stdin="".join(f"{name}\n" for name in wanted).encode()).out
    return dict(zip(wanted, _contents(out, wanted), strict=True))


def read_commits(repository: GitRepository, commits: Iterable[CommitId]) -> Mapping[str, bytes]:
    """Return each commit as it is hashed: headers, an empty line, the message. `NotFound` when one is not there."""
    return read_blobs(repository, commits)


def _contents(out: bytes, wanted: Sequence[str]) -> Iterable[bytes]:
    at = 0
    for name in wanted:
        end = out.index(b"\n", at)
        fields = out[at:end].split()
        if len(fields) != 3:
            raise NotFound("unknown-object", f"the object {name} is not in the repository")
        size = int(fields[2])
        yield out[end + 1 : end + 1 + size]
        at = end + 1 + size + 1
