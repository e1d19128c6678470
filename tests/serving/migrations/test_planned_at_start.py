"""Campaigns that were scheduled, and planned, before planning moved to the start."""

from __future__ import annotations

import os

import psycopg

from orchestration.runtime.postgres import EmbeddedPostgres
from serving.migrations.service import LOGIN_ROLES, create_database, migrate

CAMPAIGN = """
    INSERT INTO campaigns (tenant_id, name, status, message_template)
    SELECT id, %(status)s, %(status)s, 'Hi' FROM tenants
"""
PLANNED = (
    """INSERT INTO outbound_messages (tenant_id, campaign_id, contact_id, phone_number_id, payload, payload_hash,
        due_at) SELECT k.tenant_id, k.id, c.id, n.id, '{}', 'hash', now()
        FROM campaigns k, contacts c, phone_numbers n""",
    """INSERT INTO decisions (tenant_id, campaign_id, contact_id, stage, outcome, reason, policy_version, decided_at)
        SELECT k.tenant_id, k.id, c.id, 'plan', 'send', 'eligible', '1', now() FROM campaigns k, contacts c""",
)


class TestUpgrade:
    def test_what_was_planned_is_taken_back_from_the_scheduled_only(self, home) -> None:
        name = f"upgrade_planned_{os.getpid()}"
        url = EmbeddedPostgres(home).url("postgres", "postgres_admin", name)
        passwords = {role: home.secrets()[f"postgres_{role}"] for role in LOGIN_ROLES}
        create_database(url)
        migrate(url, passwords, "0007")
        with psycopg.connect(url) as connection:
            connection.execute("INSERT INTO tenants (slug, name) VALUES ('ours', 'Ours')")
            connection.execute("INSERT INTO contacts (tenant_id) SELECT id FROM tenants")
            connection.execute(
                "INSERT INTO phone_numbers (tenant_id, phone, provider_number_id) SELECT id, '+999100000001', '1'"
                " FROM tenants"
            )
            for status in ("scheduled", "running", "paused"):
                connection.execute(CAMPAIGN, {"status": status})
            for statement in PLANNED:
                connection.execute(statement)
        migrate(url, passwords)
        with psycopg.connect(url) as connection:
            for table in ("outbound_messages", "decisions"):
                kept = connection.execute(
                    f"SELECT k.status FROM {table} JOIN campaigns k ON k.id = campaign_id ORDER BY 1"
                ).fetchall()
                assert kept == [("paused",), ("running",)]
        server = EmbeddedPostgres(home).url("postgres", "postgres_admin", "postgres")
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
