"""The hash chain of the ledger: how an entry is made, encoded, and checked again.

Each entry carries the hash of the one before it, and a signature over its own number and hash. So
whoever does not hold the key can neither append an entry nor alter one; that entries at the *end*
are gone is not seen from the chain alone, and is the business of `homeostat.audit.head`.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TypeAlias

import msgspec

from homeostat.core import canonical_json
from homeostat.core.canonical_json import JsonValue
from homeostat.core.errors import Bug, InvalidInput
from homeostat.model.ledger import EntryDraft, LedgerEntry, LedgerHead

FORMAT = 1
ZERO_HASH = "0" * 64
EMPTY_HEAD = LedgerHead(size=0, entry_hash=ZERO_HASH, signature="")

MAX_BODY_BYTES = 64 * 1024
MAX_SUBJECT_CHARS = 500

_KIND = re.compile(r"[a-z][a-z0-9_-]*(\.[a-z][a-z0-9_-]*)+")
_NO_OFFSET = timedelta(0)

# The same bytes as `canonical_json.encode` for every value that has a canonical form (a property
# test holds the two together), at a tenth of the time; `append` lets nothing else in.
_encode = msgspec.json.Encoder(order="deterministic").encode


class ChainFault(StrEnum):
    """What does not fit at the first bad entry."""

    MALFORMED = "malformed"
    NUMBER = "number"
    LINK = "link"
    HASH = "hash"
    SIGNATURE = "signature"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainIntact:
    """Every entry that was given fits. `checked` may be 0: whether that is right is not said here."""

    head: LedgerHead
    checked: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainBroken:
    """The first entry that does not fit; nothing after it was looked at."""

    seq: int
    """The number that the entry must have had, from its place."""

    fault: ChainFault
    detail: str
    intact: LedgerHead
    """The head up to which everything fits."""


ChainReport: TypeAlias = ChainIntact | ChainBroken


def utc_text(at: datetime) -> str:
    """Write a time as UTC with microseconds, ``2026-01-31T09:30:00.000000Z``; a naive one is a `Bug`."""
    offset = at.utcoffset()
    if offset is None:
        raise Bug("naive-time", "a time without a zone cannot be recorded")
    if offset != _NO_OFFSET:
        at = at.astimezone(UTC)
    return f"{at.isoformat(timespec='microseconds')[:26]}Z"


def parse_utc_text(text: str) -> datetime:
    """Read what `utc_text` wrote; any other spelling of the same time is refused with `ValueError`."""
    at = datetime.fromisoformat(text)
    if at.utcoffset() != _NO_OFFSET or utc_text(at) != text:
        raise ValueError(f"{text[:40]!r} is not a UTC time with microseconds")
    return at


def entry_bytes(entry: LedgerEntry) -> bytes:
    """Return the canonical JSON of everything in the entry except its own hash and signature.

    `entry_hash` is the plain SHA-256 of these bytes. They are also the leaf data of the Merkle tree
    to come: its leaf hash is ``SHA-256(0x00 || entry_bytes(entry))`` as RFC 6962 section 2.1 has it,
    so that inclusion proofs can be made for entries that exist today.
    """
    return _encode(
        {
            "actor": entry.actor,
            "at": utc_text(entry.at),
            "body": entry.body,
            "format": FORMAT,
            "kind": entry.kind,
            "prev_hash": entry.prev_hash,
            "seq": entry.seq,
            "subject": entry.subject,
        }
    )


def head_statement(size: int, entry_hash: str) -> bytes:
    """Return what is signed for each entry; its first line keeps it apart from all else the key signs."""
    return f"homeostat-ledger-head/v1\n{size}\n{entry_hash}\n".encode("ascii", "backslashreplace")


def append(head: LedgerHead, draft: EntryDraft, *, at: datetime, sign: Callable[[bytes], str]) -> LedgerEntry:
    """Make the entry that follows `head`: numbered, linked, hashed, signed. It is not stored here.

    `at` is what the clock said; it may be earlier than the entry before, because clocks are set back.
    `InvalidInput` when the draft's body has no canonical JSON or is larger than `MAX_BODY_BYTES`.
    """
    _check_draft(draft)
    encoded = canonical_json.encode(dict(draft.body))
    if len(encoded) > MAX_BODY_BYTES:
        raise InvalidInput("entry-too-large", f"the body of a ledger entry has at most {MAX_BODY_BYTES} bytes")
    # What is kept is what a reader will get back: no tuples, no mapping that someone may still change.
    body: Mapping[str, JsonValue] = msgspec.json.decode(encoded)
    bare = LedgerEntry(
        seq=head.size + 1,
        at=at.astimezone(UTC) if at.utcoffset() is not None else at,
        kind=draft.kind,
        actor=draft.actor,
        subject=draft.subject,
        body=body,
        prev_hash=head.entry_hash,
        entry_hash="",
        signature="",
    )
    entry_hash = hashlib.sha256(entry_bytes(bare)).hexdigest()
    return replace(bare, entry_hash=entry_hash, signature=sign(head_statement(bare.seq, entry_hash)))


def head_of(entry: LedgerEntry) -> LedgerHead:
    """Return the head of a ledger that ends with this entry."""
    return LedgerHead(size=entry.seq, entry_hash=entry.entry_hash, signature=entry.signature)


def verify_integrity(
    entries: Iterable[LedgerEntry],
    *,
    verify: Callable[[bytes, str], bool],
    start: LedgerHead | None = None,
    every_signature: bool = True,
) -> ChainReport:
    """Check entries in their order, from the first or from what follows `start` (which is trusted).

    Checked are the numbers, the links, the hashes and the signatures; times are not, a clock that
    steps back is no tampering. With ``every_signature=False`` only the last entry's signature is
    checked: it covers the content of all before it, but not their own signature fields.
    """
    head = start or EMPTY_HEAD
    last_signed = head
    checked = 0
    for entry in entries:
        fault = _check_entry(entry, head)
        if fault is None and every_signature:
            fault = _check_signature(entry, verify)
        if fault is not None:
            return ChainBroken(seq=head.size + 1, fault=fault[0], detail=fault[1], intact=head)
        head = head_of(entry)
        checked += 1
    if checked and not every_signature and not verify(head_statement(head.size, head.entry_hash), head.signature):
        return ChainBroken(
            seq=head.size,
            fault=ChainFault.SIGNATURE,
            detail=f"entry {head.size}: the signature is not of this ledger's key",
            intact=last_signed,
        )
    return ChainIntact(head=head, checked=checked)


def _check_entry(entry: LedgerEntry, head: LedgerHead) -> tuple[ChainFault, str] | None:
    expected = head.size + 1
    if entry.seq != expected:
        return ChainFault.NUMBER, f"entry {expected} is missing: entry {entry.seq} stands in its place"
    if entry.prev_hash != head.entry_hash:
        return ChainFault.LINK, f"entry {expected} does not follow the entry before it: prev_hash differs"
    try:
        leaf = entry_bytes(entry)
    except (TypeError, ValueError, OverflowError, RecursionError, Bug) as error:
        return ChainFault.MALFORMED, f"entry {expected} cannot be encoded: {type(error).__name__}"
    if hashlib.sha256(leaf).hexdigest() != entry.entry_hash:
        return ChainFault.HASH, f"entry {expected} was altered: its content does not match its entry_hash"
    return None


def _check_signature(entry: LedgerEntry, verify: Callable[[bytes, str], bool]) -> tuple[ChainFault, str] | None:
    if verify(head_statement(entry.seq, entry.entry_hash), entry.signature):
        return None
    return ChainFault.SIGNATURE, f"entry {entry.seq}: the signature is not of this ledger's key"


def _check_draft(draft: EntryDraft) -> None:
    if not _KIND.fullmatch(draft.kind):
        raise InvalidInput("bad-entry-kind", f"{draft.kind[:60]!r} is not a dotted lower-case kind")
    if not draft.actor or len(draft.subject) > MAX_SUBJECT_CHARS:
        raise InvalidInput("bad-entry", f"an entry needs an actor, and a subject of at most {MAX_SUBJECT_CHARS} chars")
    canonical_json.encode([draft.actor, draft.subject])  # refuses what could not be hashed
