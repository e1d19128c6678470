"""What anybody may send before it is known who it is, and what every route refuses."""

from __future__ import annotations

import asyncio
import json

import pytest
from fastapi.routing import APIRoute

from serving.app import create_app
from serving.auth.route import ANONYMOUS_BODY_BYTES, ProviderRoute, Route, needs_caller

BATCH = "/api/v1/ml/models/lead-scoring/batch"
BODIES = [BATCH, "/api/v1/ml/models/churn-prediction/predict", "/api/v1/contacts/", "/api/v1/campaigns/"]
JSON = ((b"content-type", b"application/json"),)
LOGINS = ["/api/v1/auth/login", "/api/v1/auth/login-json"]


def own_routes(routes):
    for route in routes:
        included = getattr(route, "original_router", None)
        if included is not None:
            yield from own_routes(included.routes)
        elif isinstance(route, APIRoute):
            yield route


def sent(app, method, path, headers=JSON):
    """(status, messages of the body that were read) of a request whose body never ends."""
    read, answered = 0, {}

    async def receive():
        nonlocal read
        read += 1
        return {"type": "http.request", "body": b"x" * 65_536, "more_body": True}

    async def send(message):
        if message["type"] == "http.response.start":
            answered["status"] = message["status"]

    scope = {
        "type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b"",
        "root_path": "", "scheme": "http", "http_version": "1.1", "client": ("127.0.0.1", 1), "server": ("x", 80),
        "headers": [(b"transfer-encoding", b"chunked"), *headers],
        "state": {}, "app": app,
    }  # fmt: skip
    asyncio.run(app(scope, receive, send))
    return answered["status"], read


class TestBodies:
    @pytest.mark.parametrize("path", BODIES)
    def test_of_a_stranger_is_not_read(self, api, path):
        assert sent(api.app, "POST", path) == (401, 0)

    @pytest.mark.parametrize("path", LOGINS)
    def test_of_a_login_is_small(self, api, path):
        form = [(b"content-type", b"application/x-www-form-urlencoded")]
        assert sent(api.app, "POST", path, form if path.endswith("login") else JSON) == (413, 1)

    @pytest.mark.parametrize("path", LOGINS)
    def test_that_declares_too_much_for_a_login_is_not_read(self, api, path):
        answer = api.post(path, content=b" " * (ANONYMOUS_BODY_BYTES + 1), headers={"Content-Type": "application/json"})
        assert (answer.status_code, answer.headers["content-type"]) == (413, "application/problem+json")

    def test_every_route_of_ours_asks_first(self, settings):
        others = {
            route.path
            for route in own_routes(create_app(settings).routes)
            if not isinstance(route, Route | ProviderRoute)
        }
        assert others <= {"/docs", "/docs/oauth2-redirect"}

    def test_the_provider_needs_no_caller(self, settings):
        providers = [route for route in own_routes(create_app(settings).routes) if isinstance(route, ProviderRoute)]
        assert {route.path for route in providers} == {"/webhooks/whatsapp"}
        assert not any(needs_caller(route.dependant) for route in providers)

    @pytest.mark.parametrize("depth", [60, 500, 900, 990, 2_000, 100_000])
    @pytest.mark.parametrize("path", [*BODIES, "/api/v1/auth/login-json", "/api/v1/segments/"])
    def test_nested_deeply_is_the_callers_fault(self, api, as_admin, path, depth):
        if path in LOGINS:
            depth = min(depth, 4_000)
        nested = "[" * depth + "]" * depth
        for body in (
            nested,
            '{"a":' * depth + "1" + "}" * depth,
            f'{{"phone": "+4915112345678", "custom_data": {{"a": {nested}}}}}',
            f'{{"contact_id": "{"0" * 8}-0000-4000-8000-{"0" * 12}", "campaign_attributes": {{"a": {nested}}}}}',
            f'{{"rows": [{{"a": {nested}}}]}}',
            f'{{"name": "x", "type": "static", "definition": {nested}, "kind": {nested}}}',
        ):
            if len(body) > ANONYMOUS_BODY_BYTES and path in LOGINS:
                continue
            answer = api.post(path, content=body, headers=as_admin | {"Content-Type": "application/json"})
            assert answer.status_code < 500, (answer.text, body[:80])
            assert answer.headers["content-type"].startswith("application/")

    def test_a_key_is_counted_once_a_request(self, api, as_admin):
        """On a lean route, on one that leaves the request to FastAPI, and on an ordinary one."""
        path = f"/api/v1/tenants/{api.get('/api/v1/auth/me', headers=as_admin).json()['tenant_id']}/api-keys"
        made = api.post(path, headers=as_admin, json={"name": "three", "access": "sales", "rate_limit": 3}).json()
        headers = {"X-API-Key": made["secret"], "Content-Type": "application/json"}
        answers = [
            api.post(BATCH, headers=headers, content=b"{}").status_code,
            api.post(BATCH, headers=headers, content=b'{"contact_ids": 1}').status_code,
            api.get("/api/v1/auth/me", headers=headers).status_code,
            api.get("/api/v1/auth/me", headers=headers).status_code,
        ]
        assert answers == [422, 422, 200, 429]


class TestQuery:
    @pytest.mark.parametrize(
        ("method", "path", "known"),
        [
            ("GET", "/api/v1/contacts/filter?marketing_consents=opted_out", "marketing_consent"),
            ("GET", "/api/v1/contacts/?statuss=active", "status"),
            ("GET", "/api/v1/campaigns/?pages=2", "page"),
            ("GET", "/api/v1/auth/me?x=1", None),
            ("POST", BATCH + "?explain=true", None),
            ("POST", "/api/v1/ml/models/lead-scoring/predict?explain=true", None),
        ],
    )
    def test_an_unknown_parameter_is_named_with_those_there_are(self, api, as_admin, method, path, known):
        answer = api.request(method, path, headers=as_admin, json={} if method == "POST" else None)
        assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
        name = path.partition("?")[2].partition("=")[0]
        assert [(error["field"], error["code"]) for error in answer.json()["errors"]] == [(name, "unknown_parameter")]
        told = answer.json()["known_parameters"]
        assert known in told if known else told == []

    def test_a_repeated_parameter_is_refused_unless_it_is_a_list(self, api, as_admin):
        assert api.get("/api/v1/contacts/?tag=a&tag=b", headers=as_admin).status_code == 200
        answer = api.get("/api/v1/contacts/?page=1&page=2", headers=as_admin)
        assert answer.status_code == 422
        assert [error["code"] for error in answer.json()["errors"]] == ["repeated_parameter"]

    def test_a_stranger_is_told_nothing_of_it(self, api):
        assert api.get("/api/v1/contacts/?nothing=1").status_code == 401
        assert api.post(f"{BATCH}?nothing=1", json={}).status_code == 401

    def test_of_the_provider_is_its_own(self, api):
        assert api.get("/api/v1/webhooks/whatsapp?hub.mode=x&hub.verify_token=y&more=1").status_code == 401


class TestUsers:
    def test_have_a_rate_limit_as_keys_have(self, settings, database, make_tenant, token_headers):
        from fastapi.testclient import TestClient

        person = make_tenant()
        headers = token_headers(person.user_id, person.tenant_id)
        with TestClient(create_app(settings.model_copy(update={"user_requests_per_minute": 3}))) as api:
            answers = [api.get("/api/v1/auth/me", headers=headers) for _ in range(8)]
        # The clock may pass a full minute in between; then there are two threes.
        statuses = [answer.status_code for answer in answers]
        assert set(statuses) == {200, 429}
        assert statuses.count(200) in (3, 4, 5, 6)
        refused = answers[statuses.index(429)]
        assert 1 <= int(refused.headers["Retry-After"]) <= 60
        assert json.loads(refused.text)["retry_after_seconds"] == int(refused.headers["Retry-After"])
