"""Where the warehouse keeps each view's rows, with both of their times."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Source:
    """A table of the warehouse. `event_timestamp` is since when the row is true in the world, `created_timestamp` since
    when we knew it; both UTC. A row is the contact's state until the next row of the same contact."""

    table: str
    event_timestamp: str = "event_timestamp"
    created_timestamp: str = "created_timestamp"


CONTACT_MESSAGING_DAILY = Source("features.contact_messaging_daily")
CONTACT_REPLIES_DAILY = Source("features.contact_replies_daily")
CONTACT_ORDERS_DAILY = Source("features.contact_orders_daily")
CONTACT_CAMPAIGN_DAILY = Source("features.contact_campaign_daily")
CONTACT_TIMING_DAILY = Source("features.contact_timing_daily")
CONTACT_PROFILE = Source("features.contact_profile")
