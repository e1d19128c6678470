"""A contact's phone is unique without being a key that others could refer to.

PostgreSQL locks a row against everybody who inserts a row that refers to it while a column of such a key changes. A
change of phone waits for sends in flight to the contact, and those insert its messages: each would wait for the other.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

NAME = "uq_contacts_tenant_id_phone"


def upgrade() -> None:
    op.drop_constraint(op.f(NAME), "contacts")
    op.create_index(NAME, "contacts", ["tenant_id", "phone"], unique=True, postgresql_where=sa.text("phone IS NOT NULL"))


def downgrade() -> None:
    op.drop_index(NAME, "contacts")
    op.create_unique_constraint(op.f(NAME), "contacts", ["tenant_id", "phone"])
