"""The words that end or grant consent, compared with the whole message and never searched for inside it."""

from __future__ import annotations

from collections.abc import Collection

from serving.consent.text import joined, normalise, undisguised

# language -> words and short sentences. A message that is exactly one of them, whatever its case, accents or
# punctuation, ends marketing. Sentences that merely contain one ("please stop by") do not.
STOP_WORDS: dict[str, tuple[str, ...]] = {
    "en": (
        "stop", "stop all", "stopall", "unsubscribe", "unsubscribe me", "cancel", "end", "quit", "opt out", "optout",
        "opt-out", "remove me", "stop please", "please stop", "stop messaging me", "stop texting me",
        "no more messages",
        "do not message me", "don't message me", "leave me alone", "take me off the list",
    ),
    "es": ("parar", "alto", "baja", "darme de baja", "dar de baja", "cancelar", "detener", "no mas", "no más mensajes",
           "no me escriban mas", "no enviar", "salir"),
    "pt": ("pare", "parar", "sair", "cancelar", "descadastrar", "remover", "nao quero mais", "não enviar mais"),
    "fr": ("stop", "arret", "arrêt", "arrêter", "arretez", "désabonner", "me désabonner", "desinscription",
           "désinscrire", "plus de messages", "annuler", "arrêtez tout"),
    "de": ("stopp", "stop", "abmelden", "abbestellen", "austragen", "keine nachrichten", "keine nachrichten mehr",
           "kündigen", "beenden"),
    "it": ("stop", "basta", "ferma", "cancellami", "disiscrivimi", "annulla", "disattiva", "no grazie basta"),
    "nl": ("stop", "stoppen", "afmelden", "uitschrijven", "geen berichten meer"),
    "sv": ("stopp", "avsluta", "avregistrera", "sluta"),
    "da": ("stop", "afmeld", "frameld", "stop beskeder"),
    "no": ("stopp", "avmeld", "meld meg av", "slutt"),
    "fi": ("stop", "lopeta", "peruuta", "poista"),
    "pl": ("stop", "wypisz", "wypisz mnie", "rezygnuję", "anuluj", "koniec"),
    "cs": ("stop", "odhlásit", "odhlasit", "zrušit", "konec"),
    "hu": ("stop", "leiratkozás", "leiratkozom", "leállít"),
    "ro": ("stop", "dezabonare", "dezaboneaza", "opreste"),
    "el": ("στοπ", "σταματήστε", "διαγραφή", "διακοπή"),
    "tr": ("dur", "iptal", "iptal et", "ret", "abonelikten çık", "mesaj atma"),
    "ru": ("стоп", "отписаться", "отписка", "отпишите", "отпишите меня", "не пишите", "хватит"),
    "uk": ("стоп", "відписатися", "відписка", "відпишіть", "не пишіть"),
    "ar": ("توقف", "قف", "إيقاف", "ايقاف", "الغاء", "إلغاء", "إلغاء الاشتراك", "الغاء الاشتراك", "لا ترسل"),
    "he": ("הסר", "עצור", "הפסק", "להסיר", "הסירו אותי"),
    "fa": ("توقف", "لغو", "لغو اشتراک", "نفرستید"),
    "hi": ("रुकें", "रोकें", "बंद करो", "बंद करें", "बंद", "band karo", "mat bhejo", "roko"),
    "bn": ("বন্ধ", "বন্ধ করুন", "থামুন"),
    "ur": ("بند کرو", "بند کریں", "روکیں"),
    "id": ("berhenti", "stop", "batal", "jangan kirim lagi", "keluar"),
    "ms": ("berhenti", "henti", "batal"),
    "vi": ("dừng", "dừng lại", "huỷ", "hủy", "hủy đăng ký", "tu choi"),
    "th": ("หยุด", "ยกเลิก", "เลิก", "เลิกรับ"),
    "tl": ("itigil", "tigil", "huwag na", "tama na"),
    "sw": ("acha", "simama", "sitisha", "ondoa"),
    "zh": ("停止", "退订", "退訂", "取消", "取消订阅", "取消訂閱", "拒收", "不要再发", "td"),
    "ja": ("停止", "配信停止", "解除", "退会", "やめて", "ストップ"),
    "ko": ("중지", "수신거부", "그만", "해지", "정지", "취소"),
}  # fmt: skip

# The provider's own button under marketing templates, as its languages label it.
STOP_LABELS: dict[str, tuple[str, ...]] = {
    "en": ("stop promotions", "stop marketing", "stop offers"),
    "es": ("detener promociones", "parar promociones", "detener las promociones", "no recibir promociones"),
    "pt": ("interromper promoções", "parar promoções", "parar as promoções", "cancelar promoções"),
    "fr": ("arrêter les promotions", "arrêter les promos", "stopper les promotions", "stop promotions"),
    "de": ("werbeaktionen stoppen", "werbung stoppen", "aktionen stoppen", "keine werbung mehr", "angebote stoppen"),
    "it": ("interrompi promozioni", "interrompi le promozioni", "blocca promozioni", "stop promozioni"),
    "nl": ("promoties stoppen", "stop promoties", "aanbiedingen stoppen", "stoppen met promoties"),
    "pl": ("zatrzymaj promocje", "wyłącz promocje", "zakończ promocje", "stop promocjom"),
    "tr": ("promosyonları durdur", "tanıtımları durdur", "kampanyaları durdur"),
    "ru": ("остановить рекламу", "отключить рекламу", "отказаться от рекламы", "остановить акции", "стоп реклама"),
    "ar": ("إيقاف العروض الترويجية", "إيقاف العروض", "إيقاف الترويج", "وقف العروض الترويجية"),
    "hi": ("प्रमोशन रोकें", "प्रचार रोकें", "प्रमोशन बंद करें", "ऑफ़र रोकें"),
    "id": ("hentikan promosi", "stop promosi"), "ms": ("hentikan promosi",), "vi": ("dừng khuyến mãi",),
    "th": ("หยุดโปรโมชั่น",), "ja": ("プロモーションを停止",), "ko": ("프로모션 중지",), "zh": ("停止促销", "停止推广"),
    "he": ("הפסקת מבצעים",), "uk": ("зупинити рекламу",), "ro": ("opriți promoțiile", "opriti promotiile"),
}  # fmt: skip


_STOP: dict[str, str] = {}
for _language, _words in (*STOP_WORDS.items(), *STOP_LABELS.items()):
    for _word in _words:
        _STOP.setdefault(normalise(_word), _language)
# Longer than any entry: such a message cannot be one, and need not be normalised.
_LONGEST = max(map(len, _STOP)) + 24

DEFAULT_OPT_IN = ("JOIN", "START")


def stop_language(text: str | None) -> str | None:
    """The language of the opt-out word the whole message is, or None when it is none."""
    if not text or len(text) > _LONGEST:
        return None
    said = normalise(text)
    return _STOP.get(said) or _STOP.get(" ".join(undisguised(word) for word in joined(said.split())))


def is_opt_in(text: str | None, keywords: Collection[str] = DEFAULT_OPT_IN) -> bool:
    """Whether the whole message is one of the tenant's opt-in keywords. A STOP word never is."""
    if not text or len(text) > _LONGEST or not keywords:
        return False
    said = normalise(text)
    return said not in _STOP and any(said == normalise(keyword) for keyword in keywords)
