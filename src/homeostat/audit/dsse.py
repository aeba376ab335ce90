"""What is signed of an envelope of the DSSE protocol, version 1."""


def pae(payload_type: str, payload: bytes) -> bytes:
    """Return the pre-authentication encoding: the bytes that a signature of an envelope is made over.

    Type and payload come after their lengths in bytes, so that none of one can be taken for the other.
    """
    kind = payload_type.encode("utf-8")
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
