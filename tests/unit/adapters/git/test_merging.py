"""Merging in a repository as it comes in the wild: its own drivers and filters, renames, an old git."""

from pathlib import Path

import pytest

from homeostat.adapters.git.command import Git
from homeostat.adapters.git.merging import GitCommitMerger
from homeostat.adapters.git.repository import open_repository
from homeostat.core.errors import Unavailable
from homeostat.core.ids import CommitId
from homeostat.testing.git_repository import UserRepository

BASE = b"one\ntwo\nthree\nfour\nfive\nsix\nseven\n"


@pytest.fixture
def user(tmp_path: Path) -> UserRepository:
    return UserRepository(tmp_path / "repository")


def two_sides(user: UserRepository, **ours: bytes) -> tuple[CommitId, CommitId]:
    """Commit `shop.py`, then two commits on it: one that changes its second line, and ours."""
    base = user.commit({"shop.py": BASE})
    other = user.commit({"shop.py": BASE.replace(b"two", b"TWO")})
    user.git("reset", "-q", "--hard", base)
    return user.commit(dict(ours.items()) or {"shop.py": BASE.replace(b"six", b"SIX")}), other


def test_a_merge_driver_of_the_configuration_is_not_run(user: UserRepository, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    user.git("config", "merge.mine.driver", f"touch {ran}; exit 0")
    user.commit({".gitattributes": b"*.py merge=mine\n"})
    into, other = two_sides(user)
    merged = GitCommitMerger(open_repository(user.root)).merge(into=into, other=other)
    assert not ran.exists()
    assert merged.conflicts == ("shop.py",), "what nobody merged is not called clean"


def test_filters_and_text_converters_are_not_run(user: UserRepository, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    into, other = two_sides(user)
    for key in ("filter.mine.clean", "filter.mine.smudge", "diff.mine.textconv", "diff.mine.command"):
        user.git("config", key, f"touch {ran}; cat")
    user.git("config", "merge.renormalize", "true")
    (user.root / ".git" / "info").mkdir(exist_ok=True)
    (user.root / ".git" / "info" / "attributes").write_text("*.py filter=mine diff=mine\n")
    merged = GitCommitMerger(open_repository(user.root)).merge(into=into, other=other)
    assert not ran.exists()
    assert merged.conflicts == () and b"+TWO" in merged.diff


def test_a_file_that_was_renamed_since_is_followed(user: UserRepository) -> None:
    base = user.commit({"shop.py": BASE})
    other = user.commit({"shop.py": BASE.replace(b"two", b"TWO")})
    user.git("reset", "-q", "--hard", base)
    user.git("mv", "shop.py", "store.py")
    into = user.commit()
    merged = GitCommitMerger(open_repository(user.root)).merge(into=into, other=other)
    assert merged.conflicts == () and b"b/store.py" in merged.diff and b"+TWO" in merged.diff


def test_strange_names_in_conflict_are_named_as_they_are(user: UserRepository) -> None:
    name = 'a "b"\tü.py'
    base = user.commit({name: BASE})
    other = user.commit({name: BASE.replace(b"two", b"TWO")})
    user.git("reset", "-q", "--hard", base)
    into = user.commit({name: BASE.replace(b"two", b"2")})
    assert GitCommitMerger(open_repository(user.root)).merge(into=into, other=other).conflicts == (name,)


def test_branches_index_and_checkout_stay_as_they_are(user: UserRepository) -> None:
    into, other = two_sides(user)
    user.write("shop.py", b"edited, not committed\n")
    before = user.snapshot()
    GitCommitMerger(open_repository(user.root)).merge(into=into, other=other)
    assert user.snapshot() == before


def test_a_git_that_is_too_old_says_so(user: UserRepository, tmp_path: Path) -> None:
    into, other = two_sides(user)
    old = tmp_path / "git"
    old.write_text(
        '#!/bin/sh\nfor a in "$@"; do [ "$a" = version ] && echo "git version 2.30.2" && exit; done\nexec git "$@"\n'
    )
    old.chmod(0o755)
    repository = open_repository(user.root)
    repository.git = Git(user.root, executable=str(old))
    with pytest.raises(Unavailable) as caught:
        GitCommitMerger(repository).merge(into=into, other=other)
    assert caught.value.code == "git-too-old"
