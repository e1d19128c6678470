"""The API as `rapport up` runs it: a process of its own on a socket."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time

import httpx
import pytest


@pytest.fixture(scope="module")
def process(settings, tmp_path_factory):
    """(process, base URL, path of its log), stopped at the end."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tmp_path_factory.mktemp("api") / "api.log"
    given = settings.model_dump() | {"access_log": True, "log_level": "INFO"}
    environment = os.environ | {
        f"SERVING_{name.upper()}": value.get_secret_value() if hasattr(value, "get_secret_value") else str(value)
        for name, value in given.items()
    }
    command = [sys.executable, "-m", "uvicorn", "--factory", "serving.app:create_app", "--port", str(port)]
    with log.open("w") as out:
        process = subprocess.Popen(command, env=environment, stdout=out, stderr=subprocess.STDOUT)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            with contextlib.suppress(httpx.TransportError):
                httpx.get(url)
                break
            time.sleep(0.1)
        else:
            pytest.fail(f"the API did not start: {log.read_text()}")
        yield process, url, log
    finally:
        process.kill()
        process.wait()


def test_it_serves_logs_routes_without_people_and_stops_on_sigterm(process, as_admin):
    running, url, log = process
    with httpx.Client(base_url=url, headers=as_admin) as client:
        assert client.get("/api/v1/health/health").status_code == 200
        made = client.post("/api/v1/contacts/", json={"phone": "+999600000001", "name": "Grace"})
        assert made.status_code == 201
        path = f"/api/v1/contacts/{made.json()['id']}"
        assert client.delete(f"{path}/tags/SecretTag").status_code == 200
        assert client.get("/api/v1/contacts/search", params={"q": "+999600000001"}).json()["pagination"]["total"] == 1
    running.send_signal(signal.SIGTERM)
    assert running.wait(timeout=20) in (0, -signal.SIGTERM)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    answered = [line for line in lines if line["event"] == "request.answered"]
    assert [(line["method"], line["route"], line["status"]) for line in answered][-4:] == [
        ("GET", "/api/v1/health/health", 200),
        ("POST", "/api/v1/contacts/", 201),
        ("DELETE", "/api/v1/contacts/{id}/tags/{tag}", 200),
        ("GET", "/api/v1/contacts/search", 200),
    ]
    assert answered[-1]["api_key_id"]
    for private in ("999600000001", "Grace", "SecretTag", as_admin["X-API-Key"]):
        assert private not in log.read_text()
