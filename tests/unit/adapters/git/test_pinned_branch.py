"""A deployed branch that was found checked out must stay checked out: files and branch move together."""

import pytest

from homeostat.adapters.git.deployed import GitDeployedTree
from homeostat.adapters.git.repository import open_repository
from homeostat.core.errors import Conflict
from homeostat.model.change import REGULAR, ChangeKind, FileChange, FileState, TreeChange
from homeostat.testing.git_repository import UserRepository

CHANGE = TreeChange(
    files=(
        FileChange(
            kind=ChangeKind.MODIFY,
            path="a.txt",
            old_path="a.txt",
            before=FileState(content=b"one\n", mode=REGULAR),
            after=FileState(content=b"two\n", mode=REGULAR),
        ),
    )
)


def test_a_checkout_that_was_switched_away_is_a_conflict_and_nothing_moves(tmp_path):
    user = UserRepository(tmp_path / "repo")
    user.commit({"a.txt": b"one\n"})
    repository = open_repository(user.root)
    branch = repository.checked_out_branch()
    tree = GitDeployedTree(repository, deployed_branch=branch, must_be_checked_out=True)
    assert tree.drift(CHANGE) == []
    user.git("switch", "-q", "-c", "topic")
    before = user.snapshot()
    with pytest.raises(Conflict, match="not checked out"):
        tree.drift(CHANGE)
    assert user.snapshot() == before
