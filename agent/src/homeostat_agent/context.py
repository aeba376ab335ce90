"""Where the agent is: what a sender says about this process, beside what was captured in it."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple, Optional
else:
    from homeostat_agent.record import NamedTuple


class HostContext(NamedTuple):
    """One host process. A fork makes a new process: build a new context for it."""

    repository: str
    """Absolute path of the host's checkout; only frames inside it are ever reported."""

    commit: Optional[str]
    """Full id of the commit that was checked out when the process started; None when that is not known."""

    service_name: str
    process_id: str
    """The UUID that this process drew for itself, not the operating system's pid."""
