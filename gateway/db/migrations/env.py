"""Alembic's entry: runs the migrations on the connection, and in the transaction, of `gateway.db.session`."""

from alembic import context

from gateway.db.models import Table

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Table.metadata,
    render_as_batch=True,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
