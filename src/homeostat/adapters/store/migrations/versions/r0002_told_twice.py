"""What is told twice counts once, and error groups know whose they are.

Revision ID: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add an identity to ticks, the batches that were taken, and a source to error groups.

    Ticks of before have no identity: nobody sends them again.
    """
    op.add_column("ticks", sa.Column("identity", sa.Text(), nullable=True))
    op.create_index("ix_ticks_identity", "ticks", ["identity"], unique=True)
    op.add_column("error_groups", sa.Column("source", sa.Text(), nullable=True))
    op.create_table(
        "error_batches",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_error_batches"),
        sa.UniqueConstraint("digest", name="uq_error_batches_digest"),
    )
