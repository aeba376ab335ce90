"""The first tables.

Revision ID: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision: str | None = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make every table, its indexes, and the guards of the ledger."""
    _proposals()
    _ledger()
    _errors()
    op.create_table(
        "ticks",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("process_id", sa.Text(), nullable=False),
        sa.Column("start_us", sa.BigInteger(), nullable=False),
        sa.Column("end_us", sa.BigInteger(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_ticks"),
    )
    op.create_index("ix_ticks_end_us", "ticks", ["end_us"])
    op.create_table(
        "actors",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("token_digest", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_actors"),
        sa.UniqueConstraint("token_digest", name="uq_actors_token_digest"),
    )


def _proposals() -> None:
    op.create_table(
        "proposals",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("diff_digest", sa.Text(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("updated_us", sa.BigInteger(), nullable=False),
        sa.Column("finding_id", sa.Text(), nullable=True),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_proposals"),
    )
    for column in ("state", "diff_digest", "created_us", "finding_id"):
        op.create_index(f"ix_proposals_{column}", "proposals", [column])
    op.create_table(
        "records",
        sa.Column("proposal_id", sa.Text(), nullable=False),
        sa.Column("wanted_version", sa.Integer(), nullable=False),
        sa.Column("made_version", sa.Integer(), nullable=False),
        sa.Column("wanted_seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("proposal_id", name="pk_records"),
        sa.ForeignKeyConstraint(["proposal_id"], ["proposals.id"], name="fk_records_proposal_id"),
    )
    op.create_index("ix_records_wanted_seq", "records", ["wanted_seq"])


def _ledger() -> None:
    op.create_table(
        "ledger",
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("prev_hash", sa.Text(), nullable=False),
        sa.Column("entry_hash", sa.Text(), nullable=False),
        sa.Column("signature", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_ledger"),
    )
    op.create_index("ix_ledger_subject", "ledger", ["subject"])
    if op.get_bind().dialect.name == "sqlite":
        # Against our own mistakes only: an attacker drops them first. The chain is against attackers.
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER ledger_no_{verb.lower()} BEFORE {verb} ON ledger "
                "BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END"
            )


def _errors() -> None:
    op.create_table(
        "error_groups",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("exception_type", sa.Text(), nullable=False),
        sa.Column("message_template", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("function", sa.Text(), nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("first_us", sa.BigInteger(), nullable=False),
        sa.Column("last_us", sa.BigInteger(), nullable=False),
        sa.Column("commit_id", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("key", name="pk_error_groups"),
    )
    op.create_index("ix_error_groups_last_us", "error_groups", ["last_us"])
    op.create_table(
        "error_samples",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_error_samples"),
        sa.ForeignKeyConstraint(["key"], ["error_groups.key"], name="fk_error_samples_key", ondelete="CASCADE"),
    )
    op.create_index("ix_error_samples_key", "error_samples", ["key"])
    op.create_table(
        "error_seconds",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("second", sa.BigInteger(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("first_us", sa.BigInteger(), nullable=False),
        sa.Column("last_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key", "second", name="pk_error_seconds"),
        sa.ForeignKeyConstraint(["key"], ["error_groups.key"], name="fk_error_seconds_key", ondelete="CASCADE"),
    )
    op.create_index("ix_error_seconds_second", "error_seconds", ["second"])
    op.create_table(
        "error_totals",
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("severity", name="pk_error_totals"),
    )
    op.create_table(
        "findings",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("found_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_findings"),
        sa.ForeignKeyConstraint(["key"], ["error_groups.key"], name="fk_findings_key"),
    )
    op.create_index("ix_findings_key", "findings", ["key"])
