"""Random modules, random edits: what the reloader calls swapped behaves as a fresh import of the new source.

The generator knows nothing of the planner's rules: edits hit bodies, defaults, decorators, constants,
closures and the order of things alike. Refusing is always right here; swapping must be exact, down to
line numbers in tracebacks, and rolling back must be exact too.
"""

import gc
import importlib
import itertools
import sys
import types
from pathlib import Path

from canary_scene import terms
from homeostat_agent.firstseen import FirstSeen
from homeostat_agent.reload import Change, Module, Reloader
from homeostat_agent.reload.plan import plan_module, routing_obstacles
from hypothesis import HealthCheck, event, example, given, settings
from hypothesis import strategies as st
from module_behaviour import behaviour, hold, results
from module_chunks import STOCK, USERS
from module_edits import modules, risky_modules
from small_process import run_in_small_process

_numbers = itertools.count()

F = "def f():\n    return 1\n"
STARRED = "from stock import *\n\ndef f():\n    return up7('x'), X7\n"
FIXED = "LIMIT2 = 10\ndef f():\n    return LIMIT2\n"
HARD = [
    ((F, "from . import sub\n\ndef f():\n    return 2\n"), ""),
    ((STARRED, STARRED.replace("\n\n", "\nfrom stock import up7\n\n").replace("'x'", "'y'")), ""),
    ((STARRED, STARRED.replace("\n\n", "\nX7 = [5]\n\n") + "def g():\n    return 0\n"), ""),
    *(((F, "X7 = 20\n" + F.replace("1", "X7")), USERS[index]) for index in (0, 1, 3, 4, 5, 6)),
    ((F, "def added7():\n    return 1\n" + F), USERS[0]),
    ((F, "def up7():\n    return 1\n" + F), USERS[3]),
    ((F, "class Added7:\n    pass\n" + F.replace("1", "Added7()")), USERS[8]),
    *(((FIXED, FIXED.replace("10", "20")), USERS[index]) for index in (3, 5, 6, 7, 9)),
]
"""Sources and users that were swapped once, and should not have been; these are always tried."""


def always(function):
    """Try what is hard beside what is drawn."""
    for sources, user in HARD:
        function = example(sources=sources, user=user, with_held=False, prepared=False)(function)
    return function


def fresh(source, name, **more):
    made = types.ModuleType(name)
    made.__file__ = "<fresh>"
    made.__package__ = name
    exec(compile(source, made.__file__, "exec", dont_inherit=True), vars(made))
    vars(made).update(more)
    return made


def fresh_user(source, host):
    """Return what a module that imports the host would be in a process that began with this one."""
    live = sys.modules[host.__name__]
    sys.modules[host.__name__] = host
    try:
        return fresh(source, "user")
    finally:
        sys.modules[host.__name__] = live


def load(root, name, source):
    """Import a package with this source, and a module below it; return it with the file it is from."""
    folder = Path(root, name)
    folder.mkdir()
    Path(root, "stock.py").write_text(STOCK)
    (folder / "sub.py").write_text("VALUE = 1\n")
    path = folder / "__init__.py"
    path.write_text(source)
    importlib.invalidate_caches()
    sys.dont_write_bytecode = True
    importlib.import_module(f"{name}.sub")
    return sys.modules[name], path


def load_user(root, name, source):
    Path(root, f"{name}.py").write_text(source)
    importlib.invalidate_caches()
    return importlib.import_module(name)


def forget(*names):
    for name in [found for found in sys.modules if found.split(".")[0] in names]:
        del sys.modules[name]


def test_a_swapped_module_behaves_as_a_fresh_import(tmp_path):
    run_in_small_process(check_random_modules, tmp_path)


def check_random_modules(root):
    sys.path.insert(0, root)

    @always
    @given(
        sources=modules(),
        user=st.sampled_from(["", "", "", *USERS]),
        with_held=st.booleans(),
        prepared=st.booleans(),
    )
    @settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
    def check(sources, user, with_held, prepared):
        check_module(root, sources, user, with_held, prepared)

    check()


def check_module(root, sources, user, with_held, prepared):
    old, new = sources
    name = f"host{next(_numbers)}"
    try:
        try:
            module, path = load(root, name, old)
            sub = sys.modules[f"{name}.sub"]
            expected_module, old_module = fresh(new, name, sub=sub), fresh(old, name, sub=sub)
        except Exception:
            event("the new source does not even import")
            return
        user = user.replace("HOST", name)
        using = load_user(root, f"user{name}", user)
        expected_user, old_user = fresh_user(user, expected_module), fresh_user(user, old_module)
        reloader = Reloader(root, patience_s=0.0)
        file = f"{name}/{path.name}"
        change = Change("c", (Module(file, old, new),), "safe")
        if prepared:  # what is held comes up after that, and may be old by the time of the swap
            reloader.prepare(change)
        held = hold(vars(module)) if with_held else {}
        behaviour(vars(module))
        gc.collect(1)
        path.write_text(new)
        plan = plan_module(file, old, new)
        outcome = reloader.swap(change)
        if outcome.outcome != "swapped":
            event("refused by the plan" if not plan.safe else f"refused in the process ({outcome.outcome})")
            assert not plan.safe or outcome.outcome == "restart_required", outcome.detail
            assert behaviour(vars(module)) == behaviour(vars(old_module))
            assert behaviour(vars(using)) == behaviour(vars(old_user))
            return
        assert plan.safe
        event(f"swapped {min(3, len(outcome.functions))} functions")
        expected_held = {key: value for key, value in hold(vars(expected_module)).items() if key in held}
        assert behaviour(vars(module)) == behaviour(vars(expected_module))
        assert behaviour(held) == behaviour(expected_held)
        assert behaviour(vars(using)) == behaviour(vars(expected_user)), user
        made_by_new = hold(vars(module))
        back = reloader.rollback("c")
        assert behaviour(vars(module)) == behaviour(vars(old_module))
        assert behaviour(vars(using)) == behaviour(vars(old_user))
        if back.outcome == "swapped":
            expected = {
                key: value
                for key, value in hold(vars(old_module)).items()
                # What the new code made may be nothing that has code at all.
                if type(made_by_new.get(key)).__qualname__ == type(value).__qualname__
            }
            assert behaviour({key: made_by_new.get(key) for key in expected}) == behaviour(expected)
        else:  # what a changed body made stays what it is
            assert back.outcome == "restart_required"
            assert "still in use" in back.detail and made_by_new
    finally:
        forget(name, f"user{name}")


def test_a_module_under_canary_behaves_as_its_arm(tmp_path):
    run_in_small_process(check_random_canaries, tmp_path)


def check_random_canaries(root):
    sys.path.insert(0, root)

    @given(sources=modules(), promoted=st.booleans())
    @settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
    def check(sources, promoted):
        check_canary(root, sources, promoted)

    check()


def check_canary(root, sources, promoted):
    old, new = sources
    name = f"host{next(_numbers)}"
    try:
        try:
            module, path = load(root, name, old)
            sub = sys.modules[f"{name}.sub"]
            new_module, old_module = fresh(new, name, sub=sub), fresh(old, name, sub=sub)
        except Exception:
            return
        file = f"{name}/{path.name}"
        reloader = Reloader(root, patience_s=0.0)
        change = Change("c", (Module(file, old, new),), "safe")
        held = hold(vars(module))
        outcome = reloader.canary(change, terms(100))
        event(f"canary: {outcome.outcome}")
        if outcome.outcome != "swapped":
            assert behaviour(vars(module)) == behaviour(vars(old_module))
            return
        assert not routing_obstacles([plan_module(file, old, new)])
        for percent, like in ((100, new_module), (0, old_module), (100, new_module)):
            reloader.renew("c", lease_s=60, percent=percent)
            space = {key: value for key, value in vars(module).items() if key in vars(like)}
            assert results(behaviour(space)) == results(behaviour(vars(like)))
            if held:  # once: closures among them remember that they were called
                expected = {key: value for key, value in hold(vars(like)).items() if key in held}
                assert results(behaviour(held)) == results(behaviour(expected))
                held = {}
        gc.collect()
        if promoted and reloader.promote("c").outcome == "swapped":
            assert behaviour(vars(module)) == behaviour(vars(new_module))
        assert reloader.rollback("c").outcome in ("swapped", "restart_required")
        assert behaviour(vars(module)) == behaviour(vars(old_module))
    finally:
        forget(name)


def test_a_module_that_took_a_risk_behaves_as_a_fresh_import(tmp_path):
    run_in_small_process(check_random_risks, tmp_path)


def check_random_risks(root):
    sys.path.insert(0, root)

    @given(sources=risky_modules(), with_held=st.booleans())
    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    def check(sources, with_held):
        check_risk(root, sources, with_held)

    check()


def check_risk(root, sources, with_held):
    """Where an aggressive plan goes further than a safe one, all names mean what they would, but for what it says.

    Not promised: names that only statements bound which are gone, and what statements put into an object that was
    there before (`REG2`); nor what others hold of earlier runs, to which nothing here looks.
    """
    old, new = sources
    name = f"host{next(_numbers)}"
    file = f"{name}/__init__.py"
    plan = plan_module(file, old, new, mode="aggressive")
    if plan_module(file, old, new).safe or not plan.safe:
        event("safe" if plan.safe else "refused by the plan")
        return
    try:
        try:
            module, path = load(root, name, old)
            sub = sys.modules[f"{name}.sub"]
            expected, old_module = fresh(new, name, sub=sub), fresh(old, name, sub=sub)
        except Exception:
            event("the new source does not even import")
            return
        seen = FirstSeen()
        seen.note()
        reloader = Reloader(root, patience_s=0.0, seen=seen)
        held = hold(vars(module)) if with_held else {}
        behaviour(vars(module))
        path.write_text(new)
        outcome = reloader.swap(Change("c", (Module(file, old, new),), "aggressive"))
        if outcome.outcome != "swapped":
            event(f"refused in the process ({outcome.outcome})")
            assert promised(module, old_module) == promised(old_module, old_module)
            return
        event("took a risk")
        assert promised(module, expected) == promised(expected, expected), plan
        assert reloader.rollback("c").outcome in ("swapped", "restart_required")
        assert promised(module, old_module) == promised(old_module, old_module), plan
        assert vars(module).keys() - {"__builtins__"} <= {*vars(old_module), *vars(expected), "__path__", "__cached__"}
        del held
    finally:
        forget(name)


def promised(module, like):
    kept = {key: value for key, value in vars(module).items() if key in vars(like) and not key.startswith("REG")}
    return behaviour(kept)
