"""Prometheus metrics under the documented names; ours beside them start with ``homeostat_``."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from homeostat.flows.deps import Deps


class HubMetrics:
    """Counters of this process, and gauges that are read from the store when somebody scrapes.

    What is not known is left out, never shown as healthy: ``aetherra_system_health`` and the other
    names of subsystems appear when those subsystems do.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.applies = Counter(
            "aetherra_selfimprove_apply",
            "Total apply attempts",
            ["status", "restart_required"],
            registry=self.registry,
        )
        self.apply_duration = Histogram(
            "aetherra_selfimprove_apply_duration_seconds", "Apply operation duration", registry=self.registry
        )
        self.hmr_success = Counter(
            "aetherra_selfimprove_hmr_success", "Successful HMR applications", registry=self.registry
        )
        self.hmr_error = Counter("aetherra_selfimprove_hmr_error", "Failed HMR applications", registry=self.registry)
        self.errors = Counter("homeostat_errors", "Errors of the hub itself", ["label"], registry=self.registry)
        self.ingested = Counter("homeostat_ingested", "Telemetry records", ["signal", "result"], registry=self.registry)
        self._errors_detected = Gauge(
            "aetherra_errors_detected", "Total errors detected in the host", registry=self.registry
        )
        self._proposals = Gauge("homeostat_proposals", "Proposals by state", ["state"], registry=self.registry)
        self._ledger = Gauge("homeostat_ledger_entries", "Length of the ledger", registry=self.registry)
        self._processes = Gauge("homeostat_host_processes", "Attached host processes", registry=self.registry)

    def render(self, deps: Deps) -> bytes:
        """Return the text exposition of everything, read now."""
        counts = deps.findings.error_counts()
        self._errors_detected.set(sum(counts.values()))
        for state, count in deps.proposals.count_by_state().items():
            self._proposals.labels(state.value).set(count)
        self._ledger.set(deps.ledger.head().size)
        self._processes.set(sum(1 for process in deps.live.processes() if process.connected))
        return generate_latest(self.registry)
