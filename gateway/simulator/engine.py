"""The running simulator: people and their state, the history being posted, live sends and what they bring."""

import asyncio
import hashlib
import json
import logging
import math
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from random import Random
from typing import Any
from uuid import uuid4

from gateway.pacing import TokenBucket
from gateway.simulator.behaviour import Response, Send, remember, respond
from gateway.simulator.conversation import events_of
from gateway.simulator.delivery import WebhookPoster
from gateway.simulator.history import History, HistoryRequest, TrueSend, default_campaigns, generate
from gateway.simulator.people import Person, PersonState, draw_people
from gateway.simulator.settings import SimulatorSettings
from gateway.simulator.store import Fact, Store
from gateway.simulator.templates import Templates
from gateway.simulator.wire import Number, WireEvent, provider_id, webhook_body

log = logging.getLogger(__name__)

EVENTS_PER_BODY = 500
_HISTORY_POSTS = 4
_POLL_SECONDS = 0.05
_COMMIT_SECONDS = 0.003


class HistoryExists(Exception):
    """Another history was already lived; a state directory holds one."""


class Refused(Exception):
    """A send the Cloud API would refuse with this code."""

    def __init__(self, code: int, detail: str = "") -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class Simulator:
    """Everything behind the routes. Belongs to one event loop."""

    def __init__(self, settings: SimulatorSettings) -> None:
        self.settings = settings
        self.number = Number(settings.phone_number_id, settings.waba_id, settings.display_number)
        self.store = Store(settings.state_dir, settings.identity())
        self.people = draw_people(settings.people, settings.seed)
        self.by_wa_id = {person.wa_id: person for person in self.people}
        self.states = [PersonState() for _ in self.people]
        self.templates = Templates(self.store)
        self.history: History | None = None
        self.chance = Random(f"{settings.seed}:way")
        self.ready = asyncio.Event()
        self.state = "idle"
        self.posted = 0
        self._nonce = self.store.meta("nonce") or uuid4().hex
        self.store.set_meta("nonce", self._nonce)
        self.store.commit()
        self._poster = WebhookPoster(settings.webhook_url, settings.app_secret.get_secret_value())
        rate = settings.messages_per_second
        self._bucket = TokenBucket.full(max(rate, 1.0), rate, datetime.now(UTC))
        self._waiting: list[asyncio.Future[None]] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Takes up where the state directory left off."""
        self._tasks.append(asyncio.create_task(self._post_live()))
        stored = self.store.meta("history")
        if stored is None:
            self._apply_facts()
            self.ready.set()
        else:
            self._tasks.append(asyncio.create_task(self._live_through(HistoryRequest.model_validate(stored))))

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._poster.close()
        self.store.close()

    async def subscription_problem(self) -> str | None:
        """None if the webhook answers a subscription check, else what went wrong."""
        return await self._poster.subscription_problem(self.settings.verify_token.get_secret_value())

    async def durable(self) -> None:
        """Returns when all that was written so far is on disk; many callers share one commit."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        if not self._waiting:
            loop.call_later(_COMMIT_SECONDS, self._commit)
        self._waiting.append(future)
        await future

    def start_history(self, request: HistoryRequest, now: datetime) -> str:
        """The run's id. Asking again for the same history changes nothing. Raises: HistoryExists."""
        stored = self.store.meta("history_asked")
        asked = request.model_dump(mode="json")
        if stored is not None and stored != asked:
            raise HistoryExists("this state directory already has another history")
        if stored is None:
            # Nothing that has not happened yet belongs to a history.
            until = min(request.until or now, now)
            campaigns = request.campaigns
            if campaigns is None:
                campaigns = default_campaigns(request.days, until, self.settings.seed)
            settled = request.model_copy(update={"until": until, "campaigns": campaigns})
            self.store.set_meta("history_asked", asked)
            self.store.set_meta("history", settled.model_dump(mode="json"))
            self.store.commit()
            self.ready.clear()
            self._tasks.append(asyncio.create_task(self._live_through(settled)))
        return self.run_id() or ""

    def run_id(self) -> str | None:
        stored = self.store.meta("history")
        if stored is None:
            return None
        return hashlib.blake2b(json.dumps(stored, sort_keys=True).encode(), digest_size=8).hexdigest()

    def status(self) -> dict[str, Any]:
        return {
            "state": self.state,
            "run_id": self.run_id(),
            "posted": self.posted,
            "total": len(self.history.events) if self.history else 0,
            "people": len(self.people),
            "live_sends": self.store.live_send_count(),
            "pending": self.store.owed_count(),
            "last_error": self._poster.last_error,
        }

    def send(self, body: dict[str, Any], now: float) -> tuple[Person, str]:
        """The person and the new wamid; the rest happens in time. Call `durable` before answering. Raises: Refused."""
        granted, self._bucket = self._bucket.take(1, datetime.fromtimestamp(now, UTC))
        if not granted:
            raise Refused(130429)
        kind, to = body.get("type", "text"), body.get("to")
        if not isinstance(to, str) or body.get("messaging_product") != "whatsapp":
            raise Refused(100, "to and messaging_product are required")
        person = self.by_wa_id.get(to.removeprefix("+"))
        if person is None:
            raise Refused(131026)
        callback = str(body.get("biz_opaque_callback_data") or "")
        send = self._understand(kind, body, callback, self.states[person.index], now)
        return person, self._deliver(person, send, callback, now)

    def say(self, person: Person, text: str, context: str, now: float, kind: str = "text") -> str:
        """Makes a person write `text` now, or press the button of that label, as if of their own accord; the message's
        wamid."""
        state = self.states[person.index]
        facts = [Fact(person.index, "inbound", now)]
        if text.strip().lower() in ("stop", "stop promotions"):
            facts.append(Fact(person.index, "stop", now))
        for fact in facts:
            _apply(state, fact)
        self.store.add_facts(facts)
        said_id = provider_id(self._nonce, "said", person.index, now)
        self.store.owe([WireEvent(now, kind, person.index, said_id, text, context)])
        return said_id

    def prefer(self, person: Person, value: str, now: float) -> None:
        """Makes a person tell WhatsApp itself to stop the business's marketing, or to resume it."""
        if value == "stop":
            fact = Fact(person.index, "stop", now)
            _apply(self.states[person.index], fact)
            self.store.add_facts([fact])
        self.store.owe([WireEvent(now, "preference", person.index, "", value)])

    def true_sends(self) -> Iterator[TrueSend]:
        """History's first, then live ones."""
        if self.history is not None:
            yield from self.history.sends
        yield from self.store.live_sends()

    def _understand(self, kind: str, body: dict[str, Any], callback: str, state: PersonState, now: float) -> Send:
        content = body.get(kind)
        if kind == "template":
            if not isinstance(content, dict) or not isinstance(content.get("name"), str):
                raise Refused(100, "template.name is required")
            name = content["name"]
            category = self.templates.category(name)
            if category is None:
                raise Refused(132001, f"template name ({name}) does not exist")
            attributes = self.templates.attributes(name, callback)
            return Send(now, category == "MARKETING", attributes.category, attributes.discount_rate)
        if not isinstance(content, dict) or not content:
            raise Refused(100, f"{kind} is required")
        if not state.has_window(now):
            raise Refused(131047)
        return Send(now, is_marketing=False)

    def _deliver(self, person: Person, send: Send, callback: str, now: float) -> str:
        state = self.states[person.index]
        state.live_sends += 1
        # Chance is of the seed, the person and the count of live sends: a replayed run goes the same way.
        rng = Random(f"{self.settings.seed}:live:{person.index}:{state.live_sends}")
        response = _compressed(respond(person, state, send, rng), now, self.settings.time_compression)
        sent_id = provider_id(self._nonce, "live", person.index, state.live_sends)
        self.store.add_live_send(TrueSend(sent_id, person.index, now, response.p_read, response.p_order))
        self.store.add_facts(_facts(person.index, send, response))
        remember(state, send, response)
        self.store.owe(events_of(person, send, sent_id, callback, response, rng))
        return sent_id

    def _commit(self) -> None:
        waiting, self._waiting = self._waiting, []
        self.store.commit()
        for future in waiting:
            if not future.done():
                future.set_result(None)

    def _apply_facts(self) -> None:
        for fact in self.store.facts():
            _apply(self.states[fact.person], fact)

    async def _live_through(self, request: HistoryRequest) -> None:
        self.state = "generating"
        settings = self.settings
        try:
            self.history = await asyncio.to_thread(
                generate, self.people, request, settings.seed, settings.phone_number_id
            )
            self.states = self.history.states
            self._apply_facts()
            self.ready.set()
            self.state = "posting"
            await self._post_history(self.history.events)
            self.state = "done"
        except Exception:
            self.state = "failed"
            log.exception("history.failed")

    async def _post_history(self, events: list[WireEvent]) -> None:
        acknowledged = self.store.acknowledged_history()
        starts = range(0, len(events), EVENTS_PER_BODY)
        self.posted = sum(len(events[start : start + EVENTS_PER_BODY]) for start in starts if start in acknowledged)
        remaining = iter([start for start in starts if start not in acknowledged])

        async def post_next() -> None:
            for start in remaining:
                batch = events[start : start + EVENTS_PER_BODY]
                await self._poster.post_until_acknowledged(webhook_body(batch, self.people, self.number))
                self.store.acknowledge_history(start)
                await self.durable()
                self.posted += len(batch)

        await asyncio.gather(*(post_next() for _ in range(_HISTORY_POSTS)))

    async def _post_live(self) -> None:
        while True:
            owed = self.store.due(time.time(), EVENTS_PER_BODY)
            if not owed:
                await asyncio.sleep(_POLL_SECONDS)
                continue
            body = webhook_body((event for _, event in owed), self.people, self.number)
            await self._poster.post_until_acknowledged(body)
            self.store.settle([owed_id for owed_id, _ in owed])
            await self.durable()


def _apply(state: PersonState, fact: Fact) -> None:
    if fact.kind == "send":
        state.live_sends += 1
    elif fact.kind == "marketing":
        state.marketing_at.append(fact.at)
    elif fact.kind == "inbound":
        state.inbound_at.append(fact.at)
    elif fact.kind == "read":
        state.read_at.append(fact.at)
    elif fact.kind == "order":
        state.order_at.append(fact.at)
    elif fact.kind == "stop":
        state.opted_out_at = min(state.opted_out_at, fact.at)


def _facts(person: int, send: Send, response: Response) -> Iterator[Fact]:
    """What `remember` does to a state, as rows to do it again after a restart."""
    yield Fact(person, "send", send.at)
    scratch = PersonState()
    remember(scratch, send, response)
    kinds = {"marketing": scratch.marketing_at, "inbound": scratch.inbound_at, "read": scratch.read_at}
    for kind, moments in {**kinds, "order": scratch.order_at}.items():
        for at in moments:
            yield Fact(person, kind, at)
    if scratch.opted_out_at < math.inf:
        yield Fact(person, "stop", scratch.opted_out_at)


def _compressed(response: Response, now: float, compression: float) -> Response:
    """The same response in compressed time: an hour of delay becomes 3600 / compression seconds."""

    def sooner(at: float | None) -> float | None:
        return None if at is None else now + (at - now) / compression

    return replace(
        response,
        delivered_at=sooner(response.delivered_at),
        failed_at=sooner(response.failed_at),
        read_at=sooner(response.read_at),
        reply_at=sooner(response.reply_at),
        order_at=sooner(response.order_at),
        stop_at=sooner(response.stop_at),
    )
