"""The signed head outside the database, and what it says about the database.

A chain that was cut short, or an older database put back in its place, is sound in itself. Two
witnesses outside tell: the head file beside the database, written after each commit, and the
trailers of the status commits in Git. A witness that knows *less* than the database is what a crash
leaves behind, and is caught up; one that knows *more*, or something else, is evidence of tampering.
"""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from homeostat.audit.chain import EMPTY_HEAD, ZERO_HASH, head_statement
from homeostat.audit.restoration import Explained, Restoration
from homeostat.core import canonical_json
from homeostat.core.canonical_json import JsonValue
from homeostat.core.errors import IntegrityFailure
from homeostat.core.ids import CommitId
from homeostat.model.ledger import LedgerHead

TRAILER_KEY = "Homeostat-Ledger"
"""Key of the trailer that carries the head in every status commit."""

HEAD_BYTES = 512
"""A sector: what disks write whole or not at all."""

_FORMAT = 1
_HASH = re.compile(r"[0-9a-f]{64}")
_TRAILER = re.compile(r"(0|[1-9][0-9]{0,15}):([0-9a-f]{64})")
_MAX_FILE_BYTES = 4096


class HeadFault(StrEnum):
    """How a witness and the database disagree."""

    FILE_MISSING = "file-missing"
    FILE_BEHIND = "file-behind"
    FILE_FORGED = "file-forged"
    FILE_AHEAD = "file-ahead"
    FILE_DIFFERS = "file-differs"
    TRAILER_UNREADABLE = "trailer-unreadable"
    TRAILER_AHEAD = "trailer-ahead"
    TRAILER_DIFFERS = "trailer-differs"


LAG = frozenset({HeadFault.FILE_MISSING, HeadFault.FILE_BEHIND})
"""What a crash or a full disk between commit and head file leaves behind; all else is tampering."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadFinding:
    fault: HeadFault
    detail: str
    commit: CommitId | None = None
    """The status commit that disagrees, when it is not the head file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadReport:
    """What the witnesses say of a database that ends at `head`."""

    head: LedgerHead
    findings: tuple[HeadFinding, ...]
    trailers: int
    """How many trailers were compared."""

    @property
    def tampering(self) -> tuple[HeadFinding, ...]:
        """The findings that no crash explains."""
        return tuple(item for item in self.findings if item.fault not in LAG)

    @property
    def lag(self) -> HeadFinding | None:
        """The head file's lag, when it has to be caught up."""
        return next((item for item in self.findings if item.fault in LAG), None)


def encode_head(head: LedgerHead) -> bytes:
    """Return the content of ``ledger-head.json``, `HEAD_BYTES` long."""
    fields: JsonValue = {
        "entry_hash": head.entry_hash,
        "format": _FORMAT,
        "signature": head.signature,
        "size": head.size,
    }
    return canonical_json.encode(fields).ljust(HEAD_BYTES - 1) + b"\n"


def parse_head(data: bytes) -> LedgerHead:
    """Read a head file. `IntegrityFailure` when it is none: it is written whole, never torn by a crash."""
    try:
        fields = json.loads(data) if len(data) <= _MAX_FILE_BYTES else None
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict) or set(fields) != {"entry_hash", "format", "signature", "size"}:
        raise _unreadable("it is not a head file")
    size, entry_hash, signature = fields["size"], fields["entry_hash"], fields["signature"]
    if fields["format"] != _FORMAT:
        raise _unreadable("its format is not known here")
    if type(size) is not int or size < 0 or not isinstance(entry_hash, str) or not isinstance(signature, str):
        raise _unreadable("its fields are not of their types")
    if not _HASH.fullmatch(entry_hash) or (size == 0) != (entry_hash == ZERO_HASH):
        raise _unreadable("its hash is not one")
    return LedgerHead(size=size, entry_hash=entry_hash, signature=signature)


def parse_trailer(value: str) -> LedgerHead | None:
    """Read the value of a trailer, ``<size>:<entry_hash>``; None when it is not of that form."""
    match = _TRAILER.fullmatch(value.strip())
    if match is None:
        return None
    head = LedgerHead(size=int(match[1]), entry_hash=match[2], signature="")
    return head if (head.size == 0) == (head.entry_hash == ZERO_HASH) else None


def is_signed(head: LedgerHead, verify: Callable[[bytes, str], bool]) -> bool:
    """Tell whether the key signed this head; the head of an empty ledger is never signed."""
    if head.size == 0:
        return head == EMPTY_HEAD
    return verify(head_statement(head.size, head.entry_hash), head.signature)


def compare_head(
    db_head: LedgerHead,
    file_head: LedgerHead | None,
    trailer_heads: Iterable[tuple[CommitId, str]],
    *,
    hash_at: Callable[[int], str | None],
    verify: Callable[[bytes, str], bool],
    restored: Sequence[Restoration] = (),
) -> HeadReport:
    """Compare the database's head with its witnesses and name exactly what was found.

    `hash_at(n)` returns the entry hash that the database holds for entry `n`, None when it has none.
    Trailers are given as Git has them, (commit, value), newest first. What a restoration in `restored`
    explains is no finding.
    """
    findings: list[HeadFinding] = []
    if file_head is None:
        if db_head.size > 0:
            detail = f"there is no head file, and the database has {db_head.size} entries"
            findings.append(HeadFinding(fault=HeadFault.FILE_MISSING, detail=detail))
    else:
        findings.extend(_compare_file(db_head, file_head, hash_at, verify))
    trailers = 0
    explained = Explained(restored)
    for commit, value in trailer_heads:
        trailers += 1
        seen = parse_trailer(value)
        by_restoration = explained.explains(commit, seen.size if seen is not None else 0)
        unlike = _compare_trailer(db_head, commit, value, hash_at)
        findings.extend([] if by_restoration else unlike)
    return HeadReport(head=db_head, findings=tuple(findings), trailers=trailers)


def _compare_file(
    db_head: LedgerHead,
    file_head: LedgerHead,
    hash_at: Callable[[int], str | None],
    verify: Callable[[bytes, str], bool],
) -> list[HeadFinding]:
    if not is_signed(file_head, verify):
        detail = f"the head file names entry {file_head.size}, but its signature is not of this ledger's key"
        return [HeadFinding(fault=HeadFault.FILE_FORGED, detail=detail)]
    if file_head.size > db_head.size:
        return [HeadFinding(fault=HeadFault.FILE_AHEAD, detail=_cut_short("the head file", file_head, db_head))]
    if _hash_of(file_head.size, hash_at) != file_head.entry_hash:
        return [HeadFinding(fault=HeadFault.FILE_DIFFERS, detail=_rewritten("the head file", file_head, hash_at))]
    if file_head.size < db_head.size:
        detail = f"the head file is at entry {file_head.size}, the database at {db_head.size}"
        return [HeadFinding(fault=HeadFault.FILE_BEHIND, detail=detail)]
    return []


def _compare_trailer(
    db_head: LedgerHead, commit: CommitId, value: str, hash_at: Callable[[int], str | None]
) -> list[HeadFinding]:
    name = f"status commit {commit[:12]}"
    head = parse_trailer(value)
    if head is None:
        detail = f"{name} carries no readable ledger head: {value[:90]!r}"
        return [HeadFinding(fault=HeadFault.TRAILER_UNREADABLE, detail=detail, commit=commit)]
    if head.size > db_head.size:
        detail = _cut_short(name, head, db_head)
        return [HeadFinding(fault=HeadFault.TRAILER_AHEAD, detail=detail, commit=commit)]
    if _hash_of(head.size, hash_at) != head.entry_hash:
        detail = _rewritten(name, head, hash_at)
        return [HeadFinding(fault=HeadFault.TRAILER_DIFFERS, detail=detail, commit=commit)]
    return []


def _hash_of(size: int, hash_at: Callable[[int], str | None]) -> str | None:
    return ZERO_HASH if size == 0 else hash_at(size)


def _cut_short(witness: str, seen: LedgerHead, db_head: LedgerHead) -> str:
    return (
        f"{witness} saw entry {seen.size} ({seen.entry_hash[:12]}), but the database ends at {db_head.size}: "
        "its end was cut off, or an older database was put back"
    )


def _rewritten(witness: str, seen: LedgerHead, hash_at: Callable[[int], str | None]) -> str:
    held = _hash_of(seen.size, hash_at)
    return (
        f"{witness} saw entry {seen.size} as {seen.entry_hash[:12]}, but the database holds "
        f"{held[:12] if held else 'none'}: its history was rewritten"
    )


def _unreadable(why: str) -> IntegrityFailure:
    return IntegrityFailure(
        "ledger-head-unreadable",
        f"the ledger's head file cannot be read: {why}",
        hint="keep it as evidence; `homeostat verify` compares the ledger with Git's trailers",
    )
