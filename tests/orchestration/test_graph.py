"""The graph on an installation of its own, by the commands: two warehouses, what fails, who may write."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import psycopg
import pytest

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

    def test_an_odd_row_is_set_aside_and_everything_else_goes_on(self, installation: Installation) -> None:
        """A message of the year 3000, an order of tomorrow, a currency that is none: of one tenant."""
        before = published(installation)
        with installation.admin() as connection:
            connection.execute(
                "INSERT INTO campaigns (tenant_id, name, message_template) SELECT id, 'New', 'Hello' FROM tenants"
                " WHERE slug = 'ours'"
            )
            connection.execute(
                "INSERT INTO messages (tenant_id, contact_id, conversation_id, direction, status, timestamp,"
                " provider_id) SELECT k.tenant_id, k.contact_id, k.id, 'inbound', 'read', '3000-01-01Z', 'odd'"
                " FROM conversations k JOIN tenants t ON t.id = k.tenant_id WHERE slug = 'theirs' LIMIT 1"
            )
            for external, currency, at in (("tomorrow", "EUR", "1 day"), ("doubloons", "doubloons", "0")):
                connection.execute(
                    "INSERT INTO orders (tenant_id, contact_id, external_id, platform, total_cents, currency,"
                    " ordered_at) SELECT c.tenant_id, c.id, %s, 'test', 100, %s, now() + %s::interval FROM contacts c"
                    " JOIN tenants t ON t.id = c.tenant_id WHERE slug = 'theirs' LIMIT 1",
                    (external, currency, at),
                )
        [report] = installation.metadata("run", "--select", PUBLISH)
        assert sorted(check.split(" failed: ")[0] for check in report["failed_checks"]) == [  # type: ignore[attr-defined]
            "rows_keep_the_contract of raw/messages",
            "rows_keep_the_contract of raw/orders",
        ]
        assert published(installation)["dim_campaigns"] == before["dim_campaigns"] + 1
        assert noted(installation, "ours") is None
        held_because, left_out = noted(installation, "theirs") or ("", [])
        assert held_because is None
        assert [(each["table"], each["reason"], each["rows"]) for each in left_out] == [
            ("messages", "column_values_to_be_between (timestamp)", 1),
            ("orders", "column_values_to_be_between (ordered_at)", 1),
            ("orders", "column_values_to_match_regex (currency)", 1),
        ]
        assert "orders" in (installation.home.data_docs / "index.html").read_text()

        with installation.admin() as connection:
            connection.execute("UPDATE orders SET ordered_at = now(), currency = 'EUR' WHERE platform = 'test'")
            connection.execute("DELETE FROM messages WHERE provider_id = 'odd'")
        installation.done("run", "--select", PUBLISH)
        assert noted(installation, "theirs") is None

    def test_a_tenant_whose_rows_fail_a_test_keeps_its_marts_until_they_pass(self, installation: Installation) -> None:
        def rename(name: str) -> None:
            with installation.admin() as connection:
                connection.execute("UPDATE campaigns SET name = %s WHERE name LIKE 'Campaign 1%%'", (name,))

        def names(slug: str) -> list[str]:
            with installation.admin() as connection:
                found = connection.execute(
                    "SELECT c.name FROM marts.dim_campaigns c JOIN tenants t ON t.id = c.tenant_id"
                    " WHERE slug = %s AND c.name LIKE 'Campaign 1%%'",
                    (slug,),
                ).fetchall()
            return [name for (name,) in found]

        with installation.admin() as connection:
            connection.execute(
                "UPDATE orders SET platform = 'whatsapp' WHERE id = (SELECT o.id FROM orders o JOIN tenants t"
                " ON t.id = o.tenant_id WHERE slug = 'theirs' AND total_cents > 0 ORDER BY o.id LIMIT 1)"
            )
            connection.execute(
                "INSERT INTO order_items (tenant_id, order_id, name, quantity, price_cents)"
                " SELECT tenant_id, id, 'Thing', 1, total_cents + 1 FROM orders WHERE platform = 'whatsapp'"
            )
        for turn, name in enumerate(("Campaign 1 a", "Campaign 1 b")):
            rename(name)
            [report] = installation.metadata("run", "--select", PUBLISH)
            assert (report["succeeded"], report["blocking_checks"]) == (True, [])
            assert (names("ours"), names("theirs")) == ([name], ["Campaign 1"]), turn
            assert noted(installation, "ours") is None
            held_because, _ = noted(installation, "theirs") or ("", [])
            assert held_because == "assert_orders_add_up failed (1 row)"

        snapshots = installation.rapport("run", "--select", 'key:"publish/analysts_snapshot"')
        assert snapshots.returncode == 1
        assert "theirs: publish__analysts_snapshot: " in snapshots.stderr
        assert "assert_orders_add_up failed (1 row)" in snapshots.stderr
        assert "ours:" not in snapshots.stderr

        with installation.admin() as connection:
            connection.execute("DELETE FROM order_items WHERE name = 'Thing'")
            connection.execute("UPDATE orders SET platform = 'shop' WHERE platform = 'whatsapp'")
        installation.done("run", "--select", PUBLISH)
        assert (names("ours"), names("theirs")) == (["Campaign 1 b"], ["Campaign 1 b"])
        assert noted(installation, "theirs") is None


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

        # Its tables are replaced one by one: those of a tenant whose rows failed are shown to nobody.
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
        installation.done("run", "--select", PUBLISH, FEATURE_STORE_WAREHOUSE=url)
        held_because, _ = next(filter(None, (noted(installation, slug) for slug in ("ours", "theirs"))), ("", []))
        assert held_because == "assert_every_send_has_a_decision failed (1 row)"

        # A failure that is no tenant's stops everybody.
        before = published(installation)
        with psycopg.connect(url) as connection:
            connection.execute("UPDATE staging._failed_tests SET tenant_id = NULL")
            connection.execute("UPDATE staging._current_run SET is_whole = false")
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


def noted(installation: Installation, slug: str) -> tuple[str | None, list[dict[str, object]]] | None:
    """Why the tenant's figures are its last ones, and what they leave out; None when there is nothing to say."""
    with installation.admin() as connection:
        return connection.execute(
            "SELECT held_because, set_aside FROM marts.publication_notes n JOIN tenants t ON t.id = n.tenant_id"
            " WHERE slug = %s",
            (slug,),
        ).fetchone()
