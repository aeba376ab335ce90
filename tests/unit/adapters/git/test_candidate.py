"""The branch of one proposal, which the user's own work never notices."""

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from builders import create, modify, rename, tree

from homeostat.adapters.git.candidate import GitCandidateBranch, branch_of
from homeostat.adapters.git.checkout import write_checkout
from homeostat.adapters.git.repository import open_repository
from homeostat.core.errors import InvalidInput
from homeostat.core.ids import ProposalId
from homeostat.testing.git_repository import UserRepository

AT = datetime(2026, 1, 10, 12, tzinfo=UTC)
ID = ProposalId("0b0e7a4c-8f6e-4a5e-9d8f-0123456789ab")


@pytest.fixture
def user(tmp_path: Path) -> UserRepository:
    return UserRepository(tmp_path / "repository")


def test_the_users_work_tree_index_and_branches_are_not_touched(user: UserRepository, tmp_path: Path) -> None:
    base = user.commit({"a.py": b"a\n"})
    user.write("a.py", b"dirty\n")
    user.write("s.py", b"staged\n")
    user.git("add", "s.py")
    before = user.snapshot()
    index = (user.root / ".git/index").read_bytes()
    candidates = GitCandidateBranch(open_repository(user.root))
    change = tree(modify("a.py", "a\n", "b\n"), create("deep/new.py", "n\n"))
    commit = candidates.commit(proposal_id=ID, base=base, change=change, message="try", at=AT)
    write_checkout(user.root, commit, tmp_path / "out")
    candidates.delete(ID)
    assert user.snapshot() == before
    assert (user.root / ".git/index").read_bytes() == index


def test_a_held_index_lock_of_the_user_is_no_obstacle(user: UserRepository) -> None:
    base = user.commit({"a.py": b"a\n"})
    (user.root / ".git/index.lock").write_bytes(b"")
    candidates = GitCandidateBranch(open_repository(user.root))
    candidates.commit(proposal_id=ID, base=base, change=tree(create("n.py", "n\n")), message="try", at=AT)


def test_one_moment_in_two_zones_gives_one_commit(user: UserRepository) -> None:
    base = user.commit({"a.py": b"a\n"})
    candidates = GitCandidateBranch(open_repository(user.root))
    change = tree(create("n.py", "n\n"))
    elsewhere = AT.astimezone(timezone(timedelta(hours=5)))
    commits = {
        candidates.commit(proposal_id=ID, base=base, change=change, message="try", at=at) for at in (AT, elsewhere)
    }
    assert len(commits) == 1


def test_a_new_revision_takes_the_place_of_the_old_one(user: UserRepository) -> None:
    base = user.commit({"a.py": b"a\n"})
    candidates = GitCandidateBranch(open_repository(user.root))
    candidates.commit(proposal_id=ID, base=base, change=tree(create("n.py", "1\n")), message="try", at=AT)
    second = candidates.commit(proposal_id=ID, base=base, change=tree(create("n.py", "2\n")), message="try", at=AT)
    assert user.head(f"homeostat/proposal-{ID}") == second


def test_a_file_may_become_a_folder_on_a_branch_that_nobody_has_checked_out(user: UserRepository) -> None:
    base = user.commit({"a": b"1\n", "d/x": b"2\n"})
    candidates = GitCandidateBranch(open_repository(user.root))
    change = tree(rename("a", "a/b", "1\n"), rename("d/x", "d", "2\n"))
    commit = candidates.commit(proposal_id=ID, base=base, change=change, message="try", at=AT)
    assert user.git("ls-tree", "-r", "--name-only", commit) == b"a/b\nd\n"


def test_text_in_any_script_stands_in_the_message(user: UserRepository) -> None:
    base = user.commit({"a.py": b"a\n"})
    user.git("config", "i18n.commitEncoding", "ISO-8859-1")
    candidates = GitCandidateBranch(open_repository(user.root))
    change = tree(create("n.py", "n\n"))
    commit = candidates.commit(proposal_id=ID, base=base, change=change, message="修正 é\n\nbody\n\n", at=AT)
    raw = user.git("cat-file", "commit", commit)
    assert raw.endswith("\n\n修正 é\n\nbody\n".encode())
    assert b"encoding" not in raw


@pytest.mark.parametrize("word", ["", "../x", "main", "0B0E7A4C-8F6E-4A5E-9D8F-0123456789AB"])
def test_only_an_id_names_a_branch(word: str) -> None:
    with pytest.raises(InvalidInput):
        branch_of(ProposalId(word))


def test_a_candidate_that_was_made_a_name_for_the_users_branch_neither_moves_nor_removes_theirs(
    user: UserRepository,
) -> None:
    base = user.commit({"a.py": b"a\n"})
    theirs = user.git("symbolic-ref", "HEAD").decode().strip()
    candidates = GitCandidateBranch(open_repository(user.root))
    name = f"refs/heads/{branch_of(ID)}"
    user.git("symbolic-ref", name, theirs)
    commit = candidates.commit(proposal_id=ID, base=base, change=tree(create("n.py", "n\n")), message="try", at=AT)
    assert user.git("rev-parse", theirs).decode().strip() == base
    assert user.git("rev-parse", name).decode().strip() == commit != base
    user.git("symbolic-ref", name, theirs)
    candidates.delete(ID)
    assert user.git("rev-parse", theirs).decode().strip() == base
    assert user.git("for-each-ref", name) == b""
