"""The branch of the records in one file, and back."""

from pathlib import Path

from homeostat.adapters.git.repository import OWN_PREFIX, GitRepository
from homeostat.core.errors import IntegrityFailure
from homeostat.core.ids import CommitId, parse_commit_id

_BRANCH = f"{OWN_PREFIX}proposals"
RECORDS = f"refs/heads/{_BRANCH}"


def bundle_records(repository: GitRepository, into: Path) -> bool:
    """Write the branch as a Git bundle; False when there is none."""
    if repository.branch_head(_BRANCH) is None:
        return False
    repository.git.write("bundle", "create", "--quiet", str(into), RECORDS)
    return True


def unbundle_records(repository: GitRepository, file: Path) -> CommitId:
    """Make the branch again where it is gone; return its head.

    `Conflict` (``ref-moved``) when there is one meanwhile.
    """
    told = repository.git.write("bundle", "unbundle", str(file)).out.decode("utf-8", "replace").split()
    if len(told) != 2 or told[1] != RECORDS:
        raise IntegrityFailure("backup-file-damaged", f"{file} holds other branches than that of the records")
    repository.move_branch(_BRANCH, new=told[0], old=repository.null_id, why="homeostat: restore")
    return parse_commit_id(told[0])


def drop_records(repository: GitRepository, head: CommitId) -> None:
    """Remove the branch again. `Conflict` (``ref-moved``) when it is not at `head` any more."""
    repository.git.write("update-ref", "-d", RECORDS, head)
