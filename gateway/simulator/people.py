"""The people: hidden traits drawn from a seed, and the state a history leaves them in. Moments are epoch seconds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from gateway.types import PhoneNumber

DAY = 86400.0
CATEGORIES = ("coffee", "tea", "bakery", "gifts")
LANGUAGES = (("en", 0.76), ("es", 0.08), ("de", 0.06), ("fr", 0.05), ("pt", 0.05))
LEAVE_HAZARD_PER_DAY = 0.01 / 90
_FIRST = ("Ada", "Amir", "Ana", "Ben", "Carla", "Chidi", "Dana", "Elif", "Emma", "Farid", "Greta", "Hugo", "Ines",
    "Jonas", "Kofi", "Lara", "Leo", "Luca", "Maria", "Mei", "Nadia", "Noah", "Omar", "Paula", "Priya", "Rafael", "Rosa",
    "Sami", "Sara", "Sofia", "Tariq", "Tom", "Uma", "Vera", "Yara", "Zoe")  # fmt: skip
_LAST = ("Abel", "Almeida", "Bauer", "Bello", "Brandt", "Cruz", "Diaz", "Dubois", "Fischer", "Garcia", "Haddad",
    "Ito", "Jensen", "Khan", "Klein", "Kovac", "Laurent", "Lopes", "Martin", "Mensah", "Meyer", "Moreau", "Nowak",
    "Okafor", "Patel", "Peters", "Rossi", "Santos", "Silva", "Sousa", "Weber", "Wolf", "Yilmaz")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Person:
    """One person's traits. Rates are per day; `preferred_hour` is in [0, 24) UTC; `taste` is one of CATEGORIES."""

    index: int
    wa_id: str
    name: str
    language: str
    read_propensity: float
    interest: float
    taste: str
    price_sensitivity: float
    preferred_hour: float
    hour_concentration: float
    fatigue_sensitivity: float
    churn_hazard: float
    message_rate: float
    order_rate: float
    joins_by_keyword: bool
    join_position: float


@dataclass(slots=True)
class PersonState:
    """What happened to a person so far. `churned_at` and `left_at` may lie ahead: they are fate, not yet fact."""

    joined_at: float | None = None
    opted_out_at: float = math.inf
    churned_at: float = math.inf
    left_at: float = math.inf
    marketing_at: list[float] = field(default_factory=list)
    inbound_at: list[float] = field(default_factory=list)
    read_at: list[float] = field(default_factory=list)
    order_at: list[float] = field(default_factory=list)
    live_sends: int = 0

    def marketing_messages_7d(self, at: float) -> int:
        """Marketing messages received in the seven days before `at`."""
        return sum(1 for moment in self.marketing_at if at - 7 * DAY < moment < at)

    def has_recent_read(self, at: float, known_at: float | None = None) -> bool:
        """True if anything was read in the ten days before `at`, as far as `known_at` (default `at`) tells."""
        latest = at if known_at is None else known_at
        return any(at - 10 * DAY < moment <= latest for moment in self.read_at)

    def has_recent_order(self, at: float) -> bool:
        """True if an order came in the 45 days before `at`."""
        return any(at - 45 * DAY < moment <= at for moment in self.order_at)

    def has_window(self, at: float) -> bool:
        """True within 24 hours of the person's last message."""
        return any(at - DAY < moment <= at for moment in self.inbound_at)


def draw_people(count: int, seed: int) -> list[Person]:
    """`count` people, the same for the same seed; a larger count only adds people at the end."""
    return [_draw(index, seed) for index in range(count)]


def _draw(index: int, seed: int) -> Person:
    rng = Random(f"{seed}:person:{index}")
    read_propensity = rng.gauss(0, 0.75)
    # Who reads more also cares more: what a person reads tells about what they will buy.
    interest = 1.1 * read_propensity + 0.45 * rng.gauss(0, 1)
    joins_early = rng.random() < 0.72
    return Person(
        index=index,
        wa_id=PhoneNumber.synthetic(f"{seed}:{index}", "simulator").wa_id,
        name=f"{rng.choice(_FIRST)} {rng.choice(_LAST)}",
        language=_weighted(rng, LANGUAGES),
        read_propensity=read_propensity,
        interest=interest,
        taste=rng.choice(CATEGORIES),
        price_sensitivity=rng.lognormvariate(0, 0.3),
        preferred_hour=(rng.gauss(12.5, 2.0) if rng.random() < 0.4 else rng.gauss(19.0, 2.0)) % 24,
        hour_concentration=rng.uniform(0.1, 1.0),
        fatigue_sensitivity=rng.lognormvariate(-1.6, 0.6),
        churn_hazard=rng.lognormvariate(math.log(0.0023), 1.0),
        message_rate=rng.lognormvariate(math.log(0.026), 0.4) * math.exp(0.7 * interest),
        order_rate=rng.lognormvariate(math.log(0.0009), 0.4) * math.exp(1.0 * interest),
        joins_by_keyword=rng.random() < 0.95,
        join_position=rng.uniform(0.0, 0.1) if joins_early else rng.uniform(0.1, 0.95),
    )


def initial_state(person: Person, joined_at: float, seed: int) -> PersonState:
    """The state at first contact, with the days of churning and of leaving WhatsApp already drawn."""
    rng = Random(f"{seed}:fate:{person.index}")
    return PersonState(
        joined_at=joined_at,
        churned_at=joined_at + rng.expovariate(person.churn_hazard) * DAY,
        left_at=joined_at + rng.expovariate(LEAVE_HAZARD_PER_DAY) * DAY,
    )


def _weighted(rng: Random, choices: Sequence[tuple[str, float]]) -> str:
    point = rng.random()
    for value, share in choices:
        point -= share
        if point < 0:
            return value
    return choices[0][0]
