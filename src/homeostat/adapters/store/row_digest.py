"""The digest of a proposal's whole row, which stands in the ledger entry that was written with it.

So nothing that a person was shown, or is told afterwards, can be altered in the row alone: title,
reason, files, proof, review, application. A migration that rewrites rows has to append entries.
"""

from collections.abc import Mapping
from typing import Any

from homeostat.audit.bundle import ROW_COLUMNS
from homeostat.core import canonical_json
from homeostat.core.digests import Digest, digest_bytes

ROW_DIGEST = "row_digest"
"""The key in the body of the entry."""


def row_digest(columns: Mapping[str, Any]) -> Digest:
    """Return the digest of a row, as it is written (`documents.encode_proposal`) or as it was read."""
    return digest_bytes(canonical_json.encode({name: columns[name] for name in ROW_COLUMNS}))
