"""Moving the deployed tree while locks, Git, the disk, permissions or another process are against it."""

import os
import resource
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from builders import create, modify, state, tree
from deployed_scene import (
    AT,
    CHANGE,
    FAILED,
    NAME,
    Scene,
    in_a_process,
)

from homeostat.adapters.git.deployed import GitDeployedTree
from homeostat.adapters.git.repository import open_repository
from homeostat.core.errors import Conflict, HomeostatError, OutcomeUnknown, Unavailable
from homeostat.core.ids import CommitId
from homeostat.model.change import TreeChange
from homeostat.testing.git_repository import Snapshot, UserRepository


def test_a_held_index_lock_is_unavailable_and_nothing_is_touched(plain: Scene) -> None:
    git_dir = Path(plain.user.git("rev-parse", "--absolute-git-dir", cwd=plain.checkout).decode().strip())
    (git_dir / "index.lock").write_bytes(b"")
    with pytest.raises(Unavailable) as caught:
        plain.advance()
    assert caught.value.code == "git-lock-held"
    assert str(git_dir / "index.lock") in str(caught.value.hint)
    assert (git_dir / "index.lock").exists()
    (git_dir / "index.lock").unlink()
    assert plain.look() == plain.before


def test_a_held_lock_of_the_branch_is_unavailable_and_everything_is_put_back(plain: Scene) -> None:
    lock = plain.user.root / ".git/refs/heads/main.lock"
    lock.write_bytes(b"")
    with pytest.raises(Unavailable) as caught:
        plain.advance()
    assert caught.value.code == "git-lock-held"
    lock.unlink()
    assert plain.look() == plain.before


@pytest.mark.parametrize("step", ["locked", "index-prepared"])
def test_a_branch_that_moves_under_the_move_is_a_conflict(plain: Scene, step: str) -> None:
    other = CommitId(plain.user.git("commit-tree", f"{plain.base}^{{tree}}", "-m", "x").decode().strip())

    def hook(done: str) -> None:
        if done == step:
            plain.user.git("update-ref", "refs/heads/main", other)

    with pytest.raises(Conflict) as caught:
        plain.advance(hook)
    assert caught.value.code == "base-moved"
    found = plain.look()
    assert plain.user.head("main") == other
    assert (found.files, found.index, found.git_leftovers) == (plain.before.files, plain.before.index, ())


@pytest.mark.parametrize("path", [NAME, "alone/last.py", "app/old.py", "fresh/deep/made.py"])
@pytest.mark.parametrize("step", ["index-prepared", "branch-moved"])
def test_a_file_that_is_edited_under_the_move_is_a_conflict_and_the_edit_survives(
    plain: Scene, step: str, path: str
) -> None:
    def hook(done: str) -> None:
        if done == step:
            plain.user.write(path, b"typed this very moment\n")

    with pytest.raises(Conflict) as caught:
        plain.advance(hook)
    assert caught.value.code == "dirty-files"
    found = plain.look()
    assert found.files[path][1] == b"typed this very moment\n"
    assert (found.refs, found.index, found.git_leftovers) == (plain.before.refs, plain.before.index, ())
    others = {name: item for name, item in found.files.items() if name != path}
    assert others == {name: item for name, item in plain.before.files.items() if name != path}


def lying_git(folder: Path, command: str, *, acts: bool) -> str:
    """Return a git that reports failure of `command`: after doing it, or without."""
    script = folder / f"git-{command}-{acts}"
    does = 'git "$@"; exit 1' if acts else "echo 'fatal: injected' >&2; exit 128"
    script.write_text(
        f'#!/bin/sh\nfor word in "$@"; do [ "$word" = {command} ] && {{ {does}; }}; done\nexec git "$@"\n'
    )
    script.chmod(0o755)
    return str(script)


@pytest.mark.parametrize("acts", [True, False])
@pytest.mark.parametrize("command", ["update-ref", "update-index", "ls-files", "check-attr", "diff-tree"])
def test_a_git_that_reports_failure_leaves_everything_as_it_was(
    plain: Scene, tmp_path: Path, command: str, acts: bool
) -> None:
    """For update-ref that lies: it may have moved the branch, and taking back needs the same command."""
    executable = lying_git(tmp_path, command, acts=acts)
    expected = OutcomeUnknown if (command, acts) == ("update-ref", True) else HomeostatError
    with pytest.raises(expected):
        plain.advance(executable=executable)
    if expected is OutcomeUnknown:
        plain.advance()
        assert plain.look() == plain.after
    else:
        assert plain.look() == plain.before


def test_a_lie_about_the_branch_alone_is_taken_back_and_said(plain: Scene, tmp_path: Path) -> None:
    """The lie is told once; the second `update-ref`, which takes the branch back, is honest."""
    script = tmp_path / "git-once"
    flag = tmp_path / "told"
    script.write_text(
        f'#!/bin/sh\nfor word in "$@"; do if [ "$word" = update-ref ] && [ ! -e {flag} ]; then\n'
        f'touch {flag}; git "$@"; exit 1; fi; done\nexec git "$@"\n'
    )
    script.chmod(0o755)
    with pytest.raises(Unavailable):
        plain.advance(executable=str(script))
    assert plain.look() == plain.before


def test_a_git_that_hangs_is_ended_and_the_outcome_is_settled_by_the_next_call(plain: Scene, tmp_path: Path) -> None:
    script = tmp_path / "git-hangs"
    script.write_text(
        '#!/bin/sh\nfor word in "$@"; do [ "$word" = update-ref ] && exec sleep 600; done\nexec git "$@"\n'
    )
    script.chmod(0o755)
    repository = open_repository(plain.user.root, executable=str(script), timeout_s=1.0)
    with pytest.raises(OutcomeUnknown) as caught:
        GitDeployedTree(repository).advance(expected=plain.base, commit=plain.commit, change=CHANGE)
    assert caught.value.code == "git-timeout"
    plain.advance()
    assert plain.look() == plain.after


@pytest.mark.parametrize("limit", [1000, 20_000])
def test_a_full_disk_leaves_everything_as_it_was(tmp_path: Path, limit: int) -> None:
    """A limit on the size of files stands for the full disk: first a new file, then the new index hits it."""
    user = UserRepository(tmp_path / "repository")
    base = user.commit({f"many/{number:04d}.py": b"x\n" for number in range(400)})
    after = b"y" * (limit + 1 if limit == 1000 else 10)
    change = tree(replace(modify("many/0007.py", "x\n", ""), after=state(after)), create("new/file.py", after))
    deployed = GitDeployedTree(open_repository(user.root))
    commit = deployed.prepare(parent=base, change=change, message="x", at=AT)
    before = user.snapshot()

    def advance() -> None:
        try:
            deployed.advance(expected=base, commit=commit, change=change)
        except Unavailable as error:
            (tmp_path / "code").write_text(error.code)
            raise

    limited = in_a_process(advance, first=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
    assert (limited, (tmp_path / "code").read_text()) == (FAILED, "disk-full")
    assert user.snapshot() == before
    deployed.advance(expected=base, commit=commit, change=change)
    assert (user.root / "many/0007.py").read_bytes() == after


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that an unprivileged user can reach, which pytest's own is not."""
    folder = Path(tempfile.mkdtemp(prefix="homeostat-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


NOBODY = 65534


def as_ordinary_user(root: Path) -> Callable[[], None]:
    """Give the tree to an unprivileged user, and return what makes a process that user."""
    if os.geteuid() != 0:
        return lambda: None
    for folder, names, leaves in os.walk(root):
        for name in (".", *names, *leaves):
            os.chown(Path(folder) / name, NOBODY, NOBODY, follow_symlinks=False)

    def become() -> None:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        os.environ["HOME"] = os.devnull
        os.environ["GIT_CONFIG_GLOBAL"] = os.devnull

    return become


@pytest.mark.parametrize("closed", ["app", "alone", ".", ".git"])
def test_a_folder_that_may_not_be_written_leaves_everything_as_it_was(open_folder: Path, closed: str) -> None:
    plain = Scene(open_folder)
    become = as_ordinary_user(open_folder)
    folder = plain.user.root / closed
    folder.chmod(0o555)
    try:
        assert in_a_process(plain.advance, first=become) == FAILED
    finally:
        folder.chmod(0o755)
    assert in_a_process(lambda: _equal(plain.look(), plain.before), first=become) == 0
    assert in_a_process(plain.advance, first=become) == 0
    assert in_a_process(lambda: _equal(plain.look(), plain.after), first=become) == 0


def _equal(left: Snapshot, right: Snapshot) -> None:
    if left != right:
        raise Unavailable("differs", "the two snapshots differ")


def test_several_processes_that_advance_at_once_do_it_once(plain: Scene) -> None:
    children = []
    for _ in range(4):
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                plain.advance()
                code = 0
            finally:
                os._exit(code)
        children.append(pid)
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children] == [0, 0, 0, 0]
    assert plain.look() == plain.after


def test_a_change_that_names_nothing_moves_nothing(plain: Scene) -> None:
    with pytest.raises(HomeostatError):
        plain.tree().advance(expected=plain.base, commit=plain.commit, change=TreeChange(files=()))
    assert plain.look() == plain.before
