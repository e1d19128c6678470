"""The whole loop by the commands a new user types, on a small town of simulated people."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

import duckdb
import psycopg
import pytest

from orchestration.runtime.process_table import marked

RAPPORT = Path(sys.executable).with_name("rapport")
WAREHOUSE_STAGES = "group:ingest or group:staging or group:intermediate or group:features or group:marts"
MARTS = (
    "marts.fct_messages",
    "marts.fct_sends",
    "marts.fct_orders",
    "marts.fct_replies",
    "marts.fct_decisions",
    "marts.fct_contact_days",
    "marts.dim_contacts",
    "marts.mart_campaign_performance",
    "features.contact_messaging_daily",
    "features.contact_campaign_daily",
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


class Town:
    """An installation of the test's own with 600 people in it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.environment = os.environ | {"RAPPORT_HOME": str(home), "GATEWAY_SIMULATOR_PEOPLE": "600"}

    def command(self, *words: str) -> list[str]:
        return [str(RAPPORT), *words]

    def rapport(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*words), env=self.environment, capture_output=True, text=True, timeout=600, check=False
        )

    @property
    def report(self):
        return json.loads((self.home / "demo-report.json").read_text())

    def admin(self):
        state = json.loads((self.home / "state.json").read_text())
        secrets = json.loads((self.home / "secrets.json").read_text())
        url = f"postgresql://postgres:{secrets['postgres_admin']}@127.0.0.1:{state['postgres_port']}/rapport"
        return psycopg.connect(url, autocommit=True)

    def rows(self) -> dict[str, tuple[int, int]]:
        """Per table how many rows there are, and a sum over their contents that no order changes."""
        with duckdb.connect(str(self.home / "warehouse" / "warehouse.duckdb"), read_only=True) as connection:
            return {
                table: connection.execute(
                    "SELECT count(*), coalesce(sum(hash(r::varchar)::hugeint % 1000000007), 0)::bigint"
                    f" FROM {table} AS r"
                ).fetchall()[0]
                for table in MARTS
            }


@pytest.fixture(scope="module")
def town():
    # Not below pytest's folder: every run that starts closes that to others, and PostgreSQL runs as another user.
    with tempfile.TemporaryDirectory(prefix="a town ", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        town = Town(Path(name))
        try:
            done = town.rapport("demo")
            assert done.returncode == 0, done.stderr[-3000:]
            town.printed = done.stdout
            yield town
        finally:
            town.rapport("down")


class TestDemo:
    def test_every_stage_had_rows(self, town):
        rows = {stage["name"]: stage["rows"] for stage in town.report["stages"]}
        for stage in (
            "history received",
            "ingest",
            "contracts",
            "online features",
            "training sets",
            "scores",
            "segment",
        ):
            assert rows[stage] > 0, stage

    def test_models_are_judged_beside_the_best_possible(self, town):
        learnt = {name: figures for name, figures in town.report["models"].items() if "auc" in figures}
        assert {"engagement", "lead_scoring"} <= set(learnt)
        for figures in learnt.values():
            assert 0.5 < figures["auc"] <= figures["best_possible_auc"] + 0.05
            assert 0 < figures["brier"] < 0.25
        assert learnt["engagement"]["gain_over_rule"] > 0

    def test_the_campaigns_people_add_up(self, town):
        campaign = town.report["campaign"]
        segment = next(stage["rows"] for stage in town.report["stages"] if stage["name"] == "segment")
        assert campaign["eligible"] + campaign["suppressed"] == segment
        assert campaign["eligible"] == campaign["treated"] + campaign["held_out"]
        assert campaign["treated"] >= campaign["sent"] >= campaign["delivered"] >= campaign["read"] > 0
        assert sum(campaign["suppressed_by_reason"].values()) == campaign["suppressed"]
        difference = campaign["order_rate_difference"]
        assert difference["lower"] <= difference["value"] <= difference["upper"]

    def test_nobody_held_out_or_suppressed_was_sent_to(self, town):
        with town.admin() as connection:
            wrong = connection.execute(
                """SELECT count(*) FROM outbound_messages o JOIN decisions d USING (tenant_id, campaign_id, contact_id)
                   WHERE d.outcome IN ('hold_out', 'suppress') AND o.accepted_at IS NOT NULL"""
            ).fetchone()
        assert wrong == (0,)

    def test_the_pages_it_names_answer(self, town):
        assert set(town.report["addresses"]) >= {"API", "Dagster", "MLflow"}
        for name, address in town.report["addresses"].items():
            assert address in town.printed
            asked = urllib.request.Request(address, headers={"Accept": "text/html"})  # noqa: S310 - our own pages
            with urllib.request.urlopen(asked, timeout=30) as answer:  # noqa: S310
                assert (answer.status, answer.url.endswith("/-/login?next=/")) == (200, name in ("Dagster", "MLflow"))

    def test_everything_it_wrote_is_its_owners_alone(self, town):
        modes = {path: path.lstat().st_mode for path in town.home.rglob("*") if not path.is_symlink()}

        assert {str(path): oct(mode) for path, mode in modes.items() if mode & 0o077} == {}
        # As root the group of PostgreSQL's user passes, to its own folder.
        assert town.home.stat().st_mode & 0o777 in (0o700, 0o710)

    def test_no_secret_stands_in_a_command_line_a_log_or_the_report(self, town):
        secrets = json.loads((town.home / "secrets.json").read_text())
        demo = json.loads((town.home / "demo.json").read_text())
        assert demo["password"] not in secrets["jwt"]
        secrets |= {"password": demo["password"], "api_key": demo["api_key"]}
        told = [town.printed, (town.home / "demo-report.json").read_text(), town.rapport("status").stdout]
        told += [" ".join(process.cmdline()) for _, process in marked(town.home).values()]
        told += [file.read_text(errors="replace") for file in (town.home / "logs").iterdir()]

        assert [name for name, secret in secrets.items() if any(secret in text for text in told)] == []

    def test_a_second_demo_goes_on_from_the_first(self, town):
        first = town.report["campaign"]
        done = town.rapport("demo", "--json")
        assert done.returncode == 0, done.stderr[-3000:]
        second = json.loads(done.stdout)["campaign"]
        assert second["campaign_id"] != first["campaign_id"]
        assert second["sent"] > 0


class TestRun:
    def test_the_warehouse_holds_what_the_operational_database_holds(self, town):
        assert town.rapport("run", "--select", WAREHOUSE_STAGES).returncode == 0
        with town.admin() as connection:
            counts = {
                table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
                for table in ("messages", "orders", "replies", "decisions")
            }
        found = town.rows()
        assert {table: found[f"marts.fct_{table}"][0] for table in counts} == counts

    def test_a_tenant_whose_rows_fail_a_test_keeps_its_figures_until_it_is_put_right(self, town):
        held = "SELECT count(*) FROM marts.publication_notes WHERE held_because LIKE %s"
        why = ("%assert_every_send_has_a_decision%",)
        with town.admin() as connection:
            unexplained = connection.execute(
                """INSERT INTO outbound_messages
                       (tenant_id, campaign_id, contact_id, phone_number_id, payload, payload_hash, due_at, state)
                   SELECT c.tenant_id, (SELECT id FROM campaigns LIMIT 1), c.id, n.id, '{}', 'x', now(), 'suppressed'
                   FROM contacts c, phone_numbers n
                   WHERE NOT EXISTS (SELECT FROM decisions d WHERE d.contact_id = c.id) LIMIT 1 RETURNING id"""
            ).fetchone()
            ran = town.rapport("run", "--select", f"{WAREHOUSE_STAGES} or group:publish")
            assert ran.returncode == 1
            assert "demo: publish__analysts_snapshot" in ran.stderr
            assert "assert_every_send_has_a_decision failed (1 row)" in ran.stderr
            assert connection.execute(held, why).fetchone() == (1,)
            assert "assert_every_send_has_a_decision" in town.rapport("status").stdout

            connection.execute("UPDATE outbound_messages SET campaign_id = NULL WHERE id = %s", unexplained)
            assert town.rapport("run", "--select", f"{WAREHOUSE_STAGES} or group:publish").returncode == 0
            assert connection.execute(held, why).fetchone() == (0,)

    def test_an_unknown_selection_or_tenant_is_one_line(self, town):
        for words in (("--select", 'key:"no/such"'), ("--tenant", "nobody")):
            done = town.rapport("run", *words)
            assert done.returncode == 2
            assert len(done.stderr.strip().splitlines()[-1]) < 300
            assert "Traceback" not in done.stderr
