"""Checkpoints: what the ledger's key says of the whole ledger, in the form of C2SP ``tlog-checkpoint``.

    homeostat/<16 digits of the key's digest>
    <number of entries>
    <root of the Merkle tree over them, base64>

    — <the first line again> <signature>

The tree's leaf for entry n is the 32 bytes of its `entry_hash`, hashed as RFC 6962 has it; the leaf's index is n - 1.
Whoever kept a checkpoint can see later whether the ledger of that day is the beginning of the present one, and
whether an entry that they are shown is in it, without the other entries.
"""

import base64
import binascii
import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from homeostat.audit.merkle import HASH_BYTES, MAX_SIZE, leaf_hash
from homeostat.audit.notes import NoteKey, open_note, sign_note
from homeostat.core.errors import IntegrityFailure

CHECKPOINT_TRAILER = "Homeostat-Checkpoint"
"""Key of the trailer that carries a checkpoint, on one line, in every status commit."""

_LINES = 3
_WORDS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """How many entries the ledger had, and the root over them. Signed only where `open_checkpoint` returned it."""

    origin: str
    size: int
    root: bytes


def ledger_key(public_key: str) -> NoteKey:
    """Return the ledger's key, given in base64, as one that signs notes.

    Its name, the origin of its checkpoints, is made of it.
    """
    public = base64.b64decode(public_key)
    return NoteKey.of(f"homeostat/{hashlib.sha256(public).hexdigest()[:16]}", public)


def entry_leaf(entry_hash: str) -> bytes:
    """Return the hash of an entry as a leaf of the tree, from the 64 digits of its `entry_hash`."""
    try:
        raw = bytes.fromhex(entry_hash)
    except ValueError:
        raw = b""
    if len(raw) != HASH_BYTES:
        raise IntegrityFailure("merkle-proof-fails", f"{entry_hash[:70]!r} is no hash of an entry")
    return leaf_hash(raw)


def sign_checkpoint(size: int, root: bytes, *, public_key: str, sign: Callable[[bytes], str]) -> str:
    """Return the signed note of a ledger of this size and root; key and signature are base64, as with `Signer`."""
    key = ledger_key(public_key)
    text = f"{key.name}\n{size}\n{_encoded(root)}\n"
    return sign_note(text, [(key, lambda said: base64.b64decode(sign(said)))])


def open_checkpoint(note: str | bytes, key: NoteKey) -> Checkpoint:
    """Return what this ledger key has signed. `IntegrityFailure` when it has not, or it is no checkpoint."""
    return parse_checkpoint(open_note(note, key).text, origin=key.name)


def parse_checkpoint(text: str, *, origin: str) -> Checkpoint:
    """Read the text of a note, whoever signed it. Lines after the third are extensions, which say nothing here."""
    lines = text.split("\n")
    if len(lines) <= _LINES or lines[0] != origin:
        raise _malformed(f"it does not begin with {origin}")
    size, root = lines[1], _decoded(lines[2])
    if not (size.isascii() and size.isdigit()) or str(int(size[:20])) != size or int(size) > MAX_SIZE:
        raise _malformed("its second line is no number of entries")
    if root is None or len(root) != HASH_BYTES:
        raise _malformed("its third line is no root")
    return Checkpoint(origin=origin, size=int(size), root=root)


def checkpoint_trailer(note: str) -> str:
    """Return a checkpoint without extensions, and with one signature, as the value of a trailer: one line."""
    text, _, signature = note.partition("\n\n")
    return " ".join([*text.split("\n"), signature.strip().rpartition(" ")[2]])


def note_of_trailer(value: str) -> str:
    """Return the note that a trailer carries. `IntegrityFailure` when it is of another form."""
    words = value.split(" ")
    if len(words) != _WORDS:
        raise _malformed("it has not four words")
    origin, size, root, signature = words
    return f"{origin}\n{size}\n{root}\n\n— {origin} {signature}\n"


def unlike_roots(notes: Iterable[tuple[str, str]], key: NoteKey, root_at: Callable[[int], bytes | None]) -> list[str]:
    """Hold signed checkpoints, each with words for where it was found, against the roots that a ledger has now.

    Returns a line for each that is not signed, or saw another beginning than the present one. That the roots
    at both sizes come from the same entries is for the caller: this is the consistency check of one who has them all.
    """
    wrong = []
    for where, note in notes:
        try:
            seen = open_checkpoint(note, key)
        except IntegrityFailure as error:
            wrong.append(f"{where} is not this ledger's: {error.message}")
            continue
        held = root_at(seen.size)
        if held is None:
            wrong.append(f"{where} saw {seen.size} entries, and there are fewer: the ledger's end was cut off")
        elif held != seen.root:
            wrong.append(f"{where} saw other entries among the first {seen.size}: the history was rewritten")
    return wrong


def _encoded(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")


def _decoded(text: str) -> bytes | None:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw if _encoded(raw) == text else None


def _malformed(why: str) -> IntegrityFailure:
    return IntegrityFailure("note-malformed", f"this is no checkpoint of this ledger: {why}")
