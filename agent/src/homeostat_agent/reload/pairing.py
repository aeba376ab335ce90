"""Pairs the code objects of a module's old and new source.

The new code is compiled with the whole module, so that lines, name mangling, closures and
`from __future__` are as an import would have them. The module's top level is never run.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from inspect import CO_ASYNC_GENERATOR, CO_COROUTINE, CO_GENERATOR, CO_VARARGS, CO_VARKEYWORDS
from types import CodeType

from homeostat_agent.reload.compare import Differences, Obstacle
from homeostat_agent.reload.fingerprint import below, children, same_steps
from homeostat_agent.reload.newnames import NewClass
from homeostat_agent.reload.outline import ClassOutline, FunctionOutline

_KINDS = CO_GENERATOR | CO_COROUTINE | CO_ASYNC_GENERATOR
_SHAPE = CO_VARARGS | CO_VARKEYWORDS
_FREE = "its free variables changed"
_SIGNATURE = "its signature changed"
FREE_VARIABLES = "free variables"


@dataclass(frozen=True)
class CodePair:
    """A code object of the old source and what takes its place."""

    old: CodeType
    new: CodeType
    changed: bool
    """False where only lines moved, or nothing at all."""


@dataclass(frozen=True)
class Skipped:
    """What of a module's top level has no counterpart, and needs none: statements that run again (see `widening`)."""

    old: frozenset[int] = frozenset()
    """Lines of the old source."""

    new: frozenset[int] = frozenset()
    decorators: tuple[frozenset[int], frozenset[int]] = (frozenset(), frozenset())
    """Lines of decorators whose function has a counterpart all the same, in the old source and the new."""


@dataclass
class Pairing:
    """Every code object below a module's top level, on both sides."""

    pairs: list[CodePair] = field(default_factory=list)
    left: list[CodeType] = field(default_factory=list)
    """Old code inside changed functions: what these made so far was made by the old body."""

    fresh: list[CodeType] = field(default_factory=list)
    """New code inside changed functions."""

    added: dict[str, CodeType] = field(default_factory=dict)
    """Code of added functions, and of the bodies of added classes, by qualified name."""

    makers: set[int] = field(default_factory=set)
    """`id` of old code that is not changed itself, but has a changed function somewhere inside."""

    names: dict[int, str] = field(default_factory=dict)
    """Qualified names of functions by `id` of their old or new code (which the pairing keeps alive)."""


_NOTHING = Skipped()


def compile_module(source: str, filename: str) -> CodeType:
    """Compile as the import system would, with nothing inherited from this file."""
    return compile(source.lstrip("\ufeff"), filename, "exec", dont_inherit=True, optimize=-1)


def pair(old: CodeType, new: CodeType, found: Differences, skipped: Skipped = _NOTHING) -> Pairing | list[Obstacle]:
    """Pair the code of two outlines that `compare` found no obstacle in; obstacles of code are returned."""
    return _Pairer(old, new, found, skipped).run()


class _Pairer:
    def __init__(self, old: CodeType, new: CodeType, found: Differences, skipped: Skipped) -> None:
        self._old, self._new, self._found = old, new, found
        self._skipped_old = _on_lines(old, skipped.old, skipped.decorators[0])
        self._skipped_new = _on_lines(new, skipped.new, skipped.decorators[1])
        self._pairing = Pairing()
        self._obstacles: list[Obstacle] = []
        self._old_index, self._new_index = _index(old), _index(new)
        self._changed: dict[int, tuple[FunctionOutline, CodeType]] = {}
        self._outlines: dict[int, FunctionOutline] = {}
        self._added: set[int] = set()

    def run(self) -> Pairing | list[Obstacle]:
        for old, new in self._found.matched:
            codes = (self._code(self._old_index, old), self._code(self._new_index, new))
            if codes[0] is None or codes[1] is None:
                continue
            self._outlines[id(codes[0])] = new
            self._pairing.names[id(codes[0])] = self._pairing.names[id(codes[1])] = new.qualname
        for old, new in self._found.changed:
            old_code, new_code = self._code(self._old_index, old), self._code(self._new_index, new)
            if old_code is None or new_code is None:
                self._block(new, "has no code object of its own")
            else:
                self._changed[id(old_code)] = (new, new_code)
        for owner, item in self._found.added:
            self._add(item, is_method=owner is not None)
        for name in self._found.names:
            if isinstance(name, NewClass):
                self._add(name.outline, is_method=False)
        self._pairing.left.extend(item for code in self._skipped_old for item in (code, *below(code)))
        self._pairing.fresh.extend(item for code in self._skipped_new for item in (code, *below(code)))
        if not self._obstacles:
            self._walk(self._old, self._new, outer=())
        if not self._obstacles and self._changed:
            for item, _ in self._changed.values():
                self._block(item, "its code object could not be placed")
        return self._obstacles or self._pairing

    def _add(self, item: FunctionOutline | ClassOutline, *, is_method: bool) -> None:
        code = self._code(self._new_index, item)
        if code is None:
            self._block(item, "has no code object of its own")
        elif code.co_freevars not in ((), ("__class__",) if is_method else ()):
            self._block(item, "has free variables")
        else:
            self._added.add(id(code))
            self._pairing.added[item.qualname] = code
            self._pairing.names[id(code)] = item.qualname

    def _walk(self, old: CodeType, new: CodeType, *, outer: tuple[int, ...]) -> None:
        # INVARIANT: outside changed functions both sides have the same definitions, lambdas and
        # comprehensions in the same order, and constants keep the order of the source.
        unpaired = {*self._added, *map(id, self._skipped_old), *map(id, self._skipped_new)}
        olds = [code for code in children(old) if id(code) not in unpaired]
        news = [code for code in children(new) if id(code) not in unpaired]
        if [code.co_name for code in olds] != [code.co_name for code in news]:
            line = new.co_firstlineno
            self._obstacles.append(Obstacle(new.co_name, line, "its inner code could not be paired"))
            return
        for index, code in enumerate(olds):
            self._pair(code, news[index], outer=outer)

    def _pair(self, old: CodeType, new: CodeType, *, outer: tuple[int, ...]) -> None:
        placed = self._changed.pop(id(old), None)
        outline = self._outlines.get(id(old))
        if placed is not None and placed[1] is not new:
            self._block(placed[0], "its code object could not be placed")
            return
        reason = _shape_reason(old, new)
        if reason == _SIGNATURE and outline is not None and outline.qualname in self._found.shapes:
            reason = ""
        if not reason and placed is None and old.co_name.startswith("<") and not same_steps(old, new):
            # Some interpreters keep one code object for equal lambdas of one line. Which of them were one may
            # differ between the sources where only the layout does, and then their order tells nothing.
            reason = "it cannot be told from others beside it"
        if reason:
            name, line = (outline.qualname, outline.node.lineno) if outline else (new.co_name, new.co_firstlineno)
            part = FREE_VARIABLES if reason == _FREE else ""
            self._obstacles.append(Obstacle(name, line, reason, part))
            return
        self._pairing.pairs.append(CodePair(old, new, changed=placed is not None))
        if placed is None:
            self._walk(old, new, outer=(*outer, id(old)))
        else:
            self._pairing.makers.update(outer)
            self._pairing.left.extend(below(old))
            self._pairing.fresh.extend(below(new))

    def _code(
        self, index: dict[tuple[str, int], list[CodeType]], item: FunctionOutline | ClassOutline
    ) -> CodeType | None:
        codes = index.get(item.key, [])
        return codes[0] if len(codes) == 1 else None

    def _block(self, item: FunctionOutline | ClassOutline, reason: str) -> None:
        self._obstacles.append(Obstacle(item.qualname, item.node.lineno, reason))


def _shape_reason(old: CodeType, new: CodeType) -> str:
    if (old.co_flags ^ new.co_flags) & _KINDS:
        return "it became another kind of function (plain, generator, coroutine)"
    if old.co_freevars != new.co_freevars:
        return _FREE
    count = old.co_argcount + old.co_kwonlyargcount
    if (
        (old.co_flags ^ new.co_flags) & _SHAPE
        or (old.co_argcount, old.co_posonlyargcount, old.co_kwonlyargcount)
        != (new.co_argcount, new.co_posonlyargcount, new.co_kwonlyargcount)
        or old.co_varnames[:count] != new.co_varnames[:count]
    ):
        return _SIGNATURE
    return ""


def _on_lines(module: CodeType, lines: frozenset[int], of_decorators: frozenset[int]) -> list[CodeType]:
    """Return the code of statements that lie on these lines, and what decorators make themselves."""
    return [
        code
        for code in children(module)
        if code.co_firstlineno in lines or (code.co_firstlineno in of_decorators and code.co_name.startswith("<"))
    ]


def _index(module: CodeType) -> dict[tuple[str, int], list[CodeType]]:
    found: dict[tuple[str, int], list[CodeType]] = {}
    for code in below(module):
        found.setdefault((code.co_name, code.co_firstlineno), []).append(code)
    return found
