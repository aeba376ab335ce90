"""A bounded queue that never makes its writer wait, and a counter that needs no lock.

Both rest on single C calls (`deque.append`, `deque.popleft`, `next` of `itertools.count`), which CPython
does not interrupt. So they may be used in a signal handler, in a finalizer, and across a fork: there is
no lock that another thread could have held when the process was copied.
"""

from __future__ import annotations

import itertools
from collections import deque

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Tally:
    """Counts up by one, exactly, from any thread."""

    __slots__ = ("_ticks",)

    def __init__(self) -> None:
        self._ticks = itertools.count()

    def add(self) -> None:
        next(self._ticks)

    @property
    def value(self) -> int:
        # ``count(7)``: the repr is the one way to read it that does not move it and is not deprecated.
        return int(repr(self._ticks)[6:-1])


class Ring:
    """Keeps the newest `capacity` items. When it is full the oldest is dropped, and counted."""

    def __init__(self, capacity: int = 10_000) -> None:
        if capacity < 1:
            raise ValueError("a ring holds at least one item")
        self.capacity = capacity
        self.reset_after_fork()

    def reset_after_fork(self) -> None:
        """Forget everything: in a child these are copies of what the parent still has and will send."""
        self._items: deque[Any] = deque(maxlen=self.capacity)
        self._put = Tally()
        self._taken = Tally()

    def put(self, item: Any) -> None:
        """Add an item. Never blocks and never raises."""
        self._items.append(item)
        self._put.add()

    def drain(self, limit: int) -> list[Any]:
        """Remove and return up to `limit` items, oldest first; empty when there are none."""
        items, taken, drained = self._items, self._taken, []
        for _ in range(limit):
            try:
                drained.append(items.popleft())
            except IndexError:
                break
            taken.add()
        return drained

    def __len__(self) -> int:
        return len(self._items)

    @property
    def dropped(self) -> int:
        """Items dropped since the start (or the fork). Exact when nobody is writing at this moment."""
        return max(0, self._put.value - self._taken.value - len(self._items))
