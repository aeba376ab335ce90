"""The host's Git repository, in the four ways the flows use it.

Nothing here except `DeployedTree` touches the user's work tree, index, or any branch of theirs.
Foreign failures arrive as our errors: `NotFound` for a commit or path that is not there, `Conflict`
when a ref moved, `Unavailable` for a held lock, a missing git or a full disk.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from homeostat.core.ids import CommitId, ProposalId
from homeostat.model.change import FileState, TreeChange


class CommitReader(Protocol):
    def deployed_branch(self) -> str:
        """Return the short name of the deployed branch (configured, or the one checked out)."""
        ...

    def head(self) -> CommitId:
        """Return the head commit of the deployed branch."""
        ...

    def resolve(self, revision: str) -> CommitId:
        """Resolve a person's word for a commit (``HEAD``, a branch, an abbreviation)."""
        ...

    def read_files(self, commit: CommitId, paths: Sequence[str]) -> Mapping[str, FileState | None]:
        """Return each path's regular file at `commit`, or None where there is none.

        A symlink, submodule or folder at a path raises `InvalidInput` (``not-a-file``).
        """
        ...

    def list_files(self, commit: CommitId) -> Sequence[str]:
        """Return every path in the commit's tree."""
        ...

    def is_ancestor(self, ancestor: CommitId, of: CommitId) -> bool: ...


class CandidateBranch(Protocol):
    def commit(
        self, *, proposal_id: ProposalId, base: CommitId, change: TreeChange, message: str, at: datetime
    ) -> CommitId:
        """Commit base+change to ``homeostat/proposal-<id>``. Same arguments, same commit id."""
        ...

    def delete(self, proposal_id: ProposalId) -> None:
        """Remove the branch; quiet when it is not there."""
        ...

    def proposals(self) -> Sequence[ProposalId]:
        """Return the proposals that have a branch now."""
        ...


class RecordBranch(Protocol):
    """The orphan branch of Markdown records, ``homeostat/proposals``."""

    def publish(
        self, *, files: Mapping[str, bytes], subject: str, trailers: Mapping[str, str], at: datetime
    ) -> CommitId:
        """Write these files over the branch's present tree in one commit."""
        ...

    def read(self, path: str) -> bytes | None: ...

    def trailers(self, key: str) -> Sequence[tuple[CommitId, str]]:
        """Return (commit, value) of this trailer on every commit of the branch, newest first."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """A path of the deployed tree that is not as it must be."""

    path: str
    problem: str
    """``modified``, ``missing``, ``unexpected``, ``staged`` or ``not-a-file``."""


class DeployedTree(Protocol):
    """The deployed branch and its checkout: the only thing that changes what runs after a restart."""

    def drift(self, change: TreeChange) -> Sequence[Drift]:
        """Compare head, index and checkout with the *before* side of `change`; empty means clean."""
        ...

    def prepare(self, *, parent: CommitId, change: TreeChange, message: str, at: datetime) -> CommitId:
        """Make the commit object without moving anything. Same arguments, same commit id."""
        ...

    def advance(self, *, expected: CommitId, commit: CommitId, change: TreeChange) -> None:
        """Move the branch from `expected` to `commit`, and the touched files of the checkout with it.

        Idempotent: called again after a crash at any point it finishes the same work. `Conflict`
        (``base-moved``, ``dirty-files``) when the branch or a touched file is neither as before nor
        as after; then nothing was changed, or what had been changed was put back.
        """
        ...

    def retreat(self, *, expected: CommitId, commit: CommitId, change: TreeChange) -> None:
        """Undo an `advance(expected=..., commit=...)` that must not stand; idempotent like it."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """What a merge of a commit into another one came to."""

    diff: bytes
    """From the commit that was merged into to the result; of a conflict both sides stand in it, between marks."""

    conflicts: tuple[str, ...]
    """Paths that a person must merge, in order; empty: it is clean."""


class CommitMerger(Protocol):
    def merge(self, *, into: CommitId, other: CommitId) -> Merged:
        """Merge two commits over their last common one, in three ways; nothing is moved.

        `Conflict` (``no-common-commit``) when they have none, `Unavailable` (``git-too-old``) when this git cannot.
        """
        ...


class BackupStore(Protocol):
    def save(self, *, name: str, change: TreeChange, facts: Mapping[str, str]) -> None:
        """Keep the before side byte for byte, durable when it returns. Idempotent by name."""
        ...

    def load(self, name: str) -> TreeChange:
        """Return the change whose before side was kept; `IntegrityFailure` when a byte differs."""
        ...
