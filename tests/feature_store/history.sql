-- Contacts 1 to 30 live at random (of a digest, so always the same); 31 to 40 are made by hand below.
CREATE FUNCTION chance(of text, below integer) RETURNS integer LANGUAGE sql IMMUTABLE AS
$$ SELECT (('x' || substr(md5(of), 1, 7))::bit(28)::integer) % below $$;
CREATE FUNCTION history_id(kind text, tenant text, number integer) RETURNS uuid LANGUAGE sql IMMUTABLE AS
$$ SELECT md5(kind || tenant || number)::uuid $$;

INSERT INTO tenants (slug, name, timezone) VALUES ('ours', 'Ours', 'America/New_York'), ('theirs', 'Theirs', 'UTC');
CREATE TEMP TABLE people AS
    SELECT t.id AS tenant_id, t.slug, n AS number, history_id('contact', t.slug, n) AS contact_id,
        history_id('conversation', t.slug, n) AS conversation_id
    FROM tenants t, generate_series(1, 40) n;

INSERT INTO contacts (tenant_id, id, name, phone, custom_data, known_at)
    SELECT tenant_id, contact_id, 'A name', '+99910' || (100000 + number),
        jsonb_build_object('age', 20 + number, 'gender', CASE number % 3 WHEN 0 THEN 'F' WHEN 1 THEN 'M' END),
        '2025-09-01 10:00Z'::timestamptz + number * interval '1 hour'
    FROM people;
INSERT INTO conversations (tenant_id, id, contact_id, started_at, last_message_at)
    SELECT tenant_id, conversation_id, contact_id, '2025-09-02Z', '2026-05-01Z' FROM people;
INSERT INTO campaigns (tenant_id, id, name, message_template, attributes, conversion_event, attribution_seconds, known_at)
    SELECT id, history_id('campaign', slug, n), 'Campaign ' || n, 'Hello', jsonb_build_object('offer_type', 'discount'),
        CASE n WHEN 1 THEN 'order' ELSE 'redemption' END, 5 * 86400, '2025-09-01Z'
    FROM tenants, generate_series(1, 2) n;

-- One in five events becomes known up to twenty days late.
CREATE FUNCTION learnt(of text, at timestamptz) RETURNS timestamptz LANGUAGE sql IMMUTABLE AS
$$ SELECT at + CASE WHEN chance('late' || of, 5) = 0 THEN chance('by' || of, 20 * 86400) ELSE 2 END * interval '1 second' $$;

CREATE TEMP TABLE sends AS
    SELECT p.*, k, slug || number || '-' || k AS key, md5('send' || slug || number || '-' || k)::uuid AS id,
        '2025-10-01Z'::timestamptz + chance('sent' || slug || number || '-' || k, 120 * 86400) * interval '1 second' AS at
    FROM people p, generate_series(1, 14) k WHERE number <= 30;
INSERT INTO messages (tenant_id, id, contact_id, conversation_id, campaign_id, direction, text, status, timestamp,
        provider_id, known_at)
    SELECT tenant_id, id, contact_id, conversation_id,
        CASE k % 3 WHEN 0 THEN NULL ELSE history_id('campaign', slug, k % 3) END, 'outbound', 'Hello', 'read', at,
        'wamid.' || key, learnt(key, at)
    FROM sends;
INSERT INTO message_status_events (tenant_id, message_id, status, occurred_at, known_at)
    SELECT tenant_id, id, 'delivered', at + interval '70 seconds', greatest(learnt(key, at), learnt('d' || key, at))
    FROM sends;
INSERT INTO message_status_events (tenant_id, message_id, status, occurred_at, known_at)
    SELECT tenant_id, id, 'read', read_at, greatest(learnt(key, at), learnt('r' || key, read_at))
    FROM (SELECT *, at + (60 + chance('read' || key, 3 * 86400)) * interval '1 second' AS read_at FROM sends) s
    WHERE chance('reads' || key, 3) > 0;

CREATE TEMP TABLE inbound AS
    SELECT s.*, md5('inbound' || key)::uuid AS inbound_id, at + (100 + chance('answer' || key, 86400)) * interval '1 second' AS inbound_at
    FROM sends s WHERE chance('answers' || key, 4) = 0;
INSERT INTO messages (tenant_id, id, contact_id, conversation_id, direction, text, status, timestamp, provider_id, known_at)
    SELECT tenant_id, inbound_id, contact_id, conversation_id, 'inbound', repeat('x', 1 + chance('length' || key, 30)),
        'delivered', inbound_at, 'wamid.in.' || key, learnt('i' || key, inbound_at)
    FROM inbound;
INSERT INTO replies (tenant_id, message_id, contact_id, in_reply_to_id, text, timestamp, known_at)
    SELECT tenant_id, inbound_id, contact_id, id, repeat('x', 1 + chance('length' || key, 30)), inbound_at,
        learnt('i' || key, inbound_at)
    FROM inbound WHERE chance('quotes' || key, 2) = 0;
INSERT INTO orders (tenant_id, contact_id, external_id, platform, status, total_cents, ordered_at, known_at)
    SELECT tenant_id, contact_id, key, 'shop', CASE chance('cancel' || key, 4) WHEN 0 THEN 'cancelled' ELSE 'delivered' END,
        500 + chance('cents' || key, 9000), ordered_at, learnt('o' || key, ordered_at)
    FROM (SELECT *, at + chance('order' || key, 9 * 86400) * interval '1 second' AS ordered_at FROM sends) s
    WHERE chance('orders' || key, 4) = 0;
INSERT INTO conversions (tenant_id, contact_id, campaign_id, external_id, value_cents, occurred_at, known_at)
    SELECT tenant_id, contact_id, history_id('campaign', slug, 2), key, 100, redeemed_at, learnt('c' || key, redeemed_at)
    FROM (SELECT *, at + chance('redeem' || key, 6 * 86400) * interval '1 second' AS redeemed_at FROM sends) s
    WHERE k % 3 = 2 AND chance('redeems' || key, 2) = 0;

-- By hand, for ours. 31: two campaign sends; the order belongs to the later one; it opts out of nothing.
CREATE FUNCTION by_hand(number integer, campaign integer, at timestamptz, key text) RETURNS void LANGUAGE sql AS $$
    INSERT INTO messages (tenant_id, id, contact_id, conversation_id, campaign_id, direction, text, status, timestamp,
            provider_id, known_at)
        SELECT id, md5(key)::uuid, history_id('contact', 'ours', number), history_id('conversation', 'ours', number),
            history_id('campaign', 'ours', campaign), 'outbound', 'Hello', 'sent', at, key, at
        FROM tenants WHERE slug = 'ours' $$;
SELECT by_hand(31, 1, '2026-01-01 09:00Z', 'hand-1'), by_hand(31, 1, '2026-01-03 09:00Z', 'hand-2');
INSERT INTO orders (tenant_id, contact_id, external_id, platform, status, total_cents, ordered_at, known_at)
    SELECT id, history_id('contact', 'ours', 31), 'hand', 'shop', 'delivered', 2500, '2026-01-04 12:00Z', '2026-01-04 12:00Z'
    FROM tenants WHERE slug = 'ours';
INSERT INTO message_status_events (tenant_id, message_id, status, occurred_at, known_at)
    SELECT id, md5('hand-1')::uuid, 'read', '2026-01-01 10:00Z', '2026-01-02 23:59:59Z' FROM tenants WHERE slug = 'ours';
-- 32: redeems the offer of campaign 2 outside its five days: no conversion.
SELECT by_hand(32, 2, '2026-01-01 09:00Z', 'hand-3');
INSERT INTO conversions (tenant_id, contact_id, campaign_id, external_id, value_cents, occurred_at, known_at)
    SELECT id, history_id('contact', 'ours', 32), history_id('campaign', 'ours', 2), 'hand', 100, '2026-01-06 09:00:01Z',
        '2026-01-06 09:00:01Z' FROM tenants WHERE slug = 'ours';
-- 33: its facts were written five days after it was known, before the first ingest.
UPDATE contacts SET custom_data = '{"age": 99}', known_at = '2026-01-01Z'
    WHERE id = history_id('contact', 'ours', 33);
ALTER TABLE contacts DISABLE TRIGGER mark_changed;
UPDATE contacts SET created_at = '2026-01-01Z', updated_at = '2026-01-06Z' WHERE id = history_id('contact', 'ours', 33);
ALTER TABLE contacts ENABLE TRIGGER mark_changed;
-- 34 to 37: a campaign with a control group of two: one treated person orders, one held out does.
INSERT INTO decisions (tenant_id, campaign_id, contact_id, stage, outcome, reason, policy_version, decided_at)
    SELECT t.id, history_id('campaign', 'ours', 1), history_id('contact', 'ours', n), 'plan',
        CASE WHEN n <= 35 THEN 'send' ELSE 'hold_out' END, 'assigned', '1', '2026-02-01Z'
    FROM tenants t, generate_series(34, 37) n WHERE slug = 'ours';
INSERT INTO orders (tenant_id, contact_id, external_id, platform, status, total_cents, ordered_at, known_at)
    SELECT t.id, history_id('contact', 'ours', n), 'group-' || n, 'shop', 'delivered', n * 100, at, at
    FROM tenants t, (VALUES (34, '2026-02-02Z'::timestamptz), (36, '2026-02-03Z'), (37, '2026-02-06 00:00:01Z')) v (n, at)
    WHERE slug = 'ours';
