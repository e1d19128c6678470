"""Scores say how sure they are, which model file made them and since when their tier holds; every published one is
kept."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from serving.migrations.isolation import policy

revision = "0006"
down_revision = "0005"

# What the warehouse has always read of a score; the rest is for the product alone.
INGESTED = (
    "tenant_id", "id", "contact_id", "model", "model_version", "score", "probability", "tier", "reasons",
    "feature_snapshot_id", "scored_at", "created_at", "updated_at", "changed_xid",
)  # fmt: skip
ADDED = ("digest", "probability_low", "probability_high", "interval_level", "tier_since")


def upgrade() -> None:
    op.execute("REVOKE SELECT ON scores FROM etl_read")
    op.execute(f"GRANT SELECT ({', '.join(INGESTED)}) ON scores TO etl_read")
    op.add_column("scores", sa.Column("digest", sa.Text(), nullable=True))
    for name in ("probability_low", "probability_high", "interval_level"):
        op.add_column("scores", sa.Column(name, sa.Float(), nullable=True))
    op.add_column("scores", sa.Column("tier_since", sa.DateTime(timezone=True), nullable=True))
    # The warehouse sees none of this: no score is marked as changed, or all would be ingested again.
    op.execute("ALTER TABLE scores DISABLE TRIGGER mark_changed")
    op.execute("UPDATE scores SET tier_since = scored_at")
    op.execute("ALTER TABLE scores ENABLE TRIGGER mark_changed")
    op.alter_column("scores", "tier_since", nullable=False, server_default=sa.text("now()"))
    op.create_check_constraint(op.f("ck_scores_interval"), "scores", "probability_low <= probability_high")
    create_history()


def create_history() -> None:
    op.create_table(
        "score_history",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("contact_id", sa.Uuid(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("model_version", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=True),
        sa.Column("score", sa.Float(), nullable=False),
        sa.Column("probability", sa.Float(), nullable=False),
        sa.Column("probability_low", sa.Float(), nullable=True),
        sa.Column("probability_high", sa.Float(), nullable=True),
        sa.Column("interval_level", sa.Float(), nullable=True),
        sa.Column("tier", sa.Text(), nullable=False),
        sa.Column("reasons", sa.dialects.postgresql.JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False),
        sa.Column("feature_snapshot_id", sa.Text(), nullable=False),
        sa.Column("scored_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("is_lasting", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "contact_id"],
            ["contacts.tenant_id", "contacts.id"],
            name=op.f("fk_score_history_tenant_id_contacts"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_score_history")),
        # Named for its columns' order: a contact's history is read by it, newest first.
        sa.UniqueConstraint(
            "tenant_id",
            "contact_id",
            "model",
            "scored_at",
            name=op.f("uq_score_history_tenant_id_contact_id_model_scored_at"),
        ),
    )
    op.create_index("ix_score_history_age", "score_history", ["tenant_id", "model", "scored_at"])
    op.execute("ALTER TABLE score_history OWNER TO owner")
    op.execute("ALTER TABLE score_history ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
    policy("score_history")
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON score_history TO worker")
    op.execute("GRANT SELECT ON score_history TO app")


def downgrade() -> None:
    op.drop_table("score_history")
    op.drop_constraint(op.f("ck_scores_interval"), "scores")
    for name in ADDED:
        op.drop_column("scores", name)
    op.execute("GRANT SELECT ON scores TO etl_read")
