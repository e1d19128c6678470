"""Marts against values worked out by hand from history.sql, and the truths against rows that break them."""

from __future__ import annotations

import datetime as dt
import re
import shutil
from pathlib import Path

import pytest
import yaml

from feature_store.feature_views import FEATURE_VIEWS
from feature_store.warehouse import DuckDBWarehouse
from orchestration.runtime.home import PROJECT_ROOT

MODELS = PROJECT_ROOT / "dbt_project" / "models"


def at(day: int, hour: int, minute: int = 0) -> dt.datetime:
    return dt.datetime(2026, 1, day, hour, minute, tzinfo=dt.UTC)


def sends(history, number: int) -> list[dict]:
    return history.warehouse.query(
        "SELECT * FROM marts.fct_sends WHERE tenant_id = $1 AND contact_id = $2 ORDER BY sent_at",
        [str(history.ours), history.contact(number)],
    ).to_dicts()


class TestSends:
    def test_an_order_belongs_to_the_newest_campaign_send_before_it(self, history):
        first, second = sends(history, 31)

        assert (first["sent_at"], first["read_at"], first["converted_at"]) == (at(1, 9), at(1, 10), None)
        assert (second["converted_at"], second["conversion_value_cents"]) == (at(4, 12), 2500)
        assert second["attribution_ends_at"] == at(8, 9)

    def test_a_redemption_after_the_window_is_no_conversion(self, history):
        (only,) = sends(history, 32)

        assert only["converted_at"] is None

    def test_each_outcome_is_attributed_once(self, history):
        query = "SELECT count(*) AS n, count(DISTINCT converted_at) AS d FROM marts.fct_sends WHERE contact_id = $1"
        for number in range(1, 31):
            row = history.warehouse.query(query, [history.contact(number)]).row(0)
            assert row[0] >= row[1]
        attributed, happened = history.warehouse.query(
            "SELECT (SELECT count(converted_at) FROM marts.fct_sends),"
            " (SELECT count(*) FROM marts.fct_orders WHERE status <> 'cancelled')"
            " + (SELECT count(*) FROM staging.stg_operational__conversions)"
        ).row(0)
        assert 0 < attributed < happened

    def test_messages_outside_campaigns_are_no_sends(self, history):
        campaign, all_sent = history.warehouse.query(
            "SELECT (SELECT count(*) FROM marts.fct_sends),"
            " (SELECT count(*) FROM marts.fct_messages WHERE direction = 'outbound')"
        ).row(0)
        assert 0 < campaign < all_sent


def test_a_campaign_is_compared_with_its_control_group(history):
    row = history.warehouse.query(
        "SELECT * FROM marts.mart_campaign_performance WHERE tenant_id = $1 AND name = 'Campaign 1'",
        [str(history.ours)],
    ).row(0, named=True)

    # 34 and 36 ordered in time; 37, held out, one second after its five days; 35 not at all.
    assert (row["eligible"], row["treated"], row["held_out"]) == (4, 2, 2)
    assert (row["treated_ordered"], row["treated_revenue_cents"]) == (1, 3400)
    assert (row["held_out_ordered"], row["held_out_revenue_cents"]) == (1, 3600)


def test_a_contacts_days_are_those_with_a_read_an_inbound_message_or_an_order(history):
    days = history.warehouse.query(
        "SELECT activity_date, sign_count FROM marts.fct_contact_days WHERE contact_id = $1 ORDER BY 1",
        [history.contact(31)],
    ).rows()

    assert days == [(dt.date(2026, 1, 1), 1), (dt.date(2026, 1, 4), 1)]


def test_no_column_of_the_warehouse_holds_a_name_a_phone_or_a_text(history):
    columns = history.warehouse.query("SELECT DISTINCT column_name FROM information_schema.columns")["column_name"]

    assert not {"phone", "email", "text", "payload", "proof"} & set(columns)
    raw = history.warehouse.raw_query("SELECT DISTINCT column_name FROM information_schema.columns")["column_name"]
    assert not {"phone", "email", "text", "payload", "proof"} & set(raw)
    people = history.warehouse.query("SELECT * FROM marts.dim_contacts")
    assert "A name" not in str(people.rows())
    assert "+99910" not in str(people.rows())


BROKEN = {
    "assert_no_send_after_opt_out": """
        INSERT INTO staging.stg_operational__consent_events BY NAME
            SELECT 't' AS tenant_id, 'e' AS consent_event_id, 'c' AS contact_id, 'marketing' AS purpose,
                'opted_out' AS status, TIMESTAMPTZ '2026-01-01 10:00Z' AS occurred_at,
                TIMESTAMPTZ '2026-01-01 10:00Z' AS known_at;
        INSERT INTO staging.stg_operational__outbound_messages BY NAME
            SELECT 't' AS tenant_id, 'o' AS outbound_message_id, 'c' AS contact_id, 'k' AS campaign_id,
                'marketing' AS purpose, TIMESTAMPTZ '2026-01-01 10:00:06Z' AS accepted_at""",
    "assert_every_send_has_a_decision": "SELECT 1",  # the outbox row above has none
    "assert_statuses_in_order": """
        UPDATE marts.fct_sends SET read_at = sent_at - INTERVAL 1 HOUR
        WHERE message_id = (SELECT min(message_id) FROM marts.fct_sends)""",
}


def test_each_truth_fails_for_a_row_that_breaks_it(history, tmp_path: Path, run_dbt):
    warehouse = DuckDBWarehouse(tmp_path / "broken.duckdb")
    shutil.copy(history.warehouse.path, warehouse.path)
    shutil.copy(history.warehouse.raw_path, warehouse.raw_path)
    with warehouse.connect(read_only=False) as connection:
        for statement in BROKEN.values():
            connection.execute(statement)

    done = run_dbt(warehouse, tmp_path, "test", "--select", "test_type:singular")

    failed = set(re.findall(r"FAIL 1 (assert_\w+)", done.stdout))
    truths = {file.stem for file in (PROJECT_ROOT / "dbt_project" / "tests").glob("*.sql")}
    assert done.returncode != 0
    assert failed == set(BROKEN) == truths, done.stdout


def described() -> dict[str, dict]:
    files = MODELS.rglob("_*__models.yml")
    return {model["name"]: model for file in files for model in yaml.safe_load(file.read_text())["models"]}


@pytest.mark.parametrize("name", sorted(file.stem for file in MODELS.rglob("*.sql")))
def test_every_models_description_ends_with_its_grain(name):
    description = described()[name]["description"]

    assert re.search(r"One row per [^.]+\.$", description), description


@pytest.mark.parametrize("name", sorted(file.stem for file in (MODELS / "marts").rglob("*.sql")))
def test_every_mart_has_an_enforced_contract_a_tested_grain_and_described_columns(name):
    model = described()[name]

    assert model["config"]["contract"]["enforced"] is True
    assert any("one_row_per" in test for test in model["data_tests"])
    assert all(column["description"] for column in model["columns"])


def test_every_feature_view_is_a_dbt_model_with_the_columns_it_names(history):
    for view in FEATURE_VIEWS:
        columns = history.warehouse.query(f"SELECT * FROM {view.source.table} LIMIT 0").columns
        assert {"tenant_id", "contact_id", "event_timestamp", "created_timestamp"} <= set(columns)
        assert {feature.name for feature in view.features} <= set(columns)
        assert f"features.{view.name}" == view.source.table
