"""Seeded rows with a known truth, shaped as retrieval returns them. For tests and for trying a model without a
tenant."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from training.datasets import Dataset, content_digest
from training.models import model_named
from training.models.sends import with_later_outcome

Floats = npt.NDArray[np.float64]
MODEL_INPUTS: dict[str, dict[str, Any]] = {
    "contact": {"age": "number", "gender": "category"},
    "campaign": {"offer_type": "category", "reward": "number", "channels": "set"},
}
CAMPAIGNS = (
    {"offer_type": "discount", "reward": 2, "channels": ["social", "web"]},
    {"offer_type": "discount", "reward": 10, "channels": ["web"]},
    {"offer_type": "gift", "reward": 5, "channels": ["social"]},
)
# By quarter of the local day, midnight first.
QUARTERS = ("active_night_90d", "active_morning_90d", "active_afternoon_90d", "active_evening_90d")
TENANT_ID = "00000000-0000-4000-8000-000000000001"


def synthetic_dataset(
    model: str, contacts: int, rows_per_contact: int, *, seed: int, start: datetime, hidden: float = 0.0
) -> tuple[Dataset, pl.DataFrame]:
    """A dataset and its truth: message_id and the `probability` each label was drawn with.

    Contacts are asked about once a week from `start` on; labels settle a week later. `hidden` is the deviation, in
    logits, of what tells contacts apart and no column shows.
    """
    from feature_store.feature_services import FEATURE_SERVICES
    from feature_store.transforms import fit_inputs

    rng = np.random.default_rng(seed)
    service = FEATURE_SERVICES[model_named(model).feature_service]
    rows = contacts * rows_per_contact
    contact = np.tile(np.arange(contacts), rows_per_contact)
    week = np.repeat(np.arange(rows_per_contact), contacts)
    hour = rng.integers(0, 24, rows)
    people = _people(contacts, rng)
    campaign = rng.integers(0, len(CAMPAIGNS), rows)
    numbers = {name: values[contact] for name, values in people.items()}
    at = [start + timedelta(weeks=int(w), hours=int(h)) for w, h in zip(week, hour, strict=True)]
    logits = _logits(model, numbers, campaign, hour)
    if hidden:
        logits += hidden * rng.standard_normal(contacts)[contact]
    probability = 1 / (1 + np.exp(-logits))
    utc = pl.Datetime("us", "UTC")
    moment = pl.Series("event_timestamp", at, dtype=utc)
    stored = {name for _, names in service.views() for name in names}
    columns: dict[str, Any] = {
        "tenant_id": np.repeat(TENANT_ID, rows),
        "contact_id": [f"00000000-0000-4000-9000-{number:012d}" for number in contact],
        "event_timestamp": moment,
        "message_id": [f"00000000-0000-4000-a000-{number:012d}" for number in range(rows)],
        "campaign_id": [f"00000000-0000-4000-b000-{number:012d}" for number in campaign],
        "campaign_attributes": [json.dumps(CAMPAIGNS[number]) for number in campaign],
        "label_known_at": moment + timedelta(days=7),
        "label": (rng.random(rows) < probability).astype(np.int8),
        "tenant_timezone": np.repeat("UTC", rows),
    }
    for name in sorted(stored):
        if name == "contact_attributes":
            columns[name] = [
                json.dumps({"age": int(age), "gender": "f" if female else "m"})
                for age, female in zip(numbers["age"], numbers["female"], strict=True)
            ]
        elif name.endswith("_at"):
            known = name == "first_known_at"
            ago = np.ceil(numbers["silent_days"] * (4.0 if known else 1.0)).astype(int)
            columns[name] = pl.Series(
                [
                    when - timedelta(days=int(days)) if known or days <= 60 else None
                    for when, days in zip(at, ago, strict=True)
                ],
                dtype=utc,
            )
        else:
            columns[name] = numbers.get(name, rng.poisson(2.0, rows).astype(np.float64))
    frame = with_later_outcome(pl.DataFrame(columns).sort("event_timestamp", "message_id"))
    truth = pl.DataFrame({"message_id": columns["message_id"], "probability": probability})
    inputs = fit_inputs(frame, service, MODEL_INPUTS)
    digest = content_digest(frame, inputs)
    return Dataset(model, TENANT_ID, frame, inputs, service.name, digest), truth


def _people(contacts: int, rng: np.random.Generator) -> dict[str, Floats]:
    keen = rng.beta(2.0, 2.0, contacts)
    sent = rng.poisson(8.0, contacts).astype(np.float64)
    read = rng.binomial(sent.astype(int), keen).astype(np.float64)
    orders = rng.poisson(3.0 * keen).astype(np.float64)
    preferred = rng.integers(0, 4, contacts)
    active = rng.poisson(np.where(preferred[:, None] == np.arange(4), 6.0, 1.0)).astype(np.float64)
    return {
        "keen": keen,
        "sent_90d": sent,
        "read_90d": read,
        "read_rate_90d": np.divide(read, sent, out=np.full(contacts, np.nan), where=sent > 0),
        "orders_90d": orders,
        "revenue_cents_90d": orders * rng.integers(500, 5_000, contacts),
        "preferred": preferred.astype(np.float64),
        **{name: active[:, quarter] for quarter, name in enumerate(QUARTERS)},
        "silent_days": rng.exponential(20.0, contacts) * (1.3 - keen),
        "age": rng.integers(18, 80, contacts).astype(np.float64),
        "female": (rng.random(contacts) < 0.5).astype(np.float64),
    }


def _logits(
    model: str, people: dict[str, Floats], campaign: npt.NDArray[np.int64], hour: npt.NDArray[np.int64]
) -> Floats:
    rate = np.nan_to_num(people["read_rate_90d"], nan=0.5) - 0.5
    signal: Floats
    if model == "churn":
        signal = -1.2 + 0.05 * people["silent_days"] - 3.0 * rate - 0.25 * people["orders_90d"]
    elif model == "lead_scoring":
        gift = campaign == 2
        signal = -1.6 + 0.5 * people["orders_90d"] + rate + np.where(gift, 1.2 * people["female"], 0.0)
    else:
        at_their_hour = hour // 6 == people["preferred"]
        signal = 4.0 * rate + np.where(campaign == 1, -1.0, 0.4) + np.where(at_their_hour, 1.2, -0.4)
    return np.asarray(signal)
