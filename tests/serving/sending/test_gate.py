import dataclasses
import datetime as dt
import uuid

import pytest

from serving.sending.gate import Facts, Outcome, QuietHours, Rules, decide

NOON = dt.datetime(2026, 3, 2, 12, tzinfo=dt.UTC)
RULES = Rules(NOON, "UTC", QuietHours(21, 8), 4, True, "green", None)
FACTS = Facts(
    id=uuid.uuid4(), contact_id=uuid.uuid4(), campaign_id=uuid.uuid4(), purpose="marketing",
    payload={"kind": "template"},
    attempt=1, phone="+999100000001", contact_status="active", zone=None, consent="opted_in",
    is_unsubscribed=False, window_expires_at=None, campaign_status="running", campaign_ends_at=None, marketing_7d=0,
    last_outbound_at=None, counts_for_tier=True,
)  # fmt: skip


@pytest.mark.parametrize(
    ("change", "outcome", "reason"),
    [
        ({}, "send", "allowed"),
        ({"consent": "opted_out"}, "suppress", "opted_out"),
        ({"consent": None}, "suppress", "no_consent"),
        ({"is_unsubscribed": True}, "suppress", "unsubscribed"),
        ({"phone": None}, "suppress", "no_phone"),
        ({"contact_status": "unreachable"}, "suppress", "unreachable"),
        ({"campaign_status": "stopped"}, "suppress", "campaign_stopped"),
        ({"campaign_status": "paused"}, "defer", "campaign_paused"),
        ({"campaign_ends_at": NOON}, "suppress", "campaign_ended"),
        ({"payload": {"kind": "text"}}, "suppress", "window_closed"),
        (
            {"payload": {"kind": "text"}, "window_expires_at": NOON + dt.timedelta(seconds=4)},
            "suppress",
            "window_closed",
        ),
        ({"payload": {"kind": "text"}, "window_expires_at": NOON + dt.timedelta(hours=1)}, "send", "allowed"),
        ({"marketing_7d": 4}, "suppress", "frequency_cap"),
        ({"last_outbound_at": NOON - dt.timedelta(seconds=5)}, "defer", "pair_rate"),
        ({"zone": "Asia/Tokyo"}, "defer", "quiet_hours"),
        ({"zone": "Asia/Tokyo", "purpose": "service"}, "send", "allowed"),
        ({"zone": "Mars/Olympus"}, "send", "allowed"),
        ({"purpose": "service", "consent": None}, "send", "allowed"),
    ],
)
def test_each_fact_has_its_verdict(change, outcome, reason):
    verdict = decide(dataclasses.replace(FACTS, **change), RULES)
    assert (verdict.outcome.value, verdict.reason) == (outcome, reason)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"number_is_active": False}, "number_stopped"),
        ({"number_quality": "yellow"}, "number_quality_yellow"),
        ({"tier_left": 0}, "messaging_tier"),
    ],
)
def test_a_numbers_troubles_defer(change, reason):
    verdict = decide(FACTS, dataclasses.replace(RULES, **change))
    assert (verdict.outcome, verdict.reason) == (Outcome.DEFER, reason)
    assert verdict.due_at > NOON


class TestQuietHours:
    def test_end_in_the_recipients_morning(self):
        # Noon UTC is 21:00 in Tokyo; eight in the morning there is 23:00 UTC.
        assert QuietHours(21, 8).ends_at(NOON, "Asia/Tokyo", "UTC") == NOON.replace(hour=23)

    def test_over_a_change_of_clocks_they_still_end_at_eight(self):
        before = dt.datetime(2026, 3, 28, 23, tzinfo=dt.UTC)
        assert QuietHours(21, 8).ends_at(before, "Europe/Berlin", "UTC") == dt.datetime(2026, 3, 29, 6, tzinfo=dt.UTC)

    def test_none_when_they_are_empty(self):
        assert QuietHours(0, 0).ends_at(NOON, "UTC", "UTC") is None
