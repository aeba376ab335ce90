"""The thread that gives the hub its steady beat."""

import threading
from collections.abc import Callable, Mapping

from homeostat.flows.beating import beat
from homeostat.flows.deps import Deps
from homeostat.hub.context import Troubles

BEAT_S = 0.5


class Ticker:
    """One daemon thread; what it does is `homeostat.flows.beating.beat`."""

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

    def _run(self) -> None:
        count = 0
        while True:
            self._woken.wait(self._beat_s)
            self._woken.clear()
            if self._stop.is_set():
                return
            count += 1
            beat(self._deps, self._troubles, count, chores=self._chores)
