"""What the hub does by itself, at a steady beat: watch applied changes, catch Git up, take up what got stuck."""

import logging
import threading
from collections.abc import Callable, Mapping
from datetime import timedelta

from homeostat.core.errors import HomeostatError, Unavailable
from homeostat.flows.deps import Deps
from homeostat.flows.observing import observe, oldest_vitals_needed
from homeostat.flows.recording import catch_up
from homeostat.flows.recovering import recover
from homeostat.hub.context import Troubles
from homeostat.model.proposal import ProposalState

_log = logging.getLogger(__name__)

BEAT_S = 0.5
_WATCHED = frozenset({ProposalState.OBSERVING, ProposalState.AWAITING_RESTART})
_RECOVER_EVERY = 20
"""Beats between two looks for flows that got stuck."""

_NAMED = 5
_PRUNE_EVERY = 7200
_KEEP_VITALS = timedelta(hours=26)
"""A day and a margin: later detectors compare with the same hours of the day before."""


class Ticker:
    """One daemon thread. An activity that fails is noted as trouble and tried again at its next beat.

    `chores` are small things by name that are done at each look for stuck flows.
    """

    def __init__(
        self, deps: Deps, troubles: Troubles, *, chores: Mapping[str, Callable[[], object]], beat_s: float = BEAT_S
    ) -> None:
        self._deps = deps
        self._troubles = troubles
        self._chores = chores
        self._beat_s = beat_s
        self._stop = threading.Event()
        self._woken = threading.Event()
        self._thread = threading.Thread(target=self._run, name="homeostat-ticker", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """Beat now: something happened that an applied change may be waiting for."""
        self._woken.set()

    def close(self) -> None:
        self._stop.set()
        self._woken.set()
        self._thread.join(timeout=10)

    def beat(self, count: int) -> None:
        """Do everything that is due at beat `count`."""
        self._try("observing", self._observe)
        self._try("recording", lambda: catch_up(self._deps))
        if count % _RECOVER_EVERY == 0:
            self._try("recovering", lambda: recover(self._deps))
            for name, chore in self._chores.items():
                self._try(name, chore)
        if count % _PRUNE_EVERY == 0:
            self._try("pruning", self._prune)

    def _run(self) -> None:
        count = 0
        while True:
            self._woken.wait(self._beat_s)
            self._woken.clear()
            if self._stop.is_set():
                return
            count += 1
            self.beat(count)

    def _prune(self) -> None:
        needed = oldest_vitals_needed(self._deps)
        before = self._deps.clock.now() - _KEEP_VITALS
        self._deps.vitals.prune(before=before if needed is None else min(before, needed))

    def _observe(self) -> None:
        troubled = []
        for proposal in self._deps.proposals.find(states=_WATCHED, limit=1000):
            try:
                observe(self._deps, proposal.id)
            except HomeostatError as error:  # the others are watched all the same
                troubled.append(f"{proposal.id}: {error}")
        if troubled:
            raise Unavailable("not-observed", "; ".join(troubled[:_NAMED]))

    def _try(self, activity: str, work: Callable[[], object]) -> None:
        try:
            work()
        except HomeostatError as error:
            _log.warning("[SI] %s: %s", activity, error)
            self._troubles.note_error(activity, error)
        except Exception as error:  # a process edge: the beat must go on, and the trouble is shown
            _log.exception("[SI] %s failed", activity)
            self._troubles.note_error(activity, error)
        else:
            self._troubles.clear(activity)
