"""Time and ids, injected so that a test or the simulator can own them."""

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    def now(self) -> datetime:
        """Return the time in UTC, aware."""
        ...

    def monotonic_s(self) -> float:
        """Return seconds that never go back; only differences mean anything."""
        ...


class IdSource(Protocol):
    def new_uuid(self) -> str:
        """Return a fresh lower-case UUID."""
        ...
