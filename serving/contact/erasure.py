"""Forgetting a person. The rows that belong to a contact go with it; this is about what names it elsewhere.

Of the person nothing stays but, if it opted out, the HMAC of its number. What else is kept names nobody: digests of the
keys of its events, so that a provider that repeats itself does not bring it back, and the ids of the deleted rows, by
which the warehouse forgets them as well. The published marts follow with the next publication.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable

import sqlalchemy as sa
from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy.orm import Session

from serving.conversation.service import hold_inbox
from serving.errors import Unavailable
from serving.models import Contact
from serving.prediction.service import scores_key

# Providers repeat a delivery for days; the promise is a month.
DIGESTS_KEPT = dt.timedelta(days=30)
# What follows a message's id in the key of an event about it.
_SUFFIXES = ("", ":echo", ":sent", ":delivered", ":read", ":played", ":failed", ":deleted", ":warning")
_DIGEST = "encode(sha256(convert_to({key}, 'UTF8')), 'hex')"

_FORGET_MESSAGES = sa.text(f"""
    WITH said AS (
        SELECT provider_id FROM messages WHERE contact_id = :contact
        UNION SELECT provider_id FROM outbound_messages WHERE contact_id = :contact AND provider_id IS NOT NULL
    ),
    keys AS (SELECT provider_id || suffix AS key FROM said CROSS JOIN unnest(CAST(:suffixes AS text[])) AS suffix),
    forgotten AS (DELETE FROM inbound_events AS e USING keys WHERE e.event_key = keys.key)
    INSERT INTO erased_events (tenant_id, key_digest, created_at)
    SELECT :tenant, {_DIGEST.format(key="key")}, :now FROM keys ON CONFLICT (tenant_id, key_digest) DO NOTHING
""")
# Events that became no message, or name a person beside one: searched for the number and the user ids.
_FORGET_MENTIONS = sa.text(f"""
    WITH forgotten AS (
        DELETE FROM inbound_events
        WHERE (processed_at IS NULL OR error IS NOT NULL OR kind IN ('echo', 'other'))
          AND payload::text LIKE ANY (CAST(:names AS text[]))
        RETURNING event_key
    )
    INSERT INTO erased_events (tenant_id, key_digest, created_at)
    SELECT :tenant, {_DIGEST.format(key="event_key")}, :now FROM forgotten
    ON CONFLICT (tenant_id, key_digest) DO NOTHING
""")


def hold(session: Session) -> None:
    """Waits until no event is being applied, and keeps it so until the transaction ends: one about the person that is
    under way would make it anew. Call it before anything is locked."""
    hold_inbox(session)


def forget_events(session: Session, contact: Contact, now: dt.datetime) -> None:
    """Deletes the tenant's inbound events that name the contact, those that came and those that will come again."""
    tenant = {"tenant": contact.tenant_id, "now": now}
    session.execute(_FORGET_MESSAGES, tenant | {"contact": contact.id, "suffixes": list(_SUFFIXES)})
    names = session.scalars(
        sa.text("SELECT value FROM contact_identities WHERE contact_id = :contact AND kind <> 'external'"),
        {"contact": contact.id},
    ).all()
    patterns = [_pattern(name) for name in {*names, contact.phone or ""} if name]
    if patterns:
        session.execute(_FORGET_MENTIONS, tenant | {"names": patterns})
    session.execute(sa.text("DELETE FROM erased_events WHERE created_at < :before"), {"before": now - DIGESTS_KEPT})


def forget_online(redis_url: str, tenant_id: uuid.UUID, contact_id: uuid.UUID, models: Iterable[str]) -> None:
    """Removes features and scores from the online store, and keeps a materialisation that is under way from bringing
    them back. Raises: Unavailable."""
    from feature_store.online import forget

    try:
        with Redis.from_url(redis_url, socket_timeout=5.0, socket_connect_timeout=2.0) as client:
            forget(client, tenant_id, [contact_id])
            for model in models:
                client.zrem(scores_key(tenant_id, model), str(contact_id))
    except (RedisError, OSError) as error:
        raise Unavailable("the online store cannot forget now; nothing was deleted") from error


def _pattern(name: str) -> str:
    text = name.removeprefix("+").replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{text}%"
