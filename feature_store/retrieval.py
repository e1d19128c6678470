"""Training sets as of a moment. The only as-of join of the project is here."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from feature_store.feature_services import FeatureService
from feature_store.feature_view import FeatureView
from feature_store.warehouse import DuckDBWarehouse, Warehouse, as_frame

if TYPE_CHECKING:
    import duckdb
    import polars as pl

REQUIRED = ("tenant_id", "contact_id", "event_timestamp")


class InvalidSpine(Exception):
    """The spine lacks a key column, or already holds one of the columns retrieval adds."""


def get_historical_features(warehouse: Warehouse, spine: pl.DataFrame, service: FeatureService) -> pl.DataFrame:
    """The spine, every row in its order, with what was known about its contact at its `event_timestamp` (UTC).

    Adds the service's stored features (float64), the moments its on-demand features need, `contact_attributes` (JSON
    text) and `tenant_timezone`; null where nothing was known. A row of a view is used only if it was true
    (`event_timestamp`) and known to us (`created_timestamp`) at the spine's moment, and no older than the view's ttl.
    Raises InvalidSpine.
    """
    assert isinstance(warehouse, DuckDBWarehouse)  # noqa: S101 - the as-of join is DuckDB's
    with warehouse.connect() as connection:
        return historical_features(connection, spine, service)


def historical_features(
    connection: duckdb.DuckDBPyConnection, spine: pl.DataFrame, service: FeatureService
) -> pl.DataFrame:
    """`get_historical_features` over an open connection."""
    added = [name for _, names in service.views() for name in names] + ["tenant_timezone"]
    _check(spine, added)
    connection.register("given_spine", spine.with_row_index("spine_row").to_arrow())
    try:
        connection.execute(
            "CREATE OR REPLACE TEMP TABLE spine AS SELECT spine_row, CAST(tenant_id AS varchar) AS tenant_id,"
            " CAST(contact_id AS varchar) AS contact_id, CAST(event_timestamp AS timestamptz) AS at FROM given_spine"
        )
        joins, columns = [], []
        for number, (view, names) in enumerate(service.views()):
            joins.append(_as_of(connection, view, names, f"v{number}"))
            columns += [_column(view, f"v{number}", name) for name in names]
        frame = as_frame(
            connection,
            f"SELECT spine.spine_row, {', '.join(columns)}, tenant.timezone AS tenant_timezone FROM spine"
            f" {' '.join(joins)} LEFT JOIN marts.dim_tenants AS tenant ON tenant.tenant_id = spine.tenant_id"
            " ORDER BY spine.spine_row",
        )
    finally:
        connection.unregister("given_spine")
        connection.execute("DROP TABLE IF EXISTS spine")
    return spine.hstack(frame.drop("spine_row").get_columns())


def _check(spine: pl.DataFrame, added: list[str]) -> None:
    missing = [name for name in REQUIRED if name not in spine.columns]
    if missing:
        raise InvalidSpine(f"the spine has no column {', '.join(missing)}")
    taken = [name for name in added if name in spine.columns]
    if taken:
        raise InvalidSpine(f"the spine already has the column {', '.join(taken)}")


def _column(view: FeatureView, alias: str, name: str) -> str:
    kind = next(feature.kind for feature in view.features if feature.name == name)
    cast = {"number": "double", "moment": "timestamptz", "json": "varchar"}[kind]
    # An as-of join finds the newest row; when that one is too old, every other is.
    fresh = "" if view.ttl is None else f" WHEN spine.at - {alias}.true_since > {_interval(view.ttl)} THEN NULL"
    return f"CASE WHEN {alias}.true_since IS NULL THEN NULL{fresh} ELSE CAST({alias}.{name} AS {cast}) END AS {name}"


def _as_of(connection: duckdb.DuckDBPyConnection, view: FeatureView, names: tuple[str, ...], alias: str) -> str:
    """The join that finds, for each spine row, the newest row of the view that was true and known at its moment."""
    source = view.source
    true_since, known_since = source.event_timestamp, source.created_timestamp
    late = connection.execute(
        f"SELECT count(*) FROM (SELECT 1 FROM {source.table} WHERE {known_since} > {true_since} LIMIT 1)"
    ).fetchall()
    usable_since = true_since
    rows = source.table
    if late[0][0]:
        # Usable once both true and known. A row that becomes usable after a newer one already was, is never the answer.
        usable_since = "usable_since"
        rows = f"""(
            SELECT * FROM (
                SELECT *, greatest({true_since}, {known_since}) AS usable_since,
                    row_number() OVER (PARTITION BY tenant_id, contact_id, greatest({true_since}, {known_since})
                                       ORDER BY {true_since} DESC, {known_since} DESC) AS rank_then,
                    max({true_since}) OVER (PARTITION BY tenant_id, contact_id
                                            ORDER BY greatest({true_since}, {known_since})) AS newest_then
                FROM {source.table}
            ) WHERE rank_then = 1 AND {true_since} = newest_then
        )"""
    columns = ", ".join(names)
    return (
        f"ASOF LEFT JOIN (SELECT tenant_id, contact_id, {true_since} AS true_since, {usable_since} AS usable, {columns}"
        f" FROM {rows}) AS {alias} ON {alias}.tenant_id = spine.tenant_id AND {alias}.contact_id = spine.contact_id"
        f" AND spine.at >= {alias}.usable"
    )


def _interval(ttl: dt.timedelta) -> str:
    return f"INTERVAL {int(ttl.total_seconds())} SECONDS"
