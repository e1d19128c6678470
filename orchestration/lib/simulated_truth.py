"""What only a simulator can tell: the probability each outcome was drawn with, and what of it could be known, to judge
a model against the best possible one. Never an input of a model."""

from __future__ import annotations

import datetime as dt
import os
from typing import Any

import httpx
import polars as pl
import psycopg

from feature_store.warehouse import Warehouse

PROBABILITY = {"engagement": "p_read", "lead_scoring": "p_order", "churn": "p_inactive_28d"}
MOMENTS_A_REQUEST = 8


def truth(warehouse: Warehouse, tenant_id: str, model: str, moments: list[dt.datetime]) -> pl.DataFrame | None:
    """The true probabilities, keyed as the model's rows are (message_id, or contact_id and event_timestamp): in
    `probability` as drawn, in `observable` as somebody would state them who knew every trait and saw every event, but
    not who has silently left (null for live sends). None when no simulator answers. `moments` (UTC) are those the churn
    model asks about."""
    try:
        if model == "churn":
            return _contacts(tenant_id, moments)
        sends = _lines("/simulator/truth/sends").rename(_named(model))
    except httpx.HTTPError:
        return None
    messages = warehouse.query(
        "SELECT message_id, provider_id FROM marts.fct_messages WHERE tenant_id = $1 AND direction = 'outbound'",
        [tenant_id],
    )
    return sends.select("provider_id", "probability", "observable").join(messages, on="provider_id").drop("provider_id")


def _contacts(tenant_id: str, moments: list[dt.datetime]) -> pl.DataFrame:
    parts = []
    for start in range(0, len(moments), MOMENTS_A_REQUEST):
        asked = ",".join(moment.isoformat() for moment in moments[start : start + MOMENTS_A_REQUEST])
        parts.append(_lines("/simulator/truth/contacts", at=asked))
    people = pl.concat(parts).rename(_named("churn"))
    people = people.with_columns(pl.col("at").str.to_datetime(time_unit="us", time_zone="UTC").alias("event_timestamp"))
    columns = ("contact_id", "event_timestamp", "probability", "observable")
    return people.join(_phones(tenant_id), on="phone").select(columns)


def _named(model: str) -> dict[str, str]:
    return {PROBABILITY[model]: "probability", f"{PROBABILITY[model]}_observed": "observable"}


def _phones(tenant_id: str) -> pl.DataFrame:
    """contact_id by phone, read under the tenant's rights: the warehouse holds no phone numbers."""
    with psycopg.connect(os.environ["SERVING_WORKER_DATABASE_URL"]) as connection:
        connection.execute("SELECT set_config('app.tenant_id', %s, true)", (tenant_id,))
        rows = connection.execute("SELECT phone, id::text FROM contacts WHERE phone IS NOT NULL").fetchall()
    return pl.DataFrame(rows, schema={"phone": pl.String, "contact_id": pl.String}, orient="row")


def _lines(path: str, **query: Any) -> pl.DataFrame:
    base = os.environ.get("GATEWAY_BASE_URL", "")
    if not base.startswith("http://127.0.0.1"):
        raise httpx.UnsupportedProtocol("only a simulator on this machine knows the truth")
    answer = httpx.get(base + path, params=query, timeout=60)
    answer.raise_for_status()
    return pl.read_ndjson(answer.content, infer_schema_length=None)
