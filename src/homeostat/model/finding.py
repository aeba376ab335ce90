"""Errors of a host, grouped by template, and the findings made of them."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import msgspec

from homeostat.core.digests import Digest
from homeostat.core.ids import CommitId, FindingId

AGENTS = "agents"
"""Source of the errors that agents reported which proved their key; of others it is the id of their token's actor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeLocation:
    """Where in the host's repository: the innermost frame of the error that lies inside it."""

    path: str
    """Relative to the repository, with forward slashes; empty when no frame lies inside."""

    function: str
    line: int


class ErrorOccurrence(msgspec.Struct, frozen=True, kw_only=True):
    """One cleaned error record of a host, ready to be grouped. Nothing raw is in it. Thousands are made in a second."""

    at: datetime
    severity: str
    """``warning|error|critical``."""

    logger: str
    exception_type: str
    """Qualified name; empty for a log record without an exception."""

    message: str
    location: CodeLocation
    commit: CommitId | None
    process_id: str
    trace: tuple[CodeLocation, ...] = ()
    route: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorGroup:
    """All occurrences of one template."""

    key: Digest
    exception_type: str
    message_template: str
    location: CodeLocation
    severity: str
    count: int
    first_at: datetime
    last_at: datetime
    commit: CommitId | None
    """Commit that ran when it last occurred."""

    samples: tuple[ErrorOccurrence, ...]


class FindingState(StrEnum):
    OPEN = "open"
    RESOLVED = "resolved"
    """A change was implemented for it and its errors were observed to have stopped, or to have become rarer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupStanding:
    """How a group stands after it was counted: as much as is needed to see whether there is anything to decide."""

    severity: str
    count: int
    finding_state: FindingState | None
    """None: no finding was made of it."""

    finding_severity: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """An error group above the floor, with its evidence."""

    id: FindingId
    state: FindingState
    title: str
    severity: str
    group: ErrorGroup
    found_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What came of occurrences that were counted."""

    groups: tuple[ErrorGroup, ...] = ()
    """Those of the touched groups that were wanted, as they stand now."""

    findings: tuple[Finding, ...] = ()
    """Findings that are new, or were resolved and are open again."""
