"""What a reply means for the sender, by rules: it may end consent, and never grants it."""

from __future__ import annotations

from serving.consent.optout import read_opt_out
from serving.consent.text import normalise, read_part

_QUESTION_STARTS = frozenset(
    [
        "what",
        "when",
        "where",
        "who",
        "why",
        "how",
        "which",
        "can",
        "could",
        "do",
        "does",
        "is",
        "are",
        "will",
        "would",
        "que",
        "cuando",
        "donde",
        "quien",
        "como",
        "cual",
        "cuanto",
        "puedo",
        "o",
        "que",
        "quando",
        "onde",
        "quem",
        "quanto",
        "quoi",
        "quand",
        "ou",
        "qui",
        "comment",
        "combien",
        "pourquoi",
        "was",
        "wann",
        "wo",
        "wer",
        "wie",
        "warum",
        "welche",
        "cosa",
        "quando",
        "dove",
        "chi",
        "come",
        "quanto",
    ]
)
_REFUSALS = (
    "no thanks", "no thank you", "not interested", "no interest", "not for me", "not now", "maybe later",
    "too expensive",
    "don t want", "do not want", "no gracias", "no me interesa", "nao obrigado", "non merci", "pas interesse",
    "nein danke", "kein interesse", "no grazie", "non mi interessa", "nie dziekuje", "net spasibo",
)  # fmt: skip
_REFUSING_ALONE = frozenset({"no", "nope", "nah", "nein", "non", "nao", "нет", "ні", "nie", "nee", "لا", "नहीं"})


def classify(text: str | None) -> str | None:
    """unsubscribe, question, not_interested or interested; None for a message without words (media, a bare emoji)."""
    if not text:
        return None
    if read_opt_out(text) is not None:
        return "unsubscribe"
    words = normalise(read_part(text))
    if not words:
        return None
    if words in _REFUSING_ALONE or any(phrase in words for phrase in _REFUSALS):
        return "not_interested"
    if any(mark in text for mark in "?？؟") or words.split(" ", 1)[0] in _QUESTION_STARTS:
        return "question"
    return "interested"
