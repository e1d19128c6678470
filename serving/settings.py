"""What the serving processes are configured with, read from SERVING_* when a process is built."""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from pathlib import Path

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="SERVING_", frozen=True)

    database_url: str
    worker_database_url: str
    redis_url: str
    jwt_secret: SecretStr
    phone_hmac_key: SecretStr
    bundles_dir: Path = Path(".rapport/bundles")
    public_url: str = "http://127.0.0.1:8000"
    bundle_cache_bytes: int = Field(default=1_000_000_000, gt=0)
    features_stale_hours: float = Field(default=48, gt=0)
    figures_late_minutes: float = Field(default=90, gt=0)
    dagster_url: str = "http://127.0.0.1:3000"
    access_token_minutes: int = 30
    auth_cache_seconds: int = Field(default=30, ge=0, le=60)
    user_requests_per_minute: int = Field(default=1_200, gt=0)
    login_attempts_per_name: int = 10
    login_attempts_per_address: int = 100
    login_window_seconds: int = 300
    password_checks_at_once: int = 2
    password_checks_waiting: int = 32
    max_body_bytes: int = 8_000_000
    max_connections: int = Field(default=512, gt=0)
    request_head_seconds: float = Field(default=5, gt=0)
    request_body_seconds: float = Field(default=10, gt=0)
    trusted_proxies: str = ""
    access_log: bool = True
    log_level: str = "INFO"
    quiet_hours_start: int = 21
    quiet_hours_end: int = 8
    marketing_cap_per_7_days: int = 4
    send_lease_seconds: int = 30
    sweep_seconds: int = 10
    webhook_max_body_bytes: int = 3_000_000
    inbound_batch_size: int = 5_000
    status_wait_hours: int = 24
    send_batch_size: int = 200

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: str) -> str:
        """Addresses and networks; not "*", which would let every caller choose its address."""
        for part in filter(None, (part.strip() for part in value.split(","))):
            ipaddress.ip_network(part)
        return value


@lru_cache
def settings() -> Settings:
    """The process's settings. Raises pydantic's ValidationError naming each missing variable."""
    return Settings()
