"""What a provider may deliver again about people who were erased, by digest; and an index to find them in the inbox."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from serving.migrations.isolation import policy

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "erased_events",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("key_digest", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_erased_events_tenant_id_tenants"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_erased_events")),
        sa.UniqueConstraint("tenant_id", "key_digest", name=op.f("uq_erased_events_tenant_id_key_digest")),
    )
    op.execute("ALTER TABLE erased_events OWNER TO owner")
    op.execute("ALTER TABLE erased_events ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
    policy("erased_events")
    op.execute("GRANT SELECT, INSERT, DELETE ON erased_events TO app, worker")
    op.create_index(
        "ix_inbound_events_unapplied",
        "inbound_events",
        ["tenant_id"],
        postgresql_where=sa.text("processed_at IS NULL OR error IS NOT NULL OR kind IN ('echo', 'other')"),
    )


def downgrade() -> None:
    op.drop_index("ix_inbound_events_unapplied", "inbound_events")
    op.drop_table("erased_events")
