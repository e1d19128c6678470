"""What could be known of people, beside what became of them."""

import math
from datetime import UTC, datetime

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from gateway.simulator.history import HistoryRequest, default_campaigns, generate
from gateway.simulator.observer import Observer
from gateway.simulator.people import DAY, draw_people
from gateway.simulator.truth import ContactTruth

UNTIL = datetime(2026, 6, 1, 12, tzinfo=UTC)
PEOPLE = 2_500


@pytest.fixture(scope="module")
def history():
    request = HistoryRequest(until=UNTIL, campaigns=default_campaigns(90, UNTIL, 5))
    return generate(draw_people(PEOPLE, 5), request, 5, "10")


@pytest.fixture(scope="module")
def observer(history):
    return Observer(draw_people(PEOPLE, 5), history)


@pytest.fixture(scope="module")
def judged(history, observer):
    """Per settled campaign send: observed chance, true chance, was read, chance of being active, was active."""
    read = {event.provider_id for event in history.events if event.kind == "read"}
    return np.array(
        [
            (
                observer.send(send)[0],
                send.p_read,
                send.provider_id in read,
                observer.active(send.person, send.sent_at),
                history.states[send.person].churned_at > send.sent_at,
            )
            for send in history.sends
            if send.sent_at < history.until - 7 * DAY
        ],
        dtype=float,
    )


@pytest.mark.parametrize(("chance", "outcome"), [(0, 2), (3, 4)])
def test_probabilities_are_frequencies_among_the_silent_too(judged, chance, outcome):
    for rows in np.array_split(judged[np.argsort(judged[:, chance])], 10):
        expected, seen = rows[:, chance].mean(), rows[:, outcome].mean()
        # Rows of one person are not independent: twice the error of as many people.
        assert abs(seen - expected) < 6 * math.sqrt(max(expected * (1 - expected), 1e-3) / len(rows)) + 0.005


def test_knows_less_than_who_sees_the_hidden_state_and_more_than_traits_alone(judged):
    observed, true, read, active, _ = judged.T
    traits = np.where(active > 0, observed / active, 0.0)
    assert roc_auc_score(read, traits) + 0.005 < roc_auc_score(read, observed) < roc_auc_score(read, true) - 0.005


def test_a_sign_of_life_proves_that_they_are_there_and_silence_wears_it_out(history, observer):
    proofs = [event for event in history.events if event.kind == "order" and event.at < history.until - 40 * DAY]
    assert len(proofs) > 50
    for event in proofs[:50]:
        assert observer.active(event.person, event.at + 1) > 0.98
    quiet = [index for index, state in enumerate(history.states) if state.churned_at < history.until - 40 * DAY]
    chances = [[observer.active(index, history.until - days * DAY) for days in (20, 0)] for index in quiet]
    assert np.mean([later < earlier for earlier, later in chances]) > 0.95
    assert np.mean(chances, axis=0)[1] < 0.25


def test_nothing_after_the_moment_is_looked_at(history):
    people = draw_people(PEOPLE, 5)
    moment = history.until - 30 * DAY
    request = HistoryRequest(until=UNTIL, campaigns=default_campaigns(90, UNTIL, 5))
    cut = generate(people[:150], request, 5, "10")
    whole = Observer(people[:150], cut)
    cut.events[:] = [event for event in cut.events if event.at < moment]
    cut.sends[:] = [send for send in cut.sends if send.sent_at < moment]
    half = Observer(people[:150], cut)
    assert all(whole.active(index, moment) == half.active(index, moment) for index in range(150))


def test_inactivity_is_as_likely_as_an_observer_says(history, observer):
    moment = history.until - 35 * DAY
    signs = {
        event.person
        for event in history.events
        if event.kind in ("read", "text", "order") and moment < event.at <= moment + 28 * DAY
    }
    people = draw_people(PEOPLE, 5)
    index = {"+" + person.wa_id: person.index for person in people}
    rows = list(observer.contacts(ContactTruth(people, history, moment), moment))
    said = np.array([row["p_inactive_28d"] for row in rows])
    silent = np.array([index[row["phone"]] not in signs for row in rows])
    for group in np.array_split(np.argsort(said), 5):
        expected, seen = said[group].mean(), silent[group].mean()
        assert abs(seen - expected) < 4 * math.sqrt(max(expected * (1 - expected), 1e-3) / len(group)) + 0.01
