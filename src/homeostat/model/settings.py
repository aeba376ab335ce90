"""Every setting, its default, its range and its words. The loader and the docs are driven by this.

Reading files and the environment is `homeostat.adapters.settings`; this module has no effects.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from types import MappingProxyType
from typing import Any


class Profile(StrEnum):
    STANDARD = "standard"
    DEV = "dev"
    PROD = "prod"
    TEST = "test"
    QUIET = "quiet"


class HmrMode(StrEnum):
    SAFE = "safe"
    AGGRESSIVE = "aggressive"


class Reaction(StrEnum):
    """What follows from something that a person may have meant."""

    GO_ON = "go_on"
    ASK = "ask"
    TAKE_BACK = "take_back"


class LogLevel(StrEnum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def setting(default: Any, doc: str, *, low: float | None = None, high: float | None = None) -> Any:
    """Declare one setting: its default, what it means, and its inclusive range."""
    return field(default=default, metadata={"doc": doc, "low": low, "high": high})


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSettings:
    """Table ``[host]``: the program under care."""

    python: str = setting(
        "", "The host's interpreter; empty: that of its virtual environment, else the one that runs the hub."
    )
    test_command: tuple[str, ...] = setting((), "How the host's tests are run, from the repository's root.")
    start_command: tuple[str, ...] = setting((), "How the host is started by `homeostat up` without a command.")
    deployed_branch: str = setting("", "The branch that runs; empty: the one that is checked out.")


@dataclass(frozen=True, slots=True, kw_only=True)
class HubSettings:
    """Table ``[hub]``."""

    bind: str = setting("127.0.0.1", "Address to listen on. Only loopback addresses are accepted.")
    port: int = setting(3001, "Port of the HTTP interface; 0: any free one.", low=0, high=65535)


@dataclass(frozen=True, slots=True, kw_only=True)
class HmrSettings:
    """Table ``[hmr]``: hot module reload (``AETHERRA_HMR_ENABLED``, ``_MODE``, ``_AUTO_RELOAD``)."""

    enabled: bool = setting(False, "Whether changes may be swapped into running processes.")
    mode: HmrMode = setting(
        HmrMode.SAFE,
        "`safe`, or `aggressive` (`force` is read so): takes live what has a risk, too, and names it; not in `prod`.",
    )
    timeout_s: float = setting(10.0, "How long one process may take over a swap.", low=0.1, high=300)
    auto_reload: bool = setting(
        False, "Whether what is saved in the checkout goes live at once, unproved; only in `dev` and `test`."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingSettings:
    """Table ``[findings]``."""

    floor: int = setting(3, "Occurrences of one error template that make a finding.", low=1, high=1_000_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofSettings:
    """Table ``[proof]``: limits of one run of the host's tests."""

    timeout_s: float = setting(300.0, "Wall time of one run.", low=1, high=7200)
    memory_mb: int = setting(2048, "Memory of one process of the run.", low=64, high=1_048_576)
    max_processes: int = setting(128, "Processes and threads at once in the run.", low=8, high=10_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservationSettings:
    """Table ``[observation]``: the watch after a change went live."""

    window_s: float = setting(3600.0, "How long an applied change is watched before it counts.", low=1, high=604_800)
    baseline_s: float = setting(
        600.0, "How much of the time before the change it is compared with.", low=1, high=86_400
    )
    min_requests: int = setting(
        30, "Requests after the change below which nothing is concluded.", low=1, high=1_000_000
    )
    max_rise: float = setting(0.25, "Relative rise of the error rate that is tolerated.", low=0, high=10)
    false_rollback: float = setting(
        0.01, "Chance of taking back a harmless change over the whole window (alpha).", low=1e-6, high=0.5
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CanarySettings:
    """Table ``[canary]``: trying a change on a share of the calls before it runs everywhere."""

    steps: tuple[int, ...] = setting(
        (10, 50),
        "Shares of the calls, in percent, on which a change is tried before all run it; none: it is not.",
        low=1,
        high=99,
    )
    step_s: float = setting(60.0, "How long a share is tried at least.", low=0.5, high=86_400)
    false_rollback: float = setting(
        0.01, "Chance of taking back a harmless change over the whole canary (alpha).", low=1e-6, high=0.5
    )
    key: str = setting(
        "", "What keeps the requests of one user together, as `header:x-user`; empty: each request goes by itself."
    )
    lease_s: float = setting(
        15.0, "After so long without the hub every process gives all calls back to the old code.", low=5, high=3600
    )
    quick_ms: float = setting(
        5.0, "Calls that take less than this are all quick: no difference between them counts.", low=0, high=60_000
    )
    max_s: float = setting(
        3600.0, "How long a share may be tried without a decision before a person is asked.", low=1, high=604_800
    )
    pure: tuple[str, ...] = setting(
        (), "Functions declared pure, as `shop/prices.py:total` (`*` is any text): new code first runs on copies."
    )
    shadow_calls: int = setting(
        100, "Calls of such functions that are compared before the first share.", low=1, high=1_000_000
    )
    shadow_differs: Reaction = setting(
        Reaction.ASK, "Where new code does otherwise on copies: `ask`, `go_on` or `take_back`."
    )
    shadow_raises: Reaction = setting(
        Reaction.TAKE_BACK, "Where new code raises on copies and the old does not: `take_back`, `ask` or `go_on`."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PrometheusQuery:
    """One ``[[detectors.prometheus]]``: what takes a change back when Prometheus answers so for some time."""

    name: str
    query: str
    """In PromQL; of several series the worst counts."""

    above: float | None = None
    below: float | None = None
    for_s: float = 60.0
    silence_is_harm: bool = False
    """Whether an answer without a value is harm. Else it is no evidence, and the change is held."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorSettings:
    """Table ``[detectors]``: what takes a change back because the whole service fares worse."""

    enabled: bool = setting(True, "Whether the service as a whole is watched, beside the judges of the change itself.")
    grace_s: float = setting(60.0, "How long it must fare worse before a change is taken back.", low=0, high=3600)
    health: float = setting(0.9, "Health (0 to 1) below which a change is taken back; 0: it is not.", low=0, high=1)
    health_drop: float = setting(
        0.1, "Fall of health against the time before that takes a change back; 1: none does.", low=0.01, high=1
    )
    error_rise: float = setting(
        0.25, "Relative rise of the error rate that is tolerated within the hour.", low=0, high=100
    )
    slo_availability: float = setting(
        0.0, "Objective: share of requests that do not fail, as 0.99; 0: there is none.", low=0, high=0.99999
    )
    slo_latency_ms: float = setting(
        0.0, "Objective: how long a request may take; rounded up to 1, 2, 5, 10 ... 10000; 0: none.", low=0, high=10_000
    )
    slo_latency_share: float = setting(
        0.95, "Objective: share of requests that take no longer than that.", low=0, high=0.99999
    )
    slo_within_s: float = setting(
        300.0, "How soon after a step of the change a breach begins that is its own.", low=1, high=86_400
    )
    false_alarm: float = setting(0.01, "Chance of error taken by each test of a detector (alpha).", low=1e-6, high=0.5)
    min_requests: int = setting(30, "Requests below which no health is told.", low=1, high=1_000_000)
    baseline_s: float = setting(
        300.0, "How much of the time before must have been watched for a comparison.", low=1, high=3600
    )
    prometheus_url: str = setting("", "Where Prometheus answers, as `http://127.0.0.1:9090`; empty: it is not asked.")
    prometheus: tuple[PrometheusQuery, ...] = setting(
        (), "Queries as `[[detectors.prometheus]]`, in the file only: see [CANARY](../CANARY.md#queries-to-prometheus)."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartSettings:
    """Table ``[restart]``: what to do about a change that cannot be swapped in."""

    automatic: bool = setting(False, "Whether the program is restarted by itself when a change waits for it.")
    command: tuple[str, ...] = setting(
        (), "What restarts the program in the place of a supervisor of ours, as `systemctl restart shop`."
    )
    health_path: str = setting("", "What the new process must answer with 2xx over plain HTTP, as `/health`.")
    timeout_s: float = setting(60.0, "How long the new process may take until it is well.", low=1, high=3600)
    drain_s: float = setting(30.0, "How long the old process may take to finish its requests.", low=0.5, high=3600)
    settle_s: float = setting(
        1.5, "How long the new process must stay well before the old one goes.", low=0.5, high=600
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfImprovementSettings:
    """Table ``[self_improvement]``: as ``config.json.self_improvement`` of the source document."""

    enabled: bool = setting(True, "Whether proposals may be applied at all.")
    batch_limit: int = setting(10, "Proposals in one batch-apply request.", low=1, high=10)
    require_approval: bool = setting(True, "A person approves every change; false is refused.")


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySettings:
    """Table ``[policy]``: additions only; the built-in rules cannot be removed."""

    forbidden_paths: tuple[str, ...] = setting((), "More paths or globs that no proposal may touch.")


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """Table ``[log]``: what the hub writes to its standard error."""

    level: LogLevel = setting(LogLevel.WARNING, "The least severe record that is written (`up -v` lowers it).")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings of one hub."""

    profile: Profile = setting(
        Profile.STANDARD, "Sets the defaults of the others, see below. In `prod` nobody approves their own proposal."
    )
    host: HostSettings = field(default_factory=HostSettings)
    hub: HubSettings = field(default_factory=HubSettings)
    hmr: HmrSettings = field(default_factory=HmrSettings)
    findings: FindingSettings = field(default_factory=FindingSettings)
    proof: ProofSettings = field(default_factory=ProofSettings)
    observation: ObservationSettings = field(default_factory=ObservationSettings)
    canary: CanarySettings = field(default_factory=CanarySettings)
    detectors: DetectorSettings = field(default_factory=DetectorSettings)
    restart: RestartSettings = field(default_factory=RestartSettings)
    self_improvement: SelfImprovementSettings = field(default_factory=SelfImprovementSettings)
    policy: PolicySettings = field(default_factory=PolicySettings)
    log: LogSettings = field(default_factory=LogSettings)


PROFILE_DEFAULTS: Mapping[Profile, Mapping[str, Any]] = MappingProxyType(
    {
        Profile.STANDARD: {},
        Profile.DEV: {
            "observation.window_s": 300.0,
            "observation.min_requests": 10,
            "canary.steps": (),
            "log.level": LogLevel.INFO,
        },
        Profile.PROD: {"observation.baseline_s": 3600.0, "observation.min_requests": 100},
        Profile.TEST: {
            "observation.window_s": 10.0,
            "observation.baseline_s": 30.0,
            "observation.min_requests": 10,
            "canary.steps": (),
            "proof.timeout_s": 60.0,
            "hub.port": 0,
        },
        Profile.QUIET: {"log.level": LogLevel.ERROR},
    }
)
"""What a profile sets where neither the file nor the environment does.

A profile changes how long and how much is looked at, never whether: proof, consent and the watch are
the same in all of them, and `prod` adds what `homeostat.rollout.consent` says. Only where nobody is served but
the developer there is no share of the calls that would tell anything.
"""


AUTO_RELOAD_IN = frozenset({Profile.DEV, Profile.TEST})
"""Where a person may let their saves go live: nobody is served there but the developer."""


def table_names() -> tuple[str, ...]:
    """Return the names of the tables of `Settings`, in order."""
    return tuple(item.name for item in fields(Settings) if item.name != "profile")
