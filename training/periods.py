"""The people and the sends by which a champion's drift is judged: before it was made, and lately."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import polars as pl

from training.bundle import Bundle
from training.drift import Drift, Periods, drift_of
from training.models import model_named
from training.models.churn import Windows
from training.models.definition import ModelDefinition
from training.models.sends import people_share

if TYPE_CHECKING:
    from feature_store.warehouse import Warehouse

# A period has each day of the week four times, and a campaign a month once.
PERIOD_DAYS = 28
# More rows make no bin better.
ENOUGH_ROWS = 5_000
COUNT = "select count(*) as contacts from marts.dim_contacts where tenant_id = $1"
CONTACTS = """
select tenant_id, contact_id from marts.dim_contacts where tenant_id = $1 and substr(md5(contact_id), 1, 4) < $2
order by contact_id
"""


def champion_drift(
    warehouse: Warehouse, bundle: Bundle, sent: pl.DataFrame, now: datetime, churn_windows: Windows | None = None
) -> Drift | None:
    """How far a champion's people and campaigns have moved since it was made; None where nobody is there to judge.

    `sent` are its rows of the last PERIOD_DAYS, as retrieval returns them; `churn_windows` as it was trained with."""
    from feature_store.feature_services import FEATURE_SERVICES
    from feature_store.retrieval import get_historical_features

    tenant_id = str(bundle.manifest["tenant_id"])
    chosen = model_named(str(bundle.manifest["model"]), churn_windows)
    learnt = chosen.build_spine(warehouse, tenant_id, bundle.trained_at, ENOUGH_ROWS).frame
    if learnt.is_empty():
        return None
    since = learnt["event_timestamp"].sort()
    people = people_of(warehouse, bundle, chosen, now)
    sends = None
    if "campaign_id" in learnt.columns:
        known = get_historical_features(warehouse, learnt, FEATURE_SERVICES[chosen.feature_service])
        later = known["event_timestamp"] >= since[len(since) // 2]
        sends = Periods(known.filter(~later), known.filter(later), sent)
    return drift_of(bundle.inputs, bundle.probability, since[0], people, sends)


def people_of(warehouse: Warehouse, bundle: Bundle, chosen: ModelDefinition, now: datetime) -> Periods:
    """Everybody whom the model is asked about, once in each period, as known on one of its days in turn; asked about
    the reference campaign at the time of day it is now, as scores are. `older` and `newer` are the two periods before
    the model was made, `lately` the one before now. Above ENOUGH_ROWS contacts, the same sample in each."""
    from feature_store.feature_services import FEATURE_SERVICES
    from feature_store.retrieval import get_historical_features

    tenant_id = str(bundle.manifest["tenant_id"])
    total = int(warehouse.query(COUNT, [tenant_id])["contacts"][0])
    contacts = warehouse.query(CONTACTS, [tenant_id, people_share(total, ENOUGH_ROWS)])
    made = now - timedelta(days=math.ceil((now - bundle.trained_at) / timedelta(days=1)))
    ends = (made - timedelta(days=PERIOD_DAYS), made, now)
    days = pl.int_range(pl.len()) % PERIOD_DAYS
    spine = pl.concat(
        contacts.with_columns(
            event_timestamp=pl.lit(end.astimezone(UTC)).cast(pl.Datetime("us", "UTC")) - pl.duration(days=days),
            campaign_attributes=pl.lit(json.dumps(bundle.manifest["reference_campaign"])),
            period=pl.lit(number),
        )
        for number, end in enumerate(ends)
    )
    known = get_historical_features(warehouse, spine, FEATURE_SERVICES[chosen.feature_service])
    asked_about = known.filter(_asked_about(chosen))
    return Periods(*(asked_about.filter(pl.col("period") == number).drop("period") for number in range(len(ends))))


def _asked_about(chosen: ModelDefinition) -> pl.Expr:
    known = pl.col("first_known_at").is_not_null()
    if chosen.active_days is None:
        return known
    last_sign = pl.max_horizontal("last_read_at", "last_inbound_at", "last_order_at")
    return known & (last_sign >= pl.col("event_timestamp") - timedelta(days=chosen.active_days))
