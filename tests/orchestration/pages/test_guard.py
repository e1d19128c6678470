"""Which requests to the pages of Dagster and MLflow are let on."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from orchestration.pages import forms
from orchestration.pages.guard import Sessions, Site, foreign
from orchestration.pages.operator import Operator

SITE = Site.at("dagster", 3070, ["dagster.example.com"])
OURS = {"Host": "127.0.0.1:3070"}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


class TestForeign:
    @pytest.mark.parametrize(
        "headers",
        [
            OURS,
            {"Host": "localhost:3070"},
            {"Host": "dagster.localhost:3070"},
            {"Host": "dagster.example.com", "Origin": "https://dagster.example.com"},
            OURS | {"Origin": "http://127.0.0.1:3070", "Sec-Fetch-Site": "same-origin"},
            OURS | {"Sec-Fetch-Site": "none"},
        ],
    )
    def test_our_own_pages_and_programs_are_not(self, headers: dict[str, str]) -> None:
        assert foreign(SITE, "POST", "/graphql", {}, headers) is None

    @pytest.mark.parametrize(
        "headers",
        [
            {},
            {"Host": "evil.example:3070"},
            {"Host": "127.0.0.1"},
            {"Host": "mlflow.localhost:3070"},
            OURS | {"Origin": "https://evil.example"},
            OURS | {"Origin": "null"},
            OURS | {"Origin": "http://127.0.0.1:8010"},
            OURS | {"Origin": "http://127.0.0.1:3070.evil.example"},
            OURS | {"Origin": "file://127.0.0.1:3070"},
            OURS | {"Sec-Fetch-Site": "cross-site"},
            OURS | {"Sec-Fetch-Site": "same-site"},
        ],
    )
    @pytest.mark.parametrize("method", ["GET", "POST"])
    def test_other_names_and_other_sites_are(self, method: str, headers: dict[str, str]) -> None:
        assert foreign(SITE, method, "/", {}, headers) is not None

    def test_a_question_in_an_address_is_refused(self) -> None:
        assert foreign(SITE, "GET", "/graphql", {"query": "mutation { x }"}, OURS) is not None
        assert foreign(SITE, "GET", "/graphql", {}, OURS) is None


@pytest.mark.anyio
class TestSessions:
    async def test_the_right_password_opens_one_until_it_is_left(self, tmp_path: Path) -> None:
        operator = Operator(tmp_path / "operator.json")
        sessions = Sessions(operator)
        password = operator.ensure()
        assert password is not None

        assert await sessions.log_in("a guess") is None
        secret = await sessions.log_in(password)

        assert sessions.is_open(secret)
        assert not sessions.is_open("a guess")
        sessions.log_out(secret)
        assert not sessions.is_open(secret)

    async def test_nobody_gets_in_before_there_is_a_password(self, tmp_path: Path) -> None:
        sessions = Sessions(Operator(tmp_path / "operator.json"))

        assert await sessions.log_in("") is None
        assert not await sessions.admits(basic("operator", ""))

    async def test_a_new_password_ends_sessions_and_programs_of_the_old(self, tmp_path: Path) -> None:
        operator = Operator(tmp_path / "operator.json")
        sessions = Sessions(operator)
        old = operator.renew()
        secret = await sessions.log_in(old)
        assert await sessions.admits(basic("operator", old))

        new = operator.renew()

        assert not sessions.is_open(secret)
        assert not await sessions.admits(basic("operator", old))
        assert await sessions.admits(basic("operator", new))

    @pytest.mark.parametrize(
        "given", ["", "Basic", "Basic ???", "Bearer x", basic("root", "x"), basic("operator", "x")]
    )
    async def test_programs_without_it_are_refused(self, tmp_path: Path, given: str) -> None:
        operator = Operator(tmp_path / "operator.json")
        operator.ensure()

        assert not await Sessions(operator).admits(given)

    async def test_the_password_itself_is_not_kept(self, tmp_path: Path) -> None:
        operator = Operator(tmp_path / "operator.json")
        password = operator.ensure()

        assert password is not None
        assert password not in operator.file.read_text()
        assert operator.ensure() is None


@pytest.mark.parametrize(
    ("target", "goes_to"),
    [
        ("/runs?a=b", "/runs?a=b"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("https://evil.example", "/"),
        ("/a\r\nSet-Cookie: x", "/"),
        ("", "/"),
    ],
)
def test_a_login_leads_to_a_page_of_the_site(target: str, goes_to: str) -> None:
    assert forms.local(target) == goes_to
