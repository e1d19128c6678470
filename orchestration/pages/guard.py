"""Which requests to the pages may go on: from our own pages, to our own name, by somebody who logged in."""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from orchestration.pages.operator import USER, Operator
from serving.auth.passwords import PasswordVerifier

SESSION_SECONDS = 12 * 3600
SESSIONS_KEPT = 1_000
LONGEST_PASSWORD = 1024
READS = ("GET", "HEAD", "OPTIONS")


@dataclass(frozen=True)
class Site:
    """One server's pages: the hosts (with ports) it is called by. `public` ones are served to browsers over TLS."""

    name: str
    hosts: frozenset[str]
    public: frozenset[str]

    @classmethod
    def at(cls, name: str, port: int, public: Collection[str] = ()) -> Site:
        """With a name of its own below `localhost`, whose cookies no other port of this machine is shown."""
        local = {f"{host}:{port}" for host in ("127.0.0.1", "localhost", f"{name}.localhost")}
        return cls(name, frozenset(local | set(public)), frozenset(public))

    def cookie(self, host: str) -> str:
        return "__Host-rapport" if host in self.public else "rapport_pages"


def foreign(site: Site, method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str]) -> str | None:
    """Why this request does not come from the site's own pages or from a program; None when it does."""
    host = headers.get("Host", "")
    if host not in site.hosts:
        return "the pages are not called that"
    origin = headers.get("Origin")
    if origin is not None and (urlsplit(origin).netloc != host or urlsplit(origin).scheme not in ("http", "https")):
        return "the request comes from another site"
    if headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none"):
        return "the request comes from another site"
    if method in READS and path.endswith("/graphql") and "query" in query:
        # Dagster performs mutations that stand in an address, and a mere link would make one.
        return "questions in an address are not answered; send them in a body"
    return None


def changes(method: str, headers: Mapping[str, str]) -> bool:
    """Whether it may change something, or opens a line that may."""
    return method not in READS or headers.get("Upgrade", "").lower() == "websocket"


def says_whence(headers: Mapping[str, str]) -> bool:
    """Whether a browser told which page a request comes from; `foreign` has found that it is ours."""
    return "Origin" in headers or headers.get("Sec-Fetch-Site") == "same-origin"


class Sessions:
    """Who is logged in, held by this process: a restart logs everybody out, and so does a new password."""

    def __init__(self, operator: Operator) -> None:
        self._operator = operator
        self._verifier = PasswordVerifier(concurrent=1, waiting=8)
        self._open: dict[str, tuple[float, str]] = {}
        self._known: set[tuple[bytes, str]] = set()

    async def log_in(self, password: str) -> str | None:
        """The secret of a new session; None for a wrong password. Raises Unavailable when too many ask at once."""
        hashed = self._operator.password_hash()
        if not await self._verifier.verify(hashed, password[:LONGEST_PASSWORD]) or hashed is None:
            return None
        secret = secrets.token_urlsafe(32)
        now = time.monotonic()
        self._open = {key: held for key, held in self._open.items() if held[0] > now}
        while len(self._open) >= SESSIONS_KEPT:
            self._open.pop(next(iter(self._open)))
        self._open[_digest(secret)] = (now + SESSION_SECONDS, hashed)
        return secret

    def is_open(self, secret: str | None) -> bool:
        held = self._open.get(_digest(secret)) if secret else None
        return held is not None and held[0] > time.monotonic() and held[1] == self._operator.password_hash()

    def log_out(self, secret: str | None) -> None:
        if secret:
            self._open.pop(_digest(secret), None)

    async def admits(self, authorization: str) -> bool:
        """Whether a program's credentials (HTTP Basic) are the operator's. Raises Unavailable."""
        scheme, _, coded = authorization.partition(" ")
        try:
            name, _, password = base64.b64decode(coded.strip(), validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return False
        if scheme.lower() != "basic" or name != USER:
            return False
        hashed = self._operator.password_hash()
        known = (hashlib.sha256(password.encode()).digest(), hashed or "")
        # The slow check is for guesses; a program asks many times a second.
        if known not in self._known:
            if not await self._verifier.verify(hashed, password[:LONGEST_PASSWORD]):
                return False
            self._known = {known}
        return True


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
