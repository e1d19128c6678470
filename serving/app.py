"""The API as an ASGI application; `python -m serving` serves it."""

from __future__ import annotations

import contextlib
import datetime as dt
import gc
from collections.abc import AsyncIterator

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from redis.asyncio import Redis

from serving import api, errors, openapi
from serving.auth.authenticator import Authenticator
from serving.auth.passwords import PasswordVerifier
from serving.auth.service import LoginService
from serving.auth.throttle import LoginLimit
from serving.health.endpoints import VERSION
from serving.kit import logs
from serving.kit.access_log import AccessLog
from serving.kit.body_limit import BodyLimit
from serving.kit.database import Database
from serving.kit.request_context import RequestContext
from serving.learning.dagster import Dagster
from serving.learning.service import Learning
from serving.prediction.champions import Champions
from serving.prediction.endpoints import LEAN_HANDLERS
from serving.prediction.lean import LeanFront
from serving.prediction.predictor import Predictor
from serving.sending.drivers import Drivers
from serving.settings import Settings
from serving.settings import settings as process_settings
from serving.usage.counter import CallCounter, flushing
from serving.webhook.writer import webhook_writer


def create_app(settings: Settings | None = None) -> FastAPI:
    """The API over `settings`, by default those of the environment. It connects to nothing until it starts."""
    settings = settings or process_settings()
    # Before the server says its first line.
    logs.configure(settings.log_level)
    # The pages of the API work without the network.
    app = FastAPIOffline(
        redoc_url=None,
        title="rapport",
        version=VERSION,
        summary="Consent-based WhatsApp campaigns, driven by what the conversations teach",
        lifespan=_lifespan,
        # Asking at every request whether somebody exports it costs more than the key check, and nobody does.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.settings = settings
    errors.install(app)
    app.include_router(api.root_router)
    app.include_router(api.router)
    openapi.install(app)
    app.add_middleware(LeanFront, handlers=LEAN_HANDLERS)
    app.add_middleware(BodyLimit, max_bytes=settings.max_body_bytes, refusal=errors.body_too_large)
    app.state.access_log = AccessLog() if settings.access_log else None
    app.add_middleware(RequestContext, on_failure=errors.unexpected, access_log=app.state.access_log)
    return app


@contextlib.asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    settings: Settings = app.state.settings
    app.state.database = database = Database(settings.database_url)
    app.state.redis = redis = Redis.from_url(settings.redis_url, socket_timeout=5, socket_connect_timeout=5)
    secret = settings.jwt_secret.get_secret_value()
    app.state.authenticator = Authenticator(
        database,
        redis,
        jwt_secret=secret,
        cache_seconds=settings.auth_cache_seconds,
        user_requests_per_minute=settings.user_requests_per_minute,
    )
    app.state.login = LoginService(
        database,
        LoginLimit(
            redis,
            per_name=settings.login_attempts_per_name,
            per_address=settings.login_attempts_per_address,
            window_seconds=settings.login_window_seconds,
        ),
        PasswordVerifier(concurrent=settings.password_checks_at_once, waiting=settings.password_checks_waiting),
        jwt_secret=secret,
        lifetime=dt.timedelta(minutes=settings.access_token_minutes),
    )
    app.state.predictor = Predictor(
        database,
        redis,
        Champions(settings.bundles_dir, max_bytes=settings.bundle_cache_bytes),
        stale_after=dt.timedelta(hours=settings.features_stale_hours),
    )
    app.state.drivers = drivers = Drivers()
    app.state.dagster = dagster = Dagster(settings.dagster_url)
    app.state.learning = Learning(database, redis, dagster)
    try:
        async with webhook_writer(app), flushing(CallCounter(redis)) as app.state.usage:
            # What there is by now stays: searching it for garbage would stop every request for a tenth of a second.
            gc.freeze()
            yield
    finally:
        gc.unfreeze()
        await dagster.aclose()
        await redis.aclose()
        drivers.close()
        database.dispose()
        if app.state.access_log is not None:
            app.state.access_log.flush()
