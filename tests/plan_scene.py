"""A module with one definition of each kind, and the plan of an edit of it."""

import textwrap

from homeostat_agent.reload.plan import plan_module

SOURCE = '''
"""A module."""
import functools
import os
from dataclasses import dataclass, field
from app import registry, Depends

LIMIT = 3
KEY = lambda item: item + 1
NAMES = [name for name in ("a", "b")]


def plain(a, b=1, *rest, c: int = 2, **more) -> int:
    """Says what."""
    return a + b


def calls_plain(x):
    return plain(x)


def generator():
    yield 1


async def coroutine():
    return 1


async def async_generator():
    yield 1


def with_lambda(items):
    return sorted(items, key=lambda item: item.a)


def outer(n):
    step = n

    def inner(x):
        return x + step

    return inner


def decorator(function):
    @functools.wraps(function)
    def wrapper(*args):
        return function(*args)

    return wrapper


@decorator
def decorated(x):
    return x


@registry.get("/items")
async def route(x, db=Depends(plain)):
    return x


@functools.lru_cache(maxsize=None)
def cached(x):
    return x


class Base:
    colour = "red"

    def __init__(self, x):
        if x < 0:
            raise ValueError("x")
        self.x = x

    def method(self):
        return 1

    def uses_super(self):
        return super().__repr__()

    @property
    def size(self):
        return 1

    @size.setter
    def size(self, value):
        self.kept = value

    @staticmethod
    def static(x):
        return x

    @classmethod
    def made(cls):
        return cls(1)

    def __secret(self):
        return 1

    class Inner:
        def deep(self):
            return 1


@dataclass
class Point:
    x: int
    y: int = field(default=0)

    def norm(self):
        return abs(self.x)


if LIMIT > 2:

    def conditional():
        return 1


def twice():
    return 1


def twice():
    return 2


if __name__ == "__main__":
    plain(1)
'''


def plan(*replacements, base=SOURCE):
    new = base
    for before, after in replacements:
        assert new.count(before) >= 1, before
        new = new.replace(before, after, 1)
    return plan_module("app/m.py", textwrap.dedent(base), textwrap.dedent(new))


def verdicts(found):
    return {item.qualname: item.action for item in found.definitions}
