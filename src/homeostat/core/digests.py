"""SHA-256 digests, written as ``sha256:`` and 64 hex digits wherever they are stored or shown."""

import hashlib
from typing import NewType

Digest = NewType("Digest", str)


def digest_bytes(data: bytes) -> Digest:
    """Return the digest of these bytes in its written form."""
    return Digest("sha256:" + hashlib.sha256(data).hexdigest())


def short(digest: Digest) -> str:
    """Return the first 12 hex digits, for people; never compare by this."""
    return digest.removeprefix("sha256:")[:12]
