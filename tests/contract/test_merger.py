"""What every merger of commits obeys, in real Git or in memory."""

import pytest
from repository_worlds import AT, World, state

from homeostat.core.errors import Conflict
from homeostat.core.ids import CommitId
from homeostat.model.change import ChangeKind, FileChange, FileState, TreeChange
from homeostat.ports.repository import Merged

LINES = [b"one\n", b"two\n", b"three\n", b"four\n", b"five\n", b"six\n", b"seven\n", b"eight\n"]


def text(**changed: bytes) -> FileState:
    """The lines, with some of them changed by number: ``_2=b"..."``."""
    return state(b"".join(changed.get(f"_{number}", line) for number, line in enumerate(LINES, start=1)))


def applied(world: World, before: FileState | None, after: FileState | None) -> tuple[CommitId, TreeChange]:
    """Commit a change of one file, and return the commit with the change that takes it back."""
    world.user_commit({"other.py": state(b"x = 1\n"), **({"shop.py": before} if before else {})})
    kind = ChangeKind.CREATE if before is None else ChangeKind.DELETE if after is None else ChangeKind.MODIFY
    change = FileChange(kind=kind, path="shop.py", old_path="shop.py", before=before, after=after)
    return world.user_commit({"shop.py": after}), TreeChange(files=(change,)).inverse()


def take_back(world: World, commit: CommitId, back: TreeChange) -> Merged:
    head = world.reader.head()
    undone = world.deployed.prepare(parent=commit, change=back, message="back", at=AT)
    merged = world.merger.merge(into=head, other=undone)
    assert world.reader.head() == head, "nothing is moved"
    return merged


def changed_lines(merged: Merged) -> list[bytes]:
    lines = merged.diff.splitlines()
    return [line for line in lines if line[:1] in (b"+", b"-") and line[:3] not in (b"+++", b"---")]


def test_what_came_later_in_another_place_stays(world: World) -> None:
    commit, back = applied(world, text(), text(_2=b"TWO\n"))
    world.user_commit({"shop.py": text(_2=b"TWO\n", _8=b"EIGHT\n"), "other.py": state(b"x = 2\n")})
    on_disk = world.disk("shop.py")
    merged = take_back(world, commit, back)
    assert merged.conflicts == ()
    assert changed_lines(merged) == [b"-TWO", b"+two"]
    assert world.disk("shop.py") == on_disk


def test_what_came_later_in_the_same_place_is_a_conflict_with_both_sides(world: World) -> None:
    commit, back = applied(world, text(), text(_2=b"TWO\n"))
    world.user_commit({"shop.py": text(_2=b"2\n")})
    merged = take_back(world, commit, back)
    assert merged.conflicts == ("shop.py",)
    lines = changed_lines(merged)
    assert [line for line in lines if line.startswith((b"+<<<<<<<", b"+=======", b"+>>>>>>>"))]
    assert b"+two" in lines


def test_where_somebody_undid_it_already_nothing_is_left(world: World) -> None:
    commit, back = applied(world, text(), text(_2=b"TWO\n"))
    world.user_commit({"shop.py": text()})
    assert take_back(world, commit, back) == Merged(diff=b"", conflicts=())


def test_at_the_commit_itself_it_is_the_change_taken_back(world: World) -> None:
    commit, back = applied(world, text(), text(_2=b"TWO\n"))
    assert changed_lines(take_back(world, commit, back)) == [b"-TWO", b"+two"]


def test_a_file_that_it_made_goes_and_one_that_it_removed_comes_back(world: World) -> None:
    commit, back = applied(world, None, text())
    world.user_commit({"other.py": state(b"x = 2\n")})
    merged = take_back(world, commit, back)
    assert merged.conflicts == ()
    assert b"deleted file mode 100644" in merged.diff and len(changed_lines(merged)) == len(LINES)


def test_a_file_that_it_removed_comes_back(world: World) -> None:
    commit, back = applied(world, text(), None)
    world.user_commit({"other.py": state(b"x = 2\n")})
    merged = take_back(world, commit, back)
    assert merged.conflicts == ()
    assert b"new file mode 100644" in merged.diff and len(changed_lines(merged)) == len(LINES)


@pytest.mark.parametrize("later", [None, text(_2=b"TWO\n", _3=b"THREE\n")], ids=["removed", "edited"])
def test_a_file_that_was_edited_on_one_side_and_removed_on_the_other_is_a_conflict(
    world: World, later: FileState | None
) -> None:
    commit, back = applied(world, text() if later is None else None, text(_2=b"TWO\n"))
    world.user_commit({"shop.py": later})
    assert take_back(world, commit, back).conflicts == ("shop.py",)


def test_commits_without_a_common_one_are_refused(world: World) -> None:
    base = world.user_commit({"shop.py": text()})
    record = world.records.publish(files={"proposals/a.md": b"a"}, subject="a", trailers={"Ledger": "1:x"}, at=AT)
    with pytest.raises(Conflict) as caught:
        world.merger.merge(into=base, other=record)
    assert caught.value.code == "no-common-commit"
