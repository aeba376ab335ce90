"""The Merkle tree over the ledger.

Revision ID: 0006
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table. It is filled when the store is opened (`SqlLedger.grow_tree`), from the entries."""
    op.create_table(
        "ledger_nodes",
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("hashes", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_ledger_nodes"),
    )
    for verb in ("UPDATE", "DELETE"):
        op.execute(
            sa.text(
                f"CREATE TRIGGER ledger_nodes_no_{verb.lower()} BEFORE {verb} ON ledger_nodes "
                "BEGIN SELECT RAISE(ABORT, 'the tree of the ledger only grows'); END"
            )
        )
