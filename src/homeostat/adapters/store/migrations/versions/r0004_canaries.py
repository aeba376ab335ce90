"""What canaries counted on both arms.

Revision ID: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the ticks of canaries."""
    op.create_table(
        "canary_ticks",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("change_id", sa.Text(), nullable=False),
        sa.Column("process_id", sa.Text(), nullable=False),
        sa.Column("start_us", sa.BigInteger(), nullable=False),
        sa.Column("end_us", sa.BigInteger(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("identity", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_canary_ticks"),
    )
    op.create_index("ix_canary_ticks_change", "canary_ticks", ["change_id", "id"])
    op.create_index("ix_canary_ticks_end", "canary_ticks", ["end_us"])
    op.create_index("ix_canary_ticks_identity", "canary_ticks", ["identity"], unique=True)
