"""git is started in one way: no foreign code, no foreign repository, no waiting without end."""

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from builders import create, modify, tree

from homeostat.adapters.git.candidate import GitCandidateBranch
from homeostat.adapters.git.checkout import write_checkout
from homeostat.adapters.git.command import Git
from homeostat.adapters.git.deployed import GitDeployedTree
from homeostat.adapters.git.records import GitRecordBranch
from homeostat.adapters.git.repository import open_repository
from homeostat.core.errors import InvalidInput, OutcomeUnknown, Unavailable
from homeostat.core.ids import ProposalId
from homeostat.testing.git_repository import UserRepository

AT = datetime(2026, 1, 10, tzinfo=UTC)
ID = ProposalId("0b0e7a4c-8f6e-4a5e-9d8f-0123456789ab")


def script(folder: Path, body: str) -> str:
    path = folder / "some-git"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


def test_nothing_that_the_repositorys_configuration_names_is_run(tmp_path: Path) -> None:
    """Hooks, file-system monitor, signing, pager, editor and filters of other files: each would leave a mark."""
    user = UserRepository(tmp_path / "repository")
    base = user.commit({"a.py": b"a\n", "big.bin": b"b\n"})
    mark = tmp_path / "ran"
    trap = tmp_path / "trap"
    trap.write_text(f'#!/bin/sh\necho "$0 $*" >> {mark}\ncat\n')
    trap.chmod(0o755)
    hooks = user.root / ".git/hooks"
    hooks.mkdir(exist_ok=True)
    for name in (
        "reference-transaction", "post-index-change", "pre-commit", "post-commit", "post-checkout", "update",
        "fsmonitor-watchman",
    ):  # fmt: skip
        (hooks / name).write_bytes(trap.read_bytes())
        (hooks / name).chmod(0o755)
    for key in (
        "core.fsmonitor",
        "gpg.program",
        "core.pager",
        "core.editor",
        "filter.trap.clean",
        "filter.trap.smudge",
    ):
        user.git("config", key, str(trap))
    for key in ("commit.gpgSign", "log.showSignature"):
        user.git("config", key, "true")
    (user.root / ".git/info").mkdir(exist_ok=True)
    (user.root / ".git/info/attributes").write_text("big.bin filter=trap\n")

    repository = open_repository(user.root)
    change = tree(modify("a.py", "a\n", "A\n"), create("b.py", "b\n"))
    candidates, deployed = GitCandidateBranch(repository), GitDeployedTree(repository)
    candidate = candidates.commit(proposal_id=ID, base=base, change=change, message="x", at=AT)
    write_checkout(user.root, candidate, tmp_path / "out")
    candidates.delete(ID)
    records = GitRecordBranch(repository)
    records.publish(files={"a.md": b"a"}, subject="a", trailers={"Ledger": "1:x"}, at=AT)
    records.trailers("Ledger")
    commit = deployed.prepare(parent=base, change=change, message="x", at=AT)
    deployed.drift(change)
    deployed.advance(expected=base, commit=commit, change=change)
    deployed.retreat(expected=base, commit=commit, change=change)
    assert not mark.exists(), mark.read_text()


def test_variables_that_point_git_elsewhere_are_not_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    user = UserRepository(tmp_path / "right")
    head = user.commit({"a": b"a"})
    other = UserRepository(tmp_path / "wrong")
    other.commit({"b": b"b"})
    for name, value in {
        "GIT_DIR": str(other.root / ".git"),
        "GIT_WORK_TREE": str(other.root),
        "GIT_INDEX_FILE": str(tmp_path / "index"),
        "GIT_OBJECT_DIRECTORY": str(other.root / ".git/objects"),
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "core.bare",
        "GIT_CONFIG_VALUE_0": "true",
    }.items():
        monkeypatch.setenv(name, value)
    repository = open_repository(user.root)
    assert repository.root == user.root
    assert repository.head("main") == head


def test_a_missing_git_is_unavailable_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(Unavailable) as caught:
        open_repository(tmp_path, executable="no-such-git-anywhere")
    assert caught.value.code == "git-missing"
    assert "install" in str(caught.value.hint)


def test_a_missing_folder_is_not_called_a_missing_git(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput):
        open_repository(tmp_path / "nowhere")


def test_a_reader_that_takes_too_long_is_ended_and_nothing_happened(tmp_path: Path) -> None:
    git = Git(tmp_path, executable=script(tmp_path, "exec sleep 600"), timeout_s=0.2)
    with pytest.raises(Unavailable) as caught:
        git.read("status")
    assert caught.value.code == "git-timeout"


def test_a_writer_that_takes_too_long_leaves_the_outcome_unknown(tmp_path: Path) -> None:
    git = Git(tmp_path, executable=script(tmp_path, "trap '' TERM\nsleep 2 & wait; exit 0"), timeout_s=0.2)
    with pytest.raises(OutcomeUnknown):
        git.write("update-ref")


def test_readers_take_no_locks_and_writers_may(tmp_path: Path) -> None:
    git = Git(tmp_path, executable=script(tmp_path, 'printf "%s" "$GIT_OPTIONAL_LOCKS"'))
    assert git.read("x").out == b"0"
    assert git.write("x").out == b""


def test_a_terminal_is_never_asked_and_no_transport_is_opened(tmp_path: Path) -> None:
    git = Git(
        tmp_path, executable=script(tmp_path, 'printf "%s %s %s" $GIT_TERMINAL_PROMPT $GIT_ALLOW_PROTOCOL $LC_ALL')
    )
    assert git.read("x").out == b"0 none C"


def test_reading_leaves_the_users_index_alone(tmp_path: Path) -> None:
    """A stale index would be refreshed by a careless `git status`; ours is not to."""
    user = UserRepository(tmp_path / "repository")
    user.commit({"a.py": b"a\n"})
    index = user.root / ".git/index"
    os.utime(user.root / "a.py", (1, 1))
    seen = (index.read_bytes(), index.stat().st_mtime_ns)
    GitDeployedTree(open_repository(user.root)).drift(tree(modify("a.py", "a\n", "b\n")))
    assert (index.read_bytes(), index.stat().st_mtime_ns) == seen
