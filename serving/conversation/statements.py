"""The SQL that applies a batch. Each statement works on all rows at once and gives the same end whatever order they
came in.

Locks are taken in one order everywhere, here and on the send path: contacts, consents, outbound messages,
conversations,
messages; within a table by contact.
"""

from __future__ import annotations

STAGING = """
    CREATE TEMP TABLE IF NOT EXISTS in_people (
        ref integer, phone text, user_id text, name text, known_at timestamptz, wrote boolean, last_at timestamptz,
        contact_id uuid,
        is_new boolean NOT NULL DEFAULT false) ON COMMIT DELETE ROWS;
    CREATE TEMP TABLE IF NOT EXISTS in_messages (
        id uuid NOT NULL DEFAULT uuidv7(), person integer, provider_number_id text, provider_id text, direction text,
        kind text, text text, reply_to text, media_id text, occurred_at timestamptz, known_at timestamptz,
        contact_id uuid, number_id uuid, conversation_id uuid) ON COMMIT DELETE ROWS;
    CREATE TEMP TABLE IF NOT EXISTS in_statuses (
        event_id uuid, provider_id text, callback_id uuid, campaign_id uuid, status text, occurred_at timestamptz,
        known_at timestamptz, error_code integer, message_id uuid) ON COMMIT DELETE ROWS;
    CREATE TEMP TABLE IF NOT EXISTS in_orders (
        provider_id text, position integer, name text, quantity integer, price_cents bigint, currency text
        ) ON COMMIT DELETE ROWS;
    CREATE TEMP TABLE IF NOT EXISTS in_touched (contact_id uuid, since timestamptz,
    until timestamptz) ON COMMIT DELETE ROWS;
    CREATE TEMP TABLE IF NOT EXISTS in_written (
        id uuid, contact_id uuid, text text, timestamp timestamptz, known_at timestamptz, reply_to_provider_id text,
        provider_id text) ON COMMIT DELETE ROWS;
"""

# ---- people ---------------------------------------------------------------------------------------------------------

# A contact is found by its number. By another name only where it has no number or the event tells none: what is said
# from one number is no word of another's.
KNOWN_PEOPLE = (
    """UPDATE in_people AS p SET contact_id = c.id FROM contacts AS c WHERE c.phone = p.phone""",
    """UPDATE in_people AS p SET contact_id = i.contact_id
       FROM contact_identities AS i JOIN contacts AS c ON c.id = i.contact_id
       WHERE p.contact_id IS NULL AND i.kind = 'phone' AND i.value = p.phone AND c.phone IS NULL""",
    """UPDATE in_people AS p SET contact_id = i.contact_id
       FROM contact_identities AS i JOIN contacts AS c ON c.id = i.contact_id
       WHERE p.contact_id IS NULL AND i.kind = 'whatsapp_user_id' AND i.value = p.user_id
         AND (p.phone IS NULL OR c.phone IS NULL)""",
    """UPDATE contacts AS c SET phone = p.phone FROM in_people AS p
       WHERE c.id = p.contact_id AND c.phone IS NULL AND p.phone IS NOT NULL
         AND NOT EXISTS (SELECT FROM contacts AS other WHERE other.phone = p.phone)""",
    """UPDATE in_people SET contact_id = gen_random_uuid(), is_new = true WHERE contact_id IS NULL""",
)
NEW_PEOPLE = """
    INSERT INTO contacts (tenant_id, id, phone, name, source, known_at)
    SELECT CAST(:tenant_id AS uuid), contact_id, phone, name, 'whatsapp', known_at FROM in_people WHERE is_new
    ORDER BY phone
    ON CONFLICT (tenant_id, phone) WHERE phone IS NOT NULL DO NOTHING
"""
# Somebody else may have added the same person meanwhile; two entries of one batch may be the same person.
SETTLED_PEOPLE = """
    UPDATE in_people AS p SET contact_id = c.id FROM contacts AS c WHERE p.is_new AND c.phone = p.phone AND c.id <>
        p.contact_id
"""
IDENTITIES = """
    INSERT INTO contact_identities (tenant_id, contact_id, kind, value)
    SELECT DISTINCT ON (kind, value) CAST(:tenant_id AS uuid), contact_id, kind, value
    FROM in_people, LATERAL (VALUES ('phone', phone), ('whatsapp_user_id', user_id)) AS named (kind, value)
    WHERE value IS NOT NULL
      AND NOT EXISTS (SELECT FROM contact_identities AS i WHERE i.kind = named.kind AND i.value = named.value)
    ORDER BY kind, value, last_at, ref
    ON CONFLICT (tenant_id, kind, value) DO NOTHING
"""
# A person who writes from another number than before is known there from now on; answers with who had its name.
MOVED_PEOPLE = """
    WITH latest AS (
        SELECT DISTINCT ON (user_id) user_id, contact_id, last_at FROM in_people
        WHERE user_id IS NOT NULL AND phone IS NOT NULL AND last_at IS NOT NULL ORDER BY user_id, last_at DESC, ref
    ), moved AS (
        SELECT i.id, i.contact_id AS left_id, latest.contact_id, i.value AS user_id
        FROM latest JOIN contact_identities AS i ON i.kind = 'whatsapp_user_id' AND i.value = latest.user_id
        WHERE i.contact_id <> latest.contact_id AND NOT EXISTS (
            SELECT FROM messages AS m
            WHERE m.contact_id = i.contact_id AND m.direction = 'inbound' AND m.timestamp > latest.last_at)
    ), renamed AS (
        UPDATE contact_identities AS i SET contact_id = moved.contact_id FROM moved WHERE i.id = moved.id
    )
    SELECT DISTINCT left_id, user_id FROM moved
"""
REFRESH_PEOPLE = """
    UPDATE contacts AS c SET name = coalesce(c.name, p.name), known_at = p.known_at,
        status = CASE WHEN p.wrote AND c.status = 'unreachable' THEN 'active' ELSE c.status END
    FROM (SELECT contact_id, min(p.name) AS name, bool_or(wrote) AS wrote,
                 least(min(p.known_at), min(old.known_at)) AS known_at
          FROM in_people AS p JOIN contacts AS old ON old.id = p.contact_id GROUP BY contact_id) AS p
    WHERE c.id = p.contact_id AND ((c.name IS NULL AND p.name IS NOT NULL) OR c.known_at > p.known_at
        OR (p.wrote AND c.status = 'unreachable'))
"""

# ---- messages -------------------------------------------------------------------------------------------------------

PLACE_MESSAGES = """
    UPDATE in_messages AS m SET contact_id = p.contact_id,
        number_id = (SELECT n.id FROM phone_numbers AS n WHERE n.provider_number_id = m.provider_number_id)
    FROM in_people AS p WHERE p.ref = m.person
"""
CONVERSATIONS = """
    INSERT INTO conversations AS held (tenant_id, contact_id, phone_number_id, started_at, last_message_at,
        window_expires_at)
    SELECT CAST(:tenant_id AS uuid), contact_id, number_id, min(occurred_at), max(occurred_at),
           max(occurred_at) FILTER (WHERE direction = 'inbound' AND kind <> 'system') + interval '24 hours'
    FROM in_messages GROUP BY contact_id, number_id ORDER BY contact_id, number_id
    ON CONFLICT (tenant_id, contact_id, phone_number_id) DO UPDATE SET
        started_at = least(held.started_at, excluded.started_at),
        last_message_at = greatest(held.last_message_at, excluded.last_message_at),
        window_expires_at = greatest(held.window_expires_at, excluded.window_expires_at),
        status = CASE WHEN excluded.window_expires_at IS NOT NULL THEN 'open' ELSE held.status END
"""
JOIN_CONVERSATIONS = """
    UPDATE in_messages AS m SET conversation_id = c.id FROM conversations AS c
    WHERE c.contact_id = m.contact_id AND c.phone_number_id IS NOT DISTINCT FROM m.number_id
"""
# A status that came in the same batch is folded into the insert: one write instead of two.
MESSAGES = """
    INSERT INTO messages (tenant_id, id, contact_id, conversation_id, campaign_id, direction, kind, text, status,
        timestamp,
                          provider_id, reply_to_provider_id, media_url, error_code, known_at)
    SELECT CAST(:tenant_id AS uuid), m.id, m.contact_id, m.conversation_id, c.id, m.direction, m.kind, m.text,
           CASE WHEN m.direction = 'inbound' THEN 'delivered' ELSE coalesce(s.status, 'sent') END, m.occurred_at,
           m.provider_id, m.reply_to, m.media_id, s.error_code, m.known_at
    FROM in_messages AS m
    LEFT JOIN (
        SELECT provider_id, (ARRAY['sent', 'failed', 'delivered', 'read'])[
                   max(array_position(ARRAY['sent', 'failed', 'delivered', 'read'], status))] AS status,
               max(error_code) AS error_code, (array_agg(campaign_id ORDER BY campaign_id))[1] AS campaign_id
        FROM in_statuses GROUP BY provider_id) AS s ON s.provider_id = m.provider_id AND m.direction = 'outbound'
    LEFT JOIN campaigns AS c ON c.id = s.campaign_id
    ON CONFLICT (tenant_id, provider_id) DO NOTHING
"""
EDIT_MESSAGE = "UPDATE messages SET text = :text WHERE provider_id = :provider_id AND direction = 'outbound'"
ORDERS = """
    WITH carts AS (
        SELECT provider_id, sum(quantity * price_cents) AS total_cents, min(currency) AS currency
        FROM in_orders GROUP BY provider_id
    ), placed AS (
        INSERT INTO orders (tenant_id, contact_id, external_id, platform, total_cents, currency, ordered_at, known_at)
        SELECT CAST(:tenant_id AS uuid), m.contact_id, m.provider_id, 'whatsapp', total_cents, currency,
            m.occurred_at, m.known_at
        FROM carts JOIN in_messages AS m USING (provider_id)
        ON CONFLICT (tenant_id, platform, external_id) DO NOTHING RETURNING id, external_id
    )
    INSERT INTO order_items (tenant_id, order_id, name, quantity, price_cents)
    SELECT CAST(:tenant_id AS uuid), placed.id, o.name, o.quantity, o.price_cents
    FROM placed JOIN in_orders AS o ON o.provider_id = placed.external_id ORDER BY placed.id, o.position
"""

# ---- statuses -------------------------------------------------------------------------------------------------------

MATCH_STATUSES = """
    UPDATE in_statuses AS s SET message_id = m.id FROM messages AS m
    WHERE s.message_id IS NULL AND m.provider_id = s.provider_id AND m.direction = 'outbound'
"""
# Our own send whose answer was lost: the status names our id. Rows a send holds at this moment are left for later.
SETTLE_SENDS = """
    WITH named AS (
        SELECT o.id, min(s.provider_id) AS provider_id, min(s.occurred_at) AS occurred_at, min(s.known_at) AS known_at
        FROM in_statuses AS s JOIN outbound_messages AS o ON o.id = s.callback_id
        WHERE s.message_id IS NULL AND o.state IN ('sending', 'unknown') AND (o.state = 'unknown' OR o.lease_until <
            :now)
        GROUP BY o.id
    ), locked AS (
        SELECT o.id, o.contact_id, o.campaign_id, o.phone_number_id, o.payload, named.provider_id, named.occurred_at,
               named.known_at
        FROM outbound_messages AS o JOIN named ON named.id = o.id
        WHERE o.state IN ('sending', 'unknown') ORDER BY o.contact_id FOR UPDATE OF o SKIP LOCKED
    ), settled AS (
        UPDATE outbound_messages AS o SET state = 'accepted', provider_id = locked.provider_id, reason = NULL,
            lease_until = NULL, accepted_at = coalesce(o.accepted_at, locked.occurred_at)
        FROM locked WHERE o.id = locked.id RETURNING o.id
    ), talks AS (
        INSERT INTO conversations AS held (tenant_id, contact_id, phone_number_id, started_at, last_message_at)
        SELECT CAST(:tenant_id AS uuid), contact_id, phone_number_id, min(occurred_at), max(occurred_at)
        FROM locked GROUP BY contact_id, phone_number_id ORDER BY contact_id
        ON CONFLICT (tenant_id, contact_id, phone_number_id)
        DO UPDATE SET last_message_at = greatest(held.last_message_at, excluded.last_message_at)
        RETURNING id, contact_id, phone_number_id
    )
    INSERT INTO messages (tenant_id, id, contact_id, conversation_id, campaign_id, direction, kind, text, status,
        timestamp,
                          provider_id, template_name, known_at)
    SELECT CAST(:tenant_id AS uuid), locked.id, locked.contact_id, talks.id, locked.campaign_id, 'outbound',
           locked.payload ->> 'kind', locked.payload ->> 'text', 'sent', locked.occurred_at, locked.provider_id,
           locked.payload ->> 'template_name', locked.known_at
    FROM locked JOIN talks USING (contact_id, phone_number_id)
    ON CONFLICT (tenant_id, provider_id) DO NOTHING
"""
STATUS_EVENTS = """
    INSERT INTO message_status_events (tenant_id, message_id, status, occurred_at, error_code, known_at)
    SELECT DISTINCT ON (message_id, status) CAST(:tenant_id AS uuid), message_id, status, occurred_at, error_code,
        known_at
    FROM in_statuses WHERE message_id IS NOT NULL ORDER BY message_id, status, occurred_at
    ON CONFLICT (tenant_id, message_id, status) DO NOTHING
"""
# pending < sent < failed < delivered < read: a later word never takes an earlier one's place, and of two that
# contradict each other the one that proves more holds.
ADVANCE_MESSAGES = """
    WITH best AS (
        SELECT s.message_id, max(array_position(ARRAY['pending', 'sent', 'failed', 'delivered', 'read'],
            s.status)) AS rank,
               max(s.error_code) AS error_code, (array_agg(c.id ORDER BY c.id) FILTER (WHERE c.id IS NOT NULL))[1] AS
                   campaign_id
        FROM in_statuses AS s LEFT JOIN campaigns AS c ON c.id = s.campaign_id
        WHERE s.message_id IS NOT NULL GROUP BY s.message_id
    )
    UPDATE messages AS m SET
        status = (ARRAY['pending', 'sent', 'failed', 'delivered', 'read'])[
            greatest(best.rank, array_position(ARRAY['pending', 'sent', 'failed', 'delivered', 'read'], m.status))],
        error_code = coalesce(m.error_code, best.error_code), campaign_id = coalesce(m.campaign_id, best.campaign_id)
    FROM best
    WHERE m.id = best.message_id AND (
        best.rank > array_position(ARRAY['pending', 'sent', 'failed', 'delivered', 'read'], m.status)
        OR (m.error_code IS NULL AND best.error_code IS NOT NULL)
        OR (m.campaign_id IS NULL AND best.campaign_id IS NOT NULL))
"""
ADVANCE_SENDS = """
    WITH best AS (
        SELECT message_id, max(array_position(ARRAY['queued', 'sending', 'unknown', 'accepted', 'sent', 'failed',
                                                    'delivered', 'read'], status)) AS rank,
                                                        max(error_code) AS error_code
        FROM in_statuses WHERE message_id IS NOT NULL AND callback_id IS NOT NULL GROUP BY message_id
    )
    UPDATE outbound_messages AS o SET
        state = (ARRAY['queued', 'sending', 'unknown', 'accepted', 'sent', 'failed', 'delivered', 'read'])[best.rank],
        reason = CASE WHEN best.rank = 6 THEN 'failed:' || coalesce(best.error_code::text, 'unsaid') ELSE o.reason END
    FROM best
    WHERE o.id = best.message_id AND o.state <> 'suppressed' AND best.rank > array_position(
        ARRAY['queued', 'sending', 'unknown', 'accepted', 'sent', 'failed', 'delivered', 'read'], o.state)
"""
# The provider says again and again that nobody is there.
UNREACHABLE = """
    UPDATE contacts AS c SET status = 'unreachable'
    WHERE c.status = 'active' AND c.id IN (
        SELECT m.contact_id FROM in_statuses AS s JOIN messages AS m ON m.id = s.message_id WHERE s.error_code = 131026
    ) AND 2 <= (SELECT count(*) FROM messages AS m WHERE m.contact_id = c.id AND m.error_code = 131026)
      AND NOT EXISTS (SELECT FROM messages AS m WHERE m.contact_id = c.id
                      AND (m.direction = 'inbound' OR m.status IN ('delivered', 'read')))
"""

# ---- replies --------------------------------------------------------------------------------------------------------

# Whom to look at again: who wrote, and whose outbound messages appeared, moved or turned out to be a campaign's.
TOUCHED = """
    INSERT INTO in_touched
    SELECT contact_id, min(since), max(since) FROM (
        SELECT contact_id, occurred_at AS since FROM in_messages
        UNION ALL
        SELECT m.contact_id, m.timestamp FROM in_statuses AS s JOIN messages AS m ON m.id = s.message_id
        WHERE m.campaign_id IS NOT NULL
    ) AS moved WHERE contact_id IS NOT NULL GROUP BY contact_id
"""
# `timestamp + interval '0'` leaves the index on contacts as the only way in: without statistics, as in the first minute
# of a tenant, PostgreSQL prefers the one on time and reads everybody's messages for each of one person's.
# In a table of its own with statistics: guessed at, these few rows make PostgreSQL read every message for them.
WRITTEN = """
    INSERT INTO in_written
    SELECT m.id, m.contact_id, m.text, m.timestamp, m.known_at, m.reply_to_provider_id, m.provider_id
    FROM in_touched AS t CROSS JOIN LATERAL (
        SELECT * FROM messages AS m WHERE m.contact_id = t.contact_id AND m.timestamp + interval '0' >= t.since
          AND m.timestamp + interval '0' <= t.until + make_interval(secs => :longest) AND m.direction = 'inbound'
          AND m.kind NOT IN ('system', 'unsupported', 'unknown', 'order', 'reaction')) AS m
"""
# An inbound message answers what it quotes; else it is the first after the contact's latest campaign message that is
# still within its attribution window. A row stays when it turns out to answer nothing: the warehouse keeps versions.
REPLIES = """
    WITH answered AS (
        SELECT w.id AS message_id, w.contact_id, w.text, w.timestamp, w.known_at,
               coalesce(quoted.id, latest.id) AS in_reply_to_id,
               CASE WHEN quoted.id IS NOT NULL THEN quoted.campaign_id ELSE latest.campaign_id END AS campaign_id
        FROM in_written AS w
        LEFT JOIN LATERAL (
            SELECT q.id, q.campaign_id FROM messages AS q
            WHERE q.provider_id = w.reply_to_provider_id AND q.direction = 'outbound' AND q.contact_id = w.contact_id
            LIMIT 1
        ) AS quoted ON true
        LEFT JOIN LATERAL (
            SELECT o.id, o.campaign_id, o.timestamp FROM messages AS o JOIN campaigns AS c ON c.id = o.campaign_id
            WHERE o.contact_id = w.contact_id AND o.timestamp + interval '0' <= w.timestamp
              AND o.timestamp + interval '0' >= w.timestamp - make_interval(secs => :longest)
              AND o.direction = 'outbound'
              AND o.timestamp >= w.timestamp - make_interval(secs => c.attribution_seconds)
            ORDER BY o.timestamp + interval '0' DESC, o.provider_id DESC LIMIT 1
        ) AS latest ON quoted.id IS NULL AND NOT EXISTS (
            SELECT FROM messages AS earlier
            WHERE earlier.contact_id = w.contact_id
              AND earlier.timestamp + interval '0' BETWEEN latest.timestamp AND w.timestamp
              AND earlier.direction = 'inbound' AND earlier.kind NOT IN ('system', 'unsupported', 'unknown', 'order',
              'reaction')
              AND (earlier.timestamp, earlier.provider_id) < (w.timestamp, w.provider_id))
    )
    INSERT INTO replies AS held (tenant_id, message_id, contact_id, in_reply_to_id, campaign_id, text, timestamp,
        known_at)
    SELECT CAST(:tenant_id AS uuid), message_id, contact_id, in_reply_to_id, campaign_id, text, timestamp, known_at
    FROM answered
    WHERE in_reply_to_id IS NOT NULL OR EXISTS (SELECT FROM replies AS r WHERE r.message_id = answered.message_id)
    ON CONFLICT (tenant_id, message_id) DO UPDATE
    SET in_reply_to_id = excluded.in_reply_to_id, campaign_id = excluded.campaign_id
    WHERE (held.in_reply_to_id, held.campaign_id) IS DISTINCT FROM (excluded.in_reply_to_id, excluded.campaign_id)
"""
UNCLASSIFIED = """
    SELECT r.id, r.text FROM replies AS r JOIN in_touched AS t ON t.contact_id = r.contact_id
    WHERE r.classification IS NULL AND r.text IS NOT NULL AND r.timestamp >= t.since
"""
CLASSIFY = """
    UPDATE replies AS r SET classification = said.label
    FROM unnest(CAST(:ids AS uuid[]), CAST(:labels AS text[])) AS said (id, label) WHERE r.id = said.id
"""

# ---- the inbox ------------------------------------------------------------------------------------------------------

# At most so many bytes at a time, and one event at least: a delivery that could not be read is kept whole.
CLAIM = """
    WITH due AS MATERIALIZED (
        SELECT id, provider_number_id, occurred_at, received_at, payload, attempts, pg_column_size(payload) AS bytes
        FROM inbound_events WHERE processed_at IS NULL AND attempts = 0
        ORDER BY received_at LIMIT :limit FOR UPDATE SKIP LOCKED
    )
    SELECT id, provider_number_id, occurred_at, received_at, payload, attempts
    FROM (SELECT due.*, sum(bytes) OVER (ORDER BY received_at, id) - bytes AS bytes_before FROM due) AS due
    WHERE bytes_before < :most_bytes ORDER BY received_at
"""
# Statuses that wait for their message: those that can now be applied, and those that have waited too long.
CLAIM_WAITING = """
    SELECT e.id, e.provider_number_id, e.occurred_at, e.received_at, e.payload, e.attempts FROM inbound_events AS e
    WHERE e.processed_at IS NULL AND e.attempts > 0 AND (
        e.received_at < :expired
        OR EXISTS (SELECT FROM messages AS m
                   WHERE m.provider_id = e.payload #>> '{value,statuses,0,id}' AND m.direction = 'outbound')
        OR EXISTS (SELECT FROM outbound_messages AS o
                   WHERE o.id::text = e.payload #>> '{value,statuses,0,biz_opaque_callback_data}'
                     AND (o.state = 'unknown' OR (o.state = 'sending' AND o.lease_until < :now))))
    ORDER BY e.received_at LIMIT :limit FOR UPDATE OF e SKIP LOCKED
"""
FINISH = """
    UPDATE inbound_events SET processed_at = :now, attempts = attempts + 1 WHERE id = ANY(:ids)
"""
WAIT = "UPDATE inbound_events SET attempts = attempts + 1 WHERE id = ANY(:ids)"
