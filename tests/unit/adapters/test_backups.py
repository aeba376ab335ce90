"""Snapshots: whole or not at all, byte for byte, and every altered byte is found."""

import json
import os
import resource
import stat
from pathlib import Path

import pytest
from builders import create, delete, modify, rename, state, tree

from homeostat.adapters.backups import FolderBackupStore
from homeostat.core.errors import Conflict, IntegrityFailure, InvalidInput, NotFound, Unavailable
from homeostat.model.change import EXECUTABLE, ChangeKind, FileChange, FileState, TreeChange

NAME = "20260110T143200Z/0b0e7a4c-8f6e-4a5e-9d8f-0123456789ab"
CHANGE = tree(
    FileChange(
        kind=ChangeKind.MODIFY,
        path="a/same.py",
        old_path="a/same.py",
        before=FileState(content=b"\x00\xff\r\n", mode=EXECUTABLE),
        after=state(b""),
    ),
    modify("b/same.py", "one\n", "two\n"),
    create("new file é.py", b"n\n"),
    delete("gone.py", "g\n"),
    rename("old.py", "moved.py", "o\n", "m\n"),
    create("bytes-\udcff.py", b"not UTF-8\n"),
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "backups"


@pytest.fixture
def store(root: Path) -> FolderBackupStore:
    return FolderBackupStore(root)


def saved(store: FolderBackupStore, name: str = NAME, change: TreeChange = CHANGE) -> None:
    store.save(name=name, change=change, facts={"commit": "abc", "plan": "p"})


def test_a_snapshot_gives_back_every_byte_mode_and_path(store: FolderBackupStore, root: Path) -> None:
    saved(store)
    assert FolderBackupStore(root).load(NAME) == CHANGE
    assert store.facts(NAME) == {"commit": "abc", "plan": "p"}


def test_the_manifest_can_be_read_by_a_person_with_no_tool_of_ours(store: FolderBackupStore, root: Path) -> None:
    saved(store)
    manifest = json.loads((root / NAME / "manifest.json").read_bytes())
    entry = manifest["files"][1]
    assert (entry["kind"], entry["path"], entry["before"]["mode"]) == ("modify", "b/same.py", "100644")
    assert (root / NAME / entry["before"]["file"]).read_bytes() == b"one\n"
    assert (root / NAME / entry["after"]["file"]).read_bytes() == b"two\n"
    assert manifest["files"][2]["path"] == "new%20file%20%C3%A9.py"


def test_nobody_else_may_read_a_snapshot(store: FolderBackupStore, root: Path) -> None:
    saved(store)
    for place in [root, *root.rglob("*")]:
        assert stat.S_IMODE(place.stat().st_mode) == (0o700 if place.is_dir() else 0o600)


def test_the_same_again_is_quiet_and_anything_else_a_conflict(store: FolderBackupStore) -> None:
    saved(store)
    digest = store.digest(NAME)
    saved(store)
    assert store.digest(NAME) == digest
    with pytest.raises(Conflict):
        saved(store, change=CHANGE.inverse())
    with pytest.raises(Conflict):
        store.save(name=NAME, change=CHANGE, facts={})
    assert store.load(NAME) == CHANGE


def test_a_snapshot_that_was_never_made_is_not_found(store: FolderBackupStore) -> None:
    for ask in (store.load, store.facts, store.digest):
        with pytest.raises(NotFound):
            ask(NAME)


@pytest.mark.parametrize(
    "name",
    ["", "/etc", "../x", "a/../b", "a//b", ".hidden", "a/.b", "a/b/c/d", "a\nb", "a b", "é", "x" * 101, "a/", "a\0"],
)
def test_a_name_that_could_lead_elsewhere_is_refused(store: FolderBackupStore, root: Path, name: str) -> None:
    for ask in (lambda: saved(store, name=name), lambda: store.load(name)):
        with pytest.raises(InvalidInput):
            ask()
    assert not root.exists()


def _files(root: Path) -> list[Path]:
    return sorted(path for path in (root / NAME).rglob("*") if path.is_file())


def test_every_altered_byte_is_found(store: FolderBackupStore, root: Path) -> None:
    saved(store)
    for path in _files(root):
        whole = path.read_bytes()
        for altered in (whole + b" ", whole[:-1] + bytes([whole[-1] ^ 1]) if whole else b"x"):
            path.write_bytes(altered)
            with pytest.raises(IntegrityFailure) as caught:
                store.load(NAME)
            assert caught.value.code == "backup-damaged"
        path.write_bytes(whole)
    assert store.load(NAME) == CHANGE


def test_every_missing_file_is_found(store: FolderBackupStore, root: Path) -> None:
    saved(store)
    for path in _files(root):
        whole = path.read_bytes()
        path.unlink()
        with pytest.raises(IntegrityFailure):
            store.load(NAME)
        path.write_bytes(whole)


@pytest.mark.parametrize(
    "manifest",
    [b"", b"[]", b"null", b"{}", b"\xff", b'{"digest":1}', b'{"digest":"x","files":1.5}', b"[" * 100_000, b'"text"'],
)
def test_a_manifest_that_is_none_is_damage_and_not_a_crash(
    store: FolderBackupStore, root: Path, manifest: bytes
) -> None:
    saved(store)
    (root / NAME / "manifest.json").write_bytes(manifest)
    for ask in (store.load, store.facts):
        with pytest.raises(IntegrityFailure):
            ask(NAME)


@pytest.mark.parametrize("key", ["format", "files"])
def test_a_manifest_of_another_form_is_refused_even_with_a_right_digest(
    store: FolderBackupStore, root: Path, key: str
) -> None:
    from homeostat.core import canonical_json
    from homeostat.core.digests import digest_bytes

    saved(store)
    path = root / NAME / "manifest.json"
    body = {name: value for name, value in json.loads(path.read_bytes()).items() if name != "digest"}
    if key == "format":
        body["format"] = 2
    else:
        body["files"][0]["before"]["file"] = "../../../../etc/passwd"
    path.write_bytes(canonical_json.encode({**body, "digest": digest_bytes(canonical_json.encode(body))}))
    with pytest.raises(IntegrityFailure):
        store.load(NAME)


def test_damage_is_found_before_a_snapshot_is_taken_for_the_same(store: FolderBackupStore, root: Path) -> None:
    saved(store)
    (root / NAME / "before/0001").write_bytes(b"ONE\n")
    with pytest.raises(IntegrityFailure):
        saved(store)


@pytest.mark.parametrize("limit", [3, 400])
def test_a_full_disk_leaves_no_snapshot_and_the_next_try_succeeds(
    store: FolderBackupStore, root: Path, limit: int
) -> None:
    """First a file hits the limit, then the manifest does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        with pytest.raises(Unavailable) as caught:
            saved(store)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.code == "backup-failed"
    assert [path for path in root.rglob("*") if path.is_file()] == []
    with pytest.raises(NotFound):
        store.load(NAME)
    saved(store)
    assert store.load(NAME) == CHANGE


def test_what_a_process_that_died_left_behind_is_no_snapshot_and_is_cleared(
    store: FolderBackupStore, root: Path
) -> None:
    folder = root / NAME
    left = folder.parent / f".{folder.name}.dead"
    (left / "before").mkdir(parents=True)
    (left / "before/0000").write_bytes(b"half")
    with pytest.raises(NotFound):
        store.load(NAME)
    saved(store)
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_processes_that_save_the_same_at_once_all_succeed(store: FolderBackupStore, root: Path) -> None:
    children = []
    for _ in range(6):
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                saved(store)
                code = 0
            finally:
                os._exit(code)
        children.append(pid)
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children] == [0] * 6
    assert store.load(NAME) == CHANGE
    assert [path.name for path in (root / NAME).parent.iterdir()] == [NAME.rpartition("/")[2]]
