"""A confirmation of an opt-out is a message of purpose service: marketing consent does not hold it back."""

from __future__ import annotations

import json
import uuid

import pytest


@pytest.fixture
def confirm(outbox):
    """Queues a confirmation to somebody who opted out of marketing and wrote a moment ago; its id."""

    def queue(service: str | None) -> uuid.UUID:
        (message_id,) = outbox.add(1, consent="opted_out")
        payload = {"kind": "text", "text": "No more offers.", "about": "opt_out_confirmation"}
        outbox.execute(
            "UPDATE outbound_messages SET purpose = 'service', campaign_id = NULL, payload = %s WHERE id = %s",
            json.dumps(payload), message_id,
        )  # fmt: skip
        outbox.execute(
            "INSERT INTO conversations (tenant_id, contact_id, phone_number_id, started_at, last_message_at,"
            " window_expires_at) SELECT tenant_id, contact_id, phone_number_id, now(), now(), now() + interval '20 h'"
            " FROM outbound_messages WHERE id = %s",
            message_id,
        )
        if service:
            outbox.execute(
                "INSERT INTO consents (tenant_id, contact_id, purpose, status, effective_at, source) SELECT tenant_id,"
                " contact_id, 'service', %s, now(), 'test' FROM outbound_messages WHERE id = %s",
                service, message_id,
            )  # fmt: skip
        return message_id

    return queue


def test_it_goes_out_although_marketing_has_ended(outbox, sender, cloud_api, confirm):
    message_id = confirm(None)
    assert sender.dispatch(outbox.tenant_id) == {"accepted": 1}
    assert [body["text"]["body"] for body in cloud_api.requests] == ["No more offers."]
    assert cloud_api.sends == {str(message_id): 1}


def test_it_stays_for_somebody_who_wants_no_service_messages_either(outbox, sender, cloud_api, confirm):
    confirm("opted_out")
    assert sender.dispatch(outbox.tenant_id) == {"suppressed": 1}
    assert cloud_api.requests == []
