"""Time and ids, injected so that a test or the simulator can own them."""

from datetime import datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    def now(self) -> datetime:
        """Return the time in UTC, aware."""
        ...

    def monotonic_s(self) -> float:
        """Return seconds that never go back; only differences mean anything."""
        ...

    def lead(self) -> timedelta:
        """Return how far `now` is ahead of the machine's clock, by which programs stamp what they tell; often 0.

        A hub's clock does not go back when the machine's is set back. What was stamped at `at` was
        at ``min(at + lead, now)``: nothing is heard of before it happened, and later evidence is later.
        """
        ...


class IdSource(Protocol):
    def new_uuid(self) -> str:
        """Return a fresh lower-case UUID."""
        ...
