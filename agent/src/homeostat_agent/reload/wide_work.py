"""Works out what the widened part of an aggressive plan needs in one name space, or what stands against it there."""

from __future__ import annotations

import functools
from types import FunctionType
from typing import TYPE_CHECKING

from homeostat_agent.reload.bases import CannotGive, new_bases, old_bases
from homeostat_agent.reload.census import Census, Load
from homeostat_agent.reload.runs import Run
from homeostat_agent.reload.values import NEW, OLD, default_values, looked_at

if TYPE_CHECKING:
    from collections.abc import Callable

    from homeostat_agent.reload.exchange import Value
    from homeostat_agent.reload.risks import ChangedBases
    from homeostat_agent.reload.work import Target, Work

PROGRAM = ("__main__", "__mp_main__")


def may_change_program(load: Load, target: Target, work: Work) -> bool:
    """Tell whether the program itself may be changed in place; what stands against it is noted."""
    wide, reason = target.widened, ""
    if not wide.is_program:
        reason = "which is not swapped"
    elif wide.block_changed:
        reason = 'and the block of `if __name__ == "__main__"` does not run again'
    elif wide.statements:
        reason = "and its statements do not run again"
    if reason:
        work.restart.append(f"{load.path} is the program itself (`{load.name}`), {reason}")
    return not reason


def widen(
    load: Load, target: Target, census: Census, changed: list[FunctionType], told: tuple[int, int], work: Work
) -> None:
    """Add what a name space needs of the widened part. `told`: how many functions show the old source, and the new."""
    wide = target.widened
    work.restart += _exchange_bases(load, target, work, new_bases)
    if wide.shapes:
        _reshape(load, target, census, changed, work)
    if wide.statements:
        _run(load, target, told, work)


def narrow(load: Load, target: Target, work: Work) -> None:
    """Add what a name space needs to get back from the widened part, beside what `Retreat` put back already."""
    wide = target.widened
    work.stays += _exchange_bases(load, target, work, old_bases)
    if wide.statements and target.provenance.noted(load.module, target.sources) != OLD:
        work.stays.append(f"{load.name}: it was loaded from the new source, and what its statements did stays")


def _exchange_bases(
    load: Load, target: Target, work: Work, of_side: Callable[[ChangedBases, Load], Value | None]
) -> list[str]:
    """Have classes get the bases of one side; return what stands against it."""
    obstacles = []
    for item in target.widened.bases:
        try:
            value = of_side(item, load)
        except CannotGive as error:
            obstacles.append(f"{load.name}:{item.new.qualname}: {error}")
            continue
        if value is not None:
            work.exchange.values.append(value)
            work.names.append(value.where)
    return obstacles


def reshape_back(function: FunctionType, qualname: str, target: Target, work: Work) -> None:
    """Give a function that was loaded with the new signature the defaults of the old one."""
    pair = target.widened.shapes.get(qualname)
    if pair is not None:
        work.exchange.values.extend(default_values(function, pair[1], pair[0]))


def _reshape(load: Load, target: Target, census: Census, changed: list[FunctionType], work: Work) -> None:
    found = []
    for function in changed:
        known = target.old.find(target.routes.old_of(function.__code__))
        pair = target.widened.shapes.get(target.name(known.code)) if known is not None else None
        if pair is not None:
            found.append((function, *pair))
    functions = [item[0] for item in found]
    ours = [work.exchange.functions, changed, functions, found, *found]
    seen = looked_at(functions, load, census, ours, target.neighbours)
    for function, before, after in found:
        if id(function) in seen:
            where = f"{load.name}:{after.qualname}"
            work.restart.append(f"{where}: its signature changed, and {seen[id(function)]}")
            continue
        work.exchange.values.extend(default_values(function, before, after))


def _run(load: Load, target: Target, told: tuple[int, int], work: Work) -> None:
    side = target.provenance.noted(load.module, target.sources) or _told_by_functions(told)
    side = side or target.provenance.on_disk(load, target.sources)
    if side == NEW:
        return
    if side != OLD or load.module is None:
        words = "it cannot be told whether the old statements ran here or the new, so none is run again"
        work.restart.append(f"{load.name}: {words}")
        return
    noted = functools.partial(_note, target, load.module)
    run = Run(load.module, target.widened.statements, target.neighbours, noted, source=target.sources[1])
    work.exchange.runs.append(run)
    work.names.extend(run.labels)


def _note(target: Target, module: object, is_new: bool) -> None:
    target.provenance.note(module, target.sources[is_new])  # type: ignore[arg-type]


def _told_by_functions(told: tuple[int, int]) -> str:
    at_old, at_new = told
    return OLD if at_old and not at_new else NEW if at_new and not at_old else ""
