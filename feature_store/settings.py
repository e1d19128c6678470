"""What the feature store is configured with, read from FEATURE_STORE_* when a process or resource is built."""

from __future__ import annotations

from functools import lru_cache

from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """`warehouse` is the path of a DuckDB file or the URL of a PostgreSQL database; `operational_url` enters the
    operational database as the role etl_read."""

    model_config = SettingsConfigDict(env_prefix="FEATURE_STORE_", frozen=True)

    warehouse: str = ".rapport/warehouse/warehouse.duckdb"
    redis_url: str
    operational_url: str


@lru_cache
def settings() -> Settings:
    """The process's settings. Raises pydantic's ValidationError naming each missing variable."""
    return Settings()
