"""The SQL of the only as-of join of the project.

For each row of a temporary table `spine` (spine_row, tenant_id, contact_id, at), or for every contact at one moment,
the newest row of each view that was true and known then. A bounded hash join with one aggregate that keeps the row's
address, then one look at that address: neither side is sorted, and only the keys of a view's rows are read before its
columns are. One moment needs no join to find the address: the rows of a view are grouped by contact where they lie.
DuckDB's own ASOF sorts both whole sides and knows one time, so a late row needs a rewrite of the view first.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from feature_store.feature_view import FeatureView, Selection
from feature_store.sessions import literal

# (tenant, contact, event, created) is the grain of every view, so this order leaves no ties.
NEWEST = {
    # One number to compare: the first moment in the upper half, the second in the lower.
    "duckdb": "arg_max({view}.rowid, CAST(epoch_us({event}) AS hugeint) * 18446744073709551616 + epoch_us({created}))",
    "postgres": "(array_agg({view}.ctid ORDER BY {event} DESC, {created} DESC))[1]",
}
ADDRESS = {"duckdb": "rowid", "postgres": "ctid"}
TYPES = {"float32": "double precision", "timestamp": "timestamptz", "json": "varchar"}


def as_of(dialect: str, views: Selection) -> str:
    """A SELECT of `spine_row`, each view's columns and `tenant_timezone`: one row per row of `spine`, in any order."""
    newest = [
        f"SELECT spine.spine_row, {_newest(dialect, view)} AS address"
        f" FROM spine JOIN {view.source.table} AS {view.name} ON {view.name}.tenant_id = spine.tenant_id"
        f" AND {view.name}.contact_id = spine.contact_id AND {_usable(view, 'spine.at')} GROUP BY spine.spine_row"
        for view, _ in views
    ]
    return _looked_up(dialect, views, newest, "spine", ("spine_row",), "spine_row")


def as_of_everybody(dialect: str, views: Selection, at: dt.datetime, tenant_id: str | None = None) -> str:
    """A SELECT of `contact_id`, each view's columns and `tenant_timezone` as of one moment (UTC): one row per contact
    of the tenant (of all tenants without one), in any order."""
    moment = f"CAST({literal(at.isoformat())} AS timestamptz)"
    whose = "true" if tenant_id is None else f"tenant_id = {literal(tenant_id)}"
    keys = ("tenant_id", "contact_id") if tenant_id is None else ("contact_id",)
    newest = [
        f"SELECT {', '.join(keys)}, {_newest(dialect, view)} AS address FROM {view.source.table} AS {view.name}"
        f" WHERE {whose} AND {_usable(view, moment)} GROUP BY {', '.join(keys)}"
        for view, _ in views
    ]
    contacts = f"(SELECT tenant_id, contact_id FROM marts.dim_contacts WHERE {whose})"
    return _looked_up(dialect, views, newest, contacts, keys, "contact_id")


def _looked_up(
    dialect: str, views: Selection, newest: Sequence[str], spine: str, keys: Sequence[str], named: str
) -> str:
    """`newest` has a SELECT for each view, of `keys` and the row's `address`; `named` is the spine's column to add."""
    # Joined before the spine is: an engine keeps the few addresses in memory then, and reads the view past them.
    found = ", ".join(
        f"{view.name}_found AS (SELECT {', '.join(f'newest.{key}' for key in keys)}, {_columns(view, names)}"
        f" FROM {view.source.table} AS {view.name} JOIN ({sql}) AS newest"
        f" ON {view.name}.{ADDRESS[dialect]} = newest.address)"
        for (view, names), sql in zip(views, newest, strict=True)
    )
    columns = ", ".join(f"{view.name}_found.{name}" for view, names in views for name in names)
    joins = " ".join(
        f"LEFT JOIN {view.name}_found ON {' AND '.join(f'{view.name}_found.{key} = asked.{key}' for key in keys)}"
        for view, _ in views
    )
    return (
        f"WITH {found} SELECT asked.{named}, {columns}, tenant.timezone AS tenant_timezone FROM {spine} AS asked"
        f" {joins} LEFT JOIN marts.dim_tenants AS tenant ON tenant.tenant_id = asked.tenant_id"
    )


def _columns(view: FeatureView, names: Sequence[str]) -> str:
    types = {feature.name: TYPES[feature.dtype] for feature in view.features}
    return ", ".join(f"CAST({view.name}.{name} AS {types[name]}) AS {name}" for name in names)


def _newest(dialect: str, view: FeatureView) -> str:
    """The aggregate that gives the address of a group's newest row."""
    event, created = _times(view)
    return NEWEST[dialect].format(view=view.name, event=event, created=created)


def _usable(view: FeatureView, at: str) -> str:
    """True and known at the moment, and not expired."""
    event, created = _times(view)
    fresh = "" if view.ttl is None else f" AND {event} >= {at} - {_interval(view.ttl)}"
    return f"{event} <= {at} AND {created} <= {at}{fresh}"


def _times(view: FeatureView) -> tuple[str, str]:
    return f"{view.name}.{view.source.event_timestamp}", f"{view.name}.{view.source.created_timestamp}"


def _interval(age: dt.timedelta) -> str:
    return f"INTERVAL '{int(age.total_seconds())} seconds'"
