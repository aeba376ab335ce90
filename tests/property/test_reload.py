"""Random modules, random edits: what the reloader calls swapped behaves as a fresh import of the new source.

The generator knows nothing of the planner's rules: edits hit bodies, defaults, decorators, constants,
closures and the order of things alike. Refusing is always right here; swapping must be exact, down to
line numbers in tracebacks, and rolling back must be exact too.
"""

import asyncio
import gc
import importlib
import inspect
import itertools
import re
import sys
import types
from pathlib import Path

from canary_scene import terms
from homeostat_agent.reload import Change, Module, Reloader
from homeostat_agent.reload.plan import plan_module, routing_obstacles
from hypothesis import HealthCheck, event, example, given, settings
from hypothesis import strategies as st
from small_process import run_in_small_process

_numbers = itertools.count()

CHUNKS = [
    '''
def plain{n}(a, b=K):
    """Says K."""
    c = a * K + b
    if c > K:
        return c - K
    return [c + item for item in (K, a)]
''',
    """
def caller{n}(a):
    if a > K:
        raise ValueError(K)
    return plain{m}(a) , K
""",
    """
def make{n}(start):
    step = start + K
    def inner(x):
        other = x + K
        return other * step
    return inner
""",
    """
def counter{n}(start):
    count = start
    def bump(by=K):
        nonlocal count
        count += by + K
        return count
    def peek():
        return count - K
    return [bump, peek]
""",
    """
def deco{n}(function):
    tag = K
    @functools.wraps(function)
    def wrapper(*args):
        return (tag, function(*args), K)
    return wrapper

@deco{n}
def decorated{n}(x):
    return x - K
""",
    """
def factory{n}(k):
    def deco(function):
        mark = K
        def wrapper(*args):
            return (k, mark, function(*args), K)
        return wrapper
    return deco

@factory{n}(K)
def configured{n}(x):
    return x * K
""",
    """
REG{n} = {{}}
def keep{n}(function):
    REG{n}[function.__name__] = function
    return function

@keep{n}
def kept{n}(x):
    return x + K
""",
    """
class Base{n}:
    K_OF = K
    def __init__(self, a=K):
        if a < 0 - K:
            raise ValueError(K)
        self.a = a + K
    def method(self, x=K):
        return self.a + x * K
    @property
    def size(self):
        return self.a + K
    @staticmethod
    def static(x):
        return x + K
    @classmethod
    def made(cls):
        return cls(K).a
    def __secret(self):
        return K
    def tells(self):
        return self.__secret() + K
    class Nested:
        def deep(self):
            return K

class Heir{n}(Base{n}):
    def method(self, x=K):
        return super().method(x) + K
    def __len__(self):
        return K
""",
    """
def numbers{n}(a):
    for item in range(a % 4):
        yield item + K
""",
    """
async def later{n}(a):
    return a + K

async def stream{n}(a):
    yield a + K
    yield K
""",
    """
@functools.lru_cache(maxsize=None)
def cached{n}(x):
    return x + K
""",
    """
@functools.lru_cache(maxsize=None)
def outer_cached{n}(x):
    return plain{m}(x) , K
""",
    """
VALUE{n} = plain{m}(K)
""",
    """
TABLE{n} = [plain{m}, K]
KEY{n} = lambda x: x + K
""",
    """
ITEMS{n} = [item + K for item in range(3)]
PICKED{n} = sorted([3, 1, 2], key=lambda item: item % K)
""",
    """
def lambdas{n}(a):
    add = lambda x: x + a + K
    return [add(K), (lambda: K)()], add
""",
    """
def holder{n}(x, call=plain{m}):
    return call(x) , K
""",
    """
if K > 2:
    def chosen{n}(x):
        return x + K
else:
    def chosen{n}(x):
        return x - K
""",
    """
@functools.singledispatch
def show{n}(x):
    return K

@show{n}.register
def _(x: int):
    return x + K
""",
    """
ALIAS{n} = plain{m}
BOUND{n} = functools.partial(plain{m}, K)
""",
    """
def local_class{n}(a):
    class Local:
        def m(self):
            return a + K
    return Local()
""",
    """
def maker{n}(a):
    return K + a
MADE{n} = maker{n}
RESULT{n} = MADE{n}(K)
""",
    """
LIMIT{n} = K
WORDS{n} = ("a", K)
def limited{n}(x):
    return x > LIMIT{n}, WORDS{n}
def bounds{n}(a=1, *, b=K):
    return [a + b + item for item in (K, LIMIT{n})]
""",
    """
STEP{n} = K
@functools.lru_cache(maxsize=None)
def stepped{n}(x):
    return plain{m}(x), reads{n}()
def reads{n}():
    return STEP{n}
class Steps{n}:
    def __init__(self):
        self.step = K
    def method(self, x=K):
        return STEP{n} + x
""",
    """
RATE{n} = K
def rated{n}(x=RATE{n}):
    return x
class Rates{n}:
    def __init__(self):
        self.rate = reads_rate{n}()
def reads_rate{n}():
    return RATE{n}
""",
    """
NAMES{n} = sorted(name for name in globals() if name.startswith("X"))
HEIRS{n} = len([heir for heir in ValueError.__subclasses__() if heir.__name__.startswith("Added")]) > K
def find{n}():
    return [heir for heir in ValueError.__subclasses__() if heir.__name__.startswith("Added")] and K
""",
    """
from stock import *
def sold{n}(x):
    return floor(x), X7, up7(K)
""",
]  # fmt: skip

NEW_CHUNKS = [
    "def plain9(a, b=K):\n    return a + K\n",
    "def added{n}(a: int = K, *rest, b=K) -> int:\n    return a + b + K\n",
    "def added{n}(a):\n    return [plain{m}(a), K]\n",
    "def len(a):\n    return K\n",
    "X{n} = K\n",
    "X{n} = [K, {{'k': (K, -K)}}]\n",
    "X{n} = plain{m}(K)\n",
    "X{n}, Y{n} = K, K\n",
    "class Added{n}:\n    pass\n",
    "class Added{n}(ValueError):\n    code = K\n    def told(self, x=K):\n        return super().__str__(), x, K\n",
    "class Added{n}(Base2):\n    def method(self, x=K):\n        return super().method(x), K\n",
    "import dataclasses\n"
    "@dataclasses.dataclass(frozen=True)\nclass Added{n}:\n    a: int = K\n"
    "    b: list = dataclasses.field(default_factory=list)\n",
    "import enum\nclass Added{n}(enum.Enum):\n    ONE = K\n    TWO = 7\n",
    "import math\n",
    "from math import floor, ceil as up{n}\n",
    "import os.path as place{n}\n",
    "from . import sub\n",
    "from stock import floor\n",
    "from stock import up7\nX8 = K\n",
    "X7 = [K]\n",
    "from collections import OrderedDict\nclass Added{n}(OrderedDict):\n    pass\n"
    "class Heir{n}(Added{n}):\n    x = K\n",
]
NAMED = [
    "X7",
    "Added7",
    "Added7(1)",
    "math.floor(2.5)",
    "floor(2.5)",
    "up7(1.5)",
    "len(place7.sep)",
    "OrderedDict(a=1)",
    "sub.VALUE",
]
"""Uses of what a new chunk may bind."""

STOCK = "from math import floor\nX7 = [1]\ndef up7(x):\n    return x\n"
"""A module whose names others import all of; some are those of new chunks."""

USERS = [
    "import HOST\nTOOK = getattr(HOST, 'X7', 10), hasattr(HOST, 'added7')\n",
    "try:\n    from HOST import X7\nexcept ImportError:\n    X7 = 10\n",
    "import HOST as shop\ntry:\n    TOOK = shop.floor\nexcept AttributeError:\n    TOOK = None\n",
    "from stock import *\nfrom HOST import *\ndef told():\n    return X7, floor(2.5)\n",
    "import HOST\nALL = [name for name in sorted(vars(HOST)) if not name.startswith('__')]\n",
    "import HOST\nALL = {name: getattr(HOST, name) for name in dir(HOST) if name.isupper()}\n",
    "import HOST\nALL = {name: value for name, value in HOST.__dict__.items() if name.isupper()}\n",
    "import HOST\nTOOK = [getattr(HOST, 'LIM' + f'IT{n}', None) for n in range(8)]\n",
    "import HOST, inspect\nKINDS = [name for name, _ in inspect.getmembers(HOST, inspect.isclass)]\n",
    "import HOST\ndef late():\n    return [getattr(HOST, 'LIMIT2', 1), HOST.plain0(2)]\n",
    "import HOST\ndef late():\n    return HOST.plain0(2), HOST.sub.VALUE\n",
]
"""Modules that import the one that changes, and keep something of it or of what it has not."""

NEW_METHODS = [
    "    def added(self, x=K):\n        return x + K\n",
    "    def added(self):\n        return super().__repr__, K\n",
    "    def method(self, x=K):\n        return K\n",
    "    def __added(self):\n        return K\n",
    "    def __str__(self):\n        return 'K'\n",
    "    def __eq__(self, other):\n        return K\n",
]


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


def fill(template, draw, *, n, m):
    text = template.format(n=n, m=m)
    return re.sub(r"\bK\b", lambda _: str(draw(st.integers(0, 6))), text)


@st.composite
def modules(draw):
    """Draw (old source, new source); the new one comes from the old by a few edits and still parses."""
    picks = draw(st.lists(st.sampled_from(CHUNKS), min_size=1, max_size=5))
    chunks = ["\nimport functools\n", *(fill(CHUNKS[0], draw, n=0, m=0), fill(CHUNKS[0], draw, n=1, m=0))]
    chunks += [fill(pick, draw, n=index + 2, m=index % 2) for index, pick in enumerate(picks)]
    edited = list(chunks)
    for _ in range(draw(st.integers(1, 3))):
        edit(edited, draw)
    old, new = "".join(chunks), "".join(edited)
    return old, new


def edit(chunks, draw):
    kind = draw(
        st.sampled_from(
            [
                "number",
                "number",
                "number",
                "line",
                "operator",
                "chunk",
                "named",
                "named",
                "method",
                "order",
                "word",
                "layout",
            ]
        )
    )
    index = draw(st.integers(1, len(chunks) - 1))
    before = chunks[index]
    if kind == "number":
        places = [found.span() for found in re.finditer(r"(?<![\w.])\d+\b", before)]
        if places:
            start, end = draw(st.sampled_from(places))
            chunks[index] = before[:start] + str(draw(st.integers(0, 6))) + before[end:]
    elif kind == "operator":
        places = [found.start() for found in re.finditer(r" [+*-] ", before)]
        if places:
            start = draw(st.sampled_from(places))
            chunks[index] = before[:start] + draw(st.sampled_from([" + ", " - ", " * "])) + before[start + 3 :]
    elif kind == "word":
        pairs = [
            ("return", "yield"),
            ("def ", "async def "),
            (" a", " b"),
            ("step", "start"),
            ("tag", "function"),
            ("count", "start"),
            ("x)", "x, y=1)"),
            ("self.a", "self.b"),
            ("wrapper", "inner"),
            ("K_OF", "K_TO"),
            ("@property", "@staticmethod"),
            ("(x)", "(x, z=2)"),
        ]
        old, new = draw(st.sampled_from(pairs))
        places = [found.start() for found in re.finditer(re.escape(old), before)]
        if places:
            start = draw(st.sampled_from(places))
            chunks[index] = before[:start] + new + before[start + len(old) :]
    elif kind == "line":
        lines = before.splitlines(keepends=True)
        at = draw(st.integers(0, len(lines) - 1))
        indent = re.match(r" *", lines[at]).group()
        if draw(st.booleans()):
            lines.insert(
                at,
                indent
                + draw(st.sampled_from(["pass", "z = 1", "helper = lambda: 1", "def extra(): return 1", "import math"]))
                + "\n",
            )
        else:
            del lines[at]
        chunks[index] = "".join(lines)
    elif kind == "chunk":
        template = draw(st.sampled_from([*NEW_CHUNKS, *CHUNKS]))
        if draw(st.booleans()):
            chunks.insert(index, fill(template, draw, n=draw(st.integers(7, 9)), m=0))
        elif len(chunks) > 3:
            del chunks[index]
    elif kind == "named":
        chunks.insert(draw(st.integers(1, index)), fill(draw(st.sampled_from(NEW_CHUNKS)), draw, n=7, m=0))
        places = [found.end() for found in re.finditer(r"return ", before)]
        if places:
            start = draw(st.sampled_from(places))
            used = before[:start] + draw(st.sampled_from(NAMED)) + ", " + before[start:]
            chunks[chunks.index(before)] = used
    elif kind == "method":
        places = [found.end() for found in re.finditer(r"class \w+.*:\n", before)]
        if places:
            start = draw(st.sampled_from(places))
            chunks[index] = before[:start] + fill(draw(st.sampled_from(NEW_METHODS)), draw, n=0, m=0) + before[start:]
    elif kind == "order":
        other = draw(st.integers(1, len(chunks) - 1))
        chunks[index], chunks[other] = chunks[other], chunks[index]
    else:
        chunks[index] = draw(st.sampled_from(["# moved\n" + before, "\n\n" + before, before.replace("(a", "( a")]))


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


def observe(value, *, depth=0):
    """Describe what a value is and does when called, in words without addresses."""
    if depth > 4:
        return "..."
    if isinstance(value, types.ModuleType):
        return ["module", value.__name__]
    if isinstance(value, (list, tuple)):
        return [observe(item, depth=depth + 1) for item in value]
    if isinstance(value, dict):
        return {key: observe(item, depth=depth + 1) for key, item in value.items()}
    if inspect.isgenerator(value):
        return ["generator", attempt(lambda: list(itertools.islice(value, 5)), depth)]
    if inspect.iscoroutine(value):
        return ["coroutine", attempt(lambda: asyncio.run(value), depth)]
    if inspect.isasyncgen(value):

        async def drain():
            return [item async for item in value]

        return ["async generator", attempt(lambda: asyncio.run(drain()), depth)]
    if isinstance(value, type):
        return ["class", value.__qualname__, instance_of(value, depth)]
    if isinstance(value, types.FunctionType):
        code = value.__code__
        facts = (
            code.co_firstlineno,
            value.__qualname__,
            value.__doc__,
            observe(value.__defaults__, depth=depth + 1),
            str(value.__annotations__),
        )
        return ["function", facts, *(attempt(lambda given=given: value(*given), depth) for given in ((), (2,), (5, 3)))]
    if callable(value):
        return ["callable", *(attempt(lambda given=given: value(*given), depth) for given in ((), (2,), (5, 3)))]
    return re.sub(r" at 0x\w+", "", repr(value)) if depth or not hasattr(value, "__dict__") else instance(value, depth)


def instance_of(kind, depth):
    return attempt(kind, depth)


def instance(value, depth):
    names = sorted(name for name in dir(value) if not name.startswith("__") or name in ("__len__", "__str__"))
    return {name: attempt(lambda name=name: getattr(value, name), depth) for name in names}


def attempt(call, depth):
    try:
        result = call()
    except Exception as error:
        lines = []
        at = error.__traceback__
        while at is not None:
            if at.tb_frame.f_code.co_filename != __file__:
                lines.append((at.tb_frame.f_code.co_name, at.tb_lineno))
            at = at.tb_next
        return ["raised", type(error).__name__, re.sub(r" at 0x\w+", "", str(error)), lines[:3]]
    if type(result).__module__ not in ("builtins", "functools", "types") and not isinstance(result, type):
        return [type(result).__qualname__, instance(result, depth + 1) if depth < 3 else ""]
    return observe(result, depth=depth + 1)


def behaviour(space):
    return {
        name: observe(value)
        for name, value in sorted(space.items())
        if not name.startswith("__") and name != "functools"
    }


def hold(space):
    """Make what a program holds while it runs: functions, bound methods, instances, running closures."""
    held = {}
    for name, value in sorted(space.items()):
        if isinstance(value, types.FunctionType):
            held[name] = value
            if name.startswith(("make", "counter", "lambdas", "local_class")):
                try:
                    held[name + ".made"] = value(2)
                except Exception:
                    continue
        elif isinstance(value, type):
            try:
                made = value()
            except Exception:
                continue
            held[name + ".made"] = made
            held |= {
                f"{name}.{key}": getattr(made, key)
                for key in ("method", "tells", "made", "static")
                if hasattr(made, key)
            }
    return held


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


def results(found):
    """Leave out what a canary does not change or has one more of: lines, docstrings, frames, added methods."""
    if isinstance(found, dict):
        return {key: results(value) for key, value in found.items() if key not in ("added", "_Base__added")}
    if isinstance(found, list):
        if found[:1] == ["function"]:
            return ["function", *map(results, found[2:])]
        return [results(item) for item in (found[:-1] if found[:1] == ["raised"] else found)]
    return found
