"""Forgetting a person. The rows that belong to a contact go with it; this is about what names it elsewhere.

Of the person nothing stays but, if it opted out, the HMAC of its number. What else is kept names nobody: keyed digests
of the keys of its events, so that a provider that repeats itself does not bring it back, and the ids of the deleted
rows, by which the warehouse forgets them as well (orchestration.lib.purging).
"""

from __future__ import annotations

import base64
import datetime as dt
import re
import uuid
from collections.abc import Iterable

import sqlalchemy as sa
from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy.orm import Session

from serving.conversation.service import hold_inbox
from serving.errors import Unavailable
from serving.kit import keyed_digest
from serving.models import Contact
from serving.prediction.service import scores_key

# Providers repeat a delivery for days; the promise is a month.
DIGESTS_KEPT = dt.timedelta(days=30)
# Events that were being received when the search for the others began.
OVERLAP = dt.timedelta(minutes=5)

# What is said of a message is known by the message's id, whatever the word that follows it.
_DIGEST_MESSAGES = sa.text(f"""
    INSERT INTO erased_events (tenant_id, key_digest, created_at)
    SELECT :tenant, {keyed_digest.of("provider_id")}, :now
    FROM (SELECT provider_id FROM messages WHERE contact_id = :contact
          UNION SELECT provider_id FROM outbound_messages WHERE contact_id = :contact AND provider_id IS NOT NULL
         ) AS said
    ON CONFLICT (tenant_id, key_digest) DO NOTHING
""")
_FORGET = sa.text(f"""
    WITH said AS (
        SELECT provider_id FROM messages WHERE contact_id = :contact
        UNION SELECT provider_id FROM outbound_messages WHERE contact_id = :contact AND provider_id IS NOT NULL
    ),
    forgotten AS (
        DELETE FROM inbound_events
        WHERE (processed_at IS NULL OR received_at >= :since)
          AND (event_key IN (SELECT provider_id FROM said)
               OR regexp_replace(event_key, ':[^:]*$', '') IN (SELECT provider_id FROM said)
               OR (event_key || ' ' || payload::text) ~ :names)
        RETURNING event_key
    )
    INSERT INTO erased_events (tenant_id, key_digest, created_at)
    SELECT :tenant, {keyed_digest.of("event_key")}, :now FROM forgotten
    ON CONFLICT (tenant_id, key_digest) DO NOTHING
""")


def forget_past_events(session: Session, contact: Contact, key: str, now: dt.datetime) -> None:
    """Deletes the events that name the contact, of all that the tenant ever received. Reads the whole inbox once (some
    seconds for a million events) and keeps nobody from applying other events meanwhile."""
    _forget(session, contact, key, now, since=dt.datetime(1, 1, 1, tzinfo=dt.UTC))


def hold(session: Session) -> None:
    """Waits until no event is being applied, and keeps it so until the transaction ends: one about the person that is
    under way would make it anew. Call it before a contact is locked."""
    hold_inbox(session)


def forget_events(session: Session, contact: Contact, key: str, now: dt.datetime) -> None:
    """The same of the events that came meanwhile; and from here on what comes again is not taken in."""
    _forget(session, contact, key, now, since=now - OVERLAP)
    values = {"tenant": contact.tenant_id, "contact": contact.id, "now": now}
    session.execute(_DIGEST_MESSAGES, values | keyed_digest.parameters(key))
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


def _forget(session: Session, contact: Contact, key: str, now: dt.datetime, *, since: dt.datetime) -> None:
    known = session.scalars(
        sa.text("SELECT value FROM contact_identities WHERE contact_id = :contact AND kind <> 'external'"),
        {"contact": contact.id},
    ).all()
    values = {"tenant": contact.tenant_id, "contact": contact.id, "now": now, "since": since}
    names = pattern({name for name in (*known, contact.phone) if name})
    session.execute(_FORGET, values | {"names": names} | keyed_digest.parameters(key))


def pattern(names: Iterable[str]) -> str:
    """A regular expression of PostgreSQL's that finds any of the names: a number as it is written and within the ids of
    its messages, which hold it in base64."""
    found = []
    for name in sorted(names):
        plain = name.removeprefix("+")
        edge = "[0-9]" if plain.isdigit() else "[[:alnum:]]"
        found.append(f"(?<!{edge}){re.escape(plain)}(?!{edge})")
        if plain.isdigit():
            found += [re.escape(part) for part in base64_parts(plain.encode())]
    return "|".join(found) or "^$"


def base64_parts(data: bytes) -> list[str]:
    """What every base64 text that holds the bytes contains one of: they may begin at any of three places in a group,
    and the characters at either end depend on their neighbours."""
    parts = []
    for shift in range(3):
        text = base64.b64encode(b"\0" * shift + data).decode().rstrip("=")
        end = (shift + len(data)) * 8 // 6
        parts.append(text[-(-shift * 8 // 6) : end])
    return parts
