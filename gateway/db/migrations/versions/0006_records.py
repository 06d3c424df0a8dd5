"""What is recorded of models and their versions, and which of them have other files than they are registered with."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

NAME = sa.String(length=128)


def _of_a_version(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["model", "version"],
        ["model_versions.model", "model_versions.version"],
        name=f"fk_{table}_model_model_versions",
        ondelete="CASCADE",
    )


def upgrade() -> None:
    op.add_column("models", sa.Column("description", sa.JSON(), nullable=True))
    op.add_column("models", sa.Column("risk", sa.String(length=16), nullable=False, server_default="Unknown"))
    op.add_column("models", sa.Column("licence", sa.String(length=500), nullable=True))
    op.create_table(
        "version_records",
        sa.Column("model", NAME, nullable=False),
        sa.Column("version", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("record", sa.JSON(), nullable=False),
        sa.Column("breaking", sa.JSON(), nullable=False),
        sa.Column("breaks", sa.Boolean(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("recorded_by", sa.String(length=160), nullable=False),
        _of_a_version("version_records"),
        sa.PrimaryKeyConstraint("model", "version", name="pk_version_records"),
    )
    op.create_table(
        "version_bases",
        sa.Column("model", NAME, nullable=False),
        sa.Column("version", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("base", sa.String(length=500), nullable=False),
        sa.Column("relation", sa.String(length=32), nullable=False),
        sa.Column("base_model", NAME, nullable=True),
        sa.Column("base_version", sa.BigInteger(), nullable=True),
        _of_a_version("version_bases"),
        sa.PrimaryKeyConstraint("model", "version", "base", name="pk_version_bases"),
    )
    op.add_column("worker_reports", sa.Column("changed_files", sa.JSON(), nullable=True))
    op.create_index("ix_version_bases_base", "version_bases", ["base_model", "base_version"], unique=False)
