"""Alembic's entry point: runs revisions on the connection of `penstock_storage.catalog.schema`, inside
its transaction."""

from alembic import context

from penstock_storage.catalog.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
