"""What an aggressive change takes into a running module, how it is taken back, and what it still refuses."""

import dataclasses
import sys

import pytest
from canary_scene import terms
from homeostat_agent.firstseen import FirstSeen
from homeostat_agent.reload import Reloader
from homeostat_agent.reload.plan import plan_module

DECORATORS = """\
import functools

CALLS = []

def adds(n):
    CALLS.append(n)
    def decorate(function):
        @functools.wraps(function)
        def wrapper(*args):
            return function(*args) + n
        return wrapper
    return decorate

@adds(1)
def f(x):
    return x
"""


@pytest.fixture
def seen():
    return FirstSeen()


@pytest.fixture(autouse=True)
def aggressive(host, seen):
    host.reloader = Reloader(str(host.root), patience_s=0.3, seen=seen)


def edit(host, name, *replacements):
    return dataclasses.replace(host.edit(name, *replacements), mode="aggressive")


def load(host, seen, name, source):
    module = host.load(name, source)
    seen.note()
    return module


def swap(host, change):
    """Swap it, as it was prepared, and return what was answered; a safe process would have refused."""
    assert host.reloader.prepare(dataclasses.replace(change, mode="safe")).outcome == "restart_required"
    prepared = host.reloader.prepare(change)
    outcome = host.reloader.swap(change)
    assert outcome.outcome == "swapped", outcome.detail
    assert (prepared.outcome, prepared.functions) == ("swapped", outcome.functions)
    assert host.reloader.prepare(change).runs in ("new", "either")
    return outcome


def refused(host, name, *replacements):
    """Return why a change is refused, by prepare and swap alike; nothing of it is there then."""
    module = sys.modules[f"{host.package}.{name}"]
    before = dict(vars(module))
    change = edit(host, name, *replacements)
    prepared, outcome = host.reloader.prepare(change), host.reloader.swap(change)
    assert (prepared.outcome, prepared.detail) == (outcome.outcome, outcome.detail)
    assert outcome.outcome != "swapped"
    assert dict(vars(module)) == before
    assert host.reloader.changes == ()
    return outcome.detail


def test_a_changed_statement_runs_again_once_and_its_names_are_put_back(host, seen):
    source = "MADE = []\ndef make():\n    return dict(a=1)\nTABLE = make()\nMADE.append(TABLE)\n"
    module = load(host, seen, "m", source)
    table, made = module.TABLE, module.MADE
    change = edit(host, "m", ("TABLE = make()", "TABLE = dict(make(), b=2)"))
    outcome = swap(host, change)
    assert outcome.functions == (f"{host.package}.m:TABLE", f"{host.package}.m:<module>")
    assert module.TABLE == {"a": 1, "b": 2} and made == [table, module.TABLE]
    assert host.reloader.swap(change).outcome == "swapped"
    assert len(made) == 2  # once for a change, however often it is asked for
    back = host.reloader.rollback(change.id)
    assert back.outcome == "swapped" and module.TABLE is table and module.MADE is made
    assert f"what {host.package}.m:TABLE, {host.package}.m:<module> did when it ran is not undone" in back.detail
    assert len(made) == 2


def test_a_new_statement_meets_the_new_functions_and_names_of_its_change(host, seen):
    module = load(host, seen, "m", "SEEN = []\ndef f():\n    return 1\n")
    change = edit(
        host,
        "m",
        ("SEEN = []", "import math\nSEEN = []\nSTEP = 3\ndef g():\n    return STEP\n"),
        ("return 1\n", "return 2\nSEEN.append((f(), g(), math.pi > STEP))\n"),
    )
    swap(host, change)
    assert module.SEEN == [(2, 3, True)]


def test_a_statement_that_raises_takes_everything_back(host, seen):
    module = load(host, seen, "m", "X = int('1')\ndef f():\n    return 1\n")
    before = dict(vars(module))
    change = edit(host, "m", ("int('1')", "int('2')\nY = int('x')"), ("return 1", "return 2"))
    assert host.reloader.prepare(change).outcome == "swapped"
    outcome = host.reloader.swap(change)
    assert outcome.outcome == "failed"
    assert "line 2 of" in outcome.detail and "raised ValueError" in outcome.detail and "put back" in outcome.detail
    assert dict(vars(module)) == before and module.f() == 1 and host.reloader.changes == ()


@pytest.mark.parametrize("raised", ["SystemExit", "KeyboardInterrupt"])
def test_a_statement_that_ends_programs_ends_no_agent(host, seen, raised):
    module = load(host, seen, "m", "X = int('1')\n")
    assert (
        host.reloader.swap(edit(host, "m", ("int('1')", f"[].pop() if 0 else 2\nraise {raised}"))).outcome == "failed"
    )
    assert module.X == 1


def test_what_is_made_of_a_changed_constant_is_made_anew(host, seen):
    source = "LIMIT = 1\n\ndef pool():\n    return [LIMIT]\n\nPOOL = pool()\nOTHER = [5]\n"
    module = load(host, seen, "m", source)
    other = module.OTHER
    change = edit(host, "m", ("LIMIT = 1", "LIMIT = 2"))
    swap(host, change)
    assert (module.LIMIT, module.POOL) == (2, [2]) and module.OTHER is other
    host.reloader.rollback(change.id)
    assert (module.LIMIT, module.POOL) == (1, [1])


def test_what_a_called_function_binds_is_followed_and_put_back(host, seen):
    source = "C = None\ndef setup(v):\n    global C\n    C = [v]\nsetup(len('1'))\nD = C\n"
    module = load(host, seen, "shop_settings", source)
    before = (module.C, module.D)
    change = edit(host, "shop_settings", ("len('1')", "len('22')"))
    swap(host, change)
    assert (module.C, module.D) == ([2], [2]) and module.D is module.C
    assert host.reloader.rollback(change.id).outcome == "swapped"
    assert before == (module.C, module.D) and module.D is before[1]


def test_caches_of_what_is_made_of_a_changed_constant_are_new(host, seen):
    cached = "@functools.lru_cache(maxsize=None)\ndef f():\n    return g()\n"
    source = f"import functools\nSTEP = 1\n{cached}def g():\n    return STEP\n"
    module = load(host, seen, "m", source)
    user = load(host, seen, "user", f"from {host.package}.m import f\n")
    assert user.f() == 1
    change = edit(host, "m", ("STEP = 1", "STEP = 2"))
    swap(host, change)
    assert (module.f(), user.f()) == (2, 2)
    host.reloader.rollback(change.id)
    assert (module.f(), user.f()) == (1, 1)


def test_who_imported_a_name_gets_what_it_means_now(host, seen):
    module = load(host, seen, "m", "X = object()\ndef f():\n    return X\n")
    user = load(host, seen, "user", f"from {host.package}.m import X as mine\nOWN = mine\n")
    old = module.X
    change = edit(host, "m", ("X = object()", "X = [object()]"))
    swap(host, change)
    assert user.mine is module.X is not old
    assert user.OWN is old  # as the plan says: who took it along keeps it
    host.reloader.rollback(change.id)
    assert user.mine is module.X is old


def test_changed_decorators_decorate_anew_and_everybody_runs_the_new_body(host, seen):
    module = load(host, seen, "m", DECORATORS)
    user = load(host, seen, "user", f"from {host.package}.m import f\nKEPT = [f]\n")
    old = module.f
    change = edit(host, "m", ("@adds(1)", "@adds(10)"), ("return x\n", "return x * 2\n"))
    swap(host, change)
    assert (module.f(1), user.f(1), user.KEPT[0](1)) == (12, 12, 3)
    assert user.f is module.f is not old and module.CALLS == [1, 10]
    back = host.reloader.rollback(change.id)
    assert back.outcome == "swapped"
    assert user.f is module.f is user.KEPT[0] is old and old(1) == 2


def test_a_new_decorated_function_is_registered_once(host, seen):
    source = (
        "ROUTES = {}\ndef route(path):\n    def add(f):\n        ROUTES[path] = f\n        return f\n    return add\n"
    )
    module = load(host, seen, "m", source + "@route('/a')\ndef a():\n    return 'a'\n")
    change = edit(host, "m", ("return 'a'\n", "return 'a'\n@route('/b')\ndef b():\n    return 'b'\n"))
    swap(host, change)
    assert {path: handler() for path, handler in module.ROUTES.items()} == {"/a": "a", "/b": "b"}
    back = host.reloader.rollback(change.id)
    assert not hasattr(module, "b")
    assert back.outcome == "restart_required" and "`b`" in back.detail  # the table still leads to it, and it says so
    module.ROUTES.clear()


def test_closures_get_other_free_variables_when_what_made_them_runs_again(host, seen):
    source = "def make(n):\n    m = n\n    def inner():\n        return n\n    return inner\n\nF = make(1)\n"
    module = load(host, seen, "m", source)
    old = module.F
    change = edit(host, "m", ("return n\n", "return n + m\n"))
    outcome = swap(host, change)
    assert module.F() == 2 and old() == 1
    assert "1 functions that were made before stay" in outcome.detail
    back = host.reloader.rollback(change.id)
    assert back.outcome == "swapped" and module.F is old and old() == 1


def test_a_closure_that_nothing_makes_again_refuses_other_free_variables(host, seen):
    source = "def make(n):\n    m = n\n    def inner():\n        return n\n    return inner\n"
    module = load(host, seen, "m", source)
    kept = module.make(1)
    assert "still in use" in refused(host, "m", ("return n\n", "return n + m\n"))
    assert kept() == 1


def test_a_class_gets_other_bases_with_all_its_objects(host, seen):
    source = "class A:\n    def a(self):\n        return 'a'\nclass B:\n    def b(self):\n        return 'b'\n"
    module = load(host, seen, "m", source + "class C(A):\n    pass\nclass D(C):\n    pass\n")
    thing = module.D()
    change = edit(host, "m", ("class C(A)", "class C(A, B)"), ("return 'a'", "return 'A'"))
    swap(host, change)
    assert (thing.a(), thing.b()) == ("A", "b") and isinstance(thing, module.B)
    assert host.reloader.rollback(change.id).outcome == "swapped"
    assert module.C.__bases__ == (module.A,) and not hasattr(thing, "b") and thing.a() == "a"


@pytest.mark.parametrize(
    ("head", "old", "new", "why"),
    [
        ("", "class C(A):", "class C:", "the interpreter refuses"),
        ("", "class C(A):", "class C(A, metaclass=M):", "metaclass or keywords"),
        ("", "class C(A):\n    x = 1", "class C(B):\n    __slots__ = ('y',)", "restart"),
        ("", "class C(A):", "class C(Slots):", "the interpreter refuses"),
        ("", "class C(A):", "class C(Looks):", "looks at its heirs"),
        ("", "class C(A):", "class C(Abstract):", "metaclass"),
        ("", "class C(A):", "class C(Fresh):", "made by the same change"),
        ("@str.__class__\n", "class C(A):", "class C(B):", "decorators"),
    ],
)
def test_bases_that_cannot_be_given_truly_need_a_restart(host, seen, head, old, new, why):
    source = (
        "import abc\nclass A:\n    pass\nclass B:\n    pass\nclass M(type):\n    pass\n"
        "class Slots:\n    __slots__ = ('z',)\nclass Looks:\n    def __init_subclass__(cls):\n        pass\n"
        "class Abstract(abc.ABC):\n    pass\n"
    )
    if head:
        source += "def kept(cls):\n    return cls\n"
        head = "@kept\n"
    load(host, seen, "m", f"{source}{head}class C(A):\n    x = 1\n")
    edits = [(old, new)]
    if "Fresh" in new:
        edits.append(("import abc\n", "import abc\nclass Fresh:\n    pass\n"))
    detail = refused(host, "m", *edits)
    assert why == "restart" or why in detail
    assert sys.modules[f"{host.package}.m"].C.__bases__[0].__name__ == "A"


def test_a_plain_function_gets_other_parameters(host, seen):
    module = load(
        host, seen, "m", "def f(a, b=1):\n    return a + b\nclass C:\n    def g(self, x):\n        return x\n"
    )
    user = load(host, seen, "user", f"from {host.package}.m import f\n")
    old = module.f
    change = edit(
        host, "m", ("f(a, b=1)", "f(a, c, *, b=2, d=3)"), ("a + b", "a, c, b, d"), ("g(self, x)", "g(self, y, x=4)")
    )
    swap(host, change)
    assert user.f is module.f is old and user.f(0, 1) == (0, 1, 2, 3) and module.C().g(y=5) == 4
    assert host.reloader.rollback(change.id).outcome == "swapped"
    assert (old(1), old.__defaults__, old.__kwdefaults__, module.C().g(7)) == (2, (1,), None, 7)


@pytest.mark.parametrize(
    ("source", "edits", "why"),
    [
        (DECORATORS, [("def f(x)", "def f(x, y=1)")], "what decorates it has read the old one"),
        (DECORATORS, [("@adds(1)\ndef f(x)", "@adds(2)\ndef f(x, y=1)")], "would call it wrongly"),
        ("def f(a):\n    return a\nT = [f]\n", [("def f(a)", "def f(b)")], "import hands it on"),
        ("class C:\n    def __call__(self):\n        return 1\n", [("(self)", "(self, x=1)")], "special method"),
        ("def f():\n    return 1\n", [("def f", "async def f")], "kind"),
        ("class C:\n    __slots__ = ('a',)\n", [("('a',)", "('a', 'b')")], "body of the class"),
        (
            "class C:\n    @property\n    def f(self):\n        return 1\n",
            [("@property", "@staticmethod")],
            "top level",
        ),
        ("X = int('1')\nclass C:\n    y = X\n", [("'1'", "'2'")], "it is made of `X`"),
        ("def d(c):\n    return c\n@d\nclass C:\n    pass\n", [("return c", "return (c)[:] if 0 else c")], "class `C`"),
        ("def f():\n    return 1\ndef g():\n    return 1\n", [("def g():\n    return 1\n", "")], "removed"),
        ("from os.path import *\n", [("os.path", "posixpath")], "what other names mean"),
        ("X = 1\ndef f():\n    return X\n", [("X = 1\n", "")], "`X` is gone, and read all the same"),
        ("X = int('1')\nALL = sorted(globals())\n", [("X = ", "Y = X = ")], "looks at all names"),
        ("A = B = [1]\ndef f():\n    return B\n", [("A = B", "A")], "`B` is gone"),
        (
            "import functools\nX = int('1')\nclass C:\n    @functools.lru_cache\n    def f(self):\n        return X\n",
            [("'1'", "'2'")],
            "results that it caches depend on `X`",
        ),
        ("X = 1; Y = int('2')\n", [("'2'", "'3'")], "shares its line"),
    ],
)
def test_what_nothing_true_can_be_done_for_needs_a_restart(host, seen, source, edits, why):
    load(host, seen, "m", source)
    assert why in refused(host, "m", *edits)


def test_statements_run_again_only_where_it_is_known_that_the_old_ones_ran(host, seen):
    module = host.load("m", "X = []\nX.append(1)\n")  # nobody saw it come, and it has no function that tells
    assert "cannot be told" in refused(host, "m", ("append(1)", "append(2)"))
    assert module.X == [1]


def test_a_function_that_moved_tells_that_the_old_statements_ran(host):
    module = host.load("m", "X = []\nX.append(1)\ndef f():\n    return 1\n")
    swap(host, edit(host, "m", ("X.append(1)", "X.append(2)\nX.append(3)")))
    assert module.X == [1, 2, 3]


def test_a_process_that_loaded_the_new_source_runs_nothing_again(host, seen):
    host.write("m", "X = []\nX.append(1)\ndef f():\n    return 1\n")
    change = edit(host, "m", ("X.append(1)", "X.append(2)"), ("return 1", "return 2"))
    module = load(host, seen, "m", (host.root / host.path("m")).read_text())
    assert host.reloader.swap(change).outcome == "swapped"
    assert module.X == [2] and module.f() == 2
    back = host.reloader.rollback(change.id)
    assert back.outcome == "restart_required" and "loaded from the new source" in back.detail
    assert module.f() == 1


def test_a_change_made_upon_one_that_was_taken_back_runs_again(host, seen):
    module = load(host, seen, "m", "X = []\nY = X + [1]\n")
    change = edit(host, "m", ("[1]", "[2]"))
    for _ in range(2):
        assert host.reloader.swap(change).outcome == "swapped" and module.Y == [2]
        assert host.reloader.rollback(change.id).outcome == "swapped" and module.Y == [1]


def test_the_program_itself_takes_bodies_but_none_of_its_statements(host, seen):
    source = "X = int('1')\ndef f():\n    return 1\nif __name__ == '__main__':\n    f()\n"
    module = load(host, seen, "m", source)
    module.__name__ = "__main__"
    try:
        change = edit(host, "m", ("return 1", "return 2"))
        swap_of_program = host.reloader.swap(change)
        assert swap_of_program.outcome == "swapped" and module.f() == 2
        assert host.reloader.rollback(change.id).outcome == "swapped" and module.f() == 1
        host.write("m", source)
        assert "does not run again" in refused(host, "m", ("    f()", "    f() + 1"))
        host.write("m", source)
        assert "do not run again" in refused(host, "m", ("int('1')", "int('2')"))
    finally:
        module.__name__ = f"{host.package}.m"


def test_the_block_of_a_program_is_nothing_to_a_module_that_was_imported(host, seen):
    module = load(host, seen, "m", "X = []\nif __name__ == '__main__':\n    X.append(1)\n")
    swap(host, edit(host, "m", ("X.append(1)", "X.append(2)")))
    assert module.X == []


def test_no_share_of_the_calls_gets_it(host, seen):
    load(host, seen, "m", DECORATORS + "def g():\n    return 1\n")
    outcome = host.reloader.canary(edit(host, "m", ("@adds(1)", "@adds(2)"), ("return 1", "return 2")), terms(50))
    assert outcome.outcome == "not_routable" and "runs once, for both arms" in outcome.detail


def test_what_is_safe_is_planned_alike_in_both_modes():
    old, new = "import os\ndef f():\n    return 1\n", "import os\ndef f():\n    return os.sep\nX = 1\n"
    assert plan_module("m.py", old, new) == plan_module("m.py", old, new, mode="aggressive")


def test_each_step_that_a_safe_plan_refuses_names_its_risk():
    old = DECORATORS + "def g(a):\n    return a\nclass A: pass\nclass B: pass\nclass C(A): pass\nX = int('1')\n"
    new = old.replace("@adds(1)", "@adds(2)").replace("g(a)", "g(a, b=1)").replace("C(A)", "C(B)").replace("'1'", "'2'")
    plan = plan_module("m.py", old, new, mode="aggressive")
    assert plan.safe and {item.qualname for item in plan.definitions if item.risk} == {"f", "g", "C", "X"}
    assert all(item.not_routable for item in plan.definitions)
    refused = {item.qualname for item in plan_module("m.py", old, new).definitions if item.action == "restart"}
    assert {"f", "g", "C"} <= refused
