"""From a history through ingest, dbt and publication to an answer: the API says what the warehouse counted."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from feature_store.ingest import ingest
from feature_store.warehouse import DuckDBWarehouse
from orchestration.runtime.postgres import EmbeddedPostgres
from serving.auth.tokens import api_key_hash
from serving.publication.service import publish_marts

ROOT = Path(__file__).parents[3]
HISTORY = ROOT / "tests" / "feature_store" / "history.sql"
AS_OF = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
KEY = "rk_key-of-the-history"
MARTS = (
    "mart_message_volume_hourly", "mart_engagement", "mart_campaign_performance", "mart_experiment_results",
    "mart_revenue", "mart_usage", "mart_hot_leads", "dim_campaigns",
)  # fmt: skip
COUNTS = ("sent", "delivered", "read", "failed", "replied", "received")


@pytest.fixture(scope="module")
def warehouse(home, database, tmp_path_factory) -> DuckDBWarehouse:
    """Built from the history, its marts published to the database the API reads."""
    with psycopg.connect(database.admin) as connection:
        connection.execute(HISTORY.read_text())
        connection.execute(
            "INSERT INTO consent_events (tenant_id, contact_id, event_key, purpose, status, occurred_at, source,"
            " known_at) SELECT DISTINCT ON (campaign_id, minute) tenant_id, contact_id, 'out' || id || minute,"
            " 'marketing', 'opted_out', timestamp + minute * interval '1 minute', 'reply', timestamp + interval '1 day'"
            " FROM messages, generate_series(1, 3) AS minute WHERE campaign_id IS NOT NULL"
            " ORDER BY campaign_id, minute, timestamp DESC"
        )
        connection.execute(
            "INSERT INTO api_keys (tenant_id, key_hash, key_prefix, name) SELECT id, %s, 'rk', 'k' FROM tenants"
            " WHERE slug = 'ours'",
            (api_key_hash(KEY),),
        )
    folder = tmp_path_factory.mktemp("history")
    warehouse = DuckDBWarehouse(folder / "warehouse.duckdb")
    ingest(database.etl_read, warehouse, now=AS_OF)
    project = str(ROOT / "dbt_project")
    environment = os.environ | warehouse.dbt_environment()
    environment |= {"DBT_TARGET_PATH": str(folder / "target"), "DBT_LOG_PATH": str(folder / "logs")}
    command = [str(Path(sys.executable).with_name("dbt")), "run", "--select", "+path:models/marts"]
    command += ["--project-dir", project, "--profiles-dir", project, "--vars", f"{{as_of: '{AS_OF.isoformat()}'}}"]
    built = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    url = EmbeddedPostgres(home).url("publisher", "postgres_publisher", database.name)
    with contextlib.ExitStack() as opened:
        tables = {name: opened.enter_context(warehouse.batches(f"SELECT * FROM marts.{name}")) for name in MARTS}
        publish_marts(url, tables, "built", AS_OF, AS_OF)
    return warehouse


@pytest.fixture
def ours(database) -> str:
    with psycopg.connect(database.admin) as connection:
        return str(connection.execute("SELECT id FROM tenants WHERE slug = 'ours'").fetchone()[0])


@pytest.fixture
def get(api, clock):
    clock.now = AS_OF

    def get(route, first, last, **more):
        parameters = {"from": str(first), "to": str(last)} | more
        answer = api.get(f"/api/v1/analytics/{route}", headers={"X-API-Key": KEY}, params=parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()

    return get


def days_of(warehouse, ours):
    """The local days of the history, the busiest first."""
    rows = warehouse.query(
        "SELECT local_date, sum(sent + received) AS busy FROM marts.mart_message_volume_hourly WHERE tenant_id = $1"
        " GROUP BY local_date ORDER BY busy DESC, local_date",
        [ours],
    )
    return rows["local_date"].to_list()


@pytest.mark.slow
class TestAnswersAreDbts:
    def test_messages_of_each_of_the_busiest_days(self, warehouse, ours, get):
        for day in days_of(warehouse, ours)[:5]:
            (expected,) = warehouse.query(
                f"SELECT {', '.join(f'sum({name})::BIGINT AS {name}' for name in COUNTS)}"
                " FROM marts.mart_message_volume_hourly WHERE tenant_id = $1 AND local_date = $2",
                [ours, day],
            ).to_dicts()
            totals = get("messages", day, day)["totals"]
            assert {name: totals[name] for name in COUNTS} == expected
            assert totals["sent"] + totals["received"] > 0

    def test_engagement_of_a_day_with_its_means_and_score(self, warehouse, ours, get):
        names = ("response_seconds_mean", "reply_characters_mean", "conversation_seconds_mean", "engagement_score")
        for day in days_of(warehouse, ours)[:5]:
            (expected,) = warehouse.query(
                f"SELECT received, replied, active_contacts, conversations, {', '.join(names)}"
                " FROM marts.mart_engagement WHERE tenant_id = $1 AND local_date = $2",
                [ours, day],
            ).to_dicts()
            assert get("engagement", day, day)["totals"] == expected

    def test_revenue_of_a_day_in_the_report(self, warehouse, ours, get):
        rows = warehouse.query(
            "SELECT * EXCLUDE (tenant_id, customers) FROM marts.mart_revenue WHERE tenant_id = $1"
            " ORDER BY local_date DESC LIMIT 5",
            [ours],
        ).to_dicts()
        assert rows
        for expected in rows:
            day = expected.pop("local_date")
            report = get("reports", day, day, period="custom")
            assert expected in report["current"]["revenue"]

    def test_every_campaign(self, warehouse, ours, get):
        names = (
            *COUNTS[:-1],
            "opted_out",
            "converted",
            "delivery_rate",
            "read_rate",
            "response_rate",
            "conversion_rate",
        )
        expected = warehouse.query(
            f"SELECT campaign_id, first_sent_date, last_sent_date, {', '.join(names)}"
            " FROM marts.mart_campaign_performance WHERE tenant_id = $1 AND first_sent_date IS NOT NULL",
            [ours],
        ).to_dicts()
        assert expected
        for row in expected:
            first, last = row.pop("first_sent_date"), row.pop("last_sent_date")
            (found,) = [
                each for each in get("campaigns", first, last)["campaigns"] if each["campaign_id"] == row["campaign_id"]
            ]
            assert {name: found[name] for name in row} == row

    def test_a_campaigns_own_statistics(self, warehouse, ours, api):
        """`/campaigns/{id}/stats`, counted from the operational rows, and the marts: one definition of every figure."""
        names = (
            *("eligible", "held_out", "treated", "sent", "delivered", "read", "failed", "replied", "opted_out"),
            *("converted", "treated_ordered", "held_out_ordered"),
            *("delivery_rate", "read_rate", "response_rate", "conversion_rate"),
        )
        expected = warehouse.query(
            f"SELECT campaign_id, {', '.join(names)} FROM marts.mart_campaign_performance WHERE tenant_id = $1", [ours]
        ).to_dicts()
        assert sum(row["converted"] for row in expected) > 10
        for name in ("opted_out", "treated_ordered", "held_out_ordered"):
            assert sum(row[name] for row in expected) > 0, name
        for row in expected:
            stats = api.get(f"/api/v1/campaigns/{row.pop('campaign_id')}/stats", headers={"X-API-Key": KEY}).json()
            assert {name: stats[name] for name in row} == row

    def test_each_row_of_each_mart_is_in_postgresql(self, warehouse, database):
        with psycopg.connect(database.admin) as connection:
            for name in MARTS:
                (published,) = connection.execute(f"SELECT count(*) FROM marts.{name}").fetchone()
                assert published == warehouse.query(f"SELECT count(*) AS n FROM marts.{name}", [])["n"][0], name


@pytest.mark.slow
class TestACampaignTheMartsDoNotHaveYet:
    WAREHOUSES_ALONE = ("incremental_revenue_cents", "cost_cents", "roi")
    UPLIFT = ("uplift", "uplift_low", "uplift_high", "uplift_is_significant")

    @pytest.fixture
    def unpublished(self, warehouse, database, ours):
        """One campaign as the published marts had it before it began."""
        with psycopg.connect(database.admin) as connection:
            (campaign,) = connection.execute(
                "SELECT campaign_id FROM marts.mart_campaign_performance WHERE tenant_id = %s AND sent > 0"
                " ORDER BY campaign_id LIMIT 1",
                (ours,),
            ).fetchone()
            connection.execute(
                "CREATE TEMP TABLE kept AS SELECT * FROM marts.mart_campaign_performance WHERE campaign_id = %s",
                (campaign,),
            )
            remove = "DELETE FROM marts.mart_campaign_performance WHERE campaign_id = %s"

            def forget():
                connection.execute(remove, (campaign,))
                connection.commit()

            connection.commit()
            yield str(campaign), forget
            connection.execute(remove, (campaign,))
            connection.execute("INSERT INTO marts.mart_campaign_performance SELECT * FROM kept")

    def test_is_counted_live_by_the_same_definitions(self, unpublished, get, warehouse, ours):
        campaign, forget = unpublished
        row = warehouse.query(
            "SELECT first_sent_date, last_sent_date FROM marts.mart_campaign_performance WHERE campaign_id = $1",
            [campaign],
        ).to_dicts()[0]
        first, last = row["first_sent_date"], row["first_sent_date"] + dt.timedelta(days=365)

        def seen():
            answer = get("campaigns", first, last)
            (found,) = [each for each in answer["campaigns"] if each["campaign_id"] == campaign]
            return answer["totals"], found

        totals, published = seen()
        forget()
        live_totals, live = seen()
        assert (published["source"], live["source"]) == ("published", "live")
        assert live_totals == totals
        warehouses = {name: None for name in (*self.WAREHOUSES_ALONE, *self.UPLIFT)}
        assert live == published | {"source": "live", "as_of": "2026-06-01T00:00:00Z"} | warehouses
        narrowed = get("campaigns", first, last, campaign_id=campaign)
        assert (narrowed["campaigns"], narrowed["totals"]["campaigns"]) == ([live], 1)
        before = get("campaigns", first - dt.timedelta(days=9), first - dt.timedelta(days=1))
        assert before["campaigns"] == []

    def test_is_in_the_report_and_the_file(self, unpublished, get, api, warehouse):
        campaign, forget = unpublished
        forget()
        (first,) = warehouse.query(
            "SELECT first_sent_date FROM marts.mart_campaign_performance WHERE campaign_id = $1", [campaign]
        )["first_sent_date"]
        report = get("reports", first, first, period="custom")
        assert campaign in [each["campaign_id"] for each in report["top_campaigns"] if each["source"] == "live"]
        assert report["current"]["campaigns"]["campaigns"] == len(report["top_campaigns"])
        parameters = {"report": "campaigns", "from": str(first), "to": str(first)}
        file = api.get("/api/v1/analytics/export", headers={"X-API-Key": KEY}, params=parameters)
        assert f"live,2026-06-01T00:00:00Z,{campaign}" in file.text

    def test_of_another_tenant_is_not_shown(self, unpublished, api, as_stranger):
        campaign, forget = unpublished
        forget()
        answer = api.get("/api/v1/analytics/campaigns", headers=as_stranger, params={"to": "2026-06-01"})
        assert answer.json()["campaigns"] == []
        foreign = api.get("/api/v1/analytics/campaigns", headers=as_stranger, params={"campaign_id": campaign})
        assert foreign.status_code == 404
