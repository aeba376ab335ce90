"""Restarting the host's programs, so that they run what is on disk."""

from collections.abc import Sequence
from typing import Protocol

from homeostat.model.restart import RestartableProgram, RestartPlan


class Restarter(Protocol):
    """Whoever can restart programs: their supervisors, or a configured command."""

    def programs(self) -> Sequence[RestartableProgram]:
        """Return the programs that can be restarted now, each with its last restart."""
        ...

    def begin(self, program_id: str, request_id: str, plan: RestartPlan) -> RestartableProgram:
        """Begin to restart one program and return how it stands; the same request again begins nothing new.

        It goes on without the caller. `NotFound` (``no-such-program``) when the program, or whoever
        supervises it, is gone; `Conflict` (``restart-under-way``) while another restart of it is made;
        `Unavailable` or `OutcomeUnknown` when it could not be asked, or did not answer.
        """
        ...
