"""Opening a repository, wherever one stands in it, and refusing what cannot be served."""

from pathlib import Path

import pytest

from homeostat.adapters.git.reader import GitCommitReader
from homeostat.adapters.git.repository import open_repository
from homeostat.core.errors import Conflict, InvalidInput, NotFound
from homeostat.testing.git_repository import UserRepository


@pytest.fixture
def user(tmp_path: Path) -> UserRepository:
    return UserRepository(tmp_path / "a repository, with 'quotes' and é")


def test_a_folder_inside_opens_the_whole(user: UserRepository) -> None:
    user.commit({"deep/down/x.py": b"x"})
    repository = open_repository(user.root / "deep" / "down")
    assert repository.root == user.root
    assert GitCommitReader(repository).read_files(user.head(), ["deep/down/x.py"])["deep/down/x.py"] is not None
    assert list(GitCommitReader(repository).list_files(user.head())) == ["deep/down/x.py"]


def test_a_linked_worktree_is_opened_with_its_own_branch(user: UserRepository, tmp_path: Path) -> None:
    user.commit({"x.py": b"x"})
    user.git("worktree", "add", "--quiet", "-b", "side", str(tmp_path / "linked"))
    repository = open_repository(tmp_path / "linked")
    assert repository.root == tmp_path / "linked"
    assert repository.checked_out_branch() == "side"
    assert repository.common_dir == user.root / ".git"


def test_a_repository_whose_git_folder_is_elsewhere_is_opened(tmp_path: Path) -> None:
    user = UserRepository(tmp_path / "x")
    head = user.commit({"x.py": b"x"})
    user.git("init", "--quiet", "--separate-git-dir", str(tmp_path / "apart"))
    assert (user.root / ".git").is_file()
    repository = open_repository(user.root)
    assert repository.common_dir == tmp_path / "apart"
    assert repository.head("main") == head


def test_no_repository_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as caught:
        open_repository(tmp_path)
    assert caught.value.code == "not-a-repository"


def test_a_bare_repository_is_refused(tmp_path: Path) -> None:
    bare = UserRepository(tmp_path / "bare.git", bare=True)
    with pytest.raises(InvalidInput) as caught:
        open_repository(bare.root)
    assert caught.value.code == "bare-repository"


def test_a_repository_without_commits_says_so(user: UserRepository) -> None:
    with pytest.raises(InvalidInput) as caught:
        GitCommitReader(open_repository(user.root)).head()
    assert caught.value.code == "no-commits"


def test_a_path_with_a_line_break_is_refused(tmp_path: Path) -> None:
    user = UserRepository(tmp_path / "two\nlines")
    user.commit({"x": b"x"})
    with pytest.raises(InvalidInput) as caught:
        open_repository(user.root)
    assert caught.value.code == "unsupported-repository-path"


def test_a_detached_head_needs_a_configured_branch(user: UserRepository) -> None:
    head = user.commit({"x": b"x"})
    user.git("switch", "--quiet", "--detach")
    repository = open_repository(user.root)
    with pytest.raises(InvalidInput) as caught:
        GitCommitReader(repository).head()
    assert caught.value.code == "detached-head"
    assert GitCommitReader(repository, deployed_branch="main").head() == head


def test_a_configured_branch_that_is_not_there_is_not_found(user: UserRepository) -> None:
    user.commit({"x": b"x"})
    with pytest.raises(NotFound):
        GitCommitReader(open_repository(user.root), deployed_branch="prod").head()


@pytest.mark.parametrize("configured", [True, False])
def test_a_branch_of_ours_is_never_the_deployed_one(user: UserRepository, configured: bool) -> None:
    user.commit({"x": b"x"})
    user.git("switch", "--quiet", "-c", "homeostat/proposals")
    repository = open_repository(user.root)
    with pytest.raises(InvalidInput) as caught:
        GitCommitReader(repository, deployed_branch="homeostat/proposals" if configured else "").head()
    assert caught.value.code == "bad-deployed-branch"


def test_a_shallow_clone_knows_only_the_history_it_has(user: UserRepository, tmp_path: Path) -> None:
    old = user.commit({"x": b"x"})
    new = user.commit({"x": b"y"})
    user.git("clone", "--quiet", "--depth=1", user.root.as_uri(), str(tmp_path / "shallow"))
    reader = GitCommitReader(open_repository(tmp_path / "shallow"))
    assert reader.head() == new
    with pytest.raises(NotFound) as caught:
        reader.is_ancestor(old, new)
    assert "unshallow" in str(caught.value.hint)


def test_a_missing_object_of_a_partial_clone_is_not_fetched_in_a_flow(user: UserRepository, tmp_path: Path) -> None:
    user.commit({"x": b"first\n"})
    old = user.head()
    user.commit({"x": b"second\n"})
    user.git("config", "uploadpack.allowFilter", "true")
    url = user.root.as_uri()
    user.git("clone", "--quiet", "--filter=blob:none", url, str(tmp_path / "partial"))
    with pytest.raises(NotFound):
        GitCommitReader(open_repository(tmp_path / "partial")).read_files(old, ["x"])


def test_a_branch_checked_out_twice_is_refused(user: UserRepository, tmp_path: Path) -> None:
    user.commit({"x": b"x"})
    user.git("worktree", "add", "--quiet", "--force", str(tmp_path / "again"), "main")
    with pytest.raises(Conflict) as caught:
        open_repository(user.root).checkout_of("main")
    assert caught.value.code == "checked-out-twice"


def test_a_checkout_that_is_gone_is_refused(user: UserRepository, tmp_path: Path) -> None:
    user.commit({"x": b"x"})
    user.git("worktree", "add", "--quiet", "-b", "side", str(tmp_path / "linked"))
    (tmp_path / "linked").rename(tmp_path / "unplugged")
    with pytest.raises(Conflict) as caught:
        open_repository(user.root).checkout_of("side")
    assert caught.value.code == "checkout-missing"


@pytest.mark.parametrize("operation", ["merge", "rebase", "cherry-pick", "revert"])
def test_an_operation_of_the_user_in_progress_is_not_disturbed(user: UserRepository, operation: str) -> None:
    user.commit({"x": b"base\n"})
    user.git("switch", "--quiet", "-c", "side")
    side = user.commit({"x": b"side\n"})
    user.git("switch", "--quiet", "main")
    user.commit({"x": b"main\n"})
    words = {"merge": ["side"], "rebase": ["side"], "cherry-pick": [side], "revert": [user.head("main~1")]}[operation]
    user.git(operation, "--no-edit" if operation in ("merge", "revert") else "--quiet", *words, check=False)
    with pytest.raises(Conflict) as caught:
        open_repository(user.root).checkout_of("main")
    assert caught.value.code == "operation-in-progress"
    user.git(operation, "--abort")
    assert open_repository(user.root).checkout_of("main") is not None


def test_a_replaced_object_is_not_looked_through(user: UserRepository) -> None:
    real = user.commit({"x": b"real\n"})
    false = user.commit({"x": b"false\n"})
    user.git("replace", real, false)
    state = GitCommitReader(open_repository(user.root)).read_files(real, ["x"])["x"]
    assert state is not None
    assert state.content == b"real\n"
