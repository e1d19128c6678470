"""Everybody whom a champion is asked about, once in each of three periods of four weeks."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.training.conftest import OTHER_TENANT, START, TENANT, add_rows
from training import periods
from training.models import model_named
from training.models.churn import Windows
from training.periods import people_of

MADE, NOW = START + timedelta(days=90, hours=1), START + timedelta(days=104, hours=2)
DAY = timedelta(days=1)


class Champion:
    """A bundle's papers, for rows that are chosen by them alone."""

    def __init__(self) -> None:
        self.manifest = {"model": "engagement", "tenant_id": TENANT, "reference_campaign": {"reward": 2}}
        self.trained_at = MADE


def add_contacts(warehouse: Any, count: int, known_at: datetime = START, tenant_id: str = TENANT) -> list[str]:
    names = [f"{tenant_id[-1]}-{known_at:%d}-{number:03}" for number in range(count)]
    keys = [{"tenant_id": tenant_id, "contact_id": name} for name in names]
    add_rows(warehouse, "marts.dim_contacts", keys)
    known = {"event_timestamp": known_at, "created_timestamp": known_at, "first_known_at": known_at}
    add_rows(warehouse, "features.contact_profile", [key | known for key in keys])
    return names


def read_on(warehouse: Any, contact_id: str, moment: datetime) -> None:
    row = {"tenant_id": TENANT, "contact_id": contact_id, "event_timestamp": moment, "created_timestamp": moment}
    add_rows(warehouse, "features.contact_messaging_daily", [row | {"last_read_at": moment, "read_7d": 1.0}])


class TestPeopleOf:
    def test_everybody_once_a_period_on_its_days_in_turn(self, warehouse) -> None:
        names = add_contacts(warehouse, 56)
        add_contacts(warehouse, 3, tenant_id=OTHER_TENANT)
        found = people_of(warehouse, Champion(), model_named("engagement"), NOW)
        for rows, last in zip(found, (MADE - 29 * DAY, MADE - DAY, NOW), strict=True):
            assert rows["contact_id"].to_list() == names
            moments = rows["event_timestamp"]
            # The time of day is that of now, which on the day the model was made was still to come.
            newest = last.replace(hour=NOW.hour)
            assert sorted(set(moments)) == [newest - day * DAY for day in range(27, -1, -1)]
            assert rows["campaign_attributes"].unique().to_list() == ['{"reward": 2}']

    def test_who_was_not_known_yet_is_not_there(self, warehouse) -> None:
        old = add_contacts(warehouse, 3)
        new = add_contacts(warehouse, 3, known_at=MADE + DAY)
        older, newer, lately = people_of(warehouse, Champion(), model_named("lead_scoring"), NOW)
        assert older["contact_id"].to_list() == newer["contact_id"].to_list() == old
        assert sorted(lately["contact_id"]) == sorted(old + new)

    @pytest.mark.parametrize(("windows", "asked_about"), [(None, 1), (Windows(active_days=90), 2)])
    def test_churn_is_asked_about_those_with_a_sign_alone(self, warehouse, windows, asked_about: int) -> None:
        active, earlier, _ = add_contacts(warehouse, 3)
        read_on(warehouse, active, NOW - 10 * DAY)
        read_on(warehouse, earlier, NOW - 40 * DAY)
        found = people_of(warehouse, Champion(), model_named("churn", windows), NOW)
        assert found.lately["contact_id"].to_list() == [active, earlier][:asked_about]
        assert found.lately["read_7d"].to_list() == [1.0] * asked_about

    def test_of_many_the_same_sample_in_each_period(self, warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
        add_contacts(warehouse, 400)
        monkeypatch.setattr(periods, "ENOUGH_ROWS", 100)
        older, newer, lately = people_of(warehouse, Champion(), model_named("engagement"), NOW)
        assert 60 <= lately.height <= 140
        assert older["contact_id"].to_list() == newer["contact_id"].to_list() == lately["contact_id"].to_list()
