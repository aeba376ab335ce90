"""One opened repository: where its parts are, what its branches point at, and who has it checked out."""

import fcntl
import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from homeostat.adapters.git.command import Git
from homeostat.core.errors import Conflict, InvalidInput, NotFound, Unavailable
from homeostat.core.ids import CommitId, parse_commit_id

OWN_PREFIX = "homeostat/"
"""Branches below this name are ours: proposals and their records. None of them can be deployed."""

_LOCK_TRIES = 500
_LOCK_PAUSE_S = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkout:
    """A work tree in which a branch is checked out."""

    root: Path
    git_dir: Path
    head: CommitId


class GitRepository:
    """A repository with a checkout. Build it with `open_repository`."""

    def __init__(self, *, git: Git, common_dir: Path, object_format: str) -> None:
        self.git = git
        """Runs at the top of the checkout that the repository was opened by."""

        self.common_dir = common_dir
        self.object_format = object_format

    @property
    def root(self) -> Path:
        return self.git.root

    @property
    def null_id(self) -> str:
        """The object name that stands for "nothing"."""
        return "0" * (64 if self.object_format == "sha256" else 40)

    def blob_id(self, content: bytes) -> str:
        """Return the name git gives a blob with this content."""
        return self.object_id("blob", content)

    def object_id(self, kind: str, content: bytes) -> str:
        """Return the name git gives an object of this kind with this content."""
        digest = hashlib.new(self.object_format, usedforsecurity=False)
        digest.update(b"%s %d\0" % (kind.encode("ascii"), len(content)))
        digest.update(content)
        return digest.hexdigest()

    def checked_out_branch(self) -> str:
        """Return the short name of the branch of the checkout we were given."""
        answer = self.git.read("symbolic-ref", "--quiet", "HEAD", ok=(0, 1))
        name = _line(answer.out)
        if answer.code == 1 or not name.startswith("refs/heads/"):
            raise InvalidInput(
                "detached-head",
                "no branch is checked out, so it is not known which one is deployed",
                hint="check a branch out, or set host.deployed_branch in homeostat.toml",
            )
        return name.removeprefix("refs/heads/")

    def deployed_branch(self, configured: str) -> str:
        """Return the branch that runs: the configured one, else the one that is checked out."""
        branch = configured or self.checked_out_branch()
        if branch.startswith(OWN_PREFIX):
            raise InvalidInput(
                "bad-deployed-branch",
                f"`{branch}` holds records or candidates and cannot be deployed",
                hint="check your own branch out, or set host.deployed_branch in homeostat.toml",
            )
        return branch

    def branch_head(self, branch: str) -> CommitId | None:
        """Return the commit a branch points at; None when there is no such branch."""
        answer = self.git.read("rev-parse", "--verify", "--quiet", f"refs/heads/{branch}^{{commit}}", ok=(0, 1, 128))
        return parse_commit_id(_line(answer.out)) if answer.code == 0 else None

    def head(self, branch: str) -> CommitId:
        """Return the head of a branch that must be there."""
        head = self.branch_head(branch)
        if head is not None:
            return head
        unborn = self.git.read("symbolic-ref", "--quiet", "HEAD", ok=(0, 1))
        if _line(unborn.out) == f"refs/heads/{branch}":
            raise InvalidInput("no-commits", f"the branch `{branch}` has no commits yet", hint="make a first commit")
        raise NotFound("unknown-branch", f"there is no branch `{branch}`", hint="see host.deployed_branch")

    def move_branch(self, branch: str, *, new: str, old: str, why: str, git: Git | None = None) -> None:
        """Compare and swap: point `branch` at `new` if it is at `old` (`null_id`: if it is not there).

        `Conflict` (``ref-moved``) when it is elsewhere.
        """
        # A branch of ours that somebody made a name for another one must not move that one.
        where = ["--no-deref"] if branch.startswith("homeostat/") else []
        (git or self.git).write("update-ref", *where, "-m", why, "--create-reflog", f"refs/heads/{branch}", new, old)

    def checkout_of(self, branch: str) -> Checkout | None:
        """Return the work tree, main or linked, in which this branch is checked out."""
        self._refuse_operation_in_progress(branch)
        found: list[tuple[Path, CommitId]] = []
        for block in (
            self.git.read("worktree", "list", "--porcelain").out.decode("utf-8", "surrogateescape").split("\n\n")
        ):
            fields = dict(_field(line) for line in block.splitlines())
            if fields.get("branch") == f"refs/heads/{branch}":
                found.append((Path(fields["worktree"]), parse_commit_id(fields["HEAD"])))
        if not found:
            return None
        if len(found) > 1:
            places = ", ".join(f"`{root}`" for root, _ in found)
            raise Conflict("checked-out-twice", f"`{branch}` is checked out in {places}", hint="keep one of them")
        root, head = found[0]
        if not root.is_dir():
            raise Conflict(
                "checkout-missing",
                f"`{branch}` is checked out in `{root}`, which is not there",
                hint="bring it back, or run `git worktree prune`",
            )
        git_dir = Path(_line(self.git.at(root).read("rev-parse", "--absolute-git-dir").out))
        return Checkout(root=root, git_dir=git_dir, head=head)

    def _refuse_operation_in_progress(self, branch: str) -> None:
        # While a rebase runs, HEAD is detached and the branch seems to be checked out nowhere; moving
        # it would make the rebase fail at its very end.
        ref = f"refs/heads/{branch}"
        linked = self.common_dir / "worktrees"
        for git_dir in (self.common_dir, *(sorted(linked.iterdir()) if linked.is_dir() else ())):
            names = [_text(git_dir / folder / "head-name") for folder in ("rebase-merge", "rebase-apply")]
            merging = [git_dir / name for name in ("MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD")]
            on_branch = _text(git_dir / "HEAD") == f"ref: {ref}"
            if ref in names or (on_branch and any(path.exists() for path in merging)):
                raise Conflict(
                    "operation-in-progress",
                    f"a merge, rebase, cherry-pick or revert of `{branch}` is under way",
                    hint="finish or abort it, then try again",
                )

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keep every other process of ours out of the deployed tree; the kernel lets go when we die."""
        fd = os.open(self.common_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for _ in range(_LOCK_TRIES):
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    time.sleep(_LOCK_PAUSE_S)
                except OSError as error:
                    raise Unavailable(
                        "no-file-locks",
                        f"`{self.common_dir}` is on a file system without locks",
                        hint="keep the repository on a local disk",
                    ) from error
            else:
                raise Unavailable("repository-busy", "another process of Homeostat is changing the deployed tree")
            yield
        finally:
            os.close(fd)


def open_repository(start: Path, *, executable: str = "git", timeout_s: float = 60.0) -> GitRepository:
    """Open the repository that `start` lies in (its top, a folder inside, or a linked worktree).

    `InvalidInput` when there is none, when it is bare, or when its own path has a line break.
    """
    git = Git(start, executable=executable, timeout_s=timeout_s)
    if not start.is_dir():
        raise InvalidInput("not-a-repository", f"`{start}` is not a folder")
    answer = git.read(
        "rev-parse", "--path-format=absolute", "--show-toplevel", "--git-common-dir", "--show-object-format"
    )
    lines = answer.out.decode("utf-8", "surrogateescape").splitlines()
    if len(lines) != 3:
        raise InvalidInput("unsupported-repository-path", "the repository's path has a line break in it")
    top, common_dir, object_format = lines
    if object_format not in ("sha1", "sha256"):
        raise InvalidInput("unsupported-object-format", f"the repository names its objects by {object_format}")
    return GitRepository(git=git.at(Path(top)), common_dir=Path(common_dir), object_format=object_format)


def _line(out: bytes) -> str:
    return out.decode("utf-8", "surrogateescape").removesuffix("\n")


def _field(line: str) -> tuple[str, str]:
    key, _, value = line.partition(" ")
    if key not in ("worktree", "HEAD", "branch", "detached", "bare", "locked", "prunable"):
        raise InvalidInput("unsupported-repository-path", "a worktree's path has a line break in it")
    return key, value


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape").strip()
    except (FileNotFoundError, NotADirectoryError):
        return ""
