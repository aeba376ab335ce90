"""The variables of the source documents (``AETHERRA_*``), and what becomes of each here.

Those that name a setting of ours are honoured. Of the others, one that would *loosen* something is said
and left alone; one that would *tighten* something is refused while it asks for that, because going on
would allow what it forbids. One that belongs to a part which is not there is said to do nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

FALSE_WORDS = frozenset({"0", "false", "no", "off", ""})


@dataclass(frozen=True, slots=True)
class Honoured:
    """It sets this setting."""

    setting: str


@dataclass(frozen=True, slots=True)
class TellsWhere:
    """It says where things are, as this variable of ours does."""

    variable: str


@dataclass(frozen=True, slots=True)
class Tightens:
    """It asks for a protection that this version does not have; refused unless its value is a no."""

    asks: str
    instead: str
    zero_asks_too: bool = False
    """Whether 0 is a limit like any other, and not a no."""


@dataclass(frozen=True, slots=True)
class Loosens:
    """It asks for something that is never done here; said unless its value is a no."""

    instead: str


@dataclass(frozen=True, slots=True)
class NothingReadsIt:
    """It belongs to a part that is not there."""

    part: str


Treatment = Honoured | TellsWhere | Tightens | Loosens | NothingReadsIt

_APPROVED = "every change is still approved by a person, digest by digest"
_GUARDS = Tightens("asks for a limit on how often things are done", _APPROVED, zero_asks_too=True)
_INTEGRATION = NothingReadsIt("self-incorporation")
_KERNEL = NothingReadsIt("action kernel")
_AUDIT_FILE = Loosens("live changes stand in the ledger, see `homeostat verify`")

DOCUMENTED: Mapping[str, Treatment] = MappingProxyType(
    {
        "AETHERRA_PROFILE": Honoured("profile"),
        "AETHERRA_HMR_ENABLED": Honoured("hmr.enabled"),
        "AETHERRA_HMR_MODE": Honoured("hmr.mode"),
        "AETHERRA_LOG_LEVEL": Honoured("log.level"),
        "AETHERRA_QUIET": Honoured("profile"),
        "AETHERRA_HMR_AUTO_RELOAD": Honoured("hmr.auto_reload"),
        "AETHERRA_HMR_STRICT": Tightens("asks that only signed sources are swapped in", _APPROVED),
        "AETHERRA_HMR_ALLOWED_SOURCES": Tightens("asks for a list of sources that may be swapped in", _APPROVED),
        "AETHERRA_HMR_AUDIT_PATH": _AUDIT_FILE,
        "AETHERRA_HMR_AUDIT_MAX_BYTES": _AUDIT_FILE,
        "AETHERRA_HMR_AUDIT_MAX_BACKUPS": _AUDIT_FILE,
        "AETHERRA_SELFINC_STRICT": Tightens("asks that only signed proposals are accepted", _APPROVED),
        "AETHERRA_NET_STRICT": Tightens(
            "asks for an allow-list of the network", "the hub opens no connection and proofs have no network"
        ),
        "AETHERRA_GUARD_POLICY_PATH": _GUARDS,
        "AETHERRA_GUARD_INTEGRATION_PER_HOUR": _GUARDS,
        "AETHERRA_GUARD_ACTUATIONS_PER_COMPONENT_PER_MIN": _GUARDS,
        "AETHERRA_GUARD_ROLLBACKS_PER_HOUR": _GUARDS,
        "AETHERRA_REQUIRE_CAPABILITIES": Tightens("asks for capability grants", "a bot may read and propose, no more"),
        "AETHERRA_STATE_DIR": TellsWhere("HOMEOSTAT_STATE_DIR"),
        "AETHERRA_SELFINC_ENABLED": _INTEGRATION,
        "AETHERRA_SELFINC_ROOTS": _INTEGRATION,
        "AETHERRA_SELFINC_MAX_MB": _INTEGRATION,
        "AETHERRA_NIGHT_START_HOUR": _INTEGRATION,
        "AETHERRA_NIGHT_END_HOUR": _INTEGRATION,
        "AETHERRA_NIGHT_TZ": _INTEGRATION,
        "AETHERRA_NIGHT_UTC": _INTEGRATION,
        "AETHERRA_ETHICS_PROFILE": _INTEGRATION,
        "AETHERRA_ETHICS_THRESHOLD": _INTEGRATION,
        "AETHERRA_KERNEL_QSIZE_HIGH": _KERNEL,
        "AETHERRA_KERNEL_QSIZE_NORMAL": _KERNEL,
        "AETHERRA_KERNEL_QSIZE_BACKGROUND": _KERNEL,
        "AETHERRA_KERNEL_DLQ": _KERNEL,
        "AETHERRA_KERNEL_DLQ_PATH": _KERNEL,
        "AETHERRA_KERNEL_DLQ_MAX": _KERNEL,
        "AETHERRA_KERNEL_RETRY_MAX": _KERNEL,
        "AETHERRA_KERNEL_RETRY_BASE_DELAY_MS": _KERNEL,
        "AETHERRA_KERNEL_TASK_DEFAULT_TTL_SEC": _KERNEL,
        "AETHERRA_REGISTRY_HEARTBEAT_SEC": NothingReadsIt("service registry"),
        "AETHERRA_REGISTRY_STALE_SEC": NothingReadsIt("service registry"),
    }
)


def is_no(text: str) -> bool:
    """Tell whether the text of a variable says no."""
    return text.strip().lower() in FALSE_WORDS
