"""Starting the short durable workflow that an event calls for."""

from typing import Protocol

from homeostat.core.ids import ProposalId


class Starter(Protocol):
    """Each method returns at once; the same event for the same proposal twice starts one workflow.

    `retry` marks a start by recovery: it makes a new workflow even where an earlier one ended.
    """

    def submitted(self, proposal_id: ProposalId, *, retry: bool = False) -> None: ...

    def apply_asked(self, proposal_id: ProposalId, *, retry: bool = False) -> None: ...

    def revert_asked(self, proposal_id: ProposalId, *, retry: bool = False) -> None: ...
