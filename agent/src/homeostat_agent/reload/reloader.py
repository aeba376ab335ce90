"""Live changes of this process: prepare, swap, canary, promote, roll back.

Order of a swap, stated once: plan every module (pure) → look through the process → verify that what
runs is the old source, to the last function → exchange everything at once → look through the process
again for what slipped in between. Nothing is changed before all of a change was verified.

A canary goes the same way to dispatchers, which send a share of the calls to the new code; from there
it is promoted by a swap, or rolled back.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import CodeType

from homeostat_agent.canary.report import CanaryReport
from homeostat_agent.canary.switch import Switch, Terms
from homeostat_agent.firstseen import FirstSeen
from homeostat_agent.haste import Haste
from homeostat_agent.reload.attempt import Attempt
from homeostat_agent.reload.calm import Calm
from homeostat_agent.reload.census import Files, is_quiet
from homeostat_agent.reload.change import (
    FAILED,
    NOT_ROUTABLE,
    RESTART_REQUIRED,
    SWAPPED,
    Change,
    Module,
    Outcome,
    refusal,
)
from homeostat_agent.reload.exchange import Binding
from homeostat_agent.reload.look import CANARY, Look
from homeostat_agent.reload.patience import Patience
from homeostat_agent.reload.provenance import Provenance
from homeostat_agent.reload.retreat import Retreat
from homeostat_agent.reload.routes import Router
from homeostat_agent.reload.step import Surroundings
from homeostat_agent.reload.targets import EVERYBODY, HandOver, Target, Targets

_MAX_ENDED = 100
"""Canaries that ended and were not reported yet; the oldest are not told of."""


@dataclass(frozen=True)
class _Applied:
    """A change in force, for all calls or for a share of them."""

    attempt: Attempt
    outcome: Outcome

    @property
    def switch(self) -> Switch | None:
        """The canary's, while it is one."""
        return None if self.attempt.router is None else self.attempt.router.switch


class Reloader:
    """Carries live changes out in this process, one at a time; may be called from any thread.

    `patience_s` bounds the wait for calls in flight, wherever one is needed. Host code is never run,
    except the annotations of added functions, the methods of objects that asked to take part (`reload.targets`), and
    what an aggressive change runs again (`reload.runs`).
    """

    def __init__(
        self,
        repository: str,
        *,
        patience_s: float = 1.0,
        haste: Haste | None = None,
        clock_s: Callable[[], float] = time.monotonic,
        targets: Targets = EVERYBODY,
        seen: FirstSeen | None = None,
    ) -> None:
        """`haste` is that of whoever calls, where it has begun to hurry before; `clock_s` is that of leases, too.

        `seen` knows since when modules are loaded; without it, statements run again only where functions tell
        that the old ones ran.
        """
        self._targets = targets
        self._haste = haste or Haste()
        self._surroundings = Surroundings(repository, patience_s, self._haste, provenance=Provenance(seen))
        self._clock_s = clock_s
        self._lock = threading.Lock()
        self._calm = Calm(clock_s)
        self._generation = 0
        self._applied: dict[str, _Applied] = {}
        self._unwell: dict[str, Change] = {}
        """Changes that were rolled back, and left state that the old code cannot use."""

        self._covered: set[str] = set()
        """Changes in force that a settled one was made upon."""

        self._prepared: Attempt | None = None
        self._leftover: list[tuple[Binding, list[CodeType]]] = []
        self._ending: list[Switch] = []
        """Canaries that are over, and beside which something ran that was asked to end."""

        self._ended: deque[CanaryReport] = deque(maxlen=_MAX_ENDED)

    @property
    def generation(self) -> int:
        """How often the running code was exchanged: by a swap, a rollback, or a canary's begin or end."""
        return self._generation

    @property
    def changes(self) -> tuple[str, ...]:
        """Ids of the changes in force, oldest first (under canary, too); then of those that left state behind."""
        return (*self._applied, *self._unwell)

    @property
    def canaries(self) -> tuple[Switch, ...]:
        """The canaries under way, oldest first; one whose lease ran out is there until it is given back."""
        found = (applied.switch for applied in tuple(self._applied.values()))
        return tuple(switch for switch in found if switch is not None)

    def prepare(self, change: Change) -> Outcome:
        """Say whether this change could be swapped now, and which of its sources runs. Changes nothing."""
        with self._lock, self._haste.relaxed():
            again = self._answered(change)
            if again is not None:
                return replace(again, runs=self._look(change, self._applied[change.id].attempt))
            self._prepared = None
            attempt = Attempt(change, self._surroundings)
            refused = self._in_the_way(change) or attempt.plan()
            if refused is None:
                self._calm.begin()
                refused = attempt.verify()
            summary, names = attempt.summary("could be swapped"), attempt.names()
            attempt.rest_until_asked()
            runs = self._look(change, attempt, Patience(self._surroundings.patience_s, self._haste))
            if refused is not None:
                self._calm.end()
                return replace(refused, runs=runs)
            self._prepared = attempt
            return Outcome(SWAPPED, summary, functions=names, runs=runs)

    def swap(self, change: Change) -> Outcome:
        """Exchange the functions of all modules of the change, or nothing.

        Calls that have begun finish on the old code; every call that begins afterwards runs the new.
        A change that is in force already is answered as the first time, after what was imported with
        the old source since has been exchanged too. One that is under canary is promoted.
        """
        with self._lock, self._haste.hurried():
            again = self._answered(change)
            if again is not None and again.outcome == SWAPPED:
                if self._applied[change.id].switch is not None:
                    return self._promote(change.id)
                return again if self._later(change.id) or change.id in self._covered else self._complete(change)
            return again or self._begin(change)

    def canary(self, change: Change, terms: Terms) -> Outcome:
        """Send a share of the calls of all changed functions to the new code, or change nothing.

        ``not_routable``: a swap would do, a canary cannot. The canary of a change that has one gets share and
        lease anew, and routes what was imported with the old source since; its key stays.
        """
        with self._lock, self._haste.hurried():
            self._give_back_lapsed()
            applied = self._applied.get(change.id)
            if applied is None:
                switch = Switch(change.id, terms, clock_s=self._clock_s)
                outcome = self._begin(change, Router(switch, self._surroundings.routes))
                if outcome.outcome == SWAPPED:
                    switch.open()
                return outcome
            if applied.attempt.change != change or applied.switch is None or not applied.switch.same_key(terms.key):
                return refusal(FAILED, [f"a change with the id {change.id} is in force already, by other terms"])
            outcome = self._complete(change)
            applied.switch.renew(lease_s=terms.lease_s, percent=terms.percent)
            return replace(outcome, runs=CANARY)

    def renew(self, change_id: str, *, lease_s: float, percent: float | None = None) -> Outcome:
        """Set the lease of a canary anew, and its share. One that has lapsed is given back, and ``failed``."""
        with self._lock:
            self._give_back_lapsed()
            applied = self._applied.get(change_id)
            if applied is None or applied.switch is None:
                return _no_canary(change_id)
            applied.switch.renew(lease_s=lease_s, percent=applied.switch.percent if percent is None else percent)
            return replace(applied.outcome, runs=CANARY)

    def promote(self, change_id: str) -> Outcome:
        """Exchange what is under canary for the new code. Refused, the canary goes on; a second time, as the first."""
        with self._lock, self._haste.hurried():
            self._give_back_lapsed()
            applied = self._applied.get(change_id)
            if applied is None:
                return _no_canary(change_id)
            return applied.outcome if applied.switch is None else self._promote(change_id)

    def rollback(self, change_id: str) -> Outcome:
        """Put back what `swap` or `canary` exchanged, down to the very code objects.

        A change that is not in force answers ``swapped``. A change whose files a later change touched
        as well is refused (``restart_required``): roll the later one back first. ``restart_required``
        is also the answer when all was put back, but something that the new code made is still in use.
        """
        with self._lock:
            return self._roll_back(change_id)

    def settle(self, change_id: str) -> Outcome:
        """Let a change stand for good: how to take it back is forgotten.

        An earlier change of the same files stays in force, and is taken back from then on by a swap to its old
        source, where its new one is what runs. A change that is not in force is settled. One that is under canary
        is ``failed``, and goes on.
        """
        with self._lock:
            applied = self._applied.get(change_id)
            if applied is None:
                return Outcome(SWAPPED, "this change is not in force here")
            if applied.switch is not None:
                return refusal(FAILED, [f"the change {change_id} is under canary: end that first"])
            paths = {module.path for module in applied.attempt.change.modules}
            earlier = list(self._applied)[: list(self._applied).index(change_id)]
            for other in earlier:
                if not paths.isdisjoint(module.path for module in self._applied[other].attempt.change.modules):
                    self._covered.add(other)
            del self._applied[change_id]
            self._covered.discard(change_id)
            return Outcome(SWAPPED, "it stands")

    def give_back_lapsed(self) -> None:
        """Roll back every canary whose lease ran out, and see to the others. To be called again and again.

        Also lets the collector go on where a change was prepared and is not asked for.
        """
        self._calm.end_if_over()
        canaries = self.canaries
        for switch in canaries:
            switch.watch()
        if self._ending:
            self._ending = [switch for switch in self._ending if switch.watch()]
        if any(switch.lapsed for switch in canaries):
            with self._lock:
                self._give_back_lapsed()

    def rest(self) -> None:
        """Leave the host's collector to the host, though a change may be prepared. What is in force stays so."""
        self._calm.end()

    def take_reports(self) -> tuple[CanaryReport, ...]:
        """Return what every canary counted since the last call, those that ended since first. One caller at a time."""
        ended = [self._ended.popleft() for _ in range(len(self._ended))]
        return (*ended, *(switch.report() for switch in self.canaries))

    def become_forked_child(self) -> None:
        """Go on in a forked child, where only this thread is left. Canaries keep share and lease."""
        self._ended.clear()
        self._ending.clear()
        self._calm.end()
        for switch in self.canaries:
            switch.become_forked_child()

    def _begin(self, change: Change, router: Router | None = None) -> Outcome:
        """Swap, or with a router begin its canary."""
        self._remove_leftover()
        refused = self._in_the_way(change)
        if refused is not None:
            return refused
        attempt, self._prepared = self._prepared, None
        if attempt is None or attempt.change != change:
            attempt = Attempt(change, self._surroundings)
        attempt.router = router
        outcome = attempt.plan() or attempt.verify() or self._exchange(attempt)
        attempt.rest()
        self._calm.end()
        if outcome.outcome == SWAPPED:
            outcome = outcome if router is None else replace(outcome, runs=CANARY)
            self._applied[change.id] = _Applied(attempt, outcome)
            self._unwell.pop(change.id, None)
            self._generation += 1
        return outcome

    def _exchange(self, attempt: Attempt) -> Outcome:
        """Commit what was verified; where something of the host takes part, it is brought to rest for that."""
        targets = self._taking_part(attempt.files)
        if not targets:
            return attempt.commit()
        if attempt.router is not None:
            names = [target.name for target in targets if target.hands_over]
            if names:  # both codes would work on the same state, and each in its own form
                return refusal(NOT_ROUTABLE, [f"{name} hands its state over" for name in names])
            return attempt.commit()
        self._calm.end()  # the host's code may run for long, and makes garbage
        with HandOver(targets, self._haste) as hand_over:
            # What was verified may have gone on while the host came to rest.
            patience = Patience(self._surroundings.patience_s, self._haste)
            refused = hand_over.quiesce(attempt.codes_to_leave, patience)
            outcome = refusal(FAILED, [refused]) if refused else attempt.verify() or attempt.commit()
            if outcome.outcome == SWAPPED:
                refused = hand_over.take_in() or hand_over.check()
                if refused:
                    outcome = self._put_back(attempt, refused)
            if outcome.outcome != SWAPPED:
                hand_over.give_back()
        return _noted(outcome, hand_over)

    def _put_back(self, attempt: Attempt, why: str) -> Outcome:
        retreat = Retreat(attempt)
        back = retreat.run()
        self._leftover.extend(retreat.leftover)
        outcome = refusal(FAILED, [why, _told(back)])
        if back.outcome == FAILED:
            # It is in force, and may be taken back by whoever asks next.
            self._applied[attempt.change.id] = _Applied(attempt, outcome)
            self._generation += 1
        return outcome

    def _taking_part(self, files: Files) -> list[Target]:
        # What the disk says was asked before: to ask it lets go of the interpreter, in the middle of an exchange.
        return self._targets.of(files.real)

    def _promote(self, change_id: str) -> Outcome:
        applied = self._applied[change_id]
        switch = applied.switch
        assert switch is not None
        with HandOver(self._taking_part(applied.attempt.files), self._haste) as hand_over:
            refused = hand_over.quiesce()
            outcome = refusal(FAILED, [refused]) if refused else applied.attempt.promote()
            if outcome.outcome == SWAPPED:
                self._end(switch, new=True)
                self._applied[change_id] = replace(applied, outcome=outcome)
                self._generation += 1
                ill = hand_over.check()
                if ill:
                    outcome = refusal(FAILED, [ill, _told(self._roll_back(change_id))])
        return _noted(outcome, hand_over)

    def _roll_back(self, change_id: str) -> Outcome:
        applied = self._applied.get(change_id)
        if applied is None:
            return self._look_again(change_id)
        later = self._later(change_id)
        if later:
            return refusal(RESTART_REQUIRED, [f"the later change {later} touched the same files: take it back first"])
        if change_id in self._covered:
            return self._reverse(applied.attempt.change)
        if applied.switch is not None:
            # Every call from here on, and should the exchange fail, too.
            self._end(applied.switch, new=False)
        # Harm ends first: nobody is brought to rest for it, and what cannot hand its state over does not hold it up.
        hand_over = HandOver(self._taking_part(applied.attempt.files), self._haste)
        kept = hand_over.export()
        retreat = Retreat(applied.attempt)
        outcome = retreat.run()
        notes = [words for words in (kept, hand_over.take_in()) if words]
        ill = hand_over.check_state() if outcome.outcome == SWAPPED else ""
        if ill:  # the old code is back, and works on what the new one left
            outcome = replace(outcome, outcome=RESTART_REQUIRED)
            notes.append(f"{ill}{_LEFT}")
            self._unwell[change_id] = applied.attempt.change
        if notes:
            outcome = replace(outcome, detail="; ".join([outcome.detail, *notes]))
        if outcome.outcome != FAILED:
            del self._applied[change_id]
            self._generation += 1
            self._leftover.extend(retreat.leftover)
        return outcome

    def _reverse(self, change: Change) -> Outcome:
        """Take back a change that a settled one was made upon: its functions are not those that it exchanged."""
        modules = tuple(Module(item.path, item.new_source, item.old_source) for item in change.modules)
        attempt = Attempt(replace(change, id=f"{change.id}:reverse", modules=modules), self._surroundings)
        with self._haste.hurried():
            outcome = attempt.plan() or attempt.verify() or self._exchange(attempt)
        attempt.rest()
        if outcome.outcome == SWAPPED:
            del self._applied[change.id]
            self._covered.discard(change.id)
            self._generation += 1
            return outcome
        return replace(outcome, outcome=RESTART_REQUIRED)

    def _end(self, switch: Switch, *, new: bool) -> None:
        self._ended.append(switch.end(new=new))
        if switch.watch():
            self._ending.append(switch)

    def _look_again(self, change_id: str) -> Outcome:
        """Answer a rollback of what was rolled back already: what was not well then may have become so."""
        change = self._unwell.get(change_id)
        ill = ""
        if change is not None:
            files = self._surroundings.files(tuple(module.path for module in change.modules))
            ill = HandOver(self._taking_part(files), self._haste).check_state()
        if ill:
            return refusal(RESTART_REQUIRED, [f"everything was put back, but {ill}{_LEFT}"])
        self._unwell.pop(change_id, None)
        return Outcome(SWAPPED, "this change is not in force here; nothing was to be put back")

    def _give_back_lapsed(self) -> None:
        for switch in self.canaries:
            if switch.lapsed:
                self._roll_back(switch.change_id)

    def _answered(self, change: Change) -> Outcome | None:
        applied = self._applied.get(change.id)
        if applied is None:
            return None
        if applied.attempt.change != change:
            return refusal(FAILED, [f"another change with the id {change.id} is in force"])
        return applied.outcome

    def _complete(self, change: Change) -> Outcome:
        """Exchange what the old source still (or again) makes run under a change that is in force."""
        applied = self._applied[change.id]
        attempt = Attempt(change, self._surroundings, goes_on=applied.attempt)
        attempt.router = applied.attempt.router
        refused = attempt.plan() or attempt.verify()
        if refused is not None:
            return refused
        more = attempt.names()
        outcome = attempt.commit()
        attempt.rest()
        if outcome.outcome == SWAPPED:
            applied.attempt.exchanged.extend(attempt.exchanged)
            applied.attempt.bound.extend(attempt.bound)
            applied.attempt.values.extend(attempt.values)
            applied.attempt.runs.extend(attempt.runs)
            self._generation += bool(more)
        return outcome if outcome.outcome != SWAPPED or more else applied.outcome

    def _look(self, change: Change, attempt: Attempt, patience: Patience | None = None) -> str:
        paths = tuple(module.path for module in change.modules)
        surroundings = self._surroundings
        files, routes = surroundings.files(paths), surroundings.routes
        return Look(change, files, attempt.anchors, routes, surroundings.provenance).source(patience)

    def _in_the_way(self, change: Change) -> Outcome | None:
        """Refuse a change of files that are under canary: what runs there is neither its old source nor its new."""
        paths = {module.path for module in change.modules}
        for other, applied in self._applied.items():
            shared = not paths.isdisjoint(module.path for module in applied.attempt.change.modules)
            if shared and applied.switch is not None:
                return refusal(FAILED, [f"the change {other} of the same files is under canary: end that first"])
        return None

    def _later(self, change_id: str) -> str:
        ids = list(self._applied)
        paths = {module.path for module in self._applied[change_id].attempt.change.modules}
        for other in ids[ids.index(change_id) + 1 :]:
            if not paths.isdisjoint(module.path for module in self._applied[other].attempt.change.modules):
                return other
        return ""

    def _remove_leftover(self) -> None:
        """Take away names of changes rolled back earlier, whose calls were still in flight then."""
        kept = []
        for binding, codes in self._leftover:
            if is_quiet(codes):
                binding.take()
            else:
                kept.append((binding, codes))
        self._leftover = kept


_LEFT = ": what the new code left needs a restart"


def _told(back: Outcome) -> str:
    """Say what became of taking back a change that was not well; no more than was seen."""
    return f"it could not be put back: {back.detail}" if back.outcome == FAILED else f"put back: {back.detail}"


def _noted(outcome: Outcome, hand_over: HandOver) -> Outcome:
    if not hand_over.notes:
        return outcome
    return replace(outcome, detail="; ".join([outcome.detail, *hand_over.notes]))


def _no_canary(change_id: str) -> Outcome:
    return refusal(FAILED, [f"no canary of the change {change_id} runs here"])
