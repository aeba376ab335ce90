"""Shadowing of code and of objects that do what they should not: callers get what the old code gives, as ever."""

import threading
import types

import pytest
from shadow_scene import body

RAISES = "import asyncio; Past = type('Past', (BaseException,), {}); raise "


class LyingType:
    """Says that it is a class."""

    def __init__(self):
        self.items = []

    @property
    def __class__(self):
        return type


class Leaves:
    """Leaves its thread when it is made again."""

    def __getstate__(self):
        return {"a": 1}

    def __setstate__(self, state):
        raise SystemExit(3)


class Hops:
    """Raises past every handler when it is taken apart elsewhere than by its caller."""

    def __reduce_ex__(self, protocol):
        if threading.current_thread().name == "homeostat-shadow":
            raise GeneratorExit
        return (Hops, ())


@pytest.mark.parametrize(
    "raised", ["asyncio.CancelledError", "Past", "SystemExit", "KeyboardInterrupt", "GeneratorExit"]
)
def test_whatever_new_code_raises_is_found_and_the_next_call_is_compared(shadow, raised):
    shadowed = shadow(body("return x"), body(RAISES + raised))
    for _ in range(2):
        got, outcome, detail = shadowed.call(1)
        assert (got, outcome) == (1, "raised"), detail


@pytest.mark.parametrize("made", [Leaves, Hops])
def test_objects_that_raise_past_every_handler_end_no_comparing(shadow, made):
    shadowed = shadow(body("return x"), body("z = 1; return x"))
    given = made()
    got, outcome, _ = shadowed.call(given)
    assert got is given
    assert outcome in ("not_copied", "not_comparable")
    got, outcome, _ = shadowed.call(1)
    assert (got, outcome) == (1, "same")


def test_what_only_says_that_it_is_a_class_is_copied_and_not_shared(shadow):
    shadowed = shadow(body("return 1"), body("x.items.append(1); return 1"))
    given = LyingType()
    shadowed.call(given)
    assert given.items == []


@pytest.mark.parametrize(
    ("old", "new", "given"),
    [
        ("return 1", "return type('card 4111 1111', (), {})()", 1),
        ("return x", "y = type(x)(**vars(x)); y.token4111 = 1; return y", types.SimpleNamespace(a=1)),
        ("return x", "y = type(x)(**vars(x)); y.token4111 = 1; return y", types.SimpleNamespace(token4111=0)),
    ],
)
def test_names_that_are_made_from_data_are_not_told(shadow, old, new, given):
    _, outcome, detail = shadow(body(old), body(new)).call(given)
    assert outcome == "result"
    assert "4111" not in detail
