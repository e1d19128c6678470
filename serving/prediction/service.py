"""Scores made offline, published to where the product reads them."""

from __future__ import annotations

import datetime as dt
import io
import uuid
from typing import TYPE_CHECKING, Any

import redis
import sqlalchemy as sa

from serving.kit.database import Database
from serving.settings import settings

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = (
    "contact_id", "model_version", "score", "probability", "tier", "reasons", "feature_snapshot_id", "scored_at",
)  # fmt: skip
_REDIS_CHUNK = 5_000


class InvalidScores(Exception):
    """The table lacks a column, or holds rows of another model."""


def scores_key(tenant_id: uuid.UUID, model: str) -> str:
    """A sorted set in Redis: contact ids by score."""
    return f"scores:{tenant_id}:{model}"


def publish_scores(
    database: Database,
    tenant_id: uuid.UUID,
    table: pa.Table,
    model: str,
    now: dt.datetime,
    *,
    redis_url: str | None = None,
) -> int:
    """How many contacts have a score of `model` afterwards: exactly those of `table` that still exist.

    Readers see the old scores or the new ones, never a mixture; Redis (SERVING_REDIS_URL unless given) follows after
    the commit. A null `scored_at` becomes `now`. Raises: InvalidScores.
    """
    _check(table, model)
    with database.tenant(tenant_id) as session:
        session.execute(
            sa.text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))"), {"key": scores_key(tenant_id, model)}
        )
        session.execute(
            sa.text("""
                CREATE TEMP TABLE incoming_scores (contact_id uuid, model_version text, score float8,
                    probability float8, tier text, reasons jsonb, feature_snapshot_id text, scored_at timestamptz
                ) ON COMMIT DROP
            """)
        )
        connection: Any = session.connection().connection.driver_connection
        with (
            connection.cursor() as cursor,
            cursor.copy("COPY incoming_scores FROM STDIN (FORMAT csv)") as copy,
        ):
            for chunk in _csv(table):
                copy.write(chunk)
        session.execute(
            sa.text("""
                INSERT INTO scores (tenant_id, model, contact_id, model_version, score, probability, tier, reasons,
                                    feature_snapshot_id, scored_at)
                SELECT :tenant, :model, i.contact_id, i.model_version, i.score, i.probability, i.tier,
                       coalesce(i.reasons, '{}'), i.feature_snapshot_id, coalesce(i.scored_at, :now)
                FROM incoming_scores i JOIN contacts c ON c.id = i.contact_id
                ON CONFLICT (tenant_id, model, contact_id) DO UPDATE SET
                    model_version = excluded.model_version, score = excluded.score, probability = excluded.probability,
                    tier = excluded.tier, reasons = excluded.reasons, scored_at = excluded.scored_at,
                    feature_snapshot_id = excluded.feature_snapshot_id
                WHERE (scores.model_version, scores.score, scores.probability, scores.tier, scores.reasons,
                       scores.scored_at, scores.feature_snapshot_id)
                    IS DISTINCT FROM (excluded.model_version, excluded.score, excluded.probability, excluded.tier,
                                      excluded.reasons, excluded.scored_at, excluded.feature_snapshot_id)
            """),
            {"tenant": tenant_id, "model": model, "now": now},
        )
        session.execute(
            sa.text("""
                DELETE FROM scores s WHERE s.model = :model
                    AND NOT EXISTS (SELECT FROM incoming_scores i WHERE i.contact_id = s.contact_id)
            """),
            {"model": model},
        )
        rows = session.execute(
            sa.text("SELECT contact_id, score FROM scores WHERE model = :model"), {"model": model}
        ).all()
    scores = [(str(row.contact_id), float(row.score)) for row in rows]
    _refresh_redis(redis_url or settings().redis_url, scores_key(tenant_id, model), scores)
    return len(rows)


def _check(table: pa.Table, model: str) -> None:
    import pyarrow.compute as pc

    missing = [name for name in ("model", *COLUMNS) if name not in table.column_names]
    if missing:
        raise InvalidScores(f"the table has no column {', '.join(missing)}")
    others = [name for name in pc.unique(table["model"]).to_pylist() if name != model]
    if others:
        raise InvalidScores(f"the table holds scores of {others[0]}, not of {model} only")


def _csv(table: pa.Table) -> Any:
    """The table's COLUMNS as CSV, one block a record batch; nulls unquoted, so that PostgreSQL reads them as NULL."""
    import pyarrow.csv as pacsv

    options = pacsv.WriteOptions(include_header=False)
    for batch in table.select(list(COLUMNS)).to_batches(max_chunksize=50_000):
        buffer = io.BytesIO()
        pacsv.write_csv(batch, buffer, options)
        yield buffer.getvalue()


def _refresh_redis(url: str, key: str, scores: list[tuple[str, float]]) -> None:
    client = redis.Redis.from_url(url)
    try:
        building = f"{key}:building"
        pipe = client.pipeline(transaction=False)
        pipe.delete(building)
        for start in range(0, len(scores), _REDIS_CHUNK):
            pipe.zadd(building, dict(scores[start : start + _REDIS_CHUNK]))
            pipe.execute()
        pipe.rename(building, key) if scores else pipe.delete(key)
        pipe.execute()
    finally:
        client.close()
