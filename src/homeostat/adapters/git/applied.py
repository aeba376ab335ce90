"""What the deployed branch itself says of changes that were applied and taken back: the trailers of its commits."""

from collections.abc import Sequence

from homeostat.adapters.git.repository import GitRepository
from homeostat.core.ids import parse_commit_id
from homeostat.rollout.settling import AppliedCommit

_KEYS = ("Homeostat-Proposal", "Homeostat-Change", "Homeostat-Reverts")


def applied_commits(repository: GitRepository, branch: str) -> Sequence[AppliedCommit]:
    """Return them, newest first. A person can write such trailers too: they are evidence, not proof."""
    trailers = "%x01".join(f"%(trailers:key={key},valueonly=true,unfold=true,separator=%x2c)" for key in _KEYS)
    out = repository.git.read(
        "rev-list", "--grep=^Homeostat-", f"--format=%H%x01%P%x01%s%x01{trailers}", f"refs/heads/{branch}"
    ).out
    found = []
    for line in out.decode("utf-8", "replace").split("\n"):
        fields = line.split("\x01")
        if len(fields) != 6:
            continue  # the line "commit <id>" that rev-list always prints
        commit, parents, title, proposal, digest, reverts = fields
        if len(parents.split()) == 1 and (proposal or reverts):
            found.append(
                AppliedCommit(
                    commit=parse_commit_id(commit),
                    parent=parse_commit_id(parents),
                    title=title,
                    proposal=proposal,
                    change_digest=digest,
                    reverts=reverts,
                )
            )
    return found
