"""What holds for every route: who may call it, how errors look, what the process carries."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid

import psycopg
import pytest

from serving.app import create_app
from serving.auth.dependencies import current_caller

# Anyone may call these: they find out who calls, say that the process lives, or verify a signature of their own.
OPEN = {
    ("GET", "/"),
    ("GET", "/api/v1/health/health"),
    ("POST", "/api/v1/auth/login"),
    ("POST", "/api/v1/auth/login-json"),
    ("GET", "/api/v1/webhooks/whatsapp"),
    ("POST", "/api/v1/webhooks/whatsapp"),
}


# The API's description of itself, as FastAPI serves it beside the routes.
PAGES = {"/docs", "/docs/oauth2-redirect"}
# What the product adds to the published contract.
OWN = (
    "/api/v1/segments/",
    "/api/v1/contacts/{id}/scores",
    "/api/v1/contacts/erasures/",
    "/api/v1/ml/training/progress",
)


def api_routes(routes, prefix=""):
    """(method, path, route) of every route with an endpoint of ours, through all included routers."""
    for route in routes:
        included = getattr(route, "original_router", None)
        if included is not None:
            yield from api_routes(included.routes, prefix + route.include_context.prefix)
        elif hasattr(route, "dependant") and route.path not in PAGES:
            for method in route.methods:
                yield method, prefix + route.path_format, route


def dependencies(dependant):
    for dependency in dependant.dependencies:
        yield dependency.call
        yield from dependencies(dependency)


class TestRoutes:
    def test_all_are_found(self, settings):
        app = create_app(settings)
        found = {(method, path) for method, path, _ in api_routes(app.routes)}
        described = {(method.upper(), path) for path, methods in app.openapi()["paths"].items() for method in methods}
        assert found == described
        assert found >= OPEN

    def test_every_one_but_the_open_ones_depends_on_the_caller(self, settings):
        loose = {
            (method, path)
            for method, path, route in api_routes(create_app(settings).routes)
            if current_caller not in dependencies(route.dependant)
        }
        assert loose == OPEN

    def test_every_one_but_the_open_ones_is_described_as_needing_credentials(self, settings):
        paths = create_app(settings).openapi()["paths"]
        loose = {
            (method.upper(), path)
            for path, methods in paths.items()
            for method, operation in methods.items()
            if "security" not in operation
        }
        assert loose == OPEN

    def test_every_one_but_the_open_ones_answers_401_to_a_stranger(self, api):
        for method, path, _ in api_routes(api.app.routes):
            if (method, path) in OPEN:
                continue
            filled = "/".join(str(uuid.uuid4()) if part.startswith("{") else part for part in path.split("/"))
            assert api.request(method, filled, json={"junk": 1}).status_code == 401, (method, path)

    def test_none_is_shadowed_by_an_earlier_one(self, settings):
        taken = set()
        for method, path, _ in api_routes(create_app(settings).routes):
            shape = tuple("{}" if part.startswith("{") else part for part in path.split("/"))
            hidden_by = {
                other for verb, other in taken
                if verb == method and len(other) == len(shape)
                and all(ours in ("{}", theirs) for ours, theirs in zip(other, shape, strict=True))
            }  # fmt: skip
            assert hidden_by == set(), (method, path)
            taken.add((method, shape))

    def test_those_of_the_contract_have_its_exact_paths(self, settings, contract):
        found = {(method, path) for method, path, _ in api_routes(create_app(settings).routes)}
        extensions = {(method, path) for method, path in found if path.startswith(OWN)}
        extensions |= {("GET", "/api/v1/webhooks/whatsapp")}  # the provider's subscription check
        shaped = {(method, _shape(path)) for method, path in contract}
        assert {(method, path) for method, path in found - extensions if (method, _shape(path)) not in shaped} == set()


def _shape(path):
    return "/".join("{}" if part.startswith("{") else part for part in path.split("/"))


class TestErrors:
    @pytest.mark.parametrize(
        ("method", "path", "status"),
        [("GET", "/nowhere", 404), ("GET", "/api/v1/nowhere", 404), ("DELETE", "/api/v1/auth/me", 405)],
    )
    def test_an_unknown_route_is_a_problem_document(self, api, method, path, status):
        answer = api.request(method, path)
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
        assert answer.json()["status"] == status

    def test_a_body_that_is_no_json_is_one(self, api):
        answer = api.post("/api/v1/auth/login-json", content=b"{", headers={"Content-Type": "application/json"})
        assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")

    @pytest.mark.parametrize("declared", [True, False])
    def test_a_body_beyond_the_limit_is_refused(self, api, as_admin, settings, declared):
        body = b'{"phone": "' + b"9" * settings.max_body_bytes + b'"}'
        chunks = (body[start : start + 500_000] for start in range(0, len(body), 500_000))
        answer = api.post(
            "/api/v1/contacts/",
            headers=as_admin | {"Content-Type": "application/json"},
            content=body if declared else chunks,
        )
        assert (answer.status_code, answer.headers["content-type"]) == (413, "application/problem+json")

    def test_the_request_id_comes_back_in_header_and_problem(self, api):
        answer = api.get("/nowhere", headers={"X-Request-ID": "abc-12345"})
        assert answer.headers["X-Request-ID"] == answer.json()["request_id"] == "abc-12345"

    @pytest.mark.parametrize("given", ["short", "x" * 65, "with space 123", "inj\tect12345"])
    def test_a_request_id_that_could_spoil_a_log_is_replaced(self, api, given):
        assert api.get("/", headers={"X-Request-ID": given}).headers["X-Request-ID"] != given


class TestCommit:
    @pytest.fixture
    def failing_commit(self, database):
        """Contacts named so are refused by PostgreSQL when the transaction commits."""
        with psycopg.connect(database.admin) as connection:
            connection.execute("""
                CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
                    $$ BEGIN RAISE EXCEPTION 'refused at commit'; END $$
            """)
            connection.execute("""
                CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON contacts DEFERRABLE INITIALLY DEFERRED
                FOR EACH ROW WHEN (NEW.name = 'refused') EXECUTE FUNCTION refuse()
            """)

    def test_comes_before_the_answer(self, api, as_admin, failing_commit):
        body = {"phone": "+999500000001", "name": "refused"}
        answer = api.post("/api/v1/contacts/", headers=as_admin, json=body)
        assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
        assert "refused at commit" not in answer.text


class TestHealth:
    def test_says_what_works_and_tells_no_secret(self, api, settings):
        answer = api.get("/api/v1/health/health")
        assert (answer.status_code, answer.json()["checks"]) == (200, {"database": "ok", "redis": "ok"})
        assert settings.redis_url not in answer.text

    def test_is_a_503_when_redis_is_gone(self, settings):
        from fastapi.testclient import TestClient

        with TestClient(create_app(settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"}))) as client:
            answer = client.get("/api/v1/health/health")
        assert answer.status_code == 503
        assert answer.json()["checks"] == {"database": "ok", "redis": "failing"}


class TestProcess:
    @pytest.fixture(scope="class")
    def started(self, settings):
        """What a process that made the app carries."""
        code = """
import json, resource, sys
from serving.app import create_app
from serving.settings import Settings
create_app(Settings(database_url="postgresql://x/y", worker_database_url="postgresql://x/y", redis_url="redis://x",
                    jwt_secret="x", phone_hmac_key="x")).openapi()
# Not ru_maxrss, which a child takes over from the process that started it.
resident = int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()
print(json.dumps({"modules": sorted(sys.modules), "mib": resident / 2**20}))
"""
        return json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)

    @pytest.mark.parametrize(
        "module",
        ["dagster", "mlflow", "great_expectations", "transformers", "torch", "polars", "pandas", "sklearn", "xgboost",
         "onnxruntime", "pyarrow", "duckdb", "training", "orchestration"],
    )  # fmt: skip
    def test_does_not_import(self, started, module):
        assert module not in started["modules"]

    def test_starts_lean(self, started):
        # The seconds are measured by bench-serving: they are the machine's as much as the code's.
        assert started["mib"] < 300
        assert len(started["modules"]) < 2_000
