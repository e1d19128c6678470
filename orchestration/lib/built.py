"""What dbt built in a warehouse: by which state of the project, and how many rows."""

from __future__ import annotations

from feature_store.warehouse import DuckDBWarehouse, Warehouse

LAYERS = ("staging", "intermediate", "features", "marts")
# Kept by the project's own macros, in the same transaction as the models.
WATERMARKS = ("staging", "_watermarks")


def built_by(warehouse: Warehouse) -> set[str]:
    """The digests of the projects that built the models; empty when nothing was built yet."""
    if isinstance(warehouse, DuckDBWarehouse) and not warehouse.path.exists():
        return set()
    schema, table = WATERMARKS
    known = warehouse.query(
        "SELECT 1 AS one FROM information_schema.tables WHERE table_schema = $1 AND table_name = $2", [schema, table]
    )
    if known.is_empty():
        return set()
    return set(warehouse.query(f"SELECT DISTINCT project_digest FROM {schema}.{table}")["project_digest"])


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
