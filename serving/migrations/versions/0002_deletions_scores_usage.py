"""Deletions are remembered for the warehouse; scores and daily usage become tables it reads."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from serving.migrations.isolation import policy
from serving.models.base import Xid8

revision = "0002"
down_revision = "0001"

READ_BY_WAREHOUSE = (
    "tenants",
    "campaigns",
    "contacts",
    "consents",
    "consent_events",
    "conversations",
    "messages",
    "message_status_events",
    "replies",
    "orders",
    "order_items",
    "conversions",
    "outbound_messages",
    "decisions",
    "scores",
    "usage_records",
)


def upgrade() -> None:
    create_usage_records()
    track_scores()
    create_deleted_rows()
    remember_deletions()


def downgrade() -> None:
    for table in READ_BY_WAREHOUSE:
        op.execute(f'DROP TRIGGER "A_remember_deleted" ON {table}')
        op.execute(f"DROP TRIGGER refuse_truncate ON {table}")
    op.execute("DROP FUNCTION remember_deleted(), refuse_truncate()")
    op.drop_table("deleted_rows")
    op.drop_table("usage_records")
    op.execute("DROP TRIGGER mark_changed ON scores")
    op.drop_column("scores", "changed_xid")
    op.drop_column("scores", "updated_at")
    op.execute("REVOKE SELECT ON scores FROM etl_read")


def create_usage_records() -> None:
    op.create_table(
        "usage_records",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("date", sa.Date(), nullable=False),
        sa.Column("api_calls", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("messages_sent", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("changed_xid", Xid8(), server_default=sa.text("pg_current_xact_id()"), nullable=False),
        sa.CheckConstraint("api_calls >= 0 AND messages_sent >= 0", name=op.f("ck_usage_records_counts")),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_usage_records_tenant_id_tenants"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_usage_records")),
        sa.UniqueConstraint("tenant_id", "date", name=op.f("uq_usage_records_tenant_id_date")),
    )
    op.create_index(op.f("ix_usage_records_changed_xid"), "usage_records", ["changed_xid"])
    secure("usage_records", "SELECT, INSERT, UPDATE, DELETE")
    op.execute("GRANT SELECT ON usage_records TO etl_read")
    op.execute("CREATE TRIGGER mark_changed BEFORE UPDATE ON usage_records FOR EACH ROW EXECUTE FUNCTION mark_changed()")


def track_scores() -> None:
    op.add_column(
        "scores",
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
    )
    op.add_column(
        "scores", sa.Column("changed_xid", Xid8(), server_default=sa.text("pg_current_xact_id()"), nullable=False)
    )
    op.create_index(op.f("ix_scores_changed_xid"), "scores", ["changed_xid"])
    op.execute("GRANT SELECT ON scores TO etl_read")
    op.execute("CREATE TRIGGER mark_changed BEFORE UPDATE ON scores FOR EACH ROW EXECUTE FUNCTION mark_changed()")


def create_deleted_rows() -> None:
    op.create_table(
        "deleted_rows",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("table_name", sa.Text(), nullable=False),
        sa.Column("row_id", sa.Uuid(), nullable=False),
        sa.Column("contact_id", sa.Uuid(), nullable=True),
        sa.Column("deleted_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("changed_xid", Xid8(), server_default=sa.text("pg_current_xact_id()"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_deleted_rows")),
    )
    op.create_index(op.f("ix_deleted_rows_changed_xid"), "deleted_rows", ["changed_xid"])
    op.create_index("ix_deleted_rows_row", "deleted_rows", ["tenant_id", "table_name", "row_id"])
    secure("deleted_rows", "SELECT")
    op.execute("GRANT SELECT ON deleted_rows TO etl_read")


def remember_deletions() -> None:
    # Writes as a role above the tenants: a tenant's own session may neither forge nor lose what it deleted.
    op.execute("GRANT SELECT, INSERT ON deleted_rows TO auth")
    op.execute("GRANT SELECT ON messages, orders TO auth")
    op.execute("""
        CREATE FUNCTION remember_deleted() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
        SET search_path = pg_catalog, public AS $$
        DECLARE
            tenant uuid;
            contact uuid;
        BEGIN
            IF TG_TABLE_NAME = 'tenants' THEN
                tenant := OLD.id;
            ELSE
                tenant := OLD.tenant_id;
            END IF;
            IF TG_TABLE_NAME = 'contacts' THEN
                contact := OLD.id;
            ELSIF TG_TABLE_NAME = 'message_status_events' THEN
                contact := coalesce(
                    (SELECT m.contact_id FROM messages m WHERE m.tenant_id = tenant AND m.id = OLD.message_id),
                    (SELECT d.contact_id FROM deleted_rows d
                     WHERE d.tenant_id = tenant AND d.table_name = 'messages' AND d.row_id = OLD.message_id LIMIT 1));
            ELSIF TG_TABLE_NAME = 'order_items' THEN
                contact := coalesce(
                    (SELECT o.contact_id FROM orders o WHERE o.tenant_id = tenant AND o.id = OLD.order_id),
                    (SELECT d.contact_id FROM deleted_rows d
                     WHERE d.tenant_id = tenant AND d.table_name = 'orders' AND d.row_id = OLD.order_id LIMIT 1));
            ELSIF TG_TABLE_NAME NOT IN ('tenants', 'campaigns', 'usage_records') THEN
                contact := OLD.contact_id;
            END IF;
            INSERT INTO deleted_rows (tenant_id, table_name, row_id, contact_id)
            VALUES (tenant, TG_TABLE_NAME, OLD.id, contact);
            RETURN NULL;
        END $$
    """)
    op.execute("GRANT CREATE ON SCHEMA public TO auth")
    op.execute("ALTER FUNCTION remember_deleted() OWNER TO auth")
    op.execute("REVOKE CREATE ON SCHEMA public FROM auth")
    op.execute("REVOKE ALL ON FUNCTION remember_deleted() FROM PUBLIC")
    op.execute("""
        CREATE FUNCTION refuse_truncate() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION 'TRUNCATE % would leave the warehouse with rows nobody deleted', TG_TABLE_NAME
                USING HINT = 'DELETE FROM it instead: deleted rows are remembered one by one.';
        END $$
    """)
    for table in READ_BY_WAREHOUSE:
        # Triggers fire by name, and this one before PostgreSQL's own cascades (RI_...): a message is remembered, with
        # its contact, when its status events ask for it.
        op.execute(
            f'CREATE TRIGGER "A_remember_deleted" AFTER DELETE ON {table}'
            " FOR EACH ROW EXECUTE FUNCTION remember_deleted()"
        )
        op.execute(f"CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON {table} EXECUTE FUNCTION refuse_truncate()")


def secure(table: str, rights: str) -> None:
    op.execute(f"ALTER TABLE {table} OWNER TO owner")
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
    policy(table)
    op.execute(f"GRANT {rights} ON {table} TO app, worker")
