"""A send whose answer was lost, settled by the status webhook that names our id."""

from __future__ import annotations

import datetime as dt
import json
import uuid

from serving.conversation.service import process_all
from serving.kit.clock import utc_now


def receive_status(outbox, wamid: str, word: str, message_id: uuid.UUID) -> None:
    item = {
        "id": wamid, "status": word, "timestamp": str(int(utc_now().timestamp())), "recipient_id": "999100000051",
        "biz_opaque_callback_data": str(message_id),
    }  # fmt: skip
    payload = {"field": "messages", "value": {"metadata": {"phone_number_id": "1"}, "contacts": [], "statuses": [item]}}
    outbox.execute(
        "INSERT INTO inbound_events (tenant_id, event_key, kind, provider_number_id, occurred_at, received_at, payload)"
        " VALUES (%s, %s, 'status', '1', now(), now(), %s)",
        outbox.tenant_id, f"{wamid}:{word}", json.dumps(payload),
    )  # fmt: skip


def test_the_status_settles_it_and_its_message_exists(sender, outbox, cloud_api, worker_database):
    (message_id,) = outbox.add(1)
    cloud_api.answer = lambda body: "hang up"
    sender.dispatch(outbox.tenant_id)
    assert outbox.states() == {"unknown": 1}
    receive_status(outbox, f"wamid.{message_id}", "delivered", message_id)
    process_all(worker_database, outbox.tenant_id, utc_now(), phone_key="key")
    assert outbox.states() == {"delivered": 1}
    assert outbox.one("SELECT status, provider_id, campaign_id FROM messages WHERE id = %s", message_id) == (
        "delivered", f"wamid.{message_id}", outbox.campaign_id,
    )  # fmt: skip


def test_a_status_that_overtakes_our_own_record_waits_and_is_applied(sender, outbox, worker_database):
    (message_id,) = outbox.add(1)
    receive_status(outbox, "wamid.unseen", "read", message_id)
    batch = process_all(worker_database, outbox.tenant_id, utc_now(), phone_key="key")
    assert batch.waiting == 1
    sender.dispatch(outbox.tenant_id)
    (provider_id,) = outbox.one("SELECT provider_id FROM outbound_messages WHERE id = %s", message_id)
    receive_status(outbox, provider_id, "read", message_id)
    receive_status(outbox, provider_id, "sent", message_id)
    process_all(worker_database, outbox.tenant_id, utc_now(), phone_key="key")
    assert outbox.states() == {"read": 1}
    process_all(worker_database, outbox.tenant_id, utc_now() + dt.timedelta(hours=25), phone_key="key")
    assert outbox.one(
        "SELECT count(*) FROM inbound_events WHERE error IS NOT NULL AND tenant_id = %s", outbox.tenant_id
    ) == (1,)
