"""Live code is found again only as what it surely is."""

import gc
import weakref

import pytest
from homeostat_agent.reload.fingerprint import below
from homeostat_agent.reload.match import Known, Side, new_side, old_side, originals, same_code
from homeostat_agent.reload.pairing import compile_module
from homeostat_agent.reload.plan import compile_plan

OLD = """
def outer(n):
    def inner(x):
        return x + n
    return inner
def changed():
    return [lambda: 1]
def same():
    return lambda: 3
"""
NEW = OLD.replace("[lambda: 1]", "[lambda: 2]").replace("def same", "def added():\n    return lambda: 4\ndef same")


def codes(source, filename="m.py"):
    """Return all code of a source by qualified name."""
    return {code.co_qualname: code for code in below(compile_module(source, filename))}


@pytest.fixture
def pairing():
    return compile_plan("m.py", OLD, NEW, filename="m.py").pairing


def facts(side, live):
    known = side.find(live)
    return known and (known.code.co_qualname, known.partner and known.partner.co_qualname, known.changed)


@pytest.mark.parametrize("filename", ["m.py", "elsewhere/m.py"])
def test_code_of_the_old_source_is_found_with_what_takes_its_place(pairing, filename):
    side, news = old_side(pairing), codes(NEW)
    live = codes(OLD, filename)
    assert {name: facts(side, code) for name, code in live.items()} == {
        "outer": ("outer", "outer", False),
        "outer.<locals>.inner": ("outer.<locals>.inner", "outer.<locals>.inner", False),
        "changed": ("changed", "changed", True),
        "changed.<locals>.<lambda>": ("changed.<locals>.<lambda>", None, True),
        "same": ("same", "same", False),
        "same.<locals>.<lambda>": ("same.<locals>.<lambda>", "same.<locals>.<lambda>", False),
    }
    for name in ("changed", "same"):
        assert same_code(side.find(live[name]).partner, news[name])


def test_code_of_the_new_source_is_found_with_what_it_took_the_place_of(pairing):
    side, olds = new_side(pairing), codes(OLD)
    live = codes(NEW)
    assert {name: facts(side, code) for name, code in live.items()} == {
        "outer": ("outer", "outer", False),
        "outer.<locals>.inner": ("outer.<locals>.inner", "outer.<locals>.inner", False),
        "changed": ("changed", "changed", True),
        "changed.<locals>.<lambda>": ("changed.<locals>.<lambda>", None, True),
        "added": ("added", None, True),
        "added.<locals>.<lambda>": ("added.<locals>.<lambda>", None, True),
        "same": ("same", "same", False),
        "same.<locals>.<lambda>": ("same.<locals>.<lambda>", "same.<locals>.<lambda>", False),
    }
    for name in ("changed", "same"):
        assert same_code(side.find(live[name]).partner, olds[name])


STRANGERS = {
    "another body at its place": OLD.replace("return lambda: 3", "return lambda: 5"),
    "a constant of another type": OLD.replace("lambda: 3", "lambda: 3.0"),
    "another line": "\n" + OLD,
    "another name": OLD.replace("def same", "def last"),
}


@pytest.mark.parametrize("name", STRANGERS)
def test_other_code_is_not_found_though_name_or_place_are_the_same(pairing, name):
    live = codes(STRANGERS[name])
    last = live.get("same") or live["last"]
    for side in (old_side(pairing), new_side(pairing)):
        assert side.find(last) is None
        assert side.find(last) is None


def lambdas(*bodies, line=1):
    """Return the code of lambdas that stand on one line, each compiled by itself."""
    return [below(compile_module("\n" * (line - 1) + f"lambda: {body}", "m.py"))[0] for body in bodies]


def test_equal_code_is_not_told_apart_where_it_goes_separate_ways():
    one, other, live = lambdas(1, 1, 1)
    first, second = lambdas(2, 3)
    assert Side([Known(one, first, True), Known(other, second, True)]).find(live) is None
    assert Side([Known(one, first, True), Known(other, None, True)]).find(live) is None
    assert Side([Known(one, None, True), Known(other, second, True)]).find(live) is None


def test_equal_code_is_found_where_it_goes_one_way():
    one, other, live = lambdas(1, 1, 1)
    first, second = lambdas(2, 2)
    ways = [Known(one, first, True), Known(other, second, True)]
    assert Side(ways).find(live) is ways[0]
    left = [Known(one, None, True), Known(other, None, True)]
    assert Side(left).find(live) is left[0]


def test_the_very_object_is_what_it_is_whatever_equals_it():
    one, other = lambdas(1, 1)
    first, second = lambdas(2, 3)
    ways = [Known(one, first, True), Known(other, second, True)]
    side = Side(ways)
    assert (side.find(one), side.find(other)) == (ways[0], ways[1])


def test_others_on_the_same_line_stand_in_no_ones_way():
    one, other, live = lambdas(1, 5, 5)
    first, second = lambdas(2, 3)
    ways = [Known(one, first, True), Known(other, second, True)]
    assert Side(ways).find(live) is ways[1]


@pytest.mark.parametrize("body, found", [("1", True), ("7", False)])
def test_an_answer_cannot_pass_to_other_code_that_comes_to_lie_in_its_place(body, found):
    (one,) = lambdas(1)
    (live,) = lambdas(body)
    side = Side([Known(one, None, True)])
    assert (side.find(live) is not None) is found
    kept = weakref.ref(live)
    del live
    gc.collect()
    assert kept() is not None
    assert (side.find(kept()) is not None) is found


def test_code_is_the_same_whatever_file_it_names_and_nothing_else():
    one, other = codes(OLD)["same"], codes(OLD, "elsewhere.py")["same"]
    assert one is not other
    assert same_code(one, one)
    assert same_code(one, other)
    assert not same_code(one, codes(OLD.replace("lambda: 3", "lambda: 4"))["same"])


def test_live_code_that_is_replaced_is_remembered_with_all_inside_it(pairing):
    live = codes(OLD, "live.py")
    new_of = {id(pair.old): pair.new for pair in pairing.pairs}
    olds = {pair.old.co_qualname: pair.old for pair in pairing.pairs}
    news = {pair.new.co_qualname: pair.new for pair in pairing.pairs}
    assert originals(live["outer"], olds["outer"], new_of) == {
        id(news["outer"]): live["outer"],
        id(news["outer.<locals>.inner"]): live["outer.<locals>.inner"],
    }
    # What the changed body holds inside has no successor.
    assert originals(live["changed"], olds["changed"], new_of) == {id(news["changed"]): live["changed"]}
