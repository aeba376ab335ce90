"""Who makes room when there are too many error groups."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from homeostat.core.digests import digest_bytes
from homeostat.model.finding import AGENTS
from homeostat.telemetry.making_room import Standing, choose_to_go, place_of, source_of_group

groups = st.lists(st.tuples(st.sampled_from("xyz"), st.sampled_from("pqrs"), st.integers(0, 50)), max_size=60).map(
    lambda rows: [
        Standing(key=digest_bytes(str(n).encode()), source=source, place=place, last_us=last_us)
        for n, (source, place, last_us) in enumerate(rows)
    ]
)


@given(groups, st.integers(0, 70))
def test_it_takes_from_the_largest_source_and_there_from_the_largest_place(standings, surplus):
    gone = choose_to_go(standings, surplus)
    assert len(gone) == len(set(gone)) == min(surplus, len(standings))
    left = [item for item in standings if item.key not in gone]
    taken = [item for item in standings if item.key in gone]
    sizes = Counter(item.source for item in left)
    for source in {item.source for item in taken}:
        # What gave is still about as large as any: nobody smaller was made to give.
        assert sizes[source] >= max(sizes.values(), default=0) - 1
    places = Counter((item.source, item.place) for item in left)
    for item in taken:
        largest = max((count for (source, _), count in places.items() if source == item.source), default=0)
        assert places[item.source, item.place] >= largest - 1
        same_place = [other for other in left if (other.source, other.place) == (item.source, item.place)]
        assert all(other.last_us >= item.last_us for other in same_place)


@given(groups, st.integers(0, 70), st.randoms())
def test_the_order_in_which_they_come_does_not_matter(standings, surplus, random):
    shuffled = list(standings)
    random.shuffle(shuffled)
    assert choose_to_go(shuffled, surplus) == choose_to_go(standings, surplus)


def test_a_place_is_a_function_or_where_that_is_unknown_a_type():
    assert place_of("a.py", "f", "KeyError") == place_of("a.py", "f", "ValueError") != place_of("a.py", "g", "KeyError")
    assert place_of("", "", "KeyError") != place_of("", "", "ValueError")


def test_the_first_reporter_keeps_a_group_unless_an_agent_proved_it():
    assert source_of_group("", "a") == "a"
    assert source_of_group("a", "b") == "a"
    assert source_of_group("a", AGENTS) == source_of_group(AGENTS, "b") == AGENTS
