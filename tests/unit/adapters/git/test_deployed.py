"""The deployed tree in the repositories that people really have."""

import os
import stat
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from builders import create, delete, modify, rename, state, tree

from homeostat.adapters.git.deployed import GitDeployedTree
from homeostat.adapters.git.repository import open_repository
from homeostat.core.errors import Conflict, InvalidInput, NotFound
from homeostat.core.ids import CommitId
from homeostat.model.change import EXECUTABLE, TreeChange
from homeostat.testing.git_repository import UserRepository

AT = datetime(2026, 1, 10, tzinfo=UTC)


@pytest.fixture
def user(tmp_path: Path) -> UserRepository:
    return UserRepository(tmp_path / "repository")


def deployed(user: UserRepository, **options: object) -> GitDeployedTree:
    return GitDeployedTree(open_repository(user.root), **options)  # type: ignore[arg-type]


def apply(user: UserRepository, base: CommitId, change: TreeChange, **options: object) -> CommitId:
    made = deployed(user, **options)
    commit = made.prepare(parent=base, change=change, message="apply", at=AT)
    made.advance(expected=base, commit=commit, change=change)
    return commit


def take_back(user: UserRepository, base: CommitId, commit: CommitId, change: TreeChange) -> None:
    deployed(user).retreat(expected=base, commit=commit, change=change)


def test_the_commit_is_ours_dated_as_told_and_on_top_of_the_users(user: UserRepository) -> None:
    base = user.commit({"a.py": b"a\n"})
    commit = apply(user, base, tree(modify("a.py", "a\n", "b\n")))
    shown = user.git("log", "-1", "--format=%an|%ae|%cn|%ad|%P|%s", "--date=iso-strict", commit).decode().strip()
    assert shown == f"Homeostat|homeostat@localhost|Homeostat|2026-01-10T00:00:00+00:00|{base}|apply"


def test_the_reflogs_say_who_moved_the_branch(user: UserRepository) -> None:
    base = user.commit({"a.py": b"a\n"})
    change = tree(modify("a.py", "a\n", "b\n"))
    take_back(user, base, apply(user, base, change), change)
    for ref in ("HEAD", "main"):
        assert user.git("reflog", "show", "--format=%gs", ref).decode().splitlines()[:2] == [
            "homeostat: take back",
            "homeostat: apply",
        ]


def test_the_index_is_refreshed_so_that_plumbing_sees_a_clean_tree(user: UserRepository) -> None:
    base = user.commit({"a.py": b"a\n", "b.py": b"b\n"})
    apply(user, base, tree(modify("a.py", "a\n", "b\n")))
    assert user.git("diff-index", "HEAD") == b""
    assert user.git("diff-files") == b""


def test_permissions_beyond_the_executable_bit_are_kept(user: UserRepository) -> None:
    base = user.commit({"secret.py": b"a\n", "tool": b"t\n"})
    (user.root / "secret.py").chmod(0o600)
    change = tree(
        modify("secret.py", "a\n", "b\n"),
        replace(modify("tool", "t\n", ""), after=replace(state("t\n"), mode=EXECUTABLE)),
    )
    commit = apply(user, base, change)
    assert stat.S_IMODE((user.root / "secret.py").stat().st_mode) == 0o600
    assert stat.S_IMODE((user.root / "tool").stat().st_mode) == 0o755
    take_back(user, base, commit, change)
    assert stat.S_IMODE((user.root / "secret.py").stat().st_mode) == 0o600
    assert stat.S_IMODE((user.root / "tool").stat().st_mode) == 0o644


def test_a_replaced_file_is_a_second_newer_so_that_stale_byte_code_is_never_run(user: UserRepository) -> None:
    """Python compares whole seconds and sizes: two versions of one size in one second would be confused."""
    base = user.commit({"a.py": b"x = 1\n"})
    change = tree(modify("a.py", "x = 1\n", "x = 2\n"))
    seconds = [int((user.root / "a.py").stat().st_mtime)]
    for _ in range(2):
        commit = apply(user, base, change)
        seconds.append(int((user.root / "a.py").stat().st_mtime))
        take_back(user, base, commit, change)
        seconds.append(int((user.root / "a.py").stat().st_mtime))
    assert seconds == sorted(set(seconds))


def test_a_branch_that_is_checked_out_nowhere_moves_alone(user: UserRepository) -> None:
    base = user.commit({"a.py": b"a\n"})
    user.git("branch", "prod")
    (user.root / "a.py").write_bytes(b"dirty on main\n")
    before = user.snapshot()
    change = tree(modify("a.py", "a\n", "b\n"))
    assert list(deployed(user, deployed_branch="prod").drift(change)) == []
    commit = apply(user, base, change, deployed_branch="prod")
    assert user.head("prod") == commit
    assert user.head("main") == base
    after = user.snapshot()
    assert (after.files, after.status, after.index) == (before.files, before.status, before.index)
    prod = deployed(user, deployed_branch="prod")
    prod.advance(expected=base, commit=commit, change=change)
    prod.retreat(expected=base, commit=commit, change=change)
    prod.retreat(expected=base, commit=commit, change=change)
    assert user.snapshot() == before


def test_a_branch_alone_that_went_elsewhere_is_a_conflict(user: UserRepository) -> None:
    base = user.commit({"a.py": b"a\n"})
    change = tree(modify("a.py", "a\n", "b\n"))
    prod = deployed(user, deployed_branch="prod")
    user.git("branch", "prod")
    commit = prod.prepare(parent=base, change=change, message="x", at=AT)
    moved = user.commit({"other.py": b"o\n"})
    user.git("branch", "--force", "prod", moved)
    with pytest.raises(Conflict) as caught:
        prod.advance(expected=base, commit=commit, change=change)
    assert caught.value.code == "base-moved"
    assert user.head("prod") == moved


def test_in_a_linked_worktree_its_own_files_move(user: UserRepository, tmp_path: Path) -> None:
    base = user.commit({"a.py": b"a\n"})
    linked = tmp_path / "live"
    user.git("worktree", "add", "--quiet", "-b", "prod", str(linked))
    before = user.snapshot()
    change = tree(modify("a.py", "a\n", "b\n"))
    commit = apply(user, base, change, deployed_branch="prod")
    assert (linked / "a.py").read_bytes() == b"b\n"
    assert user.git("status", "--porcelain", cwd=linked) == b""
    assert user.head("prod") == commit
    assert user.snapshot().files == before.files
    assert user.git("status", "--porcelain") == b""


@pytest.mark.parametrize("how", ["eol attribute", "autocrlf"])
def test_line_endings_are_those_that_git_would_check_out(user: UserRepository, how: str) -> None:
    if how == "autocrlf":
        user.git("config", "core.autocrlf", "true")
        user.commit({"keep": b""})
    else:
        user.commit({".gitattributes": b"*.py text eol=crlf\n"})
    base = user.commit({"a.py": b"one\r\ntwo\r\n", "old.py": b"o\r\n"})
    assert user.git("cat-file", "blob", "HEAD:a.py") == b"one\ntwo\n"
    before = user.snapshot()
    change = tree(
        modify("a.py", "one\ntwo\n", "one\n2\n"), create("new.py", "n\n"), rename("old.py", "moved.py", "o\n", "m\n")
    )
    assert list(deployed(user).drift(change)) == []
    commit = apply(user, base, change)
    assert (user.root / "a.py").read_bytes() == b"one\r\n2\r\n"
    assert (user.root / "new.py").read_bytes() == b"n\r\n"
    assert (user.root / "moved.py").read_bytes() == b"m\r\n"
    assert user.git("status", "--porcelain") == b""
    assert user.git("cat-file", "blob", "HEAD:a.py") == b"one\n2\n"
    take_back(user, base, commit, change)
    assert user.snapshot() == before


def test_a_file_that_stands_unconverted_goes_back_unconverted(user: UserRepository) -> None:
    """An editor wrote LF where git would write CRLF: clean to git, and to come back byte for byte."""
    user.commit({".gitattributes": b"*.py text eol=crlf\n"})
    base = user.commit({"a.py": b"one\r\n"})
    (user.root / "a.py").write_bytes(b"one\n")
    change = tree(modify("a.py", "one\n", "two\n"))
    commit = apply(user, base, change)
    assert (user.root / "a.py").read_bytes() == b"two\n"
    take_back(user, base, commit, change)
    assert (user.root / "a.py").read_bytes() == b"one\n"


def test_an_expanded_ident_is_not_called_dirty(user: UserRepository) -> None:
    user.commit({".gitattributes": b"*.py ident\n"})
    base = user.commit({"a.py": b"# $Id$\nx = 1\n"})
    (user.root / "a.py").unlink()
    user.git("checkout", "--", "a.py")
    assert b"$Id: " in (user.root / "a.py").read_bytes()
    apply(user, base, tree(modify("a.py", "# $Id$\nx = 1\n", "# $Id$\nx = 2\n")))
    assert (user.root / "a.py").read_bytes().startswith(b"# $Id: ")
    assert user.git("status", "--porcelain") == b""


def test_a_file_behind_a_filter_is_refused_because_a_program_would_run(user: UserRepository) -> None:
    base = user.commit({"a.py": b"a\n"})
    (user.root / ".git/info").mkdir(exist_ok=True)
    (user.root / ".git/info/attributes").write_text("a.py filter=lfs\n")
    change = tree(modify("a.py", "a\n", "b\n"))
    commit = deployed(user).prepare(parent=base, change=change, message="x", at=AT)
    for ask in (
        lambda: deployed(user).drift(change),
        lambda: deployed(user).advance(expected=base, commit=commit, change=change),
    ):
        with pytest.raises(InvalidInput) as caught:
            ask()
        assert caught.value.code == "filtered-file"
    assert user.head() == base


def test_where_the_executable_bit_means_nothing_it_is_not_compared(user: UserRepository) -> None:
    base = user.commit({"a.py": b"a\n"})
    user.git("config", "core.fileMode", "false")
    (user.root / "a.py").chmod(0o755)
    apply(user, base, tree(modify("a.py", "a\n", "b\n")))
    assert (user.root / "a.py").read_bytes() == b"b\n"


def test_a_lost_executable_bit_is_drift(user: UserRepository) -> None:
    user.commit({"a.py": b"a\n"})
    (user.root / "a.py").chmod(0o755)
    found = deployed(user).drift(tree(modify("a.py", "a\n", "b\n")))
    assert [item.problem for item in found] == ["modified"]


def outside(user: UserRepository) -> Path:
    folder = user.root.parent / "outside"
    folder.mkdir()
    (folder / "a.py").write_bytes(b"a\n")
    return folder


def _link_parent(user: UserRepository) -> None:
    target = outside(user)
    (user.root / "app/a.py").unlink()
    (user.root / "app").rmdir()
    (user.root / "app").symlink_to(target)


def _link_file(user: UserRepository) -> None:
    target = outside(user)
    (user.root / "app/a.py").unlink()
    (user.root / "app/a.py").symlink_to(target / "a.py")


def _folder(user: UserRepository) -> None:
    (user.root / "app/a.py").unlink()
    user.write("app/a.py/inside", b"mine\n")


def _pipe(user: UserRepository) -> None:
    (user.root / "app/a.py").unlink()
    os.mkfifo(user.root / "app/a.py")


@pytest.mark.parametrize("put", [_link_parent, _link_file, _folder, _pipe])
def test_what_is_not_a_file_is_never_followed_opened_or_replaced(
    user: UserRepository, put: Callable[[UserRepository], None]
) -> None:
    base = user.commit({"app/a.py": b"a\n"})
    change = tree(modify("app/a.py", "a\n", "b\n"))
    commit = deployed(user).prepare(parent=base, change=change, message="x", at=AT)
    put(user)
    assert [item.problem for item in deployed(user).drift(change)] == ["not-a-file"]
    with pytest.raises(Conflict) as caught:
        deployed(user).advance(expected=base, commit=commit, change=change)
    assert caught.value.code == "dirty-files"
    assert user.head() == base
    found = user.root.parent / "outside/a.py"
    assert not found.exists() or found.read_bytes() == b"a\n"


@pytest.mark.parametrize("kind", ["file", "folder", "symlink"])
def test_something_untracked_in_the_way_of_a_new_file_is_a_conflict(user: UserRepository, kind: str) -> None:
    base = user.commit({"a.py": b"a\n", ".gitignore": b"new.py\n"})
    change = tree(create("new.py", "n\n"), modify("a.py", "a\n", "b\n"))
    commit = deployed(user).prepare(parent=base, change=change, message="x", at=AT)
    place = user.root / "new.py"
    if kind == "file":
        place.write_bytes(b"ignored, and mine\n")
    elif kind == "folder":
        place.mkdir()
    else:
        place.symlink_to("nowhere")
    before = user.snapshot()
    with pytest.raises(Conflict) as caught:
        deployed(user).advance(expected=base, commit=commit, change=change)
    assert caught.value.facts["paths"] == "new.py"
    assert user.snapshot() == before


def test_a_file_in_the_place_of_a_new_folder_is_a_conflict(user: UserRepository) -> None:
    base = user.commit({"a.py": b"a\n"})
    change = tree(create("pkg/new.py", "n\n"))
    commit = deployed(user).prepare(parent=base, change=change, message="x", at=AT)
    (user.root / "pkg").write_bytes(b"a file\n")
    before = user.snapshot()
    with pytest.raises(Conflict):
        deployed(user).advance(expected=base, commit=commit, change=change)
    assert user.snapshot() == before


def test_a_new_file_that_a_tracked_file_or_module_is_in_the_way_of_is_refused(user: UserRepository) -> None:
    first = user.commit({"pkg": b"a file\n"})
    user.git("update-index", "--add", "--cacheinfo", f"160000,{first},module")
    user.git("commit", "--quiet", "-m", "module")
    for path in ("pkg/new.py", "module/new.py"):
        with pytest.raises(Conflict) as caught:
            deployed(user).prepare(parent=user.head(), change=tree(create(path, "n\n")), message="x", at=AT)
        assert caught.value.code == "path-in-the-way"


def test_unmerged_and_intended_entries_of_the_index_are_drift(user: UserRepository) -> None:
    user.commit({"a.py": b"a\n"})
    blob = user.git("rev-parse", "HEAD:a.py").decode().strip()
    user.git("update-index", "--index-info", stdin=f"0 {'0' * 40}\ta.py\n100644 {blob} 2\ta.py\n".encode())
    assert [item.problem for item in deployed(user).drift(tree(modify("a.py", "a\n", "b\n")))] == ["staged"]
    user.git("reset", "--quiet")
    user.write("new.py", b"n\n")
    user.git("add", "--intent-to-add", "new.py")
    (user.root / "new.py").unlink()
    assert [item.problem for item in deployed(user).drift(tree(create("new.py", "n\n")))] == ["staged"]


def test_folders_that_become_empty_go_and_others_stay(user: UserRepository) -> None:
    base = user.commit({"pkg/sub/gone.py": b"g\n", "keep/gone.py": b"g\n"})
    user.write("keep/untracked", b"mine\n")
    change = tree(delete("pkg/sub/gone.py", "g\n"), delete("keep/gone.py", "g\n"), create("n/e/w.py", "n\n"))
    commit = apply(user, base, change)
    assert not (user.root / "pkg").exists()
    assert (user.root / "keep/untracked").exists()
    (user.root / "n/e/__pycache__").mkdir()
    (user.root / "n/e/__pycache__/w.pyc").write_bytes(b"cache")
    take_back(user, base, commit, change)
    assert (user.root / "n/e/__pycache__/w.pyc").exists()
    assert not (user.root / "n/e/w.py").exists()
    assert (user.root / "pkg/sub/gone.py").read_bytes() == b"g\n"


def test_the_users_staged_work_in_other_files_stays_staged(user: UserRepository) -> None:
    base = user.commit({"a.py": b"a\n", "mine.py": b"m\n"})
    user.write("mine.py", b"staged\n")
    user.git("add", "mine.py")
    user.write("mine.py", b"and more\n")
    apply(user, base, tree(modify("a.py", "a\n", "b\n")))
    assert user.git("status", "--porcelain") == b"MM mine.py\n"
    assert user.git("cat-file", "blob", ":mine.py") == b"staged\n"


def test_the_very_edit_that_is_proposed_may_already_stand_in_the_checkout(user: UserRepository) -> None:
    base = user.commit({"a.py": b"a\n"})
    user.write("a.py", b"b\n")
    change = tree(modify("a.py", "a\n", "b\n"))
    assert [item.problem for item in deployed(user).drift(change)] == ["modified"]
    deployed(user).retreat(
        expected=base,
        commit=deployed(user).prepare(parent=base, change=change, message="apply", at=AT),
        change=change,
    )
    assert (user.root / "a.py").read_bytes() == b"b\n"
    apply(user, base, change)
    assert user.git("status", "--porcelain") == b""


@pytest.mark.parametrize("setting", ["core.splitIndex", "core.untrackedCache", "index.sparse", "core.ignoreCase"])
def test_other_kinds_of_index_are_handled(user: UserRepository, setting: str) -> None:
    user.git("config", setting, "true")
    base = user.commit({f"d/{number}.py": b"a\n" for number in range(40)})
    user.git("update-index", "--force-write-index")
    change = tree(modify("d/7.py", "a\n", "b\n"), create("d/new.py", "n\n"), delete("d/9.py", "a\n"))
    before = user.snapshot()
    commit = apply(user, base, change)
    assert user.git("status", "--porcelain") == b""
    take_back(user, base, commit, change)
    assert user.snapshot() == before
    user.git("fsck", "--strict")


def test_a_file_outside_a_sparse_checkout_is_missing(user: UserRepository) -> None:
    user.commit({"in/a.py": b"a\n", "out/b.py": b"b\n"})
    user.git("sparse-checkout", "set", "in")
    assert [item.problem for item in deployed(user).drift(tree(modify("out/b.py", "b\n", "c\n")))] == ["missing"]


def test_without_an_index_nothing_is_guessed(user: UserRepository, tmp_path: Path) -> None:
    user.commit({"a.py": b"a\n"})
    user.git("clone", "--quiet", "--no-checkout", str(user.root), str(tmp_path / "clone"))
    found = GitDeployedTree(open_repository(tmp_path / "clone")).drift(tree(modify("a.py", "a\n", "b\n")))
    assert [item.problem for item in found] == ["missing"]


def test_a_commit_that_was_pruned_is_not_found_and_can_be_made_again(user: UserRepository) -> None:
    base = user.commit({"a.py": b"a\n"})
    change = tree(modify("a.py", "a\n", "b\n"))
    commit = deployed(user).prepare(parent=base, change=change, message="x", at=AT)
    user.git("prune", "--expire=now")
    with pytest.raises(NotFound):
        deployed(user).advance(expected=base, commit=commit, change=change)
    assert deployed(user).prepare(parent=base, change=change, message="x", at=AT) == commit
    deployed(user).advance(expected=base, commit=commit, change=change)
    assert user.head() == commit


def test_a_conflict_names_a_few_files_and_counts_the_rest(user: UserRepository) -> None:
    files = {f"{number}.py": b"a\n" for number in range(9)}
    base = user.commit(files)
    change = tree(*(modify(path, "a\n", "b\n") for path in files))
    commit = deployed(user).prepare(parent=base, change=change, message="x", at=AT)
    for path in files:
        user.write(path, b"mine\n")
    with pytest.raises(Conflict) as caught:
        deployed(user).advance(expected=base, commit=commit, change=change)
    assert "and 4 more" in caught.value.message
    assert caught.value.facts["count"] == 9


def test_a_time_without_a_zone_is_refused(user: UserRepository) -> None:
    base = user.commit({"a.py": b"a\n"})
    change = tree(modify("a.py", "a\n", "b\n"))
    with pytest.raises(InvalidInput):
        deployed(user).prepare(parent=base, change=change, message="x", at=AT.replace(tzinfo=None))


@pytest.mark.parametrize("message", ["", "  \n ", "a\0b", "x" * 100_001])
def test_a_message_that_is_none_is_refused(user: UserRepository, message: str) -> None:
    base = user.commit({"a.py": b"a\n"})
    with pytest.raises(InvalidInput):
        deployed(user).prepare(parent=base, change=tree(modify("a.py", "a\n", "b\n")), message=message, at=AT)
