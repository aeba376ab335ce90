"""Signed notes, as in the C2SP specification ``signed-note``: a text of lines, and whose keys vouch for it.

    <text, which ends with a newline>
    <an empty line>
    — <name of a key> <base64 of the key's id, 4 bytes, and the signature>

A key is written as ``name+id+base64``, its *verifier key*. Only Ed25519 is known here (algorithm 1). Signatures of keys
that nobody asked for are passed over; one of a known key that does not hold, or none of any known key, is an
`IntegrityFailure` ``note-not-signed``. What is no note at all is one ``note-malformed``.
"""

import base64
import binascii
import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from homeostat.core.errors import IntegrityFailure, InvalidInput

MAX_NOTE_BYTES = 1_000_000
MAX_SIGNATURES = 100

_ED25519 = b"\x01"
_KEY_BYTES, _SIGNATURE_BYTES, _ID_BYTES = 32, 64, 4
_BEFORE_NAME = "— "


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteKey:
    """A public key that vouches for notes."""

    name: str
    id: bytes
    """Four bytes, from name and key: says which key signed, and is no secret and no proof."""

    public: bytes
    """Ed25519, 32 bytes."""

    @classmethod
    def of(cls, name: str, public: bytes) -> "NoteKey":
        """Return the key of this name; `InvalidInput` where it cannot be one."""
        if not _is_name(name) or len(public) != _KEY_BYTES:
            raise _no_key(f"{name!r:.60} with {len(public)} bytes is no key of a note")
        return cls(name=name, id=_key_id(name, public), public=public)

    @classmethod
    def parse(cls, text: str) -> "NoteKey":
        """Read a verifier key, ``name+id+base64``; `InvalidInput` where it is none, or of an unknown algorithm."""
        name, _, rest = text.partition("+")
        written, _, encoded = rest.partition("+")
        raw = _decoded(encoded)
        if raw is None or raw[:1] != _ED25519:
            raise _no_key(f"{text!r:.120} is no Ed25519 verifier key")
        key = cls.of(name, raw[1:])
        if written != key.id.hex():
            raise _no_key(f"the id {written!r:.20} of {name!r:.60} is not that of its key")
        return key

    def __str__(self) -> str:
        """Write it as a verifier key."""
        return f"{self.name}+{self.id.hex()}+{base64.b64encode(_ED25519 + self.public).decode('ascii')}"

    def verifies(self, said: bytes, signature: bytes) -> bool:
        """Tell whether this key has signed these bytes."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, said)
        except (InvalidSignature, ValueError):
            return False
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A text, and the known keys that have signed it."""

    text: str
    signed_by: tuple[NoteKey, ...]


def sign_note(text: str, signers: Iterable[tuple[NoteKey, Callable[[bytes], bytes]]]) -> str:
    """Return the note of this text, signed by each key with its own function, which returns 64 bytes."""
    if not _is_text(text):
        raise InvalidInput("note-malformed", "the text of a note ends with a newline, and has no control characters")
    lines = []
    for key, sign in signers:
        encoded = base64.b64encode(key.id + sign(text.encode("utf-8"))).decode("ascii")
        lines.append(f"{_BEFORE_NAME}{key.name} {encoded}\n")
    return f"{text}\n{''.join(lines)}"


def open_note(note: str | bytes, keys: str | NoteKey | Iterable[str | NoteKey]) -> Note:
    """Return the text of a note that at least one of these keys has signed, and each that has.

    Whoever asks for several keys asks which of them vouch: that all do is for the caller to see.
    """
    known = {(key.name, key.id): key for key in _keys(keys)}
    text, lines = _parts(note)
    signed: list[NoteKey] = []
    for line in lines:
        name, signature = _signature(line)
        key = known.get((name, signature[:_ID_BYTES]))
        if key is None or key in signed:
            continue
        if not key.verifies(text.encode("utf-8"), signature[_ID_BYTES:]):
            raise IntegrityFailure("note-not-signed", f"the signature of {name} does not hold")
        signed.append(key)
    if not signed:
        raise IntegrityFailure("note-not-signed", "no key that is known has signed this note")
    return Note(text=text, signed_by=tuple(signed))


def _keys(keys: str | NoteKey | Iterable[str | NoteKey]) -> list[NoteKey]:
    several = [keys] if isinstance(keys, (str, NoteKey)) else list(keys)
    return [NoteKey.parse(key) if isinstance(key, str) else key for key in several]


def _parts(note: str | bytes) -> tuple[str, list[str]]:
    """Split a note into its text and the lines of its signatures."""
    raw = note.encode("utf-8", "surrogatepass") if isinstance(note, str) else note
    if len(raw) > MAX_NOTE_BYTES:
        raise _malformed(f"it has more than {MAX_NOTE_BYTES} bytes")
    try:
        whole = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise _malformed("it is not UTF-8") from None
    before, empty, signatures = whole.rpartition("\n\n")
    text = f"{before}\n"
    if not empty or not signatures.endswith("\n") or not _is_text(text):
        raise _malformed("it has no text that ends with an empty line, or has control characters")
    lines = signatures[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise _malformed(f"it has more than {MAX_SIGNATURES} signatures")
    return text, lines


def _signature(line: str) -> tuple[str, bytes]:
    """Return the name and the bytes of a signature's line."""
    name, _, encoded = line.removeprefix(_BEFORE_NAME).partition(" ")
    raw = _decoded(encoded)
    if not line.startswith(_BEFORE_NAME) or not _is_name(name) or raw is None or len(raw) <= _ID_BYTES:
        raise _malformed(f"{line!r:.120} is no line of a signature")
    return name, raw


def _decoded(encoded: str) -> bytes | None:
    try:
        raw = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return None
    # Base64 has spare bits in its last digit: an altered note shall not be the same one.
    return raw if base64.b64encode(raw).decode("ascii") == encoded else None


def _key_id(name: str, public: bytes) -> bytes:
    return hashlib.sha256(name.encode("utf-8") + b"\n" + _ED25519 + public).digest()[:_ID_BYTES]


def _is_name(name: str) -> bool:
    return bool(name) and "+" not in name and not any(char.isspace() or not char.isprintable() for char in name)


def _is_text(text: str) -> bool:
    return text.endswith("\n") and not any(char < " " and char != "\n" for char in text)


def _malformed(why: str) -> IntegrityFailure:
    return IntegrityFailure("note-malformed", f"this is no signed note: {why}")


def _no_key(why: str) -> InvalidInput:
    return InvalidInput("bad-note-key", why)
