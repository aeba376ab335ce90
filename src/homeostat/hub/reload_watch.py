"""The thread that follows the files that a developer edits (`hmr.auto_reload`)."""

import logging
import threading

from homeostat.core.errors import HomeostatError
from homeostat.flows.reloading import Reloading
from homeostat.flows.troubles import Troubles

_ACTIVITY = "reloading"
_PAUSE_IN_TROUBLE_S = 1.0
_JOIN_S = 3.0

_log = logging.getLogger(__name__)


class ReloadWatch:
    """One daemon thread; what it does is `homeostat.flows.reloading.Reloading.look`."""

    def __init__(self, reloading: Reloading, troubles: Troubles) -> None:
        self._reloading = reloading
        self._troubles = troubles
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="homeostat-reload", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """End it; one that waits for a process that hangs is let go when the agents' door closes."""
        self._stop.set()
        self._thread.join(_JOIN_S)

    def _run(self) -> None:
        pause_s = 0.0
        while not self._stop.wait(pause_s):
            pause_s = self._look()

    def _look(self) -> float:
        try:
            pause_s = self._reloading.look()
        except HomeostatError as error:
            if not self._stop.is_set() and self._troubles.note_error(_ACTIVITY, error):
                _log.warning("[SI] %s: %s", _ACTIVITY, error)
        except Exception as error:  # a process edge: the thread must go on, and the trouble is shown
            if self._troubles.note_error(_ACTIVITY, error):
                _log.exception("[SI] %s failed", _ACTIVITY)
        else:
            self._troubles.clear(_ACTIVITY)
            return pause_s
        return _PAUSE_IN_TROUBLE_S
