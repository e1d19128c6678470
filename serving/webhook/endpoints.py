"""Where the provider delivers: forged bodies are refused before they are parsed, good ones are durable before the
200."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from functools import lru_cache

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse
from redis.exceptions import RedisError

from gateway.driver import Driver
from gateway.errors import ForgedWebhook
from gateway.registry import build_driver
from gateway.settings import GatewaySettings
from serving.auth.route import ProviderRoute
from serving.errors import ServingError, Unauthenticated, problems
from serving.kit.clock import NowDep
from serving.webhook.receiver import by_tenant, inbox_rows
from serving.webhook.routing import NumberRoutes

log = logging.getLogger(__name__)

router = APIRouter(prefix="/webhooks", tags=["webhooks"], route_class=ProviderRoute)

# Parsing a small body costs less than handing it to a thread.
_INLINE_BYTES = 16_384


class WebhookForged(Unauthenticated):
    title = "The signature or verify token is missing or wrong"


class WebhookTooLarge(ServingError):
    status = 413
    title = "The body is larger than any webhook"


@lru_cache
def receiving_driver() -> Driver:
    """The driver whose app secret signs the deliveries."""
    gateway = GatewaySettings()
    return build_driver(gateway.driver, gateway.number_config())


@router.get("/whatsapp", response_class=PlainTextResponse, responses=problems(WebhookForged))
async def subscribe(request: Request) -> str:
    """The challenge of the provider's subscription check, for the right verify token."""
    try:
        return receiving_driver().challenge(request.query_params)
    except ForgedWebhook as error:
        await _count(request, "verify_token")
        raise WebhookForged from error


@router.post("/whatsapp", responses=problems(WebhookForged, WebhookTooLarge))
async def receive(request: Request, now: NowDep) -> dict[str, int]:
    """How many events the body held and how many went to nobody's number. Answered once the events are durable;
    a repeated delivery is answered alike and has no effect. What is signed and cannot be read is stored as it came:
    the provider would repeat a refused delivery for a week."""
    driver = receiving_driver()
    body = await _limited_body(request)
    try:
        driver.verify(request.headers, body)
    except ForgedWebhook as error:
        await _count(request, "forged")
        raise WebhookForged from error
    rows = inbox_rows(driver, body) if len(body) <= _INLINE_BYTES else await asyncio.to_thread(inbox_rows, driver, body)
    routes = _routes(request)
    numbers = {row.provider_number_id for row in rows}
    tenants = routes.cached(numbers)
    if tenants is None:
        tenants = await asyncio.to_thread(routes.look_up, numbers)
    grouped, unrouted = by_tenant(rows, tenants)
    if unrouted:
        await _count(request, "unrouted", unrouted)
        log.warning("webhook.unrouted", extra={"events": unrouted, "bytes": len(body)})
    if grouped:
        await request.app.state.inbox_writer.store(grouped, now)
    return {"events": len(rows), "unrouted": unrouted}


def _routes(request: Request) -> NumberRoutes:
    state = request.app.state
    if not hasattr(state, "number_routes"):
        state.number_routes = NumberRoutes(state.database)
    return state.number_routes  # type: ignore[no-any-return]


async def _limited_body(request: Request) -> bytes:
    limit = request.app.state.settings.webhook_max_body_bytes
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        await _count(request, "too_large")
        raise WebhookTooLarge
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            await _count(request, "too_large")
            raise WebhookTooLarge
        parts.append(part)
    return b"".join(parts)


async def _count(request: Request, reason: str, by: int = 1) -> None:
    # A count is never worth a failed request.
    with contextlib.suppress(RedisError, OSError):
        await request.app.state.redis.incrby(f"webhook:rejected:{reason}", by)
