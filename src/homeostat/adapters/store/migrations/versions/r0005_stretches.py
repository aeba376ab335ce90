"""Vitals of the whole service, added up by quarters of a minute.

Revision ID: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table. What was told before is not added up: for a day the detectors know less of the day before."""
    op.create_table(
        "stretches",
        sa.Column("start_us", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("start_us", name="pk_stretches"),
    )
