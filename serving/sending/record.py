"""What the network answered, recorded, and what its answers stop."""

from __future__ import annotations

import datetime as dt
import logging
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence

import sqlalchemy as sa
from sqlalchemy.orm import Session

from gateway.errors import Reaction
from serving.consent.service import ConsentChange, record_consents
from serving.sending import statements
from serving.sending.gate import Facts
from serving.sending.results import Result
from serving.sending.start import Number, execute_rows

log = logging.getLogger(__name__)

_OPTED_OUT_CODE = 131050
_NOBODY_CODE = 131026


def record(
    session: Session, tenant_id: uuid.UUID, messages: Sequence[Facts], results: Mapping[uuid.UUID, Result],
    finished_at: dt.datetime,
) -> Counter[str]:  # fmt: skip
    """How many messages ended in each state. A message that a status or another worker has settled meanwhile keeps
    what it has; its attempt says what this worker was told."""
    rows, attempts = [], []
    for item in messages:
        result = results[item.id]
        rows.append(
            {"id": item.id, "attempt": item.attempt, "state": result.state, "reason": result.reason,
             "due_at": result.due_at, "provider_id": result.provider_id, "accepted_at": result.accepted_at}
        )  # fmt: skip
        attempts.append(
            {"id": item.id, "attempt": item.attempt, "finished_at": finished_at, "outcome": result.outcome,
             "provider_id": result.provider_id, "error_code": result.error_code, "error_detail": result.error_detail}
        )  # fmt: skip
    session.execute(sa.text(statements.LOCK), {"ids": [item.id for item in messages]})
    settled = execute_rows(session, statements.RECORD, rows)
    execute_rows(session, statements.ANSWERS, attempts)
    accepted = [row.id for row in settled if row.state == "accepted"]
    if accepted:
        session.execute(sa.text(statements.CONVERSATIONS), {"ids": accepted, "tenant_id": tenant_id})
        session.execute(sa.text(statements.MESSAGES), {"ids": accepted, "tenant_id": tenant_id})
    return Counter(row.state for row in settled)


def react(
    session: Session, tenant_id: uuid.UUID, number: Number, messages: Sequence[Facts],
    results: Mapping[uuid.UUID, Result], now: dt.datetime, phone_key: str,
) -> None:  # fmt: skip
    """Stops what the refusals tell to stop. In a transaction of its own: these rows are locked by others in another
    order than the send path's."""
    refused = [(item, results[item.id]) for item in messages if results[item.id].reaction]
    stopping = next((result for _, result in refused if result.reaction is Reaction.STOP_NUMBER), None)
    templates = {item.campaign_id: result for item, result in refused if result.reaction is Reaction.STOP_TEMPLATE}
    nobody = [item.contact_id for item, result in refused if result.error_code == _NOBODY_CODE]
    withdrawn = [item for item, result in refused if result.error_code == _OPTED_OUT_CODE]
    if stopping is not None:
        reason = {"reason": f"provider:{stopping.error_code}", "number_id": number.id}
        session.execute(sa.text(statements.STOP_NUMBER), reason)
        session.execute(sa.text(statements.PAUSE_CAMPAIGNS_OF_NUMBER), reason)
        log.error("sending.number_stopped", extra={"number_id": str(number.id), "code": stopping.error_code})
    for campaign_id, result in templates.items():
        parameters = {"ids": [campaign_id], "reason": f"template:{result.error_code}"}
        session.execute(sa.text(statements.PAUSE_CAMPAIGNS), parameters)
        log.error("sending.template_stopped", extra={"campaign_id": str(campaign_id), "code": result.error_code})
    if nobody:
        session.execute(sa.text(statements.UNREACHABLE), {"contacts": nobody})
    changes = [
        ConsentChange(item.contact_id, f"send:{item.id}:{_OPTED_OUT_CODE}", "opted_out", now, now, "provider",
                      proof={"outbound_message_id": str(item.id), "code": _OPTED_OUT_CODE})
        for item in withdrawn
    ]  # fmt: skip
    record_consents(session, tenant_id, changes, now, phone_key)
