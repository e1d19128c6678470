"""The one message that tells a person that marketing has ended, and how to undo a mistake."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from serving.consent.keywords import DEFAULT_OPT_IN
from serving.consent.service import ConsentChange

# {business} is the tenant's name, {keyword} the word that opts in again.
TEXTS = {
    "en": "You will get no more marketing messages from {business}. If this was a mistake, reply {keyword}.",
    "es": "No recibirás más mensajes publicitarios de {business}. Si ha sido un error, responde {keyword}.",
    "pt": "Você não vai mais receber mensagens de marketing de {business}. Se foi um engano, responda {keyword}.",
    "fr": "Vous ne recevrez plus de messages publicitaires de {business}. Si c'est une erreur, répondez {keyword}.",
    "de": "Sie erhalten keine Werbenachrichten von {business} mehr. War das ein Versehen, antworten Sie {keyword}.",
    "it": "Non riceverai più messaggi pubblicitari da {business}. Se è stato un errore, rispondi {keyword}.",
    "nl": "U krijgt geen reclameberichten meer van {business}. Was dit een vergissing, antwoord dan {keyword}.",
    "pl": "Nie otrzymasz już wiadomości reklamowych od {business}. Jeśli to pomyłka, odpowiedz {keyword}.",
    "tr": "{business} size artık tanıtım mesajı göndermeyecek. Bir yanlışlık olduysa {keyword} yazıp yanıtlayın.",
    "ru": "Вы больше не будете получать рекламных сообщений от {business}. Если это ошибка, ответьте {keyword}.",
    "ar": "لن تصلك أي رسائل تسويقية أخرى من {business}. إذا كان ذلك عن طريق الخطأ، فأرسل {keyword}.",
    "hi": "अब आपको {business} से कोई प्रचार संदेश नहीं मिलेगा। अगर यह गलती से हुआ है, तो {keyword} लिखकर भेजें।",
}
SETTING = "opt_out_confirmation"
_ABOUT = "opt_out_confirmation"
_LONGEST = 1000

# Only for an opt-out that holds, that ended something new (the event before it, if any, was no withdrawal), and for a
# person who was told nothing of the kind within a day.
_QUEUE = sa.text("""
    WITH asked AS (
        SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r (
            id uuid, contact_id uuid, event_key text, occurred_at timestamptz, provider_number_id text, payload jsonb,
            payload_hash text)
    )
    INSERT INTO outbound_messages (tenant_id, id, campaign_id, contact_id, phone_number_id, purpose, payload,
                                   payload_hash, due_at)
    SELECT DISTINCT ON (a.contact_id) CAST(:tenant_id AS uuid), a.id, NULL, a.contact_id, n.id, 'service', a.payload,
           a.payload_hash, :now
    FROM asked AS a JOIN phone_numbers AS n ON n.provider_number_id = a.provider_number_id
    JOIN consents AS held ON held.contact_id = a.contact_id AND held.purpose = 'marketing'
        AND held.status = 'opted_out'
    WHERE coalesce((SELECT e.status FROM consent_events AS e
                    WHERE e.contact_id = a.contact_id AND e.purpose = 'marketing' AND e.event_key <> a.event_key
                      AND e.occurred_at <= a.occurred_at
                    ORDER BY e.occurred_at DESC, e.status DESC LIMIT 1), 'opted_in') = 'opted_in'
      AND NOT EXISTS (SELECT FROM outbound_messages AS o
                      WHERE o.contact_id = a.contact_id AND o.purpose = 'service' AND o.payload ->> 'about' = :about
                        AND o.created_at > CAST(:now AS timestamptz) - interval '24 hours')
    ORDER BY a.contact_id, a.occurred_at
    ON CONFLICT (tenant_id, id) DO NOTHING RETURNING id
""")


def confirm_opt_outs(session: Session, tenant_id: uuid.UUID, changes: Sequence[ConsentChange], now: dt.datetime) -> int:
    """How many confirmations were queued for these recorded changes. Sentences are confirmed, and exact words and
    buttons only where the tenant's setting asks for it; each opt-out once, while its window is open."""
    recent = now - dt.timedelta(hours=24)
    asked = [
        change for change in changes
        if change.status == "opted_out" and change.proof and change.proof.get("grade") and change.occurred_at > recent
    ]  # fmt: skip
    if not asked:
        return 0
    tenant = session.execute(sa.text("SELECT name, settings FROM tenants")).one()
    settings = tenant.settings.get(SETTING)
    settings = settings if isinstance(settings, dict) else {}
    if settings.get("enabled", True) is not True:
        return 0
    grades = ("sentence", "word") if settings.get("for_words") is True else ("sentence",)
    rows = [
        _row(tenant_id, change, confirmation_text(change.language, tenant.name, tenant.settings))
        for change in asked
        if change.proof and change.proof["grade"] in grades
    ]
    if not rows:
        return 0
    parameters = {"tenant_id": tenant_id, "rows": json.dumps(rows, default=str), "now": now, "about": _ABOUT}
    return len(session.execute(_QUEUE, parameters).all())


def confirmation_text(language: str | None, business: str, settings: Mapping[str, Any]) -> str:
    """The text in `language`, else in English: the tenant's own of `settings.opt_out_confirmation.texts`, or ours."""
    own = settings.get(SETTING)
    texts = own.get("texts") if isinstance(own, dict) else None
    said: dict[str, str] = dict(TEXTS)
    said |= {key: text for key, text in (texts if isinstance(texts, dict) else {}).items() if _is_text(text)}
    keywords = settings.get("opt_in_keywords", DEFAULT_OPT_IN)
    words = [word for word in keywords if isinstance(word, str) and word] if isinstance(keywords, list | tuple) else []
    keyword = "START" if "START" in words or not words else words[0]
    text = said.get(language or "en", said["en"])
    # Braces of a tenant's own text are its own: only the two names are put in.
    return text.replace("{business}", business).replace("{keyword}", keyword)[:_LONGEST]


def _is_text(text: object) -> bool:
    return isinstance(text, str) and bool(text.strip())


def _row(tenant_id: uuid.UUID, change: ConsentChange, text: str) -> dict[str, Any]:
    proof = change.proof or {}
    # The same opt-out gives the same message, whoever applies it and however often.
    return {
        "id": uuid.uuid5(tenant_id, f"{_ABOUT}:{change.event_key}"),
        "contact_id": change.contact_id,
        "event_key": change.event_key,
        "occurred_at": change.occurred_at,
        "provider_number_id": proof.get("provider_number_id"),
        "payload": {"kind": "text", "text": text, "about": _ABOUT, "event_key": change.event_key},
        "payload_hash": uuid.uuid5(tenant_id, text).hex,
    }
