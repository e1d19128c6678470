"""Churn: has this contact, active lately, fallen silent for good?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl

from training.models.definition import ModelDefinition, Params, Spine, column, recency
from training.models.sends import people_share

if TYPE_CHECKING:
    from feature_store.transforms import InputColumn
    from feature_store.warehouse import Warehouse

WINDOW_DAYS = 28
# With so many dates more than a label takes to settle, there are some to learn from on every weekday.
SPREAD_DAYS = 14


@dataclass(frozen=True)
class Windows:
    """Days before a date in which a contact must have given a sign to be asked about, and days from it on in which no
    sign means churned. A business whose customers come back every few months sets longer ones (`churn_windows` in its
    settings)."""

    active_days: int = WINDOW_DAYS
    horizon_days: int = WINDOW_DAYS

    @classmethod
    def from_settings(cls, given: Mapping[str, int]) -> Windows:
        """Raises ValueError naming what is no whole number of days above zero, or no window."""
        for name, days in given.items():
            if name not in ("active_days", "horizon_days"):
                raise ValueError(f"churn_windows: {name} is neither of active_days and horizon_days")
            if isinstance(days, bool) or not isinstance(days, int) or days < 1:
                raise ValueError(f"churn_windows: {name} must be a whole number of days above zero, not {days!r}")
        return cls(**given)


# One row per contact and week with a sign in the active days before; the label looks at the horizon from its date on,
# the later label at the horizon after that. Every contact has a weekday of its own, by a hash: a model that knew
# Wednesdays alone would take what each Tuesday's campaign does to the days since the last message for what people do.
CONTACT_WEEKS = """
with spine_dates as (
    select * from (values {dates}) as listed (spine_date, weekday)
),
signs as (
    select distinct tenant_id, contact_id, activity_date,
        (ascii(substr(md5(contact_id), 5, 1)) + ascii(substr(md5(contact_id), 6, 1))
        + ascii(substr(md5(contact_id), 7, 1))) % 7 as weekday
    from marts.fct_contact_days
    where tenant_id = $1 and substr(md5(contact_id), 1, 4) < $2
)
select
    signs.tenant_id,
    signs.contact_id,
    spine_dates.spine_date,
    min(case when signs.activity_date between spine_dates.spine_date and spine_dates.spine_date + {horizon} - 1
        then 0 else 1 end) as label,
    min(case when signs.activity_date >= spine_dates.spine_date + {horizon} then 0 else 1 end) as later_label
from spine_dates
inner join signs
    on signs.weekday = spine_dates.weekday
    and signs.activity_date >= spine_dates.spine_date - {active}
    and signs.activity_date < spine_dates.spine_date + 2 * {horizon}
group by signs.tenant_id, signs.contact_id, spine_dates.spine_date
having max(case when signs.activity_date >= spine_dates.spine_date then 0 else 1 end) = 1
order by spine_dates.spine_date, signs.contact_id
"""

EXTENT = """
select min(activity_date) as first_date, count(distinct contact_id) as contacts
from marts.fct_contact_days
where tenant_id = $1
"""


def build_spine(
    warehouse: Warehouse, tenant_id: str, now: datetime, max_rows: int, windows: Windows = Windows()
) -> Spine:
    extent = warehouse.query(EXTENT, [tenant_id]).row(0, named=True)
    dates = spine_dates(extent["first_date"], now, windows)
    if not dates:
        return Spine(_no_rows(), {})
    asked = [(date, date.toordinal() % 7) for date in dates]
    if len(dates) < windows.horizon_days + SPREAD_DAYS:
        # Of the few settled when the later ones are to be judged, not everybody's weekday is one: all have the last's.
        asked = [(date, weekday) for date in dates[::-7] for weekday in range(7)]
    share = people_share(int(extent["contacts"]) * len(asked) // 7, max_rows)
    listed = ", ".join(f"(date '{date:%Y-%m-%d}', {weekday})" for date, weekday in asked)
    rows = warehouse.query(
        CONTACT_WEEKS.format(dates=listed, active=windows.active_days, horizon=windows.horizon_days), [tenant_id, share]
    )
    at = pl.col("spine_date").cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    later_known_at = at + timedelta(days=2 * windows.horizon_days)
    frame = rows.select(
        "tenant_id",
        "contact_id",
        at.alias("event_timestamp"),
        (at + timedelta(days=windows.horizon_days)).alias("label_known_at"),
        pl.col("label").cast(pl.Int8),
        pl.when(later_known_at <= now).then(pl.col("later_label").cast(pl.Int8)).alias("later_label"),
        pl.when(later_known_at <= now).then(later_known_at).alias("later_known_at"),
    )
    return Spine(frame, {})


def spine_dates(first_sign: Any, now: datetime, windows: Windows = Windows()) -> list[datetime]:
    """Midnights (UTC), oldest first, each with the active days of history before it and a settled horizon after."""
    if first_sign is None:
        return []
    first = datetime(first_sign.year, first_sign.month, first_sign.day, tzinfo=UTC) + timedelta(windows.active_days)
    midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    last = midnight - timedelta(windows.horizon_days)
    return [first + timedelta(days=day) for day in range((last - first).days + 1)]


def _no_rows() -> pl.DataFrame:
    utc = pl.Datetime("us", "UTC")
    return pl.DataFrame(
        schema={
            "tenant_id": pl.String,
            "contact_id": pl.String,
            "event_timestamp": utc,
            "label_known_at": utc,
            "label": pl.Int8,
            "later_label": pl.Int8,
            "later_known_at": utc,
        }
    )


def build_pipeline(params: Params, inputs: Sequence[InputColumn], seed: int, threads: int) -> Any:
    """A forest; a missing value is -1, which no count or day number is."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import Pipeline

    forest = RandomForestClassifier(
        n_estimators=int(params["n_estimators"]),
        max_depth=int(params["max_depth"]),
        min_samples_leaf=int(params["min_samples_leaf"]),
        max_features=params["max_features"],
        max_samples=params["max_samples"],
        random_state=seed,
        n_jobs=threads,
    )
    return Pipeline(
        [("fill", SimpleImputer(strategy="constant", fill_value=-1.0, keep_empty_features=True)), ("forest", forest)]
    )


def rule(frame: pl.DataFrame) -> npt.NDArray[np.float64]:
    """Who was silent long, and spoke little before."""
    silent = np.minimum.reduce(
        [column(frame, f"days_since_last_{sign}", missing=90.0) for sign in ("read", "inbound", "order")]
    )
    signs = column(frame, "read_90d") + column(frame, "inbound_90d") + column(frame, "orders_90d")
    return np.asarray(np.clip(0.6 * (1 - recency(silent, half_life_days=14.0)) + 0.4 / (1 + signs), 0.0, 1.0))


MODEL = ModelDefinition(
    name="churn",
    feature_service="churn_v1",
    unit="one contact once a week, on a weekday of its own, with a read, an inbound message or an order in the 28 days"
    " before it",
    label="no read, inbound message or order in the 28 days from that date on",
    not_for="Contacts without a sign in the 28 days before: who is silent already is not asked about.",
    positive="churned",
    # Six levels find on simulated tenants what nine did, and learn less of what is chance where few columns vary.
    params={
        "n_estimators": 120,
        "max_depth": 6,
        "min_samples_leaf": 25,
        "max_features": 0.35,
        "max_samples": 0.5,
        "class_weight": 0.0,
    },
    tiers={"high": 60.0, "medium": 30.0, "low": 0.0},
    scale="probability",
    build_spine=build_spine,
    build_pipeline=build_pipeline,
    rule=rule,
    active_days=WINDOW_DAYS,
)


def with_windows(windows: Windows) -> ModelDefinition:
    """The model as this tenant asks it."""
    return replace(
        MODEL,
        unit="one contact once a week, on a weekday of its own, with a read, an inbound message or an order in the"
        f" {windows.active_days} days before it",
        label=f"no read, inbound message or order in the {windows.horizon_days} days from that date on",
        not_for=f"Contacts without a sign in the {windows.active_days} days before: who is silent already is not asked"
        " about.",
        build_spine=partial(build_spine, windows=windows),
        active_days=windows.active_days,
    )
