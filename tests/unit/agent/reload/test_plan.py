"""The plan of one module, from its two texts alone. Refusals outnumber permissions by intent."""

# ruff: noqa: E501 - the tables of small sources are read line by line

import ast
import gc
import textwrap
import types

import pytest
from homeostat_agent.reload.plan import CompiledPlan, compile_plan, plan_module

_BASE = '''
"""A module."""
import functools
import os
from dataclasses import dataclass, field
from app import registry, Depends

LIMIT = 3
KEY = lambda item: item + 1
NAMES = [name for name in ("a", "b")]


def plain(a, b=1, *rest, c: int = 2, **more) -> int:
    """Says what."""
    return a + b


def calls_plain(x):
    return plain(x)


def generator():
    yield 1


async def coroutine():
    return 1


async def async_generator():
    yield 1


def with_lambda(items):
    return sorted(items, key=lambda item: item.a)


def outer(n):
    step = n

    def inner(x):
        return x + step

    return inner


def decorator(function):
    @functools.wraps(function)
    def wrapper(*args):
        return function(*args)

    return wrapper


@decorator
def decorated(x):
    return x


@registry.get("/items")
async def route(x, db=Depends(plain)):
    return x


@functools.lru_cache(maxsize=None)
def cached(x):
    return x


class Base:
    colour = "red"

    def __init__(self, x):
        if x < 0:
            raise ValueError("x")
        self.x = x

    def method(self):
        return 1

    def uses_super(self):
        return super().__repr__()

    @property
    def size(self):
        return 1

    @size.setter
    def size(self, value):
        self.kept = value

    @staticmethod
    def static(x):
        return x

    @classmethod
    def made(cls):
        return cls(1)

    def __secret(self):
        return 1

    class Inner:
        def deep(self):
            return 1


@dataclass
class Point:
    x: int
    y: int = field(default=0)

    def norm(self):
        return abs(self.x)


if LIMIT > 2:

    def conditional():
        return 1


def twice():
    return 1


def twice():
    return 2


if __name__ == "__main__":
    plain(1)
'''


def plan(*replacements, base=_BASE):
    new = base
    for before, after in replacements:
        assert new.count(before) >= 1, before
        new = new.replace(before, after, 1)
    return plan_module("app/m.py", textwrap.dedent(base), textwrap.dedent(new))


def verdicts(found):
    return {item.qualname: item.action for item in found.definitions}


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


ADDITIONS = {
    "a function": (
        "def generator():",
        "def fresh(a, b=-1, *, c=(1, 'x')):\n    return a\n\n\ndef generator():",
        "fresh",
    ),
    "an annotated function": (
        "def generator():",
        "def fresh(a: int, b: 'list[str] | None' = None) -> os.PathLike:\n    return a\n\n\ndef generator():",
        "fresh",
    ),
    "a coroutine": ("def generator():", "async def fresh():\n    return 1\n\n\ndef generator():", "fresh"),
    "a method": ("    @property", "    def fresh(self):\n        return 1\n\n    @property", "Base.fresh"),
    "a method with super": (
        "    @property",
        "    def fresh(self):\n        return super().__repr__()\n\n    @property",
        "Base.fresh",
    ),
    "a private method": ("    @property", "    def __fresh(self):\n        return 1\n\n    @property", "Base.__fresh"),
    "a method of a nested class": (
        "        def deep(",
        "        def fresh(self):\n            return 1\n\n        def deep(",
        "Base.Inner.fresh",
    ),
}


@pytest.mark.parametrize("name", ADDITIONS)
def test_new_plain_functions_are_added(name):
    before, after, qualname = ADDITIONS[name]
    found = plan((before, after))
    assert found.safe, found.restart_reasons
    assert verdicts(found) == {qualname: "add"}


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
    "the module's docstring": (("A module.", "The module."), "top level"),
    "a future import": (('"""A module."""', '"""A module."""\nfrom __future__ import annotations'), "top level"),
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
    "a class docstring": (("class Base:\n", 'class Base:\n    """New."""\n'), "body of the class"),
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


BAD_ADDITIONS = {
    "a decorated function": "@decorator\ndef fresh():\n    return 1\n",
    "a default that is no constant": "def fresh(a=LIMIT):\n    return 1\n",
    "a default that is a list": "def fresh(a=[]):\n    return 1\n",
    "an annotation that calls": "def fresh(a: Depends(1)):\n    return 1\n",
    "a special name": "def __getattr__(name):\n    return 1\n",
    "two of one name": "def fresh():\n    return 1\n\n\ndef fresh():\n    return 2\n",
    "a name that is bound": "def LIMIT():\n    return 1\n",
    "a name that is imported": "def os():\n    return 1\n",
    "a name that is bound in a branch": "def conditional():\n    return 1\n",
    "a built-in name that the top level uses": "def lru_cache():\n    return 1\n\n\ndef int():\n    return 1\n",
}


@pytest.mark.parametrize("name", BAD_ADDITIONS)
def test_other_new_functions_need_a_restart(name):
    assert not plan(("def generator():", BAD_ADDITIONS[name] + "\n\ndef generator():")).safe


BAD_METHODS = {
    "a special method": "def __eq__(self, other):\n        return True\n",
    "a property": "@property\n    def fresh(self):\n        return 1\n",
    "a name that the class body uses": "def property(self):\n        return 1\n",
    "a name of the class body": "def colour(self):\n        return 1\n",
}


@pytest.mark.parametrize("name", BAD_METHODS)
def test_other_new_methods_need_a_restart(name):
    assert not plan(("    def method(self):", f"    {BAD_METHODS[name]}\n    def method(self):")).safe


def test_a_new_method_of_a_decorated_class_needs_a_restart():
    assert not plan(("    def norm(", "    def fresh(self):\n        return 1\n\n    def norm(")).safe


IMPORT_TIME = {
    "a call": "X = f()",
    "a call of a caller": "X = g()",
    "a call in a condition": "if f():\n    pass",
    "a call in a comprehension": "X = [f() for _ in range(2)]",
    "a call in a default": "def h(x=f()):\n    return x",
    "a call in a class body": "class A:\n    x = f()",
    "a call in a lambda that is called": "X = (lambda: f())()",
    "a call through map": "X = list(map(f, [1]))",
    "a call through a table": "T = {'f': f}\nX = T['f']()",
    "a call through a variable": "h = f\nX = h()",
    "use as a decorator": "@f\ndef h():\n    return 1",
    "use as a decorator with arguments": "@f(1)\ndef h():\n    return 1",
    "use by unknown code": "import other\nother.run(f)",
    "use by a local function that calls it": "def run(x):\n    return x()\nrun(f)",
    "use by a decorator that calls it": "def run(x):\n    x()\n    return x\n@run\ndef h():\n    return 5",
    "its docstring": "X = f.__doc__",
    "exec": "exec('f()')",
    "an instance": "class A:\n    def __init__(self):\n        f()\nX = A()",
    "an instance of a subclass": "class A:\n    def __init__(self):\n        f()\nclass B(A):\n    pass\nX = B()",
    "a method called": "class A:\n    def run(self):\n        f()\nX = A().run()",
    "an annotation": "x: f() = 1",
    "a with statement": "class A:\n    def __enter__(self):\n        f()\n    def __exit__(self, *a):\n        pass\nwith A():\n    pass",
    "a base that hooks": "class A:\n    def __init_subclass__(cls):\n        f()\nclass B(A):\n    pass",
    "a default of an instance": "from dataclasses import dataclass, field\n@dataclass\nclass A:\n    x: int = field(default_factory=f)\nX = A()",
    "a default of an heir": "from app import Model, Field\nclass A(Model):\n    x = Field(default_factory=f)\nclass B(A):\n    pass\nX = B()",
    "a function by its name in a class": "class A:\n    x = staticmethod(f)\nX = A.x()",
    "a property by its name in a class": "class A:\n    x = property(f)\nX = A().x",
    "a method put into a class": "class A:\n    pass\nA.m = f\nX = A().m()",
    "a function that an instance holds": "class A:\n    def __init__(self, call):\n        self.call = call\n    def go(self):\n        return self.call()\nX = A(f).go()",
    "a member of an enumeration": "from enum import IntEnum\nclass E(IntEnum):\n    A = 1\n    def __init__(self, value):\n        self.other = f()",
    "a member of an heir of one": "import enum\nclass Flags(enum.IntFlag):\n    def __init__(self, value):\n        self.other = f()\nclass G(Flags):\n    A = 1",
    "a registered implementation": "from functools import singledispatch\n@singledispatch\ndef show(x):\n    return 5\n@show.register\ndef _(x: int):\n    return f()\nX = show(1)",
    "a class keyword": "from app import Base\nclass A(Base, hook=f):\n    pass",
    "its name as text": "import sys\nX = getattr(sys.modules[__name__], 'f')()",
    "a method's name as text": "from operator import methodcaller\nclass A:\n    def run(self):\n        return f()\nX = methodcaller('run')(A())",
    "a metaclass": "class M(type):\n    def __new__(m, *a):\n        f()\n        return type.__new__(m, *a)\nclass B(metaclass=M):\n    pass",
}


@pytest.mark.parametrize("name", IMPORT_TIME)
def test_what_import_itself_ran_needs_a_restart(name):
    source = "def f(*a):\n    return 1\n\n\ndef g():\n    return f()\n\n\n" + IMPORT_TIME[name] + "\n"
    edited = "return 5" if "return 5" in source else "return 1"
    found = plan_module("m.py", source, source.replace(edited, "return 2", 1))
    assert not found.safe
    assert "import" in " ".join(found.restart_reasons)


HARMLESS = {
    "a table": "T = {'f': f, 'g': [g]}",
    "a registration": "import app\napp.add_api_route('/x', f)",
    "a dependency": "from fastapi import Depends\ndef h(x=Depends(f)):\n    return x",
    "a partial": "import functools\nh = functools.partial(f, 1)",
    "the program's own part": "if __name__ == '__main__':\n    f()",
    "a call in a body": "def h():\n    return f()",
    "decorating it": "import app\n@app.get('/')\ndef h():\n    return f()",
    "a default of instances to come": "from dataclasses import dataclass, field\n@dataclass\nclass A:\n    x: int = field(default_factory=f)",
    "a property of a class": "class A:\n    x = property(f)\n    y = staticmethod(f)",
    "a function that instances will hold": "class A:\n    def __init__(self, call):\n        self.call = call\n    def go(self):\n        return self.call()\nX = A(f)",
    "an enumeration": "from enum import Enum\nclass E(Enum):\n    A = 1\n    def told(self):\n        return f()",
    "a registered implementation": "from functools import singledispatch\n@singledispatch\ndef show(x):\n    return 5\n@show.register\ndef _(x: int):\n    return f()",
    "a class keyword that is kept": "class Base:\n    def __init_subclass__(cls, hook):\n        cls.hook = hook\nclass A(Base, hook=f):\n    pass",
    "a class that takes its own name": "from app import A\nclass A(A):\n    def m(self):\n        return f()",
    "a local registry": "ALL = []\ndef keep(x):\n    ALL.append(x)\n    return x\nkeep(f)",
    "an instance that does not run it": "class A:\n    def __init__(self):\n        self.x = 1\n    def m(self):\n        return f()\nX = A()",
}


@pytest.mark.parametrize("name", HARMLESS)
def test_what_import_only_keeps_is_swapped(name):
    source = "def f(*a):\n    return 1\n\n\ndef g():\n    return f()\n\n\n" + HARMLESS[name] + "\n"
    found = plan_module("m.py", source, source.replace("return 1", "return 2", 1))
    assert found.safe, found.restart_reasons


CACHES = {
    "a cached property": "from functools import cached_property\nclass A:\n    @cached_property\n    def f(self):\n        return 1",
    "a cache of a library": "import cachetools\n@cachetools.cached({})\ndef f():\n    return 1",
    "a memo": "from app import memoize\n@memoize\ndef f():\n    return 1",
    "a cached caller": "from functools import lru_cache\ndef f():\n    return 1\n@lru_cache\ndef g(x):\n    return f()",
    "a cached caller's callee": "from functools import cache\ndef f():\n    return 1\ndef h():\n    return f()\n@cache\ndef g(x):\n    return h()",
    "a memo around it": "from app import memoize\ndef f():\n    return 1\ng = memoize(f)",
    "a memo with settings around it": "from app import memoize\ndef f():\n    return 1\ng = memoize(ttl=3)(function=f)",
    "a cached property of it": "from functools import cached_property\nclass A:\n    def f(self):\n        return 1\n    g = cached_property(f)",
    "a cache around a caller": "import functools\ndef f():\n    return 1\ndef g(x):\n    return f()\nh = functools.lru_cache(maxsize=None)(g)",
    "a cache around a caller in a function": "import functools\ndef f():\n    return 1\nclass A:\n    def g(self, x):\n        return f()\n    def __enter__(self):\n        self.g = functools.lru_cache(self.g)",
    "a cached caller of a method": "from functools import cache\nclass A:\n    def f(self):\n        return 1\n@cache\ndef g(x):\n    return x.f()",
}


@pytest.mark.parametrize("name", CACHES)
def test_results_that_a_cache_would_keep_need_a_restart(name):
    source = CACHES[name] + "\n"
    assert not plan_module("m.py", source, source.replace("return 1", "return 2")).safe


@pytest.mark.parametrize("cache", ["cache", "lru_cache"])
def test_a_cache_that_will_be_emptied_stands_in_no_ones_way(cache):
    source = f"import functools\ndef f():\n    return 1\ng = functools.{cache}(f)\n"
    found = plan_module("m.py", source, source.replace("return 1", "return 2"))
    assert found.safe, found.restart_reasons


@pytest.mark.parametrize(
    "bad", ["def f(:\n", "def f():\n  return 1\n return 2\n", "x = '\x00'\n", "f" + "(" * 300, "-" * 100_000 + "1"]
)
def test_source_that_cannot_be_read_needs_a_restart(bad):
    good = "def f():\n    return 1\n"
    assert not plan_module("m.py", good, bad).safe
    assert not plan_module("m.py", bad, good).safe


def test_equal_sources_need_nothing():
    found = plan_module("m.py", _BASE, _BASE)
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


@pytest.mark.parametrize("start, end", [("ran()", "1"), ("1", "ran()")])
def test_what_either_import_runs_needs_a_restart(start, end):
    old = f"def ran():\n    return 1\ndef on_the_way():\n    return {start}\nX = on_the_way()\n"
    new = f"# moved\ndef ran():\n    return 2\ndef on_the_way():\n    return {end}\nX = on_the_way()\n"
    assert verdicts(plan_module("m.py", old, new)) == {"ran": "restart", "on_the_way": "restart"}


@pytest.mark.parametrize("start, end", [("called()", "1"), ("1", "called()")])
def test_what_a_cached_function_called_or_will_call_needs_a_restart(start, end):
    tail = "@cache\ndef kept():\n    return on_the_way()\n"
    old = f"def called():\n    return 1\ndef on_the_way():\n    return {start}\n{tail}"
    new = f"# moved\ndef called():\n    return 2\ndef on_the_way():\n    return {end}\n{tail}"
    assert verdicts(plan_module("m.py", old, new)) == {"called": "restart", "on_the_way": "restart"}


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
        ("def f():\n    return 1\n", "def f():\n    return currentframe()\n", "looks at the frames"),
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
