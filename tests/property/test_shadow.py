"""Copies are the same as what they were made of, and whatever differs is found, whatever the values are."""

import dataclasses
import decimal
import enum
import math
import string

from homeostat_agent.canary.copying import freeze, thaw
from homeostat_agent.canary.difference import first_difference
from hypothesis import given
from hypothesis import strategies as st


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


@dataclasses.dataclass
class Order:
    item: object
    more: object = None


class Slotted:
    __slots__ = ("left", "right")

    def __init__(self, left, right):
        self.left, self.right = left, right

    def __eq__(self, other):
        raise AssertionError("the host's own comparison is not asked")

    __hash__ = None


ATOMS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.binary(max_size=5),
    st.sampled_from(Colour),
    st.decimals(allow_nan=False),
    st.dates(),
    st.uuids(),
    st.sampled_from([len, Order, math, print]),
)
KEYS = st.one_of(st.integers(), st.text(max_size=3), st.tuples(st.integers(), st.booleans()), st.sampled_from(Colour))
VALUES = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(KEYS, inner, max_size=4),
        st.frozensets(KEYS, max_size=4),
        st.sets(st.integers(), max_size=4),
        st.builds(Order, inner, inner),
        st.builds(Slotted, inner, inner),
    ),
    max_leaves=12,
)


def parts(value):
    """Return what a value holds, in a form that is the same for the same values only."""
    if isinstance(value, (list, tuple)):
        return (type(value), [parts(item) for item in value])
    if isinstance(value, dict):
        return (
            dict,
            sorted(((repr(parts(key)), parts(item)) for key, item in value.items()), key=lambda item: item[0]),
        )
    if isinstance(value, (set, frozenset)):
        return (type(value), sorted(repr(parts(item)) for item in value))
    if isinstance(value, (Order, Slotted)):
        names = ("item", "more") if isinstance(value, Order) else ("left", "right")
        return (type(value), [parts(getattr(value, name)) for name in names])
    if isinstance(value, float):
        return (float, "nan" if math.isnan(value) else value + 0.0)
    if isinstance(value, decimal.Decimal):
        return (decimal.Decimal, str(value))
    return (type(value), value)


def far_apart(one, other):
    """Tell whether no two numbers at the same place are so close that they count as the same."""
    if isinstance(one, float) and isinstance(other, float):
        return one == other or not math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-9)
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)) and len(one) == len(other):
        return all(map(far_apart, one, other))
    return True


@given(VALUES)
def test_a_copy_is_the_same_and_shares_nothing_that_could_change(value):
    copy = thaw(freeze(value))
    assert first_difference(value, copy) == ""
    assert parts(copy) == parts(value)
    if isinstance(value, (list, dict, set, Order, Slotted)):
        assert copy is not value


@given(VALUES, VALUES)
def test_two_values_differ_for_it_where_they_hold_something_else(one, other):
    before, after = parts(one), parts(other)
    if far_apart(before, after):
        assert bool(first_difference(one, other)) == (before != after)
    assert bool(first_difference(one, other)) == bool(first_difference(other, one))


WORDS = st.text(string.ascii_lowercase, min_size=8, max_size=12).map("secret".__add__)


@given(st.dictionaries(WORDS, WORDS, min_size=1), st.lists(WORDS, min_size=1), WORDS, WORDS)
def test_no_value_and_no_key_is_ever_told(mapping, words, one, other):
    order = Order(mapping, words)
    order.__dict__[f"{one} {other}"] = one
    changed = Order({**mapping, one: other}, [*words[1:], other])
    changed.__dict__[f"{one} {other}"] = other
    pairs = [
        (order, changed),
        (mapping, {**mapping, one: other}),
        (mapping, dict.fromkeys(mapping, other)),
        (words, words[1:]),
        (one, other),
        (ValueError(one), ValueError(other)),
    ]
    assert all("secret" not in first_difference(*pair) for pair in pairs)
