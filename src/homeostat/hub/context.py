"""What the routes are given."""

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from homeostat.core.errors import HomeostatError
from homeostat.flows.deps import Deps
from homeostat.hub.metrics import HubMetrics
from homeostat.telemetry.otlp import CumulativeReader


@dataclass(slots=True, kw_only=True)
class Troubles:
    """The last failure of each background activity, for `/health/ready` and `homeostat doctor`."""

    last: dict[str, str] = field(default_factory=dict)

    def note(self, activity: str, text: str) -> None:
        self.last[activity] = text

    def note_error(self, activity: str, error: Exception) -> None:
        """Note what a person needs to know of an error: our own say how to mend it, too."""
        hint = error.hint if isinstance(error, HomeostatError) else None
        text = str(error) if isinstance(error, HomeostatError) else f"{type(error).__name__}: {error}"
        self.note(activity, f"{text} ({hint})" if hint else text)

    def clear(self, activity: str) -> None:
        self.last.pop(activity, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class HubContext:
    """One hub: its flows' world, its metrics, and where its state lives."""

    deps: Deps
    metrics: HubMetrics
    reader: CumulativeReader
    state_dir: Path
    troubles: Troubles
    version: str
    started_at: datetime
