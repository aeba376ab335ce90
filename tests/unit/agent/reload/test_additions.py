"""A new function is as the import would have made it, or it is not made."""

import ast
import builtins
import textwrap

import pytest
from homeostat_agent.reload.additions import (
    addition_obstacle,
    attribute_name,
    global_names,
    is_readable,
    make_function,
)
from homeostat_agent.reload.annotations import AnnotationRules, evaluated
from homeostat_agent.reload.compare import compare
from homeostat_agent.reload.fingerprint import below
from homeostat_agent.reload.outline import outline_module
from homeostat_agent.reload.pairing import compile_module

MODULE = """
import typing
LIMIT = 3
class Shape:
    class Part:
        pass
    def old(self):
        return 1
"""


def added(definition, *, inside):
    """Return the source with a new function, and (owner, outline) of what is added by it."""
    definition = textwrap.indent(textwrap.dedent(definition).strip("\n") + "\n", "    " if inside else "")
    new = MODULE + definition
    ((owner, item),) = compare(outline_module(ast.parse(MODULE)), outline_module(ast.parse(new))).added
    return new, owner, item


def made_and_imported(definition, *, inside=False, future=False):
    """Return the function added to a running module, and the one of an import of the new source."""
    new, owner, item = added(definition, inside=inside)
    head = "from __future__ import annotations\n" if future else ""
    running, imported = {"__name__": "m"}, {"__name__": "m"}
    exec(compile_module(head + MODULE, "m.py"), running)
    codes = compile_module(head + new, "m.py")
    exec(codes, imported)
    (code,) = [code for code in below(codes) if code.co_name == item.name]
    holder = running["Shape"] if inside else None
    function = make_function(item, code, namespace=running, owner=holder)
    names = vars(holder) if inside else {}
    function.__annotations__ = evaluated(item.node, as_text=future, namespace=running, names=names)
    name = attribute_name(owner, item)
    return running, function, vars(imported["Shape"])[name] if inside else imported[name]


FUNCTIONS = [
    "def fresh(): return 1",
    "def fresh(a, b=1, /, c=-2.5, *rest, d, e='x', f=None, **more): return a",
    "def fresh(a=(1, (2, -3)), b=..., c=True, d=b'x', e=-1j): return a",
    "def fresh(*, a, b=1): return a",
    "def fresh(a: int, /, b: 'str', *c: typing.Any, d: typing.List[int] = 1, **e: typing.Dict[str, int]) -> None: ...",
    "def fresh(a: int | None = None) -> (int, str): ...",
    "def fresh(a) -> [int]: ...",
    "async def fresh(a: int = 1): return a",
    "def fresh(a):\n    'Says what.'\n    yield a",
]


@pytest.mark.parametrize("future", [True, False])
@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("definition", FUNCTIONS)
def test_a_new_function_is_as_an_import_makes_it(definition, inside, future):
    running, one, other = made_and_imported(definition, inside=inside, future=future)
    for name in ("__name__", "__qualname__", "__module__", "__doc__", "__defaults__", "__kwdefaults__"):
        assert getattr(one, name) == getattr(other, name), name
    assert one.__annotations__ == other.__annotations__
    assert list(one.__annotations__) == list(other.__annotations__)
    assert [type(value) for value in one.__defaults__ or ()] == [type(value) for value in other.__defaults__ or ()]
    assert one.__code__ == other.__code__
    assert one.__globals__ is running
    assert one.__closure__ is None
    assert "fresh" not in running


def test_a_new_method_knows_its_class_and_the_names_of_its_body():
    running, one, _ = made_and_imported("def fresh(self, a: Part) -> Part: return __class__, super()", inside=True)
    assert one(running["Shape"](), None)[0] is running["Shape"]
    assert one.__annotations__ == {"a": running["Shape"].Part, "return": running["Shape"].Part}


def test_an_annotation_that_cannot_be_evaluated_stores_nothing():
    with pytest.raises(NameError):
        made_and_imported("def fresh(a: Missing): ...", inside=True)


@pytest.mark.parametrize("owner", ["C", "_C", "__C_", "X", "_", "___"])
@pytest.mark.parametrize("name", ["plain", "_one", "__two", "__three_"])
def test_a_private_method_is_stored_under_the_name_that_its_class_gives_it(owner, name):
    old = f"class {owner}:\n    ...\n"
    source = f"{old}    def {name}(self): ...\n"
    ((holder, item),) = compare(*(outline_module(ast.parse(text)) for text in (old, source))).added
    names = {}
    exec(source, names)
    assert attribute_name(holder, item) in vars(names[owner])
    assert attribute_name(None, item) == name


def obstacle(definition, *, inside=False, module=MODULE, prepare=lambda owner, item: None):
    definition = textwrap.indent(textwrap.dedent(definition).strip("\n") + "\n", "    " if inside else "")
    new = outline_module(ast.parse(module + definition))
    owner, item = compare(outline_module(ast.parse(module)), new).added[0]
    prepare(owner, item)
    old = outline_module(ast.parse(module))
    return addition_obstacle(owner, item, new) or AnnotationRules(old, new, (False, False)).of_addition(owner, item)


REFUSED = {
    "def fresh(): ...\ndef fresh(): ...": "is defined more than once in its scope",
    "@typing.overload\ndef fresh(): ...": "a new function with decorators or type parameters",
    "def __call__(self): ...": "a new function with a special name",
    "def fresh(a=LIMIT): ...": "a new function with defaults that are not constants",
    "def fresh(a=-LIMIT): ...": "a new function with defaults that are not constants",
    "def fresh(a=-'x'): ...": "a new function with defaults that are not constants",
    "def fresh(a=-True): ...": "a new function with defaults that are not constants",
    "def fresh(a=(1, LIMIT)): ...": "a new function with defaults that are not constants",
    "def fresh(a=[]): ...": "a new function with defaults that are not constants",
    "def fresh(*, a={}): ...": "a new function with defaults that are not constants",
    "def fresh(a: typing.Optional(1)): ...": "an annotation is more than names",
    "def fresh(a: 1 + 1): ...": "an annotation is more than names",
    "def fresh(a: __part): ...": "an annotation is more than names",
    "def fresh(a: typing.__part): ...": "an annotation is more than names",
    "def fresh(a, /, *, b: f''): ...": "an annotation is more than names",
    "def fresh(*a: (lambda: 1)): ...": "an annotation is more than names",
    "def fresh(**a: not 1): ...": "an annotation is more than names",
    "def fresh(a: int, /, b: {}): ...": "an annotation is more than names",
    "def fresh() -> print(): ...": "an annotation is more than names",
}


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("definition", REFUSED)
def test_what_only_an_import_can_make_is_refused(definition, inside):
    assert obstacle(definition, inside=inside) == REFUSED[definition]


@pytest.mark.parametrize("parameters", ["__a", "__a, /", "*__a", "*, __a=1", "**__a", "a, *, b, __c: int"])
def test_a_parameter_that_a_class_renames_is_refused_in_methods_only(parameters):
    definition = f"def fresh({parameters}): ..."
    assert obstacle(definition, inside=True) == "a new method with parameters of private names"
    assert obstacle(definition) == ""


CLASSES = ["@typing.final\nclass C:", "class C(metaclass=type):", "class C(typing.Generic, key=1):"]


@pytest.mark.parametrize("head", CLASSES)
def test_a_class_that_may_look_at_its_methods_while_it_is_made_takes_none(head):
    reason = obstacle("def fresh(): ...", inside=True, module=MODULE + head + "\n    x = 1\n")
    assert reason == "a new method of a class with decorators, keywords or type parameters"


MAKERS = {
    "class C(enum.Enum):": "`Enum` makes",
    "class C(IntFlag):": "`IntFlag` makes",
    "class C(typing.Protocol[int]):": "`Protocol` makes",
    "class B(BaseModel):\n    pass\nclass C(B):": "`BaseModel` makes",
    "class B:\n    def __init_subclass__(cls): ...\nclass M(B):\n    pass\nclass C(M):": "base `B` looks for it",
    "class B(abc.ABC):\n    @abc.abstractmethod\n    def fresh(self): ...\nclass C(B):": "base `B` looks for it",
}


@pytest.mark.parametrize("head", MAKERS)
def test_a_class_whose_maker_the_text_shows_takes_no_method_that_the_maker_would_have_seen(head):
    reason = obstacle("def fresh(self): ...", inside=True, module=MODULE + head + "\n    x = 1\n")
    assert MAKERS[head] in reason


@pytest.mark.parametrize(
    "head", ["class C(C):", "class C(dict, abc.ABC):", "class B(B):\n    def fresh(self): ...\nclass C(B):"]
)
def test_a_class_of_other_bases_takes_a_method(head):
    assert obstacle("def fresh(self): ...", inside=True, module=MODULE + head + "\n    x = 1\n") == ""


def test_type_parameters_of_later_pythons_are_refused():
    def give(owner, item):
        (owner or item).node.type_params = [ast.Name("T")]

    assert "type parameters" in obstacle("def fresh(): ...", prepare=give)
    assert "type parameters" in obstacle("def fresh(): ...", inside=True, prepare=give)


BINDINGS = [
    "{name} = 1",
    "{name}: int",
    "{name} += 1",
    "a, *{name} = 1, 2",
    "del {name}",
    "if 1:\n    {name} = 1",
    "for {name} in (): pass",
    "with 1 as {name}: pass",
    "print({name} := 1)",
    "import {name}",
    "import {name}.b",
    "import a as {name}",
    "from a import {name}",
    "from a import b as {name}",
    "if 1:\n    def {name}(): pass",
    "if 1:\n    async def {name}(): pass",
    "if 1:\n    class {name}: pass",
    "try: pass\nexcept ValueError as {name}: pass",
    "match 1:\n    case {name}: pass",
    "match 1:\n    case [*{name}]: pass",
    "match 1:\n    case {{**{name}}}: pass",
    "print({name})",
    "print({name}.b)",
]


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("binding", BINDINGS)
def test_a_name_that_its_scope_knows_is_refused(binding, inside):
    head = "class C:\n" if inside else ""
    text = textwrap.indent(binding.format(name="fresh"), "    " if inside else "")
    reason = obstacle("def fresh(): ...", inside=inside, module=f"{head}{text}\n")
    assert reason == "the name of a new function has a meaning already"


@pytest.mark.parametrize("binding", ["def other(): global fresh", "class C:\n    def m(self):\n        global fresh"])
def test_a_name_that_a_function_may_bind_in_the_module_is_refused(binding):
    assert obstacle("def fresh(): ...", module=binding + "\n") == "the name of a new function has a meaning already"


@pytest.mark.parametrize(
    "use", ["def other(): return fresh", "x = 1", "import a.fresh", "x.fresh = 1", "print(fresh=1)"]
)
def test_a_name_that_only_calls_will_look_up_is_free(use):
    assert obstacle("def fresh(): ...", module=use + "\n") == ""


def test_the_scope_of_a_method_is_its_class_and_not_the_module():
    assert obstacle("def fresh(): ...", inside=True, module="fresh = 1\nclass C:\n    x = 1\n") == ""
    assert obstacle("def fresh(): ...", module="class C:\n    def fresh(self): ...\n") == ""


@pytest.mark.parametrize("kept", [builtins, vars(builtins)])
def test_a_name_is_readable_in_the_module_or_its_builtins(kept):
    names = {"mine": None, "__builtins__": kept}
    assert is_readable("mine", names)
    assert is_readable("len", names)
    assert is_readable("len", {})
    assert not is_readable("missing", names)
    assert not is_readable("missing", {})


def test_builtins_of_its_own_are_what_a_module_reads():
    assert is_readable("mine", {"__builtins__": {"mine": 1}})
    assert not is_readable("len", {"__builtins__": {"mine": 1}})


def test_the_globals_that_code_reads_are_those_of_all_code_inside_it():
    source = """
    def f(a, b=default):
        x = one + a.attribute
        def inner():
            return two, [three for y in x]
        lambda: four
        class Local(five):
            six = seven
            def m(self) -> eight:
                return nine, six
            own = six
            ten = own
        return inner, Local, x
    """
    (code,) = [code for code in compile_module(textwrap.dedent(source), "m.py").co_consts if hasattr(code, "co_code")]
    wanted = {
        "one",
        "two",
        "three",
        "four",
        "five",
        "seven",
        "eight",
        "nine",
        "six",
        "__name__",
    }  # a method does not see the `six` beside it
    assert global_names(code) == wanted


INHERITED = (
    "class Plain:\n    def f(self):\n        return 1\n\nclass Own(Plain):\n    def g(self):\n        return 0\n"
)
OVERRIDE = ("return 0\n", "return 0\n\n    def f(self):\n        return 2\n")
KEEPERS = {
    "a method of the class": "from . import m\nkept = m.Own.f\ndef call():\n    return kept(m.Own())\n",
    "a method of an object": "from .m import Own\nkept = Own().f\ndef call():\n    return kept()\n",
    "handed on by a function": """
        from .m import Own
        def of(o):
            return o.f
        kept = of(Own())
        def call():
            return kept()
    """,
    "of an heir": "from .m import Own\nclass Heir(Own):\n    pass\nkept = Heir().f\ndef call():\n    return kept()\n",
}


@pytest.mark.parametrize("name", KEEPERS)
def test_a_method_that_takes_the_place_of_an_inherited_one_needs_a_restart_where_that_may_be_kept(host, name):
    host.load("m", INHERITED)
    keeper = host.load("keeper", KEEPERS[name])
    outcome = host.swap("m", OVERRIDE)
    assert outcome.outcome == "restart_required"
    assert "takes the place of what is inherited" in outcome.detail and ".keeper may keep a `f`" in outcome.detail
    assert keeper.call() == 1


def test_a_method_of_another_base_of_an_heir_may_be_kept_as_well(host):
    host.load("m", "class Own:\n    def g(self):\n        return 0\n")
    other = "class Other:\n    def f(self):\n        return 1\n"
    host.load("keeper", f"from .m import Own\n{other}class Heir(Own, Other):\n    pass\nkept = Heir().f\n")
    assert host.swap("m", OVERRIDE).outcome == "restart_required"


def test_what_is_called_where_it_is_asked_for_gets_the_method_that_takes_the_place_of_an_inherited_one(host):
    module = host.load("m", INHERITED)
    caller = host.load("caller", "from .m import Own\nown = Own()\ndef call():\n    return own.f()\n")
    outcome = host.swap("m", OVERRIDE)
    assert outcome.outcome == "swapped", outcome.detail
    assert (caller.call(), module.Plain().f()) == (2, 1)


def test_a_new_name_that_nothing_inherits_may_be_asked_for_of_other_things(host):
    host.load("m", INHERITED.replace("def f", "def h"))
    host.load("other", "from . import m\nclass Thing:\n    f = 1\nkept = Thing().f\n")
    assert host.swap("m", OVERRIDE).outcome == "swapped"
