"""A business's past: every person's life over some days, by the same behaviour as live sends."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Literal
from uuid import UUID, uuid5

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from gateway.simulator import catalog, phrases
from gateway.simulator.behaviour import HOUR, Send, organic_hour, remember, respond
from gateway.simulator.conversation import events_of
from gateway.simulator.people import CATEGORIES, DAY, Person, PersonState, initial_state
from gateway.simulator.wire import WireEvent, provider_id

_CAMPAIGN_NAMESPACE = UUID("6f0d6f0e-8c3b-4c57-9a64-0f7c5c8f9a11")


class Attributes(BaseModel):
    """What people see in a campaign. Attributes the model does not know are kept and change nothing."""

    model_config = ConfigDict(extra="allow")

    category: str | None = None
    offer_type: str | None = None
    discount_rate: float = Field(default=0.0, ge=0, le=1)


class CampaignPlan(BaseModel):
    """One campaign of the past."""

    callback_data: str
    sent_at: AwareDatetime
    attributes: Attributes = Attributes()
    text: str = "This week at our shop"
    audience: Literal["opted_in", "all"] = "opted_in"


class HistoryRequest(BaseModel):
    """The body of POST /simulator/history. Without campaigns: weekly ones. `until` defaults to the moment of asking."""

    days: int = Field(default=90, ge=1, le=730)
    until: AwareDatetime | None = None
    campaigns: list[CampaignPlan] | None = None
    reply_rate_scale: float = Field(default=1.0, ge=0, le=5)


@dataclass(frozen=True, slots=True)
class TrueSend:
    """The truth about one send: epoch seconds, and probabilities given the hidden state at that send."""

    provider_id: str
    person: int
    sent_at: float
    p_read: float
    p_order: float


@dataclass(slots=True)
class History:
    """What happened: `events` in time order, one truth per campaign send, and everyone's state at `until`."""

    since: float
    until: float
    campaigns: list[Send]
    events: list[WireEvent] = field(default_factory=list)
    sends: list[TrueSend] = field(default_factory=list)
    states: list[PersonState] = field(default_factory=list)


def default_campaigns(days: int, until: datetime, seed: int) -> list[CampaignPlan]:
    """Weekly campaigns, the last one four days before `until`, at changing hours, categories and discounts."""
    rng = Random(f"{seed}:campaigns")
    plans = []
    for back in range((days - 5) // 7, 0, -1):
        day = until - timedelta(days=7 * back - 3)
        sent_at = day.astimezone(UTC).replace(hour=rng.choice((9, 11, 13, 17, 19)), minute=0, second=0, microsecond=0)
        category = CATEGORIES[back % len(CATEGORIES)]
        discount_rate = rng.choice((0.0, 0.1, 0.2, 0.3))
        offer = "discount" if discount_rate else "news"
        text = f"{discount_rate:.0%} off all {category} this week" if discount_rate else f"New {category} has arrived"
        campaign_id = uuid5(_CAMPAIGN_NAMESPACE, f"{seed}:{sent_at.isoformat()}")
        attributes = Attributes(category=category, offer_type=offer, discount_rate=discount_rate)
        plans.append(
            CampaignPlan(callback_data=f"campaign:{campaign_id}", sent_at=sent_at, attributes=attributes, text=text)
        )
    return plans


def generate(people: list[Person], request: HistoryRequest, seed: int, number_id: str) -> History:
    """The whole past of all people, the same for the same arguments. `request` must have `until` and `campaigns`.

    Events after `until` are left out; nobody knows them yet.
    """
    if request.until is None or request.campaigns is None:
        raise ValueError("until and campaigns must be settled before generating")
    until = request.until.timestamp()
    plans = sorted(request.campaigns, key=lambda plan: plan.sent_at)
    campaigns = [(plan, _as_send(plan)) for plan in plans if plan.sent_at.timestamp() < until]
    history = History(until - request.days * DAY, until, [send for _, send in campaigns])
    for person in people:
        life = _Life(person, history, seed, number_id)
        life.live(campaigns, request.reply_rate_scale)
    history.events.sort(key=lambda event: event.at)
    history.sends.sort(key=lambda send: send.sent_at)
    return history


def _as_send(plan: CampaignPlan) -> Send:
    attributes = plan.attributes
    return Send(plan.sent_at.timestamp(), True, attributes.category, attributes.discount_rate)


class _Life:
    """One person's days between `since` and `until`."""

    def __init__(self, person: Person, history: History, seed: int, number_id: str) -> None:
        self._person = person
        self._history = history
        self._rng = Random(f"{seed}:life:{person.index}")
        joined_at = history.since + person.join_position * (history.until - history.since)
        joined_at = joined_at - joined_at % DAY + organic_hour(person, self._rng) * HOUR + HOUR * self._rng.random()
        self._state = initial_state(person, min(max(joined_at, history.since), history.until - 1), seed)
        self._id = (number_id, seed, person.index)
        self._count = 0

    def live(self, campaigns: list[tuple[CampaignPlan, Send]], reply_rate_scale: float) -> None:
        state, history = self._state, self._history
        history.states.append(state)
        assert state.joined_at is not None  # noqa: S101
        self._first_contact(state.joined_at)
        end = min(history.until, state.churned_at, state.left_at)
        for at in self._organic(self._person.message_rate, state.joined_at, end):
            self._ask(at, phrases.say(self._person.language, "question", self._person.taste, self._rng))
        for at in self._organic(self._person.order_rate, state.joined_at, end):
            self._order(at)
        has_consent = self._person.joins_by_keyword
        for number, (plan, send) in enumerate(campaigns):
            is_known = state.joined_at < send.at
            if is_known and (plan.audience == "all" or (has_consent and send.at < state.opted_out_at)):
                self._get_campaign(plan, send, reply_rate_scale, history.campaigns[number + 1 : number + 8])
        state.inbound_at = [at for at in state.inbound_at if history.until - DAY < at]
        state.marketing_at = [at for at in state.marketing_at if history.until - 8 * DAY < at]

    def _first_contact(self, at: float) -> None:
        if self._person.joins_by_keyword:
            self._inbound(at, self._rng.choice(phrases.JOIN_WORDS))
            self._answer(at + 5, phrases.WELCOME)
        else:
            self._ask(at, phrases.say(self._person.language, "greeting", None, self._rng))

    def _organic(self, rate_per_day: float, since: float, until: float) -> Iterator[float]:
        """Moments of a Poisson process, moved within their day to the hours this person keeps."""
        at = since
        while True:
            at += self._rng.expovariate(rate_per_day) * DAY
            if at >= until:
                return
            moved = at - at % DAY + organic_hour(self._person, self._rng) * HOUR
            yield moved if since < moved < until else at

    def _get_campaign(self, plan: CampaignPlan, send: Send, reply_rate_scale: float, upcoming: list[Send]) -> None:
        sent_id = self._next_id()
        response = respond(self._person, self._state, send, self._rng, reply_rate_scale, upcoming)
        remember(self._state, send, response)
        self._history.sends.append(TrueSend(sent_id, self._person.index, send.at, response.p_read, response.p_order))
        self._emit(WireEvent(send.at, "echo", self._person.index, sent_id, plan.text))
        for event in events_of(self._person, send, sent_id, plan.callback_data, response, self._rng):
            self._emit(event)
        if response.reply_at is not None and response.reply_intent != "not_interested":
            self._answer(response.reply_at + self._minutes(), self._rng.choice(phrases.ANSWERS))
        if response.order_at is not None:
            self._answer(response.order_at + self._minutes(), phrases.ORDERED)
        if response.stop_at is not None:
            self._answer(response.stop_at + 5, phrases.STOPPED)

    def _ask(self, at: float, text: str) -> None:
        self._inbound(at, text)
        self._answer(at + self._minutes(), self._rng.choice(phrases.ANSWERS))

    def _order(self, at: float) -> None:
        self._state.inbound_at.append(at)
        self._state.order_at.append(at)
        items = catalog.cart(self._person, None, 0.0, self._rng)
        self._emit(WireEvent(at, "order", self._person.index, self._next_id(), items))
        self._answer(at + self._minutes(), phrases.ORDERED)

    def _inbound(self, at: float, text: str) -> None:
        self._state.inbound_at.append(at)
        self._emit(WireEvent(at, "text", self._person.index, self._next_id(), text))

    def _answer(self, at: float, text: str) -> None:
        """A service message from the shop, and what the person does about it."""
        if at >= self._history.until:
            return
        send = Send(at, is_marketing=False)
        sent_id = self._next_id()
        response = respond(self._person, self._state, send, self._rng)
        remember(self._state, send, response)
        self._emit(WireEvent(at, "echo", self._person.index, sent_id, text))
        for event in events_of(self._person, send, sent_id, "", response, self._rng):
            self._emit(event)

    def _minutes(self) -> float:
        return self._rng.lognormvariate(math.log(8 * 60), 0.8)

    def _next_id(self) -> str:
        self._count += 1
        return provider_id(*self._id, self._count)

    def _emit(self, event: WireEvent) -> None:
        if event.at < self._history.until:
            self._history.events.append(event)
