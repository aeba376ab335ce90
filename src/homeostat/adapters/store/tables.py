"""The tables, as the code uses them. The migrations make the same ones; a test compares the two.

Times are whole microseconds since 1970 (UTC) where they are compared or ordered, and stand in the
ledger as the text that was hashed.
"""

from datetime import UTC, datetime, timedelta

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
    }
)

proposals = Table(
    "proposals",
    metadata,
    Column("id", Text, primary_key=True),
    Column("state", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("diff_digest", Text, nullable=False, index=True),
    Column("created_us", BigInteger, nullable=False),
    Column("updated_us", BigInteger, nullable=False),
    Column("finding_id", Text, nullable=True, index=True),
    Column("document", Text, nullable=False),
    Index("ix_proposals_state_created", "state", "created_us", "id"),
    Index("ix_proposals_created", "created_us", "id"),
)

tallies = Table(
    "tallies",
    metadata,
    Column("month", Text, primary_key=True),
    Column("state", Text, primary_key=True),
    Column("category", Text, primary_key=True),
    Column("severity", Text, primary_key=True),
    Column("count", Integer, nullable=False),
)
"""How many proposals there are of each kind, kept in the transaction that writes their rows."""

records = Table(
    "records",
    metadata,
    Column("proposal_id", Text, ForeignKey("proposals.id"), primary_key=True),
    Column("wanted_version", Integer, nullable=False),
    Column("made_version", Integer, nullable=False),
    Column("wanted_seq", BigInteger, nullable=False, index=True),
)
"""Which row version each proposal's status commit must show, and which one it shows."""

ledger = Table(
    "ledger",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("at", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("subject", Text, nullable=False, index=True),
    Column("body", Text, nullable=False),
    Column("prev_hash", Text, nullable=False),
    Column("entry_hash", Text, nullable=False),
    Column("signature", Text, nullable=False),
)

ledger_nodes = Table(
    "ledger_nodes",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("hashes", LargeBinary, nullable=False),
)
"""The Merkle tree over the ledger: see `homeostat.adapters.store.tree`."""

error_groups = Table(
    "error_groups",
    metadata,
    Column("key", Text, primary_key=True),
    Column("exception_type", Text, nullable=False),
    Column("message_template", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("function", Text, nullable=False),
    Column("line", Integer, nullable=False),
    Column("severity", Text, nullable=False),
    Column("count", BigInteger, nullable=False),
    Column("first_us", BigInteger, nullable=False),
    Column("last_us", BigInteger, nullable=False, index=True),
    Column("commit_id", Text, nullable=True),
    Column("source", Text, nullable=True),
)

error_batches = Table(
    "error_batches",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("digest", Text, nullable=False),
    UniqueConstraint("digest"),
)
"""The newest batches of errors that were counted: one that is sent again is not counted again."""

error_samples = Table(
    "error_samples",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("key", Text, ForeignKey("error_groups.key", ondelete="CASCADE"), nullable=False, index=True),
    Column("document", Text, nullable=False),
)

error_seconds = Table(
    "error_seconds",
    metadata,
    Column("key", Text, ForeignKey("error_groups.key", ondelete="CASCADE"), primary_key=True),
    Column("second", BigInteger, primary_key=True),
    Column("count", Integer, nullable=False),
    Column("first_us", BigInteger, nullable=False),
    Column("last_us", BigInteger, nullable=False),
    Index("ix_error_seconds_second", "second"),
)
"""Occurrences of a group within one second; bounded by time, where single occurrences would not be."""

error_totals = Table(
    "error_totals",
    metadata,
    Column("severity", Text, primary_key=True),
    Column("count", BigInteger, nullable=False),
)

findings = Table(
    "findings",
    metadata,
    Column("id", Text, primary_key=True),
    Column("state", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("key", Text, ForeignKey("error_groups.key"), nullable=False, index=True),
    Column("found_us", BigInteger, nullable=False),
)

ticks = Table(
    "ticks",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("process_id", Text, nullable=False),
    Column("start_us", BigInteger, nullable=False),
    Column("end_us", BigInteger, nullable=False, index=True),
    Column("document", Text, nullable=False),
    Column("identity", Text, nullable=True),
    Index("ix_ticks_identity", "identity", unique=True),
)
"""`identity` is the digest of all the rest: a tick that is sent again has the same one."""

stretches = Table(
    "stretches",
    metadata,
    Column("start_us", BigInteger, primary_key=True, autoincrement=False),
    Column("document", Text, nullable=False),
)
"""Attested ticks, added up by quarters of a minute in the transaction that keeps them: a day is read at once."""

canary_ticks = Table(
    "canary_ticks",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("change_id", Text, nullable=False),
    Column("process_id", Text, nullable=False),
    Column("start_us", BigInteger, nullable=False),
    Column("end_us", BigInteger, nullable=False),
    Column("document", Text, nullable=False),
    Column("identity", Text, nullable=False),
    Index("ix_canary_ticks_change", "change_id", "id"),
    Index("ix_canary_ticks_end", "end_us"),
    Index("ix_canary_ticks_identity", "identity", unique=True),
)
"""What both arms of a canary counted; `identity` as with `ticks`."""

actors = Table(
    "actors",
    metadata,
    Column("id", Text, primary_key=True),
    Column("role", Text, nullable=False),
    Column("name", Text, nullable=True),
    Column("token_digest", Text, nullable=True),
    UniqueConstraint("token_digest"),
)


def to_us(at: datetime) -> int:
    """Return whole microseconds since 1970; exact, unlike a float of seconds."""
    return (at - _EPOCH) // _MICROSECOND


def from_us(value: int) -> datetime:
    """Return the time in UTC that `to_us` was given."""
    return _EPOCH + timedelta(microseconds=value)
