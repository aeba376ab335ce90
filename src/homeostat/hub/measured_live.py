"""Counts what is asked of running processes, under the source document's names."""

from collections.abc import Sequence

from homeostat.core.ids import ProcessId
from homeostat.hub.metrics import HubMetrics
from homeostat.model.canary import Share
from homeostat.model.process import HostProcess, LiveOutcome, LiveResult
from homeostat.ports.live import LiveChange, LiveProcesses

ALL_CALLS = "all_calls"
SHARE = "share"


class MeasuredLive:
    """`homeostat.ports.live.LiveProcesses` that counts. The target is what was asked for: all calls, or a share.

    A lease that is renewed, and a rollback that found nothing to take back, count as nothing.
    """

    def __init__(self, live: LiveProcesses, metrics: HubMetrics) -> None:
        self._live = live
        self._metrics = metrics
        self._on_a_share: set[tuple[ProcessId, str]] = set()

    def processes(self) -> Sequence[HostProcess]:
        return self._live.processes()

    def prepare(self, process_id: ProcessId, change: LiveChange, *, timeout_s: float) -> LiveResult:
        return self._live.prepare(process_id, change, timeout_s=timeout_s)

    def swap(
        self, process_id: ProcessId, change: LiveChange, *, share: Share | None = None, timeout_s: float
    ) -> LiveResult:
        known = share is not None and self._is_in_force(process_id, change.id)
        result = self._live.swap(process_id, change, share=share, timeout_s=timeout_s)
        if not known:
            target = ALL_CALLS if share is None else SHARE
            self._metrics.attempts.labels(target).inc()
            if result.outcome is LiveOutcome.SWAPPED:
                self._metrics.successes.labels(target).inc()
                self._note(process_id, change.id, on_a_share=share is not None)
                if result.swap_us is not None:
                    self._metrics.swap_duration.labels(target).observe(result.swap_us / 1000)
        return result

    def rollback(self, process_id: ProcessId, change_id: str, *, timeout_s: float) -> LiveResult:
        known = self._is_in_force(process_id, change_id)
        result = self._live.rollback(process_id, change_id, timeout_s=timeout_s)
        if known and result.outcome is LiveOutcome.SWAPPED:
            on_a_share = (process_id, change_id) in self._on_a_share
            self._metrics.rollbacks.labels(SHARE if on_a_share else ALL_CALLS).inc()
            self._note(process_id, change_id, on_a_share=False)
        return result

    def wait_until_connected(self, process_ids: Sequence[str], *, timeout_s: float) -> bool:
        return self._live.wait_until_connected(process_ids, timeout_s=timeout_s)

    def wait_until_gathered(self, *, timeout_s: float) -> bool:
        return self._live.wait_until_gathered(timeout_s=timeout_s)

    def _note(self, process_id: ProcessId, change_id: str, *, on_a_share: bool) -> None:
        listed = {item.id for item in self._live.processes()}
        others = {item for item in self._on_a_share if item[0] in listed and item != (process_id, change_id)}
        self._on_a_share = others | ({(process_id, change_id)} if on_a_share else set())

    def _is_in_force(self, process_id: ProcessId, change_id: str) -> bool:
        return any(item.id == process_id and change_id in item.changes for item in self._live.processes())
