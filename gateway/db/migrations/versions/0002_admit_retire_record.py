"""The tables of quotas, deprecations, sampling and usage."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

MOMENT = sa.DateTime(timezone=True)


def _revised() -> list[sa.Column[object]]:
    return [
        sa.Column("entry", sa.JSON(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.Column("updated_by", sa.String(length=160), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
    ]


def upgrade() -> None:
    op.create_table(
        "deprecations",
        sa.Column("subject", sa.String(length=160), nullable=False),
        *_revised(),
        sa.PrimaryKeyConstraint("subject", name="pk_deprecations"),
    )
    op.create_table(
        "deprecation_notes",
        sa.Column("subject", sa.String(length=160), nullable=False),
        sa.Column("principal", sa.String(length=160), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.Column("updated_by", sa.String(length=160), nullable=False),
        sa.PrimaryKeyConstraint("subject", "principal", name="pk_deprecation_notes"),
    )
    op.create_table(
        "quotas",
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("platform", sa.Boolean(), nullable=False),
        *_revised(),
        sa.PrimaryKeyConstraint("name", name="pk_quotas"),
    )
    op.create_table(
        "sampling_rules",
        sa.Column("alias", sa.String(length=128), nullable=False),
        *_revised(),
        sa.PrimaryKeyConstraint("alias", name="pk_sampling_rules"),
    )
    op.create_table(
        "sample_deletions",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("subject", sa.String(length=32), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("by", sa.String(length=160), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_sample_deletions"),
    )
    counts = (
        "requests",
        "failed",
        "limited",
        "gone",
        "pinned",
        "request_bytes",
        "reply_bytes",
        "inferences",
        "tokens",
    )
    op.create_table(
        "usage_days",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("principal", sa.String(length=160), nullable=False),
        sa.Column("alias", sa.String(length=128), nullable=False),
        sa.Column("model", sa.String(length=128), nullable=False),
        sa.Column("version", sa.BigInteger(), autoincrement=False, nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in counts),
        sa.Column("last_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("day", "principal", "alias", "model", "version", name="pk_usage_days"),
    )
    op.create_index("ix_usage_days_alias", "usage_days", ["alias"], unique=False)
    op.create_index("ix_usage_days_model", "usage_days", ["model", "version"], unique=False)
    op.add_column(
        "worker_reports", sa.Column("usage_batch", sa.BigInteger(), nullable=False, server_default="0")
    )
    op.add_column("worker_reports", sa.Column("samples", sa.JSON(), nullable=True))
