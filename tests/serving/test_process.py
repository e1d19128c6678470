"""The API as `rapport up` runs it: a process of its own on a socket."""

from __future__ import annotations

import json
import signal

import httpx


def test_it_serves_logs_routes_without_people_and_stops_on_sigterm(api_process, as_admin):
    running, url, log = api_process
    with httpx.Client(base_url=url, headers=as_admin) as client:
        assert client.get("/api/v1/health/health").status_code == 200
        made = client.post("/api/v1/contacts/", json={"phone": "+999600000001", "name": "Grace"})
        assert made.status_code == 201
        path = f"/api/v1/contacts/{made.json()['id']}"
        assert client.delete(f"{path}/tags/Secret%2FTag").status_code == 200
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
    for private in ("999600000001", "Grace", "Secret/Tag", "Secret%2FTag", as_admin["X-API-Key"]):
        assert private not in log.read_text()
