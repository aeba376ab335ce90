"""What a process needs to carry out the widened part of an aggressive plan: code, in place of trees."""

from __future__ import annotations
import __future__

import ast
from dataclasses import dataclass, field
from types import CodeType

from homeostat_agent.reload.fingerprint import below
from homeostat_agent.reload.outline import FunctionOutline
from homeostat_agent.reload.pairing import Pairing
from homeostat_agent.reload.risks import Again, ChangedBases
from homeostat_agent.reload.widening import Widening

_FUTURE = 0
for _name in __future__.all_feature_names:
    _FUTURE |= getattr(__future__, _name).compiler_flag


@dataclass(frozen=True)
class Statement:
    """A statement of the new source, compiled by itself."""

    label: str
    line: int
    code: CodeType
    binds: frozenset[str]


@dataclass(frozen=True)
class Widened:
    """The widened part of a plan; empty in a safe one."""

    statements: tuple[Statement, ...] = ()
    """In the order of the source."""

    bases: tuple[ChangedBases, ...] = ()
    shapes: dict[str, tuple[FunctionOutline, FunctionOutline]] = field(default_factory=dict)
    left: frozenset[int] = frozenset()
    """`id` of old code whose functions may stay with whoever holds them: what made them runs again."""

    block_changed: bool = False
    is_program: bool = False
    """Whether it may be carried out in the program itself (`__main__`), as its text knows that it is one."""

    def binds(self) -> set[str]:
        return {name for item in self.statements for name in item.binds}


def carried_out(wide: Widening, pairing: Pairing, codes: tuple[CodeType, CodeType]) -> Widened:
    """Return what a widened plan comes to, for these code objects of both modules."""
    skipped = wide.skipped()
    lines = skipped.old | skipped.decorators[0]
    left = {id(code) for code in pairing.left if code.co_firstlineno in lines}
    makers = {item.key for item in wide.makers.values()}
    for pair in pairing.pairs:
        if pair.changed and (pair.old.co_name, pair.old.co_firstlineno) in makers:
            left.update(map(id, below(pair.old)))
    filename, flags = codes[1].co_filename, codes[1].co_flags & _FUTURE
    return Widened(
        statements=tuple(_compiled(item, filename, flags) for item in wide.statements()),
        bases=tuple(wide.bases.values()),
        shapes=dict(wide.shapes),
        left=frozenset(left),
        block_changed=wide.block_changed,
    )


def _compiled(item: Again, filename: str, flags: int) -> Statement:
    module = ast.Module(body=[item.node], type_ignores=[])
    code = compile(module, filename, "exec", flags=flags, dont_inherit=True, optimize=-1)
    return Statement(item.label, item.node.lineno, code, item.binds)
