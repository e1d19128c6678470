"""What dbt built in a warehouse: by which state of the project, how many rows, and for which tenants it is sound."""

from __future__ import annotations

import datetime as dt
from typing import Any

from feature_store.warehouse import DuckDBWarehouse, Warehouse

LAYERS = ("staging", "intermediate", "features", "marts")
# One row per model built, kept by the project's own macros.
WATERMARKS = ("staging", "_model_watermarks")


# One row per test that failed and tenant whose rows did, until they pass.
FAILED_TESTS = ("staging", "_failed_tests")


class HalfBuilt(Exception):
    """The warehouse is of two builds at once."""


class ClaimBroken(Exception):
    """A test failed that says nothing of one tenant's rows: nobody's figures can be trusted."""


class TenantHeld(Exception):
    """What the warehouse holds of a tenant failed a test; what was made of it before stays."""


def built_by(warehouse: Warehouse) -> set[str]:
    """The digests of the projects that built the models; empty when nothing was built yet."""
    return {str(digest) for digest in _watermarks(warehouse, "DISTINCT project_digest")}


def built_as_of(warehouse: Warehouse) -> dt.datetime | None:
    """The moment (UTC) the warehouse describes: that of its newest model. None when nothing was built yet."""
    moments = _watermarks(warehouse, "max(as_of) AS as_of")
    return moments[0] if moments else None


def require_whole(warehouse: Warehouse) -> None:
    """Raises HalfBuilt when the last build left some tables new and some old, as one in place does that failed."""
    if False in _column(warehouse, "is_whole", ("staging", "_current_run")):
        raise HalfBuilt("the last build of the warehouse did not come to a good end; `rapport run` builds it again")


def held_tenants(warehouse: Warehouse) -> dict[str, str]:
    """By tenant, which tests its rows failed, in words. Raises ClaimBroken for a failure that is of all."""
    failed: dict[str | None, list[str]] = {}
    rows = _rows(warehouse, "test, tenant_id, row_count", FAILED_TESTS)
    for test, tenant, count in sorted(rows, key=lambda row: str(row[0])):
        failed.setdefault(tenant, []).append(f"{test} failed ({count} {'row' if count == 1 else 'rows'})")
    if None in failed:
        raise ClaimBroken("; ".join(failed[None]))
    return {str(tenant): "; ".join(words) for tenant, words in failed.items()}


def require_sound(warehouse: Warehouse, tenant_id: str) -> None:
    """Raises HalfBuilt, ClaimBroken, and TenantHeld when a test failed of this tenant's rows."""
    require_whole(warehouse)
    held = held_tenants(warehouse).get(tenant_id)
    if held:
        raise TenantHeld(f"{held}; what was made before stays until it passes")


def _watermarks(warehouse: Warehouse, column: str) -> list[Any]:
    return _column(warehouse, column, WATERMARKS)


def _column(warehouse: Warehouse, column: str, of_table: tuple[str, str]) -> list[Any]:
    return [value for (value,) in _rows(warehouse, column, of_table)]


def _rows(warehouse: Warehouse, columns: str, of_table: tuple[str, str]) -> list[tuple[Any, ...]]:
    if isinstance(warehouse, DuckDBWarehouse) and not warehouse.path.exists():
        return []
    schema, table = of_table
    known = warehouse.query(
        "SELECT 1 AS one FROM information_schema.tables WHERE table_schema = $1 AND table_name = $2", [schema, table]
    )
    if known.is_empty():
        return []
    return list(warehouse.query(f"SELECT {columns} FROM {schema}.{table}").rows())


def row_counts(warehouse: Warehouse) -> dict[str, int]:
    """Rows of every table of the layers, by `<layer>__<table>`, from one query."""
    tables = warehouse.query(
        "SELECT table_schema, table_name FROM information_schema.tables"
        f" WHERE table_schema IN {LAYERS} AND table_type = 'BASE TABLE'"
    ).rows()
    if not tables:
        return {}
    counted = " UNION ALL ".join(
        f"SELECT '{schema}__{table}' AS name, count(*) AS counted FROM {schema}.{table}" for schema, table in tables
    )
    return {str(name): int(count) for name, count in warehouse.query(counted).iter_rows()}
