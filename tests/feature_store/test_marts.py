"""Marts against values worked out by hand from history.sql, and the truths against rows that break them."""

from __future__ import annotations

import datetime as dt
import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pytest

from feature_store.feature_views import FEATURE_VIEWS
from feature_store.warehouse import DuckDBWarehouse
from orchestration.runtime.home import PROJECT_ROOT
from training.metrics import difference_interval, wilson_interval

TRUTHS = {file.stem for file in (PROJECT_ROOT / "dbt_project" / "tests").glob("*.sql")}


def at(day: int, hour: int, minute: int = 0) -> dt.datetime:
    return dt.datetime(2026, 1, day, hour, minute, tzinfo=dt.UTC)


def sends(history, number: int) -> list[dict]:
    return history.warehouse.query(
        "SELECT * FROM marts.fct_sends WHERE tenant_id = $1 AND contact_id = $2 ORDER BY sent_at",
        [str(history.ours), history.contact(number)],
    ).to_dicts()


def campaign_one(history, table: str) -> list[dict]:
    return history.warehouse.query(
        f"SELECT mart.* FROM marts.{table} AS mart INNER JOIN marts.dim_campaigns AS campaigns"
        " USING (tenant_id, campaign_id) WHERE tenant_id = $1 AND campaigns.name = 'Campaign 1'",
        [str(history.ours)],
    ).to_dicts()


class TestSends:
    def test_an_order_belongs_to_the_newest_campaign_send_before_it(self, history):
        first, second = sends(history, 31)

        assert (first["sent_at"], first["read_at"], first["converted_at"]) == (at(1, 9), at(1, 10), None)
        assert (second["converted_at"], second["conversion_value_cents"]) == (at(4, 12), 2500)
        assert second["attribution_ends_at"] == at(8, 9)

    def test_an_order_names_the_send_it_belongs_to(self, history):
        (order,) = history.warehouse.query(
            "SELECT * FROM marts.fct_orders WHERE contact_id = $1", [history.contact(31)]
        ).to_dicts()
        _, second = sends(history, 31)

        assert order["attributed_message_id"] == second["message_id"]
        assert order["attributed_campaign_id"] == second["campaign_id"]

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


class TestCampaigns:
    def test_a_campaign_is_compared_with_its_control_group(self, history):
        (row,) = campaign_one(history, "mart_campaign_performance")

        # 34 and 36 ordered in time; 37, held out, one second after its five days; 35 not at all.
        assert (row["eligible"], row["treated"], row["held_out"]) == (4, 2, 2)
        assert (row["treated_ordered"], row["treated_revenue_cents"]) == (1, 3400)
        assert (row["held_out_ordered"], row["held_out_revenue_cents"]) == (1, 3600)
        assert row["incremental_revenue_cents"] == -200

    def test_its_people_are_those_it_decided_about_and_those_it_sent_to(self, history):
        people = {row["contact_id"]: row for row in campaign_one(history, "fct_campaign_contacts")}

        treated, held_out, sent_to = (people[history.contact(number)] for number in (34, 37, 31))
        assert (treated["assignment"], treated["sent"], treated["orders_in_window"]) == ("treated", 0, 1)
        assert (held_out["assignment"], held_out["sent"], held_out["orders_in_window"]) == ("held_out", 0, 0)
        assert (sent_to["assignment"], sent_to["sent"], sent_to["converted"]) == (None, 2, 1)

    @pytest.mark.parametrize(
        ("a", "of_a", "b", "of_b"), [(1, 2, 1, 2), (310, 4000, 40, 700), (0, 9, 0, 5), (7, 7, 0, 3)]
    )
    def test_an_experiments_interval_is_the_one_models_are_judged_by(self, history, a, of_a, b, of_b):
        query = compiled(history.warehouse.path.parent, "models/marts/campaigns/mart_experiment_results.sql")
        with duckdb.connect() as connection:
            connection.execute(f"ATTACH ':memory:' AS {history.warehouse.path.stem}; USE {history.warehouse.path.stem}")
            connection.execute("CREATE SCHEMA marts")
            connection.execute(
                "CREATE TABLE marts.fct_campaign_contacts AS"
                " SELECT 't' AS tenant_id, 'c' AS campaign_id, 'treated' AS assignment,"
                "  CAST(number <= $a AS bigint) AS orders_in_window, number AS revenue_in_window_cents"
                " FROM range(1, $of_a + 1) AS people (number) UNION ALL"
                " SELECT 't', 'c', 'held_out', CAST(number <= $b AS bigint), number"
                " FROM range(1, $of_b + 1) AS people (number)",
                {"a": a, "of_a": of_a, "b": b, "of_b": of_b},
            )
            rows = {row["arm"]: row for row in connection.sql(query).to_arrow_table().to_pylist()}

        treated, wanted, arm = rows["treated"], difference_interval(a, of_a, b, of_b), wilson_interval(a, of_a)
        assert [treated["difference"], treated["difference_low"], treated["difference_high"]] == pytest.approx(
            [wanted.value, wanted.lower, wanted.upper], abs=1e-12
        )
        assert [treated["rate_low"], treated["rate_high"]] == pytest.approx([arm.lower, arm.upper], abs=1e-12)
        # Revenues 1 to n have the variance n (n + 1) / 12.
        error = ((of_a + 1) / 12 + (of_b + 1) / 12) ** 0.5
        half = treated["revenue_difference_high_cents"] - treated["revenue_difference_cents"]
        assert half == pytest.approx(1.959963984540054 * error)


def test_a_contacts_days_are_those_with_a_read_an_inbound_message_or_an_order(history):
    days = history.warehouse.query(
        "SELECT activity_date, sign_count FROM marts.fct_contact_days WHERE contact_id = $1 ORDER BY 1",
        [history.contact(31)],
    ).rows()

    assert days == [(dt.date(2026, 1, 1), 1), (dt.date(2026, 1, 4), 1)]


@pytest.mark.parametrize(
    ("mart", "fact", "moment"),
    [("mart_engagement", "fct_messages", "sent_at"), ("mart_revenue", "fct_orders", "ordered_at")],
)
def test_a_day_of_a_mart_is_a_day_of_the_tenants_clock(history, mart, fact, moment):
    tenant = [str(history.ours)]
    days = f"SELECT DISTINCT local_date FROM marts.{mart} WHERE tenant_id = $1"
    local = f"SELECT DISTINCT ({moment} AT TIME ZONE 'America/New_York')::date FROM marts.{fact} WHERE tenant_id = $1"

    assert set(history.warehouse.query(days, tenant).rows()) == set(history.warehouse.query(local, tenant).rows())


def test_no_column_of_the_warehouse_holds_a_name_a_phone_or_a_text(history):
    columns = history.warehouse.query("SELECT DISTINCT column_name FROM information_schema.columns")["column_name"]

    assert not {"phone", "email", "text", "payload", "proof"} & set(columns)
    raw = history.warehouse.raw_query("SELECT DISTINCT column_name FROM information_schema.columns")["column_name"]
    assert not {"phone", "email", "text", "payload", "proof"} & set(raw)
    marts = history.warehouse.query(
        "SELECT DISTINCT column_name FROM information_schema.columns WHERE table_schema = 'marts'"
    )["column_name"]
    assert "custom_data" not in set(marts)
    people = history.warehouse.query("SELECT * FROM marts.dim_contacts")
    assert "A name" not in str(people.rows())
    assert "+99910" not in str(people.rows())


# Each breaks one truth and no other.
BROKEN = {
    "assert_no_send_after_opt_out": """
        INSERT INTO staging.stg_operational__consent_events BY NAME
            SELECT 't' AS tenant_id, 'e' AS consent_event_id, 'c' AS contact_id, 'marketing' AS purpose,
                'opted_out' AS status, TIMESTAMPTZ '2026-01-01 10:00Z' AS occurred_at,
                TIMESTAMPTZ '2026-01-01 09:00Z' AS known_at, TIMESTAMPTZ '2026-01-01 10:00Z' AS recorded_at;
        INSERT INTO staging.stg_operational__outbound_messages BY NAME
            SELECT 't' AS tenant_id, id AS outbound_message_id, 'c' AS contact_id,
                'marketing' AS purpose, accepted_at
            FROM (VALUES ('before it was heeded', TIMESTAMPTZ '2026-01-01 10:00:09Z'),
                         ('o', TIMESTAMPTZ '2026-01-01 10:01:01Z')) AS sent (id, accepted_at)""",
    "assert_every_send_has_a_decision": """
        INSERT INTO staging.stg_operational__outbound_messages BY NAME
            SELECT 't' AS tenant_id, 'p' AS outbound_message_id, 'd' AS contact_id, 'k' AS campaign_id,
                'utility' AS purpose""",
    "assert_statuses_in_order": """
        UPDATE marts.fct_messages SET delivered_at = read_at + INTERVAL 6 MINUTE
        WHERE message_id = (SELECT min(message_id) FROM marts.fct_messages WHERE read_at IS NOT NULL)""",
    "assert_orders_add_up": """
        UPDATE marts.fct_orders SET platform = 'whatsapp', lines_total_cents = total_cents - 1
        WHERE order_id = (SELECT min(order_id) FROM marts.fct_orders)""",
    "assert_revenue_is_that_of_orders": """
        UPDATE marts.mart_revenue SET revenue_cents = revenue_cents + 1
        WHERE local_date = (SELECT min(local_date) FROM marts.mart_revenue)
            AND tenant_id = (SELECT arg_min(tenant_id, local_date) FROM marts.mart_revenue)""",
    "assert_campaign_revenue_adds_up": """
        UPDATE marts.mart_campaign_performance SET attributed_revenue_cents = attributed_revenue_cents - 1
        WHERE campaign_id = (SELECT min(campaign_id) FROM marts.mart_campaign_performance)""",
    "assert_hourly_volume_is_all_messages": """
        UPDATE marts.mart_message_volume_hourly SET received = received + 1
        WHERE hour_at = (SELECT min(hour_at) FROM marts.mart_message_volume_hourly)""",
    "assert_campaign_performance_is_its_people": """
        UPDATE marts.mart_campaign_performance SET read = read + 1
        WHERE campaign_id = (SELECT max(campaign_id) FROM marts.mart_campaign_performance)""",
}


def compiled(folder: Path, path: str) -> str:
    """What dbt, run in `folder`, made of a file of the project."""
    return (folder / "target" / "compiled" / "rapport" / path).read_text()


@dataclass(frozen=True)
class Judged:
    folder: Path
    warehouse: DuckDBWarehouse
    output: str


@pytest.fixture(scope="module")
def judged(history, tmp_path_factory: pytest.TempPathFactory, run_dbt) -> Judged:
    """dbt's truths over a warehouse with every break, and a copy without any."""
    folder = tmp_path_factory.mktemp("broken")
    broken = DuckDBWarehouse(folder / history.warehouse.path.name)
    sound = folder / "sound" / history.warehouse.path.name
    sound.parent.mkdir()
    shutil.copy(history.warehouse.path, sound)
    shutil.copy(history.warehouse.path, broken.path)
    shutil.copy(history.warehouse.raw_path, broken.raw_path)
    with broken.connect(read_only=False) as connection:
        for statement in BROKEN.values():
            connection.execute(statement)
    done = run_dbt(broken, folder, "test", "--select", "test_type:singular")
    assert done.returncode != 0
    return Judged(folder, DuckDBWarehouse(sound), done.stdout)


class TestTruths:
    def test_dbt_names_every_truth_that_is_broken(self, judged):
        failed = set(re.findall(r"FAIL 1 (assert_\w+)", judged.output))

        assert failed == set(BROKEN) == TRUTHS, judged.output

    @pytest.mark.parametrize("truth", sorted(BROKEN))
    def test_a_truth_is_broken_by_its_own_row_alone(self, judged, truth):
        with duckdb.connect(str(judged.warehouse.path)) as connection:
            connection.execute("SET TimeZone = 'UTC'; BEGIN")
            connection.execute(BROKEN[truth])
            failed = {
                name for name in TRUTHS if connection.execute(compiled(judged.folder, f"tests/{name}.sql")).fetchall()
            }
            connection.execute("ROLLBACK")

        assert failed == {truth}


def test_every_column_of_the_warehouse_is_described_and_every_described_column_is_there(history):
    manifest = json.loads((history.warehouse.path.parent / "target" / "manifest.json").read_text())
    described = {
        (node["schema"], node["name"]): {column for column, about in node["columns"].items() if about["description"]}
        for node in (*manifest["nodes"].values(), *manifest["sources"].values())
        if node["resource_type"] in ("model", "source")
    }
    columns = "SELECT table_schema, table_name, column_name FROM information_schema.columns WHERE table_name[1] <> '_'"
    found: dict[tuple[str, str], set[str]] = {}
    raw = history.warehouse.raw_query(f"{columns} AND table_schema = 'raw'")
    for schema, table, column in [*history.warehouse.query(columns).rows(), *raw.rows()]:
        found.setdefault((schema, table), set()).add(column)

    assert found == described


def test_every_feature_view_is_a_dbt_model_with_the_columns_it_names(history):
    for view in FEATURE_VIEWS:
        columns = history.warehouse.query(f"SELECT * FROM {view.source.table} LIMIT 0").columns
        assert {"tenant_id", "contact_id", "event_timestamp", "created_timestamp"} <= set(columns)
        assert {feature.name for feature in view.features} <= set(columns)
        assert f"features.{view.name}" == view.source.table
