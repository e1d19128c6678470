"""Whatever the operational database lets one tenant store: ingest takes it, the boundary sets aside what nothing can be
computed with, dbt builds the rest, and the other tenant's rows are what they would have been."""

from __future__ import annotations

import datetime as dt

import polars as pl
import psycopg
import pytest

from feature_store import set_aside
from feature_store.ingest import TABLES
from orchestration.defs.ingest.boundary import judge_new_rows
from orchestration.defs.ingest.judging import Judge
from tests.dbt_project.test_targets import differences

NOW = dt.datetime(2026, 6, 1, 3, tzinfo=dt.UTC)
KEPT = {"id", "tenant_id", "changed_xid", "slug"}
ODD = {
    "timestamp with time zone": [
        "infinity", "-infinity", "4713-01-01 BC", "0001-01-01Z", "1600-01-01Z", "3000-01-01Z", "9999-12-31 23:59:59Z",
        "294270-01-01Z",
    ],
    "date": ["infinity", "-infinity", "4713-01-01 BC", "0001-01-01", "3000-01-01", "5874897-12-31"],
    "bigint": [str(2**63 - 1), str(-(2**63)), "-1"],
    "integer": [str(2**31 - 1), str(-(2**31)), "-1"],
    "double precision": ["NaN", "Infinity", "-Infinity", "1e308", "-1e308", "5e-324"],
    "text": ["", " ", "\U0001f4a5", "'; drop table x --", "{{ nothing }}", "x" * 1_000_000, "Mars/Olympus", "eur"],
    "jsonb": ["null", "[]", '"text"', '{"age": [1e400]}', '{"message_cost_cents": "1e400"}', "[" * 50 + "]" * 50],
    "text[]": ["{}", "{NULL}", '{"", "a,b"}'],
}  # fmt: skip
FILLED = """
    INSERT INTO scores (tenant_id, contact_id, model, model_version, score, probability, tier, feature_snapshot_id,
            scored_at)
        SELECT tenant_id, id, 'lead_scoring', '1', 90, 0.5, 'hot', 's', '2026-05-01Z' FROM contacts;
    INSERT INTO usage_records (tenant_id, date, api_calls, messages_sent)
        SELECT id, '2026-03-01'::date + n, 10, 2 FROM tenants, generate_series(1, 40) AS n;
    INSERT INTO phone_numbers (tenant_id, phone, provider_number_id, business_account_id)
        SELECT id, '+99910000000' || length(slug), slug, '1' FROM tenants;
    INSERT INTO outbound_messages (tenant_id, campaign_id, contact_id, phone_number_id, payload, payload_hash, due_at,
            accepted_at, state)
        SELECT k.tenant_id, NULL, k.id, p.id, '{}', '', '2026-03-01Z', '2026-03-01Z', 'accepted'
        FROM contacts k JOIN phone_numbers p USING (tenant_id);
    INSERT INTO decisions (tenant_id, campaign_id, contact_id, stage, outcome, reason, policy_version, decided_at)
        SELECT k.tenant_id, c.id, k.id, 'plan', 'send', 'assigned', '1', '2026-02-01Z'
        FROM contacts k JOIN campaigns c USING (tenant_id) JOIN tenants t ON t.id = k.tenant_id WHERE slug = 'theirs';
    INSERT INTO consents (tenant_id, contact_id, purpose, status, effective_at, source)
        SELECT tenant_id, id, 'marketing', 'opted_in', '2026-01-01Z', 'form' FROM contacts;
    INSERT INTO consent_events (tenant_id, contact_id, event_key, purpose, status, occurred_at, source, known_at)
        SELECT tenant_id, id, 'e' || id, 'marketing', 'opted_in', '2026-01-01Z', 'form', '2026-01-01Z' FROM contacts;
    INSERT INTO order_items (tenant_id, order_id, name, quantity, price_cents)
        SELECT tenant_id, id, 'Thing', 1, 100 FROM orders;
"""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def twins(make_twins):
    made = make_twins()
    made.change(FILLED)
    return made


@pytest.fixture(scope="module")
def sound(twins):
    """Every model's rows before anything odd was stored."""
    twins.ingest(NOW)
    return twins.built(twins.duckdb, NOW, "run", failed_test_severity="warn")


@pytest.fixture(scope="module")
def stored(twins, sound):
    """(table, column, value) of all that the database took, one row of `theirs` each."""
    taken = []
    with psycopg.connect(twins.admin_url) as connection:
        connection.execute("SET session_replication_role = replica")
        for table in TABLES:
            owner = "id" if table == "tenants" else "tenant_id"
            columns = connection.execute(
                "SELECT attname, format_type(atttypid, atttypmod), attnotnull FROM pg_attribute WHERE attnum > 0"
                " AND attrelid = %s::regclass AND NOT attisdropped ORDER BY attnum",
                (table,),
            ).fetchall()
            rows = connection.execute(
                f"SELECT id FROM {table} WHERE {owner} = (SELECT id FROM tenants WHERE slug = 'theirs') ORDER BY id"
            ).fetchall()
            assert rows, table
            odd = [
                (column, value)
                for column, kind, is_required in columns
                if column not in KEPT and kind in ODD
                for value in [*ODD[kind], *([] if is_required else [None])]
            ]
            for number, (column, value) in enumerate(odd):
                try:
                    with connection.transaction():
                        connection.execute(
                            f'UPDATE {table} SET "{column}" = %s, changed_xid = pg_current_xact_id() WHERE id = %s',
                            (value, rows[number % len(rows)][0]),
                        )
                    taken.append((table, column, value))
                except (psycopg.DataError, psycopg.IntegrityError, psycopg.errors.ProgramLimitExceeded):
                    continue
        # An order whose lines are each as dear as a line may be.
        connection.execute(
            "INSERT INTO order_items (tenant_id, order_id, name, quantity, price_cents) SELECT tenant_id, id, 'Dear',"
            " 1000000, 1000000000000 FROM (SELECT o.* FROM orders o JOIN tenants t ON t.id = o.tenant_id"
            " WHERE slug = 'theirs' ORDER BY o.id LIMIT 1) AS one, generate_series(1, 12)"
        )
    assert len(taken) > 300
    return taken


@pytest.fixture(scope="module")
def odd(twins, stored, tmp_path_factory):
    """Every model's rows afterwards, of both engines; what was set aside, by tenant."""
    later = NOW + dt.timedelta(minutes=1)
    twins.ingest(later)
    folder = tmp_path_factory.mktemp("judge")
    built = []
    for warehouse in (twins.duckdb, twins.postgres):
        judge_new_rows(warehouse, TABLES, Judge(folder / "gx", folder / "docs"), later)
        built.append(twins.built(warehouse, NOW, "run", "--full-refresh"))
    return *built, set_aside.counts(twins.duckdb), set_aside.counts(twins.postgres)


def of(rows: dict[str, pl.DataFrame], tenant: str) -> dict[str, pl.DataFrame]:
    """The tenant's rows of each model, without which load brought them."""
    return {
        name: frame.filter(pl.col("tenant_id") == tenant).drop(
            [column for column in ("load_id", "changed_load") if column in frame.columns]
        )
        for name, frame in rows.items()
        if "tenant_id" in frame.columns
    }


def test_both_engines_set_the_same_rows_aside_and_build_the_same_of_the_rest(odd, twins):
    duckdb, postgres, aside, aside_too = odd
    theirs = twins.postgres.query("SELECT id FROM raw.tenants WHERE slug = 'theirs'")["id"][0]
    assert list(aside) == [theirs]
    assert aside == aside_too
    assert {table for table, *_ in aside[theirs]} >= {"messages", "orders", "conversations", "order_items", "tenants"}
    assert differences(duckdb, postgres, leave=("intermediate.int_contacts__changed",)) == []


def test_the_other_tenant_has_what_it_would_have_had(odd, sound, twins):
    ours = twins.postgres.query("SELECT id FROM raw.tenants WHERE slug = 'ours'")["id"][0]
    before = of(sound, ours)
    assert before["marts.fct_messages"].height > 100
    for built in odd[:2]:
        assert differences(before, of(built, ours)) == []


def test_a_row_whose_time_was_to_come_is_read_again_when_it_has(make_twins, tmp_path):
    twins, due = make_twins(), NOW + dt.timedelta(days=1)
    twins.change(
        "INSERT INTO orders (tenant_id, contact_id, external_id, platform, total_cents, ordered_at, known_at) SELECT"
        f" tenant_id, id, 'tomorrow', 'shop', 100, '{due.isoformat()}', '2026-05-01Z' FROM contacts LIMIT 1"
    )

    def loads(now: dt.datetime) -> tuple[list[int], int]:
        """In which loads raw has the order after a refresh, and how many rows are set aside."""
        twins.ingest(now)
        for warehouse in (twins.duckdb, twins.postgres):
            judge_new_rows(warehouse, ["orders"], Judge(tmp_path / "gx", tmp_path / "docs"), now)
        query = "SELECT _load_id FROM raw.orders WHERE external_id = 'tomorrow' ORDER BY 1"
        found = [warehouse.raw_query(query)["_load_id"].to_list() for warehouse in (twins.duckdb, twins.postgres)]
        assert found[0] == found[1]
        return found[0], sum(rows for each in set_aside.counts(twins.duckdb).values() for *_, rows in each)

    assert loads(NOW) == ([], 1)
    assert loads(due - dt.timedelta(minutes=10)) == ([], 1)
    assert loads(due + dt.timedelta(minutes=1)) == ([3], 0)
    assert loads(due + dt.timedelta(hours=1)) == ([3], 0)
