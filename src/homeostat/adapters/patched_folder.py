"""A patch on the files of any folder: all of it, or nothing.

The moves are those in a checkout (`homeostat.adapters.git.tree_files`), without branch and index. Every new file is
staged beside its place first: what can run out (space, rights) runs out there. Then each comes into its place by one
rename, if nobody has touched what it replaces. Whatever fails in between, and an interruption too, is taken back. Of a
process that is killed a journal stays, from which the next one goes on: forward where a file has come into its place,
else back to what was.
"""

import json
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from homeostat.adapters.git.tree_files import (
    DiskFile,
    Obstacle,
    OnDisk,
    TreeFiles,
    disk_errors,
    open_files,
    temporary_name,
)
from homeostat.core.digests import digest_bytes
from homeostat.core.errors import Conflict, HomeostatError, NotFound, OutcomeUnknown
from homeostat.core.limits import MAX_PATCHED_BYTES
from homeostat.model.change import EXECUTABLE, REGULAR, ChangeKind, FileState, TreeChange
from homeostat.model.verdict import Denied
from homeostat.validation.patch import UnverifiedPatch
from homeostat.validation.paths import collision_key, path_fault, shown
from homeostat.validation.resolve import resolve

_JOURNAL = ".homeostat-patch.json"
_MOST_JOURNAL_BYTES = 1 << 20

StepHook = Callable[[str], None]
"""Called with the name of each step after it was done. Fault tests fail in it."""


class PatchedFolder:
    """One folder, open while used."""

    def __init__(self, files: TreeFiles, on_step: StepHook) -> None:
        self._files = files
        self._on_step = on_step
        self._seen: dict[str, OnDisk] = {}

    @property
    def is_interrupted(self) -> bool:
        """Whether a process was killed while it put a patch in place."""
        with disk_errors("read the folder"):
            return self._files.look(_JOURNAL) is not None

    def finish_interrupted(self) -> None:
        """Finish what a killed process began, or take it back where no file of it had come into its place.

        `Conflict` ``dirty-files``: another process is at it. `OutcomeUnknown` ``patch-half-applied``: a file was
        touched since, so that neither can be.
        """
        with disk_errors("finish the patch that was interrupted"):
            if not self._files.hold_alone():
                raise Conflict("dirty-files", "another process applies a patch to this folder", hint="wait for it")
            if (found := self._files.look(_JOURNAL, most_bytes=_MOST_JOURNAL_BYTES)) is None:
                return
            moves = _journalled(found)
            now = {path: _digest(self._files.look(path)) for path, _, _ in moves}
            left = [move for move in moves if now[move[0]] != move[2]]
            if any(now[path] != before for path, before, _ in left):
                raise _half_applied()
            if len(left) == len(moves):
                for path, before, _ in moves:
                    self._files.unstage(path)
                    if before is None:
                        self._files.remove_empty_folders(path)
            elif all(after is None or _digest(self._files.look(_staged(path))) == after for path, _, after in left):
                for path, _, after in left:
                    (self._files.remove if after is None else self._files.place)(path)
            else:
                raise _half_applied()
            self._files.remove(_JOURNAL)

    def resolve(self, patch: UnverifiedPatch) -> TreeChange | Denied:
        """Return what the patch makes of the files that are there, or why it does not fit them."""
        if _JOURNAL in patch.paths:
            return Denied(code="path-conflict", reasons=(f"`{_JOURNAL}` is what applying a patch itself needs",))
        with disk_errors("read the folder"):
            self._seen = {path: self._files.look(path, most_bytes=MAX_PATCHED_BYTES) for path in patch.paths}
            new = [item.path for item in patch.files if item.kind in (ChangeKind.CREATE, ChangeKind.RENAME)]
            in_the_way = list(self._alike(new))
        for path, found in self._seen.items():
            if isinstance(found, Obstacle) and found.too_large:
                return Denied(code="base-too-large", reasons=(f"`{shown(path)}` is {found.what}",))
        base = {path: _state(found) for path, found in self._seen.items()}
        return resolve(patch, base, tree_paths=in_the_way)

    def put(self, change: TreeChange) -> None:
        """Make the change that was just resolved; raises with every file as it was before.

        `Conflict` ``dirty-files``: one was touched since it was looked at. `OutcomeUnknown` ``patch-half-applied``:
        taking back failed as well.
        """
        wanted = {item.path: item.after for item in change.files if item.after is not None}
        gone = [path for path in change.touched_paths if path not in wanted]
        undo: list[Callable[[], None]] = []
        self.finish_interrupted()
        try:
            with disk_errors("begin"):
                undo.append(self._forget)
                self._begin([(path, self._seen[path], wanted.get(path)) for path in (*wanted, *gone)])
            with disk_errors("stage the new files"):
                for path, state in wanted.items():
                    undo.append(lambda path=path: self._unstage(path))  # type: ignore[misc]
                    executable = state.mode == EXECUTABLE
                    self._files.stage(path, state.content, executable=executable, like=self._seen[path])
                    self._on_step(f"staged {path}")
            with disk_errors("put the new files in place"):
                # Files that come before files that go: at no moment is a renamed one nowhere.
                for path in (*wanted, *gone):
                    self._check_untouched(path)
                    undo.append(lambda path=path: self._put_back(path))  # type: ignore[misc]
                    (self._files.place if path in wanted else self._files.remove)(path)
                    self._on_step(f"moved {path}")
                self._files.remove(_JOURNAL)
        except BaseException as error:
            _take_back(undo, error)
            raise

    def _begin(self, moves: list[tuple[str, OnDisk, FileState | None]]) -> None:
        """Write down what will be done, before anything is."""
        listed = [
            (path, _digest(seen), None if after is None else digest_bytes(after.content)) for path, seen, after in moves
        ]
        self._files.stage(_JOURNAL, json.dumps(listed).encode(), executable=False, like=None)
        self._files.place(_JOURNAL)

    def _forget(self) -> None:
        self._files.unstage(_JOURNAL)
        self._files.remove(_JOURNAL)

    def _check_untouched(self, path: str) -> None:
        if not self._files.is_still(path, self._seen[path]):
            raise Conflict(
                "dirty-files",
                f"`{shown(path)}` was changed while the patch was being applied",
                hint="look at the folder, then try again",
            )

    def _put_back(self, path: str) -> None:
        found = self._seen[path]
        if self._files.is_still(path, found):
            return
        if isinstance(found, DiskFile):
            self._files.stage(path, found.content, executable=found.executable, like=found, mtime_ns=found.mtime_ns)
            self._files.place(path)
        else:
            self._files.remove(path)

    def _unstage(self, path: str) -> None:
        self._files.unstage(path)
        if self._seen[path] is None:
            self._files.remove_empty_folders(path)

    def _alike(self, paths: Iterable[str]) -> Iterator[str]:
        """Yield what is there under a name, or one that some file system takes for it, on the way to each path.

        A folder is told as a path below it.
        """
        told: set[str] = set()
        for path in paths:
            above = ""
            for name in path.split("/"):
                key = collision_key(name)
                for found, mode in self._files.entries(above):
                    if collision_key(found) == key:
                        told.add(above + found + ("/." if stat.S_ISDIR(mode) else ""))
                above += f"{name}/"
        yield from sorted(told)


@contextmanager
def open_patched(folder: Path, *, on_step: StepHook = lambda _: None) -> Iterator[PatchedFolder]:
    """Open a folder to patch it; `NotFound` where there is none."""
    if not folder.is_dir():
        raise NotFound("no-such-folder", f"`{folder}` is no folder", hint="name the folder that the patch is for")
    with open_files(folder) as files:
        yield PatchedFolder(files, on_step)


def _journalled(found: OnDisk) -> list[tuple[str, str | None, str | None]]:
    """Read a journal: path, and digests before and after, of each file. It lies where anybody may have written it."""
    try:
        listed = json.loads(found.content if isinstance(found, DiskFile) else b"")
        moves = [(path, before, after) for path, before, after in listed]
    except (ValueError, TypeError, RecursionError):
        raise _half_applied() from None
    if not moves or any(not isinstance(path, str) or path_fault(path) for path, _, _ in moves):
        raise _half_applied()
    return moves


def _digest(found: OnDisk) -> str | None:
    """Return the digest of a file; empty for what is none; None where nothing is."""
    return digest_bytes(found.content) if isinstance(found, DiskFile) else None if found is None else ""


def _staged(path: str) -> str:
    above, slash, _ = path.rpartition("/")
    return above + slash + temporary_name(path).decode()


def _half_applied() -> OutcomeUnknown:
    return OutcomeUnknown(
        "patch-half-applied",
        "applying a patch was interrupted in this folder, and its files are no longer what they were then",
        hint=f"look at the files that `{_JOURNAL}` names: each is whole; then remove it",
    )


def _state(found: OnDisk) -> FileState | None:
    if not isinstance(found, DiskFile):
        return None
    return FileState(content=found.content, mode=EXECUTABLE if found.executable else REGULAR)


def _take_back(undo: list[Callable[[], None]], error: BaseException) -> None:
    try:
        while undo:
            undo[-1]()
            undo.pop()
    except (HomeostatError, OSError) as second:
        raise OutcomeUnknown(
            "patch-half-applied",
            f"applying the patch failed ({error}), and so did taking it back ({second})",
            hint="look at the files of the patch: each is whole, and some may be new",
        ) from error
