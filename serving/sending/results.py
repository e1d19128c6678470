"""What the network's answer means for a message: its next state, and what else must stop or wait."""

from __future__ import annotations

import datetime as dt
import random
from dataclasses import dataclass
from typing import Any

from gateway.driver import Abilities
from gateway.errors import GatewayError, Reaction, wait_seconds
from gateway.types import SendReceipt

MAX_ATTEMPTS = 8
_DAY_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True)
class Result:
    """A message's next state. `outcome` is the attempt's, for the record; `due_at` is set where it will be tried
    again."""

    state: str
    outcome: str
    reason: str | None = None
    due_at: dt.datetime | None = None
    provider_id: str | None = None
    accepted_at: dt.datetime | None = None
    error_code: int | None = None
    error_detail: str | None = None
    reaction: Reaction | None = None


def read_result(
    answer: SendReceipt | GatewayError, attempt: int, abilities: Abilities, now: dt.datetime, chance: random.Random
) -> Result:
    """The result of one attempt (counted from 1). Nothing whose outcome is unknown is ever queued again, unless the
    provider recognises a message id it has seen."""
    if isinstance(answer, SendReceipt):
        return Result("accepted", "accepted", provider_id=answer.provider_id, accepted_at=answer.accepted_at)
    label = f"{answer.reaction.value}:{answer.code}" if answer.code is not None else answer.reaction.value
    detail: dict[str, Any] = {
        "error_code": answer.code,
        "error_detail": answer.detail[:500],
        "reaction": answer.reaction,
    }
    if answer.reaction is Reaction.UNKNOWN:
        if abilities is Abilities.DEDUPE and attempt < MAX_ATTEMPTS:
            return Result("queued", "unknown", "outcome_unknown", now + dt.timedelta(seconds=5), **detail)
        return Result("unknown", "unknown", "outcome_unknown", **detail)
    if answer.reaction in (Reaction.STOP_NUMBER, Reaction.STOP_TEMPLATE):
        return Result("queued", "refused", label, now + dt.timedelta(hours=1), **detail)
    waits_a_day = answer.retry_after_seconds is not None and answer.retry_after_seconds >= _DAY_SECONDS
    if answer.reaction is Reaction.BACK_OFF or waits_a_day:
        if attempt >= MAX_ATTEMPTS:
            return Result("failed", "refused", f"gave_up:{label}", **detail)
        return Result("queued", "refused", label, now + _wait(answer, attempt, chance), **detail)
    return Result("failed", "refused", label, **detail)


def _wait(error: GatewayError, attempt: int, chance: random.Random) -> dt.timedelta:
    seconds = error.retry_after_seconds or 5.0
    table = wait_seconds(error.code, attempt)
    if seconds < _DAY_SECONDS:
        # Everybody who was refused at once must not come back at once.
        seconds = max(seconds, table if table is not None else min(seconds * 2 ** (attempt - 1), 3600.0))
        seconds *= 1 + 0.25 * chance.random()
    return dt.timedelta(seconds=seconds)
