"""How much a change may do harm, in figures, and what consent that asks for."""

from dataclasses import dataclass
from enum import IntEnum


class ConsentLevel(IntEnum):
    """Who has to agree, after the source plan's "Consent Levels"."""

    NONE = 0
    """No file changes: written down, and that is all."""

    LOW = 1
    """Talk and tests (docs, comments, formatting): may go by itself where the settings say so."""

    MEDIUM = 2
    """Logic: a person approves, or a signed gate artefact does in `autonomous`."""

    HIGH = 3
    """Runs commands, touches what guards or builds: a person, and never anything else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskFactor:
    """One reason for a risk, and how much of it."""

    name: str
    share: float
    """From 0 to 1, what this alone would make the risk."""

    says: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Risk:
    """A change's risk, from 0 to 1, with every share of it: ``1 - product of (1 - share)``."""

    score: float
    consent: ConsentLevel
    factors: tuple[RiskFactor, ...]
    """The greatest first; those that say nothing against the change are left out."""
