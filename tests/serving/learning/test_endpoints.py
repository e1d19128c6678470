"""Training over the API, with a real Dagster behind it."""

from __future__ import annotations

import itertools
import json
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from fastapi.testclient import TestClient

from serving.app import create_app
from serving.auth.tokens import api_key_hash, new_api_key

pytestmark = pytest.mark.slow
ROUTE = "/api/v1/ml/training"
OVER = ("succeeded", "failed", "stopped")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Where the tests tell the steps to wait or to fail."""
    return tmp_path_factory.mktemp("steps")


@pytest.fixture(scope="module")
def dagster_url(tmp_path_factory, folder, webserver):
    location = ["-f", str(Path(__file__).with_name("code_location.py"))]
    home = tmp_path_factory.mktemp("dagster")
    with webserver(home, location, {"LEARNING_TEST_FOLDER": str(folder)}, home) as url:
        yield url


@pytest.fixture(scope="module")
def api(settings, dagster_url):
    told = settings.model_copy(update={"dagster_url": dagster_url})
    with TestClient(create_app(told), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def owner(make_tenant):
    return make_tenant()


@pytest.fixture
def slug(owner, database):
    with psycopg.connect(database.admin) as connection:
        return connection.execute("SELECT slug FROM tenants WHERE id = %s", (owner.tenant_id,)).fetchone()[0]


@pytest.fixture
def headers(owner):
    return {"X-API-Key": owner.api_key}


@pytest.fixture
def hold(folder, slug):
    """Makes the tenant's steps of this name wait until let go."""
    held = []

    def holding(name):
        held.append(folder / f"hold-{slug}-{name}")
        held[-1].touch()
        return held[-1]

    yield holding
    for file in held:
        file.unlink(missing_ok=True)


def status(api, headers, run_id):
    return api.get(f"{ROUTE}/status", headers=headers, params={"run_id": run_id}).json()


def wait_for(api, headers, run_id, reached):
    until = time.monotonic() + 90
    while not reached(found := status(api, headers, run_id)):
        assert time.monotonic() < until, found
        time.sleep(0.2)
    return found


def over(found):
    return found["status"] in OVER


class TestStart:
    def test_training_a_model_runs_its_steps_and_tells_how_far_it_is(self, api, headers, hold, slug):
        held = hold("churn")
        started = api.post(f"{ROUTE}/train-model", headers=headers, json={"model": "churn"})
        assert started.status_code == 202, started.text
        run = started.json()
        assert (run["models"], run["steps_total"]) == (["churn"], 2)
        half = wait_for(api, headers, run["run_id"], lambda found: found["steps_done"] == 1)
        assert half["status"] == "running"
        held.unlink()
        done = wait_for(api, headers, run["run_id"], over)
        assert (done["status"], done["steps_done"]) == ("succeeded", 2)
        assert [step["status"] for step in done["steps"]] == ["succeeded", "succeeded"]
        # Without a run named, it is the newest.
        assert api.get(f"{ROUTE}/status", headers=headers).json() == done

    def test_what_is_being_trained_is_not_trained_twice(self, api, headers, hold):
        hold("churn_dataset")
        first = api.post(f"{ROUTE}/start", headers=headers, json={"models": ["churn"]}).json()
        second = api.post(f"{ROUTE}/train-all", headers=headers)
        assert second.status_code == 409
        assert second.json()["type"] == "urn:rapport:problem:training-running"
        assert second.json()["run_id"] == first["run_id"]
        api.post(f"{ROUTE}/stop", headers=headers)
        wait_for(api, headers, first["run_id"], over)

    def test_of_several_asked_for_at_once_one_is_started(self, api, headers, hold):
        hold("churn_dataset")
        with ThreadPoolExecutor(4) as pool:
            asked = [
                pool.submit(api.post, f"{ROUTE}/train-model", headers=headers, json={"model": "churn"})
                for _ in range(4)
            ]
        answers = [each.result() for each in asked]
        assert sorted(answer.status_code for answer in answers) == [202, 409, 409, 409]
        assert len({answer.json()["run_id"] for answer in answers}) == 1
        api.post(f"{ROUTE}/stop", headers=headers)
        wait_for(api, headers, answers[0].json()["run_id"], over)

    def test_a_failed_step_is_told(self, api, headers, folder, slug):
        (folder / f"fail-{slug}-engagement").touch()
        run = api.post(f"{ROUTE}/train-model", headers=headers, json={"model": "engagement"}).json()
        done = wait_for(api, headers, run["run_id"], over)
        assert done["status"] == "failed"
        assert {step["name"]: step["status"] for step in done["steps"]} == {
            "training__engagement_dataset": "succeeded",
            "models__engagement": "failed",
        }

    @pytest.mark.parametrize("body", [{"model": "sentiment"}, {}, {"model": "churn", "tenant": "other"}])
    def test_an_unknown_model_or_field_is_refused(self, api, headers, body):
        refused = api.post(f"{ROUTE}/train-model", headers=headers, json=body)
        assert (refused.status_code, refused.headers["content-type"]) == (422, "application/problem+json")
        assert refused.json()["errors"][0]["field"] in ("model", "tenant")

    def test_sales_may_look_but_not_train(self, api, owner, database):
        key = new_api_key()
        with psycopg.connect(database.admin) as connection:
            connection.execute(
                "INSERT INTO api_keys (tenant_id, name, key_hash, key_prefix, role)"
                " VALUES (%s, 'sales', %s, %s, 'sales')",
                (owner.tenant_id, api_key_hash(key), key[:11]),
            )
        sales = {"X-API-Key": key}
        for route in ("start", "train-all", "stop"):
            assert api.post(f"{ROUTE}/{route}", headers=sales).status_code == 403
        assert api.get(f"{ROUTE}/history", headers=sales).status_code == 200

    def test_nobody_is_refused(self, api):
        assert api.post(f"{ROUTE}/train-all").status_code == 401


class TestStop:
    def test_a_stopped_training_ends_and_leaves_the_rest_undone(self, api, headers, hold):
        hold("lead_scoring_dataset")
        run = api.post(f"{ROUTE}/start", headers=headers, json={"models": ["lead_scoring"]}).json()
        wait_for(api, headers, run["run_id"], lambda found: found["steps"][0]["status"] == "running")
        stopped = api.post(f"{ROUTE}/stop", headers=headers, json={"run_id": run["run_id"]})
        assert stopped.status_code == 200
        assert [each["run_id"] for each in stopped.json()["items"]] == [run["run_id"]]
        done = wait_for(api, headers, run["run_id"], over)
        assert done["status"] == "stopped"
        assert done["steps"][1]["status"] == "waiting"
        # Stopping what has ended stops nothing.
        again = api.post(f"{ROUTE}/stop", headers=headers, json={"run_id": run["run_id"]})
        assert (again.status_code, again.json()["items"]) == (200, [])

    @pytest.mark.parametrize("_time", range(3))
    def test_a_training_is_stopped_however_soon(self, api, headers, hold, _time):
        hold("churn_dataset")
        run = api.post(f"{ROUTE}/train-model", headers=headers, json={"model": "churn"}).json()
        (stopped,) = api.post(f"{ROUTE}/stop", headers=headers).json()["items"]
        assert stopped["status"] in ("stopping", "stopped")
        assert wait_for(api, headers, run["run_id"], over)["status"] == "stopped"

    def test_an_unknown_run_is_not_found(self, api, headers):
        for answer in (
            api.post(f"{ROUTE}/stop", headers=headers, json={"run_id": str(uuid.uuid4())}),
            api.get(f"{ROUTE}/status", headers=headers, params={"run_id": str(uuid.uuid4())}),
            api.get(f"{ROUTE}/history", headers=headers, params={"after": str(uuid.uuid4())}),
        ):
            assert (answer.status_code, answer.json()["type"]) == (404, "urn:rapport:problem:training-not-found")


def events(answer):
    assert answer.headers["content-type"].startswith("text/event-stream")
    return [json.loads(line.removeprefix("data: ")) for line in answer.text.splitlines() if line.startswith("data: ")]


class TestProgress:
    def test_a_training_is_told_step_by_step_until_it_is_over(self, api, headers, hold):
        held = hold("engagement")
        run = api.post(f"{ROUTE}/train-model", headers=headers, json={"model": "engagement"}).json()
        wait_for(api, headers, run["run_id"], lambda found: found["steps_done"] == 1)
        letting_go = threading.Timer(1.5, held.unlink)
        letting_go.start()
        told = events(api.get(f"{ROUTE}/progress", headers=headers, params={"run_id": run["run_id"]}))
        letting_go.join()
        assert (told[0]["status"], told[0]["steps_done"]) == ("running", 1)
        assert (told[-1]["status"], told[-1]["steps_done"]) == ("succeeded", 2)
        assert all(before != after for before, after in itertools.pairwise(told))
        # Of one that is over there is nothing more to tell.
        assert events(api.get(f"{ROUTE}/progress", headers=headers)) == told[-1:]

    def test_who_is_told_has_to_ask_again_after_a_while(self, api, headers, hold, monkeypatch):
        hold("churn_dataset")
        run = api.post(f"{ROUTE}/train-model", headers=headers, json={"model": "churn"}).json()
        monkeypatch.setattr(api.app.state.learning, "follow_seconds", 0.5)
        told = events(api.get(f"{ROUTE}/progress", headers=headers, params={"run_id": run["run_id"]}))
        assert told[-1]["status"] in ("queued", "running")
        api.post(f"{ROUTE}/stop", headers=headers)
        wait_for(api, headers, run["run_id"], over)


class TestTenants:
    def test_another_tenants_training_can_be_neither_seen_nor_stopped(self, api, headers, as_stranger, hold):
        hold("churn_dataset")
        run = api.post(f"{ROUTE}/train-model", headers=headers, json={"model": "churn"}).json()
        seen = api.get(f"{ROUTE}/status", headers=as_stranger, params={"run_id": run["run_id"]})
        stopped = api.post(f"{ROUTE}/stop", headers=as_stranger, json={"run_id": run["run_id"]})
        streamed = api.get(f"{ROUTE}/progress", headers=as_stranger, params={"run_id": run["run_id"]})
        assert (seen.status_code, stopped.status_code, streamed.status_code) == (404, 404, 404)
        assert api.post(f"{ROUTE}/stop", headers=as_stranger).json()["items"] == []
        assert run["run_id"] not in api.get(f"{ROUTE}/history", headers=as_stranger).text
        assert status(api, headers, run["run_id"])["status"] in ("queued", "running")
        api.post(f"{ROUTE}/stop", headers=headers)
        wait_for(api, headers, run["run_id"], over)

    def test_history_is_the_tenants_own_newest_first_and_in_pages(self, api, headers):
        runs = []
        for model in ("churn", "engagement"):
            run = api.post(f"{ROUTE}/train-model", headers=headers, json={"model": model}).json()
            wait_for(api, headers, run["run_id"], over)
            runs.append(run["run_id"])
        first = api.get(f"{ROUTE}/history", headers=headers, params={"limit": 1}).json()
        assert ([each["run_id"] for each in first["items"]], first["next"]) == (runs[1:], runs[1])
        rest = api.get(f"{ROUTE}/history", headers=headers, params={"after": first["next"]}).json()
        assert ([each["run_id"] for each in rest["items"]], rest["next"]) == (runs[:1], None)

    def test_before_the_first_training_there_is_no_status(self, api, headers):
        assert api.get(f"{ROUTE}/status", headers=headers).status_code == 404
        assert api.get(f"{ROUTE}/history", headers=headers).json() == {"items": [], "next": None}


class TestDagsterAway:
    def test_every_route_says_that_training_cannot_be_reached(self, settings, headers):
        # Nobody listens on the first port.
        told = settings.model_copy(update={"dagster_url": "http://127.0.0.1:1"})
        with TestClient(create_app(told), raise_server_exceptions=False) as api:
            for method, route in (
                ("POST", "start"), ("POST", "train-all"), ("POST", "stop"), ("GET", "status"), ("GET", "progress"),
                ("GET", "history"),
            ):  # fmt: skip
                answer = api.request(method, f"{ROUTE}/{route}", headers=headers)
                assert (answer.status_code, answer.json()["type"]) == (503, "urn:rapport:problem:training-unavailable")
