"""The branch of the records in one file, and back."""

from pathlib import Path

from homeostat.adapters.git.repository import OWN_PREFIX, GitRepository
from homeostat.core.errors import IntegrityFailure

RECORDS = f"refs/heads/{OWN_PREFIX}proposals"


def bundle_records(repository: GitRepository, into: Path) -> bool:
    """Write the branch as a Git bundle; False when there is none."""
    if repository.branch_head(f"{OWN_PREFIX}proposals") is None:
        return False
    repository.git.write("bundle", "create", "--quiet", str(into), RECORDS)
    return True


def unbundle_records(repository: GitRepository, file: Path) -> None:
    """Make the branch again where it is gone. `Conflict` (``ref-moved``) when there is one meanwhile."""
    told = repository.git.write("bundle", "unbundle", str(file)).out.decode("utf-8", "replace").split()
    if len(told) != 2 or told[1] != RECORDS:
        raise IntegrityFailure("backup-file-damaged", f"{file} holds other branches than that of the records")
    why = "homeostat: restore"
    repository.git.write("update-ref", "-m", why, "--create-reflog", RECORDS, told[0], repository.null_id)
