"""Scores that were there before their history began."""

from __future__ import annotations

import os

import psycopg

from orchestration.runtime.postgres import EmbeddedPostgres
from serving.migrations.service import LOGIN_ROLES, create_database, migrate


class TestUpgrade:
    def test_scores_keep_their_tiers_age_and_are_not_ingested_again(self, home) -> None:
        url = EmbeddedPostgres(home).url("postgres", "postgres_admin", f"upgrade_{os.getpid()}")
        passwords = {role: home.secrets()[f"postgres_{role}"] for role in LOGIN_ROLES}
        create_database(url)
        migrate(url, passwords, "0005")
        with psycopg.connect(url) as connection:
            connection.execute("INSERT INTO tenants (slug, name) VALUES ('ours', 'Ours')")
            connection.execute("INSERT INTO contacts (tenant_id) SELECT id FROM tenants")
            connection.execute(
                "INSERT INTO scores (tenant_id, contact_id, model, model_version, score, probability, tier,"
                " feature_snapshot_id, scored_at) SELECT tenant_id, id, 'churn', '1', 5, 0.5, 'low', 's', '2026-01-01'"
                " FROM contacts"
            )
            before = connection.execute("SELECT changed_xid, updated_at FROM scores").fetchall()
        migrate(url, passwords)
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT changed_xid, updated_at FROM scores").fetchall() == before
            assert connection.execute("SELECT tier_since = scored_at, digest FROM scores").fetchall() == [(True, None)]
            # From now on a change is seen as before.
            connection.execute("UPDATE scores SET score = 6")
            assert connection.execute("SELECT changed_xid, updated_at FROM scores").fetchall() != before
        server = EmbeddedPostgres(home).url("postgres", "postgres_admin", "postgres")
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE upgrade_{os.getpid()} WITH (FORCE)")
