"""What a detector may say of a change."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias


@dataclass(frozen=True, slots=True, kw_only=True)
class Quiet:
    """Nothing speaks against the change."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """The service fares worse, and it is not known yet whether it is more than a passing trouble of the usual kind."""

    since: datetime
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fired:
    """Take it back."""

    since: datetime
    reason: str
    figures: Mapping[str, float] = field(default_factory=dict)
    """What it rests on, by name; in the ledger beside the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoEvidence:
    """It cannot tell, and says why: neither health nor harm."""

    reason: str
    asks: bool = False
    """Somebody configured it to be asked before a change passes: so it holds one up. The others do not."""


Result: TypeAlias = Quiet | Holding | Fired | NoEvidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """One detector, and what it says."""

    name: str
    result: Result
