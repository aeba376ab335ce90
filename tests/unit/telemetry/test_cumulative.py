"""Differences of counters: never negative, never invented, and bounded."""

from homeostat.telemetry.cumulative import FRESH_NS, CumulativeReader, Reading


def reading(start: int, time: int, *values: float) -> Reading:
    return Reading(start_ns=start, time_ns=time, values=values)


OLD = 10 * FRESH_NS


def test_a_restart_that_says_when_counts_from_there() -> None:
    reader = CumulativeReader()
    reader.difference("a", reading(1, OLD, 10))
    assert reader.difference("a", reading(OLD + 5, OLD + 9, 3)) == reading(OLD + 5, OLD + 9, 3)


def test_a_counter_that_fell_counts_nothing() -> None:
    reader = CumulativeReader()
    reader.difference("a", reading(0, OLD, 10, 5))
    assert reader.difference("a", reading(0, OLD + 1, 11, 4)) is None
    assert reader.difference("a", reading(0, OLD + 2, 12, 6)) == reading(OLD + 1, OLD + 2, 1, 2)


def test_other_buckets_are_another_counter() -> None:
    reader = CumulativeReader()
    reader.difference("a", reading(0, OLD, 10))
    assert reader.difference("a", reading(0, OLD + 1, 11, 4)) is None


def test_a_start_within_what_was_counted_already_counts_nothing() -> None:
    reader = CumulativeReader()
    reader.difference("a", reading(5, OLD, 10))
    assert reader.difference("a", reading(7, OLD + 1, 12)) is None


def test_an_older_reading_changes_nothing() -> None:
    reader = CumulativeReader()
    reader.difference("a", reading(0, OLD, 10))
    assert reader.difference("a", reading(0, OLD - 1, 9)) is None
    assert reader.difference("a", reading(0, OLD + 1, 11)) == reading(OLD, OLD + 1, 1)


def test_the_longest_unused_series_is_forgotten() -> None:
    reader = CumulativeReader(max_series=2)
    for name in ("a", "b"):
        reader.difference(name, reading(0, OLD, 1))
    reader.difference("a", reading(0, OLD + 1, 2))
    reader.difference("c", reading(0, OLD, 1))
    assert reader.series_count == 2
    assert reader.difference("a", reading(0, OLD + 2, 5)) == reading(OLD + 1, OLD + 2, 3)
    assert reader.difference("b", reading(0, OLD + 2, 5)) is None
