"""The branch of records: many writers, no lost commit, no forged trailer."""

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from homeostat.adapters.git.records import GitRecordBranch, record_message
from homeostat.adapters.git.repository import open_repository
from homeostat.core.errors import Conflict, IntegrityFailure, InvalidInput, Unavailable
from homeostat.testing.git_repository import UserRepository

AT = datetime(2026, 1, 10, tzinfo=UTC)


@pytest.fixture
def user(tmp_path: Path) -> UserRepository:
    user = UserRepository(tmp_path / "repository")
    user.commit({"a.py": b"a\n"})
    return user


@pytest.fixture
def records(user: UserRepository) -> GitRecordBranch:
    return GitRecordBranch(open_repository(user.root))


def test_publishing_touches_nothing_of_the_users(user: UserRepository, records: GitRecordBranch) -> None:
    user.write("a.py", b"dirty\n")
    user.write("b.py", b"staged\n")
    user.git("add", "b.py")
    before = user.snapshot()
    records.publish(files={"proposals/index.md": b"x"}, subject="x", trailers={"Ledger": "1:x"}, at=AT)
    after = user.snapshot()
    assert (after.files, after.status, after.index, after.head) == (
        before.files,
        before.status,
        before.index,
        before.head,
    )
    assert user.git("rev-list", "--count", "homeostat/proposals") == b"1\n"
    assert user.git("merge-base", "main", "homeostat/proposals", check=False) == b""


def test_a_branch_of_records_that_was_made_a_name_for_the_users_does_not_move_theirs(
    user: UserRepository, records: GitRecordBranch
) -> None:
    theirs = user.git("symbolic-ref", "HEAD").strip()
    head = user.git("rev-parse", "HEAD")
    user.git("symbolic-ref", "refs/heads/homeostat/proposals", theirs)
    records.publish(files={"proposals/index.md": b"x"}, subject="x", trailers={"Ledger": "1:x"}, at=AT)
    assert user.git("rev-parse", "HEAD") == head
    assert user.git("rev-parse", "refs/heads/homeostat/proposals") != head


@pytest.mark.parametrize("held", ["garbage", "1" * 40, "a file"])
def test_a_branch_of_records_that_points_at_no_commit_is_named_and_left_as_it_is(
    user: UserRepository, records: GitRecordBranch, held: str
) -> None:
    if held == "a file":
        held = user.git("rev-parse", "HEAD:a.py").decode().strip()
    path = user.root / ".git/refs/heads/homeostat/proposals"
    path.parent.mkdir()
    path.write_text(f"{held}\n")
    with pytest.raises(IntegrityFailure) as caught:
        records.publish(files={"proposals/index.md": b"x"}, subject="x", trailers={"Ledger": "1:x"}, at=AT)
    assert caught.value.code == "repository-corrupt"
    assert path.read_text() == f"{held}\n"


def test_a_repository_without_any_commit_can_have_records(tmp_path: Path) -> None:
    user = UserRepository(tmp_path / "new")
    records = GitRecordBranch(open_repository(user.root))
    records.publish(files={"proposals/index.md": b"x"}, subject="x", trailers={}, at=AT)
    assert records.read("proposals/index.md") == b"x"


def test_git_itself_reads_the_trailers(user: UserRepository, records: GitRecordBranch) -> None:
    commit = records.publish(files={"a.md": b"a"}, subject="approved: x", trailers={"Homeostat-Ledger": "7:ab"}, at=AT)
    shown = user.git("log", "-1", "--format=%s|%(trailers:key=Homeostat-Ledger,valueonly)", commit).decode().strip()
    assert shown == "approved: x|7:ab"


def test_processes_that_publish_at_once_lose_nothing(user: UserRepository, records: GitRecordBranch) -> None:
    children = []
    for child in range(5):
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                for number in range(4):
                    name = f"{child}-{number}"
                    records.publish(
                        files={f"proposals/{name}.md": name.encode()}, subject=name, trailers={"Who": name}, at=AT
                    )
                code = 0
            finally:
                os._exit(code)
        children.append(pid)
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children] == [0] * 5
    names = {f"{child}-{number}" for child in range(5) for number in range(4)}
    assert {value for _, value in records.trailers("Who")} == names
    assert len(records.trailers("Who")) == 20
    assert {name for name in names if records.read(f"proposals/{name}.md") == name.encode()} == names
    assert user.git("rev-list", "--count", "--min-parents=2", "homeostat/proposals") == b"0\n"


def test_a_lock_that_a_dead_git_left_is_reported(user: UserRepository, records: GitRecordBranch) -> None:
    def publish(name: str) -> None:
        records.publish(files={"proposals/index.md": name.encode()}, subject=name, trailers={}, at=AT)

    publish("first")
    lock = user.root / ".git" / "refs" / "heads" / "homeostat" / "proposals.lock"
    lock.touch()
    with pytest.raises(Unavailable) as caught:
        publish("second")
    assert caught.value.hint is not None and str(lock) in caught.value.hint
    lock.unlink()
    publish("second")
    assert records.read("proposals/index.md") == b"second"


def test_a_commit_that_somebody_pushed_to_the_branch_is_kept(user: UserRepository, records: GitRecordBranch) -> None:
    records.publish(files={"proposals/a.md": b"a"}, subject="a", trailers={"Ledger": "1:x"}, at=AT)
    user.git("switch", "--quiet", "homeostat/proposals")
    theirs = user.commit({"proposals/comment.md": b"looks good\n"}, message="A comment\n\nLedger: by hand\n  folded")
    user.git("switch", "--quiet", "main")
    records.publish(files={"proposals/a.md": b"b"}, subject="b", trailers={"Ledger": "2:y"}, at=AT)
    assert records.read("proposals/comment.md") == b"looks good\n"
    assert [value for _, value in records.trailers("Ledger")] == ["2:y", "by hand folded", "1:x"]
    assert records.trailers("Ledger")[1][0] == theirs


def test_a_branch_named_homeostat_is_in_the_way_and_said_to_be(user: UserRepository, records: GitRecordBranch) -> None:
    user.git("branch", "homeostat")
    with pytest.raises(Conflict) as caught:
        records.publish(files={"a.md": b"a"}, subject="a", trailers={}, at=AT)
    assert caught.value.code == "branch-name-taken"


@pytest.mark.parametrize("path", ["../out.md", "/abs.md", "a//b.md", ".git/config", ""])
def test_a_record_stays_inside_the_tree(records: GitRecordBranch, path: str) -> None:
    with pytest.raises(InvalidInput):
        records.publish(files={path: b"x"}, subject="x", trailers={}, at=AT)
    with pytest.raises(InvalidInput):
        records.read(path)


def test_a_name_that_git_does_not_take_is_an_error_and_not_left_out(records: GitRecordBranch) -> None:
    with pytest.raises(InvalidInput) as caught:
        records.publish(files={"git~1/config": b"x", "a.md": b"a"}, subject="x", trailers={}, at=AT)
    assert caught.value.code == "bad-path"
    assert records.read("a.md") is None


def test_more_files_than_one_command_line_holds_are_published(records: GitRecordBranch) -> None:
    files = {"/".join(["d" * 200, "e" * 200, f"{number}.md"]): b"%d" % number for number in range(1000)}
    records.publish(files=files, subject="many", trailers={}, at=AT)
    assert records.read(list(files)[999]) == b"999"


def test_a_folder_is_not_a_record(records: GitRecordBranch) -> None:
    records.publish(files={"proposals/a.md": b"a"}, subject="a", trailers={}, at=AT)
    assert records.read("proposals") is None


def test_with_thousands_of_records_publishing_takes_no_more_steps(user: UserRepository, tmp_path: Path) -> None:
    """What the steps take is measured by `bench_growth`."""
    script, told = tmp_path / "git-told", tmp_path / "told"
    script.write_text(f'#!/bin/sh\necho "$@" >>{told}\nexec git "$@"\n')
    script.chmod(0o755)
    records = GitRecordBranch(open_repository(user.root, executable=str(script)))

    def steps(text: bytes) -> int:
        told.write_text("")
        records.publish(files={"proposals/2026/01/0001.md": text}, subject="one", trailers={}, at=AT)
        return len(told.read_text().splitlines())

    steps(b"first")
    few = steps(b"second")
    for chunk in range(5):
        files = {f"proposals/2026/{chunk:02d}/{number:04d}.md": b"%d" % number for number in range(1000)}
        records.publish(files=files, subject="many", trailers={}, at=AT)
    assert 0 < steps(b"new") == few


def test_a_subject_is_one_printable_line_of_bounded_length() -> None:
    assert record_message("  a\n\nb\x1b[0m\u202ec ", {"K": "v"}).splitlines()[0] == "a b [0m c"
    assert len(record_message("x" * 1000, {}).splitlines()[0]) == 200
    with pytest.raises(InvalidInput):
        record_message(" \n ", {})


def test_only_the_named_files_change_whatever_is_beside_them(user: UserRepository, records: GitRecordBranch) -> None:
    names = ["", "a-b", "a.b", "a/b", "proposals.md", "proposals-old", "proposals/2025/12/x.md", "proposals/z"]
    user.git("checkout", "-q", "--orphan", "homeostat/proposals")
    user.git("rm", "-rfq", ".")
    for name in names[1:]:
        user.write(name, name.encode())
    user.git("add", "-A")
    user.git("commit", "-qm", "by hand")
    before = user.git("ls-tree", "-r", "HEAD").splitlines()
    user.git("checkout", "-q", "main")
    files = {"proposals/2026/01/n.md": b"new", "proposals/2025/12/x.md": b"changed", "proposals/index.md": b"i"}
    records.publish(files=files, subject="x", trailers={}, at=AT)
    after = user.git("ls-tree", "-r", "homeostat/proposals").splitlines()
    assert {line for line in before if b"x.md" not in line} <= set(after)
    assert len(after) == len(before) + 2
    assert {path: records.read(path) for path in files} == files
    assert user.git("fsck", "--strict", "--no-dangling") == b""


def test_a_folder_where_the_record_must_be_or_a_file_on_its_way_is_named(
    user: UserRepository, records: GitRecordBranch
) -> None:
    records.publish(files={"proposals/2026": b"a file", "x/y/z.md": b"z"}, subject="x", trailers={}, at=AT)
    for path in ("proposals/2026/01/n.md", "x/y"):
        with pytest.raises(Conflict) as refused:
            records.publish(files={path: b"n"}, subject="y", trailers={}, at=AT)
        assert refused.value.code == "path-taken" and "`" in refused.value.message
