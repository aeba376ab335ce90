"""What went wrong inside the agent: counted by reason, never raised into the host."""

from __future__ import annotations

from homeostat_agent.ring import Tally


class Failures:
    """Counts by reason. Reasons are words of this package (``log``, ``flood``, ``hook:uvicorn.config``, ...)."""

    def __init__(self) -> None:
        self._by_reason: dict[str, Tally] = {}

    def note(self, reason: str) -> None:
        tally = self._by_reason.get(reason)
        if tally is None:
            tally = self._by_reason.setdefault(reason, Tally())
        tally.add()

    def reset_after_fork(self) -> None:
        self._by_reason = {}

    def as_dict(self) -> dict[str, int]:
        return {reason: tally.value for reason, tally in self._by_reason.copy().items()}

    @property
    def total(self) -> int:
        return sum(self.as_dict().values())
