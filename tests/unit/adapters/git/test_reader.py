"""Reading trees with names and entries as they come in the wild."""

import os
from pathlib import Path

import pytest

from homeostat.adapters.git.paths import decode_path, encode_path
from homeostat.adapters.git.reader import MAX_FILE_BYTES, GitCommitReader
from homeostat.adapters.git.repository import open_repository
from homeostat.core.errors import InvalidInput, NotFound
from homeostat.core.ids import CommitId
from homeostat.testing.git_repository import UserRepository

STRANGE = [b"with space", b"new\nline", b'"quoted"', b"tab\there", b"\xff\xfe", "ü/é".encode(), b"*", b":(top)x", b"-n"]


@pytest.fixture
def user(tmp_path: Path) -> UserRepository:
    return UserRepository(tmp_path / "repository")


@pytest.fixture
def reader(user: UserRepository) -> GitCommitReader:
    user.commit({"first": b"x"})
    return GitCommitReader(open_repository(user.root))


def test_strange_names_are_read_as_they_are(user: UserRepository, reader: GitCommitReader) -> None:
    for name in STRANGE:
        user.write(name, name)
    commit = user.commit()
    paths = [decode_path(name) for name in STRANGE]
    read = reader.read_files(commit, paths)
    assert {encode_path(path): state.content for path, state in read.items() if state} == {n: n for n in STRANGE}
    assert set(reader.list_files(commit)) == {"first", *paths}


def test_a_star_is_a_name_and_not_a_pattern(user: UserRepository, reader: GitCommitReader) -> None:
    commit = user.commit({"a.py": b"a"})
    assert reader.read_files(commit, ["*", "*.py"]) == {"*": None, "*.py": None}


def test_a_symlink_and_a_submodule_are_not_files(user: UserRepository, reader: GitCommitReader) -> None:
    (user.root / "link").symlink_to("first")
    user.git("add", "link")
    user.git("update-index", "--add", "--cacheinfo", f"160000,{user.head()},module")
    user.git("commit", "--quiet", "-m", "link and module")
    commit = user.head()
    for path in ("link", "module"):
        with pytest.raises(InvalidInput) as caught:
            reader.read_files(commit, [path])
        assert caught.value.code == "not-a-file"
    assert reader.read_files(commit, ["link/x", "module/x"]) == {"link/x": None, "module/x": None}


def test_many_files_are_read_at_once(user: UserRepository, reader: GitCommitReader) -> None:
    files = {f"d/{number:04d}": b"%d\n" % (number % 7) for number in range(350)}
    commit = user.commit(files)
    read = reader.read_files(commit, list(files))
    assert {path: state.content for path, state in read.items() if state} == files


def test_no_paths_are_no_files(user: UserRepository, reader: GitCommitReader) -> None:
    assert reader.read_files(user.head(), []) == {}


def test_a_file_beyond_the_limit_is_refused_before_it_is_read(user: UserRepository, reader: GitCommitReader) -> None:
    with (user.root / "huge").open("wb") as file:
        os.truncate(file.fileno(), MAX_FILE_BYTES + 1)
    commit = user.commit()
    with pytest.raises(InvalidInput) as caught:
        reader.read_files(commit, ["huge"])
    assert caught.value.code == "file-too-large"


@pytest.mark.parametrize("commit", ["HEAD", "--help", "main", "abc", "1" * 41, ""])
def test_only_a_full_id_is_taken_for_a_commit(reader: GitCommitReader, commit: str) -> None:
    with pytest.raises(InvalidInput):
        reader.list_files(CommitId(commit))


@pytest.mark.parametrize("word", ["", "a\nb", "x" * 501])
def test_what_cannot_be_a_revision_is_refused(reader: GitCommitReader, word: str) -> None:
    with pytest.raises(InvalidInput):
        reader.resolve(word)


@pytest.mark.parametrize("word", ["--all", "-h", "--output=x", "nowhere", "HEAD:first"])
def test_a_word_that_names_no_commit_is_not_found(reader: GitCommitReader, word: str) -> None:
    with pytest.raises(NotFound):
        reader.resolve(word)


def test_a_tag_is_resolved_to_its_commit(user: UserRepository, reader: GitCommitReader) -> None:
    user.git("tag", "-a", "v1", "-m", "one")
    assert reader.resolve("v1") == user.head()


def test_a_blob_that_is_gone_from_the_repository_is_not_found(user: UserRepository, reader: GitCommitReader) -> None:
    name = user.git("rev-parse", "HEAD:first").decode().strip()
    (user.root / ".git/objects" / name[:2] / name[2:]).unlink()
    with pytest.raises(NotFound):
        reader.read_files(user.head(), ["first"])
