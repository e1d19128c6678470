"""A tenant whose model can be asked, by a process that can be measured."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass

import httpx
import numpy as np
from skl2onnx import to_onnx
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from serving.prediction.given import Fields
from tests.fuzz.limits import within_limits
from tests.serving.api_process import ApiProcess
from tests.serving.prediction.conftest import INPUTS, Champions

ROUTE = "/api/v1/ml/models/lead-scoring/batch"
# What the champion of tests/serving/prediction needs, and a set more.
FIELDS = Fields(("orders_total",), ("last_order_at",), {"gender": "category"})
ANYBODY = [str(uuid.UUID(int=number)) for number in range(3)]


class Judging(Champions):
    """Champions that have an answer for what is not known, as real ones do."""

    def graph(self, bias: float) -> bytes:
        model = make_pipeline(SimpleImputer(), LogisticRegression())
        model.fit(np.array([[2.0] * len(INPUTS), [np.nan] * len(INPUTS)]), [0, 1])
        converted = to_onnx(model, np.zeros((1, len(INPUTS)), np.float32), options={"zipmap": False}, target_opset=15)
        return bytes(converted.SerializeToString())


@dataclass
class Asking:
    """Sends bodies to the batch route; `usual` is asked after each, to see that the process still answers."""

    api: ApiProcess
    client: httpx.Client

    def ask(self, body: bytes, content_type: str) -> httpx.Response:
        """The answer, which is no failure of the server and cost no more than one may. Raises: TooCostly."""
        with within_limits(body, pid=self.api.pid):
            answer = self.client.post(ROUTE, content=body, headers={"Content-Type": content_type})
        assert answer.status_code in (200, 400, 413, 422), (answer.status_code, answer.text[:500], body[:500])
        if answer.status_code != 200:
            assert answer.headers["content-type"] == "application/problem+json"
            assert len(answer.content) < 1_000_000
        return answer

    def warm(self, *bodies: tuple[bytes, str]) -> None:
        """What is made at the first request is made before anything is measured."""
        for body, content_type in bodies:
            answer = self.client.post(ROUTE, content=body, headers={"Content-Type": content_type})
            assert answer.status_code == 200, answer.text


GOOD = {"orders_total": [2, None], "last_order_at": ["2026-03-01T00:00:00Z", None], "contact.gender": ["f", "m"]}
USUAL = json.dumps({"columns": GOOD}).encode()
