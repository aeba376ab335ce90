"""The reloader in the interpreters that hosts have: the same plan, swap and rollback in each."""

import os
import subprocess
from pathlib import Path

import pytest
from interpreters import VERSIONS, interpreter

AGENT = Path(__file__).parents[4] / "agent" / "src"

HOST = '''
import asyncio, inspect, sys, time, traceback
from pathlib import Path
from homeostat_agent.firstseen import FirstSeen
from homeostat_agent.reload import Change, Module, Reloader

OLD = """import functools
from typing import List
def plain(x: int, *, scale: int = 2) -> int:
    "Old words."
    return [item for item in (x, scale)][0] + 1
def outer(n):
    def inner(x):
        return x + n
    return inner
def deco(function):
    @functools.wraps(function)
    def wrapper(*a):
        return function(*a)
    return wrapper
@deco
def decorated(x):
    return (lambda y: y + 1)(x)
@functools.lru_cache(maxsize=None)
def cached(x):
    return x
def numbers():
    yield 1
    yield 2
async def later():
    return 1
async def stream():
    yield 1
class Base:
    def who(self):
        return "base"
class C(Base):
    @property
    def size(self):
        return 1
    @classmethod
    def made(cls):
        return 1
    def __secret(self):
        return 1
    def who(self):
        return super().who() + str(self.__secret())
    def raises(self):
        try:
            raise KeyError("x")
        finally:
            pass
class Told:
    "Told words."
    kept: int = 1
    @staticmethod
    def fixed(x: int):
        return x
    def listed(self, x: List[int]) -> "List":
        return x
"""
EDITS = [
    ("Old words.", "New words."),
    ("[0] + 1", "[0] + 2"),
    ("return x + n", "return x - n"),
    ("return function(*a)", "return -function(*a)"),
    ("y + 1", "y + 2"),
    ("(x):\\n    return x\\n", "(x):\\n    return x * 10\\n"),
    ("yield 2", "yield 3"),
    ("def later():\\n    return 1", "def later():\\n    return 2"),
    ("async def stream():\\n    yield 1", "async def stream():\\n    yield 2"),
    ("def size(self):\\n        return 1", "def size(self):\\n        return 2"),
    ("def made(cls):\\n        return 1", "def made(cls):\\n        return 2"),
    (
        "def __secret(self):\\n        return 1",
        "def __secret(self):\\n        return self.__added() + fresh([1])\\n"
        "    def __added(self):\\n        return len(super().who())",
    ),
    ("import functools\\n", "'The\\\\n    module.'\\nimport functools\\nimport colorsys\\n"),
    ("Told words.", "Told\\\\n    otherwise."),
    ("kept: int", "kept: Dict[str, int]"),
    ("def fixed(x: int)", "def fixed(x: float)"),
    ("x: List[int]) -> \\"List\\"", "x: Dict[str, Added]) -> \\"Dict\\""),
    ("import List\\n", "import List, Dict\\nLIMIT = (-3, 'a')\\n"),
    (
        "class Base:",
        "class Added(ValueError):\\n    code: int = 4\\n    def told(self, x: int = 2) -> int:\\n"
        "        return self.code + x + len(super().args)\\nclass Base:",
    ),
    ("def outer", "def fresh(x: List[int], y=1):\\n    return y\\n\\n\\n\\ndef outer"),
]

def same(got, wanted):
    if got != wanted:
        sys.exit("%r is not %r" % (got, wanted))

NEW = OLD
for before, after in EDITS:
    same(NEW.count(before), 1)
    NEW = NEW.replace(before, after)
Path("shop.py").write_text(OLD)
import shop
from shop import plain, cached
thing, inner, numbers = shop.C(), shop.outer(1), shop.numbers()
next(numbers)

async def drain():
    return [item async for item in shop.stream()]

def line():
    try:
        thing.raises()
    except KeyError as error:
        return traceback.extract_tb(error.__traceback__)[-1].lineno

def state():
    return [plain(1), plain.__doc__, inner(5), shop.outer(1)(5), shop.decorated(1), cached(4), list(shop.numbers()),
            asyncio.run(shop.later()), asyncio.run(drain()), thing.size, shop.C.made(), thing.who(), line()]

def words(space):
    Told = space["Told"]
    return [space.get("__doc__"), Told.__doc__, repr(Told.__annotations__), repr(Told.fixed.__annotations__),
            repr(vars(Told)["fixed"].__func__.__annotations__), repr(Told.listed.__annotations__)]

fresh = {"__name__": "shop"}
exec(compile(NEW, "fresh.py", "exec"), fresh)
told = words(vars(shop))
before = state()
Path("shop.py").write_text(NEW)
reloader = Reloader(".", patience_s=1.0)
change = Change("c", (Module("shop.py", OLD, NEW),), "safe")
prepared = reloader.prepare(change)
same((prepared.outcome, prepared.detail[-300:] * (prepared.outcome != "swapped")), ("swapped", ""))
outcome = reloader.swap(change)
same((outcome.outcome, outcome.detail[-400:] * (outcome.outcome != "swapped")), ("swapped", ""))
same(len(outcome.functions), 22)
raising = NEW[: NEW.index("raise KeyError")].count("\\n") + 1
same(state(), [3, "New words.", 4, 4, -3, 40, [1, 3], 2, [2], 2, 2, "base5", raising])
same(next(numbers), 2)
facts = (shop.fresh.__qualname__, shop.fresh.__annotations__, shop.fresh.__defaults__)
same(facts, ("fresh", {"x": shop.List[int]}, (1,)))
same(vars(shop.C)["_C__added"].__qualname__, "C.__added")
same((shop.colorsys.__name__, shop.Dict[str, int], shop.LIMIT), ("colorsys", shop.Dict[str, int], (-3, "a")))
same((shop.Added(1).told(), shop.Added.__module__, shop.Added.told.__annotations__["x"]), (7, "shop", int))
same(words(vars(shop)), words(fresh))
same(words(vars(shop)) == told, False)
same(reloader.rollback("c").outcome, "swapped")
same(words(vars(shop)), told)
same([name for name in ("colorsys", "Dict", "LIMIT", "Added") if hasattr(shop, name)], [])
same(state(), before)
same((hasattr(shop, "fresh"), hasattr(shop.C, "_C__added")), (False, False))

removing = reloader.swap(Change("d", (Module("shop.py", NEW, OLD),), "safe"))
same(removing.outcome, "restart_required")
nine, eight = OLD.replace("yield 2", "yield 9"), OLD.replace("yield 2", "yield 8")
stale = reloader.swap(Change("e", (Module("shop.py", nine, eight),), "safe"))
same(stale.outcome, "failed")
same(state(), before)
same((reloader.changes, reloader.generation), ((), 2))

from homeostat_agent.canary.switch import Terms

UNCACHED = OLD.replace("@functools.lru_cache(maxsize=None)", "")
ROUTED = NEW.replace("@functools.lru_cache(maxsize=None)", "")
Path("routed.py").write_text(UNCACHED)
import routed as shop
thing, inner, plain, cached = shop.C(), shop.outer(1), shop.plain, shop.cached
codes = [plain.__code__, inner.__code__, shop.C.who.__code__, shop.later.__code__, shop.stream.__code__]
before = state()
change = Change("f", (Module("routed.py", UNCACHED, ROUTED),), "safe")
same(reloader.canary(change, Terms(100, None, 60)).outcome, "swapped")
moved = state()
same(moved[:1] + moved[2:-1], [3, 4, 4, -3, 40, [1, 3], 2, [2], 2, 2, "base5"])
same(moved[1], "Old words.")
kinds = (inspect.iscoroutinefunction(shop.later), inspect.isasyncgenfunction(shop.stream))
same((*kinds, inspect.isgeneratorfunction(shop.numbers)), (True, True, True))
same(str(inspect.signature(plain)), "(x: int, *, scale: int = 2) -> int")
try:
    plain()
except TypeError as error:
    same(str(error), "plain() missing 1 required positional argument: 'x'")
same(reloader.renew("f", lease_s=60, percent=0).outcome, "swapped")
same(state(), before)
(report,) = reloader.take_reports()
same([bool(report.arms[new].units) for new in (False, True)], [True, True])
same(reloader.promote("f").outcome, "swapped")
same(state(), [3, "New words.", 4, 4, -3, 40, [1, 3], 2, [2], 2, 2, "base5", raising])
same(reloader.rollback("f").outcome, "swapped")
same(state(), before)
again = [plain.__code__, inner.__code__, shop.C.who.__code__, shop.later.__code__, shop.stream.__code__]
same([one is other for one, other in zip(codes, again)], [True] * 5)

names = ("plain", "C.__secret", "C.made", "later", "cached", "numbers", "outer.<locals>.inner")
shadowed = frozenset("routed.py:" + name for name in names)
change = Change("g", (Module("routed.py", UNCACHED, ROUTED),), "safe")
same(reloader.canary(change, Terms(0, None, 600, shadowed)).outcome, "swapped")
(switch,) = reloader.canaries
wanted = {
    ("plain", "result", "another int"), ("C.__secret", "result", "another int"), ("C.made", "result", "another int"),
    ("later", "result", "another int"), ("cached", "result", "another int"),
}
for call in (lambda: plain(1), thing.who, shop.C.made, lambda: asyncio.run(shop.later()), lambda: cached(4)):
    switch.shadow.rest_for(0)
    call()
    end_s = time.monotonic() + 30
    while switch.shadow.busy:
        assert time.monotonic() < end_s
        time.sleep(0.001)
same(state(), before)
report = reloader.take_reports()[-1]
found = [(name.replace("routed.py:", ""), *told) for name, *told in report.shadow.found]
same(set(found) - wanted, set())
same(wanted - set(found), set())
same(reloader.rollback("g").outcome, "swapped")

RISKY = """from __future__ import annotations
def adds(n):
    def decorate(function):
        m = n
        def wrapper(x):
            return function(x) + n
        return wrapper
    return decorate
@adds(1)
def f(x: int):
    return x
def plain(a, b=1):
    return a + b
class A: pass
class B:
    def told(self): return "told"
class C(A): pass
ITEMS = [item for item in (1, 2)]
KEY = (lambda x: x)(1)
"""
RISKS = RISKY.replace("@adds(1)", "@adds(10)").replace("C(A)", "C(A, B)").replace("(1, 2)", "(1, 2, 3)")
RISKS = RISKS.replace("plain(a, b=1)", "plain(a, c, *, b=2)").replace("a + b", "a, c, b").replace("x)(1)", "x)(2)")
Path("risky.py").write_text(RISKY)
import risky
wells = (risky.f, risky.f.__closure__, risky.ITEMS, risky.C.__bases__, risky.plain.__defaults__)
seen = FirstSeen()
seen.note()
Path("risky.py").write_text(RISKS)
change = Change("h", (Module("risky.py", RISKY, RISKS),), "aggressive")
risks = Reloader(".", patience_s=0.2, seen=seen)
outcome = risks.swap(change)
same((outcome.outcome, outcome.detail), ("swapped", outcome.detail))
same((risky.f(1), risky.ITEMS, risky.KEY, risky.C().told(), risky.plain(1, 2)), (11, [1, 2, 3], 2, "told", (1, 2, 2)))
same(risks.rollback("h").outcome, "swapped")
back = (risky.f, risky.f.__closure__, risky.ITEMS, risky.C.__bases__, risky.plain.__defaults__)
same([one is other for one, other in zip(wells, back)], [True] * 5)
same((risky.f(1), risky.plain(1), risky.KEY), (2, 2, 1))
print("well")
'''


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("options", [(), ("-O",)], ids=["plain", "optimized"])
def test_every_supported_python_swaps_and_rolls_back(version, options, tmp_path):
    driver, repository = tmp_path / "driver", tmp_path / "repository"
    driver.mkdir()
    repository.mkdir()
    (driver / "host.py").write_text(HOST)  # not of the repository: it asks for the new names
    run = subprocess.run(
        [interpreter(version), "-X", "dev", "-W", "error", *options, "-c", "import host"],
        cwd=repository,
        env={"PYTHONPATH": os.pathsep.join(map(str, (AGENT, driver, repository))), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (run.returncode, run.stdout.strip()) == (0, "well"), run.stderr
