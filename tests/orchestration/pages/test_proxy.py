"""Bytes on their way through the pages' proxy, to a small server whose answers a test can hold back."""

from __future__ import annotations

import asyncio
import stat
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from orchestration.pages.guard import Sessions, Site
from orchestration.pages.operator import Operator
from orchestration.pages.proxy import create_app
from orchestration.runtime import servers
from orchestration.runtime.home import Home
from orchestration.runtime.ports import free_port

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@dataclass
class Behind:
    """The server behind: it tells what reached it, and says its second word when it may."""

    may_go_on: asyncio.Event = field(default_factory=asyncio.Event)
    received: list[int] = field(default_factory=list)

    def app(self) -> web.Application:
        app = web.Application(client_max_size=2**30)
        app.router.add_get("/stream", self._stream)
        app.router.add_get("/line", self._line)
        app.router.add_get("/moved", self._moved)
        app.router.add_route("*", "/{path:.*}", self._tell)
        return app

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        await answer.write(b"first")
        await self.may_go_on.wait()
        await answer.write(b"second")
        return answer

    async def _line(self, request: web.Request) -> web.WebSocketResponse:
        line = web.WebSocketResponse(protocols=["graphql-ws"])
        await line.prepare(request)
        async for message in line:
            if message.data == "leave":
                await line.close(code=4321)
            elif message.type is aiohttp.WSMsgType.TEXT:
                await line.send_str(message.data.upper())
            else:
                await line.send_bytes(message.data[::-1])
        return line

    async def _moved(self, request: web.Request) -> web.Response:
        return web.Response(status=307, headers={"Location": "/elsewhere", "Set-Cookie": "theirs=1; Path=/"})

    async def _tell(self, request: web.Request) -> web.Response:
        size = 0
        async for part in request.content.iter_any():
            size += len(part)
            self.received.append(len(part))
        return web.json_response(
            {"method": request.method, "path": request.raw_path, "size": size, "headers": dict(request.headers)}
        )


@dataclass
class Pages:
    url: str
    behind: Behind
    client: aiohttp.ClientSession
    password: str

    @property
    def ours(self) -> dict[str, str]:
        return {"Origin": self.url, "Sec-Fetch-Site": "same-origin"}

    async def log_in(self) -> None:
        form = {"password": self.password, "next": "/start"}
        async with self.client.post(f"{self.url}/-/login", data=form, headers=self.ours, allow_redirects=False) as told:
            assert (told.status, told.headers["Location"]) == (303, "/start")
            assert "HttpOnly" in told.headers["Set-Cookie"]
            assert "SameSite=Strict" in told.headers["Set-Cookie"]


@pytest.fixture
async def pages() -> AsyncIterator[Pages]:
    with tempfile.TemporaryDirectory() as name:
        home = Home(Path(name))
        home.sockets.mkdir()
        behind = Behind()
        operator = Operator.of(home)
        password = operator.renew()
        port = free_port(13_070)
        ahead = create_app(Site.at("dagster", port), home.sockets / "dagster.sock", Sessions(operator))
        runners = [web.AppRunner(behind.app(), shutdown_timeout=0.1), web.AppRunner(ahead, shutdown_timeout=0.1)]
        for runner in runners:
            await runner.setup()
        await web.UnixSite(runners[0], home.sockets / "dagster.sock").start()
        await web.TCPSite(runners[1], "127.0.0.1", port).start()
        jar = aiohttp.CookieJar(unsafe=True)  # it takes cookies of an address without a name
        async with aiohttp.ClientSession(cookie_jar=jar) as client:
            yield Pages(f"http://127.0.0.1:{port}", behind, client, password)
        for runner in reversed(runners):
            await runner.cleanup()


class TestWithoutALogin:
    async def test_a_browser_is_sent_to_the_login_and_a_program_told(self, pages: Pages) -> None:
        async with pages.client.get(f"{pages.url}/runs", headers={"Accept": "text/html"}) as shown:
            assert (shown.status, shown.url.path, shown.url.query["next"]) == (200, "/-/login", "/runs")
        async with pages.client.post(f"{pages.url}/graphql", json={}) as told:
            assert told.status == 401
            assert "WWW-Authenticate" not in told.headers, "a browser would keep the password, for other sites to use"
        assert pages.behind.received == []

    async def test_a_wrong_password_opens_nothing(self, pages: Pages) -> None:
        form = {"password": "a guess"}
        async with pages.client.post(f"{pages.url}/-/login", data=form, headers=pages.ours) as told:
            assert (told.status, "Set-Cookie" in told.headers) == (403, False)

    async def test_a_line_is_not_opened(self, pages: Pages) -> None:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await pages.client.ws_connect(f"{pages.url}/line", headers=pages.ours)
        assert refused.value.status == 401


class TestFromElsewhere:
    @pytest.mark.parametrize(
        "headers",
        [
            {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"},
            {"Origin": "http://127.0.0.1:1", "Sec-Fetch-Site": "same-site"},
            {"Sec-Fetch-Site": "same-site"},
            {},
        ],
    )
    async def test_another_page_in_the_same_browser_launches_nothing(
        self, pages: Pages, headers: dict[str, str]
    ) -> None:
        await pages.log_in()

        async with pages.client.post(f"{pages.url}/graphql?query=mutation", headers=headers) as told:
            assert told.status == 403
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await pages.client.ws_connect(f"{pages.url}/line", headers=headers)
        assert pages.behind.received == []

    async def test_a_link_in_an_address_asks_nothing(self, pages: Pages) -> None:
        await pages.log_in()

        async with pages.client.get(f"{pages.url}/graphql?query=mutation") as told:
            assert told.status == 403

    async def test_another_name_of_this_machine_is_refused(self, pages: Pages) -> None:
        await pages.log_in()

        async with pages.client.get(f"{pages.url}/runs", headers={"Host": "rebound.example"}) as told:
            assert told.status == 403


class TestPassingOn:
    async def test_a_request_arrives_as_it_was_without_what_is_ours(self, pages: Pages) -> None:
        await pages.log_in()
        headers = pages.ours | {"X-Asked": "yes"}

        async with pages.client.post(f"{pages.url}/a%2Fb?c=%20d", data=b"x" * 3_000_000, headers=headers) as told:
            arrived = await told.json()

        assert (arrived["method"], arrived["path"], arrived["size"]) == ("POST", "/a%2Fb?c=%20d", 3_000_000)
        assert arrived["headers"]["X-Asked"] == "yes"
        assert {"Cookie", "Origin", "Authorization"}.isdisjoint(arrived["headers"])
        assert arrived["headers"]["Content-Length"] == "3000000"

    async def test_a_program_gets_in_by_basic_credentials(self, pages: Pages) -> None:
        credentials = aiohttp.BasicAuth("operator", pages.password)
        async with pages.client.post(f"{pages.url}/api", json={}, auth=credentials) as told:
            assert (told.status, "Authorization" in (await told.json())["headers"]) == (200, False)

    async def test_redirections_heads_and_cookies_of_the_server_are_handed_back(self, pages: Pages) -> None:
        await pages.log_in()
        async with pages.client.get(f"{pages.url}/moved", allow_redirects=False) as told:
            assert (told.status, told.headers["Location"]) == (307, "/elsewhere")
            assert told.headers["Set-Cookie"].startswith("theirs=")
            assert told.headers["X-Frame-Options"] == "SAMEORIGIN"
        async with pages.client.head(f"{pages.url}/x") as told:
            assert (told.status, await told.read()) == (200, b"")
        async with pages.client.get(f"{pages.url}/x") as told:
            assert (await told.json())["headers"]["Cookie"] == "theirs=1"

    async def test_an_answer_is_handed_on_as_it_comes(self, pages: Pages) -> None:
        await pages.log_in()
        async with pages.client.get(f"{pages.url}/stream") as told:
            assert await told.content.readexactly(5) == b"first"
            pages.behind.may_go_on.set()
            assert await told.content.read() == b"second"

    async def test_a_websocket_carries_text_bytes_protocol_and_end(self, pages: Pages) -> None:
        await pages.log_in()
        async with pages.client.ws_connect(
            f"{pages.url}/line", headers=pages.ours, protocols=["graphql-transport-ws", "graphql-ws"]
        ) as line:
            assert line.protocol == "graphql-ws"
            await line.send_str("a word")
            assert await line.receive_str() == "A WORD"
            await line.send_bytes(b"abc")
            assert await line.receive_bytes() == b"cba"
            await line.send_str("leave")
            assert (await line.receive()).type is aiohttp.WSMsgType.CLOSE
            assert line.close_code == 4321

    async def test_after_a_logout_the_cookie_opens_nothing(self, pages: Pages) -> None:
        await pages.log_in()
        kept = {cookie.key: cookie.value for cookie in pages.client.cookie_jar}
        async with pages.client.post(f"{pages.url}/-/logout", headers=pages.ours, allow_redirects=False) as told:
            assert told.status == 303

        async with pages.client.get(f"{pages.url}/x", cookies=kept) as told:
            assert told.status == 401


async def test_a_server_that_is_away_is_said_to_be(tmp_path: Path) -> None:
    operator = Operator(tmp_path / "operator.json")
    credentials = aiohttp.BasicAuth("operator", operator.renew())
    port = free_port(13_070)
    runner = web.AppRunner(create_app(Site.at("dagster", port), tmp_path / "nobody.sock", Sessions(operator)))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    async with aiohttp.ClientSession(auth=credentials) as client, client.get(f"http://127.0.0.1:{port}/") as told:
        assert told.status == 502
    await runner.cleanup()


def test_a_claimed_socket_is_its_owners_alone(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.sockets.mkdir(parents=True, mode=0o700)
    for _ in range(2):  # one is there already
        servers.claim_socket(home, "dagster")

    assert stat.S_IMODE(servers.socket_of(home, "dagster").stat().st_mode) == 0o600
