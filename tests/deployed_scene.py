"""A repository whose deployed tree is moved with something going wrong, and deaths and failures at each step of it."""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from builders import create, delete, modify, rename, state, tree

from homeostat.adapters.git.deployed import GitDeployedTree
from homeostat.adapters.git.repository import open_repository
from homeostat.core.errors import HomeostatError, Unavailable
from homeostat.model.change import EXECUTABLE, ChangeKind, FileChange
from homeostat.testing.git_repository import Snapshot, UserRepository

AT = datetime(2026, 1, 10, tzinfo=UTC)
DIED, FAILED = 77, 78
NAME = "app/two words é.py"
SCRIPT = FileChange(
    kind=ChangeKind.MODIFY,
    path="run.sh",
    old_path="run.sh",
    before=replace(state("#!/bin/sh\n"), mode=EXECUTABLE),
    after=state("#!/bin/sh\n"),
)
CHANGE = tree(
    modify(NAME, "one\n", "two\n"),
    rename("app/old.py", "moved/new.py", "old\n", "new\n"),
    delete("alone/last.py", "last\n"),
    create("fresh/deep/made.py", b"made\r\n\xff"),
    SCRIPT,
)
FILES = {NAME: b"one\n", "app/old.py": b"old\n", "alone/last.py": b"last\n", "other.py": b"other\n"}

ADVANCE_STEPS = (
    "locked",
    f"staged {NAME}",
    "staged fresh/deep/made.py",
    "staged moved/new.py",
    "staged run.sh",
    "index-prepared",
    "branch-moved",
    f"moved {NAME}",
    "moved fresh/deep/made.py",
    "moved moved/new.py",
    "moved run.sh",
    "moved alone/last.py",
    "moved app/old.py",
    "index-moved",
    "unlocked",
    "refreshed",
)
RETREAT_STEPS = (
    "locked",
    "staged alone/last.py",
    "staged app/old.py",
    f"staged {NAME}",
    "staged run.sh",
    "index-prepared",
    "branch-moved",
    "moved alone/last.py",
    "moved app/old.py",
    f"moved {NAME}",
    "moved run.sh",
    "moved fresh/deep/made.py",
    "moved moved/new.py",
    "index-moved",
    "unlocked",
    "refreshed",
)


class Scene:
    """A user's repository, the commit to move to, and how it looks before and after."""

    def __init__(self, root: Path, *, linked: bool = False, like: "Scene | None" = None) -> None:
        if like is not None:
            shutil.copytree(like.user.root, root / "repository", symlinks=True)
            self.user = UserRepository(root / "repository")
            self.checkout, self.base, self.commit = self.user.root, like.base, like.commit
            self.before, self.after = like.before, like.after
            return
        self.user = UserRepository(root / "repository")
        self.user.write("run.sh", b"#!/bin/sh\n", executable=True)
        self.base = self.user.commit(FILES)
        self.checkout = self.user.root
        if linked:
            self.checkout = root / "linked tree"
            self.user.git("switch", "--quiet", "-c", "elsewhere")
            self.user.git("worktree", "add", "--quiet", os.fspath(self.checkout), "main")
        (self.checkout / "other.py").write_bytes(b"the user is at work here\n")
        (self.checkout / "notes.txt").write_bytes(b"and here\n")
        self.commit = self.tree().prepare(parent=self.base, change=CHANGE, message="apply", at=AT)
        self.before = self.look()
        self.advance()
        self.after = self.look()
        self.retreat()
        assert self.look() == self.before

    def tree(self, on_step: Callable[[str], None] = lambda step: None, *, executable: str = "git") -> GitDeployedTree:
        repository = open_repository(self.user.root, executable=executable)
        return GitDeployedTree(repository, deployed_branch="main", on_step=on_step)

    def advance(self, on_step: Callable[[str], None] = lambda step: None, *, executable: str = "git") -> None:
        tree = self.tree(on_step, executable=executable)
        tree.advance(expected=self.base, commit=self.commit, change=CHANGE)

    def retreat(self, on_step: Callable[[str], None] = lambda step: None) -> None:
        self.tree(on_step).retreat(expected=self.base, commit=self.commit, change=CHANGE)

    def look(self) -> Snapshot:
        return self.user.snapshot(self.checkout)


def in_a_process(action: Callable[[], None], *, first: Callable[[], None] = lambda: None) -> int:
    """Run `action` in a forked process; return `DIED`, `FAILED` (with an error of ours), or 0."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            first()
            action()
            code = 0
        except HomeostatError:
            code = FAILED
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def die_after(step: str) -> Callable[[str], None]:
    def hook(done: str) -> None:
        if done == step:
            os._exit(DIED)

    return hook


def fail_after(step: str) -> Callable[[str], None]:
    def hook(done: str) -> None:
        if done == step:
            raise Unavailable("injected", f"after {step}")

    return hook
