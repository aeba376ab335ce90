"""Which lines of a file are new, and how many go: in time that grows with the files, whatever is in them.

The textbook difference of two texts takes quadratic time and worse where lines repeat, and both texts
are of a stranger's choosing. Here the lines that occur once on either side are matched first, in their
longest common order; between two of them a line counts as new when it occurs more often after than
before. A line whose text stands nowhere between the same neighbours before is always found.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class LineChanges:
    """How a text differs from the one before."""

    added: tuple[int, ...]
    """Indices, from 0, of the lines of the new text that are new or stand elsewhere; ascending."""

    removed: int
    """How many lines of the old text are gone or stand elsewhere."""


def line_changes(before: Sequence[str], after: Sequence[str]) -> LineChanges:
    """Compare two texts line by line, in O(n log n) steps. Lines that are kept keep their order."""
    added: list[int] = []
    removed = 0
    for old, new in _gaps(before, after):
        left = Counter(before[index] for index in old)
        for index in new:
            if left[after[index]] > 0:
                left[after[index]] -= 1
            else:
                added.append(index)
        removed += left.total()
    return LineChanges(added=tuple(added), removed=removed)


def _gaps(before: Sequence[str], after: Sequence[str]) -> Iterator[tuple[range, range]]:
    """Yield what lies between matched lines, as index ranges of both sides, in order."""
    whole = _trimmed(before, after, range(len(before)), range(len(after)))
    old_at, new_at = whole[0].start, whole[1].start
    for old_index, new_index in _anchors(before, after, *whole):
        yield _trimmed(before, after, range(old_at, old_index), range(new_at, new_index))
        old_at, new_at = old_index + 1, new_index + 1
    yield _trimmed(before, after, range(old_at, whole[0].stop), range(new_at, whole[1].stop))


def _trimmed(before: Sequence[str], after: Sequence[str], old: range, new: range) -> tuple[range, range]:
    """Leave out the lines that both ranges begin and end with."""
    (first, last), (new_first, new_last) = (old.start, old.stop), (new.start, new.stop)
    while first < last and new_first < new_last and before[first] == after[new_first]:
        first, new_first = first + 1, new_first + 1
    while first < last and new_first < new_last and before[last - 1] == after[new_last - 1]:
        last, new_last = last - 1, new_last - 1
    return range(first, last), range(new_first, new_last)


def _anchors(before: Sequence[str], after: Sequence[str], old: range, new: range) -> list[tuple[int, int]]:
    """Pair the lines that occur once on each side, as many as keep their order on both."""
    places = _once(before, old)
    pairs = [
        (places[line], index)
        for line, index in sorted(_once(after, new).items(), key=lambda item: item[1])
        if line in places
    ]
    # The longest increasing run of old indices (patience sorting): each pile's top, and who lay beneath.
    tops: list[int] = []
    top_pairs: list[int] = []
    beneath: list[int] = []
    for number, (old_index, _) in enumerate(pairs):
        pile = bisect_left(tops, old_index)
        beneath.append(top_pairs[pile - 1] if pile else -1)
        if pile == len(tops):
            tops.append(old_index)
            top_pairs.append(number)
        else:
            tops[pile], top_pairs[pile] = old_index, number
    found: list[tuple[int, int]] = []
    number = top_pairs[-1] if top_pairs else -1
    while number >= 0:
        found.append(pairs[number])
        number = beneath[number]
    return found[::-1]


def _once(lines: Sequence[str], places: range) -> dict[str, int]:
    counts = Counter(lines[index] for index in places)
    return {lines[index]: index for index in places if counts[lines[index]] == 1}
