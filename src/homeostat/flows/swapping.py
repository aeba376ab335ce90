"""Swapping a change into every running process, all or none."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from homeostat.core.errors import Unavailable
from homeostat.core.ids import ProcessId
from homeostat.flows.bringing_in_line import is_gone
from homeostat.flows.deps import Deps
from homeostat.model.process import HostProcess, LiveOutcome, LiveResult, RunningSource
from homeostat.ports.live import LiveChange


@dataclass(frozen=True, slots=True, kw_only=True)
class SwappedAll:
    """Every attached process runs the change."""

    processes: Mapping[ProcessId, LiveResult]

    @property
    def functions(self) -> list[str]:
        """What was exchanged or added in any of them, in order."""
        return sorted({name for item in self.processes.values() for name in item.functions})

    @property
    def slowest_us(self) -> int:
        return max((item.swap_us or 0 for item in self.processes.values()), default=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class NotSwapped:
    """No process runs the change: what had been exchanged was put back."""

    reason: str
    needs_restart: bool
    """Else it was tried and failed."""

    passing: bool = False
    """Whether it may go another time: a process did not answer, or was just loading a file of the change."""


def swap_into_all(deps: Deps, wanted: LiveChange, *, quick: bool = False) -> SwappedAll | NotSwapped:
    """Swap into every attached process, or into none. `Unavailable` (``not-put-back``) when one may still run it.

    `quick`: what has to go into one process only is not prepared before: it is there sooner, and the process stands
    still for longer (it is looked through while calls wait). It is verified all the same.
    A process that starts meanwhile has read the new files; one that attached between the listing
    and the files is caught by listing again until nobody is left out. One that ends meanwhile is passed over where
    others take the change: a program that watches its files ends its serving process as soon as they change. A second
    one is not, since it may be the swap that ends them.
    """
    lost = [item for item in deps.live.processes() if not item.connected]
    if lost:
        # They were waited for. What runs there cannot be exchanged, and all or none is the rule.
        reason = "; ".join(f"process {item.pid} cannot be reached" for item in lost)
        return NotSwapped(reason=reason, needs_restart=True, passing=True)
    swapped: dict[ProcessId, LiveResult] = {}
    ended: NotSwapped | None = None
    while True:
        waiting = [item for item in deps.live.processes() if item.connected and item.id not in swapped]
        if not waiting:
            return ended if ended is not None and not swapped else SwappedAll(processes=swapped)
        results = (
            _swap_one(deps, wanted, waiting[0]) if quick and len(waiting) == 1 else _swap_all(deps, wanted, waiting)
        )
        swapped |= {item.process_id: item for item in results if item.outcome is LiveOutcome.SWAPPED}
        bad = results[-1]
        if bad.outcome is LiveOutcome.SWAPPED:
            continue
        failed = NotSwapped(
            reason=f"process {_pid(waiting, bad)}: {bad.detail}",
            needs_restart=bad.outcome is LiveOutcome.RESTART_REQUIRED,
            passing=bad.outcome is LiveOutcome.UNREACHABLE or bad.runs is RunningSource.LOADING,
        )
        if ended is not None or not _has_ended(deps, bad):
            _put_back(deps, wanted.id, [*swapped, *(item.id for item in waiting)])  # or `Unavailable`
            return failed
        ended = failed


def _swap_one(deps: Deps, wanted: LiveChange, process: HostProcess) -> list[LiveResult]:
    timeout_s = deps.settings.hmr.timeout_s
    result = deps.live.swap(process.id, wanted, timeout_s=timeout_s)
    if result.outcome is LiveOutcome.FAILED:
        prepared = deps.live.prepare(process.id, wanted, timeout_s=timeout_s)
        if prepared.outcome is not LiveOutcome.SWAPPED:  # it was not what was tried that failed
            result = _as_not_prepared(prepared)
    return [result]


def _as_not_prepared(prepared: LiveResult) -> LiveResult:
    # Nothing was tried yet: what runs there is not what the change was made from, and only
    # a restart brings it to the files on disk.
    if prepared.outcome is LiveOutcome.FAILED:
        return replace(prepared, outcome=LiveOutcome.RESTART_REQUIRED)
    return prepared


def _swap_all(deps: Deps, wanted: LiveChange, waiting: Sequence[HostProcess]) -> list[LiveResult]:
    """Prepare everywhere, and only when all could, swap everywhere; the last result is the first bad one."""
    timeout_s = deps.settings.hmr.timeout_s
    for process in waiting:
        prepared = deps.live.prepare(process.id, wanted, timeout_s=timeout_s)
        if prepared.outcome is not LiveOutcome.SWAPPED:
            return [_as_not_prepared(prepared)]
    results = []
    for process in waiting:
        results.append(deps.live.swap(process.id, wanted, timeout_s=timeout_s))
        if results[-1].outcome is not LiveOutcome.SWAPPED:
            break
    return results


def _has_ended(deps: Deps, result: LiveResult) -> bool:
    """Tell whether a process gave no answer because it has ended; one that was only lost is waited for."""
    if result.outcome is not LiveOutcome.UNREACHABLE:
        return False
    settled = deps.live.wait_until_connected([result.process_id], timeout_s=deps.settings.hmr.timeout_s)
    return settled and all(item.id != result.process_id for item in deps.live.processes())


def _put_back(deps: Deps, change_id: str, processes: Sequence[ProcessId]) -> None:
    """Ask every process that may have swapped to take it back; `Unavailable` while one may still run the change.

    Whoever asked for it goes on from there. One that is gone has nothing to take back.
    """
    answers = [deps.live.rollback(item, change_id, timeout_s=deps.settings.hmr.timeout_s) for item in processes]
    listed = {process.id: process.pid for process in deps.live.processes()}
    left = [item for item in answers if item.outcome is not LiveOutcome.SWAPPED]
    left = [item for item in left if item.process_id in listed or not is_gone(deps, item.process_id)]
    if left:
        names = "; ".join(f"process {listed.get(item.process_id, item.process_id)}: {item.detail}" for item in left)
        raise Unavailable("not-put-back", f"the change may be still live in {names}")


def _pid(processes: Sequence[HostProcess], result: LiveResult) -> str:
    return next((str(item.pid) for item in processes if item.id == result.process_id), result.process_id)
