"""A tenant of the simulator's people with a whole history, put straight into PostgreSQL: what webhooks would have
brought, without the minutes they take. A reply is what quotes a message of ours."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from gateway.simulator.history import CampaignPlan, History, HistoryRequest, default_campaigns, generate
from gateway.simulator.people import Person, draw_people
from gateway.simulator.wire import WireEvent

MODEL_INPUTS = {
    "contact": {},
    "campaign": {"category": "category", "offer_type": "category", "discount_rate": "number"},
}
NAMESPACE = uuid.UUID("5b7f3f0e-51a6-4f0e-8a41-6a2f4c1f2d10")


@dataclass(frozen=True)
class SimulatedTenant:
    """`contact_ids` stand in the order of `people`."""

    seed: int
    tenant_id: str
    people: list[Person]
    history: History
    contact_ids: list[str]
    until: dt.datetime


def make_tenant(admin_url: str, people: int, until: dt.datetime, seed: int, days: int = 90) -> SimulatedTenant:
    """A new tenant whose `people` lived `days` before `until` (UTC) with weekly campaigns, all of it in the database.
    The same arguments give the same ids and rows."""
    drawn = draw_people(people, seed)
    plans = default_campaigns(days, until, seed)
    history = generate(drawn, HistoryRequest(days=days, until=until, campaigns=plans), seed, "bench")
    tenant = _id("tenant", seed)
    with psycopg.connect(admin_url) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("SET synchronous_commit = off")
        connection.execute(
            "INSERT INTO tenants (id, slug, name, settings) VALUES (%s, %s, 'Bench', %s)",
            (tenant, f"simulated-{seed}", Jsonb({"simulated": True, "model_inputs": MODEL_INPUTS})),
        )
        for table, columns, rows in _tables(seed, plans, drawn, history):
            with connection.cursor().copy(f"COPY {table} (tenant_id, {columns}) FROM STDIN") as copy:
                for row in rows:
                    copy.write_row((tenant, *row))
    _analyze(admin_url)
    contacts = [str(_id(seed, "contact", person.index)) for person in drawn]
    return SimulatedTenant(seed, str(tenant), drawn, history, contacts, until)


def message_id(seed: int, provider_id: str) -> str:
    """The message's id in the tenant of this seed."""
    return str(_id(seed, provider_id))


def _tables(
    seed: int, plans: list[CampaignPlan], people: list[Person], history: History
) -> Iterator[tuple[str, str, Iterable[tuple[Any, ...]]]]:
    """(table, columns after tenant_id, rows), parents first."""
    campaigns = {plan.callback_data: uuid.UUID(plan.callback_data.removeprefix("campaign:")) for plan in plans}
    yield (
        "campaigns",
        "id, name, message_template, attributes, start_date, end_date, known_at, status",
        (
            (campaigns[p.callback_data], p.text, p.text, p.attributes.model_dump_json(), *[p.sent_at] * 3, "completed")
            for p in plans
        ),
    )
    contacts = [_id(seed, "contact", person.index) for person in people]
    talks = [_id(seed, "conversation", person.index) for person in people]
    known = [_at(state.joined_at or history.since) for state in history.states]
    yield (
        "contacts",
        "id, name, phone, known_at, created_at, updated_at",
        (
            (contact, person.name, f"+{person.wa_id}", *[since] * 3)
            for contact, person, since in zip(contacts, people, known, strict=True)
        ),
    )
    yield (
        "conversations",
        "id, contact_id, started_at, last_message_at",
        ((talk, contact, since, since) for talk, contact, since in zip(talks, contacts, known, strict=True)),
    )
    statuses = [event for event in history.events if event.kind in ("sent", "delivered", "read", "failed")]
    campaign_of = {event.provider_id: campaigns[event.callback] for event in statuses if event.callback}

    def said(event: WireEvent) -> tuple[Any, ...]:
        outbound = event.kind == "echo"
        return (
            _id(seed, event.provider_id),
            contacts[event.person],
            talks[event.person],
            campaign_of.get(event.provider_id),
            "outbound" if outbound else "inbound",
            "order" if event.kind == "order" else "text",
            None if event.kind == "order" else event.text,
            "sent" if outbound else "delivered",
            _at(event.at),
            event.provider_id,
            _at(event.at),
        )

    yield (
        "messages",
        "id, contact_id, conversation_id, campaign_id, direction, kind, text, status, timestamp, provider_id, known_at",
        (said(event) for event in history.events if event.kind in ("echo", "text", "order")),
    )
    yield (
        "message_status_events",
        "message_id, status, occurred_at, known_at",
        ((_id(seed, event.provider_id), event.kind, _at(event.at), _at(event.at)) for event in statuses),
    )
    yield (
        "replies",
        "message_id, contact_id, in_reply_to_id, text, timestamp, known_at",
        (
            (
                _id(seed, event.provider_id),
                contacts[event.person],
                _id(seed, event.context),
                event.text,
                _at(event.at),
                _at(event.at),
            )
            for event in history.events
            if event.kind == "text" and event.context
        ),
    )
    yield (
        "orders",
        "id, contact_id, external_id, platform, status, total_cents, ordered_at, known_at",
        (
            (
                _id(seed, "order", event.provider_id),
                contacts[event.person],
                event.provider_id,
                "whatsapp",
                "delivered",
                _cents(event.text),
                _at(event.at),
                _at(event.at),
            )
            for event in history.events
            if event.kind == "order"
        ),
    )


def _cents(cart: str) -> int:
    items = json.loads(cart)["product_items"]
    return sum(round(100 * item["item_price"]) * int(item["quantity"]) for item in items)


def _id(*parts: object) -> uuid.UUID:
    return uuid.uuid5(NAMESPACE, "\x1f".join(map(str, parts)))


def _at(seconds: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(seconds, dt.UTC)


def _analyze(admin_url: str) -> None:
    with psycopg.connect(admin_url, autocommit=True) as connection:
        connection.execute("ANALYZE")
