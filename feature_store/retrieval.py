"""Training sets as of a moment, from either backend, with polars or Arrow in and out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

from feature_store.as_of import as_of
from feature_store.feature_services import FeatureService
from feature_store.feature_view import FeatureView, Selection
from feature_store.sessions import Session, open_session
from feature_store.warehouse import Warehouse

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

    Rows = TypeVar("Rows", pl.DataFrame, pa.Table)

REQUIRED = ("tenant_id", "contact_id", "event_timestamp")


class InvalidSpine(Exception):
    """The spine lacks a key column, holds one that is no key, or already holds a column that retrieval adds."""


def get_historical_features(warehouse: Warehouse, spine: Rows, service: FeatureService | FeatureView) -> Rows:
    """The spine, every row in its order, with what was known about its contact at its `event_timestamp` (UTC).

    A polars frame gives a polars frame, a `pyarrow.Table` a table. Adds the service's stored features (float64), the
    moments its on-demand features need, `contact_attributes` (JSON text) and `tenant_timezone`; of a view, all its
    columns. Null where nothing was known: a row of a view is used only if it was true (`event_timestamp`) and known to
    us (`created_timestamp`) at the spine's moment, and no older than the view's ttl. A row may stand in the spine
    twice; one of an unknown contact or without a moment stays, with nulls. Raises InvalidSpine.
    """
    import polars as pl

    with open_session(warehouse) as session:
        if isinstance(spine, pl.DataFrame):
            _check(spine.columns, service)
            found = historical_columns(session, spine.select(REQUIRED).to_arrow(), service)
            added = pl.from_arrow(found)
            assert isinstance(added, pl.DataFrame)  # noqa: S101 - a table never becomes a series
            return spine.hstack(added.get_columns())
        _check(spine.column_names, service)
        found = historical_columns(session, spine.select(REQUIRED), service)
        for name in found.column_names:
            spine = spine.append_column(name, found[name])
        return spine


def historical_columns(session: Session, keys: pa.Table, service: FeatureService | FeatureView) -> pa.Table:
    """What retrieval adds to the spine of these keys, one row for each of theirs and in their order."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    session.put("spine", _spine(keys))
    found = session.table(as_of(session.dialect, views_of(service)))
    order = found["spine_row"].combine_chunks().to_numpy()
    found = found.drop_columns("spine_row")
    # A hash join keeps the order of the side it streams, which is mostly the spine's.
    if not np.array_equal(order, np.arange(keys.num_rows)):
        position = np.empty(keys.num_rows, np.int64)
        position[order] = np.arange(keys.num_rows)
        found = pc.take(found, pa.array(position))
    return found


def views_of(service: FeatureService | FeatureView) -> Selection:
    """Each view that is read, with the columns taken from it."""
    if isinstance(service, FeatureView):
        return ((service, tuple(feature.name for feature in service.features)),)
    return service.views()


def _check(columns: Sequence[str], service: FeatureService | FeatureView) -> None:
    missing = [name for name in REQUIRED if name not in columns]
    if missing:
        raise InvalidSpine(f"the spine has no column {', '.join(missing)}")
    added = [name for _, names in views_of(service) for name in names] + ["tenant_timezone"]
    taken = [name for name in added if name in columns]
    if taken:
        raise InvalidSpine(f"the spine already has the column {', '.join(taken)}")


def _spine(keys: pa.Table) -> pa.Table:
    """spine_row, tenant_id, contact_id (text) and at (UTC); a moment without a zone is UTC."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    micros = pa.timestamp("us", "UTC")
    at = keys["event_timestamp"]
    try:
        if pa.types.is_timestamp(at.type) and at.type.tz is None:
            at = pc.assume_timezone(at.cast(pa.timestamp("us"), safe=False), "UTC")
        columns = {
            "spine_row": pa.array(np.arange(keys.num_rows)),
            "tenant_id": keys["tenant_id"].cast(pa.string()),
            "contact_id": keys["contact_id"].cast(pa.string()),
            "at": at.cast(micros, safe=False),
        }
    # The second is Arrow's word for a type that it turns into no other, such as a list into a text.
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise InvalidSpine(f"the spine's keys cannot be read: {error}") from error
    return pa.table(columns)
