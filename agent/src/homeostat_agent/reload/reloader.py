"""Live changes of this process: prepare, swap, roll back.

Order of a swap, stated once: plan every module (pure) → look through the process → verify that what
runs is the old source, to the last function → exchange everything at once → look through the process
again for what slipped in between. Nothing is changed before all of a change was verified.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from types import CodeType

from homeostat_agent.haste import Haste
from homeostat_agent.reload.attempt import Attempt, Retreat, Surroundings, is_quiet
from homeostat_agent.reload.change import FAILED, RESTART_REQUIRED, SWAPPED, Change, Outcome, refusal
from homeostat_agent.reload.exchange import Binding
from homeostat_agent.reload.look import Look
from homeostat_agent.reload.patience import Patience


@dataclass(frozen=True)
class _Applied:
    """A change in force."""

    attempt: Attempt
    outcome: Outcome


class Reloader:
    """Carries live changes out in this process, one at a time; may be called from any thread.

    `patience_s` bounds the wait for calls in flight, wherever one is needed. Host code is never run,
    except the annotations of added functions.
    """

    def __init__(self, repository: str, *, patience_s: float = 1.0, haste: Haste | None = None) -> None:
        """`haste` is that of whoever calls, where it has begun to hurry before."""
        self._haste = haste or Haste()
        self._surroundings = Surroundings(repository, patience_s, self._haste)
        self._lock = threading.Lock()
        self._generation = 0
        self._applied: dict[str, _Applied] = {}
        self._prepared: Attempt | None = None
        self._leftover: list[tuple[Binding, list[CodeType]]] = []

    @property
    def generation(self) -> int:
        """How often the running code was exchanged, by a swap or a rollback."""
        return self._generation

    @property
    def changes(self) -> tuple[str, ...]:
        """Ids of the changes in force, oldest first."""
        return tuple(self._applied)

    def prepare(self, change: Change) -> Outcome:
        """Say whether this change could be swapped now, and which of its sources runs. Changes nothing."""
        with self._lock, self._haste.relaxed():
            again = self._answered(change)
            if again is not None:
                return replace(again, runs=self._look(change, self._applied[change.id].attempt))
            self._prepared = None
            attempt = Attempt(change, self._surroundings)
            refused = attempt.plan() or attempt.verify()
            summary, names = attempt.summary("could be swapped"), attempt.names()
            attempt.rest()
            runs = self._look(change, attempt, Patience(self._surroundings.patience_s, self._haste))
            if refused is not None:
                return replace(refused, runs=runs)
            self._prepared = attempt
            return Outcome(SWAPPED, summary, functions=names, runs=runs)

    def swap(self, change: Change) -> Outcome:
        """Exchange the functions of all modules of the change, or nothing.

        Calls that have begun finish on the old code; every call that begins afterwards runs the new.
        A change that is in force already is answered as the first time, after what was imported with
        the old source since has been exchanged too.
        """
        with self._lock, self._haste.hurried():
            again = self._answered(change)
            if again is not None:
                return again if again.outcome != SWAPPED or self._later(change.id) else self._complete(change)
            self._remove_leftover()
            attempt, self._prepared = self._prepared, None
            if attempt is not None and attempt.change == change:
                outcome = attempt.verify() or attempt.commit()
            else:
                attempt = Attempt(change, self._surroundings)
                outcome = attempt.plan() or attempt.verify() or attempt.commit()
            attempt.rest()
            if outcome.outcome == SWAPPED:
                self._applied[change.id] = _Applied(attempt, outcome)
                self._generation += 1
            return outcome

    def rollback(self, change_id: str) -> Outcome:
        """Put back what `swap` exchanged, down to the very code objects.

        A change that is not in force answers ``swapped``. A change whose files a later change touched
        as well is refused (``restart_required``): roll the later one back first. ``restart_required``
        is also the answer when all was put back, but something that the new code made is still in use.
        """
        with self._lock:
            applied = self._applied.get(change_id)
            if applied is None:
                return Outcome(SWAPPED, "this change is not in force here; nothing was to be put back")
            later = self._later(change_id)
            if later:
                return refusal(
                    RESTART_REQUIRED, [f"the later change {later} touched the same files: take it back first"]
                )
            retreat = Retreat(applied.attempt)
            outcome = retreat.run()
            if outcome.outcome != FAILED:
                del self._applied[change_id]
                self._generation += 1
                self._leftover.extend(retreat.leftover)
            return outcome

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
        attempt = Attempt(change, self._surroundings)
        refused = attempt.plan() or attempt.verify()
        if refused is not None:
            return refused
        more = attempt.names()
        outcome = attempt.commit()
        attempt.rest()
        if outcome.outcome == SWAPPED:
            applied.attempt.exchanged.extend(attempt.exchanged)
            self._generation += bool(more)
        return outcome if outcome.outcome != SWAPPED or more else applied.outcome

    def _look(self, change: Change, attempt: Attempt, patience: Patience | None = None) -> str:
        paths = tuple(module.path for module in change.modules)
        return Look(change, self._surroundings.files(paths), attempt.anchors).source(patience)

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
