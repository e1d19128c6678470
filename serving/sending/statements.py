"""The SQL of the send path.

What starts a batch waits for no lock: a row that somebody else holds is left for the next batch, so the order of its
locks does not matter. What records it locks outbound messages, conversations, messages; within a table by contact, as
the inbox does."""

from __future__ import annotations

NUMBERS_DUE = """
    SELECT DISTINCT o.phone_number_id FROM outbound_messages AS o LEFT JOIN campaigns AS c ON c.id = o.campaign_id
    WHERE o.state = 'queued' AND o.due_at <= :now AND (o.campaign_id IS NULL OR c.status NOT IN ('draft', 'scheduled',
        'paused'))
"""
DUE = """
    SELECT q.id, q.contact_id, q.campaign_id
    FROM outbound_messages AS q LEFT JOIN campaigns AS c ON c.id = q.campaign_id
    WHERE q.state = 'queued' AND q.due_at <= :now AND q.phone_number_id = :number_id
      AND (q.campaign_id IS NULL OR c.status NOT IN ('draft', 'scheduled', 'paused'))
    ORDER BY q.due_at, q.id LIMIT :limit FOR NO KEY UPDATE OF q SKIP LOCKED
"""
# One batch at a time decides about a person, so that each sees what the others have marked.
FREE_CONTACTS = """
    SELECT contact_id FROM unnest(CAST(:contacts AS uuid[])) AS asked (contact_id)
    WHERE pg_try_advisory_xact_lock(:use, hashtext(contact_id::text))
"""
TIER_IS_FREE = "SELECT pg_try_advisory_xact_lock(:use, hashtext(current_setting('app.tenant_id')))"
SHARE_CONSENTS = "SELECT id FROM consents WHERE contact_id = ANY(:contacts) FOR SHARE SKIP LOCKED"
SHARE_CAMPAIGNS = "SELECT id FROM campaigns WHERE id = ANY(:campaigns) FOR SHARE SKIP LOCKED"
# What may have gone out counts as sent: for caps and paces an unanswered attempt is a message. A consent or campaign
# that could not be shared is being changed at this moment.
FACTS = """
    SELECT o.id, o.contact_id, o.campaign_id, o.purpose, o.payload, o.attempt + 1 AS attempt, c.phone,
           c.status AS contact_status, c.timezone AS zone, held.status AS consent,
           (SELECT max(v.window_expires_at) FROM conversations AS v
            WHERE v.contact_id = o.contact_id AND v.phone_number_id = o.phone_number_id) AS window_expires_at,
           k.status AS campaign_status, k.end_date AS campaign_ends_at, past.marketing_7d, past.last_outbound_at,
           past.is_new_today AND o.payload ->> 'kind' = 'template' AS counts_for_tier
    FROM outbound_messages AS o JOIN contacts AS c ON c.id = o.contact_id
    LEFT JOIN consents AS held ON held.contact_id = o.contact_id AND held.purpose = o.purpose
    LEFT JOIN campaigns AS k ON k.id = o.campaign_id
    CROSS JOIN LATERAL (
        SELECT count(*) FILTER (WHERE sent.campaign_id IS NOT NULL) AS marketing_7d, max(sent.at) AS last_outbound_at,
               count(*) FILTER (WHERE sent.at > CAST(:now AS timestamptz) - interval '24 hours') = 0 AS is_new_today
        FROM (
            SELECT m.campaign_id, m.timestamp AS at FROM messages AS m
            WHERE m.contact_id = o.contact_id AND m.direction = 'outbound' AND m.status <> 'failed'
              AND m.timestamp > CAST(:now AS timestamptz) - interval '7 days'
            UNION ALL
            SELECT u.campaign_id, a.started_at FROM outbound_messages AS u
            JOIN send_attempts AS a ON a.outbound_message_id = u.id AND a.attempt = u.attempt
            WHERE u.contact_id = o.contact_id AND u.id <> o.id AND u.state IN ('sending', 'unknown')
              AND a.started_at > CAST(:now AS timestamptz) - interval '7 days'
        ) AS sent
    ) AS past
    WHERE o.id = ANY(:ids) AND (held.id IS NULL OR held.id = ANY(:consents))
      AND (k.id IS NULL OR k.id = ANY(:campaigns))
    ORDER BY o.due_at, o.id
"""
PEOPLE_TODAY = """
    SELECT count(*) FROM (
        SELECT contact_id FROM messages
        WHERE direction = 'outbound' AND timestamp > CAST(:now AS timestamptz) - interval '24 hours'
        UNION
        SELECT u.contact_id FROM outbound_messages AS u
        JOIN send_attempts AS a ON a.outbound_message_id = u.id AND a.attempt = u.attempt
        WHERE u.state IN ('sending', 'unknown') AND a.started_at > CAST(:now AS timestamptz) - interval '24 hours'
    ) AS people
"""
# The mark: once this is committed the message may have gone out, and until then it has not.
MARK = """
    WITH marked AS (
        UPDATE outbound_messages SET state = 'sending', attempt = attempt + 1, lease_until = :lease_until
        WHERE id = ANY(:ids) RETURNING id, attempt
    )
    INSERT INTO send_attempts (tenant_id, outbound_message_id, attempt, started_at)
    SELECT CAST(:tenant_id AS uuid), id, attempt, :now FROM marked
"""
HOLD_BACK = """
    UPDATE outbound_messages AS o SET state = r.state, reason = r.reason, due_at = coalesce(r.due_at, o.due_at)
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r (id uuid, state text, reason text, due_at timestamptz)
    WHERE o.id = r.id
"""
DECISIONS = """
    INSERT INTO decisions (tenant_id, campaign_id, contact_id, outbound_message_id, stage, outcome, reason,
                           policy_version, decided_at)
    SELECT CAST(:tenant_id AS uuid), campaign_id, contact_id, id, 'gate', outcome, reason, :policy, :now
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r (
        id uuid, campaign_id uuid, contact_id uuid, outcome text, reason text)
"""
# A lease that ended: the worker died, or still waits to record what it was told.
ENDED_LEASES = """
    WITH ended AS (
        SELECT id FROM outbound_messages WHERE state = 'sending' AND lease_until < :now AND phone_number_id = :number_id
        ORDER BY contact_id FOR NO KEY UPDATE SKIP LOCKED
    ), settled AS (
        UPDATE outbound_messages AS o SET reason = 'lease_ended', lease_until = NULL, due_at = :now,
            state = CASE WHEN :may_repeat AND o.attempt < :most_attempts THEN 'queued' ELSE 'unknown' END
        FROM ended WHERE o.id = ended.id RETURNING o.id, o.attempt
    )
    UPDATE send_attempts AS a SET outcome = 'lease_ended', finished_at = :now FROM settled
    WHERE a.outbound_message_id = settled.id AND a.attempt = settled.attempt AND a.outcome IS NULL RETURNING a.id
"""
NUMBERS_WITH_ENDED_LEASES = """
    SELECT DISTINCT phone_number_id FROM outbound_messages WHERE state = 'sending' AND lease_until < :now
"""
LOCK = "SELECT id FROM outbound_messages WHERE id = ANY(:ids) ORDER BY contact_id FOR NO KEY UPDATE"
# Only what is still this attempt's: a status may have settled it, or another worker may have it.
RECORD = """
    UPDATE outbound_messages AS o SET state = r.state, reason = r.reason, due_at = coalesce(r.due_at, o.due_at),
        provider_id = r.provider_id, accepted_at = r.accepted_at, lease_until = NULL
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r (
        id uuid, attempt integer, state text, reason text, due_at timestamptz, provider_id text,
        accepted_at timestamptz)
    WHERE o.id = r.id AND o.attempt = r.attempt AND o.state IN ('sending', 'unknown') RETURNING o.id, o.state
"""
ANSWERS = """
    UPDATE send_attempts AS a SET finished_at = r.finished_at, outcome = r.outcome, provider_id = r.provider_id,
        error_code = r.error_code, error_detail = r.error_detail
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r (
        id uuid, attempt integer, finished_at timestamptz, outcome text, provider_id text, error_code integer,
        error_detail text)
    WHERE a.outbound_message_id = r.id AND a.attempt = r.attempt
"""
CONVERSATIONS = """
    INSERT INTO conversations AS held (tenant_id, contact_id, phone_number_id, started_at, last_message_at)
    SELECT CAST(:tenant_id AS uuid), contact_id, phone_number_id, min(accepted_at), max(accepted_at)
    FROM outbound_messages WHERE id = ANY(:ids) GROUP BY contact_id, phone_number_id ORDER BY contact_id,
        phone_number_id
    ON CONFLICT (tenant_id, contact_id, phone_number_id)
    DO UPDATE SET last_message_at = greatest(held.last_message_at, excluded.last_message_at)
"""
MESSAGES = """
    INSERT INTO messages (tenant_id, id, contact_id, conversation_id, campaign_id, direction, kind, text, status,
        timestamp,
                          provider_id, template_name, known_at)
    SELECT CAST(:tenant_id AS uuid), o.id, o.contact_id, v.id, o.campaign_id, 'outbound', o.payload ->> 'kind',
           o.payload ->> 'text', 'pending', o.accepted_at, o.provider_id, o.payload ->> 'template_name', o.accepted_at
    FROM outbound_messages AS o
    JOIN conversations AS v ON v.contact_id = o.contact_id AND v.phone_number_id = o.phone_number_id
    WHERE o.id = ANY(:ids)
    ON CONFLICT (tenant_id, provider_id) DO NOTHING
"""
COMPLETE_CAMPAIGNS = """
    UPDATE campaigns AS c SET status = 'completed', status_reason = (
        SELECT 'nothing was sent: ' || string_agg(reason || ' ' || messages, ', ' ORDER BY messages DESC, reason)
        FROM (SELECT coalesce(o.reason, o.state) AS reason, count(*) AS messages FROM outbound_messages AS o
              WHERE o.campaign_id = c.id GROUP BY 1) AS reasons
        WHERE NOT EXISTS (SELECT FROM outbound_messages AS o WHERE o.campaign_id = c.id AND o.provider_id IS NOT NULL))
    WHERE c.status = 'running' AND c.type = 'broadcast'
      AND EXISTS (SELECT FROM decisions AS d WHERE d.campaign_id = c.id AND d.stage = 'plan')
      AND NOT EXISTS (SELECT FROM outbound_messages AS o WHERE o.campaign_id = c.id AND o.state IN ('queued',
      'sending'))
    RETURNING c.id
"""
STOP_NUMBER = """
    UPDATE phone_numbers SET status = 'stopped', status_reason = :reason WHERE id = :number_id AND status = 'active'
"""
PAUSE_CAMPAIGNS_OF_NUMBER = """
    UPDATE campaigns SET status = 'paused', status_reason = :reason
    WHERE status = 'running' AND id IN (SELECT campaign_id FROM outbound_messages
                                        WHERE phone_number_id = :number_id AND state IN ('queued', 'sending'))
"""
PAUSE_CAMPAIGNS = """
    UPDATE campaigns SET status = 'paused', status_reason = :reason WHERE status = 'running' AND id = ANY(:ids)
"""
UNREACHABLE = """
    UPDATE contacts AS c SET status = 'unreachable'
    WHERE c.id = ANY(:contacts) AND c.status = 'active' AND 2 <= (
        SELECT count(*) FROM send_attempts AS a JOIN outbound_messages AS o ON o.id = a.outbound_message_id
        WHERE o.contact_id = c.id AND a.error_code = 131026)
"""
