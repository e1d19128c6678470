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
# What a model may say besides, and the column each is kept in.
OPTIONAL = {
    "digest": "digest",
    "interval_low": "probability_low",
    "interval_high": "probability_high",
    "interval_level": "interval_level",
}
# Every score is kept for five weeks; of two years those that tell how a contact came to where it is.
EVERY_SCORE_DAYS, LASTING_DAYS = 35, 730
_VALUES = (
    "model_version", "digest", "score", "probability", "probability_low", "probability_high", "interval_level", "tier",
    "reasons", "feature_snapshot_id", "scored_at",
)  # fmt: skip
_INCOMING = """
    CREATE TEMP TABLE incoming_scores (contact_id uuid, model_version text, score float8, probability float8, tier text,
        reasons jsonb, feature_snapshot_id text, scored_at timestamptz, digest text, probability_low float8,
        probability_high float8, interval_level float8) ON COMMIT DROP
"""
_COMPLETE = """
    UPDATE incoming_scores SET reasons = coalesce(reasons, '{}'), scored_at = coalesce(scored_at, :now)
    WHERE reasons IS NULL OR scored_at IS NULL
"""
_ONLY_THEIRS = "DELETE FROM incoming_scores i WHERE NOT EXISTS (SELECT FROM contacts c WHERE c.id = i.contact_id)"
# Before the current scores are replaced: whether one is worth keeping is told by the one it follows.
_KEEP = f"""
    INSERT INTO score_history (tenant_id, model, contact_id, is_lasting, {", ".join(_VALUES)})
    SELECT :tenant, :model, i.contact_id,
           was.tier IS DISTINCT FROM i.tier OR was.model_version IS DISTINCT FROM i.model_version
               OR date_trunc('month', was.scored_at, 'UTC') IS DISTINCT FROM date_trunc('month', i.scored_at, 'UTC'),
           {", ".join(f"i.{name}" for name in _VALUES)}
    FROM incoming_scores i LEFT JOIN scores was ON was.model = :model AND was.contact_id = i.contact_id
    ON CONFLICT (tenant_id, contact_id, model, scored_at) DO UPDATE SET
        {", ".join(f"{name} = excluded.{name}" for name in _VALUES)}
"""
_REPLACE = f"""
    INSERT INTO scores (tenant_id, model, contact_id, tier_since, {", ".join(_VALUES)})
    SELECT :tenant, :model, contact_id, scored_at, {", ".join(_VALUES)} FROM incoming_scores
    ON CONFLICT (tenant_id, model, contact_id) DO UPDATE SET
        {", ".join(f"{name} = excluded.{name}" for name in _VALUES)},
        tier_since = CASE scores.tier WHEN excluded.tier THEN scores.tier_since ELSE excluded.tier_since END
    WHERE ({", ".join(f"scores.{name}" for name in _VALUES)})
        IS DISTINCT FROM ({", ".join(f"excluded.{name}" for name in _VALUES)})
"""
_REMOVE = """
    DELETE FROM scores s WHERE s.model = :model
        AND NOT EXISTS (SELECT FROM incoming_scores i WHERE i.contact_id = s.contact_id)
"""
_FORGET = """
    DELETE FROM score_history
    WHERE model = :model AND scored_at < :every_from AND (NOT is_lasting OR scored_at < :lasting_from)
"""
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
    the commit. Each score is added to the contact's history. The table may hold `digest`, `interval_low`,
    `interval_high` and `interval_level` besides COLUMNS; a null `scored_at` becomes `now`. Raises: InvalidScores.
    """
    _check(table, model)
    with database.tenant(tenant_id) as session:
        session.execute(
            sa.text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))"), {"key": scores_key(tenant_id, model)}
        )
        session.execute(sa.text(_INCOMING))
        connection: Any = session.connection().connection.driver_connection
        with (
            connection.cursor() as cursor,
            cursor.copy("COPY incoming_scores FROM STDIN (FORMAT csv)") as copy,
        ):
            for chunk in _csv(table):
                copy.write(chunk)
        values = {
            "tenant": tenant_id,
            "model": model,
            "now": now,
            "every_from": now - dt.timedelta(days=EVERY_SCORE_DAYS),
            "lasting_from": now - dt.timedelta(days=LASTING_DAYS),
        }
        for statement in (_COMPLETE, _ONLY_THEIRS, _KEEP, _REPLACE, _REMOVE, _FORGET):
            session.execute(sa.text(statement), values)
        rows = session.execute(
            sa.text("SELECT contact_id, score FROM scores WHERE model = :model"), {"model": model}
        ).all()
    scores = [(str(row.contact_id), float(row.score)) for row in rows]
    _refresh_redis(redis_url or settings().redis_url, tenant_id, model, scores)
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
    """The table's COLUMNS and OPTIONAL ones as CSV, one block a record batch; nulls unquoted, so that PostgreSQL reads
    them as NULL."""
    import pyarrow as pa
    import pyarrow.csv as pacsv

    for name in OPTIONAL:
        if name not in table.column_names:
            table = table.append_column(name, pa.nulls(table.num_rows, pa.string()))
    options = pacsv.WriteOptions(include_header=False)
    for batch in table.select([*COLUMNS, *OPTIONAL]).to_batches(max_chunksize=50_000):
        buffer = io.BytesIO()
        pacsv.write_csv(batch, buffer, options)
        yield buffer.getvalue()


def _refresh_redis(url: str, tenant_id: uuid.UUID, model: str, scores: list[tuple[str, float]]) -> None:
    """Whoever was erased since the scores were read stays away: erasing first marks the contact as forgotten."""
    from feature_store.online import forgotten_key

    key = scores_key(tenant_id, model)
    client = redis.Redis.from_url(url)
    try:
        building = f"{key}:building"
        pipe = client.pipeline(transaction=False)
        pipe.delete(building)
        for start in range(0, len(scores), _REDIS_CHUNK):
            pipe.zadd(building, dict(scores[start : start + _REDIS_CHUNK]))
            pipe.execute()
        pipe.zdiffstore(key, [building, forgotten_key(tenant_id)])
        pipe.delete(building)
        pipe.execute()
    finally:
        client.close()
