from alembic import context

from serving.models import Base

# A migration that cannot get its lock gives up instead of queueing every reader behind it.
LOCK_TIMEOUT = "5s"

connection = context.config.attributes["connection"]
connection.exec_driver_sql(f"SET lock_timeout = '{LOCK_TIMEOUT}'")
connection.commit()
context.configure(connection=connection, target_metadata=Base.metadata, transaction_per_migration=True)
with context.begin_transaction():
    context.run_migrations()
