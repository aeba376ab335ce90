"""What is in force, in which order it goes back, and that going back is exact."""

import gc
import importlib
import inspect
import sys
import threading
import types
from dataclasses import replace

import pytest
from homeostat_agent.reload import Change
from homeostat_agent.reload.exchange import Binding, Docstring, Exchange, ExchangeFailed
from reload_host import on_host
from small_process import run_in_small_process

SOURCE = '''
import functools
def f(x):
    """Old."""
    return x + 1
def outer(n):
    def inner(x):
        return x + n
    return inner
@functools.lru_cache
def cached(x):
    return x
class C:
    def m(self):
        return 1
'''


def snapshot(module):
    """Everything about a module that a swap may touch, by identity where there is one."""
    functions = {
        name: value for name, value in {**vars(module), **{f"C.{k}": v for k, v in vars(module.C).items()}}.items()
        if isinstance(value, types.FunctionType)
    }  # fmt: skip
    facts = {name: (value, value.__code__, value.__doc__, value.__defaults__) for name, value in functions.items()}
    return facts, sorted(vars(module)), sorted(vars(module.C)), module.cached.__wrapped__.__code__


EDITS = (
    ("Old.", "New."),
    ("x + n", "x - n"),
    ("return 1", "return self.more()\n    def more(self):\n        return 2"),
)


def test_a_rollback_restores_the_very_objects(host):
    module = host.load("m", SOURCE)
    inner, before = module.outer(1), snapshot(module)
    original = inner.__code__
    change = host.edit("m", *EDITS, ("def outer", "def helper(x):\n    return -x\ndef outer"))
    assert host.reloader.swap(change).outcome == "swapped"
    assert snapshot(module) != before
    later = module.outer(1)
    assert (inner(3), later(3), module.C().m()) == (2, 2, 2)
    assert host.reloader.rollback(change.id).outcome == "swapped"
    assert snapshot(module) == before
    assert inner.__code__ is later.__code__ is original
    assert (inner(3), later(3), module.C().m()) == (4, 4, 1)


def test_swapping_and_rolling_back_many_times_ends_where_it_began(tmp_path):
    run_in_small_process(swap_and_roll_back_many_times, tmp_path)


@on_host
def swap_and_roll_back_many_times(host):
    module = host.load("m", SOURCE)
    before = snapshot(module)
    change = host.edit("m", ("x + 1", "x + 2"), ("Old.", "New."))
    for _ in range(20):
        assert host.reloader.swap(change).outcome == "swapped"
        assert module.f(1) == 3
        assert host.reloader.rollback(change.id).outcome == "swapped"
        assert snapshot(module) == before
    assert host.reloader.generation == 40


def test_the_same_change_again_is_answered_as_the_first_time(host):
    module = host.load("m", "def f():\n    return 1\n")
    change = host.edit("m", ("return 1", "return 2"))
    first = host.reloader.swap(change)
    code = module.f.__code__
    assert host.reloader.swap(change) is first
    assert host.reloader.prepare(change) == replace(first, runs="new")
    assert module.f.__code__ is code
    assert host.reloader.generation == 1
    assert host.reloader.changes == (change.id,)


def test_another_change_under_an_id_in_force_is_refused(host):
    module = host.load("m", "def f():\n    return 1\n")
    change = host.edit("m", ("return 1", "return 2"))
    host.reloader.swap(change)
    other = host.edit("m", ("return 2", "return 3"))
    outcome = host.reloader.swap(Change(change.id, other.modules, "safe"))
    assert outcome.outcome == "failed"
    assert module.f() == 2


def test_preparing_changes_nothing(host):
    module = host.load("m", SOURCE)
    before = snapshot(module)
    change = host.edit("m", *EDITS[:2])
    assert host.reloader.prepare(change).outcome == "swapped"
    assert snapshot(module) == before
    assert (host.reloader.generation, host.reloader.changes) == (0, ())


def test_rolling_back_what_is_not_in_force_does_nothing(host):
    outcome = host.reloader.rollback("never")
    assert outcome.outcome == "swapped"
    assert "not in force" in outcome.detail
    module = host.load("m", "def f():\n    return 1\n")
    change = host.edit("m", ("return 1", "return 2"))
    host.reloader.swap(change)
    host.reloader.rollback(change.id)
    again = host.reloader.rollback(change.id)
    assert (again.outcome, "not in force" in again.detail) == ("swapped", True)
    assert (module.f(), host.reloader.generation) == (1, 2)


def test_an_earlier_change_of_the_same_file_waits_for_the_later_one(host):
    module = host.load("m", "def f():\n    return 1\ndef g():\n    return 1\n")
    first = host.edit("m", ("def f():\n    return 1", "def f():\n    return 2"))
    host.reloader.swap(first)
    second = host.edit("m", ("def f():\n    return 2", "def f():\n    return 3"))
    host.reloader.swap(second)
    refused = host.reloader.rollback(first.id)
    assert refused.outcome == "restart_required"
    assert second.id in refused.detail
    assert (module.f(), host.reloader.changes, host.reloader.generation) == (3, (first.id, second.id), 2)
    assert host.reloader.rollback(second.id).outcome == "swapped"
    assert module.f() == 2
    assert host.reloader.rollback(first.id).outcome == "swapped"
    assert (module.f(), host.reloader.changes, host.reloader.generation) == (1, (), 4)


def test_changes_of_different_files_go_back_in_any_order(host):
    one, two = host.load("one", "def f():\n    return 1\n"), host.load("two", "def g():\n    return 1\n")
    first, second = host.edit("one", ("return 1", "return 2")), host.edit("two", ("return 1", "return 2"))
    host.reloader.swap(first)
    host.reloader.swap(second)
    assert host.reloader.rollback(first.id).outcome == "swapped"
    assert (one.f(), two.g(), host.reloader.changes) == (1, 2, (second.id,))


def test_a_module_that_is_not_loaded_needs_nothing_and_comes_with_the_new_source(host):
    host.write("late_new", "def f():\n    return 1\n")
    change = host.edit("late_new", ("return 1", "return 2"))
    outcome = host.reloader.swap(change)
    assert (outcome.outcome, outcome.functions, outcome.swap_us) == ("swapped", (), None)
    assert "not loaded" in outcome.detail
    assert importlib.import_module(f"{host.package}.late_new").f() == 2


def test_a_module_loaded_after_the_swap_is_rolled_back_too(host):
    host.write("late_undone", "def f():\n    return 1\n")
    change = host.edit("late_undone", ("return 1", "return helper()\ndef helper():\n    return 2"))
    host.reloader.swap(change)
    module = importlib.import_module(f"{host.package}.late_undone")
    assert module.f() == 2
    assert host.reloader.rollback(change.id).outcome == "swapped"
    assert module.f() == 1
    assert not hasattr(module, "helper")


def test_a_process_that_runs_the_new_source_already_has_nothing_to_do(host):
    module = host.load("m", "def f():\n    return 2\ndef helper():\n    return 3\n")
    change = host.change("m", "def f():\n    return 1\n", "def f():\n    return 2\ndef helper():\n    return 3\n")
    helper = module.helper
    outcome = host.reloader.swap(change)
    assert (outcome.outcome, outcome.functions) == ("swapped", ())
    assert (module.f(), module.helper) == (2, helper)


def test_a_rollback_says_when_something_the_new_code_made_stays_in_use(host):
    module = host.load("m", "def make(n):\n    limit = n\n    def check():\n        return limit\n    return check\n")
    change = host.edit("m", ("limit = n", "limit = n * 2"))
    assert host.reloader.swap(change).outcome == "swapped"
    kept = module.make(2)
    outcome = host.reloader.rollback(change.id)
    assert outcome.outcome == "restart_required"
    assert "everything was put back, but" in outcome.detail
    assert (module.make(2)(), kept(), host.reloader.changes) == (2, 4, ())


def test_names_that_were_added_stay_until_calls_in_flight_have_ended(host):
    module = host.load("m", "def f(entered, leave):\n    return 1\n")
    change = host.edit(
        "m",
        ("    return 1\n", "    entered.set()\n    leave.wait(5)\n    return helper()\ndef helper():\n    return 2\n"),
    )
    assert host.reloader.swap(change).outcome == "swapped"
    entered, leave, results = threading.Event(), threading.Event(), []
    thread = threading.Thread(target=lambda: results.append(module.f(entered, leave)))
    thread.start()
    entered.wait(5)
    outcome = host.reloader.rollback(change.id)
    assert outcome.outcome == "swapped"
    assert "stay until the calls in flight have ended" in outcome.detail
    assert module.f(entered, leave) == 1
    leave.set()
    thread.join(5)
    assert results == [2]
    again = Change("again", change.modules, "safe")
    assert host.reloader.swap(again).outcome == "swapped"
    assert module.f(entered, leave) == 2
    assert host.reloader.rollback("again").outcome == "swapped"
    assert not hasattr(module, "helper")


def test_a_name_that_the_host_has_rebound_is_not_removed(host):
    module = host.load("m", "def f():\n    return 1\n")
    change = host.edit("m", ("return 1", "return helper()\ndef helper():\n    return 2"))
    host.reloader.swap(change)
    module.helper = "mine"
    host.reloader.rollback(change.id)
    assert (module.f(), module.helper) == (1, "mine")


def test_everything_is_put_back_when_an_assignment_is_refused():
    def plain():
        return 1

    def other():
        "Old."
        return plain

    def third():
        return 3

    namespace, codes = {}, [function.__code__ for function in (plain, other, third)]
    exchange = Exchange(bindings=[Binding(namespace, "added", third)], docstrings=[Docstring(other, "Old.", "New.")])
    exchange.add(plain, plain.__code__, third.__code__)
    exchange.add(other, other.__code__, third.__code__)  # refused: other has a free variable, third has none
    exchange.add(third, third.__code__, plain.__code__)
    with pytest.raises(ExchangeFailed, match="free vars"):
        exchange.commit()
    assert [function.__code__ for function in (plain, other, third)] == codes
    assert (namespace, other.__doc__) == ({}, "Old.")


def test_the_hosts_collector_and_switch_interval_are_left_as_they_were(host):
    host.load("m", "def f():\n    return 1\n")
    before = (gc.isenabled(), gc.get_threshold(), sys.getswitchinterval(), gc.get_freeze_count())
    host.swap("m", ("return 1", "return 2"))
    assert (gc.isenabled(), gc.get_threshold(), sys.getswitchinterval(), gc.get_freeze_count()) == before


def test_the_changed_source_is_what_inspect_shows(host):
    module = host.load("m", "def f():\n    return 1\n")
    host.swap("m", ("def f():\n    return 1", "# moved\ndef f():\n    return 22"))
    assert inspect.getsource(module.f) == "def f():\n    return 22\n"
