"""Changed constants: the next call meets the new value, where nothing took the old one along."""

# ruff: noqa: E501 - the tables of small sources are read line by line

import dataclasses

import pytest
from canary_scene import terms
from homeostat_agent.reload.look import NEW, OLD
from homeostat_agent.reload.plan import plan_module

SOURCE = """
import functools
LIMIT = 5
NAMES = ("a", "b")
TEXT = "old"

def over(x):
    return x > LIMIT

def told():
    return [TEXT + name for name in NAMES]

def numbers():
    yield LIMIT
    yield LIMIT

class C:
    def limit(self):
        return LIMIT
"""

GOOD = {
    "a number": (("LIMIT = 5", "LIMIT = 7"), lambda m: (m.over(6), m.C().limit()), (True, 5), (False, 7)),
    "another type": (("LIMIT = 5", "LIMIT = 5.0"), lambda m: m.C().limit(), 5, 5.0),
    "none": (("LIMIT = 5", "LIMIT = None"), lambda m: m.C().limit(), 5, None),
    "a tuple": (('("a", "b")', '("a", "c")'), lambda m: m.told()[1], "oldb", "oldc"),
    "a text": (('TEXT = "old"', 'TEXT = "new"'), lambda m: m.told()[0], "olda", "newa"),
}


@pytest.mark.parametrize("name", GOOD)
def test_the_next_call_meets_the_new_value_and_the_old_comes_back(host, name):
    edit, call, old, new = GOOD[name]
    module = host.load("m", SOURCE)
    assert call(module) == old
    outcome = host.reloader.swap(host.edit("m", edit))
    assert outcome.outcome == "swapped" and len(outcome.functions) == 1, outcome.detail
    assert call(module) == new and type(call(module)) is type(new)
    assert vars(module)["LIMIT"] == vars(host.load("fresh", SOURCE.replace(*edit)))["LIMIT"]
    back = host.reloader.rollback("change-0")
    assert back.outcome == "swapped" and back.functions == outcome.functions
    assert call(module) == old and type(call(module)) is type(old)


def test_a_generator_that_waits_goes_on_and_meets_the_new_value_as_any_global(host):
    module = host.load("m", SOURCE)
    waiting = module.numbers()
    assert next(waiting) == 5
    assert host.swap("m", ("LIMIT = 5", "LIMIT = 7")).outcome == "swapped"
    assert next(waiting) == 7


def test_the_verdict_is_to_migrate_with_the_reason():
    plan = plan_module("m.py", SOURCE, SOURCE.replace("LIMIT = 5", "LIMIT = 7"))
    (found,) = plan.definitions
    assert (found.qualname, found.action, found.line) == ("LIMIT", "migrate", 3)
    assert "where the module still has the old one" in found.reason and found.not_routable


AFTER = {
    "a default": ("def more(x=LIMIT):\n    return x", "import uses `LIMIT`"),
    "another constant": ("TWICE = LIMIT * 2", "import uses `LIMIT`"),
    "an alias": ("ALIAS = LIMIT", "import uses `LIMIT`"),
    "the body of a class": ("class D:\n    limit = LIMIT", "import uses `LIMIT`"),
    "a decorator": ("@functools.lru_cache(maxsize=LIMIT)\ndef more():\n    return 1", "import uses `LIMIT`"),
    "a lambda of the top level": ("CHECK = lambda x: x > LIMIT", "import uses `LIMIT`"),
    "what runs at import": ("def made():\n    return LIMIT\nMADE = made()", "`made` uses it, which runs at import"),
    "what makes objects": ("class D:\n    def __init__(self):\n        self.limit = LIMIT", "objects that `__init__` made"),
    "a closure": ("def outer():\n    step = LIMIT\n    def inner():\n        return step\n    return inner", "what `outer` made so far"),
    "an inner lambda": ("def outer():\n    step = LIMIT\n    return lambda: step", "what `outer` made so far"),
    "a cached result": ("@functools.lru_cache\ndef kept():\n    return LIMIT", "`kept` caches depend on it"),
    "a cached caller": ("@functools.lru_cache\ndef kept():\n    return over(1)", "`kept` caches depend on it"),
    "a second binding": ("if TEXT:\n    LIMIT = 6", "bound more than once"),
    "a function that binds it": ("def reset():\n    global LIMIT\n    LIMIT = 6", "bound more than once"),
    "a loop that binds it": ("for LIMIT in (1, 2):\n    pass", "bound more than once"),
    "a name as text": ("__all__ = ['LIMIT']", "looked up as text"),
    "a look at all names": ("ALL = dict(globals())", "looks at all names"),
}  # fmt: skip


@pytest.mark.parametrize("name", AFTER)
def test_what_keeps_the_old_value_needs_a_restart(name):
    statements, reason = AFTER[name]
    source = f"{SOURCE}\n{statements}\n"
    plan = plan_module("m.py", source, source.replace("LIMIT = 5", "LIMIT = 7"))
    assert not plan.safe and reason in " ".join(plan.restart_reasons)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("LIMIT = 5", "LIMIT = [5]"),
        ("LIMIT = 5", "LIMIT = int('5')"),
        ("LIMIT = 5", "LIMIT: int = 5"),
        ("LIMIT = 5", "LIMIT = OTHER = 5"),
        ("LIMIT = 5\n", ""),
        ('LIMIT = 5\nNAMES = ("a", "b")', 'NAMES = ("a", "b")\nLIMIT = 5'),
    ],
)
def test_anything_but_another_literal_needs_a_restart(before, after):
    plan = plan_module("m.py", SOURCE, SOURCE.replace(before, after))
    assert not plan.safe and "top level" in " ".join(plan.restart_reasons)


OTHERS = {
    "an import of the name": ("from {package}.m import LIMIT", "imports `LIMIT` by its name"),
    "an import by another name": ("from {package}.m import LIMIT as mine", "imports `LIMIT` by its name"),
    "an import inside a function": ("def f():\n    from {package}.m import LIMIT\n    return LIMIT", "imports `LIMIT` by its name"),
    "an import of all names": ("from {package}.m import *", "imports all names of `m`"),
    "a copy": ("from {package} import m\nMINE = m.LIMIT", "import uses `LIMIT`"),
    "a default": ("from {package} import m\ndef f(x=m.LIMIT):\n    return x", "import uses `LIMIT`"),
    "an object": ("from {package} import m\nclass D:\n    def __init__(self):\n        self.x = m.LIMIT", "objects that `__init__` made"),
    "a name as text": ("from {package} import m\nMINE = getattr(m, 'LIMIT')", "looked up as text"),
    "a call at import": ("from {package} import m\ndef f():\n    return m.LIMIT\nMINE = f()", "which runs at import"),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_a_module_that_took_it_along_stands_against_it(host, name):
    statements, reason = OTHERS[name]
    module = host.load("m", SOURCE)
    host.load("other", statements.format(package=host.package) + "\n")
    outcome = host.swap("m", ("LIMIT = 5", "LIMIT = 7"), ("x > LIMIT", "x >= LIMIT"))
    assert outcome.outcome == "restart_required" and reason in outcome.detail, outcome.detail
    assert module.LIMIT == 5 and not module.over(5)


def test_a_module_that_asks_for_it_at_each_call_meets_the_new_value(host):
    host.load("m", SOURCE)
    other = host.load("other", f"from {host.package} import m\nLIMIT = 1\ndef f():\n    return m.LIMIT + LIMIT\n")
    assert host.swap("m", ("LIMIT = 5", "LIMIT = 7")).outcome == "swapped"
    assert other.f() == 8


def test_a_value_that_was_changed_while_the_program_ran_is_left_alone(host):
    module = host.load("m", SOURCE)
    module.LIMIT = 6
    outcome = host.swap("m", ("LIMIT = 5", "LIMIT = 7"))
    assert outcome.outcome == "restart_required" and "another value than its source gives it" in outcome.detail
    assert module.LIMIT == 6


def test_a_value_that_was_changed_since_stays_at_a_rollback(host):
    module = host.load("m", SOURCE)
    assert host.swap("m", ("LIMIT = 5", "LIMIT = 7")).outcome == "swapped"
    module.LIMIT = 9
    host.reloader.rollback("change-0")
    assert module.LIMIT == 9


def test_a_changed_constant_has_no_canary(host):
    module = host.load("m", SOURCE)
    outcome = host.reloader.canary(host.edit("m", ("LIMIT = 5", "LIMIT = 7"), ("x > LIMIT", "x >= LIMIT")), terms(100))
    assert outcome.outcome == "not_routable" and "one value for both arms" in outcome.detail
    assert module.LIMIT == 5


def test_which_value_runs_is_told(host):
    host.load("m", SOURCE)
    change = host.edit("m", ("LIMIT = 5", "LIMIT = 7"))
    assert host.reloader.prepare(change).runs == OLD
    host.reloader.swap(change)
    assert host.reloader.prepare(change).runs == NEW
    host.reloader.rollback(change.id)
    assert host.reloader.prepare(change).runs == OLD


def test_a_process_that_started_from_the_new_source_gets_the_old_value_back(host):
    new = SOURCE.replace("LIMIT = 5", "LIMIT = 7")
    module = host.load("m", new)
    change = host.change("m", SOURCE, new, change_id="c")
    assert host.reloader.swap(change).outcome == "swapped" and module.LIMIT == 7
    assert host.reloader.rollback("c").outcome == "swapped" and module.LIMIT == 5


def test_a_rollback_says_what_a_module_took_along_of_the_new_value(host):
    new = SOURCE.replace("LIMIT = 5", "LIMIT = 7")
    module = host.load("m", new)
    host.load("other", f"from {host.package}.m import LIMIT\n")
    change = host.change("m", SOURCE, new, change_id="c")
    assert host.reloader.swap(change).outcome == "swapped"
    back = host.reloader.rollback("c")
    assert back.outcome == "restart_required" and "imports `LIMIT` by its name" in back.detail
    assert module.LIMIT == 5


def test_constants_of_a_module_without_functions_are_set_with_those_who_ask_for_them(host):
    host.load("config", "LIMIT = 5\n")
    users = f"from {host.package} import config\ndef f():\n    return config.LIMIT\n"
    module = host.load("users", users)
    one = host.change("config", "LIMIT = 5\n", "LIMIT = 7\n")
    two = host.change("users", users, users.replace("return config.LIMIT", "return -config.LIMIT"))
    change = dataclasses.replace(one, modules=one.modules + two.modules)
    assert host.reloader.swap(change).outcome == "swapped" and module.f() == -7
    assert host.reloader.rollback(change.id).outcome == "swapped" and module.f() == 5
