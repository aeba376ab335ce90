"""The code branch of one proposal, ``homeostat/proposal-<id>``, which exists while it is being judged."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime

from homeostat.adapters.git.objects import commit_change
from homeostat.adapters.git.paths import sides_of
from homeostat.adapters.git.repository import OWN_PREFIX, GitRepository
from homeostat.core.errors import InvalidInput
from homeostat.core.ids import CommitId, ProposalId, parse_proposal_id
from homeostat.model.change import TreeChange


class GitCandidateBranch:
    """`homeostat.ports.repository.CandidateBranch` on a real repository."""

    def __init__(self, repository: GitRepository) -> None:
        self._repository = repository

    def commit(
        self, *, proposal_id: ProposalId, base: CommitId, change: TreeChange, message: str, at: datetime
    ) -> CommitId:
        """Commit base+change and point the proposal's branch at it, wherever the branch was before."""
        branch = branch_of(proposal_id)
        commit = commit_change(self._repository, parent=base, sides=sides_of(change), message=message, at=at)
        self._repository.git.write(
            "update-ref", "--no-deref", "-m", "homeostat: candidate", "--create-reflog", f"refs/heads/{branch}", commit
        )
        return commit

    def delete(self, proposal_id: ProposalId) -> None:
        self._repository.git.write("update-ref", "--no-deref", "-d", f"refs/heads/{branch_of(proposal_id)}")

    def proposals(self) -> Sequence[ProposalId]:
        """Return the proposals that have a branch now; a branch that only looks like one is left out."""
        prefix = f"refs/heads/{OWN_PREFIX}proposal-"
        listed = self._repository.git.read("for-each-ref", "--format=%(refname)", f"{prefix}*").out
        found = []
        for name in listed.decode("utf-8", "replace").splitlines():
            with suppress(InvalidInput):
                found.append(parse_proposal_id(name.removeprefix(prefix)))
        return found


def branch_of(proposal_id: ProposalId) -> str:
    """Return the short name of a proposal's branch."""
    return f"{OWN_PREFIX}proposal-{parse_proposal_id(proposal_id)}"
