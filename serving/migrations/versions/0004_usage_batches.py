"""The names of the batches of counted API calls that a tenant's usage has taken in."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from serving.migrations.isolation import policy

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "usage_batches",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_usage_batches_tenant_id_tenants"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_usage_batches")),
    )
    op.execute("ALTER TABLE usage_batches OWNER TO owner")
    op.execute("ALTER TABLE usage_batches ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
    policy("usage_batches")
    op.execute("GRANT SELECT, INSERT, DELETE ON usage_batches TO worker")
    op.execute("GRANT SELECT ON usage_batches TO app")


def downgrade() -> None:
    op.drop_table("usage_batches")
