"""Listing and counting in the same time, however many proposals there are.

Revision ID: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Order the indexes as the listings are ordered, and count once what was counted at every look."""
    op.drop_index("ix_proposals_state", "proposals")
    op.drop_index("ix_proposals_created_us", "proposals")
    op.create_index("ix_proposals_state_created", "proposals", ["state", "created_us", "id"])
    op.create_index("ix_proposals_created", "proposals", ["created_us", "id"])
    op.create_table(
        "tallies",
        sa.Column("month", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("category", sa.Text(), nullable=False),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("month", "state", "category", "severity", name="pk_tallies"),
    )
    op.execute(
        "INSERT INTO tallies (month, state, category, severity, count) "
        "SELECT strftime('%Y/%m', created_us / 1000000, 'unixepoch'), state, json_extract(document, '$.category'), "
        "json_extract(document, '$.severity'), count(*) FROM proposals GROUP BY 1, 2, 3, 4"
    )
