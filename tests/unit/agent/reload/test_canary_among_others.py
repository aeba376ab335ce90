"""A canary among others: changes beside it and upon it, what cannot be routed, and what goes on around it."""

import ast
import importlib
import threading
import types
import weakref

import pytest
from canary_scene import terms, units
from homeostat_agent.capture.frames import Repository
from homeostat_agent.reload import Change

CACHED = "import functools\n@functools.lru_cache\ndef f(x):\n    return 1\ndef g(x):\n    return 1\n"
LOOKING = "import sys\ndef f(x):\n    return sys._getframe(1).f_code.co_name\ndef g(x):\n    return 1\n"
ROUND = "import functools\ndef f(x):\n    return 1\nremembered = functools.lru_cache(f)\n"


def test_after_promoting_functions_have_exactly_the_new_code(host):
    module = host.load("m", "def f(x):\n    return 1\n")
    change = host.change("m", "def f(x):\n    return 1\n", "def f(x):\n    return 2\n")
    host.reloader.canary(change, terms(50))
    host.reloader.promote(change.id)
    swapped = compile("def f(x):\n    return 2\n", module.__file__, "exec").co_consts[0]
    assert module.f.__code__ == swapped


def test_a_canary_of_what_was_never_begun_is_neither_renewed_nor_promoted(host):
    for outcome in (host.reloader.renew("c", lease_s=1), host.reloader.promote("c")):
        assert outcome.outcome == "failed"
    assert host.reloader.generation == 0


def test_two_changes_of_different_files_have_arms_of_their_own(host, requests):
    one, two = host.load("one", "def f():\n    return 1\n"), host.load("two", "def f():\n    return 1\n")
    changes = [host.change(name, "def f():\n    return 1\n", "def f():\n    return 2\n") for name in ("one", "two")]
    for change in changes:
        assert host.reloader.canary(change, terms(50)).outcome == "swapped"
    seen = {requests.run(lambda _: (one.f(), two.f(), one.f(), two.f())) for _ in range(60)}
    assert seen == {(a, b, a, b) for a in (1, 2) for b in (1, 2)}
    assert [sum(units(report)[0].values()) for report in host.reloader.take_reports()] == [60, 60]
    assert host.reloader.promote(changes[0].id).outcome == "swapped"
    assert host.reloader.rollback(changes[1].id).outcome == "swapped"
    assert (one.f(), two.f(), host.reloader.changes) == (2, 1, (changes[0].id,))


def test_a_canary_on_top_of_a_change_that_is_in_force(host):
    first, second, third = (f"def f():\n    return {number}\n" for number in (1, 2, 3))
    module = host.load("m", first)
    below, above = host.change("m", first, second), host.change("m", second, third)
    host.reloader.swap(below)
    host.reloader.canary(above, terms(100))
    assert module.f() == 3
    assert host.reloader.rollback(below.id).outcome == "restart_required"
    assert host.reloader.rollback(above.id).outcome == "swapped"
    assert module.f() == 2
    assert host.reloader.rollback(below.id).outcome == "swapped"
    assert module.f() == 1


def test_what_a_changed_body_made_and_is_still_in_use_holds_up_the_promotion(host):
    source = "def make(n):\n    limit = n\n    def check():\n        return limit\n    return check\n"
    module = host.load("m", source)
    change = host.change("m", source, source.replace("limit = n", "limit = n * 2"))
    host.reloader.canary(change, terms(0))
    kept = module.make(2)
    outcome = host.reloader.promote(change.id)
    assert (outcome.outcome, len(host.reloader.canaries)) == ("restart_required", 1)
    host.reloader.renew(change.id, lease_s=60, percent=100)
    assert (kept(), module.make(2)()) == (2, 4), "the canary goes on"
    del kept
    assert host.reloader.promote(change.id).outcome == "swapped"
    assert host.reloader.rollback(change.id).outcome == "swapped"
    assert module.make(2)() == 2


@pytest.mark.parametrize(
    ("source", "edit", "reason"),
    [
        (CACHED, ("(x):\n    return 1\ndef g", "(x):\n    return 2\ndef g"), "cache"),
        (ROUND, ("return 1", "return 2"), "cache"),
        (LOOKING, ("f_code.co_name", "f_code.co_name + ''"), "looks at the frames"),
        (LOOKING, ("def g(x):\n    return 1", "def g(x):\n    return sys._getframe().f_code"), "looks at the frames"),
    ],
)
def test_what_cannot_be_routed_says_why_and_nothing_is_changed(host, source, edit, reason):
    module = host.load("m", source)
    before = {name: value for name, value in vars(module).items() if isinstance(value, types.FunctionType)}
    found = {name: value.__code__ for name, value in before.items()}
    change = host.change("m", source, source.replace(*edit))
    outcome = host.reloader.canary(change, terms(100))
    assert (outcome.outcome, reason in outcome.detail) == ("not_routable", True)
    assert {name: value.__code__ for name, value in before.items()} == found
    assert (host.reloader.changes, host.reloader.generation) == ((), 0)
    assert host.reloader.swap(change).outcome == "swapped", "a swap would do"


@pytest.mark.parametrize(
    ("edit", "outcome"),
    [
        (("x=1", "x=2"), "not_routable"),
        (("LIMIT = 1", "LIMIT = 2"), "not_routable"),
        (("LIMIT = 1", "LIMIT = [1]"), "restart_required"),
        (("size = 1", "size = 2"), "restart_required"),
        (("return x", "return x +"), "restart_required"),
    ],
)
def test_what_cannot_be_swapped_cannot_be_a_canary_either(host, edit, outcome):
    source = "LIMIT = 1\ndef f(x=1):\n    return x\nclass C:\n    size = 1\n"
    module = host.load("m", source)
    code = module.f.__code__
    assert host.reloader.canary(host.change("m", source, source.replace(*edit)), terms(100)).outcome == outcome
    assert (module.f.__code__ is code, host.reloader.changes) == (True, ())


def test_other_source_than_the_change_was_made_from_refuses(host):
    module = host.load("m", "def f():\n    return 9\n")
    change = host.change("m", "def f():\n    return 1\n", "def f():\n    return 2\n")
    assert host.reloader.canary(change, terms(100)).outcome == "failed"
    assert module.f() == 9


def test_a_module_that_is_not_loaded_has_nothing_to_route(host):
    host.write("late_routed", "def f():\n    return 1\n")
    change = host.edit("late_routed", ("return 1", "return 2"))
    outcome = host.reloader.canary(change, terms(10))
    assert (outcome.outcome, outcome.functions, "not loaded" in outcome.detail) == ("swapped", (), True)
    assert importlib.import_module(f"{host.package}.late_routed").f() == 2
    assert host.reloader.rollback(change.id).outcome == "swapped"


def test_a_canary_that_is_told_again_parses_nothing_again(host, monkeypatch):
    """It is told every other second, and to plan took a tenth of one."""
    module = host.load("m", "def f():\n    return 1\n")
    change = host.edit("m", ("return 1", "return 2"))
    assert host.reloader.canary(change, terms(0)).outcome == "swapped"
    monkeypatch.setattr(ast, "parse", None)
    assert host.reloader.canary(change, terms(100)).outcome == "swapped"
    assert module.f() == 2
    assert host.reloader.rollback(change.id).outcome == "swapped"
    assert module.f() == 1


def test_a_module_that_is_imported_under_a_canary_is_routed_when_it_is_told_again(host):
    host.write("late_back", "def f():\n    return 1\n")
    change = host.edit("late_back", ("return 1", "return 2"))
    assert host.reloader.canary(change, terms(0)).outcome == "swapped"
    module = importlib.import_module(f"{host.package}.late_back")
    assert module.f() == 2
    assert host.reloader.canary(change, terms(0)).outcome == "swapped"
    assert module.f() == 1
    assert host.reloader.rollback(change.id).outcome == "swapped"
    assert module.f() == 1


def test_a_cache_in_front_of_new_source_refuses_too(host):
    host.load("m", ROUND.replace("return 1", "return 2"))
    outcome = host.reloader.canary(host.change("m", ROUND, ROUND.replace("return 1", "return 2")), terms(10))
    assert (outcome.outcome, "cache" in outcome.detail) == ("not_routable", True)


def test_a_function_that_is_deleted_while_it_is_called_ends_its_call(host):
    module = host.load("m", "def f(entered, leave):\n    entered.set()\n    leave.wait(20)\n    return 1\n")
    source = (host.root / host.path("m")).read_text()
    change = host.change("m", source, source.replace("return 1", "return 2"))
    host.reloader.canary(change, terms(100))
    entered, leave, results = threading.Event(), threading.Event(), []
    thread = threading.Thread(target=lambda: results.append(module.f(entered, leave)))
    thread.start()
    assert entered.wait(20)
    gone = weakref.ref(module.f)
    del module.f
    assert host.reloader.rollback(change.id).outcome == "swapped"
    leave.set()
    thread.join(20)
    assert (results, gone()) == ([2], None)


def test_names_that_a_call_on_the_new_arm_still_needs_stay_until_it_is_through(host):
    source = "def f(entered, leave):\n    return 1\n"
    module = host.load("m", source)
    body = "    entered.set()\n    leave.wait(20)\n    return helper()\ndef helper():\n    return 2\n"
    change = host.change("m", source, source.replace("    return 1\n", body))
    host.reloader.canary(change, terms(100))
    entered, leave, results = threading.Event(), threading.Event(), []
    thread = threading.Thread(target=lambda: results.append(module.f(entered, leave)))
    thread.start()
    assert entered.wait(20)
    assert "stay until the calls in flight have ended" in host.reloader.rollback(change.id).detail
    leave.set()
    thread.join(20)
    assert results == [2]
    assert host.reloader.swap(Change("next", change.modules, "safe")).outcome == "swapped"
    assert host.reloader.rollback("next").outcome == "swapped"
    assert not hasattr(module, "helper")


def test_what_is_told_of_an_exception_has_each_function_once(host):
    source = "def f(x):\n    return g(x)\ndef g(x):\n    return 1\n"
    module = host.load("m", source)
    change = host.change(
        "m", source, source.replace("return g(x)", "return g(x) + 1").replace("return 1", "raise KeyError")
    )
    host.reloader.canary(change, terms(100))
    with pytest.raises(KeyError) as caught:
        module.f(1)
    found = Repository(str(host.root)).trace(caught.value)
    assert [(frame.path, frame.line, frame.function) for frame in found] == [
        (host.path("m"), 2, "f"),
        (host.path("m"), 4, "g"),
    ]


def test_units_that_fail_are_counted_on_the_arm_that_failed(host, requests):
    source = "def f(x):\n    return 1\n"
    module = host.load("m", source)
    change = host.change("m", source, source.replace("return 1", "raise KeyError(x)"))
    host.reloader.canary(change, terms(50))
    failed = 0
    for _ in range(60):
        try:
            requests.run(lambda _: module.f(1))
        except KeyError:
            failed += 1
    (report,) = host.reloader.take_reports()
    assert units(report) == ({"old": 60 - failed, "new": failed}, {("new", "KeyError"): failed})
