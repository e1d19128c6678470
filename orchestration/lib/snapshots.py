"""A DuckDB file for one tenant's analysts: marts and features of that tenant alone, replaced whole."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from feature_store.warehouse import DuckDBWarehouse, Warehouse

SCHEMAS = ("marts", "features")
# Calendars and the like: they say nothing of any business. Every other table without a tenant stays out.
OF_NOBODY = ("dim_dates",)


@dataclass(frozen=True)
class Snapshot:
    """`rows` by `<schema>.<table>`."""

    path: Path
    rows: dict[str, int]


def write_snapshot(warehouse: Warehouse, tenant_id: str, file: Path) -> Snapshot:
    """The file as it now is: every table of marts and features that has a tenant_id, with this tenant's rows.

    Readers see the old file or the new one; who has the old one open keeps reading it.
    """
    import duckdb

    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_name(f".{file.name}.writing")
    unfinished.unlink(missing_ok=True)
    rows: dict[str, int] = {}
    try:
        with duckdb.connect(str(unfinished)) as target:
            target.execute("SET TimeZone = 'UTC'")
            if isinstance(warehouse, DuckDBWarehouse):
                target.execute(f"ATTACH {_quoted(str(warehouse.path))} AS source (READ_ONLY)")
            for schema in SCHEMAS:
                target.execute(f"CREATE SCHEMA {schema}")
            for schema, table, has_tenant in _tables(warehouse):
                rows[f"{schema}.{table}"] = _copy(warehouse, target, f'{schema}."{table}"', has_tenant, tenant_id)
            if isinstance(warehouse, DuckDBWarehouse):
                target.execute("DETACH source")
            target.execute("CHECKPOINT")
        os.replace(unfinished, file)
    finally:
        unfinished.unlink(missing_ok=True)
        unfinished.with_name(f"{unfinished.name}.wal").unlink(missing_ok=True)
    return Snapshot(file, rows)


def _tables(warehouse: Warehouse) -> list[tuple[str, str, bool]]:
    """Schema, name and whether it has a tenant_id, of each table to copy."""
    found = warehouse.query(
        f"""SELECT t.table_schema, t.table_name, count(c.column_name) > 0 AS has_tenant
            FROM information_schema.tables AS t
            LEFT JOIN information_schema.columns AS c
                ON c.table_schema = t.table_schema AND c.table_name = t.table_name AND c.column_name = 'tenant_id'
            WHERE t.table_schema IN {SCHEMAS}
            GROUP BY t.table_schema, t.table_name ORDER BY t.table_schema, t.table_name"""
    )
    return [
        (str(schema), str(table), bool(has_tenant))
        for schema, table, has_tenant in found.iter_rows()
        if has_tenant or table in OF_NOBODY
    ]


def _copy(warehouse: Warehouse, target: Any, table: str, has_tenant: bool, tenant_id: str) -> int:
    only = " WHERE tenant_id = $1" if has_tenant else ""
    given = [tenant_id] if has_tenant else []
    if isinstance(warehouse, DuckDBWarehouse):
        target.execute(f"CREATE TABLE {table} AS SELECT * FROM source.{table}{only}", given or None)
    else:
        with warehouse.batches(f"SELECT * FROM {table}{only}", given) as reader:
            target.register("arriving", reader)
            target.execute(f"CREATE TABLE {table} AS SELECT * FROM arriving")
            target.unregister("arriving")
    [(count,)] = target.execute(f"SELECT count(*) FROM {table}").fetchall()
    return int(count)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
