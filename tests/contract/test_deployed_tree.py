"""What every deployed tree obeys: a change goes on and comes off as a whole, and the user's work stays."""

import pytest
from repository_worlds import AFTER, AT, BASE, CHANGE, PATHS, World, before, on_disk, state

from homeostat.core.errors import Conflict, InvalidInput
from homeostat.model.change import ChangeKind, FileChange, TreeChange
from homeostat.ports.repository import Drift


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
