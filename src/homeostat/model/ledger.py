"""The ledger's vocabulary: a draft, an entry, a signed head."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from homeostat.core.canonical_json import JsonValue
from homeostat.core.ids import ActorId


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryDraft:
    """What shall be recorded; the ledger gives it number, time and links."""

    kind: str
    """Dotted, past tense: ``proposal.approved``."""

    actor: ActorId
    subject: str
    body: Mapping[str, JsonValue]
    """Digests, ids and words; no text of hosts or people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEntry:
    """One entry as it was hashed. `entry_hash` covers every other field except the signature."""

    seq: int
    """From 1, without gaps."""

    at: datetime
    kind: str
    actor: ActorId
    subject: str
    body: Mapping[str, JsonValue]
    prev_hash: str
    """64 hex digits; zeros for the first entry."""

    entry_hash: str
    signature: str
    """Ed25519 over the head statement (size, entry_hash), base64."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerHead:
    """How long the ledger is and the hash of its last entry, signed."""

    size: int
    entry_hash: str
    signature: str

    def trailer(self) -> str:
        """The form that stands in a status commit: ``<size>:<entry_hash>``."""
        return f"{self.size}:{self.entry_hash}"
