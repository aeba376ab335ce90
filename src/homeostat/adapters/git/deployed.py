"""The deployed branch and its checkout: `DeployedTree` on a real repository.

How the two are moved together, and in which order, is said and done in `homeostat.adapters.git.mover`.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime

from homeostat.adapters.git.command import Git
from homeostat.adapters.git.conversion import without_filters
from homeostat.adapters.git.index_lock import IndexLock
from homeostat.adapters.git.move import difference, look, verify_commits
from homeostat.adapters.git.mover import Move, Mover, StepHook, move_branch_alone
from homeostat.adapters.git.objects import commit_change
from homeostat.adapters.git.paths import Sides, check_deployable, encode_path, sides_of
from homeostat.adapters.git.reader import tree_entries
from homeostat.adapters.git.repository import Checkout, GitRepository
from homeostat.adapters.git.tree_files import open_files
from homeostat.core.errors import Conflict, HomeostatError, OutcomeUnknown
from homeostat.core.ids import CommitId
from homeostat.model.change import TreeChange
from homeostat.ports.repository import Drift


class GitDeployedTree:
    """`homeostat.ports.repository.DeployedTree` on a real repository.

    A branch that is checked out nowhere is moved alone. Files of a checkout are written in the
    form that git would check out (line endings by attribute); permissions beyond the executable
    bit, and the owner, stay as they are.
    """

    def __init__(
        self,
        repository: GitRepository,
        *,
        deployed_branch: str = "",
        must_be_checked_out: bool = False,
        on_step: StepHook = lambda step: None,
    ) -> None:
        self._repository = repository
        self._configured = deployed_branch
        self._must_be_checked_out = must_be_checked_out
        self._on_step = on_step

    def drift(self, change: TreeChange) -> Sequence[Drift]:
        sides = sides_of(change)
        check_deployable(sides)
        branch = self._repository.deployed_branch(self._configured)
        checkout = self._checkout_of(branch)
        head = checkout.head if checkout is not None else self._repository.head(branch)
        found = {drift.path: drift for drift in self._head_drift(head, sides)}
        if checkout is not None:
            with open_files(checkout.root) as files:
                for place in look(self._repository, checkout, files, sides):
                    drift = place.drift()
                    if drift is not None:
                        found.setdefault(place.path, drift)
        return [found[path] for path in sorted(found)]

    def _checkout_of(self, branch: str) -> Checkout | None:
        checkout = self._repository.checkout_of(branch)
        if checkout is None and self._must_be_checked_out:
            raise Conflict(
                "checkout-elsewhere",
                f"`{branch}` is the deployed branch, and it is not checked out any more",
                hint=f"git switch {branch}; or set host.deployed_branch and start the hub again",
            )
        return checkout

    def prepare(self, *, parent: CommitId, change: TreeChange, message: str, at: datetime) -> CommitId:
        """Make the commit object. `Conflict` (``base-differs``) when `parent` is not what the change was made for."""
        sides = sides_of(change)
        check_deployable(sides)
        return commit_change(self._repository, parent=parent, sides=sides, message=message, at=at)

    def advance(self, *, expected: CommitId, commit: CommitId, change: TreeChange) -> None:
        """Move branch and checkout to `commit`; see the module for the order.

        Also returns quietly when the branch has gone on *from* `commit` and the touched files are
        still as after the change: then it was done.
        """
        self._run(source=expected, target=commit, sides=sides_of(change), forward=True)

    def retreat(self, *, expected: CommitId, commit: CommitId, change: TreeChange) -> None:
        """Move branch and checkout back to `expected`.

        Also returns quietly when the branch has gone elsewhere without `commit` and nothing of the
        change is left in the checkout: then there is nothing to undo.
        """
        self._run(source=commit, target=expected, sides=sides_of(change.inverse()), forward=False)

    def _run(self, *, source: CommitId, target: CommitId, sides: Mapping[str, Sides], forward: bool) -> None:
        check_deployable(sides)
        branch = self._repository.deployed_branch(self._configured)
        move = Move(branch=branch, source=source, target=target, sides=sides, forward=forward)
        verify_commits(self._repository, source=source, target=target, sides=sides)
        with self._repository.exclusive():
            checkout = self._checkout_of(branch)
            if checkout is None:
                move_branch_alone(self._repository, move)
                self._on_step("branch-moved")
                return
            git = without_filters(self._repository.git.at(checkout.root))
            lock = IndexLock(git, checkout.git_dir)
            lock.take()
            try:
                with open_files(checkout.root) as files:
                    Mover(self._repository, checkout, move, files, lock, self._on_step).run()
            except OutcomeUnknown:
                raise  # INVARIANT: a half-moved tree keeps its lock
            except BaseException:
                lock.release()
                raise
            lock.release()
            self._on_step("unlocked")
            _refresh(git, list(sides))
        self._on_step("refreshed")

    def _head_drift(self, head: CommitId, sides: Mapping[str, Sides]) -> Sequence[Drift]:
        found = []
        for path, entry in tree_entries(self._repository, head, sides).items():
            before = sides[path].before
            wanted = None if before is None else (before.mode, self._repository.blob_id(before.content))
            if (None if entry is None else (entry.mode, entry.object_id)) != wanted:
                found.append(Drift(path=path, problem=difference(entry is not None, before is not None)))
        return found


def _refresh(git: Git, paths: Sequence[str]) -> None:
    # The new index entries know no file times yet; plumbing that trusts them (`git diff-index`)
    # would call the files changed. `git status` looks and notes them. Only a convenience.
    with suppress(HomeostatError):
        git.write("status", "--porcelain", "-z", "-uno", "--", *map(encode_path, paths))
