"""Which code object takes the place of which: every one of the old source is accounted for, and none by guess."""

import ast
import textwrap

import pytest
from homeostat_agent.reload.compare import Differences, compare
from homeostat_agent.reload.fingerprint import below
from homeostat_agent.reload.outline import functions_of, outline_module
from homeostat_agent.reload.pairing import Pairing, compile_module, pair
from homeostat_agent.reload.plan import CompiledPlan, compile_plan


def texts(source, *replacements):
    old = textwrap.dedent(source).lstrip("\n")
    new = old
    for before, after in replacements:
        assert before in new
        new = new.replace(before, after, 1)
    return old, new


def planned(source, *replacements):
    return compile_plan("m.py", *texts(source, *replacements), filename="m.py")


def refusal(source, *replacements):
    """Return the one reason for a restart, as (qualname, line, reason)."""
    found = planned(source, *replacements)
    assert not isinstance(found, CompiledPlan)
    ((item),) = [item for item in found.definitions if item.action == "restart"]
    return item.qualname, item.line, item.reason


SOURCE = """
KEY = lambda item: item
def outer(n):
    def inner(x):
        return [x + n for _ in ()] and (lambda: x)
    return inner
def maker():
    def one():
        return 1
    def two():
        def deep():
            return 1
        return deep
    return one, two
class C:
    def m(self):
        return (lambda: 1)()
    def n(self):
        return super().n()
def last():
    return 1
"""


def test_every_code_object_has_a_successor_or_is_known_to_have_none():
    found = planned(
        SOURCE,
        ("[x + n for _ in ()] and (lambda: x)", "(lambda: x - n) and (lambda: n)"),
        ("            return 1", "            return 2"),
        ("def last", "def fresh():\n    return lambda: 2\ndef last"),
        ("    def n(self)", "    def added(self):\n        return super().n()\n    def n(self)"),
    )
    pairing = found.pairing
    assert [(item.old.co_qualname, item.new.co_qualname, item.changed) for item in pairing.pairs] == [
        (name, name, name in ("outer.<locals>.inner", "maker.<locals>.two.<locals>.deep"))
        for name in (
            "<lambda>",
            "outer",
            "outer.<locals>.inner",
            "maker",
            "maker.<locals>.one",
            "maker.<locals>.two",
            "maker.<locals>.two.<locals>.deep",
            "C",
            "C.m",
            "C.m.<locals>.<lambda>",
            "C.n",
            "last",
        )
    ]
    inner = "outer.<locals>.inner.<locals>"
    assert [code.co_qualname for code in pairing.left] == [f"{inner}.<listcomp>", f"{inner}.<lambda>"]
    assert [code.co_qualname for code in pairing.fresh] == [f"{inner}.<lambda>"] * 2
    assert {name: code.co_qualname for name, code in pairing.added.items()} == {"fresh": "fresh", "C.added": "C.added"}
    # Nothing is on two lists, or on the wrong side.
    olds = [item.old for item in pairing.pairs] + pairing.left
    news = [item.new for item in pairing.pairs] + pairing.fresh
    news += [inside for code in pairing.added.values() for inside in (code, *below(code))]
    assert len({id(code) for code in (*olds, *news)}) == len(olds) + len(news)


def test_makers_are_the_unchanged_functions_around_a_changed_one():
    pairing = planned(SOURCE, ("            return 1", "            return 2")).pairing
    names = {id(item.old): item.old.co_qualname for item in pairing.pairs}
    assert {names[key] for key in pairing.makers} == {"maker", "maker.<locals>.two"}


def test_functions_are_named_on_both_sides_for_those_who_read_of_them():
    pairing = planned(SOURCE, ("return inner", "return inner or 1"), ("def last", "def fresh(): ...\ndef last")).pairing
    named = [item for item in pairing.pairs if item.old.co_name not in ("<lambda>", "C")]
    assert len(named) == 8
    for item in named:
        assert pairing.names[id(item.old)] == pairing.names[id(item.new)] == item.new.co_qualname
    assert pairing.names[id(pairing.added["fresh"])] == "fresh"


LEFT_OUT = """
def outer():
    if False:
        def never():
            return 1
    def inner():
        return 1
    return inner
"""


def left_out(code):
    """Take `never` out of it, as Python 3.9 does by itself, and 3.12 and later."""
    constants = (left_out(value) if hasattr(value, "co_code") else value for value in code.co_consts)
    return code.replace(co_consts=tuple(value for value in constants if getattr(value, "co_name", "") != "never"))


def test_a_changed_function_that_the_compiler_leaves_out_needs_a_restart():
    codes, found, _ = compared(LEFT_OUT, ("            return 1", "            return 2"))
    for old, new in ((left_out(codes[0]), codes[1]), (codes[0], left_out(codes[1])), map(left_out, codes)):
        (obstacle,) = pair(old, new, found)
        assert (obstacle.qualname, obstacle.line) == ("outer.<locals>.never", 3)
        assert obstacle.reason == "has no code object of its own"


def test_a_function_that_the_compiler_leaves_out_stands_in_no_others_way():
    codes, found, _ = compared(LEFT_OUT, ("def inner():\n        return 1", "def inner():\n        return 2"))
    pairing = pair(*map(left_out, codes), found)
    (changed,) = [item for item in pairing.pairs if item.changed]
    assert pairing.names[id(changed.old)] == pairing.names[id(changed.new)] == "outer.<locals>.inner"


FREE = "it became another kind of function (plain, generator, coroutine)", "its free variables changed"


def test_a_refusal_of_code_names_the_function_and_its_line():
    source = """
    def deco(f):
        @keep
        def inner(x):
            return f(x)
        def other():
            def deep():
                return 1
            return deep
        return inner, other
    """
    assert refusal(source, ("return f(x)", "yield f(x)")) == ("deco.<locals>.inner", 3, FREE[0])
    assert refusal(source, ("return f(x)", "return x")) == ("deco.<locals>.inner", 3, FREE[1])
    assert refusal(source, ("return 1", "return f")) == ("deco.<locals>.other", 5, FREE[1])


def test_equal_lambdas_that_were_one_code_object_are_not_paired_by_their_order():
    old, new = texts(
        "def f():\n    return [lambda: 1,\n            lambda: 1, lambda: 2, lambda: 2]\n",
        ("1,\n            lambda: 1, lambda: 2, ", "1, lambda: 1, lambda: 2,\n            "),
    )
    codes = [one_for_equals(compile_module(text, "m.py")) for text in (old, new)]
    (obstacle,) = pair(*codes, Differences())
    assert (obstacle.qualname, obstacle.line) == ("<lambda>", 2)


def one_for_equals(code):
    """Keep one code object for equal lambdas of one line, as Python 3.9, 3.10 and 3.12 do by themselves."""
    kept = {}
    constants = []
    for value in code.co_consts:
        if hasattr(value, "co_code"):
            key = (value.co_name, value.co_firstlineno, value.co_consts)
            if key in kept:
                continue
            kept[key] = value = one_for_equals(value)
        constants.append(value)
    return code.replace(co_consts=tuple(constants))


def test_a_new_layout_of_lambdas_and_comprehensions_is_followed():
    found = planned(
        "KEY = [lambda x: x.a, lambda x: x.b]\ndef f(y):\n    return [x for x in y if x], {x: 1 for x in y}\n",
        ("[lambda x: x.a, ", "[\n    lambda x: x.a,\n    "),
        ("[x for x in y if x], {x: 1 ", "[\n        x\n        for x in y\n        if x\n    ], {x: 1\n "),
    )
    assert [(item.old.co_consts, item.changed) for item in found.pairing.pairs] == [
        (item.new.co_consts, False) if item.old.co_name != "f" else (item.old.co_consts, False)
        for item in found.pairing.pairs
    ]
    assert len(found.pairing.pairs) == 5


# What the comparison would have to overlook first. Nothing is paired then, either.

SHAPES = {
    "another kind": ("def f(): return 1", "def f(): yield 1", FREE[0]),
    "a coroutine": ("def f(): return 1", "async def f(): return 1", FREE[0]),
    "a parameter more": ("def f(x): pass", "def f(x, y): pass", "its signature changed"),
    "another name": ("def f(x): pass", "def f(y): pass", "its signature changed"),
    "another keyword": ("def f(*, x): pass", "def f(*, y): pass", "its signature changed"),
    "a keyword by position": ("def f(*, x): pass", "def f(x): pass", "its signature changed"),
    "a parameter by position alone": ("def f(x): pass", "def f(x, /): pass", "its signature changed"),
    "more arguments": ("def f(x): y = 1", "def f(x, *y): pass", "its signature changed"),
    "more keywords": ("def f(x): y = 1", "def f(x, **y): pass", "its signature changed"),
    "keywords for arguments": ("def f(*x): pass", "def f(**x): pass", "its signature changed"),
}


@pytest.mark.parametrize("name", SHAPES)
def test_code_of_another_shape_is_not_paired(name):
    old, new, reason = SHAPES[name]
    (obstacle,) = pair(compile_module(old, "m.py"), compile_module(new, "m.py"), Differences())
    assert (obstacle.qualname, obstacle.line, obstacle.reason) == ("f", 1, reason)


LAMBDAS = {
    "another constant": ("lambda: 1", "lambda: 2"),
    "a constant of another type": ("lambda: 1", "lambda: True"),
    "another step": ("lambda x: x + 1", "lambda x: x - 1"),
    "another name": ("lambda x: x.a", "lambda x: x.b"),
    "another local name": ("lambda: [(y := 1), y]", "lambda: [(z := 1), z]"),
}


@pytest.mark.parametrize("name", LAMBDAS)
def test_lambdas_that_do_something_else_are_not_paired(name):
    old, new = (compile_module(text, "m.py") for text in LAMBDAS[name])
    (obstacle,) = pair(old, new, Differences())
    assert (obstacle.qualname, obstacle.reason) == ("<lambda>", "it cannot be told from others beside it")


@pytest.mark.parametrize("more", ["def g(): pass\n", "lambda: 1\n"])
def test_code_that_one_side_has_alone_is_not_paired(more):
    old = "class C:\n    def f(): pass\n"
    codes = (compile_module(old, "m.py"), compile_module(old + "    " + more, "m.py"))
    for one, other in (codes, codes[::-1]):
        (obstacle,) = pair(one, other, Differences())
        assert (obstacle.qualname, obstacle.line, obstacle.reason) == ("C", 1, "its inner code could not be paired")


def compared(source, *replacements):
    """Return both codes, the differences and the outlines of all functions by name, old and new."""
    sides = texts(source, *replacements)
    outlines = [outline_module(ast.parse(text)) for text in sides]
    named = [{item.qualname: item for item in functions_of(outline.items)} for outline in outlines]
    return [compile_module(text, "m.py") for text in sides], compare(*outlines), named


def test_a_change_is_not_placed_on_another_function():
    codes, found, (olds, news) = compared("def f():\n    return 1\ndef g():\n    return 1\n")
    found.changed.append((olds["f"], news["g"]))
    (obstacle,) = pair(*codes, found)
    assert (obstacle.qualname, obstacle.line, obstacle.reason) == ("g", 3, "its code object could not be placed")


def test_a_change_that_is_placed_nowhere_is_not_forgotten():
    codes, found, (olds, news) = compared("def f():\n    def g():\n        return 1\n    return g\n")
    found.changed.extend([(olds["f"], news["f"]), (olds["f.<locals>.g"], news["f.<locals>.g"])])
    (obstacle,) = pair(*codes, found)
    assert (obstacle.qualname, obstacle.line) == ("f.<locals>.g", 2)
    assert obstacle.reason == "its code object could not be placed"


def test_an_added_function_with_variables_of_its_surroundings_is_refused():
    codes, found, (_, news) = compared(
        "def f(x):\n    return 1\n", ("    return 1", "    def g(): return x\n    return g")
    )
    found.changed.clear()
    found.added.append((None, news["f.<locals>.g"]))
    (obstacle,) = pair(*codes, found)
    assert (obstacle.qualname, obstacle.line, obstacle.reason) == ("f.<locals>.g", 2, "has free variables")


@pytest.mark.parametrize("is_method", [True, False])
def test_only_an_added_method_may_know_its_class(is_method):
    codes, found, _ = compared("class C:\n    pass\n", ("    pass", "    pass\n    def m(self): return __class__"))
    ((owner, item),) = found.added
    found.added[:] = [(owner if is_method else None, item)]
    assert isinstance(pair(*codes, found), Pairing) is is_method


def test_an_added_function_that_has_no_code_is_refused():
    codes, found, (_, news) = compared(LEFT_OUT)
    found.added.append((None, news["outer.<locals>.never"]))
    (obstacle,) = pair(*map(left_out, codes), found)
    assert (obstacle.qualname, obstacle.line) == ("outer.<locals>.never", 3)
    assert obstacle.reason == "has no code object of its own"


def test_a_module_is_compiled_as_an_import_would():
    code = compile_module('\ufeff"""Doc."""\nassert 1\nX: int\n', "m.py")
    assert (code.co_filename, code.co_flags) == ("m.py", compile("", "m.py", "exec", 0, True).co_flags)
    names = {}
    exec(code, names)
    assert (names["__doc__"], names["__annotations__"]) == ("Doc.", {"X": int})
    with pytest.raises(AssertionError):
        exec(compile_module("assert 0", "m.py"), {})
