"""A hand-made warehouse in a real DuckDB file, a synthetic lesson, and an MLflow database of the test's own."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from feature_store.feature_views import FEATURE_VIEWS
from feature_store.warehouse import DuckDBWarehouse
from training.datasets import Split, split_by_time
from training.registry import Registry
from training.settings import TrainingSettings
from training.synthetic import synthetic_dataset

START = datetime(2026, 1, 5, tzinfo=UTC)
TENANT = "00000000-0000-4000-8000-000000000001"
OTHER_TENANT = "00000000-0000-4000-8000-000000000002"


@pytest.fixture(scope="session")
def tracking_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One database for the run: making its schema costs seconds. Tests keep apart by the tenant's slug."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db"


@pytest.fixture
def settings(tracking_uri: str, tmp_path: Path) -> TrainingSettings:
    return TrainingSettings(tracking_uri=tracking_uri, bundles_dir=tmp_path / "bundles")


@pytest.fixture
def registry(settings: TrainingSettings) -> Registry:
    return Registry(settings.tracking_uri, f"tenant-{uuid.uuid4().hex[:8]}")


@pytest.fixture(scope="session")
def split_of() -> Callable[[str], Split]:
    """Time splits of 1,500 synthetic people asked eight times, one a model."""
    made: dict[str, Split] = {}

    def split(model: str) -> Split:
        if model not in made:
            made[model] = split_by_time(synthetic_dataset(model, 1_500, 8, seed=11, start=START)[0])
        return made[model]

    return split


@pytest.fixture
def warehouse(tmp_path: Path) -> DuckDBWarehouse:
    """Empty marts and features of the shapes training reads."""
    made = DuckDBWarehouse(tmp_path / "warehouse.duckdb")
    kinds = {"float32": "double", "timestamp": "timestamptz", "json": "varchar"}
    with made.connect(read_only=False) as connection:
        connection.execute("create schema marts; create schema features")
        connection.execute("create table marts.dim_tenants (tenant_id varchar, timezone varchar)")
        connection.execute("create table marts.dim_contacts (tenant_id varchar, contact_id varchar)")
        connection.execute(
            "create table marts.dim_campaigns (tenant_id varchar, campaign_id varchar, attributes varchar)"
        )
        connection.execute(
            "create table marts.fct_sends"
            " (tenant_id varchar, contact_id varchar, message_id varchar, campaign_id varchar,"
            " sent_at timestamptz, failed_at timestamptz, read_at timestamptz, converted_at timestamptz,"
            " attribution_ends_at timestamptz)"
        )
        connection.execute(
            "create table marts.fct_contact_days (tenant_id varchar, contact_id varchar, activity_date date)"
        )
        for view in FEATURE_VIEWS:
            columns = ", ".join(f"{feature.name} {kinds[feature.dtype]}" for feature in view.features)
            connection.execute(
                f"create table {view.source.table} (tenant_id varchar, contact_id varchar, event_timestamp timestamptz,"
                f" created_timestamp timestamptz, {columns})"
            )
        connection.execute("insert into marts.dim_tenants values (?, 'UTC')", [TENANT])
    return made


def add_rows(warehouse: DuckDBWarehouse, table: str, rows: list[dict[str, Any]]) -> None:
    with warehouse.connect(read_only=False) as connection:
        for row in rows:
            marks = ", ".join("?" for _ in row)
            connection.execute(f"insert into {table} ({', '.join(row)}) values ({marks})", list(row.values()))


def send(number: int, **given: Any) -> dict[str, Any]:
    """A send of campaign c1 on day 0 with a window of seven days, changed as given."""
    sent_at = given.pop("sent_at", START)
    return {
        "tenant_id": TENANT,
        "contact_id": f"contact-{number}",
        "message_id": f"message-{number:04d}",
        "campaign_id": "c1",
        "sent_at": sent_at,
        "attribution_ends_at": sent_at + timedelta(days=7),
    } | given


def campaign(campaign_id: str, **attributes: Any) -> dict[str, Any]:
    return {"tenant_id": TENANT, "campaign_id": campaign_id, "attributes": json.dumps(attributes)}
