"""New functions in the plan of one module: what may be added, and what may not."""

import pytest
from homeostat_agent.reload.plan import plan_module
from plan_scene import plan, verdicts

ADDITIONS = {
    "a function": (
        "def generator():",
        "def fresh(a, b=-1, *, c=(1, 'x')):\n    return a\n\n\ndef generator():",
        "fresh",
    ),
    "an annotated function": (
        "def generator():",
        "def fresh(a: int, b: 'list[str] | None' = None) -> os.PathLike:\n    return a\n\n\ndef generator():",
        "fresh",
    ),
    "a coroutine": ("def generator():", "async def fresh():\n    return 1\n\n\ndef generator():", "fresh"),
    "a method": ("    @property", "    def fresh(self):\n        return 1\n\n    @property", "Base.fresh"),
    "a method with super": (
        "    @property",
        "    def fresh(self):\n        return super().__repr__()\n\n    @property",
        "Base.fresh",
    ),
    "a private method": ("    @property", "    def __fresh(self):\n        return 1\n\n    @property", "Base.__fresh"),
    "a method of a nested class": (
        "        def deep(",
        "        def fresh(self):\n            return 1\n\n        def deep(",
        "Base.Inner.fresh",
    ),
}


@pytest.mark.parametrize("name", ADDITIONS)
def test_new_plain_functions_are_added(name):
    before, after, qualname = ADDITIONS[name]
    found = plan((before, after))
    assert found.safe, found.restart_reasons
    assert verdicts(found) == {qualname: "add"}


BAD_ADDITIONS = {
    "a decorated function": "@decorator\ndef fresh():\n    return 1\n",
    "a default that is no constant": "def fresh(a=LIMIT):\n    return 1\n",
    "a default that is a list": "def fresh(a=[]):\n    return 1\n",
    "an annotation that calls": "def fresh(a: Depends(1)):\n    return 1\n",
    "a special name": "def __getattr__(name):\n    return 1\n",
    "two of one name": "def fresh():\n    return 1\n\n\ndef fresh():\n    return 2\n",
    "a name that is bound": "def LIMIT():\n    return 1\n",
    "a name that is imported": "def os():\n    return 1\n",
    "a name that is bound in a branch": "def conditional():\n    return 1\n",
    "a built-in name that the top level uses": "def lru_cache():\n    return 1\n\n\ndef int():\n    return 1\n",
}


@pytest.mark.parametrize("name", BAD_ADDITIONS)
def test_other_new_functions_need_a_restart(name):
    assert not plan(("def generator():", BAD_ADDITIONS[name] + "\n\ndef generator():")).safe


BAD_METHODS = {
    "a special method": "def __eq__(self, other):\n        return True\n",
    "a property": "@property\n    def fresh(self):\n        return 1\n",
    "a name that the class body uses": "def property(self):\n        return 1\n",
    "a name of the class body": "def colour(self):\n        return 1\n",
}


@pytest.mark.parametrize("name", BAD_METHODS)
def test_other_new_methods_need_a_restart(name):
    assert not plan(("    def method(self):", f"    {BAD_METHODS[name]}\n    def method(self):")).safe


def test_a_new_method_of_a_decorated_class_needs_a_restart():
    assert not plan(("    def norm(", "    def fresh(self):\n        return 1\n\n    def norm(")).safe


LOOKING = {
    "dir": "T = [name for name in dir(H) if name.startswith('on_')]",
    "of an object": "T = dir(H())",
    "vars": "T = list(vars(H))",
    "__dict__": "T = list(H.__dict__)",
    "getmembers": "import inspect\nT = inspect.getmembers(H)",
    "getmembers by its name": "from inspect import getmembers\nT = getmembers(H)",
    "a computed name": "T = {name: getattr(H, 'on_' + name, None) for name in 'ab'}",
    "a function that import calls": "def scan(kind):\n    return dir(kind)\n\nT = scan(H)",
    "an object that looks at itself": "class G(H):\n    def __init__(self):\n        self.t = dir(self)\n\nT = G()",
    "hasattr": "T = hasattr(H, 'on_b')",
}
HANDLER = "class H:\n    def on_a(self):\n        return 1\n"


def with_a_handler(rest):
    """Return the plan of a new method of a class that stands above this."""
    added = "\n    def on_b(self):\n        return 2\n"
    return plan_module("app/m.py", f"{HANDLER}\n{rest}\n", f"{HANDLER}{added}\n{rest}\n")


@pytest.mark.parametrize("name", LOOKING)
def test_a_new_method_that_import_would_have_found_is_refused(name):
    """A table of what a class has, made at import, would miss it: in a new process it is there."""
    found = with_a_handler(LOOKING[name])
    assert not found.safe
    assert "H.on_b" in found.restart_reasons[0] and "the module's import" in found.restart_reasons[0]


@pytest.mark.parametrize(
    "rest",
    [
        "def later(kind):\n    return dir(kind)",
        "class G:\n    def names(self):\n        return list(vars(self))",
        "if __name__ == '__main__':\n    print(vars(H))",
        "T = getattr(H, 'on_a')",
    ],
)
def test_what_looks_at_names_later_or_at_another_name_misses_no_new_method(rest):
    found = with_a_handler(rest)
    assert found.safe, found.restart_reasons
