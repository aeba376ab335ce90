"""Ed25519 signatures by a key that only the hub holds."""

from typing import Protocol


class Signer(Protocol):
    def sign(self, message: bytes) -> str:
        """Return the signature, base64."""
        ...

    def verify(self, message: bytes, signature: str) -> bool: ...

    def public_key(self) -> str:
        """Return the raw public key, base64."""
        ...
