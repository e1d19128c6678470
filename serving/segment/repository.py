"""Set-based changes of membership: however many contacts, one statement."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

# Members that stay are updated only where something changed, so that a refresh without news writes nothing.
_REPLACE = """
    WITH chosen AS ({chosen}),
    removed AS (
        DELETE FROM segment_members m
        WHERE m.segment_id = :segment_id AND NOT EXISTS (SELECT FROM chosen c WHERE c.contact_id = m.contact_id)
    ),
    kept AS (
        INSERT INTO segment_members (tenant_id, segment_id, contact_id, score, reason)
        SELECT :tenant_id, :segment_id, contact_id, score, reason FROM chosen
        ON CONFLICT (tenant_id, segment_id, contact_id) DO UPDATE SET score = excluded.score, reason = excluded.reason
        WHERE (segment_members.score, segment_members.reason) IS DISTINCT FROM (excluded.score, excluded.reason)
    )
    UPDATE segments SET member_count = (SELECT count(*) FROM chosen), refreshed_at = :now,
        model_version = {model_version}
    WHERE id = :segment_id
"""
_ELIGIBLE = """
    SELECT s.contact_id, s.score, s.tier AS reason, s.probability, s.model_version
    FROM scores s JOIN contacts c ON c.id = s.contact_id AND c.status = 'active' WHERE s.model = :model
"""
_MIN_SCORE = f"SELECT contact_id, score, reason, model_version FROM ({_ELIGIBLE}) AS eligible WHERE score >= :min_score"
# Ties are broken by the id, so that the same scores give the same segment.
_TOP_FRACTION = f"""
    SELECT contact_id, score, reason, model_version FROM (
        SELECT *, row_number() OVER (ORDER BY score DESC, probability DESC, contact_id) AS position,
               count(*) OVER () AS everyone FROM ({_ELIGIBLE}) AS eligible
    ) AS ranked WHERE position <= ceil(CAST(:top_fraction AS numeric) * everyone)
"""
_RULE = """
    SELECT id AS contact_id, CAST(NULL AS float8) AS score, 'rule' AS reason FROM contacts
    WHERE status = :status AND tags @> CAST(:all_tags AS text[]) AND NOT tags && CAST(:no_tags AS text[])
        AND (CAST(:any_tags AS text[]) = '{}' OR tags && CAST(:any_tags AS text[]))
"""
_STATIC = """
    SELECT id AS contact_id, CAST(NULL AS float8) AS score, 'listed' AS reason FROM contacts
    WHERE id = ANY (CAST(:contact_ids AS uuid[]))
"""


def replace_scored(
    session: Session, tenant_id: uuid.UUID, segment_id: uuid.UUID, definition: Mapping[str, Any], now: dt.datetime
) -> None:
    chosen = _MIN_SCORE if definition.get("min_score") is not None else _TOP_FRACTION
    values = {
        name: definition[name] for name in ("model", "min_score", "top_fraction") if definition.get(name) is not None
    }
    _replace(session, tenant_id, segment_id, chosen, values, now, "(SELECT max(model_version) FROM chosen)")


def replace_by_rule(
    session: Session, tenant_id: uuid.UUID, segment_id: uuid.UUID, definition: Mapping[str, Any], now: dt.datetime
) -> None:
    values = {name: definition[name] for name in ("status", "all_tags", "any_tags", "no_tags")}
    _replace(session, tenant_id, segment_id, _RULE, values, now)


def replace_by_list(
    session: Session, tenant_id: uuid.UUID, segment_id: uuid.UUID, contact_ids: list[uuid.UUID], now: dt.datetime
) -> None:
    _replace(session, tenant_id, segment_id, _STATIC, {"contact_ids": contact_ids}, now)


def _replace(
    session: Session,
    tenant_id: uuid.UUID,
    segment_id: uuid.UUID,
    chosen: str,
    values: Mapping[str, Any],
    now: dt.datetime,
    model_version: str = "NULL",
) -> None:
    session.execute(
        sa.text(_REPLACE.replace("{chosen}", chosen).replace("{model_version}", model_version)),
        {"tenant_id": tenant_id, "segment_id": segment_id, "now": now, **values},
    )
