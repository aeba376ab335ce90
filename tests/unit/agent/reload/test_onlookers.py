"""Other modules that met the absence of a new name, or took all names along: they would stay as they are."""

# ruff: noqa: E501 - the tables of small sources are read line by line

import dataclasses

import pytest
from homeostat_agent.reload.onlookers import onlooker

BASE = """
LIMIT = 5

class Kind:
    def known(self):
        return LIMIT

def f(x):
    return x
"""
NEW_NAME = BASE.replace("LIMIT = 5", "LIMIT = 5\nFRESH = 20").replace("return x", "return x + FRESH")
NEW_FUNCTION = BASE.replace("def f(x):", "def FRESH():\n    return 20\n\ndef f(x):")
NEW_CLASS = BASE.replace("def f(x):", "class FRESH:\n    kind = 1\n\ndef f(x):")
NEW_IMPORT = BASE.replace("LIMIT = 5", "LIMIT = 5\nimport os as FRESH")
NEW_METHOD = BASE.replace("def known(self):", "def FRESH(self):\n        return 1\n    def known(self):")
SIDES = {
    "a constant": NEW_NAME,
    "a function": NEW_FUNCTION,
    "a class": NEW_CLASS,
    "an import": NEW_IMPORT,
}

MET = {
    "getattr with something instead": ("from {package} import m\nMINE = getattr(m, 'FRESH', 10)", "looks `FRESH` up as text"),
    "a question whether it is there": ("from {package} import m\nHAS = hasattr(m, 'FRESH')", "looks `FRESH` up as text"),
    "an import that may fail": ("try:\n    from {package}.m import FRESH\nexcept ImportError:\n    FRESH = 10", "imports `FRESH` by its name"),
    "an attribute that may fail": ("from {package} import m\ntry:\n    MINE = m.FRESH\nexcept AttributeError:\n    MINE = 10", "asks for a `FRESH`"),
    "an import of all names": ("from {package}.m import *", "imports all names of `m`"),
    "a relative import of all names": ("from .m import *", "imports all names of `m`"),
    "vars": ("from {package} import m\nALL = sorted(vars(m))", "may look at all its names (`vars`)"),
    "dir": ("from {package} import m\nALL = dir(m)", "may look at all its names (`dir`)"),
    "the dictionary": ("from {package} import m\nALL = dict(m.__dict__)", "may look at all its names (`__dict__`)"),
    "members": ("import inspect\nfrom {package} import m\nALL = inspect.getmembers(m)", "may look at all its names (`getmembers`)"),
    "members by another name": ("from inspect import getmembers as g\nfrom {package} import m\nALL = g(m)", "may look at all its names (`getmembers`)"),
    "a name that is put together": ("from {package} import m\nMINE = getattr(m, 'FRE' + 'SH', 1)", "may look at all its names (`getattr`)"),
    "getattr handed on": ("from {package} import m\nMINE = list(map(getattr, [m], ['LIM' + 'IT']))", "may look at all its names (`getattr`)"),
    "getattr by another name": ("from builtins import getattr as g\nfrom {package} import m\nMINE = g(m, 'FRE' + 'SH', 1)", "may look at all its names (`getattr`)"),
    "another name of the module": ("import {package}.m as shop\nMINE = getattr(shop, 'FRESH', 10)", "looks `FRESH` up as text"),
    "a module by its name as text": ("import importlib\nM = importlib.import_module('{package}.' + chr(109))\nALL = dir(M)", "may look at all its names (`dir`)"),
    "all modules": ("import sys\nALL = [dir(item) for item in list(sys.modules.values())]", "may look at all its names (`dir`)"),
    "a source that does not compile": (None, "does not compile"),
}  # fmt: skip


@pytest.mark.parametrize("name", MET)
@pytest.mark.parametrize("side", SIDES)
def test_a_module_that_met_the_absence_of_a_new_name_stands_against_it(host, name, side):
    statements, reason = MET[name]
    module = host.load("m", BASE)
    if statements is None:
        host.load("other", "import os\n")
        host.write("other", "import os (\n")
    else:
        host.load("other", statements.format(package=host.package) + "\n")
    before = set(vars(module))
    outcome = host.reloader.swap(host.change("m", BASE, SIDES[side]))
    assert outcome.outcome == "restart_required" and f"{host.package}.other" in outcome.detail
    assert reason in outcome.detail and set(vars(module)) == before


@pytest.mark.parametrize("name", ["a question whether it is there", "vars", "members", "a name that is put together"])
def test_a_module_that_met_the_absence_of_a_method_stands_against_it(host, name):
    statements, reason = MET[name]
    module = host.load("m", BASE)
    host.load("other", statements.format(package=host.package).replace("m)", "m.Kind)").replace("(m,", "(m.Kind,"))
    outcome = host.reloader.swap(host.change("m", BASE, NEW_METHOD))
    assert outcome.outcome == "restart_required" and reason in outcome.detail
    assert not hasattr(module.Kind, "FRESH")


def test_a_module_that_is_met_by_another_name_of_a_third_one_is_the_same(host):
    host.load("m", BASE)
    host.load("between", f"import {host.package}.m as shop\n")
    host.load("other", f"from {host.package}.between import shop\nMINE = getattr(shop, 'FRESH', 10)\n")
    outcome = host.reloader.swap(host.change("m", BASE, NEW_NAME))
    assert outcome.outcome == "restart_required" and "looks `FRESH` up as text" in outcome.detail


HARMLESS = {
    "another name": "from {package} import m\nMINE = getattr(m, 'f', 10)",
    "its own name": "from {package} import m\nFRESH = 3\ndef g():\n    return m.f(FRESH)",
    "a look at something else": "import json\nALL = dir(json)",
    "an import of all names from elsewhere": "from {package} import m\nfrom os.path import *",
}


@pytest.mark.parametrize("name", HARMLESS)
@pytest.mark.parametrize("side", SIDES)
def test_a_module_that_did_not_ask_for_it_does_not_stand_against_it(host, name, side):
    module = host.load("m", BASE)
    host.load("other", HARMLESS[name].format(package=host.package) + "\n")
    change = host.change("m", BASE, SIDES[side], change_id="c")
    outcome = host.reloader.swap(change)
    assert outcome.outcome == "swapped" and hasattr(module, "FRESH"), outcome.detail
    assert host.reloader.rollback("c").outcome == "swapped" and not hasattr(module, "FRESH")


TOOK = {
    "vars": "from {package} import m\nCONF = {{k: v for k, v in vars(m).items() if k.isupper()}}",
    "dir": "from {package} import m\nclass Conf:\n    pass\nfor k in dir(m):\n    setattr(Conf, 'k' + k, None)",
    "the dictionary": "from {package} import m\nCONF = dict(m.__dict__)",
    "a name that is put together": "from {package} import m\nMINE = getattr(m, 'LIM' + 'IT')",
    "a module by its name as text": "import importlib\nm = importlib.import_module('{package}.m')\nMINE = [getattr(m, n) for n in ('LIM' 'IT'.upper(),)]",
}  # fmt: skip


@pytest.mark.parametrize("name", TOOK)
def test_a_module_that_took_all_names_along_stands_against_a_changed_constant(host, name):
    module = host.load("m", BASE)
    host.load("other", TOOK[name].format(package=host.package) + "\n")
    outcome = host.swap("m", ("LIMIT = 5", "LIMIT = 7"))
    assert outcome.outcome == "restart_required" and "may look at all its names" in outcome.detail
    assert module.LIMIT == 5


def test_an_object_of_the_old_source_stands_against_a_changed_constant_though_the_new_makes_none(host):
    """The disk has the new source already, in which nobody keeps the value any more."""
    users = f"from {host.package} import config\nclass C:\n    def __init__(self):\n        pass\n        assert config.LIMIT\n"
    config = host.load("config", "LIMIT = 5\n")
    host.load("users", users)
    one = host.edit("users", ("        assert config.LIMIT\n", ""))
    two = host.edit("config", ("LIMIT = 5", "LIMIT = 7"))
    outcome = host.reloader.swap(dataclasses.replace(one, modules=one.modules + two.modules))
    assert outcome.outcome == "restart_required" and "objects that `__init__` made" in outcome.detail
    assert config.LIMIT == 5


def test_a_module_of_the_same_change_may_ask_for_the_name_in_its_new_source(host):
    users = f"from {host.package}.m import f\ndef g():\n    return f(1)\n"
    host.load("m", BASE)
    module = host.load("users", users)
    one = host.edit("m", (BASE, NEW_NAME))
    two = host.edit("users", ("import f\n", "import f\nfrom . import m\n"), ("return f(1)", "return f(1) + m.FRESH"))
    change = dataclasses.replace(one, modules=one.modules + two.modules)
    assert host.reloader.swap(change).outcome == "swapped" and module.g() == 41
    assert host.reloader.rollback(change.id).outcome == "swapped" and module.g() == 1


def test_a_rollback_says_who_may_have_taken_a_name_along_since(host):
    module = host.load("m", BASE)
    change = host.change("m", BASE, NEW_NAME, change_id="c")
    host.reloader.swap(change)
    host.load("later", f"from {host.package}.m import FRESH\n")
    back = host.reloader.rollback("c")
    assert back.outcome == "restart_required" and "imports `FRESH` by its name" in back.detail
    assert not hasattr(module, "FRESH") and module.f(1) == 1


@pytest.mark.parametrize(
    ("source", "looks"),
    [
        ("getattr(m, 'a')", ""),
        ("getattr(m, 'a', None)", ""),
        ("attrgetter('a', 'b')", ""),
        ("from operator import attrgetter", ""),
        ("getattr(m, name)", "getattr"),
        ("getattr(*given)", "getattr"),
        ("hasattr(m, f'a{b}')", "hasattr"),
        ("attrgetter('a', name)", "attrgetter"),
        ("find = getattr", "getattr"),
        ("from builtins import vars", "vars"),
        ("exec('x = 1')", "exec"),
    ],
)
def test_what_looks_at_names_that_no_text_says(source, looks):
    assert onlooker(source).looks == looks
