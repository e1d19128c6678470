"""The true probabilities behind what people will do, for judging models. Nothing here reaches a webhook."""

import math
from collections import defaultdict
from collections.abc import Container, Iterator, Sequence
from itertools import pairwise

from gateway.simulator.behaviour import Send, order_given_read, ordered_within, read_after, read_if_active
from gateway.simulator.history import History, TrueSend
from gateway.simulator.people import DAY, LEAVE_HAZARD_PER_DAY, Person, PersonState


def continue_schedule(campaigns: Sequence[Send], until: float) -> list[Send]:
    """The campaigns, and beyond the last one the same again at the same rhythm, up to `until`."""
    future = list(campaigns)
    if len(campaigns) < 2:
        return future
    gaps = sorted(later.at - earlier.at for earlier, later in pairwise(campaigns))
    period = max(round(gaps[len(gaps) // 2] / DAY), 1) * DAY
    while future[-1].at + period < until:
        model = campaigns[(len(future)) % len(campaigns)]
        hour = model.at % DAY
        day = (future[-1].at + period) // DAY * DAY
        future.append(Send(day + hour, True, model.category, model.discount_rate))
    return future


class ContactTruth:
    """What awaits each person after a moment, given traits and hidden state then, integrating over churn to come."""

    def __init__(self, people: Sequence[Person], history: History, latest: float) -> None:
        self._people = people
        self._history = history
        self._schedule = continue_schedule(history.campaigns, latest + 28 * DAY)
        self._sends: dict[int, list[TrueSend]] = defaultdict(list)
        for send in history.sends:
            self._sends[send.person].append(send)
        self._read_at = {event.provider_id: event.at for event in history.events if event.kind == "read"}

    def at(self, moment: float, phones: Container[str] | None = None) -> Iterator[dict[str, object]]:
        """One row per person who had joined by `moment` (epoch seconds), of `phones` alone where they are given."""
        for person, state in zip(self._people, self._history.states, strict=True):
            if state.joined_at is None or state.joined_at > moment:
                continue
            if phones is not None and "+" + person.wa_id not in phones:
                continue
            p_inactive, p_order = self.chances(person, state, moment)
            yield {"phone": "+" + person.wa_id, "p_inactive_28d": p_inactive, "p_order_7d": p_order}

    def chances(self, person: Person, state: PersonState, moment: float) -> tuple[float, float]:
        """(no sign of life in 28 days, an order in 7) of a person in this state."""
        if moment >= min(state.churned_at, state.left_at):
            return 1.0, 0.0
        p_silent = self._unread_so_far(person, moment)
        upcoming: list[Send] = []
        if person.joins_by_keyword and moment < state.opted_out_at:
            upcoming = [send for send in self._schedule if moment < send.at < moment + 28 * DAY]
        silences, purchases = [], []
        bought = state.has_recent_order(moment)
        for send in upcoming:
            count = sum(1 for other in self._schedule if send.at - 7 * DAY < other.at < send.at)
            # On the path where nothing comes back, only reads from before the moment still count as recent.
            p_read = read_if_active(person, send, count, state.has_recent_read(send.at, moment))
            silences.append((send.at, 1 - p_read))
            left = moment + 7 * DAY - send.at
            if left > 0:
                purchases.append((send.at, 1 - p_read * order_given_read(person, send, bought) * ordered_within(left)))
        signs = person.message_rate + person.order_rate
        p_inactive = p_silent * _none_until(moment, 28, signs, silences, person.churn_hazard)
        return p_inactive, 1 - _none_until(moment, 7, person.order_rate, purchases, person.churn_hazard)

    def _unread_so_far(self, person: Person, moment: float) -> float:
        """The chance that no send of the last two days, unread at `moment`, is read afterwards."""
        p_silent = 1.0
        for send in self._sends[person.index]:
            if moment - 2 * DAY < send.sent_at <= moment and self._read_at.get(send.provider_id, moment + 1) > moment:
                p_silent *= 1 - read_after(send.p_read, moment - send.sent_at)
        return p_silent


def _none_until(
    since: float, days: int, rate_per_day: float, chances: Sequence[tuple[float, float]], churn_hazard: float
) -> float:
    """The chance of no event in `days`: a Poisson rate and single (when, chance of nothing) pairs, ended by churn."""
    hazard = churn_hazard + LEAVE_HAZARD_PER_DAY
    none, p_active, at = 0.0, 1.0, since
    p_none = 1.0
    steps = [*sorted(chances), (since + days * DAY, 1.0)]
    for when, p_nothing in steps:
        length = (when - at) / DAY
        # Within the step: churn at s (density hazard·e^(-hazard·s)) after no event so far (e^(-rate·s)).
        total = hazard + rate_per_day
        none += p_active * p_none * hazard / total * -math.expm1(-total * length)
        p_active *= math.exp(-hazard * length)
        p_none *= math.exp(-rate_per_day * length) * p_nothing
        at = when
    return none + p_active * p_none
