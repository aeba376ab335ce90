"""What the reloader refuses, and that nothing is changed then."""

# ruff: noqa: E501 - the small sources are read line by line

import functools
import gc
import operator
import sys
import threading
import types

import pytest
from homeostat_agent.reload import Change, Module


def refused(host, name, *replacements):
    """Return (outcome, detail) of a swap that must be refused, by prepare and swap alike, and change nothing."""
    module = sys.modules[f"{host.package}.{name}"]
    before = {key: getattr(value, "__code__", value) for key, value in vars(module).items()}
    change = host.edit(name, *replacements)
    prepared, outcome = host.reloader.prepare(change), host.reloader.swap(change)
    assert (prepared.outcome, prepared.detail) == (outcome.outcome, outcome.detail)
    assert outcome.outcome != "swapped"
    assert outcome.functions == ()
    assert {key: getattr(value, "__code__", value) for key, value in vars(module).items()} == before
    assert host.reloader.changes == ()
    assert host.reloader.generation == 0
    return outcome.outcome, outcome.detail


def test_an_unsafe_plan_is_refused_with_its_reasons(host):
    host.load("m", "LIMIT = 1\ndef f():\n    return 1\n")
    outcome, detail = refused(host, "m", ("LIMIT = 1", "LIMIT = [2]"), ("return 1", "return 2"))
    assert outcome == "restart_required"
    assert "top level" in detail


def test_one_unsafe_module_refuses_the_whole_change(host):
    one, _two = host.load("one", "def f():\n    return 1\n"), host.load("two", "X = 1\n")
    first, second = host.edit("one", ("return 1", "return 2")), host.edit("two", ("X = 1", "X = [2]"))
    outcome = host.reloader.swap(Change("both", first.modules + second.modules, "safe"))
    assert outcome.outcome == "restart_required"
    assert one.f() == 1


@pytest.mark.parametrize(
    "loaded",
    [
        "def f():\n    return 0\ndef g():\n    return 5\n",  # the changed function differs
        "def f():\n    return 1\ndef g():\n    return 6\n",  # another function differs
        "def f():\n    return True\ndef g():\n    return 5\n",  # a constant of another type
        "def f():\n    'Doc.'\n    return 1\ndef g():\n    return 5\n",
        "# moved\ndef f():\n    return 1\ndef g():\n    return 5\n",
        "def f():\n    return -0.0\ndef g():\n    return 5\n",
    ],
)
def test_a_process_that_runs_other_source_is_told_apart(host, loaded):
    host.load("m", loaded)
    host.write("m", "def f():\n    return 1\ndef g():\n    return 5\n")
    outcome, detail = refused(host, "m", ("return 1", "return 2"))
    assert outcome == "failed"
    assert "other code than the change was made from" in detail


def test_one_module_that_runs_other_source_refuses_the_whole_change(host):
    one = host.load("one", "def f():\n    return 1\n")
    host.load("two", "def g():\n    return 0\n")
    host.write("two", "def g():\n    return 1\n")
    first, second = host.edit("one", ("return 1", "return 2")), host.edit("two", ("return 1", "return 2"))
    outcome = host.reloader.swap(Change("both", first.modules + second.modules, "safe"))
    assert outcome.outcome == "failed"
    assert one.f() == 1


def test_an_instrumented_copy_of_the_code_is_not_overlooked(host):
    module = host.load("m", "def f():\n    return 1\n")
    module.f.__code__ = module.f.__code__.replace(co_name="traced")
    assert refused(host, "m", ("return 1", "return 2"))[0] == "failed"


def test_a_changed_copy_that_only_others_hold_is_not_overlooked(host):
    module = host.load("m", "def f():\n    return 1\n")
    code = module.f.__code__
    copied = types.FunctionType(code.replace(co_consts=(*code.co_consts, "traced")), vars(module))
    assert refused(host, "m", ("return 1", "return 2"))[0] == "failed"
    assert copied() == 1


def test_the_program_itself_is_not_swapped(host):
    module = host.load("m", "def f():\n    return 1\n")
    module.__name__ = "__main__"
    outcome, detail = refused(host, "m", ("return 1", "return 2"))
    assert outcome == "restart_required"
    assert "the program itself" in detail


@pytest.mark.parametrize("path", ["/etc/m.py", "../m.py", "a/../../m.py"])
def test_paths_outside_the_repository_are_refused(host, path):
    change = Change("c", (Module(path, "x = 1\n", "x = 1\n"),), "safe")
    assert host.reloader.swap(change).outcome == "failed"


def test_one_file_twice_in_a_change_is_refused(host):
    host.load("m", "def f():\n    return 1\n")
    change = host.edit("m", ("return 1", "return 2"))
    assert host.reloader.swap(Change("c", change.modules * 2, "safe")).outcome == "failed"


def test_an_unknown_mode_is_refused(host):
    host.load("m", "def f():\n    return 1\n")
    change = host.edit("m", ("return 1", "return 2"))
    assert host.reloader.swap(Change("c", change.modules, "brave")).outcome == "failed"


def test_new_code_that_needs_a_name_the_module_has_not_is_refused(host):
    host.load("m", "from math import *\ndef f():\n    return 1\n")  # what that gives, only the process knows
    outcome, detail = refused(host, "m", ("return 1", "return missing_thing() or [elsewhere for _ in ()]"))
    assert outcome == "restart_required"
    assert "the running module has no `elsewhere`, `missing_thing`" in detail


def test_a_name_that_is_there_at_run_time_is_not_overwritten(host):
    module = host.load("m", "def f():\n    return 1\n")
    module.helper = "mine"
    assert refused(host, "m", ("return 1\n", "return helper()\ndef helper():\n    return 2\n"))[0] == "restart_required"
    assert module.helper == "mine"


LASTING = """
def make(n):
    limit = n * 2
    def check(x):
        return x < limit
    return check
def lambdas(n):
    return lambda x: x + n
def classes(n):
    class Local:
        def m(self):
            return n
    return Local
"""


@pytest.mark.parametrize(
    "call, replacement",
    [
        ("make", ("n * 2", "n * 3")),
        ("make", ("def check(x):\n        return x < limit", "def check(x, y=1):\n        return x < limit")),
        ("lambdas", ("x + n", "x - n")),
        ("classes", ("class Local:", "print(n)\n    class Local:")),
    ],
)
def test_what_the_old_body_made_for_good_needs_a_restart(host, call, replacement):
    module = host.load("m", LASTING)
    made = getattr(module, call)(1)
    outcome, detail = refused(host, "m", replacement)
    assert outcome == "restart_required"
    assert "still in use" in detail
    del made
    gc.collect()
    assert host.reloader.swap(host.change("m", *_both(host, replacement))).outcome == "swapped"


def _both(host, replacement):
    new = (host.root / host.path("m")).read_text()
    return new.replace(replacement[1], replacement[0]), new


def test_closures_of_another_modules_decorator_need_a_restart_when_the_decorator_changes(host):
    host.load(
        "m", "def deco(function):\n    mark = 1\n    def inner():\n        return function(), mark\n    return inner\n"
    )
    user = host.load("user", f"from {host.package}.m import deco\n@deco\ndef f():\n    return 1\n")
    assert refused(host, "m", ("mark = 1", "mark = 2"))[0] == "restart_required"
    assert user.f() == (1, 1)


def test_garbage_in_a_cycle_does_not_count_as_in_use(host):
    module = host.load(
        "m", "def f(n):\n    def again(x):\n        return again(x - 1) if x else n\n    return again(n)\n"
    )
    gc.disable()
    try:
        module.f(1)
        gc.enable()
        assert host.swap("m", ("return again(n)", "return again(n) + 1")).outcome == "swapped"
    finally:
        gc.enable()
    assert module.f(1) == 2


def test_closures_of_calls_that_end_are_waited_for(host):
    module = host.load(
        "m",
        """
        def f(entered, leave):
            def inner():
                return 1
            entered.set()
            leave.wait(5)
            return inner()
        """,
    )
    entered, leave = threading.Event(), threading.Event()
    results = []
    thread = threading.Thread(target=lambda: results.append(module.f(entered, leave)))
    thread.start()
    entered.wait(5)
    change = host.edit("m", ("return inner()", "return inner() + 1"))
    assert host.reloader.prepare(change).outcome == "restart_required"
    host.wait_for_calls(10)
    timer = threading.Timer(0.05, leave.set)
    timer.start()
    outcome = host.reloader.swap(change)
    thread.join(5)
    timer.join(5)
    assert (outcome.outcome, results, module.f(entered, leave)) == ("swapped", [1], 2)


CLASSES = {
    "a metaclass": ("class M(type):\n    pass\nclass Base(metaclass=M):\n    pass\n", "metaclass"),
    "a hook for new classes": ("class Base:\n    def __init_subclass__(cls):\n        pass\n", "looks at new classes"),
    "an abstract method": ("import abc\nclass Base(abc.ABC):\n    @abc.abstractmethod\n    def fresh(self):\n        pass\n", "abstract"),
    "an enumeration": ("import enum\nclass Base(enum.Enum):\n    pass\n", "metaclass"),
}  # fmt: skip


@pytest.mark.parametrize("name", CLASSES)
def test_a_method_is_not_added_where_making_the_class_would_have_done_more(host, name):
    source, word = CLASSES[name]
    host.load("bases", source)  # where the text of the module shows nothing of it
    module = host.load(
        "m", f"from {host.package}.bases import Base\nclass C(Base):\n    def m(self):\n        return 1\n"
    )
    outcome, detail = refused(host, "m", ("    def m(self)", "    def fresh(self):\n        return 2\n    def m(self)"))
    assert outcome == "restart_required"
    assert word in detail
    assert "fresh" not in vars(module.C)


def test_a_method_is_not_added_when_an_heir_is_abstract_for_want_of_it(host):
    source = (
        "import abc\nclass C:\n    def m(self):\n        return 1\n"
        "class I(abc.ABC):\n    @abc.abstractmethod\n    def fresh(self):\n        pass\nclass D(C, I):\n    pass\n"
    )
    host.load("m", source)
    assert (
        refused(host, "m", ("    def m(", "    def fresh(self):\n        return 2\n    def m("))[0]
        == "restart_required"
    )


def test_a_class_that_its_name_does_not_mean_any_more_takes_no_method(host):
    module = host.load("m", "class C:\n    def m(self):\n        return 1\n")
    module.C = type("C", (), {"__qualname__": "Other", "__module__": module.__name__})
    assert (
        refused(host, "m", ("    def m(", "    def fresh(self):\n        return 2\n    def m("))[0]
        == "restart_required"
    )


def test_a_definition_that_was_replaced_by_something_else_is_not_called_swapped(host):
    host.load(
        "m",
        "import functools\ndef replace(function):\n    return functools.partial(int, '7')\n@replace\ndef f():\n    return 1\n",
    )
    outcome, detail = refused(host, "m", ("return 1", "return 2"))
    assert outcome == "restart_required"
    assert "does not hold the function" in detail


def test_a_cache_that_cannot_be_found_refuses(host):
    host.load(
        "m",
        """
        def cache(function):
            kept = {}
            def inner(x):
                if x not in kept:
                    kept[x] = function(x)
                return kept[x]
            return inner
        @cache
        def f(x):
            return x + 1
        """,
    )
    assert refused(host, "m", ("x + 1", "x + 2"))[0] == "restart_required"


def test_a_module_that_is_being_imported_is_waited_for_and_then_refused(host):
    module = host.load("m", "def f():\n    return 1\n")
    module.__spec__._initializing = True
    outcome, detail = refused(host, "m", ("return 1", "return 2"))
    assert outcome == "failed"
    assert "being imported" in detail
    module.__spec__._initializing = False
    assert host.reloader.swap(host.edit("m", ("return 2", "return 3"))).outcome == "failed"


def test_an_installed_copy_of_the_file_is_not_called_swapped(host, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("site") / host.package
    elsewhere.mkdir()
    (elsewhere / "m.py").write_text("def f():\n    return 1\n")
    copied = types.ModuleType("copied")
    exec(compile("def f():\n    return 1\n", str(elsewhere / "m.py"), "exec"), vars(copied))
    host.write("m", "def f():\n    return 1\n")
    outcome = host.reloader.swap(host.edit("m", ("return 1", "return 2")))
    assert outcome.outcome == "failed"
    assert "a copy of it is" in outcome.detail


def test_a_function_behind_a_wrapper_that_may_have_compiled_it_is_refused(host):
    module = host.load("m", "def f():\n    return 1\n")
    # Callable by C code that is not of `functools`: what it does with the function cannot be known.
    module.kept, module.f = module.f, operator.methodcaller("f", module.f)
    outcome, detail = refused(host, "m", ("return 1", "return 2"))
    assert outcome == "restart_required"
    assert "compiled copy" in detail


def test_a_function_behind_a_partial_or_a_python_wrapper_is_swapped(host):
    class Wrapper(functools.partial):
        pass

    class Task:
        def __init__(self, function):
            self.run = function

        def __call__(self):
            return self.run()

    module = host.load("m", "def f():\n    return 1\ndef g():\n    return 1\n")
    module.f, module.g = Wrapper(module.f), Task(module.g)
    assert (
        host.swap(
            "m", ("f():\n    return 1", "f():\n    return 2"), ("g():\n    return 1", "g():\n    return 3")
        ).outcome
        == "swapped"
    )
    assert (module.f(), module.g()) == (2, 3)


def test_closures_that_a_call_in_flight_makes_after_the_swap_are_changed_too(host):
    module = host.load(
        "m",
        """
        def register(entered, leave, table):
            entered.set()
            leave.wait(5)
            def callback():
                return 1
            table.append(callback)
        """,
    )
    entered, leave, table = threading.Event(), threading.Event(), []
    thread = threading.Thread(target=module.register, args=(entered, leave, table))
    thread.start()
    entered.wait(5)
    host.wait_for_calls(10)
    timer = threading.Timer(0.1, leave.set)
    timer.start()
    assert host.swap("m", ("return 1", "return 2")).outcome == "swapped"
    thread.join(5)
    timer.join(5)
    assert table[0]() == 2


def test_a_closure_that_a_call_in_flight_makes_of_the_old_body_for_good_takes_everything_back(host):
    module = host.load(
        "m",
        """
        def register(entered, leave, table):
            entered.set()
            leave.wait(5)
            def callback():
                return 1
            table.append(callback)
        def other():
            return 1
        """,
    )
    entered, leave, table = threading.Event(), threading.Event(), []
    thread = threading.Thread(target=module.register, args=(entered, leave, table))
    thread.start()
    entered.wait(5)
    old = (module.register.__code__, module.other.__code__)
    host.wait_for_calls(2)
    timer = threading.Timer(0.1, leave.set)
    timer.start()
    outcome = host.swap(
        "m",
        (
            "leave.wait(5)\n    def callback():\n        return 1",
            "leave.wait(6)\n    def callback():\n        return 2",
        ),
        ("other():\n    return 1", "other():\n    return 2"),
    )
    thread.join(5)
    timer.join(5)
    assert outcome.outcome == "restart_required"
    assert "everything was put back" in outcome.detail
    assert (module.register.__code__, module.other.__code__) == old
    assert (module.other(), table[0](), host.reloader.changes, host.reloader.generation) == (1, 1, (), 0)


def test_a_closure_that_a_call_in_flight_makes_of_the_old_body_for_a_moment_is_waited_for(host):
    module = host.load(
        "m",
        """
        def f(entered, leave):
            entered.set()
            leave.wait(5)
            def inner():
                return 1
            return inner()
        """,
    )
    entered, leave, results = threading.Event(), threading.Event(), []
    thread = threading.Thread(target=lambda: results.append(module.f(entered, leave)))
    thread.start()
    entered.wait(5)
    host.wait_for_calls(10)
    timer = threading.Timer(0.1, leave.set)
    timer.start()
    assert host.swap("m", ("return inner()", "return inner() + 1")).outcome == "swapped"
    thread.join(5)
    timer.join(5)
    assert (results, module.f(entered, leave)) == ([1], 2)
