"""A scheduled campaign is planned when it starts, so the sweeper looks for those whose time has come.

What was planned when it was scheduled is taken back: it goes to the people, in the words, that hold when it starts.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

SCHEDULED = "SELECT tenant_id, id FROM campaigns WHERE status = 'scheduled'"
LOOK_UP = """
    CREATE OR REPLACE FUNCTION tenants_with_work(at timestamptz) RETURNS TABLE (tenant_id uuid, work text)
    STABLE LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
        SELECT DISTINCT o.tenant_id, 'outbound' FROM outbound_messages o
        WHERE (o.state = 'queued' AND o.due_at <= at) OR (o.state = 'sending' AND o.lease_until <= at)
        {campaigns}
        UNION ALL
        SELECT DISTINCT i.tenant_id, 'inbound' FROM inbound_events i WHERE i.processed_at IS NULL $$
"""
CAMPAIGNS = """UNION
        SELECT c.tenant_id, 'outbound' FROM campaigns c WHERE c.status = 'scheduled' AND c.start_date <= at"""


def upgrade() -> None:
    op.create_index(
        "ix_campaigns_scheduled", "campaigns", ["start_date"], postgresql_where=sa.text("status = 'scheduled'")
    )
    op.execute("GRANT SELECT ON campaigns TO auth")
    op.execute(LOOK_UP.format(campaigns=CAMPAIGNS))
    for table in ("outbound_messages", "decisions"):
        op.execute(f"DELETE FROM {table} WHERE (tenant_id, campaign_id) IN ({SCHEDULED})")


def downgrade() -> None:
    op.execute(LOOK_UP.format(campaigns=""))
    op.execute("REVOKE SELECT ON campaigns FROM auth")
    op.drop_index("ix_campaigns_scheduled", "campaigns")
