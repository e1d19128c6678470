"""Erasures are followed until the warehouse has forgotten too; and roles may do what a route or a worker does, no more."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from serving.migrations.isolation import policy

revision = "0011"
down_revision = "0010"

DEFINERS = (
    "auth_login(text)",
    "auth_user(uuid)",
    "auth_api_key(text)",
    "auth_api_key_used(text, timestamptz)",
    "route_number(text)",
    "tenants_with_work(timestamptz)",
    "remember_deleted()",
)
# What is not a password, of the people who belong to the tenant.
USER_COLUMNS = "id, username, email, is_active, role, created_at, updated_at"
# Slug, plan and bill are the operator's, as are the number's own names: one routes the webhooks of the whole world.
TENANT_COLUMNS = "name, domain, timezone, backfilled_until, settings, updated_at"
NUMBER_COLUMNS = (
    "status, status_reason, quality_score, messaging_tier, messages_per_second, warm_up_started_at, is_whatsapp, tags"
)


def upgrade() -> None:
    create_erasures()
    narrow_rights()
    # Unless it is named, a session's own schema comes first: a table made there would be taken for ours, and a trigger
    # on it would run with the function's rights.
    for function in DEFINERS:
        op.execute(f"ALTER FUNCTION {function} SET search_path = pg_catalog, public, pg_temp")
    op.drop_index("ix_inbound_events_unapplied", "inbound_events")


def create_erasures() -> None:
    op.create_table(
        "erasures",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("contact_id", sa.Uuid(), nullable=False),
        sa.Column("erased_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("purged_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_erasures_tenant_id_tenants"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_erasures")),
        sa.UniqueConstraint("tenant_id", "contact_id", name=op.f("uq_erasures_tenant_id_contact_id")),
    )
    op.create_index("ix_erasures_unpurged", "erasures", ["erased_at"], postgresql_where=sa.text("purged_at IS NULL"))
    op.execute("ALTER TABLE erasures OWNER TO owner")
    op.execute("ALTER TABLE erasures ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
    policy("erasures")
    op.execute("GRANT SELECT, INSERT, UPDATE (erased_at, purged_at) ON erasures TO app")
    op.execute("GRANT SELECT, UPDATE (purged_at) ON erasures TO worker")
    op.execute("GRANT SELECT ON erasures TO etl_read")


def narrow_rights() -> None:
    op.execute("REVOKE ALL ON users, tenants, phone_numbers, tenant_users FROM app, worker")
    op.execute("GRANT SELECT ON tenants, phone_numbers, tenant_users TO app, worker")
    op.execute(f"GRANT SELECT ({USER_COLUMNS}) ON users TO app")
    op.execute(f"GRANT UPDATE ({TENANT_COLUMNS}) ON tenants TO app, worker")
    op.execute(f"GRANT UPDATE ({NUMBER_COLUMNS}) ON phone_numbers TO app, worker")
    op.execute("REVOKE INSERT, UPDATE, DELETE ON api_keys FROM worker")
    # Dead rows and the samples that statistics are made of outlive a person until somebody tidies up: the purge does.
    op.execute("GRANT MAINTAIN ON ALL TABLES IN SCHEMA public TO worker")
    op.execute("ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT MAINTAIN ON TABLES TO worker")


def downgrade() -> None:
    op.execute("ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE MAINTAIN ON TABLES FROM worker")
    op.execute("REVOKE MAINTAIN ON ALL TABLES IN SCHEMA public FROM worker")
    op.create_index(
        "ix_inbound_events_unapplied",
        "inbound_events",
        ["tenant_id"],
        postgresql_where=sa.text("processed_at IS NULL OR error IS NOT NULL OR kind IN ('echo', 'other')"),
    )
    for function in DEFINERS:
        op.execute(f"ALTER FUNCTION {function} SET search_path = pg_catalog, public")
    op.execute("GRANT INSERT, UPDATE, DELETE ON api_keys TO worker")
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON phone_numbers, tenant_users TO app, worker")
    op.execute("GRANT SELECT, UPDATE ON users, tenants TO app, worker")
    op.drop_table("erasures")
