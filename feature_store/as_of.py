"""The SQL of the only as-of join of the project.

For each row of a temporary table `spine` (spine_row, tenant_id, contact_id, at), the newest row of each view that was
true and known at `at`. A bounded hash join with one aggregate that keeps the row's address, then one look at that
address: neither side is sorted, and only the keys of a view's rows are read before its columns are. DuckDB's own ASOF
sorts both whole sides and knows one time, so a late row needs a rewrite of the view first.
"""

from __future__ import annotations

import datetime as dt

from feature_store.feature_view import FeatureView
from feature_store.sessions import literal

# (tenant, contact, event, created) is the grain of every view, so this order leaves no ties.
NEWEST = {
    # One number to compare: the first moment in the upper half, the second in the lower.
    "duckdb": "arg_max({view}.rowid, CAST(epoch_us({event}) AS hugeint) * 18446744073709551616 + epoch_us({created}))",
    "postgres": "(array_agg({view}.ctid ORDER BY {event} DESC, {created} DESC))[1]",
}
ADDRESS = {"duckdb": "rowid", "postgres": "ctid"}
TYPES = {"float32": "double precision", "timestamp": "timestamptz", "json": "varchar"}


def as_of(dialect: str, views: tuple[tuple[FeatureView, tuple[str, ...]], ...], key: str = "spine_row") -> str:
    """A SELECT of the spine's `key`, each view's columns and `tenant_timezone`: one row per row of `spine`, in any
    order."""
    found = ", ".join(f"{view.name}_found AS ({_found(dialect, view)})" for view, _ in views)
    columns = ", ".join(
        f"CAST({view.name}.{name} AS {_type(view, name)}) AS {name}" for view, names in views for name in names
    )
    joins = " ".join(
        f"LEFT JOIN {view.name}_found ON {view.name}_found.spine_row = spine.spine_row"
        f" LEFT JOIN {view.source.table} AS {view.name} ON {view.name}.{ADDRESS[dialect]} = {view.name}_found.newest"
        for view, _ in views
    )
    return (
        f"WITH {found} SELECT spine.{key}, {columns}, tenant.timezone AS tenant_timezone FROM spine {joins}"
        " LEFT JOIN marts.dim_tenants AS tenant ON tenant.tenant_id = spine.tenant_id"
    )


def everybody(at: dt.datetime, tenant_id: str | None = None) -> str:
    """A SELECT of the rows of `spine` that ask about each of the tenant's contacts (all tenants' without one) at one
    moment (UTC)."""
    whose = "" if tenant_id is None else f" WHERE tenant_id = {literal(tenant_id)}"
    return (
        "SELECT row_number() OVER () AS spine_row, tenant_id, contact_id,"
        f" CAST({literal(at.isoformat())} AS timestamptz) AS at FROM marts.dim_contacts{whose}"
    )


def _found(dialect: str, view: FeatureView) -> str:
    """For each spine row that has one, the address of the newest usable row of the view."""
    event = f"{view.name}.{view.source.event_timestamp}"
    created = f"{view.name}.{view.source.created_timestamp}"
    fresh = "" if view.ttl is None else f" AND {event} >= spine.at - {_interval(view.ttl)}"
    return (
        f"SELECT spine.spine_row, {NEWEST[dialect].format(view=view.name, event=event, created=created)} AS newest"
        f" FROM spine JOIN {view.source.table} AS {view.name} ON {view.name}.tenant_id = spine.tenant_id"
        f" AND {view.name}.contact_id = spine.contact_id AND {event} <= spine.at AND {created} <= spine.at{fresh}"
        " GROUP BY spine.spine_row"
    )


def _type(view: FeatureView, name: str) -> str:
    return TYPES[next(feature.dtype for feature in view.features if feature.name == name)]


def _interval(age: dt.timedelta) -> str:
    return f"INTERVAL '{int(age.total_seconds())} seconds'"
