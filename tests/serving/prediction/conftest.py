"""A real champion for the tests: a logistic regression as ONNX, in the folder the API reads, and rows in Redis."""

from __future__ import annotations

import itertools
import json
import os
import uuid
from pathlib import Path

import numpy as np
import pytest
import redis
from skl2onnx import to_onnx
from sklearn.linear_model import LogisticRegression

from feature_store.feature_views import MOMENTS, NUMBERS
from feature_store.on_demand import MISSING_MOMENT
from feature_store.online import contact_key, pack, schemas_key, timezone_key
from feature_store.packing import CURRENT
from feature_store.transforms import InputColumn
from serving.prediction.bundles import bundle_digest

INPUTS = (
    InputColumn("orders_total", "feature", "orders_total"),
    InputColumn("days_since_last_order", "on_demand", "days_since_last_order"),
    InputColumn("contact.gender=f", "contact_attribute", "gender", equals="f"),
    InputColumn("campaign.reward", "campaign_attribute", "reward"),
)
# Usual: one order, thirty days ago, a man, a reward of two.
CARD = {
    "importance": [
        {"field": "orders_total", "source": "feature", "auc_drop": 0.2, "columns": [0], "reference": [1.0]},
        {"field": "days_since_last_order", "source": "on_demand", "auc_drop": 0.1, "columns": [1], "reference": [30.0]},
        {"field": "gender", "source": "contact_attribute", "auc_drop": 0.05, "columns": [2], "reference": [0.0]},
        {"field": "reward", "source": "campaign_attribute", "auc_drop": 0.01, "columns": [3], "reference": [2.0]},
    ]
}
# 2026-03-01 and 2026-03-10 in microseconds.
ORDERED_AT = 1_772_323_200_000_000
SNAPSHOT_AT = 1_773_100_800_000_000
_numbers = itertools.count(1)


class Champions:
    """Writes bundles as a promotion does: a folder named by its digest, then the pointer, replaced at once."""

    card = CARD

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def promote(
        self, tenant_id: uuid.UUID, model: str, /, version: str = "1", bias: float = 0.0, card=CARD, **changes
    ) -> Path:
        graph = self.graph(bias)
        manifest = {
            "schema_version": 1,
            "tenant_id": str(tenant_id),
            "model": model,
            "version": version,
            "feature_service": {"churn": "churn_v1", "engagement": "engagement_v1"}.get(model, "lead_scoring_v1"),
            "inputs": [column.to_json() for column in INPUTS],
            "calibration": {"x": [0.0, 1.0], "y": [0.0, 0.5]},
            "reference_quantiles": [position / 200 for position in range(101)],
            "tiers": {"hot": 80, "warm": 50, "cold": 0},
            "reference_campaign": {"reward": 2},
            "base_rate": 0.1,
            "trained_at": "2026-03-01T00:00:00+00:00",
        } | changes
        digest = bundle_digest(graph, manifest)
        folder = self.folder / str(tenant_id) / model / digest
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "model.onnx").write_bytes(graph)
        (folder / "manifest.json").write_text(json.dumps(manifest | {"digest": digest}, indent=1))
        if card is not None:
            (folder / "card.json").write_text(json.dumps(card))
        self.point(tenant_id, model, digest, version)
        return folder

    def point(self, tenant_id: uuid.UUID, model: str, digest: str, version: str = "1") -> None:
        pointer = self.folder / str(tenant_id) / model / "champion.json"
        pointer.parent.mkdir(parents=True, exist_ok=True)
        beside = pointer.with_suffix(".writing")
        beside.write_text(json.dumps({"digest": digest, "version": version}))
        os.replace(beside, pointer)

    def graph(self, bias: float) -> bytes:
        model = LogisticRegression()
        model.classes_ = np.array([0, 1])
        model.coef_ = np.array([[0.5, -0.1, 1.0, 0.25]])
        model.intercept_ = np.array([bias])
        converted = to_onnx(model, np.zeros((1, len(INPUTS)), np.float32), options={"zipmap": False}, target_opset=15)
        return converted.SerializeToString()


@pytest.fixture(scope="module")
def champions(bundles_dir) -> Champions:
    return Champions(bundles_dir)


@pytest.fixture(scope="module")
def materialised(redis_url):
    """Notes that a tenant's features were written at a moment."""
    client = redis.Redis.from_url(redis_url)

    def note(tenant_id, at):
        described = CURRENT.to_json() | {"written_at": int(at.timestamp() * 1_000_000)}
        client.hset(schemas_key(tenant_id), CURRENT.schema, json.dumps(described))

    yield note
    client.close()


@pytest.fixture(scope="module")
def online(redis_url):
    """Puts one contact's features into the online store."""
    client = redis.Redis.from_url(redis_url)

    def put(tenant_id, contact_id, attributes=None, last_order_at=None, snapshot_at=SNAPSHOT_AT, **numbers):
        row = np.full((1, len(NUMBERS)), np.nan, np.float32)
        for name, value in numbers.items():
            row[0, NUMBERS.index(name)] = value
        moments = np.full((1, len(MOMENTS)), MISSING_MOMENT, np.int64)
        if last_order_at is not None:
            moments[0, MOMENTS.index("last_order_at")] = last_order_at
        (value,) = pack(snapshot_at, row, moments, [json.dumps(attributes or {})])
        client.mset({contact_key(tenant_id, contact_id): value, timezone_key(tenant_id): "Europe/Berlin"})

    yield put
    client.close()


@pytest.fixture
def owner(request, make_tenant, clock):
    """The owner of a new tenant, at the module's NOW."""
    clock.now = request.module.NOW
    return make_tenant()


@pytest.fixture
def headers(owner):
    return {"X-API-Key": owner.api_key}


@pytest.fixture
def contact_id(api, headers, owner, online):
    """A contact who ordered twice, last on the first of March, and is a woman."""
    body = {"phone": f"+999400{next(_numbers):06d}"}
    contact_id = api.post("/api/v1/contacts/", headers=headers, json=body).json()["id"]
    online(owner.tenant_id, contact_id, {"gender": "f"}, ORDERED_AT, orders_total=2)
    return contact_id
