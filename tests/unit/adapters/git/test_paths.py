"""A change seen path by path, and the paths that are no paths."""

import pytest
from builders import create, delete, modify, rename, state, tree
from hypothesis import given
from hypothesis import strategies as st

from homeostat.adapters.git.paths import Sides, check_deployable, check_path, decode_path, encode_path, sides_of
from homeostat.core.errors import InvalidInput
from homeostat.model.change import ChangeKind, FileChange, FileMode, FileState


@given(st.binary(min_size=1, max_size=50).filter(lambda raw: b"\0" not in raw))
def test_any_bytes_of_a_name_survive_being_text(raw: bytes) -> None:
    assert encode_path(decode_path(raw)) == raw


@pytest.mark.parametrize("path", ["a", "a/b", "..a", "a..", ".gitignore", ".github/x", "a/.gitkeep", "-n", "a b", "é"])
def test_ordinary_paths_are_taken(path: str) -> None:
    check_path(path)


@pytest.mark.parametrize(
    "path",
    ["", "/", "a/", "/a", "a//b", ".", "..", "a/..", "./a", ".git", ".git/hooks/x", "a/.GiT/x", "a\0", "x" * 256],
)
def test_paths_that_lead_elsewhere_are_refused(path: str) -> None:
    with pytest.raises(InvalidInput):
        check_path(path)


def test_each_touched_path_has_its_two_sides() -> None:
    change = tree(modify("m", "1", "2"), create("c", "3"), delete("d", "4"), rename("o", "n", "5", "6"))
    assert dict(sides_of(change)) == {
        "c": Sides(before=None, after=state("3")),
        "d": Sides(before=state("4"), after=None),
        "m": Sides(before=state("1"), after=state("2")),
        "n": Sides(before=None, after=state("6")),
        "o": Sides(before=state("5"), after=None),
    }


def test_a_chain_of_renames_is_seen_through() -> None:
    change = tree(rename("a", "b", "1"), rename("b", "c", "2"))
    assert dict(sides_of(change)) == {
        "a": Sides(before=state("1"), after=None),
        "b": Sides(before=state("2"), after=state("1")),
        "c": Sides(before=None, after=state("2")),
    }
    back = sides_of(change.inverse())
    assert all(back[path] == Sides(before=item.after, after=item.before) for path, item in sides_of(change).items())


def test_a_path_named_twice_is_refused() -> None:
    for files in (
        (create("a", "1"), create("a", "2")),
        (modify("a", "1", "2"), modify("a", "1", "3")),
        (rename("a", "b", "1"), modify("a", "1", "2")),
    ):
        with pytest.raises(InvalidInput):
            sides_of(tree(*files))


def test_a_mode_that_no_file_has_is_refused() -> None:
    link = FileState(content=b"/etc/passwd", mode=FileMode(0o120000))
    with pytest.raises(InvalidInput):
        sides_of(tree(FileChange(kind=ChangeKind.CREATE, path="a", old_path="a", before=None, after=link)))


def test_a_file_may_not_become_a_folder_in_one_change() -> None:
    for change in (
        tree(rename("a", "a/b", "1")),
        tree(rename("a/b/c", "a", "1")),
        tree(delete("a", "1"), create("a/b", "2")),
    ):
        with pytest.raises(InvalidInput):
            check_deployable(sides_of(change))
    check_deployable(sides_of(tree(rename("a/b", "a/c", "1"), create("a/d/e", "2"))))
