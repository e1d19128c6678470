"""The OpenAPI document: it is valid, says what is sent, and makes clients that work."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from serving.app import create_app

PROGRAMS = Path(sys.executable).parent
TYPESCRIPT = Path(__file__).parent / "typescript_client"
PASSWORD = "correct horse battery staple"
# Of what was made of the document; run where it lies.
PYTHON_CHECK = """
import os
from client import AuthenticatedClient, Client
from client.api.auth import login_json_api_v1_auth_login_json_post as login
from client.api.contacts import list_contacts_api_v1_contacts_get as list_contacts
from client.models import LoginRequest, PageContactRead, Problem, TokenRead

url = os.environ["API_URL"]
person = LoginRequest(username=os.environ["API_USER"], password=os.environ["API_PASSWORD"])
token = login.sync(client=Client(base_url=url), body=person)
assert isinstance(token, TokenRead), token
page = list_contacts.sync(client=AuthenticatedClient(base_url=url, token=token.access_token), limit=10)
assert isinstance(page, PageContactRead), page
refused = list_contacts.sync_detailed(client=Client(base_url=url))
assert refused.status_code == 401 and isinstance(refused.parsed, Problem) and refused.parsed.status == 401
print(len(page.items))
"""


@pytest.fixture(scope="module")
def document(settings):
    return create_app(settings).openapi()


@pytest.fixture(scope="module")
def described(document, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("openapi") / "openapi.json"
    path.write_text(json.dumps(document))
    return path


@pytest.fixture(scope="module")
def served(api_process, make_tenant):
    """Environment of a program that calls the running API as a person with one contact."""
    import httpx

    person = make_tenant(password=PASSWORD)
    httpx.post(
        f"{api_process.url}/api/v1/contacts/", headers={"X-API-Key": person.api_key}, json={"phone": "+999700000001"}
    ).raise_for_status()
    return os.environ | {
        "PATH": f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}",
        "API_URL": api_process.url,
        "API_USER": person.username,
        "API_PASSWORD": PASSWORD,
    }


def operations(document):
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


class TestDocument:
    def test_is_valid(self, document):
        assert [error.message for error in OpenAPIV31SpecValidator(document).iter_errors()] == []

    def test_names_no_module_of_ours(self, document):
        assert [name for name in document["components"]["schemas"] if re.search(r"serving__|__", name)] == []

    def test_every_error_is_a_problem_document(self, document):
        wrong = {
            (name, status)
            for name, operation in operations(document)
            for status, response in operation["responses"].items()
            if (status == "default" or int(status) >= 400) and "application/problem+json" not in response["content"]
        }
        # The health check answers with its checks.
        assert wrong == {("GET /api/v1/health/health", "503")}

    def test_422_has_the_schema_that_is_sent(self, document, api, as_admin):
        schemas = {
            operation["responses"]["422"]["content"]["application/problem+json"]["schema"]["$ref"]
            for _, operation in operations(document)
        }
        assert schemas == {"#/components/schemas/ValidationProblem"}
        from serving.errors import ValidationProblem

        answer = api.post("/api/v1/contacts/", headers=as_admin, json={"phone": 1})
        sent = ValidationProblem.model_validate(answer.json())
        assert (sent.status, [error.field for error in sent.errors]) == (422, ["phone"])


class TestClients:
    def test_python(self, described, served):
        folder = described.parent
        config = folder / "config.yaml"
        config.write_text("content_type_overrides: {application/vnd.apache.arrow.stream: application/octet-stream}\n")
        made = subprocess.run(
            [PROGRAMS / "openapi-python-client", "generate", "--path", described, "--meta", "none", "--config", config,
             "--output-path", folder / "client", "--fail-on-warning"],
            env=served, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert made.returncode == 0, made.stdout + made.stderr
        called = subprocess.run(
            [sys.executable, "-c", PYTHON_CHECK], cwd=folder, env=served, capture_output=True, text=True, check=False
        )
        assert (called.stdout.strip(), called.stderr) == ("1", "")

    def test_typescript(self, described, served, tmp_path):
        folder = tmp_path / "typescript"
        shutil.copytree(TYPESCRIPT, folder, ignore=shutil.ignore_patterns("node_modules", "api.ts"))

        def run(*command):
            done = subprocess.run(command, cwd=folder, env=served, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
            return done.stdout.strip()

        run("npm", "ci", "--no-audit", "--no-fund")
        run("npx", "openapi-typescript", str(described), "--output", "api.ts")
        run("npx", "tsc")
        assert run("node", "check.ts") == "1"
