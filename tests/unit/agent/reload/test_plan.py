"""The plan of one module, from its two texts alone. Refusals outnumber permissions by intent."""

# ruff: noqa: E501 - the tables of small sources are read line by line

import ast
import gc
import types

import pytest
from homeostat_agent.reload.plan import CompiledPlan, compile_plan, plan_module
from plan_scene import SOURCE, plan, verdicts

SWAPS = {
    "a plain body": (("return a + b", "return a - b"), "plain"),
    "a docstring": (("Says what.", "Says more."), "plain"),
    "a generator's body": (
        ("    yield 1\n\n\nasync def coroutine", "    yield 2\n\n\nasync def coroutine"),
        "generator",
    ),
    "a coroutine's body": (
        ("async def coroutine():\n    return 1", "async def coroutine():\n    return 2"),
        "coroutine",
    ),
    "an async generator": (("async_generator():\n    yield 1", "async_generator():\n    yield 2"), "async_generator"),
    "a lambda in a body": (("key=lambda item: item.a", "key=lambda item: (item.b, item.a)"), "with_lambda"),
    "an inner function": (("return x + step", "return x - step"), "outer.<locals>.inner"),
    "an outer function": (("step = n", "step = n * 2"), "outer"),
    "a wrapper": (("return function(*args)", "return function(*args) or 1"), "decorator.<locals>.wrapper"),
    "a decorated body": (("def decorated(x):\n    return x", "def decorated(x):\n    return -x"), "decorated"),
    "a registered route": (("db=Depends(plain)):\n    return x", "db=Depends(plain)):\n    return -x"), "route"),
    "a cached body": (("def cached(x):\n    return x", "def cached(x):\n    return -x"), "cached"),
    "a check in __init__": (("if x < 0:", "if x < 0 or x > 9:"), "Base.__init__"),
    "a method": (("def method(self):\n        return 1", "def method(self):\n        return 2"), "Base.method"),
    "a method with super": (("super().__repr__()", "super().__str__()"), "Base.uses_super"),
    "a getter": (("def size(self):\n        return 1", "def size(self):\n        return 2"), "Base.size"),
    "a setter": (("self.kept = value", "self.kept = -value"), "Base.size"),
    "a static method": (("def static(x):\n        return x", "def static(x):\n        return -x"), "Base.static"),
    "a class method": (("return cls(1)", "return cls(2)"), "Base.made"),
    "a private method": (("__secret(self):\n        return 1", "__secret(self):\n        return 2"), "Base.__secret"),
    "a nested class": (("deep(self):\n            return 1", "deep(self):\n            return 2"), "Base.Inner.deep"),
    "a dataclass's method": (("return abs(self.x)", "return -abs(self.x)"), "Point.norm"),
    "a new local variable": (("return a + b", "total = a + b\n    return total"), "plain"),
    "a new closure inside": (("return a + b", "def add():\n        return a + b\n    return add()"), "plain"),
    "an import in a body": (("return a + b", "import math\n    return math.floor(a + b)"), "plain"),
    "a signature inside a changed body": (
        ("def inner(x):\n        return x + step", "def inner(x, y=1):\n        return x"),
        "outer",
    ),
}


@pytest.mark.parametrize("name", SWAPS)
def test_changed_bodies_are_swapped(name):
    replacement, qualname = SWAPS[name]
    found = plan(replacement)
    assert found.safe, found.restart_reasons
    assert verdicts(found) == {qualname: "swap"}


@pytest.mark.parametrize(
    "replacement",
    [
        ("def plain(", "# a comment\n\n\ndef plain("),
        ("return a + b", "return (\n        a + b\n    )"),
        ("return sorted(items, key=lambda item: item.a)", "return sorted(  items, key=lambda item: item.a, )"),
    ],
)
def test_layout_and_comments_are_no_difference(replacement):
    found = plan(replacement)
    assert found.safe
    assert found.definitions == ()


RESTARTS = {
    "a new parameter": (("def plain(a, b=1,", "def plain(a, d, b=1,"), "signature"),
    "a renamed parameter": (("def calls_plain(x):\n    return plain(x)", "def calls_plain(y):\n    return plain(y)"), "signature"),
    "a default": (("b=1,", "b=2,"), "defaults"),
    "a default of another type": (("b=1,", "b=True,"), "defaults"),
    "a keyword default": (("c: int = 2", "c: int = 3"), "defaults"),
    "an annotation": (("c: int = 2", "c: float = 2"), "annotations"),
    "a return annotation": (("-> int:", "-> float:"), "annotations"),
    "a new decorator": (("def calls_plain", "@decorator\ndef calls_plain"), "decorators"),
    "a removed decorator": (("@decorator\ndef decorated", "def decorated"), "decorators"),
    "a decorator's argument": (('get("/items")', 'get("/things")'), "decorators"),
    "a cache's size": (("maxsize=None", "maxsize=8"), "decorators"),
    "plain to generator": (("return plain(x)", "yield plain(x)"), "kind"),
    "generator to plain": (("def generator():\n    yield 1", "def generator():\n    return [1]"), "kind"),
    "plain to coroutine": (("def calls_plain", "async def calls_plain"), "kind"),
    "coroutine to async generator": (("async def coroutine():\n    return 1", "async def coroutine():\n    yield 1"), "kind"),
    "an inner function to generator": (("return x + step", "yield x + step"), "kind"),
    "an inner function's free variables": (("return x + step", "return x + step + n"), "free variables"),
    "an inner function that captures less": (("return x + step", "return x"), "free variables"),
    "a method that begins to use super": (("def method(self):\n        return 1", "def method(self):\n        return super().x"), "free variables"),
    "a method that begins to use __class__": (("def method(self):\n        return 1", "def method(self):\n        return __class__"), "free variables"),
    "an import of another name": (("import os", "import sys"), "top level"),
    "a new import of everything": (("import os", "import os\nfrom sys import *"), "top level"),
    "a constant that import uses": (("LIMIT = 3", "LIMIT = 4"), "import uses `LIMIT`"),
    "a constant's type": (("LIMIT = 3", "LIMIT = [3]"), "top level"),
    "a module-level lambda": (("item + 1", "item + 2"), "top level"),
    "a module-level comprehension": (('("a", "b")', '("a", "c")'), "top level"),
    "a future import": (('"""A module."""', '"""A module."""\nfrom __future__ import annotations'), "import hands it on"),
    "another future import": (('"""A module."""', '"""A module."""\nfrom __future__ import generator_stop'), "top level"),
    "a new side effect": (("def generator():", "print(1)\n\n\ndef generator():"), "top level"),
    "a removed statement": (("LIMIT = 3\n", ""), "top level"),
    "a condition around a definition": (("if LIMIT > 2:", "if LIMIT > 1:"), "top level"),
    "a conditional body": (("def conditional():\n        return 1", "def conditional():\n        return 2"), "top level"),
    "a removed function": (("def generator():\n    yield 1\n", ""), "removed"),
    "a renamed function": (("def generator():", "def generated():"), "removed"),
    "a removed method": (("    def method(self):\n        return 1\n", ""), "removed"),
    "a removed class": (("    class Inner:\n        def deep(self):\n            return 1\n", ""), "removed"),
    "a new class with a decorator": (("def generator():", "@decorator\nclass New:\n    pass\n\n\ndef generator():"), "new class with"),
    "a base": (("class Base:", "class Base(dict):"), "bases"),
    "a metaclass": (("class Base:", "class Base(metaclass=type):"), "bases or keywords"),
    "a class decorator": (("@dataclass\n", "@dataclass(frozen=True)\n"), "decorators"),
    "a class attribute": (('colour = "red"', 'colour = "blue"'), "body of the class"),
    "a dataclass field": (("y: int = field(default=0)", "y: int = field(default=1)"), "body of the class"),
    "a dataclass's docstring": (("class Point:\n", 'class Point:\n    """New."""\n'), "where none is written"),
    "a field's annotation": (("x: int\n", "x: float\n"), "decorators or keywords"),
    "a route's annotation": (("async def route(x, db", "async def route(x: int, db"), "decorated"),
    "a route's docstring": (("db=Depends(plain)):\n", 'db=Depends(plain)):\n    """New."""\n'), "`get` may have read"),
    "a method's decorator": (("    @staticmethod\n    def static(x)", "    @classmethod\n    def static(x)"), "decorators"),
    "what __init__ sets": (("self.x = x", "self.x = x + 1"), "made so far"),
    "a call in __init__": (("self.x = x", "self.x = x\n        self.method()"), "made so far"),
    "a check in __init__ that does more": (("if x < 0:", "if x < registry.pop():"), "made so far"),
    "the first of two of one name": (("def twice():\n    return 1", "def twice():\n    return 3"), "more than once"),
    "the last of two of one name": (("return 2", "return 3"), "more than once"),
    "a third of one name": (("\nif __name__", "\ndef twice():\n    return 1\n\n\nif __name__"), "order, kind or number"),
    "the program's own part": (("    plain(1)\n", "    plain(2)\n"), "top level"),
    "a function made a class": (("def generator():\n    yield 1", "class generator:\n    pass"), "order, kind or number"),
}  # fmt: skip


@pytest.mark.parametrize("name", RESTARTS)
def test_everything_else_needs_a_restart(name):
    replacement, word = RESTARTS[name]
    found = plan(replacement)
    assert not found.safe
    assert word in " ".join(found.restart_reasons)


@pytest.mark.parametrize(
    "bad", ["def f(:\n", "def f():\n  return 1\n return 2\n", "x = '\x00'\n", "f" + "(" * 300, "-" * 100_000 + "1"]
)
def test_source_that_cannot_be_read_needs_a_restart(bad):
    good = "def f():\n    return 1\n"
    assert not plan_module("m.py", good, bad).safe
    assert not plan_module("m.py", bad, good).safe


def test_equal_sources_need_nothing():
    found = plan_module("m.py", SOURCE, SOURCE)
    assert found.safe
    assert found.definitions == ()


def test_a_refused_plan_still_names_what_could_be_swapped():
    found = plan(("LIMIT = 3", "LIMIT = [4]"), ("return a + b", "return a - b"))
    assert verdicts(found) == {"<module>": "restart", "plain": "swap"}
    assert found.restart_reasons == ("app/m.py:8: <module>: a statement of the module's top level changed",)


def test_overloads_and_registered_implementations_are_told_apart_by_their_order():
    source = """
    from functools import singledispatch
    from typing import overload

    @overload
    def f(x: int) -> int: ...
    @overload
    def f(x: str) -> str: ...
    def f(x):
        return x

    @singledispatch
    def show(x):
        return "any"

    @show.register
    def _(x: int):
        return "int"

    @show.register
    def _(x: str):
        return "str"
    """
    assert verdicts(plan(('"str"', '"text"'), base=source)) == {"_": "swap"}
    assert verdicts(plan(("return x", "return -x"), base=source)) == {"f": "swap"}


PLACES = {
    "bad source": (("return 5", "return ("), "<module>", 2, "the source does not compile: '(' was never closed (<unknown>, line 2)"),
    "source with a null": (("5", "'\0'"), "<module>", 1, "the source does not compile: source code string cannot contain null bytes"),
    "deep source": (("5", "-" * 100_000 + "1"), "<module>", 1, "the source is nested too deeply to be compared"),
    "a run by the import": (("return 4", "return 2"), "ran", 7, "it runs while the module is imported, and what it made then would stay"),
    "a method that the import calls": (("return 6", "return 6\n    def fresh(self): pass"), "C.fresh", 16, "the module's import would use it"),
    "a cache of unknown kind": (("return 6", "return 2"), "C.m", 13, "results kept by `cached_property` would stay"),
    "a cached caller": (("return 5", "return 2"), "called", 1, "results that `C.m` caches depend on it"),
    "a function that is no addition": (("def free", "@app\ndef fresh(): pass\ndef free"), "fresh", 17, "a new function with decorators or type parameters"),
    "code of another kind": (("return 7", "yield 7"), "outer.<locals>.inner", 4, "it became another kind of function (plain, generator, coroutine)"),
}  # fmt: skip

_PLACED = """def called():
    return 5
def outer():
    def inner():
        return 7
    return inner
def ran():
    return 4
X = ran()
X.fresh()
class C:
    @cached_property
    def m(self):
        called()
        return 6
def free():
    return 8
"""


@pytest.mark.parametrize("name", PLACES)
def test_a_refusal_says_what_it_is_about_and_where(name):
    replacement, qualname, line, reason = PLACES[name]
    found = plan_module("app/m.py", _PLACED, _PLACED.replace(*replacement).replace("return 8", "return 9"))
    assert found.restart_reasons == (f"app/m.py:{line}: {qualname}: {reason}",)
    # What could be swapped beside it is still told, where there is anything to compare.
    others = [item for item in found.definitions if item.action != "restart"]
    assert [item.qualname for item in others] == ([] if qualname == "<module>" else ["free"])


def test_a_safe_plan_comes_with_all_that_the_swap_needs():
    found = compile_plan("app/m.py", _PLACED, _PLACED.replace("return 8", "return 9"), filename="/srv/app/m.py")
    assert isinstance(found, CompiledPlan)
    assert found.plan == plan_module("app/m.py", _PLACED, _PLACED.replace("return 8", "return 9"))
    assert found.plan.path == "app/m.py"
    assert [(old.qualname, new.qualname) for old, new in found.differences.changed] == [("free", "free")]
    (changed,) = [item for item in found.pairing.pairs if item.changed]
    assert (changed.old.co_consts[-1], changed.new.co_consts[-1]) == (8, 9)
    assert changed.old.co_filename == changed.new.co_filename == "/srv/app/m.py"


@pytest.mark.parametrize("old_mark", ["", "\ufeff"])
@pytest.mark.parametrize("new_mark", ["", "\ufeff"])
def test_a_byte_order_mark_is_no_difference(old_mark, new_mark):
    found = plan_module("m.py", old_mark + "X = 1\n", new_mark + "X = 1\n")
    assert found.safe
    assert found.definitions == ()


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("def f():\n    return 1\n", "def f():\n    return 2\n", ""),
        ("@functools.cache\ndef f():\n    return 1\n", "@functools.cache\ndef f():\n    return 2\n", "a cache is in"),
        (
            "def f():\n    return 1\ng = functools.lru_cache(f)\n",
            "def f():\n    return 2\ng = functools.lru_cache(f)\n",
            "a cache is in",
        ),
        ("def f():\n    return sys._getframe()\n", "def f():\n    return 2\n", "looks at the frames"),
        (
            "from inspect import currentframe\ndef f():\n    return 1\n",
            "from inspect import currentframe\ndef f():\n    return currentframe()\n",
            "looks at the frames",
        ),
    ],
)
def test_a_swap_says_where_no_share_of_the_calls_can_have_it(old, new, why):
    plan = plan_module("m.py", old, new)
    assert plan.safe
    (found,) = plan.definitions
    assert (why in found.not_routable) and bool(found.not_routable) is bool(why)
    assert [reason.startswith("m.py:") for reason in plan.routing_obstacles] == [True] * bool(why)


def test_a_plan_that_is_kept_leads_to_the_trees_of_what_differs_and_not_of_the_file():
    """A change in force keeps its plan, and each object of it is one more for the collector and for every look."""
    filler = "".join(f"def f{index}(x):\n    return [x, {index}]\n" for index in range(50))
    planned = compile_plan(
        "app.py", f"def g():\n    return 1\n{filler}", f"def g():\n    return 2\n{filler}", filename="app.py"
    )
    assert isinstance(planned, CompiledPlan)
    seen, stack, names = set(), [planned], []
    while stack:
        item = stack.pop()
        if id(item) in seen or isinstance(item, (type, types.ModuleType, types.FunctionType, types.CodeType)):
            continue
        seen.add(id(item))
        names += [item.name] if isinstance(item, ast.FunctionDef) else []
        stack.extend(gc.get_referents(item))
    assert names == ["g", "g"]


UNBOUND = {
    "a body": ("def f(x):\n    return x\n", "def f(x):\n    return floor(x)\n", "f"),
    "a comprehension in it": ("def f(x):\n    return x\n", "def f(x):\n    return [floor(i) for i in x]\n", "f"),
    "a method": ("class C:\n    def f(self): return 1\n", "class C:\n    def f(self): return floor(1)\n", "C.f"),
    "a new function": ("X = 1\n", "X = 1\ndef f():\n    return floor(X)\n", "f"),
}


@pytest.mark.parametrize("name", UNBOUND)
def test_a_name_that_nothing_binds_is_found_beforehand(name):
    old, new, qualname = UNBOUND[name]
    plan = plan_module("m.py", old, new)
    assert verdicts(plan) == {qualname: "restart"} and "`floor`, which nothing binds" in plan.restart_reasons[0]


@pytest.mark.parametrize(
    "head",
    [
        "from math import floor",
        "from math import *",
        "if 1:\n    floor = int",
        "def g():\n    global floor\n    floor = int",
        "def g():\n    return floor",
    ],
)
def test_a_name_that_something_may_bind_is_left_to_the_process(head):
    old = f"{head}\ndef f(x):\n    return x\n"
    assert plan_module("m.py", old, old.replace("return x", "return floor(x), len(__file__)")).safe


def test_a_package_may_have_the_names_of_its_modules():
    old = "def f(x):\n    return x\n"
    assert plan_module("pkg/__init__.py", old, old.replace("return x", "return sub.value(x)")).safe
