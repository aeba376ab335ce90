"""What an agent says about its process."""

import os
import subprocess

import pytest
from homeostat_agent.facts import process_age_s, program_name, read_commit


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["python", "app.py", "--token", "secret"], "app.py"),
        (["python3", "-u", "/srv/shop/app.py"], "app.py"),
        (["python", "-m", "uvicorn", "app:app"], "uvicorn"),
        (["python", "-um", "uvicorn"], "uvicorn"),
        (["python", "-muvicorn"], "uvicorn"),
        (["python", "-W", "error", "-X", "dev", "app.py"], "app.py"),
        (["python", "-Werror", "-Xdev", "app.py"], "app.py"),
        (["python", "--check-hash-based-pycs", "always", "app.py"], "app.py"),
        (["/v/bin/python", "/v/bin/gunicorn", "app:app"], "gunicorn"),
        (["python", "-c", "password = 'hunter2'"], "python -c"),
        (["python", "-Bc", "password = 'hunter2'"], "python -c"),
        (["python", "-c", "from multiprocessing.spawn import spawn_main", "--multiprocessing-fork"], "multiprocessing"),
        (["python"], "python"),
        (["python", "-m"], ""),
        (["python", "-"], "python"),
        ([], "python"),
        (["python", "x" * 500], "x" * 80),
    ],
)
def test_a_program_is_named_without_folder_and_arguments(arguments, name):
    assert program_name(arguments) == name


def git(folder, *arguments):
    done = subprocess.run(
        ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", *arguments],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "GIT_CONFIG_GLOBAL": "/dev/null"},
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path):
    folder = tmp_path / "r"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    git(folder, "commit", "-q", "--allow-empty", "-m", "one")
    return folder


def test_the_commit_is_read_from_a_branch_a_packed_branch_and_a_detached_head(repository):
    commit = git(repository, "rev-parse", "HEAD")
    assert read_commit(str(repository)) == commit
    git(repository, "pack-refs", "--all")
    assert not (repository / ".git" / "refs" / "heads" / "main").exists()
    assert read_commit(str(repository)) == commit
    git(repository, "checkout", "-q", "--detach")
    assert read_commit(str(repository)) == commit


def test_the_commit_of_a_linked_work_tree_is_its_own(repository, tmp_path):
    git(repository, "worktree", "add", "-q", "-b", "other", str(tmp_path / "w"))
    git(tmp_path / "w", "commit", "-q", "--allow-empty", "-m", "two")
    assert read_commit(str(tmp_path / "w")) == git(tmp_path / "w", "rev-parse", "HEAD")
    assert read_commit(str(tmp_path / "w")) != read_commit(str(repository))


def test_without_a_commit_that_can_be_read_there_is_none(tmp_path):
    assert read_commit(str(tmp_path)) is None
    (tmp_path / "fresh").mkdir()
    git(tmp_path / "fresh", "init", "-q")
    assert read_commit(str(tmp_path / "fresh")) is None
    (tmp_path / "fresh" / ".git" / "HEAD").write_text("ref: refs/heads/.invalid\n")
    assert read_commit(str(tmp_path / "fresh")) is None
    (tmp_path / "fresh" / ".git" / "HEAD").write_bytes(b"\xff\xfe")
    assert read_commit(str(tmp_path / "fresh")) is None


def test_a_process_knows_for_how_long_it_has_been_there():
    first = process_age_s()
    assert 0 < first < 3 * 3_600
    assert process_age_s() >= first
