"""What people and the shop write, by language and intent."""

from random import Random

PEOPLE: dict[str, dict[str, tuple[str, ...]]] = {
    "en": {
        "interested": (
            "Yes please, I'd love that", "Sounds good, count me in", "I want one!", "Great offer, how do I order?",
            "Perfect timing, I was just running out", "Ok I'm interested", "Can you keep two of them for me?",
            "Nice, I'll take it", "Yes 👍", "Put me down for this week's {category}",
        ),
        "question": (
            "Do you deliver on Saturdays?", "How much is it with shipping?", "Is the {category} still available?",
            "Until when does this run?", "Can I pick it up at the shop?", "Does it come in a bigger pack?",
            "Which one would you recommend for a gift?", "Are you open today?", "Where is my order?",
            "Hi, do you have something without sugar?",
        ),
        "not_interested": (
            "Not for me, thanks", "No thank you", "Maybe another time", "Too expensive for me right now",
            "I don't drink {category}", "I still have plenty", "Not interested", "Nope",
        ),
        "thanks": ("Thanks!", "Great, thank you", "Perfect 🙏", "Ok, got it", "👍", "Thanks for the quick answer"),
        "greeting": ("Hi, I saw your shop today. What do you sell?", "Hello! Do you have a list of your products?"),
    },
    "es": {
        "interested": ("Sí, me interesa", "Me lo quedo", "¡Quiero uno!", "Perfecto, ¿cómo lo pido?"),
        "question": ("¿Cuánto cuesta con envío?", "¿Todavía queda {category}?", "¿Hasta cuándo dura?", "¿Abrís hoy?"),
        "not_interested": ("No, gracias", "No me interesa", "Quizás otro día", "Es muy caro para mí"),
        "thanks": ("¡Gracias!", "Perfecto, gracias", "Vale 👍"),
        "greeting": ("Hola, ¿qué vendéis?", "Buenas, ¿tenéis catálogo?"),
    },
    "de": {
        "interested": ("Ja, gerne", "Klingt gut, ich nehme eins", "Super Angebot, wie bestelle ich?", "Bin dabei"),
        "question": ("Was kostet der Versand?", "Habt ihr heute offen?", "Wie lange gilt das?", "Geht Abholung?"),
        "not_interested": ("Nein danke", "Kein Interesse", "Vielleicht ein andermal", "Mir gerade zu teuer"),
        "thanks": ("Danke!", "Super, vielen Dank", "Alles klar 👍"),
        "greeting": ("Hallo, was verkauft ihr denn?", "Guten Tag, habt ihr eine Preisliste?"),
    },
    "fr": {
        "interested": ("Oui, ça m'intéresse", "Je le prends", "Super, comment je commande ?", "Avec plaisir"),
        "question": ("C'est combien avec la livraison ?", "Vous êtes ouverts aujourd'hui ?", "Jusqu'à quand ?"),
        "not_interested": ("Non merci", "Pas intéressé", "Une autre fois peut-être", "Trop cher pour moi"),
        "thanks": ("Merci !", "Parfait, merci beaucoup", "D'accord 👍"),
        "greeting": ("Bonjour, que vendez-vous ?", "Bonjour, vous avez un catalogue ?"),
    },
    "pt": {
        "interested": ("Sim, quero", "Tenho interesse", "Ótimo, como faço o pedido?", "Pode reservar um para mim"),
        "question": ("Quanto fica com a entrega?", "Ainda tem {category}?", "Até quando vale?", "Vocês abrem hoje?"),
        "not_interested": ("Não, obrigado", "Não tenho interesse", "Talvez outro dia", "Está caro para mim"),
        "thanks": ("Obrigada!", "Perfeito, obrigado", "Certo 👍"),
        "greeting": ("Olá, o que vocês vendem?", "Oi, vocês têm um catálogo?"),
    },
}  # fmt: skip
STOP_WORDS = {
    "en": ("STOP", "Stop", "stop please", "Unsubscribe"),
    "es": ("BAJA", "STOP"),
    "de": ("STOP", "Abmelden"),
    "fr": ("STOP", "ARRET"),
    "pt": ("SAIR", "PARAR"),
}
JOIN_WORDS = ("JOIN", "JOIN", "Join", "join")
WELCOME = "Welcome to our list! We write about once a week. Reply STOP at any time to leave."
STOPPED = "You will not get offers from us any more. Reply JOIN to come back."
ORDERED = "Thank you, we have your order and will tell you when it ships."
ANSWERS = (
    "Thanks for asking! Yes, and we deliver within two days.",
    "Of course. We are open from 9 to 18, Monday to Saturday.",
    "Shipping is 3.90 and free from 40 on. Shall we put one aside for you?",
    "Good to hear from you! Just send us your cart and we take it from there.",
)


def say(language: str, intent: str, category: str | None, rng: Random) -> str:
    """A phrase for the intent, in the person's language."""
    phrase = rng.choice(PEOPLE.get(language, PEOPLE["en"])[intent])
    return phrase.replace("{category}", category or "coffee")


def stop_word(language: str, rng: Random) -> str:
    return rng.choice(STOP_WORDS.get(language, STOP_WORDS["en"]))
