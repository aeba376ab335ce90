"""A dispatcher is called, looked at and steered as the function whose code it takes the place of."""

import inspect
import itertools
import traceback
import types

import pytest
from homeostat_agent.canary.counts import Counts
from homeostat_agent.canary.unit import Unit
from homeostat_agent.reload.dispatch import dispatcher
from hypothesis import given
from hypothesis import strategies as st

PICKS = {"old": lambda: False, "new": lambda: True, "unit": lambda: Unit(Counts(), False)}


class Observed:
    """What looks at a call that is compared: it makes the same call again, by what it was shown."""

    new = False

    def __init__(self):
        self.results = []

    def observe(self, old, new, given, named):
        self.calls = [(function, given, named) for function in (old, new)]

    def finish(self, error, result=None):
        again = [outcome(lambda call=call: call[0](*call[1], **call[2])) for call in self.calls]
        first = ("returned", result) if error is None else (type(error), str(error))
        assert again == [first, first]


def routed(function, new=None, *, pick=PICKS["old"], shadowed=False):
    """Return a copy of the function with dispatcher code."""
    copy = types.FunctionType(
        function.__code__, function.__globals__, function.__name__, function.__defaults__, function.__closure__
    )
    copy.__kwdefaults__ = function.__kwdefaults__
    copy.__qualname__ = function.__qualname__
    code = (new or function).__code__
    copy.__code__ = dispatcher(function.__code__, code, qualname=function.__qualname__, pick=pick, shadowed=shadowed)
    return copy


def outcome(call):
    """Return what a call returned, or its error as type and words."""
    try:
        return "returned", call()
    except Exception as error:
        return type(error), str(error)


NAMES = ("a", "b", "c", "d", "e", "self", "_C__private")


@st.composite
def functions(draw):
    """Return the source of a function that returns all its arguments, with defaults here and there."""
    names = draw(st.permutations(NAMES))
    counts = draw(st.tuples(*[st.integers(0, 2)] * 3))
    given_names = iter(names)
    posonly, positional, keyword = ([next(given_names) for _ in range(count)] for count in counts)
    from_default = draw(st.integers(0, counts[0] + counts[1]))
    head = [
        name + ("=0" if index >= from_default else "") for index, name in enumerate([*posonly, *positional])
    ]  # fmt: skip
    if posonly:
        head.insert(len(posonly), "/")
    star, double = draw(st.booleans()), draw(st.booleans())
    if star or keyword:
        head.append("*rest" if star else "*")
    head.extend(name + draw(st.sampled_from(["", "=1"])) for name in keyword)
    head.extend(["**more"] if double else [])
    every = [*posonly, *positional, *(["rest"] if star else []), *keyword, *(["more"] if double else [])]
    free = draw(st.integers(0, 2))
    cells = [f"cell{index}" for index in range(free)]
    body = f"return ({', '.join([*every, *cells, repr('end')])},)"
    bound = "".join(f"    {name} = {name!r}\n" for name in cells)
    return f"def outer():\n{bound}    def f({', '.join(head)}):\n        {body}\n    return f\n"


@given(
    functions(),
    st.lists(st.integers(), max_size=6),
    st.dictionaries(st.sampled_from([*NAMES, "other"]), st.integers(), max_size=4),
    st.sampled_from(sorted(PICKS)),
)
def test_it_takes_and_refuses_arguments_as_the_function_does_and_in_the_same_words(source, positional, named, arm):
    space = {}
    exec(source, space)
    function = space["outer"]()
    copy = routed(function, pick=PICKS[arm])
    assert outcome(lambda: copy(*positional, **named)) == outcome(lambda: function(*positional, **named))
    assert inspect.signature(copy) == inspect.signature(function)


@given(
    functions(),
    st.lists(st.integers(), max_size=6),
    st.dictionaries(st.sampled_from([*NAMES, "other"]), st.integers(), max_size=4),
    st.sampled_from([*PICKS.values(), Observed]),
)
def test_a_call_that_is_compared_is_the_same_call_and_can_be_made_again(source, positional, named, pick):
    space = {}
    exec(source, space)
    function = space["outer"]()
    copy = routed(function, pick=pick, shadowed=True)
    assert outcome(lambda: copy(*positional, **named)) == outcome(lambda: function(*positional, **named))


def plain(a, b=1, *rest, key=2, **more):
    """Says what it is."""
    return "old"


def generator():
    """Generates."""
    yield 1


async def coroutine():
    return 1


async def async_generator():
    yield 1


KINDS = (plain, generator, coroutine, async_generator)
QUESTIONS = (
    inspect.isgeneratorfunction,
    inspect.iscoroutinefunction,
    inspect.isasyncgenfunction,
    inspect.isfunction,
    inspect.getdoc,
    inspect.getsource,
    inspect.getfile,
    inspect.signature,
)


@pytest.mark.parametrize("function", KINDS, ids=lambda item: item.__name__)
def test_whoever_looks_at_the_function_sees_what_was_there(function):
    copy = routed(function)
    assert [question(copy) for question in QUESTIONS] == [question(function) for question in QUESTIONS]
    attributes = ("co_name", "co_filename", "co_firstlineno", "co_freevars", "co_argcount", "co_kwonlyargcount")
    for name in (*attributes, "co_qualname"):
        assert getattr(copy.__code__, name, None) == getattr(function.__code__, name, None)
    again = types.FunctionType(copy.__code__, {})  # as a `def` whose code it is makes one
    assert again.__doc__ == function.__doc__


def test_an_exception_comes_out_as_it_is_through_one_more_frame_of_the_same_file_and_name():
    def raising():
        raise error

    error = LookupError("x")
    with pytest.raises(LookupError) as caught:
        routed(raising)()
    assert caught.value is error
    (_, outer, inner) = traceback.extract_tb(caught.value.__traceback__)
    assert (outer.name, outer.filename, outer.lineno) == ("raising", __file__, raising.__code__.co_firstlineno)
    assert (inner.name, inner.lineno) == ("raising", raising.__code__.co_firstlineno + 1)


def test_cells_are_shared_with_the_function():
    def make():
        count = 0

        def bump():
            nonlocal count
            count += 1
            return count

        def more():
            nonlocal count
            count += 10
            return count

        return bump, more

    bump, more = make()
    copy = routed(bump, more, pick=itertools.cycle([False, True]).__next__)
    assert [copy(), copy(), bump(), copy()] == [1, 11, 12, 13]


def test_super_without_arguments_and_its_class_are_right():
    class Base:
        def who(self):
            return "base", __class__.__name__

    class Heir(Base):
        def who(self):
            return super().who(), __class__.__name__

    Base.who.__code__ = dispatcher(Base.who.__code__, Base.who.__code__, qualname="x", pick=PICKS["unit"])
    Heir.who.__code__ = dispatcher(Heir.who.__code__, Heir.who.__code__, qualname="x", pick=PICKS["new"])
    assert Heir().who() == (("base", "Base"), "Heir")


# Steering: the same steps on the function's own generator and on the dispatched one.


class Mine(Exception):
    pass


def steered():
    """Answers to what is sent and thrown, swallows some, ends on others."""
    got, told = None, []
    while True:
        try:
            got = yield (got, tuple(told))
            if got == "return":
                return ("returned", tuple(told))
            if got == "raise":
                raise Mine("asked for")
        except KeyError as error:
            told.append(repr(error))
        except GeneratorExit:
            if told[-1:] == ["KeyError('stay')"]:
                yield "will not go"
            raise
        finally:
            told.append("step")


async def steered_each():
    got, told = None, []
    while True:
        try:
            got = yield (got, tuple(told))
            if got == "return":
                return
            if got == "raise":
                raise Mine("asked for")
        except KeyError as error:
            told.append(repr(error))
        except GeneratorExit:
            if told[-2:-1] == ["KeyError('stay')"]:
                yield "will not go"
            raise
        finally:
            told.append("step")


class Waits:
    """Suspends once, as what waits for a loop does."""

    def __await__(self):
        return (yield "waiting")


async def waiting():
    told = []
    for _ in range(3):
        try:
            told.append(await Waits())
        except KeyError as error:
            told.append(repr(error))
    return told


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.sampled_from([None, 1, "return", "raise"])),
        st.tuples(st.just("throw"), st.sampled_from([KeyError("k"), KeyError("stay"), Mine("m"), GeneratorExit()])),
        st.tuples(st.just("close"), st.none()),
    ),
    max_size=8,
)


def walk(item, steps):
    """Take these steps, and return what came of each. At last it is closed, by force if it will not go."""
    found = []
    for name, value in [*steps, ("close", None), ("close", None)]:
        arguments = () if name == "close" else (value,)
        try:
            found.append(getattr(item, name)(*arguments))
        except BaseException as error:
            found.append((type(error), error.args, getattr(error, "value", None)))
    return found


class Stepwise:
    """An asynchronous generator that is walked like a plain one: each step is run to its end."""

    def __init__(self, item):
        self._item = item

    def send(self, value):
        return self._run(self._item.asend(value))

    def throw(self, error):
        return self._run(self._item.athrow(error))

    def close(self):
        return self._run(self._item.aclose())

    def _run(self, step):
        try:
            step.send(None)
        except StopIteration as stop:
            return stop.value
        raise AssertionError("it waits for nothing")


@given(STEPS, st.sampled_from(sorted(PICKS)))
def test_a_generator_answers_to_each_step_as_the_functions_own(steps, arm):
    assert walk(routed(steered, pick=PICKS[arm])(), steps) == walk(steered(), steps)


@given(STEPS, st.sampled_from(sorted(PICKS)))
def test_a_coroutine_answers_to_each_step_as_the_functions_own(steps, arm):
    ours, theirs = routed(waiting, pick=PICKS[arm])(), waiting()
    assert walk(ours, steps) == walk(theirs, steps)


@given(STEPS, st.sampled_from(sorted(PICKS)))
def test_an_asynchronous_generator_answers_to_each_step_as_the_functions_own(steps, arm):
    ours, theirs = routed(steered_each, pick=PICKS[arm])(), steered_each()
    assert walk(Stepwise(ours), steps) == walk(Stepwise(theirs), steps)


def test_a_generator_keeps_the_arm_that_it_began_with():
    def old():
        yield "old"
        yield "old"

    def new():
        yield "new"
        yield "new"

    arms = iter([True])
    item = routed(old, new, pick=lambda: next(arms))()
    assert list(item) == ["new", "new"]
