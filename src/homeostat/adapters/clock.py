"""The real clock and the real source of ids."""

import time
import uuid
from datetime import UTC, datetime


class SystemClock:
    """Implements `homeostat.ports.clock.Clock`."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic_s(self) -> float:
        return time.monotonic()


class RandomIds:
    """Implements `homeostat.ports.clock.IdSource`."""

    def new_uuid(self) -> str:
        return str(uuid.uuid4())
