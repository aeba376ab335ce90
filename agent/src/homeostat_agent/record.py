"""Named tuples in the notation of `typing.NamedTuple`, without its import.

`typing` takes a tenth of the agent's import, which a program that has no other use for it need not pay.
Type checkers are shown the one of `typing`: see how the other modules import this one.
"""

from __future__ import annotations

from collections import namedtuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class _MakesNamedTuples(type):
    def __new__(cls, name: str, bases: tuple[type, ...], space: dict[str, Any]) -> type:
        if not bases:
            return super().__new__(cls, name, bases, space)
        fields = tuple(space["__annotations__"])
        defaults = [space[field] for field in fields if field in space]
        made = namedtuple(name, fields, defaults=defaults, module=space["__module__"])  # type: ignore[misc]
        for key, value in space.items():
            if key not in fields and key not in ("__annotations__", "__module__", "__qualname__"):
                setattr(made, key, value)
        return made


class NamedTuple(metaclass=_MakesNamedTuples):
    """To be derived from: the annotations are the fields, in their order; there may be methods and defaults."""
