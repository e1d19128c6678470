"""What a perfect observer could know: every trait of a person and all that was seen of them, but not who has silently
left. The longer somebody is silent, though messages come that they used to read, the surer it is that they have."""

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, field, replace

from gateway.simulator.behaviour import SERVICE_READ, Send, order_probability, read_by, read_if_active
from gateway.simulator.history import History, TrueSend
from gateway.simulator.people import DAY, Person, PersonState
from gateway.simulator.truth import ContactTruth


@dataclass(slots=True)
class _Seen:
    """One person's past: `sends` (at, chance that an active person reads it, when it was read or infinity) and `signs`,
    moments of their own accord; both in time order. A read shows that they were there when the message was sent."""

    sends: list[tuple[float, float, float]] = field(default_factory=list)
    signs: list[float] = field(default_factory=list)


class Observer:
    """Belongs to one history."""

    def __init__(self, people: Sequence[Person], history: History) -> None:
        self._people = people
        self._history = history
        self._campaigns = {send.at: number for number, send in enumerate(history.campaigns)}
        self._states = [_visible(state) for state in history.states]
        self._seen = self._all_seen()

    def send(self, send: TrueSend) -> tuple[float, float]:
        """The chances that a campaign send of the history is read, and that it is followed by an order in 7 days."""
        person, state = self._people[send.person], self._states[send.person]
        number = self._campaigns[send.sent_at]
        campaign = self._history.campaigns[number]
        active = self.active(send.person, send.sent_at)
        p_read = self._read_if_active(person, state, campaign)
        upcoming = self._history.campaigns[number + 1 : number + 8]
        return active * p_read, active * order_probability(person, state, campaign, p_read, upcoming)

    def contacts(
        self, truth: ContactTruth, moment: float, phones: Container[str] | None = None
    ) -> Iterator[dict[str, object]]:
        """As `truth.at`, by what is known at `moment`."""
        for person, state in zip(self._people, self._states, strict=True):
            if phones is not None and "+" + person.wa_id not in phones:
                continue
            if state.joined_at is not None and state.joined_at <= moment:
                active = self.active(person.index, moment)
                p_inactive, p_order = truth.chances(person, state, moment)
                p_inactive = 1 - active * (1 - p_inactive)
                yield {"phone": "+" + person.wa_id, "p_inactive_28d": p_inactive, "p_order_7d": active * p_order}

    def active(self, index: int, moment: float) -> float:
        """The chance that a person has not silently left by `moment`, given what was seen until then."""
        person, seen = self._people[index], self._seen[index]
        sends = seen.sends[: bisect_left(seen.sends, (moment,))]
        before = bisect_left(seen.signs, moment)
        there = seen.signs[before - 1] if before else self._states[index].joined_at or moment
        there = max([there, *(at for at, _, read_at in sends if read_at < moment)])
        active, left, since = 1.0, 0.0, there
        hazard, signs = person.churn_hazard, person.message_rate + person.order_rate
        for at, p_read, _ in [*(send for send in sends if send[0] > there), (moment, 0.0, math.inf)]:
            # Who leaves in between gave no sign up to then; who stays gave none at all, and did not read this one.
            none = math.exp(-(hazard + signs) * (at - since) / DAY)
            left += active * hazard / (hazard + signs) * (1 - none)
            active *= none * (1 - p_read * read_by(moment - at))
            since = at
        return active / (active + left)

    def _all_seen(self) -> list[_Seen]:
        read_at = {event.provider_id: event.at for event in self._history.events if event.kind == "read"}
        failed = {event.provider_id for event in self._history.events if event.kind == "failed"}
        mine: dict[int, list[TrueSend]] = defaultdict(list)
        for sent in self._history.sends:
            mine[sent.person].append(sent)
        seen = [_Seen() for _ in self._people]
        for person, state in zip(self._people, self._states, strict=True):
            received = [one for one in mine[person.index] if one.provider_id not in failed]
            state.marketing_at = [one.sent_at for one in received]
            for one in received:
                campaign = self._history.campaigns[self._campaigns[one.sent_at]]
                chance = self._read_if_active(person, state, campaign)
                seen[person.index].sends.append((one.sent_at, chance, read_at.get(one.provider_id, math.inf)))
        of_campaigns = {sent.provider_id for sent in self._history.sends}
        for event in self._history.events:
            if event.kind == "echo" and event.provider_id not in of_campaigns:
                service = (event.at, SERVICE_READ, read_at.get(event.provider_id, math.inf))
                seen[event.person].sends.append(service)
            elif event.kind in ("text", "order") and not event.context:
                seen[event.person].signs.append(event.at)
        for one_seen in seen:
            one_seen.sends.sort()
        return seen

    def _read_if_active(self, person: Person, state: PersonState, send: Send) -> float:
        return read_if_active(person, send, state.marketing_messages_7d(send.at), state.has_recent_read(send.at))


def _visible(state: PersonState) -> PersonState:
    """The state without its fate."""
    return replace(state, churned_at=math.inf, left_at=math.inf)
