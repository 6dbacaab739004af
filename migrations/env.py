"""The program that Alembic runs: it runs the migrations over the connection that it is given."""

from alembic import context

from service.store.sql.migrate import VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"],
    version_table=VERSION_TABLE,
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()
