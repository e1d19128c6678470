"""Who of a segment is sent a campaign, who is held out to measure it by, and who must not be written to, and why."""

from __future__ import annotations

import datetime as dt
import uuid
from collections import Counter
from dataclasses import dataclass, field

import sqlalchemy as sa
from sqlalchemy.orm import Session

from serving.campaign.content import template_needs_name
from serving.consent.service import POLICY_VERSION
from serving.consent.suppression import suppressed
from serving.errors import Conflict
from serving.kit.database import TENANT
from serving.models import Campaign, PhoneNumber, Tenant
from serving.segment.service import refresh
from serving.settings import Settings, settings

DEFAULT_MODEL = "engagement"


class CampaignHasNoSegment(Conflict):
    title = "The campaign is not aimed at a segment"


class CampaignHasNoNumber(Conflict):
    title = "The tenant has no active number to send from"


class CampaignReachesNobody(Conflict):
    """`suppressed` counts the segment's people by the reason for which each is left out; `held_out` those whom the
    campaign would be measured by, were it sent to anybody."""

    title = "The campaign would reach nobody"


@dataclass(frozen=True, slots=True)
class CampaignPlan:
    """What one planning decided for the members not decided before. `eligible` = `queued` + `held_out`."""

    eligible: int = 0
    held_out: int = 0
    queued: int = 0
    suppressed: dict[str, int] = field(default_factory=dict)


_MEMBERS = sa.text("""
    CREATE TEMP TABLE IF NOT EXISTS plan_members (
        contact_id uuid PRIMARY KEY, phone text, reason text, outcome text, message_id uuid) ON COMMIT DROP
""")
_GATHER = sa.text("""
    INSERT INTO plan_members (contact_id, phone, reason)
    SELECT c.id, c.phone, CASE
        WHEN held.status = 'opted_out' THEN 'opted_out'
        WHEN c.phone IS NULL THEN 'no_phone'
        WHEN c.status <> 'active' THEN c.status
        WHEN held.status IS NULL THEN 'no_consent'
        WHEN sent.marketing_7d >= :cap THEN 'frequency_cap'
        WHEN :needs_window AND NOT EXISTS (
            SELECT FROM conversations AS v WHERE v.contact_id = c.id AND v.phone_number_id = :number_id
              AND v.window_expires_at > CAST(:now AS timestamptz) + interval '5 seconds') THEN 'window_closed'
        WHEN :needs_name AND btrim(coalesce(c.name, '')) = '' THEN 'no_name' END
    FROM segment_members AS m JOIN contacts AS c ON c.id = m.contact_id
    LEFT JOIN consents AS held ON held.contact_id = c.id AND held.purpose = 'marketing'
    LEFT JOIN (
        SELECT contact_id, count(*) AS marketing_7d FROM messages
        WHERE direction = 'outbound' AND campaign_id IS NOT NULL AND status <> 'failed'
          AND timestamp > CAST(:now AS timestamptz) - interval '7 days' GROUP BY contact_id
    ) AS sent ON sent.contact_id = c.id
    WHERE m.segment_id = :segment_id
      AND NOT EXISTS (SELECT FROM decisions AS d
                      WHERE d.campaign_id = :campaign_id AND d.contact_id = c.id AND d.stage = 'plan')
    ON CONFLICT DO NOTHING
""")
_SUPPRESS = sa.text("""
    UPDATE plan_members SET reason = 'unsubscribed'
    WHERE contact_id = ANY(:contacts) AND reason IS DISTINCT FROM 'opted_out'
""")
# The bucket is the first 32 bits of a SHA-256, so that anybody can recompute an assignment from the seed.
_ASSIGN = sa.text("""
    UPDATE plan_members SET outcome = CASE
            WHEN reason IS NOT NULL THEN 'suppress'
            WHEN ('x' || substr(encode(sha256(convert_to(
                :seed || ':' || CAST(:campaign_id AS text) || ':' || contact_id::text, 'UTF8')), 'hex'), 1, 8)
                )::bit(32)::bigint / 4294967296.0 < CAST(:holdout_rate AS double precision) THEN 'hold_out'
            ELSE 'send' END,
        message_id = gen_random_uuid()
""")
# The message to one contact c of campaign k, as the outbox keeps it.
PAYLOAD = """jsonb_strip_nulls(jsonb_build_object(
    'kind', CASE WHEN k.template_name IS NULL THEN 'text' ELSE 'template' END,
    'text', replace(replace(k.message_template, '{{name}}', coalesce(c.name, '')), '{{1}}', coalesce(c.name, '')),
    'template_name', k.template_name,
    'template_language', CASE WHEN k.template_name IS NOT NULL THEN k.template_language END,
    'template_parameters', CASE WHEN k.template_name IS NOT NULL
        AND (k.message_template LIKE '%{{name}}%' OR k.message_template LIKE '%{{1}}%')
        THEN jsonb_build_array(coalesce(c.name, '')) END))"""
_QUEUE = sa.text(f"""
    INSERT INTO outbound_messages (tenant_id, id, campaign_id, contact_id, phone_number_id, purpose, payload,
        payload_hash, due_at)
    SELECT CAST(:tenant_id AS uuid), message_id, :campaign_id, contact_id, :number_id, 'marketing', payload,
           encode(sha256(convert_to(payload::text, 'UTF8')), 'hex'), :now
    FROM (
        SELECT p.message_id, p.contact_id, {PAYLOAD} AS payload
        FROM plan_members AS p JOIN contacts AS c ON c.id = p.contact_id JOIN campaigns AS k ON k.id = :campaign_id
        WHERE p.outcome = 'send'
    ) AS addressed
    ON CONFLICT (tenant_id, campaign_id, contact_id, step) DO NOTHING
""")
_RENDER = sa.text(f"""
    UPDATE outbound_messages AS o SET payload = addressed.payload,
        payload_hash = encode(sha256(convert_to(addressed.payload::text, 'UTF8')), 'hex'),
        due_at = CASE WHEN o.reason LIKE 'stop_template:%' THEN least(o.due_at, :now) ELSE o.due_at END
    FROM (
        SELECT c.id AS contact_id, {PAYLOAD} AS payload FROM contacts AS c JOIN campaigns AS k ON k.id = :campaign_id
        WHERE c.id IN (SELECT contact_id FROM outbound_messages WHERE campaign_id = :campaign_id AND state = 'queued')
    ) AS addressed
    WHERE o.campaign_id = :campaign_id AND o.state = 'queued' AND o.contact_id = addressed.contact_id
""")
_DECIDE = sa.text("""
    INSERT INTO decisions (tenant_id, campaign_id, contact_id, outbound_message_id, stage, outcome, reason,
        policy_version,
                           feature_snapshot_id, model_name, model_version, score, assignment_probability, decided_at)
    SELECT CAST(:tenant_id AS uuid), :campaign_id, p.contact_id, CASE WHEN p.outcome = 'send' THEN p.message_id END,
        'plan',
           p.outcome, coalesce(p.reason, CASE p.outcome WHEN 'send' THEN 'eligible' ELSE 'holdout' END), :policy,
           s.feature_snapshot_id, s.model, s.model_version, s.probability,
           CASE p.outcome WHEN 'send' THEN 1 - CAST(:holdout_rate AS double precision)
                          WHEN 'hold_out' THEN CAST(:holdout_rate AS double precision) END, :now
    FROM plan_members AS p LEFT JOIN scores AS s ON s.contact_id = p.contact_id AND s.model = :model
""")


def plan_campaign(
    session: Session, campaign_id: uuid.UUID, now: dt.datetime, seed: int | str, *, configured: Settings | None = None,
    dry_run: bool = False,
) -> CampaignPlan:  # fmt: skip
    """Chooses the segment's members anew, then decides for each who has no decision yet: a row in `decisions`, and an
    outbox row, due at `now`, for those to be sent to. Planning again decides nobody twice. The same seed holds out the
    same people. With `dry_run` only counts; what else it does the caller takes back.

    Raises: CampaignHasNoSegment, CampaignHasNoNumber.
    """
    tenant_id = session.info[TENANT]
    campaign = session.get_one(Campaign, (tenant_id, campaign_id))
    if campaign.segment_id is None:
        raise CampaignHasNoSegment
    segment = refresh(session, campaign.segment_id, now)
    tenant = session.get_one(Tenant, tenant_id)
    configured = configured or settings()
    cap = int(tenant.settings.get("marketing_cap_per_7_days", configured.marketing_cap_per_7_days))
    common = {
        "campaign_id": campaign_id, "tenant_id": tenant_id, "segment_id": segment.id, "now": now, "cap": cap,
        "number_id": number_of(session, campaign).id, "policy": POLICY_VERSION, "seed": str(seed),
        "holdout_rate": campaign.holdout_rate, "model": segment.definition.get("model", DEFAULT_MODEL),
        "needs_window": campaign.template_name is None, "needs_name": template_needs_name(campaign),
    }  # fmt: skip
    session.flush()
    session.execute(sa.text("DROP TABLE IF EXISTS pg_temp.plan_members"))
    session.execute(_MEMBERS)
    session.execute(_GATHER, common)
    _suppress_unsubscribed(session, configured.phone_hmac_key.get_secret_value())
    session.execute(_ASSIGN, common)
    if not dry_run:
        session.execute(_QUEUE, common)
        session.execute(_DECIDE, common)
    counts = (
        session.execute(
            sa.text("SELECT outcome, reason, count(*) AS people FROM plan_members GROUP BY outcome, reason")
        )
        .tuples()
        .all()
    )
    people: Counter[str] = Counter()
    for outcome, _, count in counts:
        people[outcome] += count
    reasons = {reason: count for outcome, reason, count in counts if outcome == "suppress"}
    return CampaignPlan(people["send"] + people["hold_out"], people["hold_out"], people["send"], reasons)


def _suppress_unsubscribed(session: Session, phone_key: str) -> None:
    has_entries = session.scalar(sa.text("SELECT EXISTS (SELECT FROM unsubscribers)"))
    if not has_entries:
        return
    phones = session.execute(sa.text("SELECT contact_id, phone FROM plan_members WHERE phone IS NOT NULL"))
    listed = suppressed(session, phones.tuples(), phone_key)
    session.execute(_SUPPRESS, {"contacts": list(listed)})


def render_queued(session: Session, campaign_id: uuid.UUID, now: dt.datetime) -> None:
    """Writes the campaign's messages that are still queued as its text and template are now; to the same people. Those
    that the template's refusal put off are due at `now`."""
    session.flush()
    session.execute(_RENDER, {"campaign_id": campaign_id, "now": now})


def number_of(session: Session, campaign: Campaign) -> PhoneNumber:
    """The campaign's own number, else the tenant's first active one. Raises: CampaignHasNoNumber."""
    active = sa.select(PhoneNumber).where(PhoneNumber.status == "active")
    if campaign.phone_number_id is not None:
        statement = active.where(PhoneNumber.id == campaign.phone_number_id)
    else:
        statement = active.where(PhoneNumber.is_whatsapp).order_by(PhoneNumber.created_at, PhoneNumber.id).limit(1)
    number = session.scalar(statement)
    if number is None:
        raise CampaignHasNoNumber
    return number
