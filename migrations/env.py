"""Alembic's door: runs the migrations over the connection that it is given."""

from alembic import context

VERSION_TABLE = "spezia_alembic_version"

context.configure(
    connection=context.config.attributes["connection"],
    version_table=VERSION_TABLE,  # Optuna's own is `alembic_version`, stamped for stock tools
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()
