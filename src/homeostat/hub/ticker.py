"""The thread that gives the hub its steady beat."""

import threading
import time
from collections.abc import Callable, Mapping

from homeostat.flows.beating import RECOVER_EVERY, beat, heed
from homeostat.flows.deps import Deps
from homeostat.flows.troubles import Troubles

BEAT_S = 0.5
_BREATH_S = 0.05
"""Between two looks at canaries: many processes tell of theirs, each four times a second."""


class Ticker:
    """One daemon thread; what it does is `homeostat.flows.beating.beat`.

    It beats every half second while something is in hand: a change that is watched, a record that lags,
    an activity that failed. When nothing is, it beats only as often as flows that got stuck are looked
    for, until `stir` says that something was written. What is counted of canaries is looked at in between (`hear`).
    """

    def __init__(
        self, deps: Deps, troubles: Troubles, *, chores: Mapping[str, Callable[[], object]], beat_s: float = BEAT_S
    ) -> None:
        self._deps = deps
        self._troubles = troubles
        self._chores = chores
        self._beat_s = beat_s
        self._changed = threading.Condition()
        self._stop = False
        self._woken = False
        self._heard = False
        self._stirred = True
        self._thread = threading.Thread(target=self._run, name="homeostat-ticker", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """Beat now: something happened that an applied change may be waiting for."""
        with self._changed:
            self._woken = True
            self._changed.notify()

    def stir(self) -> None:
        """Beat in half a second, as if something were in hand: a row was written, and may need to be followed."""
        if not self._stirred:  # asked without the lock: it is set for a whole beat, and this is called at every write
            with self._changed:
                self._stirred = True
                self._changed.notify()

    def hear(self) -> None:
        """Look at canaries now, and at nothing else: some of their calls were counted."""
        with self._changed:
            self._heard = True
            self._changed.notify()

    def close(self) -> None:
        with self._changed:
            self._stop = True
            self._changed.notify()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        count = 0
        in_hand = True
        while self._wait(in_hand):
            # INVARIANT: the quiet beat is one that looks for stuck flows.
            quiet = not in_hand and not self._stirred
            count += RECOVER_EVERY - count % RECOVER_EVERY if quiet else 1
            with self._changed:
                self._stirred = False
            in_hand = beat(self._deps, self._troubles, count, chores=self._chores)

    def _wait(self, in_hand: bool) -> bool:
        """Wait until the next beat is due; False when there shall be none."""
        with self._changed:
            if not in_hand:
                quiet_s = self._beat_s * RECOVER_EVERY
                self._changed.wait_for(lambda: self._stirred or self._woken or self._stop, quiet_s)
            if in_hand or self._stirred:
                self._wait_and_heed()
            self._woken = False
            return not self._stop

    def _wait_and_heed(self) -> None:
        """Wait for a beat, with the lock held; what is heard of canaries meanwhile is looked at without it."""
        due_s = time.monotonic() + self._beat_s
        while (left_s := due_s - time.monotonic()) > 0:
            self._changed.wait_for(lambda: self._heard or self._woken or self._stop, left_s)
            if self._woken or self._stop:
                return
            if self._heard:
                self._heard = False
                self._changed.release()
                try:
                    heed(self._deps, self._troubles)
                finally:
                    self._changed.acquire()
                self._changed.wait_for(lambda: self._woken or self._stop, _BREATH_S)
