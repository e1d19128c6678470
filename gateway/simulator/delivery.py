"""Posting webhook bodies until they are acknowledged."""

import asyncio
import logging
import secrets

import httpx

from gateway.simulator.wire import signature

log = logging.getLogger(__name__)

_FIRST_WAIT_SECONDS, _LAST_WAIT_SECONDS = 0.2, 10.0


class WebhookPoster:
    """Signs and posts bodies. `last_error` is what the receiver, or the way to it, last complained about."""

    def __init__(self, url: str, app_secret: str) -> None:
        self._url = url
        self._secret = app_secret
        # The receiver is named by the operator; a proxy of the environment has no business in between.
        self._client = httpx.AsyncClient(timeout=30.0, trust_env=False)
        self.last_error: str | None = None

    async def post_until_acknowledged(self, body: bytes) -> None:
        """Returns once the receiver answered 2xx; waits longer after each failure, up to ten seconds."""
        wait = _FIRST_WAIT_SECONDS
        headers = {"Content-Type": "application/json", "X-Hub-Signature-256": signature(body, self._secret)}
        while True:
            try:
                response = await self._client.post(self._url, content=body, headers=headers)
                if response.is_success:
                    self.last_error = None
                    return
                problem = f"HTTP {response.status_code}"
            except httpx.HTTPError as error:
                problem = type(error).__name__
            if problem != self.last_error:
                log.warning("webhook.not_acknowledged problem=%s", problem)
            self.last_error = problem
            await asyncio.sleep(wait)
            wait = min(wait * 2, _LAST_WAIT_SECONDS)

    async def subscription_problem(self, verify_token: str) -> str | None:
        """None if the receiver echoes a challenge given with this verify token, else what it did instead."""
        challenge = str(secrets.randbelow(10**9))
        query = {"hub.mode": "subscribe", "hub.verify_token": verify_token, "hub.challenge": challenge}
        try:
            response = await self._client.get(self._url, params=query)
        except httpx.HTTPError as error:
            return type(error).__name__
        if response.is_success and response.text == challenge:
            return None
        return f"HTTP {response.status_code} without the challenge"

    async def close(self) -> None:
        await self._client.aclose()
