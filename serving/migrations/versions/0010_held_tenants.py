"""Which tenants the publication says something of: that theirs is an earlier one, or leaves rows out."""

from __future__ import annotations

from alembic import op

from serving.migrations.isolation import CURRENT_TENANT

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    # Replaced by every publication, as marts.publications is; empty until then.
    op.execute("""
        CREATE TABLE marts.publication_notes (
            tenant_id uuid PRIMARY KEY, snapshot_id text, as_of timestamptz, published_at timestamptz,
            held_because text, set_aside jsonb NOT NULL
        )
    """)
    op.execute("ALTER TABLE marts.publication_notes ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY tenant_isolation ON marts.publication_notes USING (tenant_id = {CURRENT_TENANT})")
    op.execute("GRANT SELECT ON marts.publication_notes TO app, worker")
    op.execute("ALTER TABLE marts.publication_notes OWNER TO publisher")


def downgrade() -> None:
    op.execute("DROP TABLE marts.publication_notes")
