"""The ledger's arithmetic, pure: the hash chain, Merkle trees with their proofs, and signed notes.

What others need to check a record offline is here by name.
"""

from homeostat.audit.dsse import pae
from homeostat.audit.merkle import root_hash, verify_consistency, verify_inclusion
from homeostat.audit.notes import open_note

__all__ = ["open_note", "pae", "root_hash", "verify_consistency", "verify_inclusion"]
