"""A commit's files on disk, byte for byte, and nothing beside them."""

import os
from pathlib import Path

import pytest

from homeostat.adapters.git.checkout import write_checkout
from homeostat.core.errors import IntegrityFailure, InvalidInput, NotFound
from homeostat.testing.git_repository import UserRepository


@pytest.fixture
def user(tmp_path: Path) -> UserRepository:
    return UserRepository(tmp_path / "repository")


def hand_made_commit(user: UserRepository, tree: bytes) -> str:
    """Commit a tree object that git's own commands would refuse to make."""
    name = user.git("hash-object", "-t", "tree", "-w", "--literally", "--stdin", stdin=tree).decode().strip()
    return user.git("commit-tree", name, "-m", "x").decode().strip()


def entry(user: UserRepository, mode: str, name: bytes, content: bytes) -> bytes:
    blob = user.git("hash-object", "-w", "--stdin", stdin=content).decode().strip()
    return mode.encode() + b" " + name + b"\0" + bytes.fromhex(blob)


def test_bytes_are_those_of_the_commit_whatever_the_attributes_say(user: UserRepository, tmp_path: Path) -> None:
    """Line endings, ident, export rules and filters belong to a user's checkout, not to a proof."""
    files = {
        "unix.txt": b"a\nb\n",
        "id.txt": b"$Id$\n",
        "hidden.py": b"x\n",
        "big.bin": b"pointer\n",
    }
    commit = user.commit(files)
    attributes = "*.txt eol=crlf ident\nhidden.py export-ignore\nbig.bin filter=trap\n"
    (user.root / ".git/info").mkdir(exist_ok=True)
    (user.root / ".git/info/attributes").write_text(attributes)
    user.git("config", "filter.trap.smudge", f"touch {tmp_path / 'ran'}")
    write_checkout(user.root, commit, tmp_path / "out")
    assert {path: (tmp_path / "out" / path).read_bytes() for path in files} == files
    assert not (tmp_path / "ran").exists()
    assert {path.name for path in (tmp_path / "out").iterdir()} == set(files)


def test_modes_links_strange_names_and_empty_files_are_kept(user: UserRepository, tmp_path: Path) -> None:
    user.write(b"new\nline \xff", b"")
    user.write("run", b"#!/bin/sh\n", executable=True)
    (user.root / "inside").symlink_to("run")
    (user.root / "outside").symlink_to("/etc/hostname")
    commit = user.commit()
    out = tmp_path / "out"
    write_checkout(user.root, commit, out)
    assert (out / os.fsdecode(b"new\nline \xff")).read_bytes() == b""
    assert os.access(out / "run", os.X_OK)
    assert not (out / os.fsdecode(b"new\nline \xff")).stat().st_mode & 0o111
    assert (out / "inside").readlink() == Path("run")
    assert (out / "outside").readlink() == Path("/etc/hostname")


def test_a_submodule_is_an_empty_folder(user: UserRepository, tmp_path: Path) -> None:
    first = user.commit({"a": b"a"})
    user.git("update-index", "--add", "--cacheinfo", f"160000,{first},parts/module")
    user.git("commit", "--quiet", "-m", "module")
    write_checkout(user.root, user.head(), tmp_path / "out")
    assert list((tmp_path / "out/parts/module").iterdir()) == []


def test_many_files_come_through_whole(user: UserRepository, tmp_path: Path) -> None:
    """More than a pipe holds, in both directions."""
    files = {f"d{number % 10}/f{number}": os.urandom(number * 50) for number in range(600)}
    commit = user.commit(files)
    write_checkout(user.root, commit, tmp_path / "out")
    assert {path: (tmp_path / "out" / path).read_bytes() for path in files} == files


def test_a_folder_with_something_in_it_is_refused(user: UserRepository, tmp_path: Path) -> None:
    commit = user.commit({"a": b"a"})
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine").write_bytes(b"mine")
    with pytest.raises(InvalidInput):
        write_checkout(user.root, commit, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine"]


def test_a_commit_that_is_not_there_is_not_found(user: UserRepository, tmp_path: Path) -> None:
    user.commit({"a": b"a"})
    with pytest.raises(NotFound):
        write_checkout(user.root, "1" * 40, tmp_path / "out")


def test_a_blob_that_is_not_there_is_not_found(user: UserRepository, tmp_path: Path) -> None:
    commit = user.commit({"a": b"a", "b": b"b"})
    name = user.git("rev-parse", "HEAD:b").decode().strip()
    (user.root / ".git/objects" / name[:2] / name[2:]).unlink()
    with pytest.raises(NotFound):
        write_checkout(user.root, commit, tmp_path / "out")


@pytest.mark.parametrize("name", [b"..", b".git", b".GIT", b"."])
def test_a_forged_tree_cannot_write_outside_or_plant_a_repository(
    user: UserRepository, tmp_path: Path, name: bytes
) -> None:
    commit = hand_made_commit(user, entry(user, "100644", name, b"x"))
    with pytest.raises(IntegrityFailure):
        write_checkout(user.root, commit, tmp_path / "out")


def test_a_forged_tree_cannot_write_through_its_own_link(user: UserRepository, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    inner = user.git("mktree", stdin=b"100644 blob " + _blob(user) + b"\tplanted\n").decode().strip()
    link = entry(user, "120000", b"a", os.fsencode(outside))
    commit = hand_made_commit(user, link + b"40000 a\0" + bytes.fromhex(inner))
    with pytest.raises(IntegrityFailure):
        write_checkout(user.root, commit, tmp_path / "out")
    assert list(outside.iterdir()) == []


def test_a_forged_tree_that_names_a_path_twice_is_refused(user: UserRepository, tmp_path: Path) -> None:
    commit = hand_made_commit(user, entry(user, "100644", b"a", b"1") + entry(user, "100755", b"a", b"2"))
    with pytest.raises(IntegrityFailure):
        write_checkout(user.root, commit, tmp_path / "out")


def _blob(user: UserRepository) -> bytes:
    return user.git("hash-object", "-w", "--stdin", stdin=b"x").strip()
