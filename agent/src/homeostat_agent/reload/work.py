"""Works out what one name space needs to get from one source to the other, or what stands against it."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import CodeType, FunctionType
from typing import Any, NamedTuple

from homeostat_agent.reload.additions import global_names, is_readable
from homeostat_agent.reload.census import Census, Load
from homeostat_agent.reload.descriptions import describe_back
from homeostat_agent.reload.docstrings import READ_DOCSTRINGS, docstring_changed
from homeostat_agent.reload.exchange import Binding, Docstring, Exchange
from homeostat_agent.reload.fingerprint import children
from homeostat_agent.reload.holders import (
    bound_value,
    caches_around,
    compiled_copy_reason,
    docstring_of,
    wrappers_of,
)
from homeostat_agent.reload.match import Known, new_side, old_side, originals, same_code
from homeostat_agent.reload.naming import add_functions, stars_of
from homeostat_agent.reload.neighbours import Neighbours
from homeostat_agent.reload.outline import FunctionOutline
from homeostat_agent.reload.plan import CompiledPlan
from homeostat_agent.reload.provenance import Provenance
from homeostat_agent.reload.routes import Router, Routes
from homeostat_agent.reload.values import NEW as GIVEN_NEW
from homeostat_agent.reload.values import OLD as GIVEN_OLD
from homeostat_agent.reload.values import constant_value, default_values, looked_at, side_of, side_of_constant
from homeostat_agent.reload.wide_work import PROGRAM, may_change_program, narrow, reshape_back, widen

_CACHE_DECORATORS = frozenset({"lru_cache", "cache"})


class Standing(NamedTuple):
    """Where a live code object stands between the two sources of a plan."""

    old: Known | None
    """What it is in the old source."""

    new: Known | None
    arrived: bool
    """It is in the old source, and the same code takes its place: there is nothing to be exchanged."""


class Target:
    """A compiled plan for one file name, with both its sides; shared by all passes over the process.

    What it finds out of a code object, it remembers: code objects do not change.
    """

    def __init__(
        self,
        planned: CompiledPlan,
        routes: Routes,
        neighbours: Neighbours,
        provenance: Provenance,
        *,
        sources: tuple[str, str],
        texts: Mapping[str, str],
    ) -> None:
        """`sources` are both of this module; `texts` the old ones of all modules of the change, by real path."""
        self.routes = routes
        """What live code of a canary stands for."""

        self.neighbours = neighbours
        self.provenance = provenance
        self.texts = texts
        self.sources = sources
        self._stars: list[ast.ImportFrom] | None = None

        self.plan = planned.plan
        self.pairing = planned.pairing
        self.differences = planned.differences
        self.widened = planned.widened
        self.old, self.new = old_side(planned.pairing), new_side(planned.pairing)
        self.originals: dict[int, CodeType] = {}
        """`id` of new code → the very code object that it replaced in this process."""

        self._new_of = {id(pair.old): pair.new for pair in planned.pairing.pairs}
        self._originals: dict[int, tuple[CodeType, dict[int, CodeType]]] = {}
        self._standings: dict[int, tuple[CodeType, Standing]] = {}
        self._reads: dict[tuple[int, int], set[str]] = {}

    def alive(
        self, load: Load, pairs: list[tuple[FunctionOutline, FunctionOutline]]
    ) -> list[tuple[FunctionType, FunctionOutline, FunctionOutline]]:
        """Return the functions of a name space that were made by one of these definitions, with both of it."""
        olds, news = {pair[0].key: pair for pair in pairs}, {pair[1].key: pair for pair in pairs}
        found = []
        for function in load.functions if pairs else ():
            standing = self.standing(self.routes.old_of(function.__code__))
            known = standing.old or standing.new
            if known is not None:
                key = (known.code.co_name, known.code.co_firstlineno)
                pair = (olds if standing.old is not None else news).get(key)
                if pair is not None:
                    found.append((function, *pair))
        return found

    def name(self, code: CodeType) -> str:
        return self.pairing.names.get(id(code), code.co_name)

    def standing(self, live: CodeType) -> Standing:
        kept = self._standings.get(id(live))
        if kept is None:
            old, new = self.old.find(live), self.new.find(live)
            arrived = old is not None and old.partner is not None and same_code(live, old.partner)
            # The live code is kept with the answer, so that its id cannot pass to another object.
            kept = self._standings[id(live)] = (live, Standing(old, new, arrived))
        return kept[1]

    def note_originals(self, live: CodeType, known: Known) -> None:
        """Remember live code that is about to be replaced, with all that is inside it."""
        kept = self._originals.get(id(live))
        if kept is None:
            kept = self._originals[id(live)] = (live, originals(live, known.code, self._new_of))
        for new_id, original in kept[1].items():
            self.originals.setdefault(new_id, original)

    @property
    def stars(self) -> list[ast.ImportFrom]:
        """What the module imports all names from, in either source."""
        if self._stars is None:
            self._stars = stars_of(self.sources)
        return self._stars

    def new_reads(self, old: CodeType | None, new: CodeType) -> set[str]:
        """Return the global names that new code reads and the old did not. Both are code of this plan."""
        key = (id(old), id(new))
        if key not in self._reads:
            self._reads[key] = global_names(new) - (global_names(old) if old is not None else set())
        return self._reads[key]


class Exchanged(NamedTuple):
    """A function whose code was exchanged."""

    function: FunctionType
    old: CodeType
    new: CodeType


Returned = Mapping[int, Exchanged]
"""Functions that have their old code back, by `id`."""


@dataclass
class Work:
    """What is to be done, and what stands against it, for one name space or for a whole change."""

    exchange: Exchange = field(default_factory=Exchange)
    caches: list[Any] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    left_codes: list[CodeType] = field(default_factory=list)
    """Live code of changed functions, which calls in flight go on with."""

    maker_codes: list[CodeType] = field(default_factory=list)
    """Live code that makes functions which changed, or makes any and changed: a call in flight makes old ones."""

    restart: list[str] = field(default_factory=list)
    products: list[tuple[FunctionType, Known, str]] = field(default_factory=list)
    """Functions made by the present body of a function that is to change, and what to say of them."""

    naming: list[tuple[Load, Target, bool]] = field(default_factory=list)
    """Name spaces that need the new names (see `bind_names`), and whether functions show that the old source runs."""

    describing: list[tuple[Load, Target, bool]] = field(default_factory=list)
    """Name spaces that need the new annotations and docstrings, and whether it is for a canary (see `describe`)."""

    added: list[tuple[Load, FunctionOutline, FunctionType]] = field(default_factory=list)
    """Functions that were made to be added, and have no annotations yet."""

    bound: list[Binding] = field(default_factory=list)
    """What this change bound already: these names, and no others, are its own."""

    kept: int = 0
    """Functions that what runs again made before: who holds them keeps them."""

    stays: list[str] = field(default_factory=list)
    """What a rollback cannot put back, as others may have taken it along."""

    strangers: list[tuple[FunctionType, str]] = field(default_factory=list)
    """Functions of the file that no definition of either source compiles to."""

    looks_for_all: bool = False
    """Whether functions of other files matter: those that wrap one whose docstring changes."""


def plan_forward(load: Load, target: Target, census: Census, work: Work, *, router: Router | None = None) -> None:
    """Add to `work` what this name space needs to get from the old source to the new.

    With a `router`, only to the canary of that: dispatchers in the place of the changed functions, and what is added;
    to there also from the new source, which a process that started since has loaded.
    """
    if load.name in PROGRAM and not may_change_program(load, target, work):
        return
    if load.name.partition(".")[0] == "homeostat_agent":
        work.restart.append(f"{load.path} is of the agent itself, which is not swapped")
        return
    at_old, at_new, made = 0, 0, []
    changed: list[FunctionType] = []
    for function in load.functions:
        live = function.__code__
        stood_for = target.routes.old_of(live)
        known, new, arrived = target.standing(stood_for)
        if known is None:
            at_new += new is not None
            if new is None:
                work.strangers.append((function, _stranger(load, live)))
            elif router is not None and new.partner is not None:
                _route_new(function, new, load, target, census, work, router)
        elif known.partner is None:
            if id(known.code) in target.widened.left:
                work.kept += 1
            else:
                made.append((function, known, new is not None))
        elif not arrived:
            at_old += 1
            if known.changed:
                changed.append(function)
            code = known.partner if router is None else router.stand_in(target, live, known)
            if code is None:
                continue
            work.exchange.add(function, live, code)
            target.note_originals(stood_for, known)
            if id(known.code) in target.pairing.makers or (known.changed and children(known.code)):
                work.maker_codes.append(live)
            if known.changed:
                work.names.append(f"{load.name}:{target.name(known.code)}")
                work.left_codes.append(stood_for)
                if router is None:
                    _add_docstrings(function, stood_for, known.partner, load, census, work)
    # What a changed function made may be the same code in both sources; who made it shows in the rest.
    work.products.extend(
        (function, known, _product(load, function.__code__)) for function, known, is_new in made if at_old or not is_new
    )
    _give_defaults(load, target, changed, census, work)
    _set_constants(load, target, work)
    work.describing.append((load, target, router is not None))
    widen(load, target, census, changed, (at_old, at_new), work)
    if at_old or not at_new:
        _check_holders(load, target, changed, census, work)
        _check_readers(load, target, changed, work)
        add_functions(load, target, work)
        work.naming.append((load, target, at_old > 0))
        _check_names(load, target, changed, work)


def _route_new(
    function: FunctionType, known: Known, load: Load, target: Target, census: Census, work: Work, router: Router
) -> None:
    """Bring a function that was loaded from the new source under a canary."""
    live = function.__code__
    code = router.stand_in(target, live, known, is_new=True)
    if code is not None:
        work.exchange.add(function, live, code)
    if known.changed and code is not None:
        work.names.append(f"{load.name}:{target.name(known.code)}")
        work.caches.extend(caches_around(census.caches, [function]))


def plan_back(load: Load, target: Target, census: Census, work: Work, returned: Returned) -> None:
    """Add to `work` what this name space needs to get from the new source back to the old.

    What was `returned` already is planned as if it were not: there is more to do around it.
    """
    at_new, made = 0, []
    changed: list[FunctionType] = []
    for function in load.functions:
        live = function.__code__
        before = returned.get(id(function))
        if before is not None and live is before.old:
            live = before.new
        if target.routes.knows(live):
            work.left_codes.append(live)  # a call in it may not have come to the new code yet
            live = target.routes.new_of(live)
        is_old, known, _ = target.standing(live)
        if known is None:
            if is_old is None:
                work.strangers.append((function, _stranger(load, live)))
        elif known.partner is None:
            work.left_codes.append(live)
            if not is_added(live, target):
                made.append((function, known, is_old is not None))
        else:
            old = before.old if before is not None else target.originals.get(id(live), known.partner)
            if live is old or (live is not known.code and same_code(live, old)):
                continue
            at_new += 1
            work.exchange.add(function, live, old)
            if known.changed:
                changed.append(function)
                if before is None:
                    reshape_back(function, target.name(known.code), target, work)
                work.names.append(f"{load.name}:{target.name(known.code)}")
                work.left_codes.append(live)
                _add_docstrings(function, live, old, load, census, work)
    work.products.extend(
        (function, known, _product(load, function.__code__)) for function, known, is_old in made if at_new or not is_old
    )
    work.caches.extend(caches_around(census.caches, changed))
    for function, earlier, later in target.alive(load, target.differences.defaults):
        if side_of(function, earlier, later) == GIVEN_NEW:
            work.exchange.values.extend(default_values(function, later, earlier))
            work.names.append(f"{load.name}:{later.qualname}")
    for item in target.differences.constants:
        if load.module is not None and side_of_constant(item, load.namespace) == GIVEN_NEW:
            copied = target.neighbours.that_copied(item.name, load.namespace[item.name], load, target.texts)
            if copied:
                work.stays.append(f"{load.name}:{item.name}: {copied}")
            work.exchange.values.append(constant_value(item, load.namespace, back=True))
            work.names.append(f"{load.name}:{item.name}")
    describe_back(load, target, work)
    narrow(load, target, work)


def _give_defaults(load: Load, target: Target, changed: list[FunctionType], census: Census, work: Work) -> None:
    """Give functions whose defaults changed the new ones, where they have the old and nobody looked at them."""
    found = target.alive(load, target.differences.defaults)
    functions = [function for function, _, _ in found]
    ours = [work.exchange.functions, changed, functions, found, *found]
    seen = looked_at(functions, load, census, ours, target.neighbours)
    for _, item in target.differences.defaults:
        if sum(after is item for _, _, after in found) > 1:
            work.restart.append(f"{load.name}:{item.qualname}: its defaults changed, and there are several of it")
    for function, before, after in found:
        where = f"{load.name}:{after.qualname}"
        side = side_of(function, before, after)
        if side == GIVEN_NEW:
            continue
        if side != GIVEN_OLD:
            work.restart.append(f"{where}: its defaults were changed while the program ran")
            continue
        if id(function) in seen:
            work.restart.append(f"{where}: its defaults changed, and {seen[id(function)]}")
            continue
        work.exchange.values.extend(default_values(function, before, after))
        work.names.append(where)
        work.caches.extend(caches_around(census.caches, [function]))


def _set_constants(load: Load, target: Target, work: Work) -> None:
    """Set constants that changed to their new values, where the module has the old ones and nobody took them along."""
    for item in target.differences.constants:
        where, side = f"{load.name}:{item.name}", side_of_constant(item, load.namespace)
        if side == GIVEN_NEW:
            continue
        if side != GIVEN_OLD or load.module is None:
            work.restart.append(f"{where}: the constant has another value than its source gives it")
            continue
        copied = target.neighbours.that_copied(item.name, load.namespace[item.name], load, target.texts)
        if copied:
            work.restart.append(f"{where}: a constant changed, and {copied}")
            continue
        work.exchange.values.append(constant_value(item, load.namespace, back=False))
        work.names.append(where)


def copies_elsewhere(elsewhere: list[FunctionType], unloaded: list[tuple[str, Target]]) -> list[str]:
    """Say where the process runs a copy of a file that it has not loaded from the repository.

    An installed package that is not editable is the common case: neither a swap nor a restart
    would bring the change to it.
    """
    found = []
    for path, target in unloaded:
        tails = {"/" + path, "/" + path.split("/", 1)[-1]}
        for function in elsewhere:
            code = function.__code__
            known = target.old.find(code)
            if known is not None and known.changed and code.co_filename.replace("\\", "/").endswith(tuple(tails)):
                found.append(f"{path} is not loaded here, but a copy of it is: {code.co_filename}")
    return found


def _check_names(load: Load, target: Target, changed: list[FunctionType], work: Work) -> None:
    """Refuse new code that would meet a global name which the running module does not have."""
    added = {item.name for owner, item in target.differences.added if owner is None}
    added.update(item.name for item in target.differences.names)
    added |= target.widened.binds()
    pairs: list[tuple[CodeType | None, CodeType, str]] = []
    for function in changed:
        known = target.old.find(target.routes.old_of(function.__code__))
        if known is not None and known.partner is not None:
            pairs.append((known.code, known.partner, target.name(known.code)))
    pairs.extend((None, code, name) for name, code in target.pairing.added.items())
    for old, new, qualname in pairs:
        missing = sorted(name for name in target.new_reads(old, new) - added if not is_readable(name, load.namespace))
        if missing:
            names = ", ".join(f"`{name}`" for name in missing)
            work.restart.append(f"{load.name}:{qualname}: the running module has no {names}")


def _check_holders(load: Load, target: Target, changed: list[FunctionType], census: Census, work: Work) -> None:
    """Look at what a changed definition's name is bound to, and find the caches in front of it."""
    work.caches.extend(caches_around(census.caches, changed))
    by_name: dict[str, list[FunctionType]] = {}
    for function in changed:
        known = target.old.find(target.routes.old_of(function.__code__))
        if known is not None:
            by_name.setdefault(target.name(known.code), []).append(function)
    anew = {item.label for item in target.widened.statements}
    for _, item in target.differences.changed:
        if item.qualname in anew:
            continue  # its name is about to mean what its statement makes
        where = f"{load.name}:{item.qualname}"
        functions = by_name.get(item.qualname, [])
        value = None if "<locals>" in item.qualname else bound_value(load.namespace, item.qualname.split("."))
        if callable(value) and not functions:
            work.restart.append(f"{where}: its name is bound to something that does not hold the function")
        if value is not None:
            reason = compiled_copy_reason(value)
            if reason:
                work.restart.append(f"{where}: {reason}")
        if functions and has_cache_decorator(item) and not caches_around(census.caches, functions):
            work.restart.append(f"{where}: its cache cannot be found, so it cannot be cleared")


def _check_readers(load: Load, target: Target, changed: list[FunctionType], work: Work) -> None:
    """Refuse the new docstring of a function where another module may have read the old one."""
    told = [pair for pair in target.differences.changed if docstring_changed(*pair)]
    found = target.alive(load, told) if changed else []
    reader = target.neighbours.that_uses(READ_DOCSTRINGS, but=load.name) if found else None
    if reader:
        work.restart.extend(
            f"{load.name}:{item.qualname}: its docstring changed, and {reader} reads docstrings" for _, _, item in found
        )


def _add_docstrings(
    function: FunctionType,
    old_code: CodeType,
    new_code: CodeType,
    load: Load,
    census: Census,
    work: Work,
) -> None:
    old, new = docstring_of(old_code), docstring_of(new_code)
    if old == new:
        return
    work.looks_for_all = True
    holders: list[Any] = [function, *wrappers_of(function, census.functions, census.caches)]
    value = bound_value(load.namespace, function.__qualname__.split("."))
    if isinstance(value, property) and function in (value.fget, value.fset, value.fdel):
        holders.append(value)
    if isinstance(value, (staticmethod, classmethod)) and value.__func__ is function:
        holders.append(value)
    work.exchange.docstrings.extend(Docstring(holder, old, new) for holder in holders if holder.__doc__ == old)


def is_added(live: CodeType, target: Target) -> bool:
    """Tell whether this is the code of an added function, or of something inside one."""
    stack = list(target.pairing.added.values())
    while stack:
        code = stack.pop()
        if same_code(live, code):
            return True
        stack.extend(children(code))
    return False


def has_cache_decorator(item: FunctionOutline) -> bool:
    return not _CACHE_DECORATORS.isdisjoint(item.decorator_names())


def _stranger(load: Load, code: CodeType) -> str:
    place = f"{load.path}:{code.co_firstlineno}: `{code.co_name}` in `{load.name}`"
    return f"{place} runs other code than the change was made from"


def _product(load: Load, code: CodeType) -> str:
    return (
        f"{load.path}:{code.co_firstlineno}: a `{code.co_name}` that the present body of a changed function made "
        f"is still in use in `{load.name}`"
    )
