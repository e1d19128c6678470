"""Training over the API in the product's own code location: started, watched under way, stopped."""

from __future__ import annotations

import time
from pathlib import Path

import psycopg
import pytest
from fastapi.testclient import TestClient

from serving.app import create_app

pytestmark = pytest.mark.slow
PROJECT_ROOT = Path(__file__).parents[3]
ROUTE = "/api/v1/ml/training"
GATE = 20_261_123
# Whoever reads tenants as the pipeline does waits while somebody holds the gate.
GATED_TENANTS = f"""
CREATE SCHEMA gated;
CREATE FUNCTION gated.passed() RETURNS boolean LANGUAGE sql VOLATILE
    AS 'SELECT pg_advisory_xact_lock_shared({GATE}) IS NOT NULL';
CREATE VIEW gated.tenants AS SELECT * FROM public.tenants WHERE gated.passed();
GRANT USAGE ON SCHEMA gated TO etl_read;
GRANT SELECT ON gated.tenants TO etl_read;
"""


@pytest.fixture(scope="module")
def gate(database):
    """The first thing a training does, looking up its tenant, waits for as long as this connection holds the gate."""
    with psycopg.connect(database.admin, autocommit=True) as connection:
        connection.execute(GATED_TENANTS)
        connection.execute(f"ALTER ROLE etl_read IN DATABASE {database.name} SET search_path = gated, public")
        connection.execute("SELECT pg_advisory_lock(%s)", (GATE,))
        yield connection


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """Where a training would leave its rows, runs and bundles."""
    return tmp_path_factory.mktemp("made")


@pytest.fixture(scope="module")
def api(settings, database, gate, made, webserver, tmp_path_factory):
    environment = {
        "RAPPORT_HOME": str(made),
        "FEATURE_STORE_OPERATIONAL_URL": database.etl_read,
        "FEATURE_STORE_REDIS_URL": settings.redis_url,
        "FEATURE_STORE_WAREHOUSE": str(made / "warehouse.duckdb"),
        "TRAINING_TRACKING_URI": f"sqlite:///{made}/mlflow.db",
        "TRAINING_BUNDLES_DIR": str(made / "bundles"),
    }
    workspace = ["-w", str(PROJECT_ROOT / "workspace.yaml")]
    with webserver(tmp_path_factory.mktemp("dagster"), workspace, environment, PROJECT_ROOT) as url:
        told = settings.model_copy(update={"dagster_url": url})
        with TestClient(create_app(told), raise_server_exceptions=False) as client:
            yield client


def wait_for(api, headers, run_id, reached):
    until = time.monotonic() + 120
    while not reached(found := api.get(f"{ROUTE}/status", headers=headers, params={"run_id": run_id}).json()):
        assert time.monotonic() < until, found
        time.sleep(0.2)
    return found


def test_a_training_is_started_watched_and_stopped_and_leaves_nothing(api, as_admin, made):
    started = api.post(f"{ROUTE}/train-model", headers=as_admin, json={"model": "churn"})
    assert started.status_code == 202, started.text
    run = started.json()
    assert (run["models"], run["steps_total"]) == (["churn"], 2)
    under_way = wait_for(api, as_admin, run["run_id"], lambda found: found["steps"][0]["status"] == "running")
    assert under_way["status"] == "running"
    assert [step["name"] for step in under_way["steps"]] == ["training__churn_dataset", "models__churn"]
    stopped = api.post(f"{ROUTE}/stop", headers=as_admin, json={"run_id": run["run_id"]})
    assert [each["run_id"] for each in stopped.json()["items"]] == [run["run_id"]]
    done = wait_for(api, as_admin, run["run_id"], lambda found: found["status"] not in ("running", "stopping"))
    assert (done["status"], done["steps"][1]["status"]) == ("stopped", "waiting")
    assert api.get(f"{ROUTE}/history", headers=as_admin).json()["items"][0]["status"] == "stopped"
    assert not list(made.glob("bundles/**/*.onnx"))
    assert not list(made.glob("training/**/*.json"))
