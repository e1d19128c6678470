"""Workers killed and stopped at any moment, Redis emptied, answers late or lost, people opting out all the while.

Judged by the simulator's own ledger of what arrived. Small by default, in full with CHAOS=full.
"""

from __future__ import annotations

import datetime as dt
import os
import random
from collections import Counter

import pytest

from .sending_system import Disturbance, System, running, wait_for

IS_FULL = os.environ.get("CHAOS") == "full"
SEED = int(os.environ.get("CHAOS_SEED", "20261201"))
PEOPLE, KILLS, STOPS, OPT_OUTS = (2000, 20, 10, 200) if IS_FULL else (240, 4, 1, 40)
STOP_SECONDS = (10.0, 40.0) if IS_FULL else (16.0, 18.0)
WORKERS, CONNECTIONS = 3, 16
ANSWER_SECONDS = 2.5 if IS_FULL else 0.8
LEASE_SECONDS = 30 if IS_FULL else 12
# From a worker's last byte to the simulator's clock: what a request may take on a busy machine.
ARRIVAL = dt.timedelta(seconds=1)

pytestmark = [pytest.mark.slow, pytest.mark.chaos, pytest.mark.timeout(1500 if IS_FULL else 300)]


def test_nothing_is_lost_or_doubled_and_nobody_is_written_to_after_an_opt_out(database, redis_url, tmp_path):
    system = System(database, redis_url, tmp_path, PEOPLE, CONNECTIONS, ANSWER_SECONDS, LEASE_SECONDS, SEED)
    with running(system):
        chance = random.Random(SEED)
        disturbance = Disturbance(system, KILLS, STOPS, OPT_OUTS, STOP_SECONDS, chance)
        disturbance.run(WORKERS, 1200 if IS_FULL else 200)
        wait_for(system.owes_nothing, 60)
        ledger, states = system.ledger(), system.states()
        effective = dict(system.rows(
            "SELECT c.phone, held.effective_at FROM consents held JOIN contacts c ON c.id = held.contact_id"
            " WHERE held.tenant_id = %s AND held.status = 'opted_out'"
        ))  # fmt: skip
        outcomes = dict(system.rows(
            "SELECT c.phone, o.state FROM outbound_messages o JOIN contacts c ON c.id = o.contact_id"
            " WHERE o.tenant_id = %s"
        ))  # fmt: skip

    arrivals = Counter(phone for phone, _ in ledger)
    lost = [phone for phone, state in outcomes.items() if state == "unknown" and phone not in arrivals]
    late = [(phone, at, effective[phone]) for phone, at in ledger
            if phone in effective and at > effective[phone] + ARRIVAL]  # fmt: skip
    print(
        f"{PEOPLE} messages, {KILLS} kills, {STOPS} stops, {len(effective)} opted out ({len(disturbance.opted_out)} by"
        f" the test); states {states}; arrived {len(arrivals)}, doubled {len(ledger) - len(arrivals)},"
        f" late {len(late)}, lost in flight at a kill {len(lost)} (marked at the kills: {disturbance.in_flight})"
    )
    assert [phone for phone, count in arrivals.items() if count > 1] == []
    assert late == []
    assert len(lost) <= KILLS * CONNECTIONS
    # What arrived is known to have: a status settled every answer that was lost.
    assert {outcomes[phone] for phone in arrivals} <= {"accepted", "sent", "delivered", "read", "failed"}
    assert {state for phone, state in outcomes.items() if phone not in arrivals} <= {"suppressed", "unknown", "failed"}
    assert disturbance.opted_out <= effective.keys()
