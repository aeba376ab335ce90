"""What comes up between `prepare` and `swap` is seen, wherever it is held; and what goes back goes back at once."""

import functools
import gc
import importlib
import operator
import sys
import threading
import time
import types
import weakref
from pathlib import Path

import pytest
from homeostat_agent.haste import HURRIED_S
from homeostat_agent.reload import Reloader
from homeostat_agent.reload.calm import LONGEST_S

SOURCE = """
import functools
def f(x):
    return x + 1
def make(n):
    def inner(x):
        return x + n
    return inner
@functools.lru_cache(maxsize=None)
def cached(x):
    return x + 1
async def later(event):
    await event.wait()
    return 1
"""


def loaded_privately(module, source, **more):
    """Run a source as this module's file in a name space that no module owns."""
    space = {"__name__": "private", **more}
    exec(compile(source, module.__file__, "exec"), space)
    return space


@pytest.fixture
def prepared(host):
    """Load SOURCE, prepare a change of `f` and `inner`, and hand back the module and a way to swap."""
    module = host.load("m", SOURCE)
    change = host.edit("m", ("x + 1\ndef make", "x + 2\ndef make"), ("return x + n", "return x - n"))
    assert host.reloader.prepare(change).outcome == "swapped"
    return module, functools.partial(host.reloader.swap, change), change


def test_functions_made_meanwhile_are_swapped_too(prepared):
    module, swap, _ = prepared
    inner, copied = module.make(1), types.FunctionType(module.f.__code__, {"__name__": "copied"})
    gc.collect()  # they have grown old by then, or not
    young = module.make(2)
    assert swap().outcome == "swapped"
    assert (inner(5), young(5), copied(1), module.f(1)) == (4, 3, 3, 3)


@pytest.mark.parametrize("own_builtins", [False, True])
def test_the_file_loaded_anew_meanwhile_is_swapped_too(prepared, own_builtins):
    module, swap, _ = prepared
    more = {"__builtins__": dict(vars(__import__("builtins")))} if own_builtins else {}
    space = loaded_privately(module, SOURCE, **more)
    if not own_builtins:
        gc.collect()
    assert swap().outcome == "swapped"
    assert (space["f"](1), module.f(1)) == (3, 3)


def test_a_name_space_with_builtins_of_its_own_that_was_prepared_is_looked_through_again(host):
    module = host.load("m", SOURCE)
    space = loaded_privately(module, SOURCE, __builtins__=dict(vars(__import__("builtins"))))
    change = host.edit("m", ("return x + n", "return x - n"))
    assert host.reloader.prepare(change).outcome == "swapped"
    inner = space["make"](1)
    gc.collect()
    assert host.reloader.swap(change).outcome == "swapped"
    assert inner(5) == 4


@pytest.mark.parametrize("grown_old", [False, True])
def test_other_source_loaded_meanwhile_is_told_apart(prepared, grown_old):
    module, swap, _ = prepared
    space = loaded_privately(module, SOURCE.replace("x + 1", "x + 9"))
    if grown_old:
        gc.collect()
    outcome = swap()
    assert outcome.outcome == "failed"
    assert "other code than the change was made from" in outcome.detail
    assert (module.f(1), space["f"](1)) == (2, 10)


def test_code_that_a_tool_replaced_meanwhile_is_told_apart(prepared):
    module, swap, _ = prepared
    module.f.__code__ = module.f.__code__.replace(co_name="traced")
    assert swap().outcome == "failed"
    assert module.f(1) == 2


def test_a_module_reloaded_meanwhile_from_the_new_file_is_told_apart_or_in_force(host, prepared):
    module, swap, _ = prepared
    importlib.reload(module)
    assert swap().outcome == "swapped"  # all functions alive run the new source already
    assert module.f(1) == 3


def test_a_name_bound_to_something_else_meanwhile_refuses(prepared):
    module, swap, _ = prepared
    kept, module.f = module.f, operator.methodcaller("f", module.f)
    assert swap().outcome == "restart_required"
    assert kept(1) == 2


def test_a_product_of_the_old_body_meanwhile_refuses(host):
    module = host.load("m", SOURCE)
    change = host.edit("m", ("def make(n):\n", "def make(n):\n    n = n * 2\n"))
    assert host.reloader.prepare(change).outcome == "swapped"
    made = module.make(1)
    gc.collect()
    assert host.reloader.swap(change).outcome == "restart_required"
    assert made(5) == 6


def test_a_cache_put_around_a_function_meanwhile_is_emptied(prepared):
    module, swap, _ = prepared
    remembered = functools.lru_cache(maxsize=None)(module.f)
    assert remembered(1) == 2
    gc.collect()
    assert swap().outcome == "swapped"
    assert remembered(1) == 3


class Looks:
    """What is asked of the collector."""

    def __init__(self, monkeypatch):
        self.asked = []
        for name in ("get_referrers", "get_objects"):
            monkeypatch.setattr(gc, name, self._noting(name, getattr(gc, name)))

    def _noting(self, name, ask):
        def noting(*items, **more):
            self.asked.append((name, more.get("generation")))
            return ask(*items, **more)

        return noting

    @property
    def went_through_everything(self):
        return any(name == "get_referrers" or generation == 2 for name, generation in self.asked)


def test_a_prepared_swap_looks_at_nothing_but_what_is_young_until_the_collector_makes_it_old(prepared, monkeypatch):
    """What a busy service makes in between is collected as always, and nothing of it grows old."""
    module, swap, _ = prepared
    made = [[module.make(1)] for _ in range(5_000)]
    looks = Looks(monkeypatch)
    assert swap().outcome == "swapped"
    assert not looks.went_through_everything
    assert (module.f(1), made[0][0](5)) == (3, 4)


def test_a_prepared_swap_looks_at_everything_where_something_grew_old_meanwhile(prepared, monkeypatch):
    module, swap, _ = prepared
    gc.collect()
    looks = Looks(monkeypatch)
    assert swap().outcome == "swapped"
    assert looks.went_through_everything
    assert module.f(1) == 3


def test_wrappers_anywhere_get_a_prepared_docstring_too(host):
    module = host.load("m", 'def f(x):\n    """Old."""\n    return x\n')
    wrapper = functools.wraps(module.f)(lambda x: module.f(x))
    gc.collect()
    change = host.edit("m", ('"""Old."""', '"""New."""'))
    assert host.reloader.prepare(change).outcome == "swapped"
    assert host.reloader.swap(change).outcome == "swapped"
    assert (module.f.__doc__, wrapper.__doc__) == ("New.", "New.")


@pytest.mark.parametrize("old", [False, True])
def test_suspended_calls_from_before_and_after_preparing_are_counted(host, old):
    module = host.load("m", "def f():\n    yield 1\n    return 2\n")
    first, ended = module.f(), module.f()
    next(first)
    list(ended)
    change = host.edit("m", ("return 2", "return 3"))
    assert host.reloader.prepare(change).outcome == "swapped"
    second = module.f()
    next(second)
    if old:
        gc.collect()
    assert "2 calls in flight finish on the old code" in host.reloader.swap(change).detail


@pytest.mark.parametrize("end", ["swap", "refused", "time", "fork", "rest"])
def test_the_collectors_thresholds_are_the_hosts_again(host, end):
    host.load("m", SOURCE)
    now_s = [0.0]
    reloader = Reloader(str(host.root), clock_s=lambda: now_s[0])
    usual = gc.get_threshold()
    change = host.edit("m", ("x + 1\ndef make", "x + 2\ndef make"))
    if end == "refused":
        host.write("m", SOURCE)
        bad = host.edit("m", ("import functools", "import functools\nY = print()"))
        assert reloader.prepare(bad).outcome == "restart_required"
    else:
        assert reloader.prepare(change).outcome == "swapped"
        assert gc.get_threshold() == (usual[0], 2**31 - 1, usual[2])
        reloader.give_back_lapsed()
        assert gc.get_threshold() != usual
        now_s[0] = LONGEST_S if end == "time" else 0.0
        {
            "swap": lambda: reloader.swap(change),
            "time": reloader.give_back_lapsed,
            "fork": reloader.become_forked_child,
            "rest": reloader.rest,
        }[end]()
    assert gc.get_threshold() == usual


def test_thresholds_that_the_host_sets_meanwhile_stand(prepared):
    _, swap, _ = prepared
    gc.set_threshold(900, 15, 12)
    assert swap().outcome == "swapped"
    assert gc.get_threshold() == (900, 15, 12)


def test_another_change_than_the_prepared_one_is_planned_for_itself(host, prepared):
    module, _, _ = prepared
    host.write("m", SOURCE)
    assert host.swap("m", ("return x + n", "return x * n")).outcome == "swapped"
    assert (module.make(2)(5), module.f(1)) == (10, 2)


def test_preparing_keeps_nothing_of_the_host_alive(host, prepared):
    module, _, _ = prepared
    inner = module.make(1)
    change = host.change("m", SOURCE, SOURCE.replace("x + n", "x - n"), change_id="again")
    assert host.reloader.prepare(change).outcome == "swapped"
    reference = weakref.ref(inner)
    del inner
    assert reference() is None


def test_swapping_and_rolling_back_keep_nothing_of_the_host_alive_either(host, prepared):
    module, swap, change = prepared
    gc.disable()
    try:
        made = []
        for act in (swap, lambda: host.reloader.rollback(change.id)):
            inner = module.make(1)
            made.append(weakref.ref(inner))
            assert act().outcome == "swapped"
            del inner
        assert [reference() for reference in made] == [None, None]
    finally:
        gc.enable()


def test_a_rollback_reaches_what_the_new_code_made(prepared, host):
    module, swap, change = prepared
    assert swap().outcome == "swapped"
    inner, copied = module.make(1), types.FunctionType(module.f.__code__, {"__name__": "copied"})
    gc.collect()
    old_names = [id(module.f), id(inner)]
    assert host.reloader.rollback(change.id).outcome == "swapped"
    assert (inner(5), copied(1), module.f(1)) == (6, 2, 2)
    assert old_names == [id(module.f), id(inner)]


def test_a_rollback_after_a_tool_replaced_the_new_code_tells(prepared, host):
    module, swap, change = prepared
    assert swap().outcome == "swapped"
    module.f.__code__ = module.f.__code__.replace(co_name="traced")
    outcome = host.reloader.rollback(change.id)
    assert outcome.outcome == "restart_required"
    assert "other code" in outcome.detail
    assert module.make(1)(5) == 6  # the rest went back all the same


def test_the_switch_interval_is_the_hosts_again_after_swap_and_rollback_and_while_waiting(host):
    module = host.load(
        "m",
        "def f(entered, leave):\n    def inner():\n        return 1\n    entered.set()\n    leave()\n"
        "    return inner()\n",
    )
    entered, seen = threading.Event(), []
    deadline = time.monotonic() + 30

    def leave():  # returns when the swap was at work, and then waited for this very call
        while time.monotonic() < deadline and not (HURRIED_S in seen and seen[-1] == 0.004):
            seen.append(round(sys.getswitchinterval(), 6))
            time.sleep(0.0005)

    usual = sys.getswitchinterval()
    sys.setswitchinterval(0.004)
    try:
        thread = threading.Thread(target=module.f, args=(entered, leave))
        thread.start()
        entered.wait(5)
        change = host.edit("m", ("return inner()", "return inner() + 1"))
        reloader = Reloader(str(host.root), patience_s=30)
        assert reloader.swap(change).outcome == "swapped"
        thread.join(30)
        assert seen[-1] == 0.004
        assert round(sys.getswitchinterval(), 6) == 0.004
        reloader.rollback(change.id)
        assert round(sys.getswitchinterval(), 6) == 0.004
    finally:
        sys.setswitchinterval(usual)


def test_the_switch_interval_is_the_hosts_also_after_a_prepare_that_waited(host):
    module = host.load("m", SOURCE)
    change = host.edit("m", ("def make(n):\n", "def make(n):\n    n = n * 2\n"))
    kept = module.make(1)
    usual = sys.getswitchinterval()
    sys.setswitchinterval(0.004)
    try:
        assert host.reloader.prepare(change).outcome == "restart_required"
        assert round(sys.getswitchinterval(), 6) == 0.004
    finally:
        sys.setswitchinterval(usual)
    assert kept(1) == 2


def test_folders_and_files_that_are_links_lead_to_the_file(host, tmp_path):
    module = host.load("m", SOURCE)
    real = Path(module.__file__)
    (tmp_path / "linked").symlink_to(real.parent)
    (tmp_path / "other_name.py").symlink_to(real)
    spaces = []
    for path in (
        tmp_path / "linked" / "m.py",
        tmp_path / "other_name.py",
        real.parent / ".." / real.parent.name / "m.py",
    ):
        space = {"__name__": "private"}
        exec(compile(SOURCE, str(path), "exec"), space)
        spaces.append(space)
    assert host.swap("m", ("x + 1\ndef make", "x + 2\ndef make")).outcome == "swapped"
    assert [space["f"](1) for space in (vars(module), *spaces)] == [3, 3, 3, 3]
