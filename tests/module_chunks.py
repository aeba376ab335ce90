"""Pieces of random modules, and of what is added to them: `K` is a number to be drawn."""

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
    '''
class Told{n}:
    """Told K."""
    size: int = K
    name: "str"
    def m(self, x: int = K, *rest: "int") -> int:
        """Method K."""
        return x + K
    @property
    def width(self) -> int:
        """Width K."""
        return K
    @width.setter
    def width(self, value: int) -> None:
        pass
    @staticmethod
    def static(x: int):
        return x
    class Inner:
        """Inner K."""
''',
    """
WIDTH{n}: int = K
def typed{n}(a: int, *b: "str", c: float = K) -> "int":
    return a, WIDTH{n}
def untold{n}(a, b: int):
    def inner(x: int) -> int:
        return x + K
    return inner(a)
""",
    '''
import dataclasses, typing, enum
@dataclasses.dataclass
class Point{n}:
    """Point K."""
    x: int = K
    def norm(self, by: int = 1) -> int:
        return self.x + K
class Pair{n}(typing.NamedTuple):
    """Pair K."""
    a: int = K
class Kinds{n}(enum.Enum):
    """Kinds K."""
    ONE = K
class Heir{n}(Point{n}):
    y: int = K
''',
    '''
def described{n}(x: int):
    """Described K."""
    return x
HELP{n} = (described{n}.__doc__, K)
class Page{n}:
    """Page K."""
    size: int
PAGES{n} = [Page{n}.__doc__, sorted(Page{n}.__annotations__.items(), key=str)]
''',
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
    "import HOST\nHELP = [getattr(HOST, name, HOST).__doc__ for name in ('plain0', 'Told2', 'x')]\n",
    "import HOST, typing\nHINTS = str(typing.get_type_hints(getattr(HOST, 'plain0', HOST)))\n",
    "import HOST\nNOTES = str(getattr(getattr(HOST, 'typed2', HOST), '__annotations__', {}))\n",
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

ANNOTATIONS = [
    "int",
    "float",
    "Added7",
    "X7",
    "list[int]",
    "plain0",
    "functools.partial",
    '"str"',
    "typing.Optional[int]",
]
"""What takes the place of an annotation or of a word of a docstring."""

HEADS = ["\n", '"""Module."""\n', '"""Another."""\n', "from __future__ import annotations\n"]
