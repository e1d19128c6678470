"""A schema for the marts that the warehouse publishes, and the role that owns it."""

from __future__ import annotations

from alembic import op

from serving.migrations.isolation import CURRENT_TENANT

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.execute("CREATE SCHEMA marts")
    op.execute("GRANT USAGE ON SCHEMA marts TO app, worker")
    op.execute("GRANT USAGE, CREATE ON SCHEMA marts TO publisher")
    # Which snapshot the tables of the schema are. It is replaced together with them; until then it is empty.
    op.execute("""
        CREATE TABLE marts.publications (
            snapshot_id text NOT NULL, as_of timestamptz NOT NULL, published_at timestamptz NOT NULL,
            table_name text PRIMARY KEY, rows bigint NOT NULL
        )
    """)
    op.execute("ALTER TABLE marts.publications ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY any_tenant ON marts.publications FOR SELECT USING ({CURRENT_TENANT} IS NOT NULL)")
    # How many rows all tenants have together is nobody's business: `rows` is not granted.
    op.execute("GRANT SELECT (snapshot_id, as_of, published_at, table_name) ON marts.publications TO app, worker")
    op.execute("ALTER TABLE marts.publications OWNER TO publisher")
    op.execute("ALTER SCHEMA marts OWNER TO publisher")


def downgrade() -> None:
    op.execute("DROP SCHEMA marts CASCADE")
