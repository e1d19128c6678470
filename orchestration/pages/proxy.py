"""The way from a browser to a server that listens on a Unix socket: requests, streams and WebSockets, after a login."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path

import aiohttp
from aiohttp import WSMsgType, hdrs, web
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from orchestration.pages import forms, guard
from orchestration.pages.guard import Sessions, Site
from serving.errors import Unavailable

log = logging.getLogger("rapport.pages")
# They are about one connection, not about the request (RFC 9110, 7.6.1).
OF_THE_CONNECTION = frozenset(
    name.lower()
    for name in (
        "Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "TE", "Trailer", "Transfer-Encoding",
        "Upgrade", "Proxy-Connection", "Expect",
    )
)  # fmt: skip
# Ours to judge: the servers behind would judge them again, by names of hosts they do not know.
KEPT_HERE = frozenset({"authorization", "origin", "cookie"})
OF_A_WEBSOCKET = ("sec-websocket-",)
ADDED_BY_THE_CLIENT = (hdrs.ACCEPT, hdrs.ACCEPT_ENCODING, hdrs.USER_AGENT, hdrs.CONTENT_TYPE)
BODYLESS = (204, 304)


def create_app(site: Site, socket: Path, sessions: Sessions) -> web.Application:
    """The pages of one server, which listens on `socket`."""
    app = web.Application(middlewares=[_guarded])
    app[SITE], app[SESSIONS] = site, sessions

    async def connected(app: web.Application) -> AsyncIterator[None]:
        async with aiohttp.ClientSession(
            connector=aiohttp.UnixConnector(path=str(socket), limit=0),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=5),
        ) as client:
            app[CLIENT] = client
            yield

    app.cleanup_ctx.append(connected)
    app.router.add_get("/-/health", _health)
    app.router.add_get("/-/login", _ask)
    app.router.add_post("/-/login", _log_in)
    app.router.add_post("/-/logout", _log_out)
    app.router.add_route("*", "/{path:.*}", _pass_on)
    return app


SITE = web.AppKey("site", Site)
SESSIONS = web.AppKey("sessions", Sessions)
CLIENT = web.AppKey("client", aiohttp.ClientSession)


@web.middleware
async def _guarded(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    site, sessions = request.app[SITE], request.app[SESSIONS]
    why = guard.foreign(site, request.method, request.path, request.query, request.headers)
    if why:
        return forms.refused(request.path, why)
    if request.path == "/-/health":
        return await handler(request)
    try:
        given = request.headers.get(hdrs.AUTHORIZATION)
        if request.path in ("/-/login", "/-/logout"):
            allowed = True
        elif given is not None:
            allowed = await sessions.admits(given)
        else:
            allowed = sessions.is_open(_session(request))
        if not allowed:
            return forms.not_logged_in(request.path_qs, "text/html" in request.headers.get(hdrs.ACCEPT, ""))
        if given is None and guard.changes(request.method, request.headers) and not guard.says_whence(request.headers):
            return forms.refused(request.path, "the browser does not say which page the request comes from")
        return await handler(request)
    except Unavailable:
        return web.Response(status=503, text="too many logins at once; try again\n", headers={"Retry-After": "2"})


async def _health(request: web.Request) -> web.Response:
    return web.json_response({"status": "ok"})


async def _ask(request: web.Request) -> web.Response:
    return forms.login(request.app[SITE].name, request.query.get("next", "/"))


async def _log_in(request: web.Request) -> web.Response:
    form = await request.post()
    target, password = str(form.get("next", "/")), form.get("password")
    secret = await request.app[SESSIONS].log_in(password) if isinstance(password, str) else None
    log.info("login.%s site=%s", "succeeded" if secret else "refused", request.app[SITE].name)
    if secret is None:
        return forms.login(request.app[SITE].name, target, wrong=True)
    answer = web.Response(status=303, headers={hdrs.LOCATION: forms.local(target)})
    public = request.host in request.app[SITE].public
    answer.set_cookie(
        request.app[SITE].cookie(request.host), secret, httponly=True, samesite="Strict", secure=public, path="/"
    )
    return answer


async def _log_out(request: web.Request) -> web.Response:
    request.app[SESSIONS].log_out(_session(request))
    answer = web.Response(status=303, headers={hdrs.LOCATION: "/-/login"})
    answer.del_cookie(request.app[SITE].cookie(request.host), path="/")
    return answer


def _session(request: web.Request) -> str | None:
    return request.cookies.get(request.app[SITE].cookie(request.host))


async def _pass_on(request: web.Request) -> web.StreamResponse:
    if request.headers.get(hdrs.UPGRADE, "").lower() == "websocket":
        return await _pass_on_websocket(request)
    try:
        async with request.app[CLIENT].request(
            request.method,
            _behind(request),
            headers=_onwards(request),
            skip_auto_headers=ADDED_BY_THE_CLIENT,
            data=request.content.iter_any() if request.can_read_body else None,
            allow_redirects=False,
        ) as found:
            answer = web.StreamResponse(status=found.status, reason=found.reason, headers=_back(found.headers))
            await answer.prepare(request)
            if request.method != hdrs.METH_HEAD and found.status not in BODYLESS:
                async for part in found.content.iter_any():
                    await answer.write(part)
            await answer.write_eof()
            return answer
    except (aiohttp.ClientConnectorError, aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
        return forms.away(request.app[SITE].name)


async def _pass_on_websocket(request: web.Request) -> web.StreamResponse:
    offered = [one.strip() for one in request.headers.get(hdrs.SEC_WEBSOCKET_PROTOCOL, "").split(",") if one.strip()]
    try:
        behind = await request.app[CLIENT].ws_connect(
            _behind(request),
            protocols=offered,
            headers=_onwards(request, without=OF_A_WEBSOCKET),
            max_msg_size=0,
        )
    except aiohttp.ClientError:
        return forms.away(request.app[SITE].name)
    async with behind:
        ahead = web.WebSocketResponse(protocols=[behind.protocol] if behind.protocol else (), max_msg_size=0)
        await ahead.prepare(request)
        ways = [asyncio.create_task(_pump(ahead, behind)), asyncio.create_task(_pump(behind, ahead))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
        await ahead.close(code=behind.close_code or 1000)
    return ahead


Line = web.WebSocketResponse | aiohttp.ClientWebSocketResponse


async def _pump(source: Line, target: Line) -> None:
    """Hands on what arrives until the source ends."""
    with contextlib.suppress(ConnectionError):
        async for message in source:
            if message.type is WSMsgType.TEXT:
                await target.send_str(message.data)
            elif message.type is WSMsgType.BINARY:
                await target.send_bytes(message.data)
    await target.close(code=source.close_code or 1000)


def _behind(request: web.Request) -> URL:
    """The same address at the server behind; letters stay coded as they came."""
    return URL(f"http://localhost{request.rel_url.raw_path_qs}", encoded=True)


def _onwards(request: web.Request, without: Iterable[str] = ()) -> CIMultiDict[str]:
    dropped = OF_THE_CONNECTION | KEPT_HERE
    headers: CIMultiDict[str] = CIMultiDict()
    for name, value in request.headers.items():
        lower = name.lower()
        if lower not in dropped and not lower.startswith(tuple(without)):
            headers.add(name, value)
    ours = request.app[SITE].cookie(request.host)
    others = "; ".join(f"{name}={value}" for name, value in request.cookies.items() if name != ours)
    if others:
        headers[hdrs.COOKIE] = others
    return headers


def _back(found: CIMultiDictProxy[str]) -> CIMultiDict[str]:
    headers: CIMultiDict[str] = CIMultiDict()
    for name, value in found.items():
        if name.lower() not in OF_THE_CONNECTION:
            headers.add(name, value)
    # No other site shows the pages in a frame, or reads a picture or a script of theirs.
    headers.setdefault("X-Frame-Options", "SAMEORIGIN")
    headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
    headers.setdefault("Referrer-Policy", "same-origin")
    return headers
