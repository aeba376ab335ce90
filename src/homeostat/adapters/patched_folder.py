"""A patch on the files of any folder: all of it, or nothing.

The moves are those in a checkout (`homeostat.adapters.git.tree_files`), without branch and index. Every new file is
staged beside its place first: what can run out (space, rights) runs out there. Then each comes into its place by one
rename, if nobody has touched what it replaces. Whatever fails in between, and an interruption too, is taken back. A
process that is killed there leaves whole files, of which some are new; what it had staged goes with the next run.
"""

import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from homeostat.adapters.git.tree_files import DiskFile, Obstacle, OnDisk, TreeFiles, disk_errors, open_files
from homeostat.core.errors import Conflict, HomeostatError, NotFound, OutcomeUnknown
from homeostat.core.limits import MAX_PATCHED_BYTES
from homeostat.model.change import EXECUTABLE, REGULAR, ChangeKind, FileState, TreeChange
from homeostat.model.verdict import Denied
from homeostat.validation.patch import UnverifiedPatch
from homeostat.validation.paths import collision_key, shown
from homeostat.validation.resolve import resolve

StepHook = Callable[[str], None]
"""Called with the name of each step after it was done. Fault tests fail in it."""


class PatchedFolder:
    """One folder, open while used."""

    def __init__(self, files: TreeFiles, on_step: StepHook) -> None:
        self._files = files
        self._on_step = on_step
        self._seen: dict[str, OnDisk] = {}

    def resolve(self, patch: UnverifiedPatch) -> TreeChange | Denied:
        """Return what the patch makes of the files that are there, or why it does not fit them."""
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
        try:
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
        except BaseException as error:
            _take_back(undo, error)
            raise

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
