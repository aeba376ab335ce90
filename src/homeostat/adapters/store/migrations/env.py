"""What Alembic runs: always on a connection that `homeostat.adapters.store.migrate` hands over."""

from alembic import context

from homeostat.adapters.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
)
context.run_migrations()
