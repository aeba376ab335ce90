"""What every repository obeys, real Git or in memory: the ports' contract, seen through the ports alone."""

from datetime import datetime, timedelta

import pytest
from repository_worlds import AFTER, AT, BASE, CHANGE, ID, PATHS, World, before, on_disk, state

from homeostat.core.errors import Conflict, InvalidInput, NotFound
from homeostat.core.ids import CommitId
from homeostat.model.change import TreeChange


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
