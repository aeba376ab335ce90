"""The code that stands in for other code while a canary runs: made here, and told apart here by everyone.

`Routes` is the one place that says of live code which code it stands for; code that it does not know
stands for itself. `Router` makes what one canary puts in place.
"""

from __future__ import annotations

import weakref
from types import CodeType
from typing import TYPE_CHECKING, Any, NamedTuple

from homeostat_agent.canary.switch import Switch
from homeostat_agent.reload.dispatch import dispatcher, is_comparable
from homeostat_agent.reload.fingerprint import below, children
from homeostat_agent.reload.routing import LOOKS_AT_FRAMES, SEES_FRAMES

if TYPE_CHECKING:
    from homeostat_agent.reload.match import Known
    from homeostat_agent.reload.work import Target


class _Route(NamedTuple):
    code: weakref.ref[CodeType]
    old: CodeType
    new: CodeType


class Routes:
    """What live code stands for, as long as it is alive: a function, a frame or a maker may keep it past its canary."""

    def __init__(self) -> None:
        self._by_id: dict[int, _Route] = {}

    def add(self, code: CodeType, old: CodeType, new: CodeType) -> None:
        """Note code that stands between these two. One of them is the very code in whose place it was put."""
        key, by_id = id(code), self._by_id
        by_id[key] = _Route(weakref.ref(code, lambda gone: by_id.pop(key, None)), old, new)

    def knows(self, code: CodeType) -> bool:
        """Tell whether this is code of a canary."""
        return id(code) in self._by_id

    def old_of(self, code: CodeType) -> CodeType:
        """Return the code that the canary comes from: where it is given back, this runs."""
        found = self._by_id.get(id(code))
        return code if found is None else found.old

    def new_of(self, code: CodeType) -> CodeType:
        """Return the code that the canary leads to."""
        found = self._by_id.get(id(code))
        return code if found is None else found.new


class Router:
    """Makes the code that one canary puts in place, the same for the same code: a template of closures has many."""

    def __init__(self, switch: Switch, routes: Routes) -> None:
        self.switch = switch
        self.obstacles: dict[str, None] = {}
        """Why something could not be routed, each once."""

        self._routes = routes
        self._made: dict[tuple[int, int], tuple[CodeType, CodeType, CodeType]] = {}
        self._own: set[int] = set()

    def stand_in(self, target: Target, live: CodeType, known: Known, *, is_new: bool = False) -> CodeType | None:
        """Return what takes the place of live code of either source; None where that stays as it is.

        Changed code gets a dispatcher. Code that only makes functions which changed is the same but for
        the code of these. Where only lines moved, either code does what the other would.
        """
        assert known.partner is not None
        if id(live) in self._own:
            return None
        if not is_new:
            live = self._routes.old_of(live)  # what an earlier canary has left behind
        old, new = (known.partner, live) if is_new else (live, known.partner)
        if known.changed:
            return self._once(old, new, lambda: self._dispatcher(target, old, new, known))
        if id(known.partner if is_new else known.code) in target.pairing.makers:
            return self._once(old, new, lambda: self._maker(target, live, known, is_new))
        return None

    def _dispatcher(self, target: Target, old: CodeType, new: CodeType, known: Known) -> CodeType:
        name = target.name(known.code)
        if any(not LOOKS_AT_FRAMES.isdisjoint(code.co_names) for code in (old, *below(old), new, *below(new))):
            self.obstacles[f"{name}: {SEES_FRAMES}"] = None
        known_as = f"{target.plan.path}:{name}"
        shadowed = self.switch.shadows(known_as) and is_comparable(old)
        pick = self.switch.picker(known_as) if shadowed else self.switch.pick
        return dispatcher(old, new, qualname=name, pick=pick, shadowed=shadowed)

    def _maker(self, target: Target, live: CodeType, known: Known, is_new: bool) -> CodeType:
        # `live` and `known.code` are the same code, so what is inside them stands in the same order.
        inner, side = iter(children(known.code)), target.new if is_new else target.old
        constants: list[Any] = []
        for value in live.co_consts:
            if isinstance(value, CodeType):
                found = side.find(next(inner))
                if found is not None and found.partner is not None:
                    value = self.stand_in(target, value, found, is_new=is_new) or value
            constants.append(value)
        return live.replace(co_consts=tuple(constants))

    def _once(self, old: CodeType, new: CodeType, make: Any) -> CodeType:
        kept = self._made.get((id(old), id(new)))
        if kept is None:
            code: CodeType = make()
            self._routes.add(code, old, new)
            self._own.add(id(code))
            # Both are kept with what was made, so that their ids cannot pass to other objects.
            kept = self._made[id(old), id(new)] = (old, new, code)
        return kept[2]
