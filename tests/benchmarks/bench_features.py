"""As-of retrieval beside DuckDB's own as-of join, and the online store beside bare Redis commands, in one run.

`python -m tests.benchmarks.bench_features --spine 200000 --rows 5000000 --contacts 1000000`
"""

from __future__ import annotations

import argparse
import datetime as dt
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import redis

from feature_store.feature_services import FEATURE_SERVICES
from feature_store.feature_views import FEATURE_VIEWS, contact_messaging_daily
from feature_store.materialization import materialize
from feature_store.online import contact_key, get_online_features
from feature_store.online_writer import OnlineWriter
from feature_store.retrieval import get_historical_features
from feature_store.warehouse import DuckDBWarehouse
from orchestration.runtime.home import Home
from orchestration.runtime.redis import EmbeddedRedis
from tests.benchmarks.reporting import Figure, figure, report

TENANT = "11111111-1111-4111-8111-111111111111"
# Looks like a uuid, and neighbours by number are no neighbours by text.
CONTACT = "lpad(to_hex(hash({n}) % 4294967296), 8, '0') || '-0000-4000-8000-' || lpad(to_hex({n}), 12, '0')"
START = "timestamptz '2025-01-01 00:00:00+00'"
AT = dt.datetime(2025, 12, 31, tzinfo=dt.UTC)
VALUES = {
    "float32": "CASE WHEN hash({n} + {i}) % 10 > 0 THEN CAST(hash({n} * 31 + day + {i}) % 100 AS double) END",
    "timestamp": START + " + to_days(day) - to_seconds(CAST(hash({n} + day) % 80000 AS int))",
    "json": "CAST(json_object('age', hash({n}) % 99, 'city', 'c' || hash({n}) % 40, 'vip', {n} % 9 = 0) AS varchar)",
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spine", type=int, default=200_000, help="rows of the training set")
    parser.add_argument("--rows", type=int, default=5_000_000, help="rows of the view")
    parser.add_argument("--contacts", type=int, default=1_000_000, help="contacts loaded online")
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-features-") as name:
        folder = Path(name)
        figures = retrieval(folder, given.spine, given.rows, given.repeats)
        server = EmbeddedRedis(Home(folder))
        server.start()
        try:
            with redis.Redis.from_url(server.url()) as client:
                figures += online(folder, client, server.url(), given.contacts, given.repeats)
        finally:
            server.stop()
    return report("features", figures, spine=given.spine, rows=given.rows, contacts=given.contacts)


def retrieval(folder: Path, spine_rows: int, rows: int, repeats: int) -> list[Figure]:
    """One view of `rows` rows, 50 a contact; the spine also asks about contacts the view does not hold."""
    warehouse = DuckDBWarehouse(folder / "retrieval.duckdb")
    contacts = max(1, rows // 50)
    asked = contacts + contacts // 10
    with warehouse.connect(read_only=False) as connection:
        make_views(connection, contacts, {contact_messaging_daily.name: 50})
        spine = connection.sql(
            f"SELECT '{TENANT}' AS tenant_id, {CONTACT.format(n='n')} AS contact_id, {START}"
            f" + to_seconds(CAST(hash(i) % (350 * 86400) AS int)) AS event_timestamp, i AS label"
            f" FROM (SELECT i, CAST(hash(i * 7) % {asked} AS bigint) AS n FROM range({spine_rows}) s(i))"
        ).to_arrow_table()
    columns = ", ".join(f"view.{feature.name}" for feature in contact_messaging_daily.features)
    raw = (
        f"SELECT spine.*, {columns} FROM spine ASOF LEFT JOIN {contact_messaging_daily.source.table} AS view"
        " ON view.tenant_id = spine.tenant_id AND view.contact_id = spine.contact_id"
        " AND spine.event_timestamp >= view.event_timestamp"
    )

    def limit() -> pa.Table:
        with warehouse.connect() as connection:
            connection.register("spine", spine)
            return connection.sql(raw).to_arrow_table()

    one_view, bare, found, joined = side_by_side(
        lambda: get_historical_features(warehouse, spine, contact_messaging_daily), limit, repeats
    )
    same(found, joined, spine_rows)
    service = FEATURE_SERVICES["churn_v1"]
    whole, _, known, _ = side_by_side(lambda: get_historical_features(warehouse, spine, service), lambda: None, repeats)
    return [
        figure("as of, one view", one_view, "s", bare, at_most=1.5),
        figure(f"as of, {len(service.views())} views of {service.name}", whole, "s", bare),
        figure("spine rows lost", spine_rows - found.num_rows + spine_rows - known.num_rows, "rows", at_most=0),
    ]


def online(folder: Path, client: redis.Redis, url: str, contacts: int, repeats: int) -> list[Figure]:
    """Everybody of one tenant, five rows a contact in one view and one in the others."""
    warehouse = DuckDBWarehouse(folder / "online.duckdb")
    with warehouse.connect(read_only=False) as connection:
        make_views(connection, contacts, {contact_messaging_daily.name: 5})
    started = time.perf_counter()
    snapshot = materialize(warehouse, url, TENANT, AT)
    whole = time.perf_counter() - started
    assert snapshot.contacts == contacts
    keys = sorted(client.scan_iter(f"features:{TENANT}:contact:*", count=10_000))
    assert len(keys) == contacts
    rows = [value for part in parts(keys) for value in client.mget(part)]

    def load() -> None:
        with OnlineWriter(client, 8 * 86_400) as writer:
            for part, values in zip(parts(keys), parts(rows), strict=True):
                writer.write(part, values)

    def bare_load() -> None:
        for part, values in zip(parts(keys), parts(rows), strict=True):
            client.mset(dict(zip(part, values, strict=True)))

    loaded, bare_loaded, _, _ = side_by_side(load, bare_load, min(repeats, 3))
    figures = [
        figure(f"load {contacts:,} rows with expiry", loaded, "s", bare_loaded, at_most=2),
        figure(f"materialize {contacts:,} contacts, read and load", whole, "s", bare_loaded),
    ]
    ids = [key.decode().rsplit(":", 1)[1] for key in keys[:: max(1, contacts // 10_000)]]
    service = FEATURE_SERVICES["churn_v1"]
    for count in (1, 100):
        groups = [ids[start : start + count] for start in range(0, len(ids) - count + 1, count)][:1_000]
        packed = [[contact_key(TENANT, contact) for contact in group] for group in groups]
        asked = [lambda group=group: get_online_features(client, TENANT, group, service) for group in groups]
        bare = [
            (lambda names=names: client.get(names[0])) if count == 1 else (lambda names=names: client.mget(names))
            for names in packed
        ]
        got, bare_got = alternately(asked, bare, 20 if count == 1 else 5)
        figures.append(figure(f"get {count}", got * 1e6, "us", bare_got * 1e6, at_most=2))
    return figures


def parts(values: list[Any], size: int = 10_000) -> list[list[Any]]:
    return [values[start : start + size] for start in range(0, len(values), size)]


def alternately(ours: list[Callable[[], Any]], theirs: list[Callable[[], Any]], rounds: int) -> tuple[float, float]:
    """Medians of seconds a call, over every call of every round."""
    spent: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for pair in zip(ours, theirs, strict=True):
            for side, call in enumerate(pair):
                started = time.perf_counter()
                call()
                spent[side].append(time.perf_counter() - started)
    return statistics.median(spent[0]), statistics.median(spent[1])


def make_views(connection: Any, contacts: int, days: dict[str, int]) -> None:
    """Every view for one tenant's contacts: `days` rows a contact, a week apart, 1 where the view is not named."""
    connection.execute("CREATE SCHEMA IF NOT EXISTS features; CREATE SCHEMA IF NOT EXISTS marts")
    connection.execute(f"CREATE TABLE marts.dim_tenants AS SELECT '{TENANT}' AS tenant_id, 'Europe/Berlin' AS timezone")
    connection.execute(
        f"CREATE TABLE marts.dim_contacts AS SELECT '{TENANT}' AS tenant_id, {CONTACT.format(n='n')} AS contact_id"
        f" FROM range({contacts}) t(n)"
    )
    for view in FEATURE_VIEWS:
        values = ", ".join(
            f"{VALUES[feature.dtype].format(n='n', i=i)} AS {feature.name}" for i, feature in enumerate(view.features)
        )
        moment = f"{START} + to_days(day * 7)"
        connection.execute(
            f"CREATE TABLE {view.source.table} AS SELECT '{TENANT}' AS tenant_id,"
            f" {CONTACT.format(n='n')} AS contact_id, {moment} AS event_timestamp,"
            f" {moment} AS created_timestamp, {values}"
            f" FROM (SELECT CAST(d AS int) AS day, n FROM range({days.get(view.name, 1)}) t(d), range({contacts}) c(n))"
        )


def side_by_side(ours: Callable[[], Any], theirs: Callable[[], Any], repeats: int) -> tuple[float, float, Any, Any]:
    """Medians of seconds in turn, so that a slow minute of the machine meets both; and what each gave last."""
    spent: tuple[list[float], list[float]] = ([], [])
    given: list[Any] = [None, None]
    for _ in range(repeats):
        for side, work in enumerate((ours, theirs)):
            started = time.perf_counter()
            given[side] = work()
            spent[side].append(time.perf_counter() - started)
    return statistics.median(spent[0]), statistics.median(spent[1]), given[0], given[1]


def same(found: pa.Table, joined: pa.Table, rows: int) -> None:
    """Refuses figures of answers that differ."""
    ordered = joined.sort_by("label")
    for feature in contact_messaging_daily.features:
        assert found[feature.name].combine_chunks().equals(ordered[feature.name].combine_chunks()), feature.name
    assert found.num_rows == ordered.num_rows == rows


if __name__ == "__main__":
    sys.exit(main())
