"""Changed annotations and docstrings: whoever asks meets the new ones, where nobody had asked before."""

# ruff: noqa: E501 - the tables of small sources are read line by line

import functools
import typing

import pytest
from canary_scene import terms
from homeostat_agent.reload.look import NEW, OLD
from homeostat_agent.reload.plan import plan_module
from reload_host import in_words

SOURCE = '''
"""A module."""
import abc
import dataclasses
import enum
import functools
import typing

LIMIT: int = 3

def plain(a: int, b: "str" = "x", *rest: int, c: float = 1.0) -> int:
    """Says what."""
    return a

class C:
    """A class."""
    size: int = 1
    other: "str"

    @property
    def width(self) -> int:
        return 1
    @width.setter
    def width(self, value: int) -> None:
        pass
    @staticmethod
    def static(a: int):
        return a
    @classmethod
    def made(cls, a: int):
        return a
    def __len__(self) -> int:
        return 1
    def __init__(self, a: int = 1):
        self.a = a
    class Part:
        """A part."""
        def deep(self, a: int):
            return a

class Silent(abc.ABC):
    pass

class Generic(typing.Generic[typing.TypeVar("T")]):
    """Of any."""
    kept: int

@dataclasses.dataclass
class Point:
    """A point."""
    x: int = 1
    def norm(self) -> int:
        return 1

class Kinds(enum.Enum):
    """Kinds."""
    ONE = 1

class Quiet(enum.Enum):
    ONE = 1

class Pair(typing.NamedTuple):
    """A pair."""
    a: int

class Heir(Silent):
    y: int = 1

class Last(Heir):
    """The last."""

@functools.lru_cache(maxsize=None)
def cached(x: int):
    """Old words."""
    return x

@functools.singledispatch
def show(x):
    return 1

@show.register
def _(x: int):
    return 2

def handed(x: int):
    """Handed."""
    return x

TABLE = [handed]
'''

GOOD = {
    "a parameter's": ("def plain(a: int", "def plain(a: float", lambda m: m.plain.__annotations__["a"], int, float),
    "what is returned": ("c: float = 1.0) -> int", "c: float = 1.0) -> str", lambda m: m.plain.__annotations__["return"], int, str),
    "one of more parameters": ("*rest: int", "*rest: typing.List[int]", lambda m: m.plain.__annotations__["rest"], int, typing.List[int]),  # noqa: UP006
    "a text": ('b: "str"', 'b: "bytes"', lambda m: m.plain.__annotations__["b"], "str", "bytes"),
    "a new one": ("def deep(self, a: int)", "def deep(self: 'object', a: int)", lambda m: list(m.C.Part.deep.__annotations__), ["a"], ["self", "a"]),
    "one that goes": ("def static(a: int)", "def static(a)", lambda m: m.C.static.__annotations__, {"a": int}, {}),
    "a class method's": ("def made(cls, a: int)", "def made(cls, a: bytes)", lambda m: m.C.made.__annotations__, {"a": int}, {"a": bytes}),
    "a getter's": ("def width(self) -> int", "def width(self) -> float", lambda m: m.C.width.fget.__annotations__, {"return": int}, {"return": float}),
    "a setter's": ("value: int", "value: float", lambda m: m.C.width.fset.__annotations__["value"], int, float),
    "a special method's": ("def __len__(self) -> int", "def __len__(self) -> bool", lambda m: m.C.__len__.__annotations__["return"], int, bool),
    "a dataclass's method's": ("def norm(self) -> int", "def norm(self) -> 'C'", lambda m: m.Point.norm.__annotations__["return"], int, "C"),
    "a class of the module": ("def norm(self) -> int", "def norm(self) -> C", lambda m: m.Point.norm.__annotations__["return"].__name__, "int", "C"),
    "with body and default": ("c: float = 1.0) -> int:\n    \"\"\"Says what.\"\"\"\n    return a", "c: int = 2) -> int:\n    \"\"\"Says more.\"\"\"\n    return c", lambda m: (m.plain(7), m.plain.__doc__, m.plain.__annotations__["c"]), (7, "Says what.", float), (2, "Says more.", int)),
    "a variable of the module": ("LIMIT: int = 3", "LIMIT: float = 3", lambda m: m.__annotations__["LIMIT"], int, float),
    "a constant with an annotation": ("LIMIT: int = 3", "LIMIT: int = 4", lambda m: m.LIMIT, 3, 4),
    "a constant and its annotation": ("LIMIT: int = 3", "LIMIT: float = 4.5", lambda m: (m.LIMIT, m.__annotations__["LIMIT"]), (3, int), (4.5, float)),
    "a variable of a class": ("size: int = 1", "size: float = 1", lambda m: m.C.__annotations__["size"], int, float),
    "a variable without value": ('other: "str"', 'other: "bytes"', lambda m: m.C.__annotations__["other"], "str", "bytes"),
    "a variable of a generic class": ("kept: int", "kept: str", lambda m: m.Generic.__annotations__["kept"], int, str),
    "a module's docstring": ('"""A module."""', '"""The module."""', lambda m: m.__doc__, "A module.", "The module."),
    "a docstring that goes": ('"""A module."""', "", lambda m: m.__doc__, "A module.", None),
    "a class's docstring": ('"""A class."""', '"""The\n    class.\n    """', lambda m: m.C.__doc__.split(), ["A", "class."], ["The", "class."]),
    "a class's first docstring": ("class Silent(abc.ABC):\n    pass", "class Silent(abc.ABC):\n    \"\"\"Not silent.\"\"\"\n    pass", lambda m: m.Silent.__doc__, None, "Not silent."),
    "a part's docstring": ('"""A part."""', '"""The part."""', lambda m: m.C.Part.__doc__, "A part.", "The part."),
    "an enumeration's docstring": ('"""Kinds."""', '"""All kinds."""', lambda m: m.Kinds.__doc__, "Kinds.", "All kinds."),
    "a dataclass's docstring": ('"""A point."""', '"""The point."""', lambda m: m.Point.__doc__, "A point.", "The point."),
    "a cached function's docstring": ('"""Old words."""', '"""New words."""', lambda m: (m.cached.__doc__, m.cached.__wrapped__.__doc__), ("Old words.",) * 2, ("New words.",) * 2),
}  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_whoever_asks_after_the_swap_meets_what_is_new_and_it_goes_back(host, name):
    before, after, ask, old, new = GOOD[name]
    module = host.load("m", SOURCE)
    assert ask(module) == old
    first = in_words(module)
    outcome = host.swap("m", (before, after))
    assert outcome.outcome == "swapped" and len(outcome.functions) == 1, outcome.detail
    assert ask(module) == new
    assert in_words(module) == in_words(host.load("fresh", SOURCE.replace(before, after)))
    back = host.reloader.rollback("change-0")
    assert back.outcome == "swapped" and back.functions == outcome.functions
    assert ask(module) == old and in_words(module) == first


BAD = {
    "of a decorated function": (("def cached(x: int)", "def cached(x: float)"), "decorated function"),
    "of a registered implementation": (("def _(x: int)", "def _(x: float)"), "decorated function"),
    "of what makes objects": (("def __init__(self, a: int", "def __init__(self, a: str"), "special method"),
    "of what import hands on": (("def handed(x: int)", "def handed(x: str)"), "import hands it on"),
    "of a dataclass": (("x: int = 1", "x: float = 1"), "decorators or keywords"),
    "of a named tuple": (("a: int\n\nclass Heir", "a: float\n\nclass Heir"), "`NamedTuple` made the class"),
    "that calls": (("def plain(a: int", "def plain(a: print()"), "more than names"),
    "that names what comes later": (("def plain(a: int", "def plain(a: C"), "which import binds later"),
    "that names its own class": (("def static(a: int", "def static(a: C"), "which import binds later"),
    "that names what is bound twice": (("import abc\n", "import abc\nif LIMIT_ := 1:\n    abc = abc\n"), "top level"),
    "a new variable": (("size: int = 1", "size: int = 1\n    fresh: int"), "body of the class"),
    "a variable that is annotated now": (("TABLE = ", "TABLE: list = "), "top level"),
    "a dataclass's first docstring": (('    """A point."""\n', ""), "where none is written"),
    "all as texts": (('"""A module."""\n', '"""A module."""\nfrom __future__ import annotations\n'), "decorated"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_somebody_asked_for_at_import_needs_a_restart(name):
    replacement, reason = BAD[name]
    assert replacement[0] in SOURCE
    plan = plan_module("m.py", SOURCE, SOURCE.replace(*replacement, 1))
    assert not plan.safe and reason in " ".join(plan.restart_reasons), plan.restart_reasons


SEEN = {
    "a route's docstring": "import app\n@app.get('/')\ndef f():\n    '''Old.'''\n    return 1\n",
    "a command's docstring": "import click\n@click.command()\ndef f():\n    '''Old.'''\n    return 1\n",
    "a docstring that is handed on": "import app\ndef f():\n    '''Old.'''\n    return 1\napp.add_api_route('/', f)\n",
    "a docstring that a decorator keeps": "PAGES = []\ndef page(function):\n    PAGES.append(function.__doc__)\n    return function\n@page\ndef f():\n    '''Old.'''\n    return 1\n",
    "a module's docstring at import": "'''Old.'''\nfrom argparse import ArgumentParser\nPARSER = ArgumentParser(description=__doc__)\n",
    "a module's docstring in what import runs": "'''Old.'''\ndef make():\n    return __doc__\nMADE = make()\n",
    "a class's docstring at import": "import inspect\nclass C:\n    '''Old.'''\nHELP = inspect.getdoc(C)\n",
    "a decorated class's": "import app\n@app.model\nclass C:\n    '''Old.'''\n",
    "that of a class with a metaclass": "import app\nclass C(metaclass=app.Meta):\n    '''Old.'''\n",
    "that of a class that is handed on": "import app\nclass C:\n    '''Old.'''\napp.add(C)\n",
    "an annotation that the module asks for": "import typing\nX: 'Old.' = 1\nHINTS = typing.get_type_hints(object)\n",
    "an annotation of a class that is handed on": "import app\nclass C:\n    x: 'Old.'\napp.add(C)\n",
    "an annotation of a model": "from pydantic import BaseModel\nclass C(BaseModel):\n    x: 'Old.'\n",
    "an annotation that is there twice": "class C:\n    x: 'Old.'\n    x: int\n",
    "an annotation of a private name": "class C:\n    __x: 'Old.'\n",
}  # fmt: skip


@pytest.mark.parametrize("name", SEEN)
def test_a_reader_that_the_text_shows_needs_a_restart(name):
    assert not plan_module("m.py", SEEN[name], SEEN[name].replace("Old.", "New.")).safe


def test_a_docstring_that_only_calls_read_stands_in_no_ones_way():
    source = "'''Old.'''\nimport argparse\ndef main():\n    return argparse.ArgumentParser(description=__doc__)\n"
    plan = plan_module("m.py", source, source.replace("Old", "New"))
    assert plan.safe and [item.action for item in plan.definitions] == ["migrate"]


TEXTS = """
LIMIT: int = 1
def f(a: int, b: "str" = "x") -> float:
    return a
class C:
    size: int = 1
    def m(self, other: "C") -> "typing.Any":
        return other
"""


def test_all_annotations_become_texts(host):
    module = host.load("m", TEXTS)
    first = in_words(module)
    outcome = host.swap("m", ("\nLIMIT", "from __future__ import annotations\nLIMIT"), ("return a", "return -a"))
    assert outcome.outcome == "swapped", outcome.detail
    assert module.f.__annotations__ == {"a": "int", "b": "'str'", "return": "float"} and module.f(1) == -1
    assert in_words(module) == in_words(host.load("fresh", (host.root / host.path("m")).read_text()))
    assert host.reloader.rollback("change-0").outcome == "swapped"
    assert in_words(module) == first and not hasattr(module, "annotations")


def test_texts_may_name_what_is_not_there(host):
    source = "from __future__ import annotations\ndef f(a: int):\n    return a\nclass C:\n    x: int\n"
    module = host.load("m", source)
    assert host.swap("m", ("a: int", "a: Later[C()]"), ("x: int", "x: Later")).outcome == "swapped"
    assert (module.f.__annotations__, module.C.__annotations__) == ({"a": "Later[C()]"}, {"x": "Later"})


def test_what_makes_functions_whose_annotations_become_texts_needs_a_restart():
    source = "def f():\n    def g(a: int):\n        return a\n    return g\n"
    assert not plan_module("m.py", source, "from __future__ import annotations\n" + source).safe


def test_annotations_may_name_what_the_same_change_binds(host):
    module = host.load("m", "import typing\n\ndef f(a: int):\n    return a\n")
    head = (
        "from typing import Optional\n\nclass Fresh:\n    pass\n\ndef g(a: Optional[Fresh]) -> 'Fresh':\n    return a\n"
    )
    outcome = host.swap("m", ("\ndef f(a: int)", f"{head}\ndef f(a: Optional[Fresh], b=1)"[:-4] + ")"))
    assert outcome.outcome == "swapped", outcome.detail
    wanted = typing.Union[module.Fresh, None]  # noqa: UP007 - as evaluated
    assert module.f.__annotations__ == {"a": wanted} and module.g.__annotations__ == {"a": wanted, "return": "Fresh"}
    assert host.reloader.rollback("change-0").outcome == "swapped"
    assert module.f.__annotations__ == {"a": int} and not hasattr(module, "Fresh")


def test_an_annotation_that_cannot_be_evaluated_needs_a_restart_and_changes_nothing(host):
    module = host.load("m", "import typing\n\ndef f(a: int):\n    return a\n")
    outcome = host.swap("m", ("a: int", "a: typing.Missing"), ("return a", "return -a"))
    assert outcome.outcome == "restart_required" and "cannot be evaluated (AttributeError)" in outcome.detail
    assert (module.f(1), module.f.__annotations__) == (1, {"a": int})


def made_of(module):
    return type("Other", (module.C,), {})


def table_of_classes(module):
    return [module.C]


@pytest.mark.parametrize("hold", [made_of, table_of_classes])
def test_a_holder_of_the_class_may_have_read_its_annotations(host, hold):
    module = host.load("m", SOURCE)
    held = hold(module)
    outcome = host.swap("m", ("size: int = 1", "size: float = 1"))
    assert outcome.outcome == "restart_required" and "may have read it" in outcome.detail and held
    assert module.C.__annotations__["size"] is int


@pytest.mark.parametrize("hold", [lambda m: [m.plain], lambda m: functools.partial(m.plain)])
def test_a_holder_of_the_function_may_have_read_its_annotations(host, hold):
    module = host.load("m", SOURCE)
    held = hold(module)
    outcome = host.swap("m", ("def plain(a: int", "def plain(a: float"))
    assert outcome.outcome == "restart_required" and "may have looked at its signature" in outcome.detail and held


METACLASS = """
class Meta(type):
    def __new__(meta, name, bases, space):
        space["told"] = (space.get("__doc__"), sorted(space.get("__annotations__", {})))
        return type.__new__(meta, name, bases, space)
class Base(metaclass=Meta):
    pass
class Hook:
    def __init_subclass__(cls):
        cls.told = vars(cls)["__doc__"]
"""


@pytest.mark.parametrize("base", ["Base", "Hook"])
@pytest.mark.parametrize("edit", [("'''Old.'''", "'''New.'''"), ("x: int", "x: float")])
def test_whoever_made_the_class_may_have_read_it(host, base, edit):
    host.load("bases", METACLASS)
    module = host.load("m", f"from {host.package}.bases import {base}\nclass C({base}):\n    '''Old.'''\n    x: int\n")
    outcome = host.swap("m", edit)
    assert outcome.outcome == "restart_required", outcome.detail
    assert module.C.__doc__ == "Old." and module.C.__annotations__ == {"x": int}


READERS = {
    "docstrings of functions": ("from {m} import plain\nHELP = plain.__doc__\n", ("Says what.", "Says more.")),
    "docstrings": ("import {m}\nHELP = {m}.plain.__doc__\n", ("A class.", "Of a class.")),
    "docstrings by the inspector": ("from inspect import getdoc\nfrom {m} import C\nHELP = getdoc(C)\n", ("A module.", "The.")),
    "annotations": ("from {m} import C\nHINTS = C.__annotations__\n", ("size: int = 1", "size: float = 1")),
    "hints": ("import typing\nimport {m}\nHINTS = typing.get_type_hints({m}.plain)\n", ("def plain(a: int", "def plain(a: str")),
}  # fmt: skip


@pytest.mark.parametrize("name", READERS)
def test_another_module_that_reads_such_things_stands_against_it(host, name):
    reader, edit = READERS[name]
    module = host.load("m", SOURCE)
    host.load("reader", reader.format(m=f"{host.package}.m"))
    first = in_words(module)
    outcome = host.swap("m", edit)
    assert outcome.outcome == "restart_required" and "reader" in outcome.detail, outcome.detail
    assert in_words(module) == first


def test_what_the_program_set_itself_is_left_alone(host):
    module = host.load("m", SOURCE)
    module.C.__doc__, module.plain.__annotations__["a"], module.C.__annotations__["size"] = "Mine.", bytes, bytes
    for edit in (("A class.", "The class."), ("def plain(a: int", "def plain(a: float"), ("size: int", "size: float")):
        assert "another than its source gives" in host.swap("m", edit).detail
    assert (module.C.__doc__, module.C.__annotations__["size"], module.plain.__annotations__["a"]) == (
        "Mine.",
        bytes,
        bytes,
    )


@pytest.mark.parametrize("name", ["Quiet", "Pair"])
def test_a_class_that_makes_a_docstring_where_none_is_written_takes_none_later(host, name):
    source = SOURCE.replace('    """A pair."""\n', "")
    host.load("m", source)
    head = next(line for line in source.splitlines() if line.startswith(f"class {name}("))
    outcome = host.swap("m", (f"{head}\n", f'{head}\n    """Told."""\n'))
    assert outcome.outcome == "restart_required" and "where none is written" in outcome.detail


EDITS = [("A class.", "The class."), ("def plain(a: int", "def plain(a: float"), ("size: int", "size: float")]


@pytest.mark.parametrize("edit", EDITS)
def test_which_source_describes_what_runs_is_told(host, edit):
    module = host.load("m", SOURCE)
    change = host.edit("m", edit)
    assert host.reloader.prepare(change).runs == OLD
    host.reloader.swap(change)
    assert host.reloader.prepare(change).runs == NEW
    first = in_words(module)
    assert host.reloader.rollback(change.id).outcome == "swapped"
    assert host.reloader.prepare(change).runs == OLD and in_words(module) != first


@pytest.mark.parametrize("edit", EDITS)
def test_a_process_that_started_from_the_new_source_gets_the_old_back(host, edit):
    new = SOURCE.replace(*edit)
    module = host.load("m", new)
    change = host.change("m", SOURCE, new, change_id="c")
    assert host.reloader.swap(change).outcome == "swapped" and in_words(module) == in_words(host.load("n", new))
    assert host.reloader.rollback("c").outcome == "swapped"
    assert in_words(module) == in_words(host.load("o", SOURCE))


def test_both_arms_of_a_canary_keep_what_describes_them_until_all_calls_run_the_new(host):
    module = host.load("m", SOURCE)
    first = in_words(module)
    edits = [("def plain(a: int", "def plain(a: float"), ("return a\n\nclass C", "return -a\n\nclass C"), *EDITS[::2]]
    change = host.edit("m", *edits)
    assert host.reloader.canary(change, terms(100)).outcome == "swapped"
    assert module.plain(1) == -1 and in_words(module) == first
    assert host.reloader.promote(change.id).outcome == "swapped"
    assert in_words(module) == in_words(host.load("fresh", (host.root / host.path("m")).read_text()))
    assert host.reloader.rollback(change.id).outcome == "swapped" and in_words(module) == first


def test_descriptions_alone_have_no_canary(host):
    host.load("m", SOURCE)
    outcome = host.reloader.canary(host.edit("m", ("A class.", "The class.")), terms(100))
    assert outcome.outcome == "not_routable" and "nothing can be sent" in outcome.detail


def test_what_looked_for_waiting_calls_holds_nothing_afterwards(host):
    """A list of all young objects that had itself among them held the function, and stood against the swap."""
    source = "def f(a: int):\n    return a\ndef g():\n    yield 1\nclass C:\n    x: int = 1\n"
    module = host.load("m", source)
    waiting = module.g()
    next(waiting)
    change = host.edit("m", ("a: int", "a: float"), ("x: int", "x: float"), ("yield 1", "yield 2"))
    assert host.reloader.prepare(change).outcome == "swapped"
    outcome = host.reloader.swap(change)
    assert outcome.outcome == "swapped", outcome.detail
