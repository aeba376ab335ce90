"""Starting the short durable workflow that an event calls for."""

from typing import Protocol

from homeostat.core.ids import ProposalId


class Starter(Protocol):
    """Each method returns at once, and starts a workflow whenever it is told: the row says what is left to do.

    `retry` marks a start by recovery, which does nothing while a workflow of the proposal is at work.
    """

    def submitted(self, proposal_id: ProposalId, *, retry: bool = False) -> None: ...

    def apply_asked(self, proposal_id: ProposalId, *, retry: bool = False) -> None: ...

    def revert_asked(self, proposal_id: ProposalId, *, retry: bool = False) -> None: ...
