"""Changed defaults: whoever calls the function meets them, where nobody had looked at its signature."""

# ruff: noqa: E501 - the tables of small sources are read line by line

import functools
import inspect

import pytest
from canary_scene import terms
from homeostat_agent.reload.look import NEW, OLD
from homeostat_agent.reload.plan import plan_module

SOURCE = """
import functools

def plain(a, b=1, *rest, c: int = 2, d=(1, 2), **more):
    return a, b, rest, c, d, more

def keeps(x=[], y=1):
    x.append(y)
    return x

def calls():
    return plain(0)

@functools.lru_cache
def cached(x=1):
    return x

def under():
    return inner()

def inner(x=1):
    return x

kept = functools.lru_cache(maxsize=None)(lambda: 1)

class C:
    def method(self, a=1):
        return a
    @staticmethod
    def static(a=1):
        return a
    @classmethod
    def made(cls, a=1):
        return a
    @property
    def size(self):
        return 1
    def __init__(self, a=1):
        self.a = a
    def __call__(self, a=1):
        return a

def handed(a=1):
    return a

TABLE = [handed]

def outer():
    def nested(a=1):
        return a
    return nested
"""

GOOD = {
    "a positional one": ("b=1, *rest", "b=5, *rest", lambda m: m.plain(0)[1], 1, 5),
    "one of another type": ("b=1, *rest", "b=True, *rest", lambda m: m.plain(0)[1], 1, True),
    "a keyword one": ("c: int = 2", "c: int = -3", lambda m: m.plain(0)[3], 2, -3),
    "a tuple": ("d=(1, 2)", "d=(1, None)", lambda m: m.plain(0)[4], (1, 2), (1, None)),
    "for callers as well": ("c: int = 2", "c: int = 4", lambda m: m.calls()[3], 2, 4),
    "a method's": ("def method(self, a=1)", "def method(self, a=2)", lambda m: m.C().method(), 1, 2),
    "a static method's": ("def static(a=1)", "def static(a=2)", lambda m: m.C.static(), 1, 2),
    "a class method's": ("def made(cls, a=1)", "def made(cls, a=2)", lambda m: m.C().made(), 1, 2),
    "with the body": (
        "def inner(x=1):\n    return x",
        "def inner(x=2):\n    return x * 10",
        lambda m: m.under(),
        1,
        20,
    ),
    "a new one": ("def plain(a, b=1", "def plain(a=7, b=1", lambda m: m.plain(b=1)[0], TypeError, 7),
    "one that goes": ("def inner(x=1)", "def inner(x)", lambda m: m.under(), 1, TypeError),
    "a list": ("y=1", "y=[1]", lambda m: m.keeps()[-1], 1, [1]),
}


def answer(call, module):
    try:
        return call(module)
    except TypeError:
        return TypeError


@pytest.mark.parametrize("name", GOOD)
def test_a_changed_default_is_there_for_the_next_call_and_goes_back(host, name):
    before, after, call, old, new = GOOD[name]
    module = host.load("m", SOURCE)
    assert answer(call, module) == old
    outcome = host.reloader.swap(host.edit("m", (before, after)))
    assert outcome.outcome == "swapped" and len(outcome.functions) == 1, outcome.detail
    assert answer(call, module) == new and type(answer(call, module)) is type(new)
    fresh = host.load("fresh", SOURCE.replace(before, after))
    assert str(inspect.signature(module.plain)) == str(inspect.signature(fresh.plain))
    back = host.reloader.rollback("change-0")
    assert back.outcome == "swapped" and back.functions == outcome.functions
    assert answer(call, module) == old and type(answer(call, module)) is type(old)


def test_a_default_that_did_not_change_stays_the_object_that_it_is(host):
    module = host.load("m", SOURCE)
    module.keeps()
    kept = module.keeps.__defaults__[0]
    assert host.swap("m", ("y=1", "y=2")).outcome == "swapped"
    assert module.keeps() is kept and kept == [1, 2]
    host.reloader.rollback("change-0")
    assert module.keeps() is kept and kept == [1, 2, 1]


def test_two_changes_of_one_default_follow_each_other(host):
    module = host.load("m", SOURCE)
    for value in (5, 6):
        assert (
            host.swap("m", ("def inner(x=1" if value == 5 else "def inner(x=5", f"def inner(x={value}")).outcome
            == "swapped"
        )
        assert module.under() == value
    assert host.reloader.rollback("change-1").outcome == "swapped" and module.under() == 5
    assert host.reloader.rollback("change-0").outcome == "swapped" and module.under() == 1


def test_a_generator_that_waits_in_the_function_does_not_stand_against_it(host):
    module = host.load("m", "def numbers(a=1):\n    yield a\n    yield a\n")
    waiting = module.numbers()
    next(waiting)
    assert host.swap("m", ("a=1", "a=2")).outcome == "swapped"
    assert list(module.numbers()) == [2, 2] and list(waiting) == [1]


BAD = {
    "of a decorated function": (("def cached(x=1)", "def cached(x=2)"), "decorated"),
    "of what makes objects": (("def __init__(self, a=1)", "def __init__(self, a=2)"), "special method"),
    "of a special method": (("def __call__(self, a=1)", "def __call__(self, a=2)"), "special method"),
    "to a name": (("def inner(x=1)", "def inner(x=TABLE)"), "no constant"),
    "to a call": (("def inner(x=1)", "def inner(x=calls())"), "no constant"),
    "from a container": (("x=[], y=1", "x=None, y=1"), "was no constant"),
    "that import hands on": (("def handed(a=1)", "def handed(a=2)"), "import hands it on"),
    "of a nested function": (("def nested(a=1)", "def nested(a=2)\n        # more"), ""),
    "with a parameter": (("def inner(x=1)", "def inner(x=1, y=2)"), "signature"),
    "where signatures are looked at": (
        (
            "import functools\n\ndef plain(a, b=1",
            "import functools\nimport inspect\nSIG = inspect.signature\ndef plain(a, b=2",
        ),
        "",
    ),
    "of a function that a cached one calls": (
        (
            "kept = functools.lru_cache(maxsize=None)(lambda: 1)\n\nclass C:\n    def method(self, a=1)",
            "kept = functools.lru_cache(maxsize=None)(lambda: 1)\n\n@functools.total_ordering\nclass C:\n    def method(self, a=2)",
        ),
        "decorators",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_somebody_may_have_looked_at_needs_a_restart(name):
    edit, reason = BAD[name]
    new = SOURCE.replace(*edit)
    if name == "of a nested function":  # the body of what makes it changed, which is another matter
        assert plan_module("m.py", SOURCE, new.replace("\n        # more", "")).definitions[0].qualname == "outer"
        return
    plan = plan_module("m.py", SOURCE, new)
    assert not plan.safe and reason in " ".join(plan.restart_reasons)


def test_results_that_a_cache_would_keep_stand_against_it():
    source = "import functools\ndef f(x=1):\n    return x\n@functools.lru_cache\ndef g():\n    return f()\n"
    plan = plan_module("m.py", source, source.replace("x=1", "x=2"))
    assert "caches depend on it" in " ".join(plan.restart_reasons)


def hold_in_a_list(module):
    return [module.inner]


def hold_in_a_partial(module):
    return functools.partial(module.inner)


def hold_a_bound_method(module):
    return module.C().method


def hold_in_an_object(module):
    class Holder:
        call = None

    held = Holder()
    held.call = module.inner
    return held


@pytest.mark.parametrize("hold", [hold_in_a_list, hold_in_a_partial, hold_a_bound_method, hold_in_an_object])
def test_a_holder_that_may_have_looked_at_the_signature_stands_against_it(host, hold):
    module = host.load("m", SOURCE)
    held = hold(module)
    outcome = host.swap("m", ("def inner(x=1)", "def inner(x=2)"), ("def method(self, a=1)", "def method(self, a=2)"))
    assert outcome.outcome == "restart_required" and "may have looked at its signature" in outcome.detail
    assert (module.under(), module.C().method()) == (1, 1) and held


def test_a_module_that_imported_the_function_by_name_meets_the_new_default(host):
    module = host.load("m", SOURCE)
    other = host.load("other", f"from {host.package}.m import inner as mine\n")
    assert host.swap("m", ("def inner(x=1)", "def inner(x=2)")).outcome == "swapped"
    assert (module.under(), other.mine()) == (2, 2)


def test_another_module_that_looks_at_signatures_stands_against_it(host):
    host.load("m", SOURCE)
    host.load("other", f"import inspect\nfrom {host.package}.m import inner\nSIGNATURE = inspect.signature(inner)\n")
    outcome = host.swap("m", ("def inner(x=1)", "def inner(x=2)"))
    assert outcome.outcome == "restart_required" and "other looks at signatures" in outcome.detail


def test_defaults_that_were_changed_while_the_program_ran_are_left_alone(host):
    module = host.load("m", SOURCE)
    module.inner.__defaults__ = (9,)
    outcome = host.swap("m", ("def inner(x=1)", "def inner(x=2)"))
    assert outcome.outcome == "restart_required" and "while the program ran" in outcome.detail
    assert module.under() == 9


def test_a_changed_default_has_no_canary(host):
    module = host.load("m", SOURCE)
    outcome = host.reloader.canary(
        host.edit("m", ("def inner(x=1):\n    return x", "def inner(x=2):\n    return -x")), terms(100)
    )
    assert outcome.outcome == "not_routable" and "one set of them for both arms" in outcome.detail
    assert module.under() == 1


def test_which_defaults_run_is_told(host):
    module = host.load("m", SOURCE)
    change = host.edit("m", ("def inner(x=1)", "def inner(x=2)"))
    assert host.reloader.prepare(change).runs == OLD
    host.reloader.swap(change)
    assert host.reloader.prepare(change).runs == NEW
    host.reloader.rollback(change.id)
    assert host.reloader.prepare(change).runs == OLD and module.under() == 1


def test_a_process_that_started_from_the_new_source_gets_the_old_default_back(host):
    new = SOURCE.replace("def inner(x=1)", "def inner(x=2)")
    module = host.load("m", new)
    change = host.change("m", SOURCE, new, change_id="c")
    assert host.reloader.swap(change).outcome == "swapped" and module.under() == 2
    assert host.reloader.rollback("c").outcome == "swapped" and module.under() == 1
