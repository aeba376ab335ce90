"""One rollback, step by step. Called by `Reloader`, which holds the lock and the record."""

from __future__ import annotations

import functools
import weakref
from types import CodeType

from homeostat_agent.reload.attempt import Attempt
from homeostat_agent.reload.census import is_quiet
from homeostat_agent.reload.change import FAILED, RESTART_REQUIRED, SWAPPED, Outcome, refusal
from homeostat_agent.reload.exchange import Binding, Exchange, ExchangeFailed
from homeostat_agent.reload.naming import bindings_to_remove
from homeostat_agent.reload.step import MAX_ROUNDS, Step
from homeostat_agent.reload.work import Exchanged, Returned, Target, Work, plan_back

_QUIET_POLL_S = 0.05


class Retreat(Step):
    """A rollback."""

    def __init__(self, attempt: Attempt) -> None:
        # Nothing here asks the disk: what does lets go of the interpreter, and the old code is waited for.
        super().__init__(attempt.change, attempt._surroundings, attempt.files, attempt.targets, attempt.anchors)
        self._exchanged = attempt.exchanged
        self._bound = attempt.bound
        self._values = attempt.values
        self._runs = attempt.runs
        self._given_back: set[str] = set()
        self.leftover: list[tuple[Binding, list[CodeType]]] = []
        """Added names that calls in flight may still need, with the code of such calls."""

    def _own(self) -> list[Binding]:
        return self._bound

    def run(self) -> Outcome:
        """Put everything back, then look whether something of the new code stays in use."""
        try:
            # What `swap` exchanged goes back at once: a process that runs bad code cannot wait for a look.
            returned, took_us = self._return()
        except ExchangeFailed as error:
            return refusal(FAILED, [f"an assignment was refused, the change stays in force ({error})"])
        with self._surroundings.haste.hurried():
            return self._find_the_rest(returned, took_us)

    def _find_the_rest(self, returned: Returned, took_us: int) -> Outcome:
        """Put back what else there is of the new code, and say what stays in use."""
        work, census = self._look(functools.partial(plan_back, returned=returned))
        bindings = [
            binding
            for load in census.loads
            if isinstance(target := self._target(load.path, load.filename), Target)
            for binding in bindings_to_remove(load, target, returned, work)
        ]
        bindings.extend(self._bound)
        first = work
        names = sorted(self._given_back)
        for turn in range(MAX_ROUNDS):
            if not work.exchange:
                break
            try:
                took_us += work.exchange.commit()
            except ExchangeFailed as error:
                if turn == 0:
                    return refusal(FAILED, [f"an assignment was refused, the change stays in force ({error})"])
                break
            names.extend(work.names)
            work, census = self._look(functools.partial(plan_back, returned={}), since=census)
        del census
        notes = self._clear_caches(first)
        notes.extend(self._remove(bindings, first.left_codes))
        if self._runs:
            ran = list(dict.fromkeys(label for run in self._runs for label in run.labels))
            more = f" and {len(ran) - 10} more" if len(ran) > 10 else ""
            notes.append(f"what {', '.join(ran[:10])}{more} did when it ran is not undone")
        staying = self._still_in_use(first, work)
        if staying:
            return refusal(RESTART_REQUIRED, [f"everything was put back, but {staying}", *notes])
        functions = tuple(dict.fromkeys(names))
        detail = f"{', '.join(functions[:10])} put back" if functions else "nothing of this change runs here"
        return Outcome(SWAPPED, "; ".join([detail, *notes]), swap_us=took_us or None, functions=functions)

    def _return(self) -> tuple[Returned, int]:
        """Give old code back to what `swap` exchanged and is still as it left it; with the microseconds it took."""
        exchange = Exchange()
        returned = {}
        for reference, old, new in self._exchanged:
            function = reference()
            if function is not None and function.__code__ is new:
                exchange.add(function, new, old)
                returned[id(function)] = Exchanged(function, old, new)
        exchange.values.extend(value.reversed() for value in self._values if value.present is value.new)
        self._given_back = {value.where for value in exchange.values}
        took_us = exchange.commit() if exchange else 0
        for run in reversed(self._runs):
            run.take()
        return returned, took_us

    def _remove(self, bindings: list[Binding], left_codes: list[CodeType]) -> list[str]:
        # A call in flight on the new code looks added names up when it gets there. They go when it is through.
        if not bindings:
            return []
        if self._patience.wait_until(lambda: is_quiet(left_codes), poll_s=_QUIET_POLL_S):
            for binding in bindings:
                binding.take()
            return []
        self.leftover = [(binding, left_codes) for binding in bindings]
        return ["names that the change added stay until the calls in flight have ended"]

    def _still_in_use(self, first: Work, last: Work) -> str:
        found = [*((item[0], item[2]) for work in (first, last) for item in work.products)]
        found.extend(item for work in (first, last) for item in work.strangers)
        stays = [words for work in (first, last) for words in work.stays]
        words = refusal(RESTART_REQUIRED, [*stays, *(item[1] for item in found)]).detail
        references = [weakref.ref(item[0]) for item in found]
        found.clear()
        for work in (first, last):  # nothing here may keep alive what is waited for
            work.products.clear()
            work.strangers.clear()
        return "" if self._patience.wait_until_gone(references) and not stays else words
