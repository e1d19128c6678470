"""How people answer: the only place where probabilities are made, for history and live sends alike.

docs/simulator.md states the same formulas; change both together.
"""

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from random import Random

from gateway.simulator.people import DAY, Person, PersonState

HOUR = 3600.0

READ_BASE, READ_HOUR, READ_TASTE, READ_OTHER_TASTE = -0.15, 0.6, 0.35, -0.1
READ_RECENT = 1.5
REPLY_BASE, REPLY_INTEREST, REPLY_TASTE = -2.35, 0.8, 0.5
ORDER_BASE, ORDER_INTEREST, ORDER_TASTE, ORDER_DISCOUNT = -4.15, 0.9, 0.6, 3.0
ORDER_RECENT = 1.4
STOP_BASE, STOP_INTEREST, STOP_FATIGUE = -5.25, -0.5, 2.0
SERVICE_READ, SERVICE_REPLY = 0.95, 0.15

# Delays after the event before: log-normal, as (median hours, sigma of the log, cap in hours).
DELIVERY_DELAY = (4 / HOUR, 0.8, 2.0)
READ_DELAY = (0.8, 1.3, 48.0)
REPLY_DELAY = (0.3, 1.0, 24.0)
ORDER_DELAY = (3.0, 1.2, 72.0)
STOP_DELAY = (0.03, 0.7, 2.0)


@dataclass(frozen=True, slots=True)
class Send:
    """One message a person gets at `at` (epoch seconds). Service messages answer the person; marketing does not."""

    at: float
    is_marketing: bool = True
    category: str | None = None
    discount_rate: float = 0.0


@dataclass(frozen=True, slots=True)
class Response:
    """What the person does, in epoch seconds or None, and the probabilities it was drawn from.

    `p_order` is the chance of any order in the 7 days after the send: caused by it, organic, or by a campaign known to
    follow.
    """

    p_read: float
    p_order: float
    delivered_at: float | None
    failed_at: float | None = None
    read_at: float | None = None
    reply_at: float | None = None
    reply_intent: str = ""
    order_at: float | None = None
    stop_at: float | None = None


def read_if_active(person: Person, send: Send, marketing_messages_7d: int, has_recent_read: bool) -> float:
    """The chance that a person who neither churned nor opted out ever reads this send."""
    if not send.is_marketing:
        return SERVICE_READ
    hour = send.at % DAY / HOUR
    logit = READ_BASE + person.read_propensity - person.fatigue_sensitivity * marketing_messages_7d
    logit += READ_HOUR * person.hour_concentration * math.cos((hour - person.preferred_hour) * math.tau / 24)
    logit += READ_RECENT * has_recent_read
    if send.category:
        logit += READ_TASTE if send.category == person.taste else READ_OTHER_TASTE
    return _sigmoid(logit)


def read_probability(person: Person, state: PersonState, send: Send) -> float:
    """The chance that this send is ever read, given the hidden state at the send."""
    if send.at >= min(state.churned_at, state.left_at) or (send.is_marketing and send.at >= state.opted_out_at):
        return 0.0
    return read_if_active(person, send, state.marketing_messages_7d(send.at), state.has_recent_read(send.at))


def order_given_read(person: Person, send: Send, has_recent_order: bool) -> float:
    """The chance that a read send brings an order within three days of the reading."""
    if not send.is_marketing:
        return 0.0
    logit = ORDER_BASE + ORDER_INTEREST * person.interest
    logit += ORDER_DISCOUNT * person.price_sensitivity * min(send.discount_rate, 0.5)
    logit += ORDER_RECENT * has_recent_order
    if send.category == person.taste:
        logit += ORDER_TASTE
    return _sigmoid(logit)


def order_probability(
    person: Person, state: PersonState, send: Send, p_read: float, upcoming: Sequence[Send] = ()
) -> float:
    """The chance of at least one order in the 7 days after the send: caused, organic, or by an upcoming campaign."""
    if send.at >= min(state.churned_at, state.left_at):
        return 0.0
    # Organic orders end with churn: the mean exposure of 7 days under a constant hazard.
    exposure = -math.expm1(-7 * person.churn_hazard) / person.churn_hazard
    bought = state.has_recent_order(send.at)
    p_none = (1 - p_read * order_given_read(person, send, bought)) * math.exp(-person.order_rate * exposure)
    for later in upcoming:
        if later.at < send.at + 7 * DAY and send.at < state.opted_out_at:
            still_there = math.exp(-person.churn_hazard * (later.at - send.at) / DAY)
            count = 1 + state.marketing_messages_7d(send.at)
            p_later = p_read * read_if_active(person, later, count, True)
            p_later += (1 - p_read) * read_if_active(person, later, count, state.has_recent_read(later.at, send.at))
            share = ordered_within(send.at + 7 * DAY - later.at)
            p_none *= 1 - still_there * p_later * order_given_read(person, later, bought) * share
    return 1 - p_none


@cache
def _order_delays() -> list[float]:
    rng = Random("order delays")
    laws = (DELIVERY_DELAY, READ_DELAY, ORDER_DELAY)
    return sorted(sum(_delay(rng, law) for law in laws) for _ in range(20_000))


def ordered_within(seconds: float) -> float:
    """The share of a send's orders that come within `seconds` of it; the sum of three delays has no closed form."""
    return bisect_right(_order_delays(), seconds) / 20_000


def respond(
    person: Person,
    state: PersonState,
    send: Send,
    rng: Random,
    reply_rate_scale: float = 1.0,
    upcoming: Sequence[Send] = (),
) -> Response:
    """What the person does about a send. Changes nothing: `remember` does. `upcoming` only informs `p_order`."""
    if send.at >= state.left_at:
        return Response(0.0, 0.0, delivered_at=None, failed_at=send.at + 1 + 3 * rng.random())
    p_read = read_probability(person, state, send)
    p_order = order_probability(person, state, send, p_read, upcoming)
    delivered_at = send.at + _delay(rng, DELIVERY_DELAY)
    if rng.random() >= p_read:
        return Response(p_read, p_order, delivered_at)
    read_at = delivered_at + _delay(rng, READ_DELAY)
    if not send.is_marketing:
        thanks_at = read_at + _delay(rng, REPLY_DELAY) if rng.random() < SERVICE_REPLY else None
        return Response(p_read, p_order, delivered_at, read_at=read_at, reply_at=thanks_at, reply_intent="thanks")
    has_taste = send.category == person.taste
    fatigue = person.fatigue_sensitivity * state.marketing_messages_7d(send.at)
    if rng.random() < _sigmoid(STOP_BASE + STOP_INTEREST * person.interest + STOP_FATIGUE * fatigue):
        return Response(p_read, p_order, delivered_at, read_at=read_at, stop_at=read_at + _delay(rng, STOP_DELAY))
    reply_at = order_at = None
    p_reply = _sigmoid(REPLY_BASE + REPLY_INTEREST * person.interest + REPLY_TASTE * has_taste)
    if rng.random() < p_reply * reply_rate_scale:
        reply_at = read_at + _delay(rng, REPLY_DELAY)
    if rng.random() < order_given_read(person, send, state.has_recent_order(send.at)):
        order_at = read_at + _delay(rng, ORDER_DELAY)
    intent = _intent(person, has_taste, rng) if reply_at else ""
    return Response(p_read, p_order, delivered_at, None, read_at, reply_at, intent, order_at)


def remember(state: PersonState, send: Send, response: Response) -> None:
    """Writes into `state` what this send and its answer mean for later ones."""
    if send.is_marketing and response.failed_at is None:
        state.marketing_at.append(send.at)
    state.inbound_at += [at for at in (response.reply_at, response.order_at, response.stop_at) if at is not None]
    if response.read_at is not None:
        state.read_at.append(response.read_at)
    if response.order_at is not None:
        state.order_at.append(response.order_at)
    if response.stop_at is not None:
        state.opted_out_at = min(state.opted_out_at, response.stop_at)


def read_by(seconds_since_send: float) -> float:
    """The share of reads that come within `seconds_since_send`; delivery, being a matter of seconds, is left out."""
    median, sigma, cap = READ_DELAY
    hours = seconds_since_send / HOUR
    if hours >= cap:
        return 1.0
    return 0.5 * math.erfc(-math.log(max(hours, 1e-9) / median) / (sigma * math.sqrt(2)))


def read_after(person_p_read: float, seconds_since_send: float) -> float:
    """The chance that an unread send is read later than now, `seconds_since_send` after it went out."""
    done = read_by(seconds_since_send)
    if done >= 1.0:
        return 0.0
    return person_p_read * (1 - done) / (1 - person_p_read * done)


def organic_hour(person: Person, rng: Random) -> float:
    """An hour of the day in [0, 24) at which this person writes of their own accord, around the preferred one."""
    return (person.preferred_hour + rng.gauss(0, 1.2 + 3.0 * (1 - person.hour_concentration))) % 24


def _intent(person: Person, has_taste: bool, rng: Random) -> str:
    interested = math.exp(0.5 * person.interest + 0.5 * has_taste)
    point = rng.random() * (interested + 0.8 + 0.45)
    if point < interested:
        return "interested"
    return "question" if point < interested + 0.8 else "not_interested"


def _delay(rng: Random, law: tuple[float, float, float]) -> float:
    median, sigma, cap = law
    return min(rng.lognormvariate(math.log(median), sigma), cap) * HOUR


def _sigmoid(logit: float) -> float:
    return 1 / (1 + math.exp(-logit))
