"""The ids of things, as distinct types, and what each may look like.

Ids are made at the edges (flows take an id factory), never here: this layer has no randomness.
"""

import re
from typing import NewType

from homeostat.core.errors import InvalidInput

ProposalId = NewType("ProposalId", str)
"""A lower-case UUID in its 36-character form."""

FindingId = NewType("FindingId", str)
"""``f-`` and the first 16 hex digits of the digest of the error template."""

ProcessId = NewType("ProcessId", str)
"""A UUID that one host process draws for itself when its agent starts; not the operating system's pid."""

ActorId = NewType("ActorId", str)
"""A pseudonym, ``person-`` or ``agent-`` and 12 hex digits; the name behind it can be erased."""

CommitId = NewType("CommitId", str)
"""A full, lower-case hexadecimal Git object name (40 or 64 digits)."""

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_PREFIX = re.compile(r"[0-9a-f][0-9a-f-]{3,35}")
_COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")


def parse_proposal_id(text: str) -> ProposalId:
    """Read a whole proposal id; raise `InvalidInput` when it is not one."""
    if not _UUID.fullmatch(text):
        raise InvalidInput("bad-proposal-id", f"{text[:60]!r} is not a proposal id")
    return ProposalId(text)


def is_id_prefix(text: str) -> bool:
    """Tell whether a person may mean a proposal id by this: at least 4 leading characters of one."""
    return _PREFIX.fullmatch(text) is not None


def parse_commit_id(text: str) -> CommitId:
    """Read a full Git object name; abbreviations are refused, because they may become ambiguous."""
    if not _COMMIT.fullmatch(text):
        raise InvalidInput("bad-commit-id", f"{text[:60]!r} is not a full commit id")
    return CommitId(text)
