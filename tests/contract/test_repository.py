"""What every repository obeys, real Git or in memory: the ports' contract, seen through the ports alone."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from homeostat.adapters.backups import FolderBackupStore
from homeostat.adapters.git.candidate import GitCandidateBranch
from homeostat.adapters.git.deployed import GitDeployedTree
from homeostat.adapters.git.reader import GitCommitReader
from homeostat.adapters.git.records import GitRecordBranch
from homeostat.adapters.git.repository import open_repository
from homeostat.core.errors import Conflict, InvalidInput, NotFound
from homeostat.core.ids import CommitId, ProposalId
from homeostat.model.change import EXECUTABLE, REGULAR, ChangeKind, FileChange, FileMode, FileState, TreeChange
from homeostat.ports.repository import (
    BackupStore,
    CandidateBranch,
    CommitReader,
    DeployedTree,
    Drift,
    RecordBranch,
)
from homeostat.testing.git_repository import UserRepository
from homeostat.testing.memory_repository import (
    MemoryBackupStore,
    MemoryCandidateBranch,
    MemoryCommitReader,
    MemoryDeployedTree,
    MemoryRecordBranch,
    MemoryRepository,
)

AT = datetime(2026, 1, 10, 14, 32, tzinfo=UTC)
ID = ProposalId("0b0e7a4c-8f6e-4a5e-9d8f-0123456789ab")
ABSENT = CommitId("1" * 40)


def state(content: bytes, mode: FileMode = REGULAR) -> FileState:
    return FileState(content=content, mode=mode)


@dataclass(frozen=True, kw_only=True)
class World:
    """The ports, and what the user may do beside them."""

    reader: CommitReader
    candidates: CandidateBranch
    records: RecordBranch
    deployed: DeployedTree
    backups: BackupStore
    user_commit: Callable[[Mapping[str, FileState | None]], CommitId]
    user_edit: Callable[[str, bytes | None], None]
    user_stage: Callable[[str], None]
    disk: Callable[[str], FileState | None]


def memory_world() -> World:
    repository = MemoryRepository()

    def edit(path: str, content: bytes | None) -> None:
        if content is None:
            repository.disk.pop(path)
        else:
            repository.disk[path] = state(content)

    return World(
        reader=MemoryCommitReader(repository),
        candidates=MemoryCandidateBranch(repository),
        records=MemoryRecordBranch(repository),
        deployed=MemoryDeployedTree(repository),
        backups=MemoryBackupStore(),
        user_commit=lambda files: repository.user_commit(files, at=AT),
        user_edit=edit,
        user_stage=lambda path: repository.index.__setitem__(path, repository.disk[path]),
        disk=lambda path: repository.disk.get(path),
    )


def git_world(root: Path, object_format: str) -> World:
    user = UserRepository(root / "repository", object_format=object_format)

    def commit(files: Mapping[str, FileState | None]) -> CommitId:
        for path, item in files.items():
            if item is None:
                (user.root / path).unlink()
            else:
                user.write(path, item.content, executable=item.mode == EXECUTABLE)
        return user.commit()

    def edit(path: str, content: bytes | None) -> None:
        if content is None:
            (user.root / path).unlink()
        else:
            user.write(path, content)

    def disk(path: str) -> FileState | None:
        place = user.root / path
        if not place.is_file():
            return None
        return state(place.read_bytes(), EXECUTABLE if place.stat().st_mode & 0o100 else REGULAR)

    repository = open_repository(user.root)
    return World(
        reader=GitCommitReader(repository),
        candidates=GitCandidateBranch(repository),
        records=GitRecordBranch(repository),
        deployed=GitDeployedTree(repository),
        backups=FolderBackupStore(root / "backups"),
        user_commit=commit,
        user_edit=edit,
        user_stage=lambda path: user.git("add", "--", path) and None,
        disk=disk,
    )


@pytest.fixture(params=["memory", "git-sha1", "git-sha256"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    kind = str(request.param)
    return memory_world() if kind == "memory" else git_world(tmp_path, kind.removeprefix("git-"))


BASE = {
    "app/orders.py": state(b"def total():\n    return 1\n"),
    "app/tool": state(b"#!/bin/sh\n", EXECUTABLE),
    "app/old.py": state(b"old = True\n"),
    "gone/last.py": state(b"x = 1\n"),
    "README": state(b"orders\n"),
}
CHANGE = TreeChange(
    files=(
        FileChange(
            kind=ChangeKind.MODIFY,
            path="app/orders.py",
            old_path="app/orders.py",
            before=BASE["app/orders.py"],
            after=state(b"def total():\n    return 2\n"),
        ),
        FileChange(
            kind=ChangeKind.MODIFY,
            path="app/tool",
            old_path="app/tool",
            before=BASE["app/tool"],
            after=state(b"#!/bin/sh\n", REGULAR),
        ),
        FileChange(
            kind=ChangeKind.RENAME,
            path="app/new.py",
            old_path="app/old.py",
            before=BASE["app/old.py"],
            after=state(b"new = True\n", EXECUTABLE),
        ),
        FileChange(
            kind=ChangeKind.DELETE,
            path="gone/last.py",
            old_path="gone/last.py",
            before=BASE["gone/last.py"],
            after=None,
        ),
        FileChange(
            kind=ChangeKind.CREATE,
            path="fresh/deep/made.py",
            old_path="fresh/deep/made.py",
            before=None,
            after=state(b"made = True\r\n\xff\x00"),
        ),
    )
)
AFTER: dict[str, FileState | None] = {
    "app/orders.py": state(b"def total():\n    return 2\n"),
    "app/tool": state(b"#!/bin/sh\n"),
    "app/old.py": None,
    "app/new.py": state(b"new = True\n", EXECUTABLE),
    "gone/last.py": None,
    "fresh/deep/made.py": state(b"made = True\r\n\xff\x00"),
}
PATHS = sorted(AFTER)


def on_disk(world: World) -> dict[str, FileState | None]:
    return {path: world.disk(path) for path in PATHS}


def before() -> dict[str, FileState | None]:
    return {path: BASE.get(path) for path in PATHS}


def test_files_are_read_with_bytes_and_mode_and_none_where_there_is_none(world: World) -> None:
    base = world.user_commit(BASE)
    read = world.reader.read_files(base, ["app/tool", "nowhere.py", "app/orders.py"])
    assert read == {"app/tool": BASE["app/tool"], "nowhere.py": None, "app/orders.py": BASE["app/orders.py"]}
    assert list(world.reader.list_files(base)) == sorted(BASE)


def test_a_folder_in_the_place_of_a_file_is_refused(world: World) -> None:
    base = world.user_commit(BASE)
    with pytest.raises(InvalidInput) as caught:
        world.reader.read_files(base, ["app"])
    assert caught.value.code == "not-a-file"


@pytest.mark.parametrize("path", ["", "/etc/passwd", "../out", "app/../../out", "app//x", ".git/config", "a\0b", "a/."])
def test_a_path_outside_the_tree_is_refused(world: World, path: str) -> None:
    base = world.user_commit(BASE)
    with pytest.raises(InvalidInput):
        world.reader.read_files(base, [path])


def test_a_commit_that_is_not_there_is_not_found(world: World) -> None:
    world.user_commit(BASE)
    absent = CommitId("1" * len(world.reader.head()))
    for ask in (
        lambda: world.reader.read_files(absent, ["README"]),
        lambda: world.reader.list_files(absent),
        lambda: world.reader.is_ancestor(absent, world.reader.head()),
        lambda: world.reader.resolve("no-such-word"),
    ):
        with pytest.raises(NotFound):
            ask()


def test_words_for_a_commit_are_resolved(world: World) -> None:
    first = world.user_commit(BASE)
    second = world.user_commit({"README": state(b"more\n")})
    assert world.reader.head() == second
    assert world.reader.resolve("HEAD") == second
    assert world.reader.resolve(world.reader.deployed_branch()) == second
    assert world.reader.resolve(first[:10]) == first
    assert world.reader.is_ancestor(first, second)
    assert world.reader.is_ancestor(second, second)
    assert not world.reader.is_ancestor(second, first)


def test_a_candidate_has_the_same_id_for_the_same_arguments_and_another_for_others(world: World) -> None:
    base = world.user_commit(BASE)

    def make(message: str = "try", at: datetime = AT) -> CommitId:
        return world.candidates.commit(proposal_id=ID, base=base, change=CHANGE, message=message, at=at)

    first = make()
    assert make() == first
    assert make(message="other") != first
    assert make(at=AT + timedelta(seconds=1)) != first
    assert world.reader.read_files(first, PATHS) == AFTER
    assert world.reader.head() == base
    assert on_disk(world) == before()


def test_a_candidate_branch_is_removed_and_removing_it_again_is_quiet(world: World) -> None:
    base = world.user_commit(BASE)
    world.candidates.commit(proposal_id=ID, base=base, change=CHANGE, message="try", at=AT)
    assert world.reader.resolve(f"homeostat/proposal-{ID}")
    assert list(world.candidates.proposals()) == [ID]
    world.candidates.delete(ID)
    world.candidates.delete(ID)
    assert list(world.candidates.proposals()) == []
    with pytest.raises(NotFound):
        world.reader.resolve(f"homeostat/proposal-{ID}")


def test_a_change_made_for_another_base_is_never_put_on_this_one(world: World) -> None:
    world.user_commit(BASE)
    moved = world.user_commit({"app/orders.py": state(b"other\n")})
    with pytest.raises(Conflict) as caught:
        world.candidates.commit(proposal_id=ID, base=moved, change=CHANGE, message="try", at=AT)
    assert caught.value.code == "base-differs"
    with pytest.raises(Conflict):
        world.deployed.prepare(parent=moved, change=CHANGE, message="apply", at=AT)


def test_an_empty_change_is_refused(world: World) -> None:
    base = world.user_commit(BASE)
    with pytest.raises(InvalidInput):
        world.deployed.prepare(parent=base, change=TreeChange(files=()), message="nothing", at=AT)


def test_records_grow_on_a_branch_of_their_own(world: World) -> None:
    base = world.user_commit(BASE)
    assert world.records.read("proposals/index.md") is None
    assert list(world.records.trailers("Ledger")) == []
    first = world.records.publish(
        files={"proposals/index.md": b"one", "proposals/a.md": b"a"}, subject="a", trailers={"Ledger": "1:x"}, at=AT
    )
    second = world.records.publish(
        files={"proposals/index.md": b"two"}, subject="b", trailers={"Ledger": "2:y", "Other": "z"}, at=AT
    )
    assert world.records.read("proposals/index.md") == b"two"
    assert world.records.read("proposals/a.md") == b"a"
    assert world.records.read("proposals/none.md") is None
    assert list(world.records.trailers("Ledger")) == [(second, "2:y"), (first, "1:x")]
    assert list(world.records.trailers("Other")) == [(second, "z")]
    assert not world.reader.is_ancestor(base, second)
    assert world.reader.head() == base


def test_publishing_the_same_again_makes_no_second_commit(world: World) -> None:
    world.user_commit(BASE)

    def publish(ledger: str) -> CommitId:
        return world.records.publish(files={"proposals/a.md": b"a"}, subject="a", trailers={"Ledger": ledger}, at=AT)

    assert publish("1:x") == publish("1:x")
    assert publish("1:x") != publish("2:x")


def test_a_title_cannot_forge_a_trailer(world: World) -> None:
    world.user_commit(BASE)
    world.records.publish(
        files={"proposals/a.md": b"a"}, subject="Harmless\n\nLedger: 9:forged", trailers={"Ledger": "1:x"}, at=AT
    )
    assert [value for _, value in world.records.trailers("Ledger")] == ["1:x"]


@pytest.mark.parametrize("trailers", [{"Ledger": "1\nLedger: 2"}, {"Bad key": "x"}, {"Ledger": ""}, {"": "x"}])
def test_a_trailer_of_more_than_one_plain_line_is_refused(world: World, trailers: dict[str, str]) -> None:
    world.user_commit(BASE)
    with pytest.raises(InvalidInput):
        world.records.publish(files={"proposals/a.md": b"a"}, subject="a", trailers=trailers, at=AT)


def test_advance_moves_branch_and_files_and_retreat_puts_every_byte_back(world: World) -> None:
    base = world.user_commit(BASE)
    commit = world.deployed.prepare(parent=base, change=CHANGE, message="apply", at=AT)
    assert world.reader.head() == base
    assert list(world.deployed.drift(CHANGE)) == []
    world.deployed.advance(expected=base, commit=commit, change=CHANGE)
    assert world.reader.head() == commit
    assert on_disk(world) == AFTER
    assert world.disk("README") == BASE["README"]
    assert list(world.deployed.drift(CHANGE.inverse())) == []
    assert {item.path for item in world.deployed.drift(CHANGE)} == set(PATHS)
    world.deployed.retreat(expected=base, commit=commit, change=CHANGE)
    assert world.reader.head() == base
    assert on_disk(world) == before()
    assert list(world.deployed.drift(CHANGE)) == []


def test_files_of_one_name_in_several_folders_go_back_each_to_its_own_place(world: World) -> None:
    files = {path: state(f"{path} = 1\n".encode()) for path in ("conf.py", "app/conf.py", "app-old/conf.py")}
    touched = ("app/conf.py", "app-old/conf.py")
    changes = [
        FileChange(kind=ChangeKind.MODIFY, path=path, old_path=path, before=files[path], after=state(path.encode()))
        for path in touched
    ]
    made = FileChange(
        kind=ChangeKind.CREATE, path="fresh/conf.py", old_path="fresh/conf.py", before=None, after=state(b"new\n")
    )
    change = TreeChange(files=(*changes, made))
    base = world.user_commit(files)
    world.backups.save(name="2026-01-10/x", change=change, facts={})
    commit = world.deployed.prepare(parent=base, change=change, message="apply", at=AT)
    world.deployed.advance(expected=base, commit=commit, change=change)
    assert [world.disk(path) for path in touched] == [state(path.encode()) for path in touched]
    kept = world.backups.load("2026-01-10/x")
    world.deployed.retreat(expected=base, commit=commit, change=kept)
    assert {path: world.disk(path) for path in files} == files
    assert world.disk("fresh/conf.py") is None


def test_advance_and_retreat_asked_twice_answer_as_the_first_time(world: World) -> None:
    base = world.user_commit(BASE)
    commit = world.deployed.prepare(parent=base, change=CHANGE, message="apply", at=AT)
    assert world.deployed.prepare(parent=base, change=CHANGE, message="apply", at=AT) == commit
    for _ in range(2):
        world.deployed.advance(expected=base, commit=commit, change=CHANGE)
        assert on_disk(world) == AFTER
    for _ in range(2):
        world.deployed.retreat(expected=base, commit=commit, change=CHANGE)
        assert on_disk(world) == before()


def test_a_dirty_touched_file_is_named_and_nothing_is_changed(world: World) -> None:
    base = world.user_commit(BASE)
    commit = world.deployed.prepare(parent=base, change=CHANGE, message="apply", at=AT)
    world.user_edit("app/orders.py", b"my own work\n")
    assert list(world.deployed.drift(CHANGE)) == [Drift(path="app/orders.py", problem="modified")]
    with pytest.raises(Conflict) as caught:
        world.deployed.advance(expected=base, commit=commit, change=CHANGE)
    assert caught.value.code == "dirty-files"
    assert caught.value.facts["paths"] == "app/orders.py"
    assert world.reader.head() == base
    assert on_disk(world) == {**before(), "app/orders.py": state(b"my own work\n")}


def test_every_kind_of_drift_has_its_word(world: World) -> None:
    world.user_commit(BASE)
    world.user_edit("app/orders.py", b"mine\n")
    world.user_edit("gone/last.py", None)
    world.user_edit("fresh/deep/made.py", b"already here\n")
    world.user_edit("app/old.py", b"staged\n")
    world.user_stage("app/old.py")
    world.user_edit("app/old.py", BASE["app/old.py"].content)
    assert {item.path: item.problem for item in world.deployed.drift(CHANGE)} == {
        "app/orders.py": "modified",
        "gone/last.py": "missing",
        "fresh/deep/made.py": "unexpected",
        "app/old.py": "staged",
    }


def test_other_dirty_files_stay_as_they_are(world: World) -> None:
    base = world.user_commit(BASE)
    commit = world.deployed.prepare(parent=base, change=CHANGE, message="apply", at=AT)
    world.user_edit("README", b"half-written\n")
    world.user_edit("notes.txt", b"untracked\n")
    world.deployed.advance(expected=base, commit=commit, change=CHANGE)
    world.deployed.retreat(expected=base, commit=commit, change=CHANGE)
    assert world.disk("README") == state(b"half-written\n")
    assert world.disk("notes.txt") == state(b"untracked\n")


def test_a_branch_that_moved_is_a_conflict_and_stays_where_it_is(world: World) -> None:
    base = world.user_commit(BASE)
    commit = world.deployed.prepare(parent=base, change=CHANGE, message="apply", at=AT)
    moved = world.user_commit({"README": state(b"meanwhile\n")})
    with pytest.raises(Conflict) as caught:
        world.deployed.advance(expected=base, commit=commit, change=CHANGE)
    assert caught.value.code == "base-moved"
    assert world.reader.head() == moved
    assert on_disk(world) == before()


def test_work_on_top_of_the_change_counts_as_done_for_advance_and_is_a_conflict_for_retreat(world: World) -> None:
    base = world.user_commit(BASE)
    commit = world.deployed.prepare(parent=base, change=CHANGE, message="apply", at=AT)
    world.deployed.advance(expected=base, commit=commit, change=CHANGE)
    on_top = world.user_commit({"README": state(b"on top\n")})
    world.deployed.advance(expected=base, commit=commit, change=CHANGE)
    with pytest.raises(Conflict) as caught:
        world.deployed.retreat(expected=base, commit=commit, change=CHANGE)
    assert caught.value.code == "base-moved"
    assert world.reader.head() == on_top
    assert on_disk(world) == AFTER


def test_there_is_nothing_to_retreat_from_where_the_change_never_was(world: World) -> None:
    base = world.user_commit(BASE)
    commit = world.deployed.prepare(parent=base, change=CHANGE, message="apply", at=AT)
    world.deployed.retreat(expected=base, commit=commit, change=CHANGE)
    moved = world.user_commit({"README": state(b"meanwhile\n")})
    world.deployed.retreat(expected=base, commit=commit, change=CHANGE)
    assert world.reader.head() == moved
    assert on_disk(world) == before()


def test_a_users_edit_made_after_a_finished_advance_is_left_alone(world: World) -> None:
    base = world.user_commit(BASE)
    commit = world.deployed.prepare(parent=base, change=CHANGE, message="apply", at=AT)
    world.deployed.advance(expected=base, commit=commit, change=CHANGE)
    world.user_edit("app/orders.py", b"going on from there\n")
    world.deployed.advance(expected=base, commit=commit, change=CHANGE)
    assert world.disk("app/orders.py") == state(b"going on from there\n")
    with pytest.raises(Conflict):
        world.deployed.retreat(expected=base, commit=commit, change=CHANGE)
    assert world.disk("app/orders.py") == state(b"going on from there\n")


def test_a_commit_that_is_not_the_change_is_refused(world: World) -> None:
    base = world.user_commit(BASE)
    commit = world.deployed.prepare(parent=base, change=CHANGE, message="apply", at=AT)
    other = TreeChange(files=CHANGE.files[:1])
    with pytest.raises(InvalidInput) as caught:
        world.deployed.advance(expected=base, commit=commit, change=other)
    assert caught.value.code == "commit-differs"
    assert on_disk(world) == before()


def test_two_files_may_exchange_their_names(world: World) -> None:
    one, two = state(b"one\n"), state(b"two\n")
    base = world.user_commit({"a.py": one, "b.py": two})
    change = TreeChange(
        files=(
            FileChange(kind=ChangeKind.RENAME, path="b.py", old_path="a.py", before=one, after=one),
            FileChange(kind=ChangeKind.RENAME, path="a.py", old_path="b.py", before=two, after=two),
        )
    )
    commit = world.deployed.prepare(parent=base, change=change, message="swap", at=AT)
    world.deployed.advance(expected=base, commit=commit, change=change)
    assert (world.disk("a.py"), world.disk("b.py")) == (two, one)
    world.deployed.retreat(expected=base, commit=commit, change=change)
    assert (world.disk("a.py"), world.disk("b.py")) == (one, two)


@pytest.mark.parametrize("path", [".gitattributes", "app/.gitattributes"])
def test_a_change_of_how_git_writes_files_is_refused(world: World, path: str) -> None:
    base = world.user_commit(BASE)
    change = TreeChange(
        files=(FileChange(kind=ChangeKind.CREATE, path=path, old_path=path, before=None, after=state(b"* -text\n")),)
    )
    with pytest.raises(InvalidInput) as caught:
        world.deployed.prepare(parent=base, change=change, message="x", at=AT)
    assert caught.value.code == "unsupported-change"


def test_a_file_that_becomes_a_folder_is_refused(world: World) -> None:
    base = world.user_commit(BASE)
    before_state = BASE["README"]
    change = TreeChange(
        files=(
            FileChange(
                kind=ChangeKind.RENAME, path="README/x", old_path="README", before=before_state, after=before_state
            ),
        )
    )
    for asked in (change, change.inverse()):
        with pytest.raises(InvalidInput):
            world.deployed.prepare(parent=base, change=asked, message="x", at=AT)


def test_a_snapshot_gives_back_the_whole_change(world: World) -> None:
    name = f"20260110T143200Z/{ID}"
    world.backups.save(name=name, change=CHANGE, facts={"commit": "abc"})
    world.backups.save(name=name, change=CHANGE, facts={"commit": "abc"})
    assert world.backups.load(name) == CHANGE
    with pytest.raises(Conflict):
        world.backups.save(name=name, change=CHANGE.inverse(), facts={"commit": "abc"})
    assert world.backups.load(name) == CHANGE
    with pytest.raises(NotFound):
        world.backups.load(f"20260110T143201Z/{ID}")
