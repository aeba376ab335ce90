"""New imports, constants and classes: bound as an import of the new source would have bound them, or not at all."""

# ruff: noqa: E501 - the tables of small sources are read line by line

import dataclasses
import gc
import sys
import textwrap
import types

import pytest
from canary_scene import terms
from homeostat_agent.reload.look import NEW, OLD
from homeostat_agent.reload.plan import plan_module

BASE = """
import functools
from dataclasses import dataclass

class AppError(Exception):
    def told(self):
        return "app"

class Meta(type):
    pass

class Watched:
    heirs = []
    def __init_subclass__(cls, **more):
        Watched.heirs.append(cls)

class Odd(metaclass=Meta):
    pass

def f(x):
    return x

def broken():
    return json.dumps([1])
"""


def with_names(names, *, body="x"):
    """Return BASE with these statements, and with what `f` returns."""
    source = BASE.replace("def f(x):", textwrap.dedent(names).strip("\n") + "\n\ndef f(x):")
    return source.replace("    return x\n", f"    return {body}\n")


def swap(host, new):
    module = host.load("m", BASE)
    host.write("m", new)
    return module, host.reloader.swap(host.change("m", BASE, new, change_id="c"))


GOOD = {
    "a constant": ("LIMIT = 3", "x + LIMIT", 4),
    "a negative constant in a tuple": ("LIMITS = (-3, 'a', None)", "LIMITS", (-3, "a", None)),
    "a dictionary": ("TABLE = {'a': [1], 'b': {2}}", "TABLE", {"a": [1], "b": {2}}),
    "a module that is loaded": ("import sys", "sys.maxsize", sys.maxsize),
    "a module of the standard library": ("import colorsys", "colorsys.rgb_to_hsv(0, 0, 0)", (0.0, 0.0, 0)),
    "a module below another": ("import xml.dom.minidom", "xml.dom.minidom.__name__", "xml.dom.minidom"),
    "a module by another name": ("import os.path as place", "place.basename('a/b')", "b"),
    "a name of a module": ("from os.path import basename, dirname as up", "basename('a/b') + up('a/b')", "ba"),
    "a value of the standard library": ("from os import sep", "sep", "/"),
    "one more name of an import": ("from functools import partial", "partial(int, '3')()", 3),
    "an exception": ("class Bad(AppError):\n    code = 4", "(Bad().told(), Bad.code)", ("app", 4)),
    "a class with methods": (
        "class Point:\n    '''Doc.'''\n    def __init__(self, a: int = 1) -> None:\n        self.a = a\n"
        "    @property\n    def double(self):\n        return self.a * 2\n"
        "    @double.setter\n    def double(self, value):\n        self.a = value\n"
        "    @classmethod\n    def of(cls, a):\n        return cls(a)\n",
        "(Point.of(3).double, Point.__doc__, Point.__module__.split('.')[1], Point.__qualname__)",
        (6, "Doc.", "m", "Point"),
    ),
    "a dataclass": (
        "import dataclasses\n@dataclasses.dataclass(frozen=True)\nclass Point:\n    a: int\n"
        "    b: list = dataclasses.field(default_factory=list)\n",
        "(Point(x), Point(x) == Point(1, []))",
        None,
    ),
    "a dataclass by a name that is there": ("@dataclass\nclass Point:\n    a: int = 2", "Point().a", 2),
    "an enumeration": ("import enum\nclass Colour(enum.Enum):\n    RED = 1", "Colour(1).name", "RED"),
    "a class and its heir": ("class A:\n    k = 2\nclass B(A):\n    pass", "B().k", 2),
    "an exception of a new import": ("import json\nclass Bad(json.JSONDecodeError):\n    pass", "Bad.__mro__[1].__name__", "JSONDecodeError"),
}  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_new_names_are_bound_and_taken_away_again(host, name):
    statements, body, value = GOOD[name]
    new = with_names(statements, body=body)
    module, outcome = swap(host, new)
    assert outcome.outcome == "swapped", outcome.detail
    found = module.f(1)
    assert found == value if value is not None else found[1]
    assert outcome.functions and any(item.endswith(":f") for item in outcome.functions)
    fresh = host.load("fresh", new)
    assert set(vars(module)) == set(vars(fresh))
    before = set(vars(host.load("old", BASE)))
    assert host.reloader.rollback("c").outcome == "swapped"
    assert set(vars(module)) == before and module.f(1) == 1


def test_a_new_class_is_made_once_and_only_when_the_change_goes_live(host):
    new = with_names("class Fresh(AppError):\n    pass", body="Fresh")
    module = host.load("m", BASE)
    change = host.change("m", BASE, new, change_id="c")
    for _ in range(2):
        assert host.reloader.prepare(change).outcome == "swapped"
    assert module.AppError.__subclasses__() == [] and not hasattr(module, "Fresh")
    assert host.reloader.swap(change).outcome == "swapped"
    first = module.Fresh
    assert host.reloader.swap(change).outcome == "swapped"
    assert module.Fresh is first and module.AppError.__subclasses__() == [first]
    host.reloader.rollback("c")
    del first
    gc.collect()
    assert module.AppError.__subclasses__() == []


def test_a_missing_import_is_mended_where_nothing_else_changes(host):
    module, outcome = swap(host, BASE.replace("import functools", "import functools\nimport json"))
    assert outcome.outcome == "swapped" and module.broken() == "[1]"
    host.reloader.rollback("c")
    with pytest.raises(NameError):
        module.broken()


def test_a_helper_that_the_same_change_adds_elsewhere_can_be_imported(host):
    helpers = "def old():\n    return 1\n"
    users = f"from {host.package}.helpers import old\ndef f():\n    return old()\n"
    more = helpers + "def fresh():\n    return 2\nclass Bad(Exception):\n    pass\n"
    using = f"from {host.package}.helpers import old, fresh, Bad\ndef f():\n    return fresh(), Bad.__name__\n"
    host.load("helpers", helpers)
    module = host.load("users", users)
    one, two = host.change("users", users, using), host.change("helpers", helpers, more)
    change = dataclasses.replace(one, modules=one.modules + two.modules)
    assert host.reloader.swap(change).outcome == "swapped"
    assert module.f() == (2, "Bad")
    assert module.Bad is sys.modules[f"{host.package}.helpers"].Bad
    assert host.reloader.rollback(change.id).outcome == "swapped"
    assert module.f() == 1 and not hasattr(module, "fresh")


@pytest.mark.parametrize("young", ["helpers", "users"])
def test_modules_come_in_no_order_and_one_that_needs_the_names_of_another_waits_for_it(host, young):
    """In which order they are looked at is the collector's: what is young comes before what is old, or after it."""
    helpers = "def old():\n    return 1\n"
    users = f"from {host.package}.helpers import old\ndef f():\n    return old()\n"
    more = helpers.replace("def old", "LIMIT = 3\nclass Bad(Exception):\n    pass\ndef old")
    using = users.replace("import old", "import old, LIMIT, Bad").replace("return old()", "return LIMIT, Bad.__name__")
    modules = {"helpers": host.load("helpers", helpers), "users": host.load("users", users)}
    gc.collect()
    for name, function in list(vars(modules[young]).items()):
        if isinstance(function, types.FunctionType) and function.__module__ == modules[young].__name__:
            setattr(modules[young], name, types.FunctionType(function.__code__, vars(modules[young]), name))
    one, two = host.change("users", users, using), host.change("helpers", helpers, more)
    outcome = host.reloader.swap(dataclasses.replace(one, modules=one.modules + two.modules))
    assert outcome.outcome == "swapped", outcome.detail
    assert modules["users"].f() == (3, "Bad")


def test_modules_that_need_new_names_of_each_other_are_not_swapped_as_they_could_not_be_imported(host):
    one_text, two_text = "def f():\n    return 1\n", "def g():\n    return 1\n"
    one, two = host.load("one", one_text), host.load("two", two_text)
    changes = [
        host.change("one", one_text, f"A = 1\nfrom {host.package}.two import B\n{one_text}"),
        host.change("two", two_text, f"B = 1\nfrom {host.package}.one import A\n{two_text}"),
    ]
    change = dataclasses.replace(changes[0], modules=changes[0].modules + changes[1].modules)
    assert host.reloader.swap(change).outcome == "restart_required"
    assert not hasattr(one, "A") and not hasattr(two, "B")


BAD = {
    "a call": ("LIMIT = int('3')", "top level"),
    "a name that the module has": ("f = 3", "top level"),
    "two of one name": ("LIMIT = 3\nLIMIT = 4", "more than once"),
    "a name that is rebound in a function": ("LIMIT = 3\ndef g():\n    global LIMIT\n    LIMIT = 4", "more than once"),
    "a special name": ("__version__ = 3", "has a meaning already"),
    "a built-in name": ("from os import open", "has a meaning already"),
    "a name that import would use": ("LIMIT = 3\ndef g(a=LIMIT):\n    pass", "import would use the new name"),
    "a name that import would use in a call": ("LIMIT = 3\ndef g():\n    return LIMIT\nMADE = g()", "top level"),
    "a look at all heirs": ("class A(AppError):\n    pass\nALL = AppError.__subclasses__()", "top level"),
    "a look at all names": ("LIMIT = 3\nALL = dir()", "top level"),
    "several targets": ("A = B = 3", "top level"),
    "an import of everything": ("from os import *", "top level"),
    "a future": ("import json\nfrom __future__ import annotations", "does not compile"),
    "a class decorator": ("@functools.total_ordering\nclass A:\n    pass", "decorators"),
    "a metaclass": ("class A(metaclass=Meta):\n    pass", "keywords"),
    "a base that is called": ("class A(type(f)):\n    pass", "more than names"),
    "a body that runs": ("class A:\n    print(1)", "more than define and assign"),
    "a value that is made": ("class A:\n    x = f(1)", "not constants"),
    "a default that is made": ("class A:\n    def m(self, x=f(1)):\n        pass", "not constants"),
    "a decorated method": ("class A:\n    @functools.cache\n    def m(self):\n        pass", "decorated methods"),
    "slots": ("class A:\n    __slots__ = ('a',)", "special or private name"),
    "a class that runs with its heirs": ("class A:\n    def __init_subclass__(cls):\n        pass", "__init_subclass__"),
    "a class inside": ("class A:\n    class B:\n        pass", "more than define and assign"),
}  # fmt: skip


TOLD = """
import dataclasses
@dataclasses.dataclass
class Row:
    x: {annotation} = 1

def f():
    return 1
"""


@pytest.mark.parametrize("annotation", ["'CV[int]'", "list['CV']", "CV[int]"])
def test_a_name_that_an_annotation_says_as_text_was_met_at_import(annotation):
    """A dataclass looks such a name up: with it, this would be no field."""
    old = TOLD.format(annotation=annotation)
    plan = plan_module(
        "m.py", old, old.replace("import dataclasses", "import dataclasses\nfrom typing import ClassVar as CV")
    )
    assert not plan.safe and "import would use the new name" in " ".join(plan.restart_reasons)


@pytest.mark.parametrize("name", BAD)
def test_what_an_import_would_have_run_needs_a_restart(name):
    statements, reason = BAD[name]
    plan = plan_module("m.py", BASE, with_names(statements))
    assert not plan.safe
    assert reason in " ".join(plan.restart_reasons)


REFUSED = {
    "a module that is not loaded": ("import not_there_at_all", "is not loaded here"),
    "a name that its module has not": ("from os import no_such_name", "has no `no_such_name`"),
    "a value of a module of ours": ("from {package}.other import STATE", "may have been another value"),
    "a metaclass of ours": ("class A(Odd):\n    pass", "the metaclass of `Odd`"),
    "a base that looks at its heirs": ("class A(Watched):\n    pass", "`Watched` looks at new classes"),
    "a base that is no class": ("class A(f):\n    pass", "metaclass"),
    "a base that is not there": ("class A(Nowhere):\n    pass", "has no `Nowhere`"),
    "a base that somebody walks": ("from {package}.other import Walked\nclass A(Walked):\n    pass", "may look at the heirs"),
    "a dataclass that is another": ("import {package}.other as o\n@o.dataclass\nclass A:\n    pass", "not that of a dataclass"),
    "one of our own that walks": ("class A(AppError):\n    pass\ndef walk():\n    return A.__subclasses__()", "may look at the heirs"),
    "a loud module": ("import this", "is not loaded here"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_process_does_not_have_needs_a_restart(host, name):
    statements, reason = REFUSED[name]
    host.load(
        "other", "STATE = []\nclass Walked:\n    pass\nALL = Walked.__subclasses__()\ndef dataclass(c):\n    return c\n"
    )
    sys.modules.pop("this", None)
    new = with_names(statements.format(package=host.package), body="x + 1")
    module, outcome = swap(host, new)
    assert outcome.outcome == "restart_required" and reason in outcome.detail
    assert module.f(1) == 1 and not hasattr(module, "A")


def test_a_name_that_somebody_put_there_meanwhile_is_left_alone(host):
    new = with_names("LIMIT = 3", body="x + LIMIT")
    module = host.load("m", BASE)
    module.LIMIT = 4
    outcome = host.reloader.swap(host.change("m", BASE, new))
    assert outcome.outcome == "restart_required" and "`LIMIT` is there already" in outcome.detail
    assert (module.f(1), module.LIMIT) == (1, 4)


STAR = "from {package}.other import *\n\ndef f(x):\n    return slug(x), TABLE['n']\n"
OTHER = "def slug(x):\n    return x\nTABLE = {'n': 1}\n"


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("from {package}.other import slug", "slug"),
        ("TABLE = {{'n': 5}}", "TABLE"),
        ("TABLE = {{'n': 1}}", "TABLE"),
    ],
)
def test_a_name_that_is_there_by_another_way_is_left_to_the_host(host, statement, name):
    """Whatever it means: bound anew it may mean something else, and at a rollback it would be gone."""
    host.load("other", OTHER)
    old = STAR.format(package=host.package)
    new = old.replace("\n\n", f"\n{statement.format(package=host.package)}\n\n", 1).replace("slug(x)", "slug(x) + 0")
    module = host.load("m", old)
    change = host.change("m", old, new, change_id="c")
    outcome = host.reloader.swap(change)
    assert outcome.outcome == "restart_required" and f"`{name}` is there already" in outcome.detail
    assert host.reloader.prepare(change).runs == OLD
    host.reloader.rollback("c")
    assert module.f(3) == (3, 1)


@pytest.mark.parametrize("body", ["x", "x + 1"])
def test_a_submodule_that_is_loaded_stays_with_its_package(host, body):
    host.load("sub", "def g():\n    return 7\n")
    package = sys.modules[host.package]
    old = "def f(x):\n    return x\n"
    host.write("__init__", old)
    exec(compile(old, package.__file__, "exec"), vars(package))
    new = "from . import sub\n" + old.replace("return x", f"return {body}")
    change = host.change("__init__", old, new, change_id="c")
    outcome = host.reloader.swap(change)
    assert outcome.outcome == "restart_required" and "`sub` is there already" in outcome.detail
    assert host.reloader.prepare(change).runs == OLD
    host.reloader.rollback("c")
    assert package.sub.g() == 7


def test_what_a_process_of_the_new_source_has_by_another_way_too_stays_at_a_rollback(host):
    host.load("other", OTHER)
    old = STAR.format(package=host.package)
    new = f"from {host.package}.other import slug\n{old}".replace("slug(x)", "slug(x) * 2")
    module = host.load("m", new)
    change = host.change("m", old, new, change_id="c")
    assert host.reloader.swap(change).outcome == "swapped" and module.f(3) == (6, 1)
    back = host.reloader.rollback("c")
    assert back.outcome == "restart_required" and "the host may have had it before" in back.detail
    assert module.f(3) == (3, 1)


def test_a_function_that_is_the_same_as_one_by_a_star_import_is_not_the_changes(host):
    text = "def slug(x):\n    return x\n"
    host.load("other", text)
    old = f"def f(x):\n    return slug(x)\nfrom {host.package}.other import *\n"
    module = host.load("m", old)
    outcome = host.reloader.swap(host.change("m", old, text + old, change_id="c"))
    assert outcome.outcome == "restart_required"
    host.reloader.rollback("c")
    assert module.f(1) == 1


@pytest.mark.parametrize(("present", "runs"), [("{'a': [1]}", NEW), ("{'a': [2]}", NEW)])
def test_a_process_of_new_names_alone_is_seen_as_new_and_keeps_them(host, present, runs):
    """No function tells which source it is of, so nothing is taken away: that may have been there before."""
    old, new = "LIMIT = 5\n", "LIMIT = 5\nTABLE = {'a': [1]}\n"
    module = host.load("m", new.replace("{'a': [1]}", present))
    change = host.change("m", old, new, change_id="c")
    assert host.reloader.prepare(change).runs == runs
    outcome = host.reloader.swap(change).outcome
    assert outcome == ("swapped" if present == "{'a': [1]}" else "restart_required")
    assert host.reloader.rollback("c").outcome == ("restart_required" if outcome == "swapped" else "swapped")
    assert module.TABLE


def test_a_container_that_was_filled_since_is_still_the_changes_own(host):
    new = with_names("SEEN = {}", body="SEEN.setdefault(x, 1)")
    module, outcome = swap(host, new)
    assert outcome.outcome == "swapped" and module.f(5) == 1
    change = host.change("m", BASE, new, change_id="c")
    assert host.reloader.swap(change).outcome == "swapped" and module.SEEN == {5: 1}
    host.reloader.rollback("c")
    assert not hasattr(module, "SEEN")


def test_a_process_that_started_from_the_new_source_is_brought_back(host):
    new = with_names("import json\nLIMIT = 3\nclass A:\n    def m(self):\n        return 1", body="x + LIMIT")
    module = host.load("m", new)
    change = host.change("m", BASE, new, change_id="c")
    assert host.reloader.swap(change).outcome == "swapped"
    assert host.reloader.rollback("c").outcome == "swapped"
    assert module.f(1) == 1
    assert not [name for name in ("json", "LIMIT", "A") if hasattr(module, name)]


def test_which_source_runs_is_told_by_names_where_no_function_tells(host):
    new = BASE.replace("import functools", "import functools\nimport json")
    host.load("m", BASE)
    change = host.change("m", BASE, new, change_id="c")
    assert host.reloader.prepare(change).runs == OLD
    host.reloader.swap(change)
    assert host.reloader.prepare(change).runs == NEW
    host.reloader.rollback("c")
    assert host.reloader.prepare(change).runs == OLD


def test_in_a_canary_new_names_are_there_for_both_arms_and_go_with_it(host):
    new = with_names("LIMIT = 3\nclass A:\n    pass", body="x + LIMIT")
    module = host.load("m", BASE)
    assert host.reloader.canary(host.change("m", BASE, new, change_id="c"), terms(100)).outcome == "swapped"
    assert module.f(1) == 4 and module.A
    first = module.A
    assert host.reloader.promote("c").outcome == "swapped"
    assert module.A is first and module.f(1) == 4
    host.reloader.rollback("c")
    assert module.f(1) == 1 and not hasattr(module, "LIMIT")


@pytest.mark.parametrize(
    ("new", "reason"),
    [
        (BASE.replace("import functools", "import functools\nimport json"), "no function changed"),
        (with_names("import json", body="x + 1"), "would meet it on both arms"),
    ],
)
def test_what_unchanged_code_would_meet_has_no_canary(host, new, reason):
    module = host.load("m", BASE)
    outcome = host.reloader.canary(host.change("m", BASE, new), terms(100))
    assert outcome.outcome == "not_routable" and reason in outcome.detail
    assert not hasattr(module, "json")


def test_a_class_that_cannot_be_made_puts_everything_back(host):
    """Two names of one value are no error to the compiler, but to the class."""
    new = with_names("import enum\nLIMIT = 3\nclass A(enum.Enum):\n    ONE = 1\n    ONE = 2", body="x + LIMIT")
    module, outcome = swap(host, new)
    assert outcome.outcome == "failed" and "everything was put back" in outcome.detail
    assert module.f(1) == 1
    assert not [name for name in ("enum", "LIMIT", "A") if hasattr(module, name)]
