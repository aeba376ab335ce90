"""The hash chain of the ledger: how an entry is made, encoded, and checked again.

Each entry binds the hash and the signature of the one before it, and carries a signature over its own
number and hash. So one good signature vouches for all before it, and whoever does not hold the key
can neither append an entry nor alter one; that entries at the *end* are gone is not seen from the
chain alone, and is the business of `homeostat.audit.head`. Why so: ``docs/adr/0025``.

Entries of the first format bind only the hash of the one before. A ledger may begin with them; there
every signature is checked.
"""

import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TypeAlias

import msgspec
from msgspec import structs

from homeostat.core import canonical_json
from homeostat.core.errors import Bug, IntegrityFailure, InvalidInput
from homeostat.model.ledger import EntryDraft, LedgerEntry, LedgerHead

FORMAT = 2
_FIRST_FORMAT = 1
ZERO_HASH = "0" * 64
EMPTY_HEAD = LedgerHead(size=0, entry_hash=ZERO_HASH, signature="")

MAX_BODY_BYTES = 64 * 1024
MAX_SUBJECT_CHARS = 500

_KIND = re.compile(r"[a-z][a-z0-9_-]*(\.[a-z][a-z0-9_-]*)+")
_NO_OFFSET = timedelta(0)

_VOUCHED_AT_ONCE = 1000
"""Entries after which a signature is checked, so that the first forged one is found among these few."""

_encode = msgspec.json.Encoder().encode


class _Leaf(msgspec.Struct):
    """What is hashed, in the order of canonical JSON: as fields, because that is the fastest way to its bytes."""

    actor: str
    at: str
    body: msgspec.Raw
    format: int
    kind: str
    prev_hash: str
    prev_signature: str
    seq: int
    subject: str


class _FirstLeaf(msgspec.Struct):
    """The same in the first format."""

    actor: str
    at: str
    body: msgspec.Raw
    format: int
    kind: str
    prev_hash: str
    seq: int
    subject: str


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


def entry_bytes(entry: LedgerEntry, prev_signature: str) -> bytes:
    """Return the canonical JSON of everything in the entry except its own hash and signature.

    `prev_signature` is that of the entry before, empty for the first. `entry_hash` is the plain
    SHA-256 of these bytes, and what the Merkle tree has of the entry (`homeostat.audit.checkpoint`). The
    body's text goes in as it stands: if it is not the canonical one that was hashed, the hash differs.
    """
    body = msgspec.Raw(entry.body_text)
    return _encode(
        _Leaf(
            entry.actor,
            entry.at_text,
            body,
            FORMAT,
            entry.kind,
            entry.prev_hash,
            prev_signature,
            entry.seq,
            entry.subject,
        )
    )


def first_format_bytes(entry: LedgerEntry) -> bytes:
    """Return what was hashed of an entry in the first format."""
    body = msgspec.Raw(entry.body_text)
    return _encode(
        _FirstLeaf(
            entry.actor, entry.at_text, body, _FIRST_FORMAT, entry.kind, entry.prev_hash, entry.seq, entry.subject
        )
    )


def hashed_bytes(entry: LedgerEntry, prev_signature: str) -> bytes:
    """Return what was hashed of this entry, in whichever format it is. `IntegrityFailure` when it was altered."""
    for said in (entry_bytes(entry, prev_signature), first_format_bytes(entry)):
        if hashlib.sha256(said).hexdigest() == entry.entry_hash:
            return said
    raise IntegrityFailure(
        "ledger-altered",
        f"entry {entry.seq} was altered: its content does not match its entry_hash",
        hint="keep the state directory as evidence and run `homeostat verify`",
        facts={"seq": entry.seq},
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
    bare = LedgerEntry(
        seq=head.size + 1,
        at_text=utc_text(at),
        kind=draft.kind,
        actor=draft.actor,
        subject=draft.subject,
        body_text=encoded.decode("utf-8"),
        prev_hash=head.entry_hash,
        entry_hash="",
        signature="",
    )
    entry_hash = hashlib.sha256(entry_bytes(bare, head.signature)).hexdigest()
    return structs.replace(bare, entry_hash=entry_hash, signature=sign(head_statement(bare.seq, entry_hash)))


def head_of(entry: LedgerEntry) -> LedgerHead:
    """Return the head of a ledger that ends with this entry."""
    return LedgerHead(size=entry.seq, entry_hash=entry.entry_hash, signature=entry.signature)


def verify_integrity(
    entries: Iterable[LedgerEntry], *, verify: Callable[[bytes, str], bool], start: LedgerHead | None = None
) -> ChainReport:
    """Check entries in their order, from the first or from what follows `start` (which is trusted).

    Checked are the numbers, the links, the hashes, and that the key signed all of it; times are not, a
    clock that steps back is no tampering. The last signature vouches for every field of every entry
    before it; others are checked on the way only to name the first entry that does not hold.
    """
    walk = _Walk(verify, start or EMPTY_HEAD)
    checked = 0
    for entry in entries:
        broken = walk.take(entry)
        if broken is not None:
            return broken
        checked += 1
    return walk.vouch() or ChainIntact(head=walk.vouched, checked=checked)


class _Walk:
    """How far a chain was followed, and up to where a signature vouches for it."""

    def __init__(self, verify: Callable[[bytes, str], bool], start: LedgerHead) -> None:
        self._verify = verify
        self._form = _FIRST_FORMAT
        self._size = start.size
        self._hash = start.entry_hash
        self._signature = start.signature
        self._unvouched: list[LedgerEntry] = []
        self.vouched = start

    def take(self, entry: LedgerEntry) -> ChainBroken | None:
        """Follow the chain by one entry; the first fault there is comes back, and is not followed."""
        fault = self._fault_of(entry)
        if fault is not None:
            return self.vouch() or self._broken(fault[0], fault[1])
        self._size, self._hash, self._signature = entry.seq, entry.entry_hash, entry.signature
        self._unvouched.append(entry)
        if self._form == _FIRST_FORMAT or len(self._unvouched) == _VOUCHED_AT_ONCE:
            return self.vouch()
        return None

    def vouch(self) -> ChainBroken | None:
        """Check the last signature; if the key did not make it, find the first one that it did not make."""
        if not self._unvouched:
            return None
        if self._is_signed(self._unvouched[-1]):
            self.vouched = head_of(self._unvouched[-1])
            self._unvouched.clear()
            return None
        forged = next(place for place, entry in enumerate(self._unvouched) if not self._is_signed(entry))
        if forged:
            self.vouched = head_of(self._unvouched[forged - 1])
        seq = self._unvouched[forged].seq
        self._unvouched.clear()
        return self._broken(ChainFault.SIGNATURE, f"entry {seq}: the signature is not of this ledger's key")

    def _is_signed(self, entry: LedgerEntry) -> bool:
        return self._verify(head_statement(entry.seq, entry.entry_hash), entry.signature)

    def _broken(self, fault: ChainFault, detail: str) -> ChainBroken:
        return ChainBroken(seq=self.vouched.size + 1, fault=fault, detail=detail, intact=self.vouched)

    def _fault_of(self, entry: LedgerEntry) -> tuple[ChainFault, str] | None:
        expected = self._size + 1
        if entry.seq != expected:
            return ChainFault.NUMBER, f"entry {expected} is missing: entry {entry.seq} stands in its place"
        if entry.prev_hash != self._hash:
            return ChainFault.LINK, f"entry {expected} does not follow the entry before it: prev_hash differs"
        try:
            if hashlib.sha256(entry_bytes(entry, self._signature)).hexdigest() == entry.entry_hash:
                self._form = FORMAT
                return None
            # INVARIANT: the first format never after the second, or the signature before it could be exchanged.
            first = self._form == _FIRST_FORMAT
            if first and hashlib.sha256(first_format_bytes(entry)).hexdigest() == entry.entry_hash:
                return None
        except ValueError as error:
            return ChainFault.MALFORMED, f"entry {expected} cannot be encoded: {type(error).__name__}"
        return ChainFault.HASH, f"entry {expected} was altered: its content does not match its entry_hash"


def _check_draft(draft: EntryDraft) -> None:
    if not _KIND.fullmatch(draft.kind):
        raise InvalidInput("bad-entry-kind", f"{draft.kind[:60]!r} is not a dotted lower-case kind")
    if not draft.actor or len(draft.subject) > MAX_SUBJECT_CHARS:
        raise InvalidInput("bad-entry", f"an entry needs an actor, and a subject of at most {MAX_SUBJECT_CHARS} chars")
    canonical_json.encode([draft.actor, draft.subject])  # refuses what could not be hashed
