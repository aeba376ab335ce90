"""Tells which definition of a known source a live code object was compiled from."""

from __future__ import annotations

from dataclasses import dataclass
from types import CodeType
from typing import Any

from homeostat_agent.reload.fingerprint import below, children, fingerprint
from homeostat_agent.reload.pairing import Pairing


@dataclass(frozen=True)
class Known:
    """A code object of one side of a pairing, and what takes its place on the other side."""

    code: CodeType
    partner: CodeType | None
    """None for code inside a changed function, and for added functions."""

    changed: bool


class Side:
    """All code of one source of a module, to be found by live code objects."""

    def __init__(self, known: list[Known]) -> None:
        self._by_key: dict[tuple[str, int], list[Known]] = {}
        for item in known:
            self._by_key.setdefault((item.code.co_name, item.code.co_firstlineno), []).append(item)
        self._prints: dict[int, tuple[Any, ...]] = {}
        self._seen: dict[int, tuple[CodeType, Known | None]] = {}

    def find(self, live: CodeType) -> Known | None:
        """Return what this live code is, or None when no definition of the source compiles to it."""
        seen = self._seen.get(id(live))
        if seen is None:
            # The live code is kept with the answer, so that its id cannot pass to another object.
            seen = self._seen[id(live)] = (live, self._find(live))
        return seen[1]

    def _find(self, live: CodeType) -> Known | None:
        candidates = self._by_key.get((live.co_name, live.co_firstlineno), [])
        for item in candidates:
            if item.code is live:
                return item
        if not candidates:
            return None
        wanted = fingerprint(live)
        same = [item for item in candidates if self._print(item.code) == wanted]
        # Before 3.11, equal lambdas on one line cannot be told apart: fine while they stay equal.
        if not same or len({self._partner_print(item) for item in same}) > 1:
            return None
        return same[0]

    def _partner_print(self, item: Known) -> tuple[Any, ...] | None:
        return None if item.partner is None else self._print(item.partner)

    def _print(self, code: CodeType) -> tuple[Any, ...]:
        if id(code) not in self._prints:
            self._prints[id(code)] = fingerprint(code)
        return self._prints[id(code)]


def old_side(pairing: Pairing) -> Side:
    """Return the side that a swap starts from."""
    known = [Known(pair.old, pair.new, pair.changed) for pair in pairing.pairs]
    return Side([*known, *(Known(code, None, True) for code in pairing.left)])


def new_side(pairing: Pairing) -> Side:
    """Return the side that a rollback starts from."""
    known = [Known(pair.new, pair.old, pair.changed) for pair in pairing.pairs]
    added = [inner for code in pairing.added.values() for inner in (code, *below(code))]
    return Side([*known, *(Known(code, None, True) for code in (*pairing.fresh, *added))])


def same_code(one: CodeType, other: CodeType) -> bool:
    """Tell whether two code objects are the same code, whatever file they name."""
    return one is other or fingerprint(one) == fingerprint(other)


def originals(live: CodeType, compiled: CodeType, new_of: dict[int, CodeType]) -> dict[int, CodeType]:
    """Map `id` of new code to the live code it replaces, for a function and what is inside it.

    `live` and `compiled` are the same code, so their inner code objects stand in the same order.
    `new_of` has the new code by the `id` of the old.
    """
    found: dict[int, CodeType] = {}
    stack = [(live, compiled)]
    while stack:
        one, other = stack.pop()
        if id(other) in new_of:
            found[id(new_of[id(other)])] = one
        inner = children(one)
        stack.extend((inner[index], code) for index, code in enumerate(children(other)))
    return found
