"""A branch and its checkout, moved together or not at all.

The order of the steps, here and nowhere else:

1. Take the kernel's lock against other processes of ours, and git's ``index.lock`` against the user's
   git. Remove temporary files that a dead process of ours left.
2. Look: the branch, and every touched path in index and checkout. Each must be as before or as after
   the change; otherwise refuse, with nothing touched.
3. Stage every new file beside its place, synced, and the new index beside the old one. What can run
   out (space, rights) runs out here, where nothing is visible yet.
4. Move the branch: compare and swap.
5. Put the files in place, then remove those that go.
6. Put the new index in place, and let go of the locks.

Dying between any two leaves a mixture of before and after and a marked ``index.lock``, which keeps
the user's git from committing the mixture. The next call, in either direction, looks again and does
what is left; each step checks whether it was done. A branch and an index that are at the target say
that it was done. A failure in 4 to 6 is undone at once in the opposite order.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from homeostat.adapters.git.failures import disk_failure
from homeostat.adapters.git.index_lock import IndexLock
from homeostat.adapters.git.move import Place, look
from homeostat.adapters.git.paths import Sides
from homeostat.adapters.git.reader import is_ancestor, tree_entries
from homeostat.adapters.git.repository import Checkout, GitRepository
from homeostat.adapters.git.tree_files import DiskFile, Obstacle, TreeFiles, disk_errors
from homeostat.core.errors import Conflict, HomeostatError, OutcomeUnknown
from homeostat.core.ids import CommitId

StepHook = Callable[[str], None]
"""Called with the name of each step after it was done. Fault tests die or fail in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """From where to where; in `sides`, *before* belongs to `source` and *after* to `target`."""

    branch: str
    source: CommitId
    target: CommitId
    sides: Mapping[str, Sides]
    forward: bool


class Mover:
    """One run of one move in one checkout, with both locks held."""

    def __init__(
        self,
        repository: GitRepository,
        checkout: Checkout,
        move: Move,
        files: TreeFiles,
        lock: IndexLock,
        on_step: StepHook,
    ) -> None:
        self._repository = repository
        self._checkout = checkout
        self._move = move
        self._files = files
        self._lock = lock
        self._on_step = on_step
        self._undo: list[Callable[[], None]] = []

    def run(self) -> None:
        """Make the move, or raise with everything as it was; `OutcomeUnknown` when taking back failed too."""
        self._on_step("locked")
        with disk_errors("clear the temporary files"):
            self._sweep()
        head = self._repository.head(self._move.branch)
        with disk_errors("read the checkout"):
            places = look(self._repository, self._checkout, self._files, self._move.sides)
        if head not in (self._move.source, self._move.target):
            _settle_foreign_head(self._repository, self._move, head=head, places=places)
            return
        if head == self._move.target and all(place.index_is_target for place in places):
            # The index comes last: it was done, and what the files are now is the user's.
            self._forget_folders(places)
            return
        foreign = [place for place in places if place.is_foreign]
        if foreign:
            if head == self._move.target:
                self._finish_backwards([place for place in places if not place.is_foreign])
            raise _dirty([place.path for place in foreign], [place.on_disk for place in foreign])
        self._carry_out(places, head)

    def _finish_backwards(self, places: Sequence[Place]) -> None:
        # A process of ours died half-way, and meanwhile somebody changed a file: what was begun is put back.
        move = self._move
        back = replace(move, source=move.target, target=move.source, forward=not move.forward)
        mover = Mover(self._repository, self._checkout, back, self._files, self._lock, self._on_step)
        mover._carry_out([replace(place, source=place.target, target=place.source) for place in places], move.target)

    def _carry_out(self, places: Sequence[Place], head: CommitId) -> None:
        try:
            self._stage(places)
        except (HomeostatError, OSError) as error:
            with suppress(OSError):  # what stays behind is swept by the next call
                self._unstage(places)
            if isinstance(error, OSError):
                raise disk_failure(error, "stage the new files") from error
            raise
        try:
            self._commit(places, head)
        except (HomeostatError, OSError) as error:
            self._take_back(places, error)
            if isinstance(error, OSError):
                raise disk_failure(error, "put the new files in place") from error
            raise

    def _stage(self, places: Sequence[Place]) -> None:
        for place in places:
            if place.target is not None and not place.disk_is_target:
                self._files.stage(place.path, place.new_bytes, executable=place.target.executable, like=place.on_disk)
                self._on_step(f"staged {place.path}")
        stale = [place for place in places if not place.index_is_target]
        if stale:
            entries = {place.path: None if place.target is None else place.target.entry for place in stale}
            self._lock.prepare(entries)
            self._on_step("index-prepared")

    def _commit(self, places: Sequence[Place], head: CommitId) -> None:
        if head == self._move.source:
            self._undo.append(self._swap_branch_back)
            _swap_branch(self._repository, self._move, checkout=self._checkout)
            self._on_step("branch-moved")
        # Files that come before files that go: at no moment is a renamed module nowhere.
        for place in sorted(places, key=lambda place: place.target is None):
            if place.disk_is_target:
                continue
            if not self._files.is_still(place.path, place.on_disk):
                raise _dirty([place.path])
            self._undo.append(lambda place=place: self._put_back(place))  # type: ignore[misc]
            if place.target is not None:
                self._files.place(place.path)
            else:
                self._files.remove(place.path)
            self._on_step(f"moved {place.path}")
        self._forget_folders(places)
        stale = [place for place in places if not place.index_is_target]
        if stale:
            self._undo.append(lambda: self._put_index_back(stale))
            self._lock.publish()
            self._on_step("index-moved")

    def _take_back(self, places: Sequence[Place], error: Exception) -> None:
        try:
            while self._undo:
                self._undo[-1]()
                self._undo.pop()
            self._unstage(places)
        except (HomeostatError, OSError) as second:
            raise OutcomeUnknown(
                "tree-half-moved",
                f"moving `{self._move.branch}` failed ({error}), and so did taking it back ({second})",
                hint="mend the cause and let the hub finish; until then index.lock keeps git from committing this",
                facts={"branch": self._move.branch, "from": self._move.source, "to": self._move.target},
            ) from error

    def _swap_branch_back(self) -> None:
        move = self._move
        if self._repository.branch_head(move.branch) != move.target:
            return  # it never moved, or somebody has moved it on: not ours to take back
        back = replace(move, source=move.target, target=move.source, forward=not move.forward)
        _swap_branch(self._repository, back, checkout=self._checkout)

    def _put_back(self, place: Place) -> None:
        found = place.on_disk
        if isinstance(found, DiskFile):
            if self._files.is_still(place.path, found):
                return
            self._files.stage(place.path, found.content, executable=found.executable, like=found)
            self._files.place(place.path)
        else:
            self._files.remove(place.path)

    def _put_index_back(self, places: Sequence[Place]) -> None:
        # As it was seen: places that are not foreign have one ordinary entry there, or none.
        entries = {place.path: place.staged[0] if place.staged else None for place in places}
        self._lock.prepare(entries)
        self._lock.publish()

    def _unstage(self, places: Sequence[Place]) -> None:
        self._sweep()
        self._forget_folders([place for place in places if place.on_disk is None])

    def _forget_folders(self, places: Sequence[Place]) -> None:
        for place in places:
            if place.target is None or place.source is None:
                self._files.remove_empty_folders(place.path)

    def _sweep(self) -> None:
        for path in self._move.sides:
            self._files.unstage(path)


def move_branch_alone(repository: GitRepository, move: Move) -> None:
    """Move a branch that is checked out nowhere."""
    head = repository.head(move.branch)
    if head == move.source:
        _swap_branch(repository, move)
    elif head != move.target:
        _settle_foreign_head(repository, move, head=head, places=())


def _swap_branch(repository: GitRepository, move: Move, *, checkout: Checkout | None = None) -> None:
    why = "homeostat: apply" if move.forward else "homeostat: take back"
    git = None if checkout is None else repository.git.at(checkout.root)
    try:
        repository.move_branch(move.branch, new=move.target, old=move.source, why=why, git=git)
    except Conflict as error:
        if error.code != "ref-moved":
            raise
        raise _base_moved(repository, move) from error


def _settle_foreign_head(repository: GitRepository, move: Move, *, head: CommitId, places: Sequence[Place]) -> None:
    """Return when the move is plainly done (or plainly not needed) although the branch is elsewhere; else refuse."""
    change_commit = move.target if move.forward else move.source
    if is_ancestor(repository, change_commit, head) == move.forward:
        entries = tree_entries(repository, head, move.sides)
        wanted = {
            path: None if item.after is None else (item.after.mode, repository.blob_id(item.after.content))
            for path, item in move.sides.items()
        }
        as_target = all(
            (None if entry is None else (entry.mode, entry.object_id)) == wanted[path]
            for path, entry in entries.items()
        )
        if as_target and all(place.disk_is_target and place.index_is_target for place in places):
            return
    raise _base_moved(repository, move)


def _dirty(paths: Sequence[str], found: Sequence[object] = ()) -> Conflict:
    shown = ", ".join(f"`{path}`" for path in paths[:5]) + (f" and {len(paths) - 5} more" if len(paths) > 5 else "")
    obstacles = [item.what for item in found if isinstance(item, Obstacle)]
    detail = f" ({obstacles[0]})" if obstacles else ""
    return Conflict(
        "dirty-files",
        f"{shown}: changed in the checkout since the base{detail}",
        hint="commit, stash or remove that work, then try again",
        facts={"paths": "\n".join(paths), "count": len(paths)},
    )


def _base_moved(repository: GitRepository, move: Move) -> Conflict:
    head = repository.branch_head(move.branch) or "gone"
    return Conflict(
        "base-moved",
        f"`{move.branch}` was to go from {move.source[:12]} to {move.target[:12]}, but it is at {head[:12]}",
        hint="look at the change again on the present commit",
        facts={"branch": move.branch, "expected": move.source, "head": head},
    )
