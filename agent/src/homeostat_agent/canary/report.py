"""What a process tells of its canaries with each beat."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple, Optional

    from homeostat_agent.canary.counts import ArmCounts
    from homeostat_agent.canary.shadow import ShadowCounts
else:
    from homeostat_agent.record import NamedTuple


class CanaryReport(NamedTuple):
    """One canary, since the last beat."""

    change_id: str
    percent: float
    """The share in force now: 0 once it was given back."""

    arms: dict[bool, ArmCounts]
    """Units that ended, by whether they ran the new code."""

    lapsed: bool
    """Whether its lease ran out since: every call is back on the old code."""

    shadow: Optional[ShadowCounts] = None
    """What was found by running the new code beside the old on copies; None where nothing was."""
