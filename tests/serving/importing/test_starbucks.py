"""The example mapping on the data set it is for: no event is lost, and the only repeats are the documented ones."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import duckdb
import psycopg
import pytest

from serving.importing.service import import_history

EXAMPLE = Path(__file__).parents[3] / "docs" / "examples" / "starbucks" / "mapping.yaml"
NOW = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)
DOCUMENTED_REPEATS = 282


@pytest.fixture(scope="module")
def folder(shared_data) -> Path:
    return shared_data / "starbucks_offers"


@pytest.fixture(scope="module")
def imported(database, folder, tmp_path_factory):
    tenant_id = database.add_tenant("coffee")
    rejects = tmp_path_factory.mktemp("rejects")
    summary = import_history(
        database.app, tenant_id, EXAMPLE, NOW, rejects_dir=rejects, phone_key="k", variables={"data": str(folder)}
    )
    return tenant_id, summary


def one(database, query: str, *values: object) -> tuple:
    with psycopg.connect(database.admin) as connection:
        return connection.execute(query, values).fetchall()[0]


def test_every_event_is_there_but_for_the_documented_repeats(database, folder, imported):
    tenant_id, summary = imported
    in_file = dict(duckdb.sql(f"SELECT event, count(*) FROM '{folder / 'transcript.parquet'}' GROUP BY 1").fetchall())
    distinct = dict(
        duckdb.sql(
            f"SELECT event, count(DISTINCT (person, time_h, offer_id, amount, reward))"
            f" FROM '{folder / 'transcript.parquet'}' GROUP BY 1"
        ).fetchall()
    )
    kept = {
        "offer received": one(database, "SELECT count(*) FROM messages WHERE tenant_id = %s", tenant_id)[0],
        "offer viewed": one(database, "SELECT count(*) FROM message_status_events WHERE tenant_id = %s", tenant_id)[0],
        "offer completed": one(database, "SELECT count(*) FROM conversions WHERE tenant_id = %s", tenant_id)[0],
        "transaction": one(database, "SELECT count(*) FROM orders WHERE tenant_id = %s", tenant_id)[0],
    }
    for event in kept:
        print(f"{event}: {in_file[event]:,} in the file, {distinct[event]:,} distinct, {kept[event]:,} imported")
    assert kept == distinct
    assert sum(in_file.values()) - sum(kept.values()) == DOCUMENTED_REPEATS
    assert sum(table.duplicates for table in summary.tables.values()) == DOCUMENTED_REPEATS
    assert summary.rejected == 0


def test_money_and_people_are_those_of_the_file(database, folder, imported):
    tenant_id, _ = imported
    cents, people, missing_age = duckdb.sql(
        f"""SELECT (SELECT sum(round(amount * 100))::BIGINT FROM '{folder / "transcript.parquet"}'), count(*),
            count(*) FILTER (age = 118) FROM '{folder / "profile.parquet"}'"""
    ).fetchall()[0]
    assert one(database, "SELECT sum(total_cents) FROM orders WHERE tenant_id = %s", tenant_id)[0] == cents
    found = one(
        database,
        "SELECT count(*), count(*) FILTER (WHERE NOT custom_data ? 'age'), count(DISTINCT phone) FROM contacts"
        " WHERE tenant_id = %s",
        tenant_id,
    )
    assert found == (people, missing_age, people)


def test_waves_start_at_midnight_and_windows_are_the_offers(database, imported):
    tenant_id, _ = imported
    waves = one(
        database,
        """SELECT count(DISTINCT start_date), bool_and(start_date = date_trunc('day', start_date, 'UTC')),
            bool_and(attribution_seconds = 86400 * (attributes->>'duration')::numeric),
            bool_and(conversion_event = 'redemption'),
            bool_and(jsonb_typeof(attributes->'channels') = 'array') FROM campaigns WHERE tenant_id = %s""",
        tenant_id,
    )
    assert waves == (6, True, True, True, True)


def test_a_view_belongs_to_the_latest_receipt_before_it(database, imported):
    tenant_id, _ = imported
    early, better = one(
        database,
        """SELECT count(*) FILTER (WHERE s.occurred_at < m.timestamp), count(later.id)
        FROM message_status_events s JOIN messages m ON m.tenant_id = s.tenant_id AND m.id = s.message_id
        JOIN campaigns k ON k.tenant_id = m.tenant_id AND k.id = m.campaign_id
        LEFT JOIN campaigns other ON other.tenant_id = k.tenant_id
            AND split_part(other.external_id, '@', 1) = split_part(k.external_id, '@', 1)
            AND other.start_date > k.start_date
        LEFT JOIN messages later ON later.tenant_id = m.tenant_id AND later.contact_id = m.contact_id
            AND later.campaign_id = other.id AND later.timestamp <= s.occurred_at
        WHERE s.tenant_id = %s""",
        tenant_id,
    )
    assert (early, better) == (0, 0)


def test_a_second_run_adds_nothing(database, folder, imported):
    tenant_id, first = imported
    again = import_history(database.app, tenant_id, EXAMPLE, NOW, phone_key="k", variables={"data": str(folder)})
    for name, table in again.tables.items():
        assert (table.loaded, table.changed) == (0, 0), name
        assert table.already_there == first.tables[name].loaded, name
