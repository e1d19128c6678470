"""Marts as dbt builds them, six hand-worked days of one tenant in Berlin, published to PostgreSQL."""

from __future__ import annotations

import datetime as dt
import uuid

import psycopg
import pyarrow as pa
import pytest

from orchestration.runtime.postgres import EmbeddedPostgres
from serving.publication.service import publish_marts

AS_OF = dt.datetime(2026, 3, 10, 6, tzinfo=dt.UTC)
PUBLISHED_AT = dt.datetime(2026, 3, 10, 6, 5, tzinfo=dt.UTC)
CAMPAIGN, OTHER_CAMPAIGN = str(uuid.UUID(int=1)), str(uuid.UUID(int=2))


def day(number: int) -> dt.date:
    return dt.date(2026, 3, number)


def hour_at(number: int, local_hour: int) -> dt.datetime:
    """In winter Berlin's clocks are an hour ahead."""
    return dt.datetime(2026, 3, number, tzinfo=dt.UTC) + dt.timedelta(hours=local_hour - 1)


def rows(tenant: uuid.UUID, columns: str, *values: tuple) -> pa.Table:
    names = columns.split()
    cells = {name: [row[position] for row in values] for position, name in enumerate(names)}
    return pa.table({"tenant_id": [str(tenant)] * len(values)} | cells)


def volume(tenant, *values):
    columns = "hour_at local_date local_hour sent delivered read failed replied received"
    return rows(
        tenant, columns, *((hour_at(number, hour), day(number), hour, *counts) for number, hour, *counts in values)
    )


def engagement(tenant, *values):
    columns = (
        "local_date sent delivered read replied received active_contacts conversations response_seconds_sum"
        " reply_characters_sum replies_measured conversation_seconds_sum"
    )
    return rows(tenant, columns, *((day(number), *counts) for number, *counts in values))


def performance(tenant, *values):
    columns = (
        "campaign_id name type status first_sent_at last_sent_at first_sent_date last_sent_date eligible held_out"
        " suppressed sent delivered read failed replied opted_out converted currency attributed_revenue_cents"
        " incremental_revenue_cents cost_cents delivery_rate read_rate response_rate conversion_rate roi"
    )
    return rows(tenant, columns, *values)


def marts(tenant: uuid.UUID, hot_contact: uuid.UUID) -> dict[str, pa.Table]:
    sent = [
        (CAMPAIGN, "=cmd()", "broadcast", "completed", hour_at(8, 9), hour_at(9, 9), day(8), day(9), 12, 2, 1, 10, 8, 4,
         1, 2, 1, 3, "EUR", 9_000, 4_000, 500, 0.8, 0.5, 0.2, 0.3, 7.0),
        (OTHER_CAMPAIGN, "Spring", "drip", "running", hour_at(2, 9), hour_at(2, 9), day(2), day(2), 4, 0, 0, 4, 0, 0, 4,
         0, 0, 0, None, 0, None, None, 0.0, None, 0.0, 0.0, None),
    ]  # fmt: skip
    return {
        "mart_message_volume_hourly": volume(
            tenant,
            (9, 9, 5, 4, 2, 1, 1, 0), (9, 18, 1, 0, 0, 0, 0, 7), (8, 9, 5, 4, 2, 0, 1, 2), (2, 9, 4, 0, 0, 4, 0, 0),
        ),
        "mart_engagement": engagement(
            tenant, (9, 6, 4, 2, 1, 7, 5, 4, 120, 30, 2, 4_000), (8, 5, 4, 2, 1, 2, 3, 2, 60, 10, 1, 200),
            (2, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
        ),
        "mart_campaign_performance": performance(tenant, *sent),
        "mart_experiment_results": rows(
            tenant, "campaign_id arm difference difference_low difference_high is_significant",
            (CAMPAIGN, "treated", 0.2, -0.1, 0.5, False), (CAMPAIGN, "held_out", None, None, None, None),
        ),
        "mart_revenue": rows(
            tenant,
            "local_date currency orders cancelled_orders revenue_cents attributed_orders attributed_revenue_cents",
            (day(9), "EUR", 3, 1, 9_000, 2, 6_000), (day(8), "EUR", 1, 0, 3_000, 0, 0),
            (day(9), "USD", 1, 0, 250, 0, 0),
        ),
        "mart_usage": rows(tenant, "usage_date api_calls messages_sent", (day(9), 40, 6), (day(8), 20, 5)),
        "mart_hot_leads": rows(
            tenant, "contact_id last_inbound_at last_order_at orders_90d revenue_90d_cents",
            (str(hot_contact), hour_at(9, 18), None, 2, 4_200),
        ),
    }  # fmt: skip


@pytest.fixture(scope="module")
def publish(home, database):
    url = EmbeddedPostgres(home).url("publisher", "postgres_publisher", database.name)

    def publish(tables, snapshot_id="snapshot-1", as_of=AS_OF, notes=None):
        readers = {name: table.to_reader() for name, table in tables.items()}
        publish_marts(url, readers, snapshot_id, as_of, as_of + (PUBLISHED_AT - AS_OF), notes=notes)

    return publish


@pytest.fixture(scope="module")
def measured(make_tenant, database):
    """A tenant in Berlin with two campaigns and a hot lead, whose phone and name a spreadsheet could run."""
    made = make_tenant(timezone="Europe/Berlin")
    with psycopg.connect(database.admin) as connection:
        for campaign in (CAMPAIGN, OTHER_CAMPAIGN):
            connection.execute(
                "INSERT INTO campaigns (tenant_id, id, name, message_template) VALUES (%s, %s, 'c', 'hi')",
                (made.tenant_id, campaign),
            )
        (contact,) = connection.execute(
            "INSERT INTO contacts (tenant_id, name, phone) VALUES (%s, '=SUM(A1)', '+999300000001') RETURNING id",
            (made.tenant_id,),
        ).fetchone()
        connection.execute(
            "INSERT INTO scores (tenant_id, contact_id, model, model_version, score, probability, tier,"
            " feature_snapshot_id, scored_at) VALUES (%s, %s, 'lead_scoring', '1', 90, 0.5, 'hot', 's', now())",
            (made.tenant_id, contact),
        )
        connection.execute(
            "INSERT INTO usage_records (tenant_id, date, api_calls) VALUES (%(t)s, '2026-03-10', 3),"
            " (%(t)s, '2026-03-09', 40), (%(t)s, '2026-02-08', 500)",
            {"t": made.tenant_id},
        )
    return made, contact


@pytest.fixture(scope="module")
def tables(measured) -> dict[str, pa.Table]:
    made, contact = measured
    return marts(made.tenant_id, contact)


@pytest.fixture(scope="module")
def published(publish, measured, tables):
    """The tenant's API key, its marts published."""
    publish(tables)
    return {"X-API-Key": measured[0].api_key}
