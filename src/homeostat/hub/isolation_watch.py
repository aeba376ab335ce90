"""Tests the sandboxes at the start of the hub, and again for as long as none is seen to hold."""

import threading

from homeostat.core.errors import HomeostatError
from homeostat.flows.troubles import Troubles
from homeostat.ports.proving import Prover

_FIRST_PAUSE_S = 5.0
_LONGEST_PAUSE_S = 600.0

_NAME = "isolation"
_NONE_HOLDS = "no sandbox holds here: nothing can be proved; see `homeostat doctor`"


class IsolationWatch:
    """One daemon thread, which ends as soon as a sandbox holds.

    The self-test takes a moment, and the first proof should not have to wait for it. A busy machine may fail it, and
    an administrator may mend what it lacks: the trouble ends with its cause, without a new start of the hub.
    """

    def __init__(self, prover: Prover, troubles: Troubles, *, first_pause_s: float = _FIRST_PAUSE_S) -> None:
        self._prover = prover
        self._troubles = troubles
        self._pause_s = first_pause_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="homeostat-isolation", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """End it. Close the prover first: a self-test that is under way ends with it."""
        self._stop.set()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        while not self._holds() and not self._stop.wait(self._pause_s):
            self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)

    def _holds(self) -> bool:
        try:
            holds = self._prover.holds()
        except HomeostatError as error:
            self._troubles.note_error(_NAME, error)
            return False
        if holds:
            self._troubles.clear(_NAME)
        else:
            self._troubles.note(_NAME, _NONE_HOLDS)
        return holds
