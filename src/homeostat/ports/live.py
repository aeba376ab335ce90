"""The host's running processes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from homeostat.core.ids import ProcessId
from homeostat.model.canary import Share
from homeostat.model.process import HostProcess, LiveResult, LoadedFiles


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleChange:
    """One Python file of a live change: the source that must be loaded, and the one to put in its place."""

    path: str
    """Relative to the repository."""

    old_source: str
    new_source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveChange:
    """A change for running processes. The same id again is answered as the first time."""

    id: str
    modules: tuple[ModuleChange, ...]
    mode: str
    """``safe`` or ``aggressive``."""


class LiveProcesses(Protocol):
    """Each method raises `Unavailable` (``hub-stopping``) when the hub is ending: nothing follows from that."""

    def processes(self) -> Sequence[HostProcess]:
        """Return every attached process, those whose connection was lost within the lease too."""
        ...

    def prepare(self, process_id: ProcessId, change: LiveChange, *, timeout_s: float) -> LiveResult:
        """Ask whether it could be swapped: plan, verify the loaded source, compile. Changes nothing.

        The answer says too which of the two sources runs there (`LiveResult.runs`), whatever the plan is
        and whatever was swapped before: a module may have been imported since.
        """
        ...

    def swap(
        self, process_id: ProcessId, change: LiveChange, *, share: Share | None = None, timeout_s: float
    ) -> LiveResult:
        """Exchange the functions, all or none. Of what runs the new source already nothing is exchanged.

        Once more for a change in force exchanges what was imported with the old source since. With a `share`
        only that share of the calls runs the new code, until the lease ends: then all run the old again. The
        same change once more moves the share and begins the lease anew; without a `share` all calls run it.
        """
        ...

    def rollback(self, process_id: ProcessId, change_id: str, *, timeout_s: float) -> LiveResult:
        """Put back what `swap` exchanged, for a share of the calls or all.

        SWAPPED also when this change was not in force (any more).
        """
        ...

    def wait_until_connected(self, process_ids: Sequence[str], *, timeout_s: float) -> bool:
        """Block until each of these is connected or known to have ended; False when the time ran out.

        Used after a restart of the hub: the processes are still there and dial in again. One that was lost
        for so long that it is listed no more has not ended for all that is known.
        """
        ...

    def wait_until_gathered(self, *, timeout_s: float) -> bool:
        """Block until every program that ran before this hub has had the time to dial in; False when the time ran out.

        Until then `processes` may leave out some that are there. It is a matter of seconds after the
        hub's start, and of nothing later.
        """
        ...


class EditedProcesses(Protocol):
    """What it takes beside `LiveProcesses` to follow files that a person edits."""

    def loaded(self, process_id: ProcessId, *, timeout_s: float) -> LoadedFiles | None:
        """Ask what the process has loaded of the repository; None when it did not answer."""
        ...

    def settle(self, process_id: ProcessId, change_id: str, *, timeout_s: float) -> bool:
        """Let a change that was swapped in stand for good: it is no change in force any more. False: not answered.

        It cannot be taken back then. An earlier change of its files can, where what runs is that one's new source.
        """
        ...
