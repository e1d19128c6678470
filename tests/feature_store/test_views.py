"""Every stored number against an oracle that reads PostgreSQL's events and counts them by hand, at many moments."""

from __future__ import annotations

import datetime as dt
import random
from collections import defaultdict
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import psycopg
import pytest

from feature_store.feature_services import FeatureService
from feature_store.feature_views import MOMENTS, NUMBERS
from feature_store.on_demand import ON_DEMAND
from feature_store.retrieval import get_historical_features

EVERYTHING = FeatureService("everything", NUMBERS, tuple(ON_DEMAND))
DAY = dt.timedelta(days=1)


@dataclass(frozen=True)
class Event:
    """`counted_from` is the moment windows look at: its own, or the send's for shares of sends."""

    at: dt.datetime
    known_at: dt.datetime
    value: float = 1.0
    counted_from: dt.datetime | None = None


def read_events(history: Any, tenant_id: Any) -> dict[tuple[str, str], list[Event]]:
    """Events by (contact, measure)."""
    with psycopg.connect(history.admin_url) as connection:

        def rows(query: str) -> list[Any]:
            return connection.execute(f"{query} WHERE tenant_id = %s", [tenant_id]).fetchall()

        messages = rows("SELECT id, contact_id, campaign_id, direction, timestamp, known_at FROM messages")
        statuses = rows("SELECT message_id, status, occurred_at, known_at FROM message_status_events")
        replies = rows("SELECT contact_id, timestamp, known_at, length(text), in_reply_to_id FROM replies")
        orders = rows("SELECT contact_id, ordered_at, known_at, total_cents FROM orders")
        redeemed = rows("SELECT contact_id, occurred_at, known_at, campaign_id FROM conversions")
        kinds = dict(rows("SELECT id, conversion_event FROM campaigns"))
        (name,) = connection.execute("SELECT timezone FROM tenants WHERE id = %s", [tenant_id]).fetchone()
        zone = ZoneInfo(name)
    events: dict[tuple[str, str], list[Event]] = defaultdict(list)

    def sign(contact: Any, at: dt.datetime, known: dt.datetime) -> None:
        local = at.astimezone(zone)
        quarter = ("night", "morning", "afternoon", "evening")[local.hour // 6]
        events[str(contact), f"active_{quarter}"].append(Event(at, known))
        if local.weekday() >= 5:
            events[str(contact), "active_weekend"].append(Event(at, known))

    sent = {}
    for message, contact, campaign, direction, at, known in messages:
        events[str(contact), "sent" if direction == "outbound" else "inbound"].append(Event(at, known))
        if direction == "inbound":
            sign(contact, at, known)
            continue
        sent[message] = (contact, campaign, at, known)
        if campaign:
            events[str(contact), "campaign_sent"].append(Event(at, known))
    for message, status, at, known in statuses:
        contact, campaign, sent_at, _ = sent[message]
        events[str(contact), status].append(Event(at, known))
        if status == "read":
            sign(contact, at, known)
            events[str(contact), "sent_and_read"].append(Event(at, known, 1, sent_at))
            events[str(contact), "read_delay"].append(Event(at, known, (at - sent_at).total_seconds()))
            if campaign:
                events[str(contact), "campaign_read"].append(Event(at, known))
                events[str(contact), "campaign_sent_and_read"].append(Event(at, known, 1, sent_at))
    first_replies: dict[Any, tuple[dt.datetime, dt.datetime]] = {}
    for contact, at, known, length, answered_message in replies:
        events[str(contact), "reply"].append(Event(at, known, length))
        if answered_message in sent and sent[answered_message][1]:
            seen_at = (max(at, known), at)
            first_replies[answered_message] = min(seen_at, first_replies.get(answered_message, seen_at))
    for message, (known, at) in first_replies.items():
        events[str(sent[message][0]), "campaign_replied"].append(Event(at, known))
    for contact, at, known, cents in orders:
        events[str(contact), "order"].append(Event(at, known, cents))
    outcomes = [(c, "order", None, at, known) for c, at, known, _ in orders]
    outcomes += [(c, "redemption", campaign, at, known) for c, at, known, campaign in redeemed]
    answered: dict[Any, list[tuple[dt.datetime, dt.datetime]]] = defaultdict(list)
    for contact, kind, campaign, at, known in outcomes:
        causes = [
            (send_at, message, send_known)
            for message, (who, of, send_at, send_known) in sent.items()
            if who == contact and of and kinds[of] == kind and (campaign in (None, of))
            and dt.timedelta(0) <= at - send_at <= 5 * DAY
        ]  # fmt: skip
        if causes:
            _, message, send_known = max(causes)
            answered[message].append((max(at, known, send_known), at))
    for message, found in answered.items():
        known, at = min(found)
        contact, _, sent_at, _ = sent[message]
        events[str(contact), "campaign_converted"].append(Event(at, known))
        events[str(contact), "campaign_sent_and_converted"].append(Event(at, known, 1, sent_at))
    return events


def expected(events: dict[tuple[str, str], list[Event]], contact: str, moment: dt.datetime) -> dict[str, float | None]:
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)

    def seen(measure: str, days: int = 100_000) -> list[Event]:
        return [
            event
            for event in events[contact, measure]
            if max(event.at, event.known_at) < midnight and (event.counted_from or event.at) >= midnight - days * DAY
        ]

    def count(measure: str, days: int = 100_000) -> float:
        return float(len(seen(measure, days)))

    def total(measure: str, days: int = 100_000) -> float:
        return float(sum(event.value for event in seen(measure, days)))

    def share(part: float, whole: float) -> float | None:
        return part / whole if whole else None

    messaging = {
        "sent_7d": count("sent", 7), "sent_30d": count("sent", 30), "sent_90d": count("sent", 90),
        "delivered_30d": count("delivered", 30), "read_7d": count("read", 7), "read_30d": count("read", 30),
        "read_90d": count("read", 90), "sent_total": count("sent"), "read_total": count("read"),
        "read_rate_30d": share(count("sent_and_read", 30), count("sent", 30)),
        "read_rate_90d": share(count("sent_and_read", 90), count("sent", 90)),
        "read_delay_seconds_mean_90d": share(total("read_delay", 90), count("read", 90)),
    }  # fmt: skip
    replies = {
        "inbound_7d": count("inbound", 7), "inbound_30d": count("inbound", 30), "inbound_90d": count("inbound", 90),
        "inbound_total": count("inbound"), "replies_total": count("reply"),
        "replies_30d": count("reply", 30), "replies_90d": count("reply", 90),
        "reply_length_mean_90d": share(total("reply", 90), count("reply", 90)),
    }  # fmt: skip
    orders = {
        "orders_30d": count("order", 30), "orders_90d": count("order", 90), "orders_total": count("order"),
        "revenue_cents_30d": total("order", 30), "revenue_cents_90d": total("order", 90),
        "order_value_cents_mean": share(total("order"), count("order")),
    }  # fmt: skip
    campaign = {
        "campaign_sent_30d": count("campaign_sent", 30), "campaign_sent_90d": count("campaign_sent", 90),
        "campaign_read_90d": count("campaign_read", 90), "campaigns_total": count("campaign_sent"),
        "campaign_read_rate_90d": share(count("campaign_sent_and_read", 90), count("campaign_sent", 90)),
        "campaign_converted_90d": count("campaign_converted", 90),
        "campaign_conversion_rate_90d": share(count("campaign_sent_and_converted", 90), count("campaign_sent", 90)),
        "campaign_read_total": count("campaign_read"), "campaign_replied_total": count("campaign_replied"),
        "campaign_converted_total": count("campaign_converted"),
    }  # fmt: skip
    parts = ("morning", "afternoon", "evening", "night", "weekend")
    timing: dict[str, float | None] = {f"active_{part}_90d": count(f"active_{part}", 90) for part in parts}
    # A view has no row before its first event was known.
    for view, measures in (
        (messaging, ("sent", "delivered", "read", "sent_and_read")),
        (replies, ("inbound", "reply")),
        (orders, ("order",)),
        (campaign, ("campaign_sent", "campaign_read", "campaign_replied", "campaign_converted")),
        (timing, tuple(f"active_{part}" for part in parts)),
    ):
        if not any(seen(measure) for measure in measures):
            view.update(dict.fromkeys(view))  # type: ignore[arg-type]
    moments = {
        f"last_{name}_at": max((event.at for event in seen(measure)), default=None)
        for name, measure in (("sent", "sent"), ("read", "read"), ("inbound", "inbound"), ("order", "order"))
    }
    return {**messaging, **replies, **orders, **campaign, **timing, **moments}  # type: ignore[dict-item]


@pytest.mark.parametrize("tenant", ["ours", "theirs"])
def test_every_number_is_what_a_count_of_the_events_known_by_then_gives(history, tenant):
    tenant_id = getattr(history, tenant)
    events = read_events(history, tenant_id)
    chance = random.Random(5)
    spine = [
        (
            str(tenant_id),
            history.contact(number, tenant),
            dt.datetime(2025, 9, 20, tzinfo=dt.UTC) + chance.random() * 220 * DAY,
        )
        for number in (*range(1, 31), 31, 32, 34)
        for _ in range(8)
    ]
    frame = pl.DataFrame(spine, schema=["tenant_id", "contact_id", "event_timestamp"], orient="row")

    found = get_historical_features(history.warehouse, frame, EVERYTHING)

    wrong = []
    compared = 0
    for row in found.iter_rows(named=True):
        for name, value in expected(events, row["contact_id"], row["event_timestamp"]).items():
            seen = row[name]
            compared += value is not None
            same = seen == value if value is None or isinstance(value, dt.datetime) else (
                seen is not None and seen == pytest.approx(value, rel=1e-4, abs=1e-9)
            )  # fmt: skip
            if not same:
                wrong.append((row["contact_id"], row["event_timestamp"], name, seen, value))
    assert not wrong, f"{len(wrong)} differ, e.g. {wrong[:5]}"
    assert compared > 3_000
    assert set(NUMBERS) | set(MOMENTS) - {"first_known_at"} <= set(found.columns)


class TestByHand:
    def test_an_event_counts_from_the_first_midnight_after_it_was_known(self, history):
        contact = history.contact(31)
        # hand-1 was read on the first at 10:00, and we learnt it one second before the third.
        days = [dt.datetime(2026, 1, day, tzinfo=dt.UTC) for day in (2, 3, 4)]
        spine = pl.DataFrame({"tenant_id": str(history.ours), "contact_id": contact, "event_timestamp": days})

        found = get_historical_features(history.warehouse, spine, EVERYTHING)

        assert found["sent_7d"].to_list() == [1, 1, 2]
        assert found["read_7d"].to_list() == [0, 1, 1]
        assert found["read_rate_30d"].to_list() == [0, 1, 0.5]

    def test_a_window_of_seven_days_ends_with_the_seventh(self, history):
        days = [dt.datetime(2026, 1, day, tzinfo=dt.UTC) for day in (8, 9, 10, 11)]
        spine = pl.DataFrame(
            {"tenant_id": str(history.ours), "contact_id": history.contact(31), "event_timestamp": days}
        )

        found = get_historical_features(history.warehouse, spine, EVERYTHING)

        assert found["sent_7d"].to_list() == [2, 1, 1, 0]  # sent at 09:00 on the first and on the third
        assert found["sent_total"].to_list() == [2, 2, 2, 2]

    def test_a_fact_written_later_is_not_taken_back_to_when_the_contact_became_known(self, history):
        days = [dt.datetime(2026, 1, day, 12, tzinfo=dt.UTC) for day in (1, 5, 6)]
        spine = pl.DataFrame(
            {"tenant_id": str(history.ours), "contact_id": history.contact(33), "event_timestamp": days}
        )

        found = get_historical_features(history.warehouse, spine, EVERYTHING)

        assert found["contact_attributes"].to_list() == ["{}", "{}", '{"age": 99}']
        assert found["first_known_at"].to_list() == [dt.datetime(2026, 1, 1, tzinfo=dt.UTC)] * 3
