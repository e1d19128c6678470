"""What might keep people: which kinds of the tenant's own sends were followed by a return of silent ones, and what that
and the drivers of their risk say of one person."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl

from training.metrics import difference_interval
from training.models.churn import WINDOW_DAYS
from training.models.sends import people_share

if TYPE_CHECKING:
    from feature_store.warehouse import Warehouse

# Silent: known by a sign before, none in the window before the send. Returned: a sign within the window after it.
SENDS_TO_SILENT = """
with sends as (
    select tenant_id, contact_id, campaign_id, sent_at, cast(sent_at as date) as sent_date
    from marts.fct_sends
    where tenant_id = $1 and failed_at is null and sent_at <= $2 and substr(md5(contact_id), 1, 4) < $3
),
judged as (
    select
        sends.contact_id,
        sends.campaign_id,
        sends.sent_at,
        max(case when days.activity_date between sends.sent_date - {window} and sends.sent_date - 1 then 1 else 0 end)
            as was_active,
        max(case when days.activity_date between sends.sent_date and sends.sent_date + {window} then 1 else 0 end)
            as returned
    from sends
    inner join marts.fct_contact_days as days
        on days.tenant_id = sends.tenant_id
        and days.contact_id = sends.contact_id
        and days.activity_date <= sends.sent_date + {window}
    group by sends.contact_id, sends.campaign_id, sends.sent_at
    having min(days.activity_date) < min(sends.sent_date)
)
select judged.contact_id, judged.sent_at, judged.returned, campaigns.attributes
from judged
inner join marts.dim_campaigns as campaigns on campaigns.campaign_id = judged.campaign_id and campaigns.tenant_id = $1
where judged.was_active = 0
order by judged.sent_at, judged.contact_id, judged.campaign_id
"""
SENDS = "select count(*) as rows from marts.fct_sends where tenant_id = $1"
MAX_SENDS = 500_000
MIN_PEOPLE = 30
# Below a tenth of a percentage point a field is no reason for anything.
LEAST_EFFECT = 0.001
QUARTERS = ("between 0 and 6 UTC", "between 6 and 12 UTC", "between 12 and 18 UTC", "between 18 and 24 UTC")


@dataclass(frozen=True)
class Action:
    """A kind of send, and how many of the silent people who got one came back within four weeks of their first.
    `base_rate` is the same of sends of other kinds; `low` and `high` bound the difference of the two (90 %). Followed
    by, not caused by: who got which send was not drawn by lot."""

    action: str
    kind: str
    field: str
    value: str
    people: int
    returned: int
    return_rate: float
    base_rate: float
    low: float
    high: float


def actions_followed_by_return(warehouse: Warehouse, tenant_id: str, now: datetime) -> list[dict[str, Any]]:
    """The kinds of send tried on at least 30 silent people, the surest gain first; empty when none was. As JSON."""
    total = int(warehouse.query(SENDS, [tenant_id])["rows"][0])
    matured = now - timedelta(days=WINDOW_DAYS + 1)
    sends = warehouse.query(
        SENDS_TO_SILENT.format(window=WINDOW_DAYS), [tenant_id, matured, people_share(total, MAX_SENDS)]
    )
    if sends.is_empty():
        return []
    attributes = [json.loads(text) if text else {} for text in sends["attributes"]]
    kinds = {
        ("campaign_attribute", field, _shown(given.get(field)))
        for given in {json.dumps(one, sort_keys=True): one for one in attributes}.values()
        for field in given
    }
    outcomes = sends.select("contact_id", pl.col("returned").cast(pl.Int64))
    found = []
    for kind, field, value in sorted(kinds):
        chosen = [_shown(given.get(field)) == value and field in given for given in attributes]
        found.append(_action(f"send one with {field} {value}", kind, field, value, pl.Series(chosen), outcomes))
    quarter = sends["sent_at"].dt.hour() // 6
    for number, words in enumerate(QUARTERS):
        found.append(_action(f"send {words}", "hour", "hour", words, quarter == number, outcomes))
    kept = [action for action in found if action is not None]
    return [asdict(action) for action in sorted(kept, key=lambda action: -action.low)]


def _action(action: str, kind: str, field: str, value: str, chosen: pl.Series, outcomes: pl.DataFrame) -> Action | None:
    came, people = _first_of_each(outcomes.filter(chosen))
    came_otherwise, others = _first_of_each(outcomes.filter(~chosen))
    if people < MIN_PEOPLE or others < MIN_PEOPLE:
        return None
    gain = difference_interval(came, people, came_otherwise, others, level=0.9)
    return Action(
        action, kind, field, value, people, came, came / people, came_otherwise / others, gain.lower, gain.upper
    )


def _first_of_each(outcomes: pl.DataFrame) -> tuple[int, int]:
    """How many people came back after the first of their rows, and how many people there are: who is written to every
    week is one of them."""
    first = outcomes.unique("contact_id", keep="first", maintain_order=True)
    return int(first["returned"].sum()), first.height


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def advice(drivers: Sequence[Mapping[str, Any]], card: Mapping[str, Any]) -> list[str]:
    """Sentences: what raises this contact's risk, the strongest first, then the kind of send that was most surely
    followed by a return, if one was beyond chance. `drivers` as training.explain tells them, `card` of the churn model;
    empty when neither tells anything."""
    usual = {one["field"]: one["reference"][0] for one in card.get("importance", []) if len(one["columns"]) == 1}
    said = [_raises(one, usual.get(one["field"])) for one in drivers if one["effect"] >= LEAST_EFFECT]
    best: Mapping[str, Any] | None = next(iter(card.get("actions") or []), None)
    if best is not None and best["low"] > 0:
        said.append(
            f"{best['action'][:1].upper()}{best['action'][1:]}: {best['return_rate']:.0%} of {best['people']:,} silent"
            f" people came back within four weeks, {best['base_rate']:.0%} of those who were sent another."
        )
    return said


def _raises(driver: Mapping[str, Any], usual: float | None) -> str:
    value, points = driver["value"], f"{100 * driver['effect']:.1f} points of risk"
    about = _about(driver["field"])
    if value is None:
        return f"{about}: it adds {points}."
    beside = "" if usual is None else f", where {usual:g} is usual"
    return f"{about}: {value:g}{beside}, which adds {points}."


def _about(field: str) -> str:
    """A field in the feature catalogue's words; an attribute of the tenant's own by its name."""
    from feature_store.feature_views import FEATURES
    from feature_store.on_demand import ON_DEMAND

    known = FEATURES.get(field) or ON_DEMAND.get(field)
    return known.description.rstrip(".").replace("`", "") if known else field
