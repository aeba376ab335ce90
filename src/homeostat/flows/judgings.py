"""What was judged already, so that each look takes only what has come in since."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable

from homeostat.core.ids import ProposalId
from homeostat.model.settings import CanarySettings
from homeostat.ports.store import CanaryStore
from homeostat.rollout.course import Judging
from homeostat.rollout.detectors import Detection

_KEPT = 16
_KEPT_WORDS = 256
"""Of as many changes as may be held at a time, and looked at each beat: their words are few, to count anew is not."""


class Judgings:
    """Remembers the last canaries that were looked at. What is forgotten is judged again from the store, all the same.

    Safe to use from several threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[ProposalId, tuple[Judging, int]] = OrderedDict()
        self._said: OrderedDict[Hashable, tuple[Detection, ...]] = OrderedDict()

    def of(self, change_id: ProposalId, canaries: CanaryStore, settings: CanarySettings) -> Judging:
        """Return the judging of a change, with every tick of it that the store has."""
        with self._lock:
            judging, last = self._known.pop(change_id) if change_id in self._known else (Judging(settings), 0)
            for number, tick in canaries.ticks(change_id, after=last):
                judging.feed(tick)
                last = number
            self._known[change_id] = (judging, last)
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
            return judging

    def said(self, key: Hashable, ask: Callable[[], tuple[Detection, ...]]) -> tuple[Detection, ...]:
        """Return what detectors said of the same evidence before, else what they say now; `key` names the evidence."""
        with self._lock:
            known = self._said.get(key)
        if known is not None:
            return known
        found = ask()
        with self._lock:
            self._said[key] = found
            while len(self._said) > _KEPT_WORDS:
                self._said.popitem(last=False)
        return found
