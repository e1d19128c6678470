"""From what a person decides to the events the webhook sees."""

from collections.abc import Iterator
from random import Random

from gateway.simulator import catalog, phrases
from gateway.simulator.behaviour import Response, Send
from gateway.simulator.people import Person
from gateway.simulator.wire import WireEvent, provider_id


def events_of(
    person: Person, send: Send, sent_id: str, callback: str, response: Response, rng: Random
) -> Iterator[WireEvent]:
    """The statuses of a send and the messages it brings, not in time order."""
    index = person.index
    if response.failed_at is not None:
        yield WireEvent(response.failed_at, "failed", index, sent_id, callback=callback, error=131026)
        return
    yield WireEvent(send.at + 0.5, "sent", index, sent_id, callback=callback)
    if response.delivered_at is not None:
        yield WireEvent(response.delivered_at + 0.5, "delivered", index, sent_id, callback=callback)
    if response.read_at is not None:
        yield WireEvent(response.read_at + 0.5, "read", index, sent_id, callback=callback)
    if response.reply_at is not None:
        text = phrases.say(person.language, response.reply_intent, send.category, rng)
        yield WireEvent(response.reply_at + 0.5, "text", index, provider_id(sent_id, "reply"), text, sent_id)
    if response.order_at is not None:
        items = catalog.cart(person, send.category, send.discount_rate, rng)
        yield WireEvent(response.order_at + 0.5, "order", index, provider_id(sent_id, "order"), items, sent_id)
    if response.stop_at is not None:
        text = phrases.stop_word(person.language, rng)
        yield WireEvent(response.stop_at + 0.5, "text", index, provider_id(sent_id, "stop"), text, sent_id)
