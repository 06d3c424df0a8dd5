"""Among how many workers one shares each quota out."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("worker_reports", sa.Column("quota_workers", sa.Integer()))
