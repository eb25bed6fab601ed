"""Alembic's entry: runs the migrations on the connection that ``celadon.table.core.migrate`` hands over."""

from typing import cast

from alembic import context
from sqlalchemy import Connection

from celadon.table.core.models import Base

context.configure(
    connection=cast("Connection", context.config.attributes["connection"]),
    target_metadata=Base.metadata,
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()
