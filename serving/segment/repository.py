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
# Ties are broken by the id, so that the same scores give the same segment. A fraction is of all who are scored,
# whatever else the segment asks of its members.
_SCORED = """
    SELECT contact_id, score, tier AS reason, model_version FROM (
        SELECT s.contact_id, s.score, s.tier, s.tier_since, s.model_version,
               row_number() OVER (ORDER BY s.score DESC, s.probability DESC, s.contact_id) AS position,
               count(*) OVER () AS everyone
        FROM scores s JOIN contacts c ON c.id = s.contact_id AND c.status = 'active' WHERE s.model = :model
    ) AS ranked
    WHERE (CAST(:min_score AS float8) IS NULL OR score >= :min_score)
        AND (CAST(:top_fraction AS numeric) IS NULL OR position <= ceil(CAST(:top_fraction AS numeric) * everyone))
        AND (CAST(:tiers AS text[]) = '{}' OR tier = ANY (CAST(:tiers AS text[])))
        AND (CAST(:entered_from AS timestamptz) IS NULL OR tier_since >= :entered_from)
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
    days = definition.get("tier_entered_within_days")
    values = {
        "model": definition["model"],
        "min_score": definition.get("min_score"),
        "top_fraction": definition.get("top_fraction"),
        "tiers": definition.get("tiers", []),
        "entered_from": None if days is None else now - dt.timedelta(days=days),
    }
    _replace(session, tenant_id, segment_id, _SCORED, values, now, "(SELECT max(model_version) FROM chosen)")


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
