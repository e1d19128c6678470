import bisect
from collections import defaultdict
from datetime import UTC, datetime
from itertools import pairwise

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from gateway.simulator.history import HistoryRequest, default_campaigns, generate
from gateway.simulator.people import DAY, draw_people
from gateway.simulator.truth import ContactTruth
from gateway.simulator.wire import provider_id

UNTIL = datetime(2026, 6, 1, 12, tzinfo=UTC)
PEOPLE = 4000


def history_of(count: int, seed: int, **changes):
    request = HistoryRequest(until=UNTIL, campaigns=default_campaigns(90, UNTIL, seed), **changes)
    return generate(draw_people(count, seed), request, seed, "10")


@pytest.fixture(scope="module")
def history():
    return history_of(PEOPLE, seed=7)


@pytest.fixture(scope="module")
def observed(history):
    """Per campaign send with a full week behind it: p_read, was read, p_order, ordered within 7 days."""
    read = {event.provider_id for event in history.events if event.kind == "read"}
    orders = defaultdict(list)
    for event in history.events:
        if event.kind == "order":
            orders[event.person].append(event.at)
    rows = []
    for send in history.sends:
        if send.sent_at < history.until - 7 * DAY:
            at = orders[send.person]
            ordered = bisect.bisect(at, send.sent_at + 7 * DAY) > bisect.bisect(at, send.sent_at)
            rows.append((send.p_read, send.provider_id in read, send.p_order, ordered))
    return np.array(rows, dtype=float)


class TestDeterminism:
    def test_the_same_seed_gives_the_same_past(self):
        first, second = history_of(60, seed=3), history_of(60, seed=3)
        assert first.events == second.events
        assert first.sends == second.sends

    def test_another_seed_gives_another_past(self):
        assert history_of(60, seed=3).events != history_of(60, seed=4).events

    def test_more_people_do_not_change_the_first(self):
        assert draw_people(10, 3) == draw_people(20, 3)[:10]


class TestRealism:
    def test_rates_are_those_of_a_real_shop(self, history, observed):
        ids = {event.provider_id for event in history.events}
        sends = len(history.sends)
        replied = sum(provider_id(send.provider_id, "reply") in ids for send in history.sends) / sends
        stopped = sum(provider_id(send.provider_id, "stop") in ids for send in history.sends) / sends
        assert 0.55 < observed[:, 1].mean() < 0.65
        assert 0.06 < replied < 0.10
        assert 0.04 < observed[:, 3].mean() < 0.065
        assert 0.002 < stopped < 0.006
        assert 0.15 < sum(state.churned_at < history.until for state in history.states) / PEOPLE < 0.25

    def test_about_twenty_messages_a_person(self, history):
        messages = sum(event.kind in ("echo", "text", "order") for event in history.events)
        assert 17 < messages / PEOPLE < 23

    def test_nothing_lies_after_until_and_order_is_by_time(self, history):
        moments = [event.at for event in history.events]
        assert moments == sorted(moments)
        assert moments[-1] < history.until

    def test_no_campaign_reaches_anyone_after_their_stop(self, history):
        for send in history.sends:
            assert send.sent_at < history.states[send.person].opted_out_at

    def test_reply_rate_scale_zero_silences_replies_only(self):
        quiet = history_of(300, seed=7, reply_rate_scale=0)
        ids = {event.provider_id for event in quiet.events}
        assert not any(provider_id(send.provider_id, "reply") in ids for send in quiet.sends)
        assert any(provider_id(send.provider_id, "order") in ids for send in quiet.sends)


class TestTruth:
    @pytest.mark.parametrize(
        ("chance", "outcome", "edges"), [(0, 1, np.arange(0, 1.01, 0.2)), (2, 3, [0, 0.02, 0.05, 0.1, 0.2, 1])]
    )
    def test_probabilities_are_frequencies(self, observed, chance, outcome, edges):
        for low, high in pairwise(edges):
            rows = observed[(observed[:, chance] >= low) & (observed[:, chance] < high)]
            expected, seen = rows[:, chance].mean(), rows[:, outcome].mean()
            # Four standard errors, widened by half since one person's sends are not independent.
            assert abs(seen - expected) < 6 * np.sqrt(expected * (1 - expected) / len(rows)) + 0.002

    def test_a_perfect_model_separates_but_not_fully(self, observed):
        assert 0.75 < roc_auc_score(observed[:, 1], observed[:, 0]) < 0.88
        assert 0.75 < roc_auc_score(observed[:, 3], observed[:, 2]) < 0.88

    def test_inactivity_is_as_likely_as_said(self, history):
        people = draw_people(PEOPLE, 7)
        signs = defaultdict(list)
        for event in history.events:
            if event.kind in ("read", "text", "order"):
                signs["+" + people[event.person].wa_id].append(event.at)
        moment = history.until - 35 * DAY
        rows = list(ContactTruth(people, history, moment).at(moment))
        said = np.array([row["p_inactive_28d"] for row in rows])
        seen = np.array([not any(moment < at <= moment + 28 * DAY for at in signs[row["phone"]]) for row in rows])
        for low, high in [(0, 0.05), (0.05, 0.3), (0.3, 0.95), (0.95, 1.01)]:
            inside = (said >= low) & (said < high)
            assert inside.sum() > 50
            assert abs(said[inside].mean() - seen[inside].mean()) < 5 * np.sqrt(0.25 / inside.sum()) * 0.5 + 0.005
