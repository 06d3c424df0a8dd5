"""Where the endpoints of a pool speak gRPC."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("pools", sa.Column("grpc_endpoints", sa.JSON(), nullable=False, server_default="[]"))
