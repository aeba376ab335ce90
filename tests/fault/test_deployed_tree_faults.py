"""Moving the deployed tree with something going wrong: it fails, it lies, it dies; then all or nothing.

Dying is a real death: a forked process leaves by `os._exit` in the middle of the move, so that no
`finally` of ours runs and the kernel alone lets go of its locks.
"""

import os
import resource
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from builders import create, delete, modify, rename, state, tree

from homeostat.adapters.git.deployed import GitDeployedTree
from homeostat.adapters.git.repository import open_repository
from homeostat.core.errors import Conflict, HomeostatError, OutcomeUnknown, Unavailable
from homeostat.core.ids import CommitId
from homeostat.model.change import EXECUTABLE, ChangeKind, FileChange, TreeChange
from homeostat.testing.git_repository import Snapshot, UserRepository
from homeostat.testing.memory_repository import (
    Fault,
    MemoryDeployedTree,
    MemoryRepository,
    SimulatedDeath,
)

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


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """A scene that every test gets a copy of: making one takes three moves."""
    return Scene(tmp_path_factory.mktemp("model"))


@pytest.fixture
def plain(model: Scene, tmp_path: Path) -> Scene:
    return Scene(tmp_path, like=model)


@pytest.fixture
def linked(tmp_path: Path) -> Scene:
    """The deployed branch is checked out in a linked worktree, another one in the main checkout."""
    return Scene(tmp_path, linked=True)


def test_the_steps_are_those_that_are_tried_here(plain: Scene) -> None:
    steps: list[str] = []
    plain.advance(steps.append)
    assert tuple(steps) == ADVANCE_STEPS
    steps.clear()
    plain.retreat(steps.append)
    assert tuple(steps) == RETREAT_STEPS


def test_what_a_user_sees_before_and_after(plain: Scene) -> None:
    assert plain.before != plain.after
    assert plain.before.git_leftovers == plain.after.git_leftovers == ()
    assert plain.before.status.count(b"\0") == plain.after.status.count(b"\0") == 2  # the user's own two files
    assert "alone/last.py" not in plain.after.files
    assert plain.before.folders == plain.after.folders == frozenset()


@pytest.mark.parametrize("step", ADVANCE_STEPS)
def test_an_advance_that_died_is_finished_by_the_next(plain: Scene, step: str) -> None:
    assert in_a_process(lambda: plain.advance(die_after(step))) == DIED
    plain.advance()
    assert plain.look() == plain.after


@pytest.mark.parametrize("step", ADVANCE_STEPS)
def test_an_advance_that_died_is_undone_by_a_retreat(plain: Scene, step: str) -> None:
    assert in_a_process(lambda: plain.advance(die_after(step))) == DIED
    plain.retreat()
    assert plain.look() == plain.before


@pytest.mark.parametrize("step", RETREAT_STEPS)
def test_a_retreat_that_died_is_finished_by_the_next(plain: Scene, step: str) -> None:
    plain.advance()
    assert in_a_process(lambda: plain.retreat(die_after(step))) == DIED
    plain.retreat()
    assert plain.look() == plain.before


@pytest.mark.parametrize("step", RETREAT_STEPS)
def test_a_retreat_that_died_is_undone_by_an_advance(plain: Scene, step: str) -> None:
    plain.advance()
    assert in_a_process(lambda: plain.retreat(die_after(step))) == DIED
    plain.advance()
    assert plain.look() == plain.after


@pytest.mark.parametrize("step", ["staged run.sh", "branch-moved", "moved run.sh", "index-moved"])
def test_a_linked_worktree_recovers_in_the_same_way(linked: Scene, step: str) -> None:
    main = linked.user.snapshot()
    assert in_a_process(lambda: linked.advance(die_after(step))) == DIED
    linked.advance()
    assert linked.look() == linked.after
    assert in_a_process(lambda: linked.retreat(die_after(step))) == DIED
    linked.retreat()
    assert linked.look() == linked.before
    with pytest.raises(Unavailable):
        linked.advance(fail_after(step))
    assert linked.look() == linked.before
    assert linked.user.snapshot() == main


def test_dying_again_and_again_at_every_step_still_comes_to_the_end(plain: Scene) -> None:
    for step in ADVANCE_STEPS:
        in_a_process(lambda step=step: plain.advance(die_after(step)))  # type: ignore[misc]
    plain.advance()
    assert plain.look() == plain.after


@pytest.mark.parametrize("step", ADVANCE_STEPS[:-2])
def test_an_advance_that_fails_puts_everything_back(plain: Scene, step: str) -> None:
    with pytest.raises(Unavailable):
        plain.advance(fail_after(step))
    assert plain.look() == plain.before


@pytest.mark.parametrize("step", RETREAT_STEPS[:-2])
def test_a_retreat_that_fails_puts_everything_back(plain: Scene, step: str) -> None:
    plain.advance()
    with pytest.raises(Unavailable):
        plain.retreat(fail_after(step))
    assert plain.look() == plain.after


@pytest.mark.parametrize("step", ADVANCE_STEPS[6:14])
def test_while_the_tree_is_half_moved_the_user_cannot_commit_it(plain: Scene, step: str) -> None:
    in_a_process(lambda: plain.advance(die_after(step)))
    head = plain.user.head("main")
    plain.user.git("commit", "-am", "unaware", check=False)
    assert plain.user.head("main") == head
    plain.advance()
    assert plain.look() == plain.after


@pytest.mark.parametrize("step", ["branch-moved", f"moved {NAME}", "moved run.sh"])
def test_work_begun_after_a_death_makes_a_conflict_and_the_rest_is_put_back(plain: Scene, step: str) -> None:
    in_a_process(lambda: plain.advance(die_after(step)))
    (plain.checkout / NAME).write_bytes(b"the user's answer\n")
    with pytest.raises(Conflict) as caught:
        plain.advance()
    assert caught.value.code == "dirty-files"
    found = plain.look()
    assert found.files.pop(NAME)[1] == b"the user's answer\n"  # type: ignore[attr-defined]
    expected = dict(plain.before.files)
    del expected[NAME]
    assert found.files == expected
    assert (found.refs, found.index, found.git_leftovers) == (plain.before.refs, plain.before.index, ())


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


def memory() -> tuple[MemoryRepository, CommitId, CommitId]:
    repository = MemoryRepository()
    files = {path: state(content) for path, content in FILES.items()}
    base = repository.user_commit({**files, "run.sh": SCRIPT.before}, at=AT)
    commit = MemoryDeployedTree(repository).prepare(parent=base, change=CHANGE, message="apply", at=AT)
    return repository, base, commit


@pytest.mark.parametrize("step", range(10))
@pytest.mark.parametrize("then", ["advance", "retreat"])
def test_the_repository_in_memory_dies_and_recovers_in_the_same_way(step: int, then: str) -> None:
    repository, base, commit = memory()
    before = dict(repository.disk)
    deployed = MemoryDeployedTree(repository)
    repository.faults.die_after_steps = step
    with suppress(SimulatedDeath):
        deployed.advance(expected=base, commit=commit, change=CHANGE)
    repository.faults.die_after_steps = None
    getattr(deployed, then)(expected=base, commit=commit, change=CHANGE)
    done = then == "advance"
    assert repository.branches["main"] == (commit if done else base)
    assert (repository.disk == before) is not done
    assert repository.index == repository.disk


@pytest.mark.parametrize("fault", list(Fault))
def test_the_repository_in_memory_fails_without_doing_and_lies_after_doing(fault: Fault) -> None:
    repository, base, commit = memory()
    repository.faults.calls["advance"] = fault
    with pytest.raises((Unavailable, OutcomeUnknown)):
        MemoryDeployedTree(repository).advance(expected=base, commit=commit, change=CHANGE)
    assert repository.branches["main"] == (commit if fault is Fault.LIE else base)
    MemoryDeployedTree(repository).advance(expected=base, commit=commit, change=CHANGE)
    assert repository.branches["main"] == commit


def test_a_change_that_names_nothing_moves_nothing(plain: Scene) -> None:
    with pytest.raises(HomeostatError):
        plain.tree().advance(expected=plain.base, commit=plain.commit, change=TreeChange(files=()))
    assert plain.look() == plain.before
