"""One swap and one rollback, step by step. Called by `Reloader`, which holds the lock and the record."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from types import CodeType
from typing import Any, Union

from homeostat_agent.reload.census import Census, Files, Load, has_gil, is_importing, running, take_census
from homeostat_agent.reload.change import FAILED, MODES, RESTART_REQUIRED, SWAPPED, Change, Outcome, refusal
from homeostat_agent.reload.exchange import Binding, ExchangeFailed
from homeostat_agent.reload.patience import Patience
from homeostat_agent.reload.plan import CompiledPlan, ModulePlan, compile_plan
from homeostat_agent.reload.work import Target, Work, bindings_to_remove, copies_elsewhere, plan_back, plan_forward

_QUIET_POLL_S = 0.05
_MAX_ROUNDS = 4
"""How often the process is looked through for functions made while the others were exchanged."""


Compiled = dict[tuple[str, str], Union[CompiledPlan, ModulePlan]]
"""Plans by path and file name. They follow from the change alone, so `prepare` leaves them to `swap`."""


@dataclass(frozen=True)
class Surroundings:
    """What all steps of one reloader share."""

    repository: str
    patience_s: float
    real_paths: dict[str, str] = field(default_factory=dict)

    def files(self, paths: tuple[str, ...]) -> Files:
        return Files(self.repository, paths, self.real_paths)


class _Step:
    """What a swap and a rollback have in common."""

    def __init__(
        self, change: Change, surroundings: Surroundings, targets: dict[tuple[str, str], Target], compiled: Compiled
    ) -> None:
        self.targets = targets
        self._compiled = compiled
        self._repository = surroundings.repository
        self._modules = {module.path: module for module in change.modules}
        self._files = surroundings.files(tuple(self._modules))
        self._patience = Patience(surroundings.patience_s)

    def _look(
        self, plan: Callable[[Load, Target, Census, Work], None], *, since: Census | None = None
    ) -> tuple[Work, Census]:
        """Look through the process, or what is new in it since, and work out what is to be done."""
        census = take_census(self._files, since=since)
        work = Work()
        for load in census.loads:
            target = self._target(load.path, load.filename)
            if isinstance(target, Target):
                plan(load, target, census, work)
            else:
                work.restart.extend(target.restart_reasons)
        return work, census

    def _target(self, path: str, filename: str) -> Target | ModulePlan:
        """Plan and compile a module as the file name says under which it was (or would be) loaded."""
        key = (path, filename)
        if key not in self.targets:
            planned = self._compiled.get(key)
            if planned is None:
                module = self._modules[path]
                planned = compile_plan(path, module.old_source, module.new_source, filename=filename)
                self._compiled[key] = planned
            if isinstance(planned, ModulePlan):
                return planned
            self.targets[key] = Target(planned)
        return self.targets[key]

    def _clear_caches(self, work: Work) -> list[str]:
        """Empty the caches; again when calls that were in flight, and may fill them, have ended."""
        if not work.caches:
            return []
        codes = {id(code) for code in work.left_codes}
        for cache in work.caches:
            cache.cache_clear()
        ended = self._patience.wait_until(lambda: running(codes) == 0)
        for cache in work.caches:
            cache.cache_clear()
        return [] if ended else ["a call in flight may still put an old result into a cache"]


class Attempt(_Step):
    """A swap: `plan`, `verify`, and, only when both found nothing, `commit`."""

    def __init__(self, change: Change, surroundings: Surroundings, compiled: Compiled) -> None:
        super().__init__(change, surroundings, {}, compiled)
        self._change = change
        self._work = Work()
        self._census: Census | None = None

    def plan(self) -> Outcome | None:
        """Plan every module from its text alone; return the refusal if one is needed."""
        if self._change.mode not in MODES:
            return refusal(FAILED, [f"the mode {self._change.mode[:40]!r} is not known"])
        bad = [path for path in self._modules if os.path.isabs(path) or ".." in path.split("/")]
        if bad or len(self._modules) != len(self._change.modules):
            return refusal(FAILED, ["each module of a change is one path below the repository"])
        if not has_gil():
            return refusal(RESTART_REQUIRED, ["this interpreter runs without a lock over all threads"])
        reasons: list[str] = []
        for item in self._change.modules:
            target = self._target(item.path, os.path.join(self._repository, item.path))
            if isinstance(target, ModulePlan):
                reasons.extend(target.restart_reasons)
        return refusal(RESTART_REQUIRED, reasons) if reasons else None

    def verify(self) -> Outcome | None:
        """Find what runs, and make sure that it is the old source; return the refusal if it is not.

        Closures that calls in flight made are waited for, as long as patience lasts. One that stays
        was made for good by a body that is to change, so the change needs a restart.
        """
        passing: set[int] = set()
        while True:
            work, census = self._look(plan_forward)
            if work.restart and not work.strangers:
                return refusal(RESTART_REQUIRED, work.restart)
            copies = copies_elsewhere(census.elsewhere, self._targets_of_unloaded(census))
            if copies:
                return refusal(FAILED, copies)
            importing = [load.namespace for load in census.loads if is_importing(load.namespace)]
            products = [item for item in work.products if id(item[1].code) not in passing]
            if not importing and not products and not work.strangers:
                self._work, self._census = work, census
                return None
            outcome = _obstacle(importing, products, work)
            references = [weakref.ref(item[0]) for item in (*products, *work.strangers)]
            codes = {id(item[1].code) for item in products}
            over = self._patience.over
            del work, census, products  # nothing here may keep alive what is waited for
            if over or not self._patience.wait_until_gone(references):
                return outcome
            passing |= codes
            self._patience.wait_until(lambda spaces=importing: not any(map(is_importing, spaces)))  # type: ignore[misc]

    def commit(self) -> Outcome:
        """Exchange what `verify` found; then find what slipped in between, until nothing does."""
        first, work = self._work, self._work
        took_us: int | None = None
        names: list[str] = []
        notes: list[str] = []
        waited = False
        assert self._census is not None
        census = self._census
        codes = {id(code) for code in first.left_codes}
        suspended = sum(id(code) in codes for code in census.suspended)
        for _ in range(_MAX_ROUNDS):
            if not work.exchange:
                break
            try:
                took_us = (took_us or 0) + work.exchange.commit()
            except ExchangeFailed as error:
                if took_us is None:
                    return refusal(FAILED, [f"an assignment was refused, everything was put back ({error})"])
                notes.append(f"functions made meanwhile could not be exchanged ({error})")
                break
            names.extend(work.names)
            work, census = self._look(plan_forward, since=census)
            if not work.exchange and not waited:
                waited = True
                if self._wait_for_makers(first):
                    work, census = self._look(plan_forward, since=census)
        notes.extend(self._clear_caches(first))
        in_flight = running(codes) + suspended
        if in_flight:
            notes.append(f"{in_flight} calls in flight finish on the old code")
        detail = "; ".join([self.summary("swapped"), *notes])
        return Outcome(SWAPPED, detail, swap_us=took_us, functions=tuple(dict.fromkeys(names)))

    def _wait_for_makers(self, work: Work) -> bool:
        """Wait for calls in flight that may still make functions of the old code; tell whether there were any."""
        codes = {id(code) for code in work.maker_codes}
        if running(codes) == 0:
            return False
        self._patience.wait_until(lambda: running(codes) == 0)
        return True

    def names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self._work.names))

    def summary(self, done: str) -> str:
        """Say in one line what was (or could be) done, and which files no process part has loaded."""
        names = self.names()
        loaded = {load.path for load in self._census.loads} if self._census else set()
        parts = [f"{', '.join(names[:10])}{' and more' if len(names) > 10 else ''} {done}"] if names else []
        parts.extend(
            f"{path} is not loaded here: it is read anew when it is imported"
            for path in self._modules
            if path not in loaded
        )
        if not parts:
            parts.append("no function differs; only lines moved, or the new source is what runs already")
        return "; ".join(parts)

    def _targets_of_unloaded(self, census: Census) -> list[tuple[str, Target]]:
        loaded = {load.path for load in census.loads}
        found = []
        for path in self._modules:
            if path not in loaded and census.elsewhere:
                target = self._target(path, os.path.join(self._repository, path))
                if isinstance(target, Target):
                    found.append((path, target))
        return found


class Retreat(_Step):
    """A rollback."""

    def __init__(self, change: Change, surroundings: Surroundings, targets: dict[tuple[str, str], Target]) -> None:
        super().__init__(change, surroundings, targets, {})
        self.leftover: list[tuple[Binding, set[int]]] = []
        """Added names that calls in flight may still need, with the `id` of the code of such calls."""

    def run(self) -> Outcome:
        """Put everything back, then look whether something of the new code stays in use."""
        work, census = self._look(plan_back)
        bindings = [
            binding
            for load in census.loads
            if isinstance(target := self._target(load.path, load.filename), Target)
            for binding in bindings_to_remove(load, target)
        ]
        first = work
        names: list[str] = []
        took_us: int | None = None
        for _ in range(_MAX_ROUNDS):
            if not work.exchange:
                break
            try:
                took_us = (took_us or 0) + work.exchange.commit()
            except ExchangeFailed as error:
                if took_us is None:
                    return refusal(FAILED, [f"an assignment was refused, the change stays in force ({error})"])
                break
            names.extend(work.names)
            work, census = self._look(plan_back, since=census)
        del census
        notes = self._clear_caches(first)
        notes.extend(self._remove(bindings, first.left_codes))
        staying = self._still_in_use(first, work)
        if staying:
            return refusal(RESTART_REQUIRED, [f"everything was put back, but {staying}", *notes])
        functions = tuple(dict.fromkeys(names))
        detail = f"{', '.join(functions[:10])} put back" if functions else "nothing of this change runs here"
        return Outcome(SWAPPED, "; ".join([detail, *notes]), swap_us=took_us, functions=functions)

    def _remove(self, bindings: list[Binding], left_codes: list[CodeType]) -> list[str]:
        # A call in flight on the new code looks added names up when it gets there. They go when it is through.
        if not bindings:
            return []
        codes = {id(code) for code in left_codes}
        if self._patience.wait_until(lambda: is_quiet(codes, self._files), poll_s=_QUIET_POLL_S):
            for binding in bindings:
                binding.take()
            return []
        self.leftover = [(binding, codes) for binding in bindings]
        return ["names that the change added stay until the calls in flight have ended"]

    def _still_in_use(self, first: Work, last: Work) -> str:
        found = [*((item[0], item[2]) for work in (first, last) for item in work.products)]
        found.extend(item for work in (first, last) for item in work.strangers)
        words = refusal(RESTART_REQUIRED, [item[1] for item in found]).detail
        references = [weakref.ref(item[0]) for item in found]
        found.clear()
        for work in (first, last):  # nothing here may keep alive what is waited for
            work.products.clear()
            work.strangers.clear()
        return "" if self._patience.wait_until_gone(references) else words


def is_quiet(codes: set[int], files: Files) -> bool:
    """Tell whether no call runs or waits on any of these code objects."""
    return running(codes) == 0 and not any(id(code) in codes for code in take_census(files).suspended)


def _obstacle(importing: list[Any], products: list[Any], work: Work) -> Outcome:
    if work.strangers:
        return refusal(FAILED, [item[1] for item in work.strangers])
    if products:
        return refusal(RESTART_REQUIRED, [item[2] for item in products])
    return refusal(FAILED, ["a module of the change is being imported just now" for _ in importing[:1]])
