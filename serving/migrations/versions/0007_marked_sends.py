"""A send is marked before its request leaves: an attempt stands without an answer until one is known."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

ANSWER = "finished_at, outcome, provider_id, error_code, error_detail"


def upgrade() -> None:
    op.alter_column("send_attempts", "finished_at", nullable=True)
    op.alter_column("send_attempts", "outcome", nullable=True)
    op.execute(f"GRANT UPDATE ({ANSWER}) ON send_attempts TO worker")
    op.create_index("ix_outbound_messages_contact", "outbound_messages", ["tenant_id", "contact_id"])
    op.create_index(
        "ix_outbound_messages_unanswered",
        "outbound_messages",
        ["tenant_id", "contact_id"],
        postgresql_where=sa.text("state IN ('sending', 'unknown')"),
    )


def downgrade() -> None:
    op.drop_index("ix_outbound_messages_unanswered", "outbound_messages")
    op.drop_index("ix_outbound_messages_contact", "outbound_messages")
    op.execute(f"REVOKE UPDATE ({ANSWER}) ON send_attempts FROM worker")
    op.execute("DELETE FROM send_attempts WHERE outcome IS NULL")
    op.alter_column("send_attempts", "outcome", nullable=False)
    op.alter_column("send_attempts", "finished_at", nullable=False)
