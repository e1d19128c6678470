"""What brought silent people back, counted by hand."""

from __future__ import annotations

from datetime import timedelta

import pytest

from feature_store.warehouse import DuckDBWarehouse
from tests.training.conftest import START, TENANT, add_rows, campaign
from training.retention import actions_followed_by_return, advice

NOW = START + timedelta(days=200)
SENT_AT = START + timedelta(days=100, hours=9)


@pytest.fixture
def silent(warehouse: DuckDBWarehouse) -> DuckDBWarehouse:
    """100 people with one sign on day 1. On day 100 fifty get a gift, which brings 30 of them back, fifty a discount,
    which brings 10; ten more were active on day 90, and ten came back only on day 140."""
    add_rows(warehouse, "marts.dim_campaigns", [campaign("gift", offer_type="gift"), campaign("cut", offer_type="cut")])
    with warehouse.connect(read_only=False) as connection:
        connection.execute(
            """
            insert into marts.fct_sends (tenant_id, contact_id, message_id, campaign_id, sent_at)
            select ?, 'contact-' || n, 'message-' || n, case when n < 50 or n >= 110 then 'gift' else 'cut' end, ?
            from range(120) as people (n)
            """,
            [TENANT, SENT_AT],
        )
        connection.execute(
            """
            insert into marts.fct_contact_days (tenant_id, contact_id, activity_date)
            select $1, 'contact-' || n, cast($2 as date) + 1 from range(120) as people (n)
            union all
            select $1, 'contact-' || n, cast($2 as date) + 105 from range(120) as people (n)
            where n < 30 or n in (50, 51)
            union all
            select $1, 'contact-' || n, cast($2 as date) + 103 from range(120) as people (n) where n >= 52 and n < 60
            union all
            select $1, 'contact-' || n, cast($2 as date) + 90 from range(120) as people (n) where n >= 110
            union all
            select $1, 'contact-' || n, cast($2 as date) + 140 from range(120) as people (n) where n >= 60 and n < 70
            """,
            [TENANT, START],
        )
    return warehouse


class TestActionsFollowedByReturn:
    def test_counts_who_came_back_after_which_kind_of_send(self, silent: DuckDBWarehouse) -> None:
        first, second = actions_followed_by_return(silent, TENANT, NOW)
        assert (first["field"], first["value"]) == ("offer_type", "gift")
        # Ten active people of the gift's are no silent ones; ten others came back too late.
        assert (first["people"], first["returned"]) == (50, 30)
        assert first["base_rate"] == pytest.approx(10 / 60)
        assert first["low"] > 0.2
        assert (second["value"], second["people"], second["returned"]) == ("cut", 60, 10)
        assert second["high"] < 0

    def test_who_is_written_to_again_and_again_is_one_person(self, silent: DuckDBWarehouse) -> None:
        """Three people who stay silent get a present a day for 20 days, all of it after the gifts and the cuts."""
        add_rows(silent, "marts.dim_campaigns", [campaign("daily", offer_type="present")])
        with silent.connect(read_only=False) as connection:
            connection.execute(
                """
                insert into marts.fct_sends (tenant_id, contact_id, message_id, campaign_id, sent_at)
                select ?, 'contact-' || n, 'present-' || n || '-' || day, 'daily', ? + to_days(50 + day)
                from range(100, 103) as people (n), range(20) as days (day)
                """,
                [TENANT, SENT_AT],
            )
        found = actions_followed_by_return(silent, TENANT, NOW + timedelta(days=100))
        assert [(one["value"], one["people"], one["returned"]) for one in found] == [("gift", 50, 30), ("cut", 60, 10)]
        assert found[0]["base_rate"] == pytest.approx(10 / 60)

    def test_an_open_window_tells_nothing_yet(self, silent: DuckDBWarehouse) -> None:
        assert actions_followed_by_return(silent, TENANT, SENT_AT + timedelta(days=20)) == []

    def test_a_stranger_has_no_part_in_it(self, silent: DuckDBWarehouse) -> None:
        assert actions_followed_by_return(silent, "00000000-0000-4000-8000-000000000009", NOW) == []


class TestAdvice:
    CARD = {
        "importance": [
            {"field": "orders_90d", "columns": [3], "reference": [2.0]},
            {"field": "days_since_last_order", "columns": [4], "reference": [None]},
            {"field": "city", "columns": [5, 6], "reference": [0.0, 0.0]},
        ]
    }

    def test_says_what_raises_the_risk_and_by_how_much(self) -> None:
        drivers = [
            {"field": "orders_90d", "value": 0.0, "effect": 0.1234},
            {"field": "read_90d", "value": 9.0, "effect": -0.1},
            {"field": "city", "value": None, "effect": 0.05},
            {"field": "days_since_last_order", "value": 80.0, "effect": 0.02},
            {"field": "sent_90d", "value": 1.0, "effect": 0.0005},
        ]
        assert advice(drivers, self.CARD) == [
            "Orders of the last 90 days: 0, where 2 is usual, which adds 12.3 points of risk.",
            "city: it adds 5.0 points of risk.",
            "Time since last_order_at: 80, which adds 2.0 points of risk.",
        ]

    @pytest.mark.parametrize("actions", [None, [], [{"action": "send one", "low": -0.01}]])
    def test_names_no_send_that_chance_explains(self, actions: object) -> None:
        assert advice([], {"actions": actions}) == []
