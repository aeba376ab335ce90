"""Code is the same when it is the same in everything but the file's name: what differs at all must be told apart."""

# ruff: noqa: E501 - the tables of small sources are read line by line

import pytest
from homeostat_agent.reload.fingerprint import below, children, fingerprint, same_steps
from homeostat_agent.reload.pairing import compile_module


def code_of(source, filename="m.py"):
    return children(compile_module(source, filename))[0]


SAME = [
    "def f(a, b=1, /, *c, d, **e):\n    x = a.b, 'x', (1.5, (2j, b'y')), None, ...\n    return [x for _ in d] and (lambda: x)",
    "def f():\n    return 1e999 - 1e999, -0.0, 0.0, -0j",
    "def f(x):\n    return x in {1, 2.0, 'a', (3, None)}",
    "async def f():\n    async with a as b:\n        yield b",
]


@pytest.mark.parametrize("source", SAME)
def test_the_file_it_was_compiled_as_makes_no_difference(source):
    one, other = fingerprint(code_of(source)), fingerprint(code_of(source, "elsewhere.py"))
    assert one == other
    assert hash(one) == hash(other)


DIFFERENT = {
    "a name": ("def f(): return 1", "def g(): return 1"),
    "a parameter": ("def f(a): pass", "def f(b): pass"),
    "by position alone": ("def f(a): pass", "def f(a, /): pass"),
    "by keyword alone": ("def f(a): pass", "def f(*, a): pass"),
    "the rest of the arguments": ("def f(*a): pass", "def f(**a): pass"),
    "a flag": ("def f(): return 1", "async def f(): return 1"),
    "a step": ("def f(a, b): return a + b", "def f(a, b): return a - b"),
    "a global name": ("def f(): return a", "def f(): return b"),
    "a local name": ("def f(): a = 1", "def f(): b = 1"),
    "a handler's reach": ("def f():\n try:\n  a()\n  b()\n except E: pass", "def f():\n try:\n  a()\n except E: pass\n b()"),
    "a line": ("def f(): return 1", "\ndef f(): return 1"),
    "a line of its body": ("def f():\n return 1", "def f():\n\n return 1"),
    "a column": ("def f(): return a", "def f(): return  a"),
    "a docstring": ("def f(): 'a'", "def f(): 'b'"),
    "an inner constant": ("def f(): return lambda: 1", "def f(): return lambda: 2"),
    "an inner constant's type": ("def f(): return lambda: 1", "def f(): return lambda: True"),
    "what an inner function takes along": ("def f(a):\n def g(): return a", "def f(a):\n def g(): return b"),
    "what a class is in": ("class A:\n def f(): pass", "class B:\n def f(): pass"),
}  # fmt: skip


@pytest.mark.parametrize("name", DIFFERENT)
def test_whatever_else_differs_is_told_apart(name):
    one, other = (fingerprint(code_of(source)) for source in DIFFERENT[name])
    assert one != other


CONSTANTS = [
    (1, 2), (1, 1.0), (1, True), (0, False), (1.0, True), ("a", b"a"), ("a", "b"), (b"a", b"b"), (None, ...),
    (0.0, -0.0), (1.5, 2.5), (1j, 2j), (1j, 1 + 1j), (1.0, complex(1, 0)),
    (complex(0.0, 1), complex(-0.0, 1)), (complex(1, 0.0), complex(1, -0.0)),
    ((0, 1), (0, True)), ((0, (1, "a")), (0, (1.0, "a"))), ((1, 0.0), (1, -0.0)), ((1, 2), (2, 1)), ((), None),
    (frozenset({1, 2}), frozenset({True, 2})), (frozenset({1, 2}), frozenset({1, 3})), (frozenset({1}), (1,)),
    (frozenset({(1, "a")}), frozenset({(True, "a")})), (frozenset({0.0}), frozenset({-0.0})),
]  # fmt: skip


@pytest.mark.parametrize("one, other", CONSTANTS)
def test_constants_that_compare_as_equal_are_told_apart_all_the_same(one, other):
    code = code_of("def f(): return 1")
    prints = [fingerprint(code.replace(co_consts=(None, value))) for value in (one, other)]
    assert prints[0] != prints[1]
    assert prints[0] == fingerprint(code.replace(co_consts=(None, one)))


FIELDS = {
    "co_qualname": "f2", "co_stacksize": 99, "co_nlocals": 2, "co_freevars": ("a",), "co_cellvars": ("a",),
    "co_varnames": ("b",), "co_names": ("a",), "co_firstlineno": 9, "co_exceptiontable": b"\0", "co_linetable": b"\0",
}  # fmt: skip


@pytest.mark.parametrize("field", FIELDS)
def test_every_field_counts_also_where_an_instrument_changed_it_alone(field):
    code = code_of("def f(a): return a")
    if field == "co_nlocals":
        changed = code.replace(co_nlocals=2, co_varnames=("a", "b"))
    elif field == "co_varnames":
        changed = code.replace(co_varnames=("b",))
    else:
        changed = code.replace(**{field: FIELDS[field]})
    assert fingerprint(changed) != fingerprint(code)


def test_inner_code_is_listed_in_the_order_of_the_source_to_any_depth():
    code = code_of("def f():\n def a():\n  def b(): lambda: 1\n def c(): 'x'\n class D:\n  def e(): pass")
    assert [item.co_name for item in children(code)] == ["a", "c", "D"]
    assert [item.co_name for item in below(code)] == ["a", "b", "<lambda>", "c", "D", "e"]


STEPS_APART = {
    "a step": ("def f(a, b): return a + b", "def f(a, b): return a - b"),
    "a constant": ("def f(): return 1", "def f(): return 2"),
    "a constant's type": ("def f(): return 1", "def f(): return True"),
    "a global name": ("def f(): return a", "def f(): return b"),
    "a local name": ("def f(): a = 1", "def f(): b = 1"),
    "a variable for inner code": ("def f(a, b): return lambda: a", "def f(a, b): return lambda: b"),
}


@pytest.mark.parametrize("name", STEPS_APART)
def test_other_steps_are_told_apart_from_another_layout(name):
    one, other = (code_of(source) for source in STEPS_APART[name])
    assert not same_steps(one, other)
    assert same_steps(one, code_of("\n\n" + STEPS_APART[name][0].replace(": ", ":\n   ", 1)))


def test_what_inner_code_does_is_not_a_step_of_the_outer():
    assert same_steps(code_of("def f(): return lambda: 1"), code_of("def f(): return lambda: 2"))
    inner = "class A:\n def f(self):\n  def g(): return {}"
    free = [children(children(code_of(inner.format(name)))[0])[0] for name in ("self", "__class__")]
    assert not same_steps(*free)
