"""The ledger's vocabulary: a draft, an entry, a signed head."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

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


class LedgerEntry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One entry as it was hashed, in the texts that were hashed: a hundred thousand are read at once.

    `entry_hash` covers every other field except the signature; the next entry's covers that too.
    """

    seq: int
    """From 1, without gaps."""

    at_text: str
    """UTC with microseconds, ``2026-01-31T09:30:00.000000Z``."""

    kind: str
    actor: ActorId
    subject: str
    body_text: str
    """Canonical JSON of an object."""

    prev_hash: str
    """64 hex digits; zeros for the first entry."""

    entry_hash: str
    signature: str
    """Ed25519 over the head statement (size, entry_hash), base64."""

    @property
    def at(self) -> datetime:
        return datetime.fromisoformat(self.at_text)

    @property
    def body(self) -> Mapping[str, JsonValue]:
        """Return the body, read anew at each call, so that nobody can change the entry by it.

        Empty where the text is no JSON object: then somebody altered it, which is for the chain to say.
        """
        try:
            return _decode_body(self.body_text)
        except (ValueError, RecursionError):
            return {}


_decode_body = msgspec.json.Decoder(dict[str, Any]).decode


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerHead:
    """How long the ledger is and the hash of its last entry, signed."""

    size: int
    entry_hash: str
    signature: str

    def trailer(self) -> str:
        """The form that stands in a status commit: ``<size>:<entry_hash>``."""
        return f"{self.size}:{self.entry_hash}"
