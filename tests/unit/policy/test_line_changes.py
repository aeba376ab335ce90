import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeostat.policy.line_changes import line_changes

texts = st.lists(st.sampled_from(["", "a", "b", "c", "key", "  },"]) | st.text(max_size=3), max_size=40)


def changes(before: str, after: str) -> tuple[tuple[int, ...], int]:
    found = line_changes(before.split(), after.split())
    return found.added, found.removed


@pytest.mark.parametrize(
    ("before", "after", "added", "removed"),
    [
        ("", "", (), 0),
        ("a b c", "a b c", (), 0),
        ("a b c", "a x c", (1,), 1),
        ("a b c", "a b c d", (3,), 0),
        ("a b c", "b c", (), 1),
        ("a b c d", "c d a b", (0, 1), 2),
        ("x x x", "x x x x", (3,), 0),
        ("a x b x c", "a x x b x c", (2,), 0),
        # The end that both have in common ends where they differ.
        ("b c", "b b", (1,), 1),
        # What stands once on either side keeps its order, as much of it as can.
        ("x b c", "b", (), 2),
        ("a b", "b b a", (0, 1), 1),
        ("a b c", "b a c a", (1, 3), 1),
        ("a c a b", "c b a", (2,), 2),
        ("b c x a", "d b x", (0,), 2),
    ],
)
def test_what_is_new_and_how_much_is_gone_is_told(
    before: str, after: str, added: tuple[int, ...], removed: int
) -> None:
    assert changes(before, after) == (added, removed)


@given(before=texts, after=texts)
def test_a_line_that_stood_nowhere_before_is_always_found(before: list[str], after: list[str]) -> None:
    found = set(line_changes(before, after).added)
    assert {index for index, line in enumerate(after) if line not in before} <= found


@given(before=texts, after=texts)
def test_as_many_lines_are_kept_on_either_side_and_they_are_the_same(before: list[str], after: list[str]) -> None:
    found = line_changes(before, after)
    kept = [line for index, line in enumerate(after) if index not in set(found.added)]
    assert len(before) - found.removed == len(kept)
    assert not set(kept) - set(before)
    assert list(found.added) == sorted(set(found.added))


@given(text=texts)
def test_a_text_does_not_differ_from_itself(text: list[str]) -> None:
    found = line_changes(text, text)
    assert (found.added, found.removed) == ((), 0)


class Line(str):
    """A line that counts how often any of them is compared with another."""

    __slots__ = ()
    __hash__ = str.__hash__
    compared = 0

    def __eq__(self, other: object) -> bool:
        Line.compared += 1
        return str.__eq__(self, other)


def test_repeated_lines_chosen_by_a_stranger_do_not_keep_the_hub_busy() -> None:
    before = [Line(text) for text in ["  - a", "  - b"] * 2000]
    after = [Line(text) for text in ["  - a", "  - b", "  - c"] * 2000]
    Line.compared = 0

    found = line_changes(before, after)

    assert len(found.added) == 2000
    # Some few for each line; a difference that compares every line with every other needs 24 million.
    assert Line.compared < 10 * (len(before) + len(after))
