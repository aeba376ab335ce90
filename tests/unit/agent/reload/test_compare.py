"""Where the comparison of two sources draws its lines: what lives on in objects and classes, and where it points to."""

# ruff: noqa: E501 - the tables of small sources are read line by line

import textwrap

import pytest
from homeostat_agent.reload.plan import plan_module


def plan(old, *replacements):
    old = textwrap.dedent(old).lstrip("\n")
    new = old
    for before, after in replacements:
        assert before in new
        new = new.replace(before, after, 1)
    return plan_module("m.py", old, new)


def reasons(found):
    return {(item.qualname, item.line): item.reason for item in found.definitions if item.action == "restart"}


MAKER = """
class C:
    def {name}(self, x=1):
        {body}
        self.x = x
"""
REFUSALS_ONLY = {
    "a stricter check": ("if x < 0:\n            raise ValueError(x)", ("x < 0", "x < 1")),
    "a check that is new": ("...", ("...", "...\n        if not isinstance(x, int):\n            raise TypeError(x)")),
    "a check that goes": ("if x < 0:\n            raise ValueError(x)", ("if x < 0:\n            raise ValueError(x)\n", "")),
    "another error": ("if x < 0:\n            raise ValueError(x)", ("ValueError(x)", "TypeError(x)")),
    "checks inside one another": ("if x < 0:\n            if x < -9:\n                raise ValueError(x)", ("x < -9", "x < -8")),
    "an assertion": ("assert x > 0", ("x > 0", "len(x) > 0")),
    "the error of a handler": ("try:\n            int(x)\n        except ValueError:\n            raise KeyError(x)", ("KeyError(x)", "TypeError(x)")),
    "the docstring": ('"""Old words."""', ("Old", "New")),
}  # fmt: skip


@pytest.mark.parametrize("maker", ["__init__", "__new__", "__post_init__", "__attrs_post_init__", "model_post_init"])
@pytest.mark.parametrize("name", REFUSALS_ONLY)
def test_what_only_refuses_to_make_an_object_is_swapped(name, maker):
    body, replacement = REFUSALS_ONLY[name]
    found = plan(MAKER.format(name=maker, body=body), replacement)
    assert found.safe, found.restart_reasons
    assert [item.qualname for item in found.definitions] == [f"C.{maker}"]


MADE_OTHERWISE = {
    "what it sets": ("...", ("self.x = x", "self.x = x + 1")),
    "a statement after the docstring": ('"""Words."""\n        self.y = 1', ("self.y = 1", "self.y = 2")),
    "a first statement without a docstring": ("self.y = 1", ("self.y = 1", "self.y = 2")),
    "what it does without a check": ("if x < 0:\n            x = 0", ("x < 0", "x < 1")),
    "what it does beside a check": ("if x < 0:\n            self.y = 1\n            raise ValueError", ("x < 0", "x < 1")),
    "the way past a check": ("if x < 0:\n            raise ValueError\n        else:\n            self.y = 1", ("x < 0", "x < 1")),
    "a check that calls": ("if x < 0:\n            raise ValueError", ("x < 0", "f(x)")),
    "a check that calls a method": ("if x < 0:\n            raise ValueError", ("x < 0", "x.isinstance()")),
    "a check that assigns": ("if x < 0:\n            raise ValueError", ("x < 0", "(x := 2) < 0")),
    "an assertion that calls": ("assert x", ("assert x", "assert f(x)")),
    "an assertion that assigns": ("assert x", ("assert x", "assert (x := 2)")),
    "a check that is caught": ("try:\n            if x < 0:\n                raise ValueError\n        except ValueError:\n            x = 0", ("x < 0", "x < 1")),
    "a check that is caught around another": ("try:\n            try:\n                pass\n            except KeyError:\n                raise ValueError(x)\n        except ValueError:\n            x = 0", ("raise ValueError(x)", "raise TypeError(x)")),
    "a check that is suppressed": ("with suppress(ValueError):\n            if x < 0:\n                raise ValueError\n            self.y = 1", ("x < 0", "x < 1")),
    "a check that `finally` swallows": ("try:\n            pass\n        except KeyError:\n            raise ValueError\n        finally:\n            return", ("raise ValueError", "raise TypeError")),
    "a handler": ("try:\n            int(x)\n        except ValueError:\n            x = 0", ("x = 0", "x = 1")),
}  # fmt: skip


@pytest.mark.parametrize("name", MADE_OTHERWISE)
def test_what_makes_other_objects_needs_a_restart(name):
    body, replacement = MADE_OTHERWISE[name]
    found = plan(MAKER.format(name="__init__", body=body), replacement)
    assert reasons(found) == {("C.__init__", 2): "objects made so far would keep what the old one gave them"}


@pytest.mark.parametrize("test", ["await x", "(yield x)", "(yield from x)"])
def test_a_check_that_hands_over_is_no_mere_check(test):
    source = f"class C:\n    def __init__(self, x):\n        y = 1\n        if {test}:\n            raise ValueError\n"
    source = source.replace("def", "async def") if "await" in test else source
    assert not plan(source, (test, test.replace("x", "y"))).safe


def test_to_look_for_checks_leaves_the_source_whole_for_what_looks_at_it_next():
    found = plan(
        """
        def told(x):
            return 1
        class C:
            def __init__(self, x):
                for item in x:
                    if item:
                        raise ValueError(told(item))
        C([])
        """,
        ("return 1", "return 2"),
        ("if item:", "if not item:"),
    )
    assert {name for name, _ in reasons(found)} == {"told", "C.__init__"}


HOOKS = {
    "it runs while classes are made": ("__init_subclass__", "__set_name__", "__prepare__", "__mro_entries__", "__class_getitem__", "mro", "_generate_next_value_"),
    "what it answered so far is kept": ("__hash__", "__instancecheck__", "__subclasscheck__", "__subclasshook__"),
}  # fmt: skip


@pytest.mark.parametrize("reason, name", [(reason, name) for reason, names in HOOKS.items() for name in names])
def test_what_classes_and_tables_keep_of_a_special_method_needs_a_restart(reason, name):
    found = plan(f"class C:\n    def {name}(self, *a):\n        return 1\n", ("return 1", "return 2"))
    ((place, told),) = reasons(found).items()
    assert place == (f"C.{name}", 2)
    assert told.startswith(reason)


PLACES = {
    "a removed function": (("def g():\n    return 1\n", ""), ("g", 5), "was removed"),
    "a new class": (("    def n(", "    class N:\n        pass\n    def n("), ("C.N", 11), "is a new class"),
    "a changed statement": (("LIMIT = 1", "LIMIT = [2]"), ("<module>", 2), "a statement of the module's top level changed"),
    "a statement put between": (("LIMIT = 1", "print()\nLIMIT = 1"), ("<module>", 2), "a statement of the module's top level changed"),
    "a statement more at the end": (("\nLAST = 1", "\nLAST = 1\nprint()"), ("<module>", 16), "a statement of the module's top level changed"),
    "a statement less at the end": (("LAST = 1\n", ""), ("<module>", 1), "a statement of the module's top level changed"),
    "a statement less in between": (("LIMIT = 1\n", ""), ("<module>", 14), "a statement of the module's top level changed"),
    "a class's statement": (("colour = 1", "colour = 2"), ("C", 8), "a statement of the body of the class changed"),
    "another order": (("def f():\n    return 1\ndef g():\n    return 1\n", "def g():\n    return 1\ndef f():\n    return 1\n"), ("<module>", 1), "definitions in the module's top level have another order, kind or number"),
    "another order in a class": (("    colour = 1\n    def m(self):\n        return 1\n", "    def m(self):\n        return 1\n    colour = 1\n"), ("C", 1), "definitions in the body of the class have another order, kind or number"),
    "a decorator": (("    def m", "    @staticmethod\n    def m"), ("C.m", 10), "its decorators changed"),
    "a base": (("class C:", "class C(dict):"), ("C", 7), "its bases or keywords changed"),
}  # fmt: skip


@pytest.mark.parametrize("name", PLACES)
def test_a_refusal_says_what_it_is_about_and_where(name):
    replacement, place, reason = PLACES[name]
    source = """
import os
LIMIT = 1
def f():
    return 1
def g():
    return 1
class C:
    colour = 1
    def m(self):
        return 1
    def n(self):
        return 1


LAST = 1
"""
    assert reasons(plan(source, replacement)) == {place: reason}


def test_a_refused_order_still_tells_what_else_changed():
    found = plan(
        """
        LIMIT = 1
        def f():
            return 1
        def g():
            return 1
        """,
        ("LIMIT = 1", "LIMIT = [2]"),
        ("f():\n    return 1", "f():\n    return 2"),
        ("def g():", "@app\ndef g():"),
    )
    assert [(item.qualname, item.action) for item in found.definitions] == [
        ("<module>", "restart"),
        ("f", "swap"),
        ("g", "restart"),
    ]
