"""The SQL of the send path. Locks are taken in the order outbound messages, consents, campaigns, conversations,
messages;
within a table by contact, as the inbox does."""

from __future__ import annotations

START_SCHEDULED = """
    UPDATE campaigns SET status = 'running', status_reason = NULL WHERE status = 'scheduled' AND start_date <= :now
"""
NUMBERS_DUE = """
    SELECT DISTINCT o.phone_number_id FROM outbound_messages AS o LEFT JOIN campaigns AS c ON c.id = o.campaign_id
    WHERE o.state = 'queued' AND o.due_at <= :now AND (o.campaign_id IS NULL OR c.status NOT IN ('draft', 'scheduled',
        'paused'))
"""
CLAIM = """
    UPDATE outbound_messages AS o SET state = 'sending', attempt = attempt + 1, lease_until = :lease_until
    FROM (
        SELECT q.id FROM outbound_messages AS q LEFT JOIN campaigns AS c ON c.id = q.campaign_id
        WHERE q.state = 'queued' AND q.due_at <= :now AND q.phone_number_id = :number_id
          AND (q.campaign_id IS NULL OR c.status NOT IN ('draft', 'scheduled', 'paused'))
        ORDER BY q.due_at, q.id LIMIT :limit FOR UPDATE OF q SKIP LOCKED
    ) AS due
    WHERE o.id = due.id RETURNING o.id, o.attempt
"""
# A lease that ended while nobody holds the row: the worker died between its claim and its record of the result.
ENDED_LEASES = """
    UPDATE outbound_messages AS o SET state = :state, reason = :reason, lease_until = NULL, due_at = :now
    FROM (
        SELECT id FROM outbound_messages WHERE state = 'sending' AND lease_until < :now AND phone_number_id = :number_id
        ORDER BY contact_id FOR UPDATE SKIP LOCKED
    ) AS ended
    WHERE o.id = ended.id RETURNING o.id, o.attempt
"""
NUMBERS_WITH_ENDED_LEASES = """
    SELECT DISTINCT phone_number_id FROM outbound_messages WHERE state = 'sending' AND lease_until < :now
"""
# Only what is still ours: another worker's claim has another attempt, and a lease that ended is not ours any more.
LOCK = """
    SELECT o.id FROM outbound_messages AS o
    JOIN unnest(CAST(:ids AS uuid[]), CAST(:attempts AS integer[])) AS mine (id, attempt)
        ON mine.id = o.id AND mine.attempt = o.attempt
    WHERE o.state = 'sending' AND o.lease_until > :now ORDER BY o.contact_id FOR UPDATE OF o
"""
SHARE_CONSENTS = """
    SELECT held.contact_id FROM consents AS held
    WHERE held.contact_id IN (SELECT contact_id FROM outbound_messages WHERE id = ANY(:ids))
    ORDER BY held.contact_id, held.purpose FOR SHARE
"""
SHARE_CAMPAIGNS = """
    SELECT id FROM campaigns WHERE id IN (SELECT campaign_id FROM outbound_messages WHERE id = ANY(:ids))
    ORDER BY id FOR SHARE
"""
FACTS = """
    SELECT o.id, o.contact_id, o.campaign_id, o.purpose, o.payload, o.attempt, o.lease_until, c.phone,
           c.status AS contact_status, c.timezone AS zone, held.status AS consent,
           (SELECT max(v.window_expires_at) FROM conversations AS v
            WHERE v.contact_id = o.contact_id AND v.phone_number_id = o.phone_number_id) AS window_expires_at,
           k.status AS campaign_status, k.end_date AS campaign_ends_at, past.marketing_7d, past.last_outbound_at,
           past.is_new_today AND o.payload ->> 'kind' = 'template' AS counts_for_tier
    FROM outbound_messages AS o JOIN contacts AS c ON c.id = o.contact_id
    LEFT JOIN consents AS held ON held.contact_id = o.contact_id AND held.purpose = o.purpose
    LEFT JOIN campaigns AS k ON k.id = o.campaign_id
    CROSS JOIN LATERAL (
        SELECT count(*) FILTER (WHERE m.campaign_id IS NOT NULL) AS marketing_7d, max(m.timestamp) AS last_outbound_at,
               count(*) FILTER (WHERE m.timestamp > CAST(:now AS timestamptz) - interval '24 hours') = 0 AS is_new_today
        FROM messages AS m WHERE m.contact_id = o.contact_id AND m.direction = 'outbound'
          AND m.timestamp > CAST(:now AS timestamptz) - interval '7 days' AND m.status <> 'failed'
    ) AS past
    WHERE o.id = ANY(:ids) ORDER BY o.due_at, o.id
"""
PEOPLE_TODAY = """
    SELECT count(DISTINCT contact_id) FROM messages
    WHERE direction = 'outbound' AND timestamp > CAST(:now AS timestamptz) - interval '24 hours'
"""
RECORD = """
    UPDATE outbound_messages AS o SET state = r.state, reason = r.reason, due_at = coalesce(r.due_at, o.due_at),
        provider_id = r.provider_id, accepted_at = r.accepted_at, lease_until = NULL
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r (
        id uuid, state text, reason text, due_at timestamptz, provider_id text, accepted_at timestamptz)
    WHERE o.id = r.id
"""
ATTEMPTS = """
    INSERT INTO send_attempts (tenant_id, outbound_message_id, attempt, started_at, finished_at, outcome, provider_id,
                               error_code, error_detail)
    SELECT CAST(:tenant_id AS uuid), id, attempt, started_at, finished_at, outcome, provider_id, error_code,
        error_detail
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r (
        id uuid, attempt integer, started_at timestamptz, finished_at timestamptz, outcome text, provider_id text,
        error_code integer, error_detail text)
"""
DECISIONS = """
    INSERT INTO decisions (tenant_id, campaign_id, contact_id, outbound_message_id, stage, outcome, reason,
        policy_version,
                           decided_at)
    SELECT CAST(:tenant_id AS uuid), campaign_id, contact_id, id, 'gate', outcome, reason, :policy, :now
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r (
        id uuid, campaign_id uuid, contact_id uuid, outcome text, reason text)
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
    UPDATE campaigns AS c SET status = 'completed', status_reason = NULL
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
