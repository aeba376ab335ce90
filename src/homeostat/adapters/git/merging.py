"""Merging two commits in the object store: no checkout, no index, no branch is touched."""

from homeostat.adapters.git.command import Git
from homeostat.adapters.git.paths import decode_path
from homeostat.adapters.git.reader import tree_of
from homeostat.adapters.git.repository import GitRepository
from homeostat.core.errors import Conflict, Unavailable
from homeostat.core.ids import CommitId, parse_commit_id
from homeostat.ports.repository import Merged

_FIRST_VERSION = (2, 38)
"""The first git whose `merge-tree` writes a tree."""

_FIXED = {
    "merge.conflictStyle": "merge",
    "merge.directoryRenames": "false",
    "merge.renormalize": "false",  # would run the filters of the configuration
    "diff.suppressBlankEmpty": "false",
}


class GitCommitMerger:
    """`homeostat.ports.repository.CommitMerger` on a real repository."""

    def __init__(self, repository: GitRepository) -> None:
        self._repository = repository

    def merge(self, *, into: CommitId, other: CommitId) -> Merged:
        sides = (parse_commit_id(into), parse_commit_id(other))
        if self._repository.git.read("merge-base", *sides, ok=(0, 1)).code == 1:
            raise Conflict("no-common-commit", f"{into[:12]} and {other[:12]} have no commit in common")
        git = _without_drivers(self._repository.git)
        _check_version(git)
        answer = git.write("merge-tree", "--write-tree", "--no-messages", "--name-only", "-z", *sides, ok=(0, 1))
        tree, *conflicts = answer.out.rstrip(b"\0").split(b"\0")
        written = tree.decode("ascii").strip()
        plain = ("--no-renames", "--no-ext-diff", "--no-textconv", "--no-color", "--full-index")
        diff = git.read("diff-tree", "-r", "-p", *plain, tree_of(into), written)
        return Merged(diff=diff.out, conflicts=tuple(sorted({decode_path(path) for path in conflicts})))


def _without_drivers(git: Git) -> Git:
    """Return a git that merges by its own ways only: a configured driver is a program, and ends in conflict."""
    out = git.read("config", "-z", "--name-only", "--get-regexp", r"^merge\..*\.driver$", ok=(0, 1)).out
    drivers = [name.decode("utf-8", "surrogateescape") for name in out.split(b"\0") if name]
    return git.overriding({**_FIXED, **dict.fromkeys(drivers, "false")})


def _check_version(git: Git) -> None:
    words = git.read("version").out.decode("ascii", "replace").split()
    numbers = tuple(int(part) for part in words[2].split(".")[:2]) if len(words) > 2 else (0, 0)
    if numbers < _FIRST_VERSION:
        raise Unavailable(
            "git-too-old",
            f"git {'.'.join(map(str, numbers))} cannot merge commits without a checkout",
            hint="install git 2.38 or later, or propose a diff that undoes the change",
        )
