"""The exchange itself: all functions at once, or none."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import chain, repeat, starmap
from operator import setitem
from types import CodeType, FunctionType
from typing import Any, NamedTuple, Optional, Union

from homeostat_agent.reload.runs import Run
from homeostat_agent.reload.spaces import class_dict


class ExchangeFailed(Exception):
    """An assignment was refused; everything has been put back."""


@dataclass
class Binding:
    """A name in a module or class, and what is put there or taken away."""

    holder: Union[dict[str, Any], type]
    name: str
    value: Any = None
    make: Callable[[], Any] | None = None
    """Makes the value, once, when it is put there for the first time."""

    def put(self) -> None:
        if self.make is not None:
            self.value, self.make = self.make(), None
        if isinstance(self.holder, dict):
            self.holder[self.name] = self.value
        else:
            type.__setattr__(self.holder, self.name, self.value)

    def is_at(self, holder: Any, name: str) -> bool:
        """Tell whether this is what the name of the holder means now."""
        if self.make is not None or self.holder is not holder or self.name != name:
            return False
        held = holder if isinstance(holder, dict) else vars(holder)
        return name in held and held[name] is self.value

    def take(self) -> None:
        """Remove the name, unless it means something else by now."""
        if not self.is_at(self.holder, self.name):
            return
        if isinstance(self.holder, dict):
            del self.holder[self.name]
        else:
            type.__delattr__(self.holder, self.name)


bases_of = type.__dict__["__bases__"].__get__
"""What a class is made of, past whatever a metaclass says of it."""


class Value(NamedTuple):
    """What a function or a name space holds under a name, and what takes its place."""

    holder: Union[FunctionType, type, dict[str, Any]]
    name: str
    old: Any
    new: Any
    label: str = ""
    make: Optional[Callable[[], Any]] = None
    """Makes the new one, where that names what the same exchange binds."""

    @property
    def present(self) -> Any:
        if isinstance(self.holder, dict):
            return self.holder.get(self.name)
        if issubclass(type(self.holder), type) and self.name == "__bases__":
            return bases_of(self.holder)
        if issubclass(type(self.holder), type):
            return class_dict(self.holder).get(self.name)
        return getattr(self.holder, self.name)

    @property
    def where(self) -> str:
        """Return it as ``module:qualname``."""
        if self.label:
            return self.label
        if isinstance(self.holder, dict):
            return f"{self.holder.get('__name__', '?')}:{self.name}"
        return f"{self.holder.__module__}:{self.holder.__qualname__}"

    def reversed(self) -> Value:
        return self._replace(old=self.new, new=self.old)

    def made(self) -> Value:
        """Return it with the new one made."""
        return self if self.make is None else self._replace(new=self.make(), make=None)


@dataclass(frozen=True)
class Docstring:
    """A docstring that was copied from a function's code when the function was made."""

    holder: Any
    old: str | None
    new: str | None


@dataclass
class Exchange:
    """What is to be exchanged in this process."""

    functions: list[FunctionType] = field(default_factory=list)
    old: list[CodeType] = field(default_factory=list)
    new: list[CodeType] = field(default_factory=list)
    bindings: list[Binding] = field(default_factory=list)
    values: list[Value] = field(default_factory=list)
    docstrings: list[Docstring] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    """Statements that run when all the rest is in place: of an aggressive change only."""

    def add(self, function: FunctionType, old: CodeType, new: CodeType) -> None:
        self.functions.append(function)
        self.old.append(old)
        self.new.append(new)

    def __bool__(self) -> bool:
        return bool(self.functions or self.bindings or self.values or self.docstrings or self.runs)

    def commit(self) -> int:
        """Put the new code in place and return the microseconds it took; `ExchangeFailed`: nothing changed.

        New names come first, since nothing calls them yet. The assignments then run as one call of
        C code that evaluates no bytecode, so no other thread gets the interpreter in between, and
        the host's switch interval need not be touched. A call sees all functions old or all new.

        Statements that run again come last, and are the host's own: they take the time that they take, it does not
        count, and other threads go on meanwhile, in the new code.
        """
        try:
            for binding in self.bindings:
                binding.put()
            self.values = [value.made() for value in self.values]
            values = [(value.holder, value.name, value.new) for value in self.values]
            start_ns = time.perf_counter_ns()
            _assign(self.functions, self.new, values)
            took_ns = time.perf_counter_ns() - start_ns
            for docstring in self.docstrings:
                docstring.holder.__doc__ = docstring.new
            for run in self.runs:
                run.put()
        except Exception as error:  # an assignment that the interpreter or an audit hook of the host refused
            self.undo()
            raise ExchangeFailed(f"{type(error).__name__}: {error}") from error
        return max(1, took_ns // 1000)

    def undo(self) -> None:
        """Put everything back, also what a `commit` that broke has done of it."""
        for run in reversed(self.runs):
            run.take()
        _assign(self.functions, self.old, [(value.holder, value.name, value.old) for value in self.values])
        for binding in self.bindings:
            binding.take()
        for docstring in self.docstrings:
            if docstring.holder.__doc__ == docstring.new:
                docstring.holder.__doc__ = docstring.old


def _assign(functions: list[FunctionType], codes: list[CodeType], values: list[tuple[Any, str, Any]]) -> None:
    # What is replaced is held by the exchange: nothing of it ends here, so no code of the host runs in between.
    spaces = [value for value in values if type(value[0]) is dict]
    classes = [value for value in values if issubclass(type(value[0]), type)]
    others = [value for value in values if type(value[0]) is FunctionType]
    steps = chain(
        map(setattr, functions, repeat("__code__"), codes),
        starmap(setattr, others),
        starmap(type.__setattr__, classes),
        starmap(setitem, spaces),
    )
    deque(steps, maxlen=0)
