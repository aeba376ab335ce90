"""Wherever a function is held, a call after the swap runs the new code, and after a rollback the old."""

import asyncio
import functools
import gc
import sys
import traceback
import types
from pathlib import Path

import pytest


@pytest.fixture
def swap(host):
    """Swap in host's module `m`, check the outcome, and hand back a check that rolling back restores the old."""

    def run(*replacements, functions=1):
        change = host.edit("m", *replacements)
        outcome = host.reloader.swap(change)
        assert outcome.outcome == "swapped", outcome.detail
        assert len(outcome.functions) == functions
        return lambda: host.reloader.rollback(change.id)

    return run


def imported_again(module, name):
    """Return the module that an import of the file as it is now would make."""
    made = types.ModuleType(name)
    made.__file__ = module.__file__
    exec(compile(Path(module.__file__).read_text(), module.__file__, "exec"), vars(made))
    return made


def test_a_changed_body_runs_after_the_swap(host, swap):
    module = host.load("m", "def f(x):\n    return x + 1\n")
    undo = swap(("x + 1", "x + 2"))
    assert module.f(1) == 3
    assert undo().outcome == "swapped"
    assert module.f(1) == 2


def test_names_imported_elsewhere_and_partials_and_tables_are_reached(host, swap):
    module = host.load("m", "def f(x):\n    return x + 1\n")
    user = host.load("user", f"from {host.package}.m import f as other\nTABLE = {{'f': other}}\n")
    held = (user.other, user.TABLE["f"], functools.partial(module.f), [module.f][0])
    swap(("x + 1", "x + 2"))
    assert [call(1) for call in held] == [3, 3, 3, 3]


def test_methods_are_reached_through_live_instances_and_bound_methods(host, swap):
    module = host.load(
        "m",
        """
        class Base:
            def greet(self):
                return "base"
        class C(Base):
            def plain(self):
                return 1
            @property
            def size(self):
                return 1
            @size.setter
            def size(self, value):
                self.kept = value
            @staticmethod
            def static():
                return 1
            @classmethod
            def made(cls):
                return cls.__name__
            def __private(self):
                return 1
            def private(self):
                return self.__private()
            def greet(self):
                return super().greet() + "!"
            def __len__(self):
                return 1
            class Inner:
                def deep(self):
                    return 1
        class D(C):
            pass
        """,
    )
    thing, inner = module.D(), module.C.Inner()
    bound = [thing.plain, thing.greet, module.C.made, module.C.static, inner.deep]
    swap(
        ("def plain(self):\n        return 1", "def plain(self):\n        return 2"),
        ("def size(self):\n        return 1", "def size(self):\n        return 2"),
        ("self.kept = value", "self.kept = -value"),
        ("def static():\n        return 1", "def static():\n        return 2"),
        ("return cls.__name__", "return cls.__name__ + '2'"),
        ("def __private(self):\n        return 1", "def __private(self):\n        return 2"),
        ('greet() + "!"', 'greet() + "?"'),
        ("def __len__(self):\n        return 1", "def __len__(self):\n        return 2"),
        ("deep(self):\n            return 1", "deep(self):\n            return 2"),
        functions=8,
    )
    thing.size = 5
    assert [call() for call in bound] == [2, "base?", "C2", 2, 2]
    assert (thing.size, thing.kept, thing.private(), len(thing)) == (2, -5, 2, 2)


DECORATED = """
import functools
ROUTES = {}

def route(path):
    def register(function):
        ROUTES[path] = function
        return function
    return register

def counted(function):
    @functools.wraps(function)
    def wrapper(*args):
        wrapper.calls += 1
        return function(*args)
    wrapper.calls = 0
    return wrapper

@route("/items")
@counted
def items(x):
    return x + 1

@counted
@counted
def twice(x):
    return x + 1
"""


def test_decorated_functions_are_reached_behind_their_wrappers(host, swap):
    module = host.load("m", DECORATED)
    swap(("def items(x):\n    return x + 1", "def items(x):\n    return x + 2"))
    assert module.items(1) == module.ROUTES["/items"](1) == 3
    assert module.items.calls == 2


def test_a_wrapper_changes_in_every_function_that_it_wraps(host, swap):
    module = host.load("m", DECORATED)
    undo = swap(("return function(*args)", "return function(*args) * 10"))
    assert (module.items(1), module.twice(1), module.ROUTES["/items"](1)) == (20, 200, 20)
    undo()
    assert (module.items(1), module.twice(1)) == (2, 2)


def test_live_closures_change_and_keep_what_they_captured(host, swap):
    module = host.load(
        "m",
        """
        def counter(start):
            count = start
            def step(by):
                nonlocal count
                count += by
                return count
            return step
        """,
    )
    step = module.counter(10)
    step(1)
    undo = swap(("count += by", "count += by * 100"))
    assert step(1) == 111
    undo()
    assert step(1) == 112


def test_single_dispatch_and_default_arguments_and_callbacks_are_reached(host, swap):
    module = host.load(
        "m",
        """
        from functools import singledispatch
        def helper():
            return 1
        def uses(call=helper):
            return call()
        @singledispatch
        def show(x):
            return "any"
        @show.register
        def _(x: int):
            return "int"
        """,
    )
    module.show(1)
    swap(("return 1", "return 2"), ('"int"', '"number"'), functions=2)
    assert (module.uses(), module.show(1), module.show("")) == (2, "number", "any")


def test_calls_in_flight_finish_on_the_old_code(host, swap):
    module = host.load(
        "m",
        """
        import asyncio
        def numbers():
            yield 1
            yield 2
        async def wait(event):
            await event.wait()
            return "old"
        async def stream():
            yield 1
            yield 2
        """,
    )

    async def main():
        event, running = asyncio.Event(), module.numbers()
        task, stream = asyncio.create_task(module.wait(event)), module.stream()
        assert (next(running), await stream.__anext__()) == (1, 1)
        await asyncio.sleep(0)
        outcome = host.reloader.swap(host.edit("m", ("yield 2", "yield 3"), ('"old"', '"new"')))
        assert outcome.outcome == "swapped"
        assert "3 calls in flight finish on the old code" in outcome.detail
        event.set()
        old = (next(running), await task, await stream.__anext__())
        new = (list(module.numbers()), await module.wait(event), [item async for item in module.stream()])
        return old, new

    assert asyncio.run(main()) == ((2, "old", 2), ([1, 3], "new", [1, 3]))


def test_a_changed_functions_cache_is_emptied_by_swap_and_rollback(host, swap):
    module = host.load(
        "m",
        """
        import functools
        def plain_wrapper(function):
            def inner(x):
                return function(x)
            return inner
        @functools.lru_cache(maxsize=None)
        def f(x):
            return x + 1
        @functools.lru_cache
        @plain_wrapper
        def g(x):
            return x + 1
        @functools.lru_cache
        def other(x):
            return object()
        class C:
            @functools.lru_cache
            def m(self, x):
                return x + 1
        """,
    )
    thing, kept = module.C(), module.other(1)
    assert (module.f(1), module.g(1), thing.m(1)) == (2, 2, 2)
    undo = swap(("return x + 1", "return x + 2"), functions=3)
    assert (module.f(1), module.g(1), thing.m(1)) == (3, 3, 3)
    assert module.other(1) is kept
    undo()
    assert (module.f(1), module.g(1), thing.m(1)) == (2, 2, 2)


def test_docstrings_change_with_the_code_where_they_were_copied_to(host, swap):
    module = host.load(
        "m",
        DECORATED
        + '''
@counted
def told(x):
    """Old words."""
    return x

class C:
    @property
    def size(self):
        """Old words."""
        return 1
''',
    )
    undo = swap(("Old words.", "New words."), functions=2)
    assert (module.told.__doc__, module.told.__wrapped__.__doc__, module.C.size.__doc__) == ("New words.",) * 3
    undo()
    assert (module.told.__doc__, module.told.__wrapped__.__doc__, module.C.size.__doc__) == ("Old words.",) * 3


def test_a_docstring_set_by_the_host_is_left_alone(host, swap):
    module = host.load("m", 'def f():\n    """Old."""\n    return 1\nf.__doc__ = "Mine."\n')
    swap(("Old.", "New."))
    assert module.f.__doc__ == "Mine."


def test_tracebacks_name_the_right_lines_also_in_functions_that_only_moved(host, swap):
    module = host.load("m", "def first():\n    return 1\n\n\ndef second():\n    raise ValueError('x')\n")
    swap(("return 1", "value = 1\n    value += 1\n    return value"))
    with pytest.raises(ValueError, match="x") as caught:
        module.second()
    frame = traceback.extract_tb(caught.value.__traceback__)[-1]
    assert (frame.filename, frame.lineno, frame.line) == (module.__file__, 8, "raise ValueError('x')")


def test_a_change_of_layout_alone_moves_lines_and_names_no_function(host):
    module = host.load("m", "def f():\n    return 1\n")
    outcome = host.swap("m", ("def f", "# moved\n\n\ndef f"))
    assert (outcome.outcome, outcome.functions) == ("swapped", ())
    assert (module.f.__code__.co_firstlineno, module.f()) == (4, 1)


def test_modules_loaded_twice_from_one_file_are_both_changed(host, swap):
    module = host.load("m", "def f():\n    return 1\n")
    spec = imported_again(module, "again")
    sys.modules["again"] = spec
    try:
        undo = swap(("return 1", "return 2"), functions=2)
        assert (module.f(), spec.f()) == (2, 2)
        undo()
        assert (module.f(), spec.f()) == (1, 1)
    finally:
        del sys.modules["again"]


def test_functions_of_a_module_that_was_dropped_are_still_reached(host, swap):
    function = host.load("m", "def f():\n    return 1\n").f
    del sys.modules[f"{host.package}.m"]
    swap(("return 1", "return 2"))
    assert function() == 2


def test_functions_frozen_out_of_the_collectors_sight_are_reached(host, swap):
    module = host.load("m", "def f():\n    return 1\n")
    gc.freeze()
    try:
        swap(("return 1", "return 2"))
        assert module.f() == 2
        assert gc.get_freeze_count() > 2000
    finally:
        gc.unfreeze()


def test_copies_that_share_the_code_object_are_reached(host, swap):
    module = host.load("m", "def f():\n    return 1\n")
    copied = types.FunctionType(module.f.__code__, vars(module), "copied")
    swap(("return 1", "return 2"), functions=1)
    assert copied() == 2


ADDING = """
from __future__ import annotations
import os
from typing import Optional
class Base:
    def who(self):
        return "base"
class C(Base):
    def m(self):
        return 1
    class Inner:
        pass
def f():
    return 1
"""


@pytest.mark.parametrize("future", [True, False])
def test_new_functions_and_methods_are_as_an_import_would_have_made_them(host, swap, future):
    source = ADDING if future else ADDING.replace("from __future__ import annotations\n", "")
    module = host.load("m", source)
    thing = module.C()
    replacements = (
        ("def f():\n    return 1", "def helper(a: Optional[int], b=-2, *, c: os.PathLike = None) -> 'str':\n"
         "    \"Helps.\"\n    return (a, b, c)\n\n\ndef f():\n    return helper(1)"),
        ("    def m(self):\n        return 1",
         "    def who(self, x: int = 3):\n        return super().who() + __class__.__name__\n"
         "    def __hidden(self):\n        return 5\n    async def later(self):\n        return 6\n"
         "    def m(self):\n        return self.__hidden()"),
    )  # fmt: skip
    undo = swap(*replacements, functions=6)
    fresh = imported_again(module, module.__name__)
    for one, other in (
        (module.helper, fresh.helper),
        (module.C.who, fresh.C.who),
        (vars(module.C)["_C__hidden"], vars(fresh.C)["_C__hidden"]),
        (module.C.later, fresh.C.later),
    ):
        for name in (
            "__name__",
            "__qualname__",
            "__module__",
            "__doc__",
            "__defaults__",
            "__kwdefaults__",
            "__annotations__",
        ):
            assert getattr(one, name) == getattr(other, name), name
        assert one.__code__ == other.__code__
        assert one.__globals__ is vars(module)
    assert (module.f(), thing.m(), thing.who(), asyncio.run(thing.later())) == ((1, -2, None), 5, "baseC", 6)
    undo()
    assert (module.f(), thing.m(), thing.who()) == (1, 1, "base")
    assert not hasattr(module, "helper")
    assert not hasattr(module.C, "_C__hidden")


def test_several_modules_change_together(host):
    one = host.load("one", "def f():\n    return 1\n")
    two = host.load("two", f"from {host.package} import one\ndef g():\n    return one.f()\n")
    first, second = host.edit("one", ("return 1", "return 2")), host.edit("two", ("one.f()", "one.f() * 10"))
    change = type(first)("both", first.modules + second.modules, "safe")
    assert host.reloader.swap(change).outcome == "swapped"
    assert (one.f(), two.g()) == (2, 20)
    host.reloader.rollback("both")
    assert (one.f(), two.g()) == (1, 1)
