"""What the import of a module ran or kept, as its text shows it."""

# ruff: noqa: E501 - the tables of small sources are read line by line

import pytest
from homeostat_agent.reload.plan import plan_module
from plan_scene import verdicts

IMPORT_TIME = {
    "a call": "X = f()",
    "a call of a caller": "X = g()",
    "a call in a condition": "if f():\n    pass",
    "a call in a comprehension": "X = [f() for _ in range(2)]",
    "a call in a default": "def h(x=f()):\n    return x",
    "a call in a class body": "class A:\n    x = f()",
    "a call in a lambda that is called": "X = (lambda: f())()",
    "a call through map": "X = list(map(f, [1]))",
    "a call through a table": "T = {'f': f}\nX = T['f']()",
    "a call through a variable": "h = f\nX = h()",
    "use as a decorator": "@f\ndef h():\n    return 1",
    "use as a decorator with arguments": "@f(1)\ndef h():\n    return 1",
    "use by unknown code": "import other\nother.run(f)",
    "use by a local function that calls it": "def run(x):\n    return x()\nrun(f)",
    "use by a decorator that calls it": "def run(x):\n    x()\n    return x\n@run\ndef h():\n    return 5",
    "its docstring": "X = f.__doc__",
    "exec": "exec('f()')",
    "an instance": "class A:\n    def __init__(self):\n        f()\nX = A()",
    "an instance of a subclass": "class A:\n    def __init__(self):\n        f()\nclass B(A):\n    pass\nX = B()",
    "a method called": "class A:\n    def run(self):\n        f()\nX = A().run()",
    "an annotation": "x: f() = 1",
    "a with statement": "class A:\n    def __enter__(self):\n        f()\n    def __exit__(self, *a):\n        pass\nwith A():\n    pass",
    "a base that hooks": "class A:\n    def __init_subclass__(cls):\n        f()\nclass B(A):\n    pass",
    "a default of an instance": "from dataclasses import dataclass, field\n@dataclass\nclass A:\n    x: int = field(default_factory=f)\nX = A()",
    "a default of an heir": "from app import Model, Field\nclass A(Model):\n    x = Field(default_factory=f)\nclass B(A):\n    pass\nX = B()",
    "a function by its name in a class": "class A:\n    x = staticmethod(f)\nX = A.x()",
    "a property by its name in a class": "class A:\n    x = property(f)\nX = A().x",
    "a method put into a class": "class A:\n    pass\nA.m = f\nX = A().m()",
    "a function that an instance holds": "class A:\n    def __init__(self, call):\n        self.call = call\n    def go(self):\n        return self.call()\nX = A(f).go()",
    "a member of an enumeration": "from enum import IntEnum\nclass E(IntEnum):\n    A = 1\n    def __init__(self, value):\n        self.other = f()",
    "a member of an heir of one": "import enum\nclass Flags(enum.IntFlag):\n    def __init__(self, value):\n        self.other = f()\nclass G(Flags):\n    A = 1",
    "a registered implementation": "from functools import singledispatch\n@singledispatch\ndef show(x):\n    return 5\n@show.register\ndef _(x: int):\n    return f()\nX = show(1)",
    "a class keyword": "from app import Base\nclass A(Base, hook=f):\n    pass",
    "its name as text": "import sys\nX = getattr(sys.modules[__name__], 'f')()",
    "a method's name as text": "from operator import methodcaller\nclass A:\n    def run(self):\n        return f()\nX = methodcaller('run')(A())",
    "a metaclass": "class M(type):\n    def __new__(m, *a):\n        f()\n        return type.__new__(m, *a)\nclass B(metaclass=M):\n    pass",
}


@pytest.mark.parametrize("name", IMPORT_TIME)
def test_what_import_itself_ran_needs_a_restart(name):
    source = "def f(*a):\n    return 1\n\n\ndef g():\n    return f()\n\n\n" + IMPORT_TIME[name] + "\n"
    edited = "return 5" if "return 5" in source else "return 1"
    found = plan_module("m.py", source, source.replace(edited, "return 2", 1))
    assert not found.safe
    assert "import" in " ".join(found.restart_reasons)


HARMLESS = {
    "a table": "T = {'f': f, 'g': [g]}",
    "a registration": "import app\napp.add_api_route('/x', f)",
    "a dependency": "from fastapi import Depends\ndef h(x=Depends(f)):\n    return x",
    "a partial": "import functools\nh = functools.partial(f, 1)",
    "the program's own part": "if __name__ == '__main__':\n    f()",
    "a call in a body": "def h():\n    return f()",
    "decorating it": "import app\n@app.get('/')\ndef h():\n    return f()",
    "a default of instances to come": "from dataclasses import dataclass, field\n@dataclass\nclass A:\n    x: int = field(default_factory=f)",
    "a property of a class": "class A:\n    x = property(f)\n    y = staticmethod(f)",
    "a function that instances will hold": "class A:\n    def __init__(self, call):\n        self.call = call\n    def go(self):\n        return self.call()\nX = A(f)",
    "an enumeration": "from enum import Enum\nclass E(Enum):\n    A = 1\n    def told(self):\n        return f()",
    "a registered implementation": "from functools import singledispatch\n@singledispatch\ndef show(x):\n    return 5\n@show.register\ndef _(x: int):\n    return f()",
    "a class keyword that is kept": "class Base:\n    def __init_subclass__(cls, hook):\n        cls.hook = hook\nclass A(Base, hook=f):\n    pass",
    "a class that takes its own name": "from app import A\nclass A(A):\n    def m(self):\n        return f()",
    "a local registry": "ALL = []\ndef keep(x):\n    ALL.append(x)\n    return x\nkeep(f)",
    "an instance that does not run it": "class A:\n    def __init__(self):\n        self.x = 1\n    def m(self):\n        return f()\nX = A()",
}


@pytest.mark.parametrize("name", HARMLESS)
def test_what_import_only_keeps_is_swapped(name):
    source = "def f(*a):\n    return 1\n\n\ndef g():\n    return f()\n\n\n" + HARMLESS[name] + "\n"
    found = plan_module("m.py", source, source.replace("return 1", "return 2", 1))
    assert found.safe, found.restart_reasons


@pytest.mark.parametrize("start, end", [("ran()", "1"), ("1", "ran()")])
def test_what_either_import_runs_needs_a_restart(start, end):
    old = f"def ran():\n    return 1\ndef on_the_way():\n    return {start}\nX = on_the_way()\n"
    new = f"# moved\ndef ran():\n    return 2\ndef on_the_way():\n    return {end}\nX = on_the_way()\n"
    assert verdicts(plan_module("m.py", old, new)) == {"ran": "restart", "on_the_way": "restart"}
