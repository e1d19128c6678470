"""The hook that tells somebody of a run that failed."""

from __future__ import annotations

import logging
import os
from dataclasses import asdict, dataclass

import httpx

ALERT_URL = "RAPPORT_ALERT_URL"
TIMEOUT_SECONDS = 10.0
log = logging.getLogger(__name__)


class AlertUndelivered(Exception):
    """The receiver did not take the alert; the text says what it answered."""


@dataclass(frozen=True)
class Alert:
    """`tenant` is the slug of the partition, None for what all tenants share; `at` is ISO 8601, UTC."""

    run_id: str
    job: str
    tenant: str | None
    error: str
    at: str


def send(alert: Alert) -> bool:
    """Whether it went to RAPPORT_ALERT_URL as a JSON POST; without that setting it is a line in the log.

    Raises AlertUndelivered.
    """
    log.error("run.failed run_id=%s job=%s tenant=%s error=%s", alert.run_id, alert.job, alert.tenant, alert.error)
    url = os.environ.get(ALERT_URL)
    if not url:
        return False
    try:
        answer = httpx.post(url, json={"event": "run.failed", **asdict(alert)}, timeout=TIMEOUT_SECONDS)
        answer.raise_for_status()
    except httpx.HTTPError as error:
        raise AlertUndelivered(f"{ALERT_URL}: {error}") from error
    return True
