from __future__ import annotations

import datetime as dt

import psycopg
import pytest

from serving.analytics.service import day_began_at


@pytest.fixture(scope="module")
def busy(make_tenant, database):
    """A business in Berlin. At the clock's 2026-03-10 12:00 UTC its day began on the 9th at 23:00 UTC."""
    made = make_tenant(timezone="Europe/Berlin")
    with psycopg.connect(database.admin) as connection:
        connection.execute("SELECT set_config('test.tenant', %s, false)", (str(made.tenant_id),))
        connection.execute("""
            WITH t AS (SELECT current_setting('test.tenant')::uuid AS id),
            people AS (
                INSERT INTO contacts (tenant_id, name) SELECT id, n::text FROM t, generate_series(1, 4) n
                RETURNING tenant_id, id, name
            ),
            talks AS (
                INSERT INTO conversations (tenant_id, contact_id, started_at, last_message_at, status)
                SELECT tenant_id, id, '2026-01-01Z', CASE name WHEN '1' THEN '2026-03-09T12:00:00Z'::timestamptz
                    ELSE '2026-03-10T11:00:00Z' END, CASE name WHEN '2' THEN 'archived' ELSE 'open' END FROM people
                RETURNING tenant_id, id, contact_id
            ),
            said AS (
                INSERT INTO messages (tenant_id, contact_id, conversation_id, direction, status, timestamp, provider_id)
                SELECT k.tenant_id, contact_id, k.id, m.direction, 'sent', m.at, m.at || m.direction || contact_id
                FROM talks k, (VALUES ('inbound', '2026-03-09T23:00:00Z'::timestamptz),
                    ('inbound', '2026-03-09T22:59:59Z'), ('outbound', '2026-03-10T11:00:00Z'),
                    ('outbound', '2026-03-10T12:00:01Z')) AS m (direction, at)
            ),
            bought AS (
                INSERT INTO orders (tenant_id, contact_id, external_id, platform, status, total_cents, currency,
                                    ordered_at)
                SELECT tenant_id, id, o.n, 'shop', o.status, o.cents, o.currency, o.at FROM people, (VALUES
                    ('1', 'pending', 1000, 'EUR', '2026-03-10T09:00:00Z'::timestamptz),
                    ('2', 'cancelled', 7777, 'EUR', '2026-03-10T09:00:00Z'),
                    ('3', 'delivered', 250, 'USD', '2026-03-01T09:00:00Z'),
                    ('4', 'delivered', 9999, 'EUR', '2026-01-01T09:00:00Z')) AS o (n, status, cents, currency, at)
                WHERE name = '1'
            ),
            calls AS (
                INSERT INTO usage_records (tenant_id, date, api_calls)
                SELECT id, u.date, u.calls FROM t, (VALUES ('2026-03-10'::date, 7), ('2026-02-09', 5),
                    ('2026-02-08', 1000)) AS u (date, calls)
            ),
            runs AS (
                INSERT INTO campaigns (tenant_id, name, message_template, status)
                SELECT id, s, 'hi', s FROM t, unnest(ARRAY['running', 'paused', 'draft']) s
            )
            INSERT INTO scores (tenant_id, contact_id, model, model_version, score, probability, tier,
                                feature_snapshot_id, scored_at)
            SELECT tenant_id, id, model, '1', 60 + 10 * name::int, 0.5, 'warm', 's', now()
            FROM people, unnest(ARRAY['lead_scoring', 'churn']) model
        """)
    return made


@pytest.fixture
def at_noon(clock):
    clock.now = dt.datetime(2026, 3, 10, 12, tzinfo=dt.UTC)


class TestDashboard:
    def test_counts_what_is_the_tenants_and_happened_on_its_day(self, api, busy, at_noon):
        seen = api.get("/api/v1/analytics/dashboard", headers={"X-API-Key": busy.api_key}).json()
        assert seen == {
            "as_of": "2026-03-10T12:00:00Z",
            "timezone": "Europe/Berlin",
            "today_began_at": "2026-03-09T23:00:00Z",
            "active_conversations": 2,  # one of the four is archived, one has been silent for 24 hours
            "messages_today": {"inbound": 4, "outbound": 4},
            "campaigns": {"total": 3, "running": 1, "scheduled": 0, "paused": 1},
            "hot_leads": 2,  # 90 and 100; 80 is not above 80
            "today": {"orders": 1, "revenue_cents": {"EUR": 1000}},
            "last_30_days": {"orders": 2, "revenue_cents": {"EUR": 1000, "USD": 250}},
            "api_usage": {"calls_today": 7, "calls_last_30_days": 12},
            "published": None,
        }

    def test_a_stranger_sees_none_of_it(self, api, busy, as_stranger, at_noon):
        seen = api.get("/api/v1/analytics/dashboard", headers=as_stranger).json()
        assert (seen["active_conversations"], seen["hot_leads"], seen["last_30_days"]["orders"]) == (0, 0, 0)


class TestHotLeads:
    def test_are_the_best_first_and_all_are_counted(self, api, busy):
        headers = {"X-API-Key": busy.api_key}
        seen = api.get("/api/v1/analytics/hot-leads", headers=headers, params={"limit": 1}).json()
        assert (seen["total"], seen["threshold"]) == (2, 80.0)
        assert [(lead["name"], lead["score"], lead["marketing_consent"]) for lead in seen["leads"]] == [
            ("4", 100.0, "none")
        ]

    def test_a_lead_that_no_mart_knows_yet_is_told_with_what_it_ordered(self, api, make_tenant, database, at_noon):
        made = make_tenant()
        with psycopg.connect(database.admin) as connection:
            connection.execute(
                """
                WITH people AS (
                    INSERT INTO contacts (tenant_id, name, phone)
                    SELECT %(t)s, name, '+99930001000' || length(name) FROM unnest(ARRAY['buyer', 'nobody']) name
                    RETURNING id, name
                ), sold AS (
                    INSERT INTO orders (tenant_id, contact_id, external_id, platform, status, total_cents, ordered_at)
                    SELECT %(t)s, id, at || state, 'shop', state, 700, at::timestamptz
                    FROM people, (VALUES ('2026-03-02 12:00Z', 'shipped'), ('2025-01-01 12:00Z', 'delivered'),
                                         ('2026-03-09 12:00Z', 'cancelled')) AS made (at, state)
                    WHERE name = 'buyer'
                )
                INSERT INTO scores (tenant_id, contact_id, model, model_version, score, probability, tier,
                                    feature_snapshot_id, scored_at)
                SELECT %(t)s, id, 'lead_scoring', '1', 90 + length(name), 0.5, 'hot', 's', now() FROM people
                """,
                {"t": made.tenant_id},
            )
        leads = api.get("/api/v1/analytics/hot-leads", headers={"X-API-Key": made.api_key}).json()["leads"]
        told = [(lead["name"], lead["last_order_at"], lead["orders_90d"], lead["revenue_90d_cents"]) for lead in leads]
        assert told == [("nobody", None, 0, 0), ("buyer", "2026-03-02T12:00:00Z", 1, 700)]


@pytest.mark.parametrize(
    ("now", "timezone", "expected"),
    [
        ("2026-03-29T10:00:00Z", "Europe/Berlin", "2026-03-28T23:00:00Z"),  # clocks go forward at 01:00 UTC
        ("2026-10-25T10:00:00Z", "Europe/Berlin", "2026-10-24T22:00:00Z"),  # and back
        ("2026-06-01T01:00:00Z", "America/New_York", "2026-05-31T04:00:00Z"),
        ("2026-06-01T01:00:00Z", "UTC", "2026-06-01T00:00:00Z"),
    ],
)
def test_a_day_begins_at_the_local_midnight(now, timezone, expected):
    assert day_began_at(dt.datetime.fromisoformat(now), timezone) == dt.datetime.fromisoformat(expected)
