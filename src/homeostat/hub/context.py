"""What the routes are given."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from homeostat.flows.deps import Deps
from homeostat.flows.reloading import Reloading
from homeostat.flows.troubles import Troubles
from homeostat.hub.metrics import HubMetrics
from homeostat.telemetry.otlp import CumulativeReader


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
    reloading: Reloading | None = None
    """None: what a developer saves does not go live by itself (`hmr.auto_reload`)."""
