"""The real Dagster and MLflow behind the pages, as `rapport up` starts them."""

from __future__ import annotations

import json
import os
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass

import aiohttp
import psutil
import pytest

from orchestration.runtime import servers
from orchestration.runtime.process_table import marked
from tests.orchestration.installation import Installation, installed

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400), pytest.mark.anyio]
PAGES = ("mlflow", "dagster", "pages")
VERSION = {"query": "{ version }"}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@dataclass
class Started:
    installation: Installation
    password: str

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.installation.home.state()['ports'][name]}"


@pytest.fixture(scope="module")
def started() -> Iterator[Started]:
    with installed() as installation:
        done = installation.rapport("up", *(word for name in PAGES for word in ("--only", name)))
        assert done.returncode == 0, done.stderr[-3000:]
        found = re.search(r"password (\S+)", done.stderr)
        assert found is not None
        assert found[1] not in done.stdout
        yield Started(installation, found[1])


def ask(url: str, body: object = None, **headers: str) -> tuple[int, bytes]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"} | headers)  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_the_servers_listen_nowhere_but_on_their_sockets(started: Started) -> None:
    listening = {
        name
        for name, process in marked(started.installation.home.path).values()
        if any(line.status == psutil.CONN_LISTEN for line in process.net_connections("inet"))
    }
    assert listening == {"pages"}
    for name in servers.ON_SOCKETS:
        assert servers.socket_of(started.installation.home, name).stat().st_mode & 0o077 == 0


def test_nothing_is_told_without_a_login(started: Started) -> None:
    assert ask(started.url("dagster") + "/graphql", VERSION)[0] == 401
    assert ask(started.url("mlflow") + "/api/2.0/mlflow/experiments/search", {"max_results": 1})[0] == 401


async def test_dagsters_pages_and_subscriptions_work_after_a_login(started: Started) -> None:
    url = started.url("dagster")
    ours = {"Origin": url}
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as client:
        async with client.post(f"{url}/-/login", data={"password": started.password}, headers=ours) as page:
            assert page.status == 200
            assert "/-/login" not in await page.text()
        async with client.post(f"{url}/graphql", json=VERSION, headers=ours) as answer:
            assert (await answer.json())["data"]["version"]
        async with client.ws_connect(f"{url}/graphql", protocols=["graphql-ws"], headers=ours) as line:
            await line.send_json({"type": "connection_init"})
            assert (await line.receive_json())["type"] == "connection_ack"
            await line.send_json({"type": "start", "id": "1", "payload": {"query": "subscription { nothing }"}})
            answer = await line.receive_json()
            assert (answer["type"], answer["id"]) == ("error", "1")
            assert "nothing" in json.dumps(answer["payload"])


def test_a_notebook_works_with_mlflow_by_the_operators_password(
    started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "operator")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", started.password)
    client = MlflowClient(started.url("mlflow"))

    experiment = client.create_experiment("from a notebook")
    run = client.create_run(experiment)
    client.log_metric(run.info.run_id, "auc", 0.75)

    assert client.get_run(run.info.run_id).data.metrics == {"auc": 0.75}


async def test_the_api_reaches_dagster_by_its_socket(started: Started) -> None:
    from orchestration.runtime.environment import process_environment
    from serving.learning.dagster import Dagster

    dagster = Dagster(process_environment(started.installation.home)["SERVING_DAGSTER_URL"])
    assert (await dagster.job("train")).name == "train"
    await dagster.aclose()


def test_no_secret_stands_in_a_command_line_a_log_or_the_status(started: Started) -> None:
    home = started.installation.home
    told = [started.installation.done("status"), started.installation.done("status", "--json")]
    told += [" ".join(process.cmdline()) for _, process in marked(home.path).values()]
    told += [file.read_text(errors="replace") for file in home.logs.iterdir()]
    secrets = home.secrets() | {"operator": started.password}

    assert [name for name, secret in secrets.items() if any(secret in text for text in told)] == []


def test_a_new_password_ends_the_old_one(started: Started) -> None:
    done = started.installation.rapport("password")
    assert done.returncode == 0
    new = re.search(r"password (\S+)", done.stderr)
    assert new is not None

    def status_with(password: str) -> int:
        import base64

        coded = base64.b64encode(f"operator:{password}".encode()).decode()
        return ask(started.url("dagster") + "/graphql", VERSION, Authorization=f"Basic {coded}")[0]

    assert (status_with(started.password), status_with(new[1])) == (401, 200)
    assert os.environ.get("MLFLOW_TRACKING_PASSWORD") is None
