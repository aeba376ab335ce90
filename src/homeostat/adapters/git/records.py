"""The orphan branch of Markdown records, ``homeostat/proposals``: one commit for every status change."""

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from homeostat.adapters.git.graft import graft
from homeostat.adapters.git.objects import write_commit, write_objects
from homeostat.adapters.git.paths import check_path
from homeostat.adapters.git.reader import is_ancestor, read_blobs, tree_entries
from homeostat.adapters.git.repository import OWN_PREFIX, GitRepository
from homeostat.core.errors import Conflict, IntegrityFailure, InvalidInput, Unavailable
from homeostat.core.ids import CommitId, parse_commit_id
from homeostat.core.limits import MAX_RECORD_BYTES

BRANCH = f"{OWN_PREFIX}proposals"

_KEY = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,60}")
_RECORD_PATH = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(?:/[A-Za-z0-9][A-Za-z0-9._-]*)*")
_CHUNK = 500
_TRIES = 200
_LOCK_PATIENCE_S = 1.5
"""Flows wait for their records: a stale lock must not hold up the watch over applied changes for longer."""

_PAUSE_S = 0.01
_MAX_SUBJECT_CHARS = 200
_MAX_FILES = 1000


class GitRecordBranch:
    """`homeostat.ports.repository.RecordBranch` on a real repository.

    Any number of processes may publish at once: each commit is made over the head that was read and
    put there only if the head is still that one, else it is made again.
    """

    def __init__(self, repository: GitRepository, *, branch: str = BRANCH) -> None:
        self._repository = repository
        self._branch = branch

    def publish(
        self, *, files: Mapping[str, bytes], subject: str, trailers: Mapping[str, str], at: datetime
    ) -> CommitId:
        """Write these files over the present tree in one commit.

        Asked again with the same arguments right after, it answers with the same commit: a crash
        between commit and bookkeeping leaves no second one.
        """
        if not files or len(files) > _MAX_FILES:
            raise InvalidInput("bad-record", f"a record has 1 to {_MAX_FILES} files")
        for path in files:
            check_path(path)
            if not _RECORD_PATH.fullmatch(path):
                # Trees are written here without git's own look at their names.
                raise InvalidInput("bad-path", f"{path[:60]!r} is not the path of a record")
        message = record_message(subject, trailers)
        blobs = dict(zip(files, write_objects(self._repository, "blob", list(files.values())), strict=True))
        patience = _Patience()
        for _ in range(_TRIES):
            head = self._repository.branch_head(self._branch)
            tree = graft(self._repository, base=head, blobs=blobs)
            if head is not None and self._is_same(head, tree=tree, message=message):
                return head
            commit = write_commit(self._repository, tree=tree, parent=head, message=message, at=at)
            try:
                self._repository.move_branch(
                    self._branch, new=commit, old=head or self._repository.null_id, why="homeostat: record"
                )
            except (Conflict, Unavailable) as error:
                # Another writer of this very ref, for a moment; what stays is reported.
                if error.code not in ("ref-moved", "git-lock-held"):
                    raise
                if patience.is_over(head):
                    if head is None and error.code == "ref-moved":
                        raise _no_commit(self._branch) from error
                    break
                time.sleep(_PAUSE_S)
            else:
                return commit
        raise Unavailable(
            "records-busy",
            f"`{self._branch}` cannot be moved: somebody holds its lock, or moves it all the time",
            hint=f"if no git is running, remove `{self._repository.common_dir}/refs/heads/{self._branch}.lock`",
        )

    def read(self, path: str) -> bytes | None:
        """Return a record's bytes as they are on the branch now; None when it is not there."""
        check_path(path)
        head = self._repository.branch_head(self._branch)
        if head is None:
            return None
        entry = tree_entries(self._repository, head, [path])[path]
        if entry is None or entry.size is None:
            return None
        if entry.size > MAX_RECORD_BYTES:
            raise InvalidInput("record-too-large", f"`{path}` has {entry.size} bytes; {MAX_RECORD_BYTES} are allowed")
        return read_blobs(self._repository, [entry.object_id])[entry.object_id]

    def read_all(self, paths: Sequence[str]) -> Iterator[tuple[str, bytes | None]]:
        """Yield (path, bytes) of many records, some hundred at a time in memory; None for one that is not there."""
        head = self._repository.branch_head(self._branch)
        for start in range(0, len(paths), _CHUNK):
            chunk = paths[start : start + _CHUNK]
            if head is None:
                yield from ((path, None) for path in chunk)
                continue
            entries = tree_entries(self._repository, head, chunk)
            wanted = {
                entry.object_id
                for entry in entries.values()
                if entry is not None and entry.size is not None and entry.size <= MAX_RECORD_BYTES
            }
            blobs = read_blobs(self._repository, wanted)
            for path, entry in entries.items():
                yield path, None if entry is None else blobs.get(entry.object_id, b"")

    def trailers(self, key: str) -> Sequence[tuple[CommitId, str]]:
        return self._trailers(key, [])

    def trailers_since(self, commit: CommitId, key: str) -> Sequence[tuple[CommitId, str]] | None:
        """Return the trailers of commits after this one, newest first; None where the branch did not go on from it."""
        head = self._repository.branch_head(self._branch)
        if head is None or not is_ancestor(self._repository, commit, head):
            return None
        return self._trailers(key, [f"^{commit}"])

    def _trailers(self, key: str, without: Sequence[str]) -> Sequence[tuple[CommitId, str]]:
        if not _KEY.fullmatch(key):
            raise InvalidInput("bad-trailer", f"{key[:60]!r} is not the name of a trailer")
        head = self._repository.branch_head(self._branch)
        if head is None:
            return []
        layout = f"%H%x01%(trailers:key={key},valueonly=true,unfold=true,separator=%x01)"
        out = self._repository.git.read("rev-list", f"--format={layout}", head, *without).out
        found: list[tuple[CommitId, str]] = []
        for line in out.decode("utf-8", "replace").split("\n"):
            commit, mark, values = line.partition("\x01")
            if not mark:
                continue  # the line "commit <id>" that rev-list always prints
            found += [(parse_commit_id(commit), value) for value in values.split("\x01") if value]
        return found

    def _is_same(self, head: CommitId, *, tree: str, message: str) -> bool:
        raw = self._repository.git.read("cat-file", "commit", head).out
        headers, _, body = raw.partition(b"\n\n")
        return headers.startswith(f"tree {tree}\n".encode()) and body == (message + "\n").encode("utf-8", "replace")


def _no_commit(branch: str) -> IntegrityFailure:
    return IntegrityFailure(
        "repository-corrupt",
        f"`{branch}` is there, and points at no commit",
        hint=f"put it back where it was (`git reflog {branch}`), or remove it: `git update-ref -d refs/heads/{branch}`",
    )


class _Patience:
    """Ends when the branch could not be moved for so long, and did not move: whoever holds its lock has died."""

    def __init__(self) -> None:
        self._head: CommitId | None = None
        self._since_s = 0.0

    def is_over(self, head: CommitId | None) -> bool:
        now_s = time.monotonic()
        if not self._since_s or head != self._head:
            self._head, self._since_s = head, now_s
        return now_s - self._since_s > _LOCK_PATIENCE_S


def record_message(subject: str, trailers: Mapping[str, str]) -> str:
    """Return the commit message: one line of subject, then the trailers as the only other paragraph.

    The subject is made one line of printable characters, so that a title cannot forge a trailer.
    """
    line = " ".join("".join(char if char.isprintable() else " " for char in subject).split())[:_MAX_SUBJECT_CHARS]
    if not line:
        raise InvalidInput("bad-record", "a record needs a subject")
    for key, value in trailers.items():
        if not _KEY.fullmatch(key) or not value.strip() or not value.isprintable() or value != value.strip():
            raise InvalidInput("bad-trailer", f"{key[:60]!r} is not a trailer of one printable line")
    block = "\n".join(f"{key}: {value}" for key, value in trailers.items())
    return f"{line}\n\n{block}" if block else line
