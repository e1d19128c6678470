"""The spine both send models share: campaign sends whose attribution window has closed."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from feature_store.warehouse import Warehouse

# The second outcome is that of the contact's next send at least this much later: a read makes the next read likelier
# for ten days or so, and such echoes would pass for a lasting difference between people.
LATER = timedelta(days=20)
# Whole people are sampled, never single rows: history of a contact stays together, and the sample is the same each run.
SENDS = """
select
    send.tenant_id,
    send.contact_id,
    send.sent_at as event_timestamp,
    send.message_id,
    send.campaign_id,
    campaign.attributes as campaign_attributes,
    send.attribution_ends_at as label_known_at,
    case when {happened_at} >= send.sent_at and {happened_at} <= send.attribution_ends_at then 1 else 0 end as label
from marts.fct_sends as send
inner join marts.dim_campaigns as campaign
    on campaign.tenant_id = send.tenant_id and campaign.campaign_id = send.campaign_id
where send.tenant_id = $1
  and send.sent_at is not null
  and send.failed_at is null
  and send.attribution_ends_at <= $2
  and substr(md5(send.contact_id), 1, 4) < $3
order by send.sent_at, send.message_id
"""

MATURED_SENDS = """
select count(*) as rows from marts.fct_sends where tenant_id = $1 and sent_at is not null and attribution_ends_at <= $2
"""


def matured_sends(warehouse: Warehouse, tenant_id: str, now: datetime, max_rows: int, happened_at: str) -> pl.DataFrame:
    """One row per accepted campaign send whose window closed by `now`; label 1 when `happened_at` fell inside it."""
    total = int(warehouse.query(MATURED_SENDS, [tenant_id, now])["rows"][0])
    return warehouse.query(
        SENDS.format(happened_at=f"send.{happened_at}"), [tenant_id, now, people_share(total, max_rows)]
    )


def with_later_outcome(sends: pl.DataFrame) -> pl.DataFrame:
    """The sends, oldest first, with later_label and later_known_at: of the same contact's next send LATER or more
    after each."""
    later = sends.select(
        "contact_id",
        pl.col("event_timestamp").alias("looked_at"),
        pl.col("label").alias("later_label"),
        pl.col("label_known_at").alias("later_known_at"),
    )
    looked = sends.with_columns((pl.col("event_timestamp") + LATER).alias("looked_at"))
    # Both sides are in time order; within a contact polars cannot see that.
    joined = looked.join_asof(later, on="looked_at", by="contact_id", strategy="forward", check_sortedness=False)
    return joined.drop("looked_at")


def people_share(total: int, max_rows: int) -> str:
    """The bound under which the first four hex digits of a contact's hash keep about `max_rows` of `total` rows."""
    return "g" if total <= max_rows else f"{int(0x10000 * max_rows / total):04x}"
