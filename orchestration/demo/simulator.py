"""The demo's line to the simulator: a past to replay, and the wait until everybody has answered."""

from __future__ import annotations

import datetime as dt
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

import httpx
import psycopg

CATEGORIES = ("coffee", "tea", "bakery", "gifts")
HOURS = (9, 11, 13, 17, 19)
DISCOUNTS = (0.0, 0.1, 0.2, 0.3)
HISTORY_DAYS = 90
# Answers of a week arrive within this many seconds.
WEEK_IN_SECONDS = 15
POLL_SECONDS = 0.25
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class PastCampaign:
    external_id: str
    name: str
    sent_at: dt.datetime
    attributes: dict[str, Any]
    text: str


class SimulatorFailed(Exception):
    """The simulator could not post its history; the text is its reason."""


def past_campaigns(until: dt.datetime, seed: int) -> list[PastCampaign]:
    """Weekly campaigns of the last HISTORY_DAYS, the newest eight days before `until`: each has had its week."""
    chance = Random(seed)
    campaigns = []
    for week in range((HISTORY_DAYS - 12) // 7, 0, -1):
        day = until - dt.timedelta(days=7 * week + 1)
        category, rate = chance.choice(CATEGORIES), chance.choice(DISCOUNTS)
        offer = f"{rate:.0%} off {category}" if rate else f"New {category} this week"
        campaigns.append(
            PastCampaign(
                external_id=f"past-{week:02d}",
                name=f"{offer}, week {-week}",
                sent_at=day.replace(hour=chance.choice(HOURS), minute=0, second=0, microsecond=0),
                attributes={
                    "category": category,
                    "offer_type": "discount" if rate else "news",
                    "discount_rate": rate,
                },
                text=f"{offer}! Reply STOP to leave.",
            )
        )
    return campaigns


def replay(
    simulator: str, until: dt.datetime, campaigns: list[tuple[uuid.UUID, PastCampaign]], progress: Progress
) -> int:
    """How many events the simulator posted to the webhook, all acknowledged. `campaigns` come with their ids.

    The same history asked for again goes on where it stopped, so a killed demo can be started again."""
    request = {
        "days": HISTORY_DAYS,
        "until": until.isoformat(),
        "campaigns": [
            {
                "callback_data": f"campaign:{campaign_id}",
                "sent_at": campaign.sent_at.isoformat(),
                "attributes": campaign.attributes,
                "text": campaign.text,
                "audience": "opted_in",
            }
            for campaign_id, campaign in campaigns
        ],
    }
    answer = httpx.post(f"{simulator}/simulator/history", json=request, timeout=60)
    if answer.status_code not in (200, 202):
        raise SimulatorFailed(f"the simulator refused the history: {answer.text}")
    while True:
        status = httpx.get(f"{simulator}/simulator/status", timeout=30).json()
        progress(status["posted"], status["total"])
        if status["state"] == "failed":
            raise SimulatorFailed(f"the simulator could not post its history: {status['last_error']}")
        if status["state"] == "done":
            return int(status["posted"])
        time.sleep(POLL_SECONDS)


def wait_processed(
    worker_url: str, tenant_id: object, total: int, progress: Progress, limit_seconds: float = 300
) -> int:
    """The number of events processed, once none waits. Raises SimulatorFailed when that takes longer than the limit."""
    deadline = time.monotonic() + limit_seconds
    with psycopg.connect(worker_url, autocommit=True) as connection:
        connection.execute("SELECT set_config('app.tenant_id', %s, false)", (str(tenant_id),))
        while True:
            row = connection.execute("SELECT count(*) FROM inbound_events WHERE processed_at IS NULL").fetchone()
            waiting = int(row[0]) if row else 0
            progress(max(total - waiting, 0), total)
            if waiting == 0:
                done = connection.execute("SELECT count(*) FROM inbound_events").fetchone()
                return int(done[0]) if done else 0
            if time.monotonic() > deadline:
                raise SimulatorFailed(
                    f"{waiting} received events were not processed in {limit_seconds:.0f} s; is the worker running?"
                )
            time.sleep(POLL_SECONDS)


def wait_answered(simulator: str, progress: Progress, limit_seconds: float = 120) -> int:
    """The number of live sends, once the simulator owes no event about any of them."""
    deadline = time.monotonic() + limit_seconds
    most = 0
    while True:
        status = httpx.get(f"{simulator}/simulator/status", timeout=30).json()
        most = max(most, status["pending"])
        progress(most - status["pending"], most)
        if status["pending"] == 0:
            return int(status["live_sends"])
        if time.monotonic() > deadline:
            raise SimulatorFailed(f"{status['pending']} events were still owed after {limit_seconds:.0f} s")
        time.sleep(POLL_SECONDS)
