"""The graph on an installation of its own, by the commands: two warehouses, what fails, who may write."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import psycopg
import pytest

from feature_store.warehouse import DuckDBWarehouse
from orchestration.lib.writing import only_writer
from orchestration.runtime.home import PROJECT_ROOT
from tests.orchestration.installation import WAREHOUSE, Installation, installed

PUBLISH = f'{WAREHOUSE} or key:"publish/marts"'

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def installation() -> Iterator[Installation]:
    with installed() as made:
        made.make_history()
        made.done("run", "--select", f'{PUBLISH} or key:"publish/analysts_snapshot"')
        yield made


def published(installation: Installation) -> dict[str, int]:
    """Rows by published mart, as the operational database holds them."""
    with installation.admin() as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'marts'").fetchall()
        return {
            table: connection.execute(f'SELECT count(*) FROM marts."{table}"').fetchone()[0]  # type: ignore[index]
            for (table,) in tables
            if not table.startswith("_")
        }


class TestPublication:
    def test_the_product_has_the_warehouses_rows(self, installation: Installation) -> None:
        built = {table.removeprefix("marts."): rows for table, (rows, _) in installation.built().items()}
        found = published(installation)
        assert {"dim_campaigns", "mart_campaign_performance", "mart_engagement"} <= set(found)
        assert {mart: built[mart] for mart in found if mart in built} == {
            mart: rows for mart, rows in found.items() if mart in built
        }

    def test_each_tenant_has_its_analysts_file(self, installation: Installation) -> None:
        with installation.admin() as connection:
            tenants = dict(connection.execute("SELECT slug, id::text FROM tenants").fetchall())
        files = {file.stem: file.read_bytes() for file in installation.home.snapshots.glob("*.duckdb")}
        assert set(files) == set(tenants) == {"ours", "theirs"}
        assert tenants["theirs"].encode() not in files["ours"]
        assert tenants["ours"].encode() not in files["theirs"]

    def test_a_failed_check_leaves_yesterdays_marts_serving(self, installation: Installation) -> None:
        before, built = published(installation), installation.built()
        with installation.admin() as connection:
            campaign = connection.execute(
                "INSERT INTO campaigns (tenant_id, name, message_template) SELECT id, 'New', 'Hello' FROM tenants"
                " LIMIT 1 RETURNING id"
            ).fetchone()
            order = connection.execute(
                "INSERT INTO orders (tenant_id, contact_id, external_id, platform, total_cents, ordered_at)"
                " SELECT tenant_id, id, 'from-tomorrow', 'test', 100, now() + interval '1 day' FROM contacts LIMIT 1"
                " RETURNING id"
            ).fetchone()
            assert campaign
            assert order
            failed = installation.rapport("run", "--select", PUBLISH)
            assert failed.returncode == 1
            assert "rows_keep_the_contract of raw/orders failed" in failed.stderr
            assert (published(installation), installation.built()) == (before, built)
            assert str(order[0]) in broken_rows(installation)

            connection.execute("UPDATE orders SET ordered_at = now() WHERE id = %s", order)
        installation.done("run", "--select", PUBLISH)
        assert published(installation)["dim_campaigns"] == before["dim_campaigns"] + 1
        assert broken_rows(installation) == ""
        assert "orders" in (installation.home.data_docs / "index.html").read_text()


class TestOneWriter:
    def test_who_comes_second_writes_nothing_until_the_first_is_done(self, installation: Installation) -> None:
        """`dagster job execute` runs a job as the web server and the daemon do, by the ordinary executor."""
        raw = installation.home.warehouse.with_name("raw.duckdb")
        job = [sys.executable, "-m", "dagster", "job", "execute", "-m", "orchestration.definitions", "-j", "refresh"]
        environment = installation.environment | settings(installation)
        with only_writer(installation.home):
            before = raw.stat().st_mtime_ns
            running = subprocess.Popen(job, cwd=PROJECT_ROOT, env=environment, stderr=subprocess.PIPE, text=True)
            assert running.stderr is not None
            assert any("STEP_START" in line for line in running.stderr)
            refused = installation.rapport("run", "--select", WAREHOUSE, "--wait", "0")
            assert refused.returncode == 3
            assert "another run is writing the warehouse" in refused.stderr
            assert raw.stat().st_mtime_ns == before
            assert running.poll() is None
        _, said = running.communicate(timeout=280)
        assert running.returncode == 0, said[-3000:]
        assert raw.stat().st_mtime_ns > before


class TestTenants:
    def test_one_that_fails_keeps_no_other_from_learning(self, installation: Installation) -> None:
        learnt = installation.home.path / "training" / "theirs" / "churn.parquet"
        assert not learnt.exists()
        with installation.admin() as connection:
            connection.execute(
                "UPDATE tenants SET settings = %s WHERE slug = 'ours'",
                (json.dumps({"model_inputs": {"contact": {"age": 7}}}),),
            )
            failed = installation.rapport("train", "--model", "churn")
            connection.execute("UPDATE tenants SET settings = '{}' WHERE slug = 'ours'")
        assert failed.returncode == 1
        assert "error: ours: training__churn_dataset: " in failed.stderr
        assert "contact.age must be one of number, category, set, not 7" in failed.stderr
        assert learnt.exists()

    @pytest.mark.parametrize("selection", ["group:nothing", "no selection"])
    def test_a_selection_of_nothing_is_wrong_input(self, installation: Installation, selection: str) -> None:
        refused = installation.rapport("run", "--select", selection)
        assert (refused.returncode, len(refused.stderr.splitlines())) == (2, 1)

    def test_tables_name_theirs(self, installation: Installation) -> None:
        told = installation.metadata("score", "--model", "churn")
        assert [report["tenant"] for report in told] == ["ours", "theirs"]
        assert installation.done("score", "--model", "churn", "--tenant", "theirs").startswith("theirs")


class TestSegments:
    def test_what_marketers_made_follows_the_scores(self, installation: Installation) -> None:
        """One is made from churn scores before there are any; a rule has taken the name of the graph's own segment."""
        scored = json.dumps({"model": "churn", "min_score": 0})
        rule = json.dumps({"all_tags": [], "any_tags": [], "no_tags": [], "status": "archived"})
        with installation.admin() as connection:
            connection.execute("DELETE FROM segments")
            connection.execute(
                "INSERT INTO segments (tenant_id, name, kind, definition) SELECT id, kind, kind, definition"
                " FROM tenants, (VALUES ('scored', %s::jsonb), ('rule', %s::jsonb)) AS made (kind, definition)"
                " WHERE slug = 'ours'",
                (scored, rule),
            )
            connection.execute("UPDATE segments SET name = 'Likely buyers' WHERE kind = 'rule'")
        installation.done("run", "--select", "group:scoring or group:activation", "--tenant", "ours")
        with installation.admin() as connection:
            found = dict(connection.execute("SELECT kind, member_count FROM segments").fetchall())
            contacts = connection.execute(
                "SELECT count(*) FROM contacts JOIN tenants t ON t.id = tenant_id WHERE slug = 'ours'"
            ).fetchone()
        assert (found["scored"], found["rule"]) == (contacts[0] if contacts else None, 0)


class TestBackfill:
    def test_a_day_that_agrees_changes_nothing(self, installation: Installation) -> None:
        installation.done("run", "--select", "group:ingest")
        before = installation.raw()
        told = installation.metadata("backfill", "--from", "2026-01-02", "--to", "2026-01-03", "--table", "messages")
        assert [report["succeeded"] for report in told] == [True, True, True]
        assert installation.raw() == before

    def test_wrong_days_and_tables_are_one_line(self, installation: Installation) -> None:
        for words in (
            ("--from", "2026-01-03", "--to", "2026-01-02"),
            ("--from", "2999-01-01"),
            ("--from", "2026-01-02", "--table", "nothing"),
        ):
            refused = installation.rapport("backfill", *words)
            assert refused.returncode == 2
            assert "Traceback" not in refused.stderr


class TestPostgres:
    def test_the_same_graph_on_a_postgresql_warehouse(self, installation: Installation) -> None:
        with installation.admin() as connection:
            connection.execute("CREATE DATABASE warehouse")
        url = installation.url(database="warehouse")
        installation.done("run", "--select", PUBLISH, FEATURE_STORE_WAREHOUSE=url)
        built = installation.built()
        with psycopg.connect(url) as connection:
            for mart in ("fct_messages", "fct_sends", "mart_engagement", "mart_campaign_performance"):
                (rows,) = connection.execute(f"SELECT count(*) FROM marts.{mart}").fetchone() or (None,)
                assert rows == built[f"marts.{mart}"][0] > 0

        # Its tables are replaced one by one: after a build that failed none of them is shown to anybody.
        before = published(installation)
        with installation.admin() as connection:
            connection.execute(
                "INSERT INTO phone_numbers (tenant_id, phone, provider_number_id, business_account_id)"
                " SELECT tenant_id, '+999100000001', '1', '1' FROM contacts LIMIT 1"
            )
            connection.execute(
                "INSERT INTO outbound_messages (tenant_id, campaign_id, contact_id, phone_number_id, payload,"
                " payload_hash, due_at) SELECT p.tenant_id, c.id, k.id, p.id, '{}', '', now() FROM phone_numbers p"
                " JOIN campaigns c USING (tenant_id) JOIN contacts k USING (tenant_id)"
                " WHERE NOT EXISTS (SELECT FROM decisions d WHERE d.contact_id = k.id) LIMIT 1"
            )
        failed = installation.rapport("run", "--select", PUBLISH, FEATURE_STORE_WAREHOUSE=url)
        assert failed.returncode == 1
        assert "assert_every_send_has_a_decision" in failed.stderr
        refused = installation.rapport("run", "--select", 'key:"publish/marts"', FEATURE_STORE_WAREHOUSE=url)
        assert refused.returncode == 1
        assert "did not come to a good end" in refused.stderr
        assert published(installation) == before


def settings(installation: Installation) -> dict[str, str]:
    """What `rapport up` would start Dagster's processes with."""
    told = "import json; from orchestration.runtime.environment import *; from orchestration.runtime.home import Home;"
    done = subprocess.run(
        [sys.executable, "-c", told + "print(json.dumps(process_environment(Home.from_environment())))"],
        cwd=PROJECT_ROOT,
        env=installation.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, str] = json.loads(done.stdout)
    return found


def broken_rows(installation: Installation) -> str:
    """The keys of the rows that stand in the way, as text."""
    found = DuckDBWarehouse(installation.home.warehouse).raw_query("SELECT row_key FROM raw._broken_rows")
    return " ".join(found["row_key"])
