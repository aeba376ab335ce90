"""Which canaries processes are being asked to route just now: what is sent may come after what takes it back."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from homeostat.core.ids import ProposalId


class Routing:
    """Safe to use from several threads.

    INVARIANT: who asks a process to route notes it here first, and reads then whether the change is still under canary.
    So whoever has journalled its end, and finds nobody here, knows that no process will be asked any more.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asking: Counter[ProposalId] = Counter()

    @contextmanager
    def asking(self, change_id: ProposalId) -> Iterator[None]:
        """Note that a process is asked, for as long as it is."""
        with self._lock:
            self._asking[change_id] += 1
        try:
            yield
        finally:
            with self._lock:
                self._asking[change_id] -= 1
                self._asking = +self._asking

    def under_way(self, change_id: ProposalId) -> bool:
        """Tell whether a process is being asked."""
        with self._lock:
            return change_id in self._asking
