"""Histories of any size for benchmarks, made inside PostgreSQL: one tenant, twenty messages a contact and year.

Keys and indexes of the tables that are filled are dropped first, all but what ingest reads by: what is measured is
reading.
"""

from __future__ import annotations

import datetime as dt

import psycopg
from psycopg import sql

SLUG = "scale"
MESSAGES_A_CONTACT = 20
DAYS = 365
WEEK = 7

# The i-th message of m lies at i/m of the span: rows stand in the order in which they would have arrived.
FILLED = (
    "contacts", "conversations", "consents", "consent_events", "messages", "message_status_events", "replies", "orders",
    "order_items", "outbound_messages", "decisions",
)  # fmt: skip
PREPARE = """
CREATE SCHEMA made;
CREATE FUNCTION made.id(kind text, number bigint) RETURNS uuid LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$ SELECT md5(kind || number)::uuid $$;
DO $$ DECLARE one record; BEGIN
    FOR one IN SELECT conrelid::regclass AS relation, conname FROM pg_constraint
        WHERE conrelid = ANY (%(filled)s::regclass[]) AND contype IN ('f', 'p', 'u') ORDER BY contype = 'f' DESC
    LOOP EXECUTE format('ALTER TABLE %%s DROP CONSTRAINT IF EXISTS %%I CASCADE', one.relation, one.conname); END LOOP;
    FOR one IN SELECT indexrelid::regclass AS name FROM pg_index WHERE indrelid = ANY (%(filled)s::regclass[])
    LOOP EXECUTE format('DROP INDEX %%s', one.name); END LOOP;
END $$;
"""

PEOPLE = """
INSERT INTO contacts (tenant_id, id, name, phone, custom_data, known_at, created_at, updated_at)
    SELECT %(tenant)s, made.id('contact', n), 'A name', '+9991' || lpad(n::text, 9, '0'),
        jsonb_build_object('age', 18 + n %% 60, 'member', n %% 3 = 0), %(start)s, %(start)s, %(start)s
    FROM generate_series(1, %(contacts)s) n;
INSERT INTO conversations (tenant_id, id, contact_id, started_at, last_message_at)
    SELECT %(tenant)s, made.id('conversation', n), made.id('contact', n), %(start)s, %(end)s
    FROM generate_series(1, %(contacts)s) n;
INSERT INTO consents (tenant_id, contact_id, purpose, status, effective_at, source)
    SELECT %(tenant)s, made.id('contact', n), 'marketing', 'opted_in', %(start)s, 'form'
    FROM generate_series(1, %(contacts)s) n;
INSERT INTO consent_events (tenant_id, contact_id, event_key, purpose, status, occurred_at, source, known_at)
    SELECT %(tenant)s, made.id('contact', n), 'made-' || n, 'marketing', 'opted_in', %(start)s, 'form', %(start)s
    FROM generate_series(1, %(contacts)s) n;
INSERT INTO campaigns (tenant_id, id, name, message_template, attributes, conversion_event, known_at)
    SELECT %(tenant)s, made.id('campaign', n), 'Campaign ' || n, 'Hello', '{"offer_type": "discount"}', 'order',
        %(start)s
    FROM generate_series(0, 60) n;
"""

# Four in five messages are ours, of the week's campaign. Everything about a message follows from its number.
TRAFFIC = """
CREATE TEMP TABLE arriving AS
    SELECT i, 1 + floor(random() * %(contacts)s)::bigint AS n, random() AS chance,
        CASE WHEN random() < %(late)s THEN -random() * interval '5 days' ELSE interval '0' END
            + %(start)s + (i - %(first)s)::float8 / %(count)s * (%(end)s::timestamptz - %(start)s) AS at,
        %(start)s + (i - %(first)s)::float8 / %(count)s * (%(end)s::timestamptz - %(start)s) AS known
    FROM generate_series(%(first)s, %(first)s + %(count)s - 1) i;
INSERT INTO messages (tenant_id, id, contact_id, conversation_id, campaign_id, direction, text, status, timestamp,
        provider_id, known_at)
    SELECT %(tenant)s, made.id('message', i), made.id('contact', n), made.id('conversation', n),
        CASE WHEN chance < 0.8
            THEN made.id('campaign', floor(extract(epoch from at - %(origin)s) / 604800)::bigint) END,
        CASE WHEN chance < 0.8 THEN 'outbound' ELSE 'inbound' END, 'Hello, what is new?', 'sent', at, 'wamid.' || i,
        known
    FROM arriving;
INSERT INTO message_status_events (tenant_id, message_id, status, occurred_at, known_at)
    SELECT %(tenant)s, made.id('message', i), status, at + after, known + after
    FROM arriving, (VALUES
        ('sent', interval '1 second', 0.8), ('delivered', '4 seconds', 0.76), ('read', '1 hour', 0.5)
    ) happened (status, after, below)
    WHERE chance < below AND known + after < %(end)s;
INSERT INTO replies (tenant_id, message_id, contact_id, in_reply_to_id, text, timestamp, known_at)
    SELECT %(tenant)s, made.id('message', i), made.id('contact', n), NULL, 'Yes', at, known
    FROM arriving WHERE chance > 0.9;
INSERT INTO orders (tenant_id, id, contact_id, external_id, platform, status, total_cents, ordered_at, known_at)
    SELECT %(tenant)s, made.id('order', i), made.id('contact', n), 'order-' || i, 'shop', 'delivered', 500 + i %% 9000,
        at + interval '2 hours', known + interval '2 hours'
    FROM arriving WHERE chance < 0.05 AND known + interval '2 hours' < %(end)s;
INSERT INTO order_items (tenant_id, order_id, name, quantity, price_cents)
    SELECT %(tenant)s, made.id('order', i), 'Thing', 1, 500 + i %% 9000
    FROM arriving WHERE chance < 0.05 AND known + interval '2 hours' < %(end)s;
INSERT INTO outbound_messages (tenant_id, id, campaign_id, contact_id, phone_number_id, payload, payload_hash, state,
        due_at, accepted_at)
    SELECT %(tenant)s, made.id('message', i), made.id('campaign', 0), made.id('contact', n), made.id('number', 1), '{}',
        '', 'accepted', at, at FROM arriving WHERE chance < 0.04;
INSERT INTO decisions (tenant_id, campaign_id, contact_id, outbound_message_id, stage, outcome, reason, policy_version,
        decided_at)
    SELECT %(tenant)s, made.id('campaign', 0), made.id('contact', n), made.id('message', i), 'plan', 'send', 'assigned',
        '1', at FROM arriving WHERE chance < 0.04;
DROP TABLE arriving;
"""


def make_history(admin_url: str, messages: int, end: dt.datetime) -> str:
    """The id of a new tenant with a year of `messages` before `end` (UTC), and one contact for twenty of them."""
    contacts = messages // MESSAGES_A_CONTACT
    start = end - dt.timedelta(days=DAYS)
    with psycopg.connect(admin_url) as connection:
        psycopg.ClientCursor(connection).execute(PREPARE, {"filled": list(FILLED)})
        connection.execute("SET session_replication_role = replica")
        row = connection.execute(
            "INSERT INTO tenants (slug, name) VALUES (%s, 'Scale') RETURNING id", [SLUG]
        ).fetchone()
        assert row is not None
        people = {"tenant": row[0], "contacts": contacts, "start": start, "end": end}
        _perform(connection, PEOPLE, people)
        traffic = {"first": 1, "count": messages, "late": 0.0, "origin": start}
        _perform(connection, TRAFFIC, people | traffic)
        for table in FILLED:  # what ingest looks rows up by
            connection.execute(sql.SQL("CREATE INDEX ON {} (changed_xid)").format(sql.Identifier(table)))
    _vacuum(admin_url)
    return str(row[0])


def add_day(admin_url: str, messages: int, end: dt.datetime) -> int:
    """One more day of the same traffic, up to `end`; a tenth of it tells of the five days before. How many messages."""
    count = messages // DAYS
    with psycopg.connect(admin_url) as connection:
        connection.execute("SET session_replication_role = replica")
        row = connection.execute("SELECT id FROM tenants WHERE slug = %s", [SLUG]).fetchone()
        assert row is not None
        start, origin = end - dt.timedelta(days=1), end - dt.timedelta(days=DAYS + 1)
        numbers = {"tenant": row[0], "contacts": messages // MESSAGES_A_CONTACT, "start": start, "end": end}
        traffic = {"first": messages + 1, "count": count, "late": 0.1, "origin": origin}
        _perform(connection, TRAFFIC, numbers | traffic)
    return count


def _perform(connection: psycopg.Connection[object], script: str, values: dict[str, object]) -> None:
    connection.execute("SET synchronous_commit = off")
    connection.execute("SELECT setseed(0.5)")
    for statement in script.split(";\n"):
        if statement.strip():
            psycopg.ClientCursor(connection).execute(statement, values)


def _vacuum(admin_url: str) -> None:
    """So that the first reader does not pay for the writer's leavings."""
    with psycopg.connect(admin_url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
