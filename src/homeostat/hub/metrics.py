"""Prometheus metrics under the documented names; ours beside them start with ``homeostat_``."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from homeostat.core.errors import HomeostatError
from homeostat.flows.deps import Deps
from homeostat.model.proposal import ProposalState

_NO_ERRORS = frozenset({"warning"})
"""Severities of records that are kept, and are no errors."""


_SWAP_MS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 500)


class HubMetrics:
    """Counters of this process, and what is read from the store when somebody scrapes.

    What is not known is left out, never shown as healthy: ``aetherra_system_health`` and the other
    names of subsystems appear when those subsystems do, and without its store a hub shows only what
    it has counted itself.
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
        self.attempts = Counter("aetherra_hmr_attempts", "Swaps asked of processes", ["target"], registry=self.registry)
        self.successes = Counter("aetherra_hmr_successes", "Swaps that were done", ["target"], registry=self.registry)
        self.rollbacks = Counter("aetherra_hmr_rollbacks", "Swaps taken back", ["target"], registry=self.registry)
        self.swap_duration = Histogram(
            "aetherra_hmr_swap_duration_ms",
            "Time in which functions were exchanged, in a process",
            ["target"],
            buckets=_SWAP_MS,
            registry=self.registry,
        )
        self.errors = Counter("homeostat_errors", "Errors of the hub itself", ["label"], registry=self.registry)
        self.ingested = Counter("homeostat_ingested", "Telemetry records", ["signal", "result"], registry=self.registry)

    def render(self, deps: Deps) -> bytes:
        """Return the text exposition of everything, read now."""
        try:
            known = _errors_detected(deps) + _gauges(deps)
        except HomeostatError:
            known = b""
        return generate_latest(self.registry) + known


def _errors_detected(deps: Deps) -> bytes:
    """Return the one counter whose documented name has no ``_total``, which the library would add."""
    counts = deps.findings.error_counts()
    total = sum(count for severity, count in counts.items() if severity not in _NO_ERRORS)
    lines = (
        "# HELP aetherra_errors_detected Total errors detected in the host",
        "# TYPE aetherra_errors_detected counter",
        f"aetherra_errors_detected {float(total)}",
    )
    return ("\n".join(lines) + "\n").encode("ascii")


def _gauges(deps: Deps) -> bytes:
    counts = deps.proposals.count_by_state()
    proposals = GaugeMetricFamily("homeostat_proposals", "Proposals by state", labels=["state"])
    for state in ProposalState:
        proposals.add_metric([state.value], counts.get(state, 0))
    connected = sum(1 for process in deps.live.processes() if process.connected)
    families = (
        proposals,
        GaugeMetricFamily("homeostat_ledger_entries", "Length of the ledger", value=deps.ledger.head().size),
        GaugeMetricFamily("homeostat_host_processes", "Attached host processes", value=connected),
    )
    registry = CollectorRegistry()
    registry.register(_Known(families))
    return generate_latest(registry)


class _Known(Collector):
    def __init__(self, families: tuple[Metric, ...]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        yield from self._families
