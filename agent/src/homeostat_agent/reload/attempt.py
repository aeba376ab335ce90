"""One swap, step by step: plan, verify, commit. Called by `Reloader`, which holds the lock and the record."""

from __future__ import annotations

import os
import weakref
from types import CodeType, FunctionType
from typing import Any

from homeostat_agent.reload.census import Census, Load, Memory, has_gil, is_importing, running, suspended
from homeostat_agent.reload.change import (
    FAILED,
    MODES,
    NOT_ROUTABLE,
    RESTART_REQUIRED,
    SWAPPED,
    Change,
    Outcome,
    refusal,
)
from homeostat_agent.reload.exchange import Binding, Exchange, ExchangeFailed, Value
from homeostat_agent.reload.patience import Patience
from homeostat_agent.reload.plan import ModulePlan, routing_obstacles
from homeostat_agent.reload.routes import Router
from homeostat_agent.reload.routing import CACHED
from homeostat_agent.reload.runs import Run
from homeostat_agent.reload.step import MAX_ROUNDS, Step, Surroundings
from homeostat_agent.reload.work import Target, Work, copies_elsewhere, plan_forward


class Attempt(Step):
    """A swap: `plan`, `verify`, and, only when both found nothing, `commit`.

    What `plan` and `verify` found out of the texts and of code objects stays true: an attempt that was
    put to `rest` can `verify` again later, in a small part of the time.

    With a `router` it goes no further than to a canary. Without it, from there too.
    """

    def __init__(self, change: Change, surroundings: Surroundings, *, goes_on: Attempt | None = None) -> None:
        """With `goes_on`, what is exchanged is to be added to what that one has exchanged: its plans are used."""
        if goes_on is None:
            files = surroundings.files(tuple(item.path for item in change.modules))
            super().__init__(change, surroundings, files, {}, ())
        else:
            super().__init__(change, surroundings, goes_on.files, goes_on.targets, goes_on.anchors)
        self._goes_on = goes_on is not None
        self._bound_before = goes_on.bound if goes_on is not None else []
        self.exchanged: list[tuple[weakref.ref[FunctionType], CodeType, CodeType]] = []
        """Functions that `commit` gave other code, with the code they had (that of no canary) and what they got."""

        self.bound: list[Binding] = []
        """Names that `commit` bound."""

        self.values: list[Value] = []
        """Defaults and constants that `commit` exchanged."""

        self.runs: list[Run] = []
        """Statements that `commit` ran."""

        self.router: Router | None = None
        self._work = Work()
        self._census: Census | None = None
        self._codes: list[CodeType] = []
        """Live code of changed functions, as far as an earlier `verify` saw it."""

        self._memory: Memory | None = None
        """What an earlier `verify` saw, for the next one."""

    @property
    def codes_to_leave(self) -> list[CodeType]:
        """The live code of changed functions, as `verify` found it: calls in flight go on with it."""
        return list(self._work.left_codes)

    def rest(self) -> None:
        """Let go of everything that belongs to the host."""
        self._codes = self._work.left_codes
        self._work, self._census, self._memory = Work(), None, None

    def rest_until_asked(self) -> None:
        """Let go of everything that belongs to the host, but remember what was seen of it."""
        memory = None if self._census is None else Memory(self._census, self._work.left_codes)
        self.rest()
        self._memory = memory

    def plan(self) -> Outcome | None:
        """Plan every module from its text alone; return the refusal if one is needed."""
        if self.change.mode not in MODES:
            return refusal(FAILED, [f"the mode {self.change.mode[:40]!r} is not known"])
        bad = [path for path in self._modules if os.path.isabs(path) or ".." in path.split("/")]
        if bad or len(self._modules) != len(self.change.modules):
            return refusal(FAILED, ["each module of a change is one path below the repository"])
        if not has_gil():
            return refusal(RESTART_REQUIRED, ["this interpreter runs without a lock over all threads"])
        reasons: list[str] = []
        for item in self.change.modules:
            target = self._target(item.path, os.path.join(self._surroundings.repository, item.path))
            if isinstance(target, ModulePlan):
                reasons.extend(target.restart_reasons)
        return refusal(RESTART_REQUIRED, reasons) if reasons else None

    def verify(self) -> Outcome | None:
        """Find what runs, and make sure that it is the old source; return the refusal if it is not.

        Closures that calls in flight made are waited for, as long as patience lasts. One that stays
        was made for good by a body that is to change, so the change needs a restart.
        """
        self._patience = Patience(self._surroundings.patience_s, self._surroundings.haste)
        passing: set[int] = set()
        waited = False
        memory, self._memory = self._memory, None
        while True:
            for target in self.targets.values():
                if isinstance(target, Target) and not self._goes_on:
                    target.originals.clear()
            work, census = self._look(self._forward, codes=self._codes, memory=memory)
            memory = None  # whoever waits for garbage makes it old
            if work.looks_for_all and not census.complete:
                del work, census  # who holds a function is asked: not we
                continue
            if work.restart and not work.strangers:
                return refusal(RESTART_REQUIRED, work.restart)
            if self.router is not None and (refused := self._unroutable(self.router, work)):
                return refused
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
            # Once even when the look took all the time there was: what is only garbage goes by that.
            over, waited = waited and self._patience.over, True
            del work, census, products  # nothing here may keep alive what is waited for
            if over or not self._patience.wait_until_gone(references):
                return outcome
            passing |= codes
            self._patience.wait_until(lambda spaces=importing: not any(map(is_importing, spaces)))  # type: ignore[misc]

    def commit(self) -> Outcome:
        """Exchange what `verify` found; then find what slipped in between, until nothing does.

        What slipped in and cannot be exchanged (other source, or a function that a call in flight made
        of the old body for good) takes everything back.
        """
        first, work = self._work, self._work
        took_us: int | None = None
        names: list[str] = []
        notes: list[str] = []
        done: list[Exchange] = []
        late = _Late()
        assert self._census is not None
        census = self._census
        bound_before = len(self.bound)
        waiting = census.suspended if census.suspended is not None else suspended(first.left_codes)
        for _ in range(MAX_ROUNDS):
            if not work.exchange:
                break
            try:
                took_us = (took_us or 0) + work.exchange.commit()
            except ExchangeFailed as error:
                if took_us is None:
                    return refusal(FAILED, [f"an assignment was refused, everything was put back ({error})"])
                notes.append(f"functions made meanwhile could not be exchanged ({error})")
                break
            done.append(work.exchange)
            self.bound.extend(work.exchange.bindings)
            names.extend(work.names)
            work, census = self._look(self._forward, since=census)
            late.take(work)
            if not work.exchange and len(done) == 1 and running(set(map(id, first.maker_codes))):
                if not self._patience.wait_until(lambda: running(set(map(id, first.maker_codes))) == 0):
                    notes.append("a call in flight may still make functions of the old code")
                work, census = self._look(self._forward, since=census)
                late.take(work)
        del work, census
        if not self._patience.wait_until_gone(late.references):
            for exchange in reversed(done):
                exchange.undo()
            del self.bound[bound_before:]
            return late.outcome("it came up during the exchange, and everything was put back")
        for exchange in done:
            references = map(weakref.ref, exchange.functions)
            old = map(self._old_for, exchange.old, exchange.new)
            self.exchanged.extend(map(_triple, references, old, exchange.new))
            self.values.extend(exchange.values)
            self.runs.extend(exchange.runs)
        notes.extend(self._clear_caches(first))
        if first.kept:
            notes.append(f"{first.kept} functions that were made before stay with those who hold them")
        in_flight = running(set(map(id, first.left_codes))) + waiting
        if in_flight:
            notes.append(f"{in_flight} calls in flight finish on the old code")
        detail = "; ".join([self.summary("swapped" if self.router is None else "routed"), *notes])
        return Outcome(SWAPPED, detail, swap_us=took_us, functions=tuple(dict.fromkeys(names)))

    def promote(self) -> Outcome:
        """Go on from the canary to the new code. When that is refused, the canary stands as it did."""
        router, self.router = self.router, None
        before, self.exchanged = self.exchanged, []  # names that were bound stay so
        outcome = self.verify() or self.commit()
        self.rest()
        if outcome.outcome != SWAPPED:
            self.router, self.exchanged = router, before
        return outcome

    def _old_for(self, before: CodeType, after: CodeType) -> CodeType:
        """Return what a function gets back for `after`; `before` may have been a dispatcher, or new code."""
        routes = self._surroundings.routes
        return routes.old_of(after if routes.knows(after) else before)

    def _own(self) -> list[Binding]:
        return [*self._bound_before, *self.bound]

    def _forward(self, load: Load, target: Target, census: Census, work: Work) -> None:
        plan_forward(load, target, census, work, router=self.router)

    def _unroutable(self, router: Router, work: Work) -> Outcome | None:
        """Say why this change cannot have a canary, though it could be swapped."""
        targets = [target for target in self.targets.values() if isinstance(target, Target)]
        reasons = [*router.obstacles, *routing_obstacles([target.plan for target in targets])]
        if work.caches:
            reasons.append(f"a function that changed: {CACHED}")
        return refusal(NOT_ROUTABLE, reasons) if reasons else None

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
                target = self._target(path, os.path.join(self._surroundings.repository, path))
                if isinstance(target, Target):
                    found.append((path, target))
        return found


class _Late:
    """What came up during an exchange and stands against it. Keeps none of it alive."""

    def __init__(self) -> None:
        self.references: list[weakref.ref[Any]] = []
        self._failures: list[str] = []
        self._restarts: list[str] = []

    def take(self, work: Work) -> None:
        for kept, words in ((work.strangers, self._failures), (work.products, self._restarts)):
            for item in kept:
                self.references.append(weakref.ref(item[0]))
                words.append(item[-1])
            kept.clear()

    def outcome(self, more: str) -> Outcome:
        outcome = FAILED if self._failures else RESTART_REQUIRED
        return refusal(outcome, [*(self._failures or self._restarts), more])


def _triple(*items: Any) -> Any:
    return items


def _obstacle(importing: list[Any], products: list[Any], work: Work) -> Outcome:
    if work.strangers:
        return refusal(FAILED, [item[1] for item in work.strangers])
    if products:
        return refusal(RESTART_REQUIRED, [item[2] for item in products])
    return refusal(FAILED, ["a module of the change is being imported just now" for _ in importing[:1]])
