"""Tenants as partitions: training, scoring and activation happen for one business at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dagster as dg
import psycopg

from feature_store.settings import settings
from feature_store.transforms import ModelInputs

if TYPE_CHECKING:
    from training.models.churn import Windows

tenants = dg.DynamicPartitionsDefinition(name="tenant")


@dataclass(frozen=True)
class TenantRef:
    tenant_id: str
    slug: str
    model_inputs: ModelInputs
    is_simulated: bool
    # Cents a message costs and a positive outcome earns, when the tenant has said both.
    costs: tuple[float, float] | None = None
    # What silence means to this business, when it has said so.
    churn_windows: Windows | None = None


class UnknownTenant(Exception):
    """No tenant has this slug."""

    code = 2


def all_tenants() -> list[TenantRef]:
    """Every tenant of the installation by slug, read as the role of ingest."""
    with psycopg.connect(settings().operational_url) as connection:
        rows = connection.execute("SELECT id::text, slug, settings FROM tenants ORDER BY slug").fetchall()
    return [
        TenantRef(
            tenant_id,
            slug,
            given.get("model_inputs", {}),
            bool(given.get("simulated")),
            _costs(given),
            _churn_windows(given),
        )
        for tenant_id, slug, given in rows
    ]


def _costs(given: Mapping[str, Any]) -> tuple[float, float] | None:
    """None as well when what the tenant set is no number: it must not stop everybody's training."""
    try:
        return float(given["message_cost_cents"]), float(given["outcome_value_cents"])
    except (KeyError, TypeError, ValueError):
        return None


def _churn_windows(given: Mapping[str, Any]) -> Windows | None:
    """None as well when what the tenant set is no windows, for the same reason."""
    from training.models.churn import Windows

    set_to = given.get("churn_windows")
    try:
        return Windows.from_settings(set_to) if isinstance(set_to, Mapping) else None
    except ValueError:
        return None


def tenant_of(slug: str) -> TenantRef:
    """The tenant a partition stands for. Raises UnknownTenant."""
    for tenant in all_tenants():
        if tenant.slug == slug:
            return tenant
    raise UnknownTenant(f"no tenant is called {slug}")
