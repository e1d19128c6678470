"""The routes over published marts: yesterday's numbers are dbt's."""

from __future__ import annotations

import csv
import datetime as dt
import io
import uuid

import pytest

CAMPAIGN = str(uuid.UUID(int=1))
FIGURES = ("campaigns", "messages", "engagement", "hourly-stats", "reports")
SNAPSHOT = {
    "snapshot_id": "snapshot-1", "as_of": "2026-03-10T06:00:00Z", "published_at": "2026-03-10T06:05:00Z",
    "is_late": True, "set_aside": [],
    "late_reason": "no refresh since 2026-03-10 06:00 UTC has come to a good end, though one is due every hour",
}  # fmt: skip


@pytest.fixture(autouse=True)
def at_noon(clock):
    clock.now = dt.datetime(2026, 3, 10, 12, tzinfo=dt.UTC)


@pytest.fixture
def get(api, published):
    def get(route, **parameters):
        names = {name.rstrip("_"): value for name, value in parameters.items()}
        return api.get(f"/api/v1/analytics/{route}", headers=published, params=names)

    return get


class TestBeforeTheFirstPublication:
    @pytest.fixture(autouse=True)
    def unpublished(self, database):
        import psycopg

        with psycopg.connect(database.admin) as connection:
            connection.execute("CREATE TEMP TABLE kept AS SELECT * FROM marts.publications")
            connection.execute("DELETE FROM marts.publications")
            connection.commit()
            yield
            connection.execute("INSERT INTO marts.publications SELECT * FROM kept")

    @pytest.mark.parametrize("route", [*FIGURES, "export?report=messages", "export?report=hot-leads"])
    def test_the_answer_is_a_problem_that_says_what_to_run_and_no_zeros(self, api, published, route):
        answer = api.get(f"/api/v1/analytics/{route}", headers=published)
        assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
        assert answer.json()["type"] == "urn:rapport:problem:nothing-published"
        assert "rapport run" in answer.json()["detail"]
        assert answer.headers["Retry-After"] == "60"

    @pytest.mark.parametrize("route", ["dashboard", "hot-leads"])
    def test_what_is_of_now_is_shown_all_the_same(self, get, route):
        answer = get(route)
        assert (answer.status_code, answer.json()["published"]) == (200, None)


class TestEveryAnswer:
    @pytest.mark.parametrize("route", FIGURES)
    def test_says_which_snapshot_it_is_of(self, get, route):
        seen = get(route).json()
        assert {name: seen[name] for name in SNAPSHOT} == SNAPSHOT

    @pytest.mark.parametrize("route", ["dashboard", "hot-leads"])
    def test_also_that_of_now(self, get, route):
        assert get(route).json()["published"] == SNAPSHOT

    @pytest.mark.parametrize("route", ["campaigns", "messages", "engagement", "hourly-stats"])
    def test_is_of_the_last_thirty_days_unless_told(self, get, route):
        expected = {"from": "2026-02-09", "to": "2026-03-10", "timezone": "Europe/Berlin"}
        assert get(route).json()["range"] == expected

    @pytest.mark.parametrize("route", ["campaigns", "messages", "engagement", "hourly-stats", "export"])
    @pytest.mark.parametrize(
        ("first", "last", "field"),
        [
            ("2026-03-09", "2026-03-08", "to"),
            ("2026-03-11", None, "from"),
            ("2025-03-09", "2026-03-10", "from"),
            ("yesterday", "2026-03-10", "from"),
            (None, "2026-02-30", "to"),
            (None, "0001-01-01", "to"),
            (None, "9999-12-31", "to"),
            ("0001-01-01", "0001-01-05", "from"),
            ("9999-12-31", "9999-12-31", "from"),
        ],
    )
    def test_to_a_range_that_is_none_names_the_field(self, get, route, first, last, field):
        bounds = {name: value for name, value in (("from_", first), ("to", last)) if value}
        answer = get(route, **bounds, **({"report": "usage"} if route == "export" else {}))
        assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
        assert answer.json()["errors"][0]["field"] == field

    def test_366_days_are_not_too_many(self, get):
        assert get("messages", from_="2025-03-10", to="2026-03-10").status_code == 200

    @pytest.mark.parametrize("route", [*FIGURES, "hot-leads"])
    def test_shows_a_stranger_nothing_of_it(self, api, published, as_stranger, route):
        seen = api.get(f"/api/v1/analytics/{route}", headers=as_stranger)
        assert seen.status_code == 200
        assert CAMPAIGN not in seen.text
        assert "'sent': 6" not in str(seen.json())
        assert not seen.json().get("campaigns")


class TestMessages:
    def test_yesterday_is_what_dbt_counted(self, get):
        seen = get("messages", from_="2026-03-09", to="2026-03-09").json()
        counts = {"sent": 6, "delivered": 4, "read": 2, "failed": 1, "replied": 1, "received": 7}
        assert seen["totals"] == counts | {"delivery_rate": 4 / 6, "read_rate": 0.5, "response_rate": 1 / 6}
        assert seen["by_day"] == [{"date": "2026-03-09", **seen["totals"]}]
        assert seen["peak_hour"] == 18

    def test_a_rate_without_divisor_is_null(self, get):
        totals = get("messages", from_="2026-03-02", to="2026-03-02").json()["totals"]
        assert (totals["delivery_rate"], totals["read_rate"]) == (0.0, None)

    def test_a_quiet_range_has_no_peak(self, get):
        seen = get("messages", from_="2026-03-03", to="2026-03-04").json()
        assert (seen["totals"]["sent"], seen["by_day"], seen["peak_hour"]) == (0, [], None)


class TestHourlyStats:
    def test_hours_are_the_tenants_and_told_in_utc_as_well(self, get):
        seen = get("hourly-stats", from_="2026-03-08", to="2026-03-09").json()
        assert [(each["hour_at"], each["date"], each["hour"], each["sent"]) for each in seen["hours"]] == [
            ("2026-03-08T08:00:00Z", "2026-03-08", 9, 5),
            ("2026-03-09T08:00:00Z", "2026-03-09", 9, 5),
            ("2026-03-09T17:00:00Z", "2026-03-09", 18, 1),
        ]
        assert len(seen["by_hour_of_day"]) == 24
        assert seen["by_hour_of_day"][9] == {"hour": 9, "sent": 10, "received": 2}
        assert seen["peak_hour"] == 9


class TestEngagement:
    def test_means_are_of_all_answers_and_not_of_days(self, get):
        seen = get("engagement", from_="2026-03-02", to="2026-03-09").json()
        assert seen["totals"] == {
            "received": 9,
            "replied": 2,
            "active_contacts": 8,
            "conversations": 6,
            "response_seconds_mean": 90.0,
            "reply_characters_mean": 40 / 3,
            "conversation_seconds_mean": 700.0,
            "engagement_score": 50 * 4 / 8 + 50 * 2 / 15,
        }
        assert [each["date"] for each in seen["by_day"]] == ["2026-03-02", "2026-03-08", "2026-03-09"]
        assert seen["by_day"][0]["response_seconds_mean"] is None
        assert seen["by_day"][0]["engagement_score"] == 0.0


class TestCampaigns:
    def test_those_that_sent_in_the_range_with_their_whole_life(self, get):
        seen = get("campaigns", from_="2026-03-09", to="2026-03-09").json()
        (campaign,) = seen["campaigns"]
        assert (campaign["sent"], campaign["delivered"], campaign["conversion_rate"], campaign["roi"]) == (
            10,
            8,
            0.3,
            7,
        )
        assert (campaign["uplift"], campaign["uplift_low"], campaign["uplift_is_significant"]) == (0.2, -0.1, False)
        assert seen["totals"]["campaigns"] == 1

    def test_totals_are_over_all_and_divided_after_the_sum(self, get):
        seen = get("campaigns", limit=1).json()
        assert len(seen["campaigns"]) == 1
        assert (seen["totals"]["campaigns"], seen["totals"]["sent"]) == (2, 14)
        assert seen["totals"]["delivery_rate"] == 8 / 14
        assert seen["totals"]["conversion_rate"] == 3 / 14

    def test_one_may_be_asked_for(self, get):
        assert get("campaigns", campaign_id=CAMPAIGN).json()["totals"]["sent"] == 10

    def test_an_unknown_one_and_a_strangers_are_alike(self, get, api, as_stranger):
        unknown = get("campaigns", campaign_id=uuid.uuid4())
        foreign = api.get("/api/v1/analytics/campaigns", headers=as_stranger, params={"campaign_id": CAMPAIGN})
        assert (unknown.status_code, foreign.status_code) == (404, 404)


class TestHotLeads:
    def test_carry_what_they_did(self, get):
        (lead,) = get("hot-leads").json()["leads"]
        assert (lead["score"], lead["orders_90d"], lead["revenue_90d_cents"]) == (90.0, 2, 4200)
        assert (lead["last_inbound_at"], lead["last_order_at"]) == ("2026-03-09T17:00:00Z", None)


class TestReports:
    def test_a_day_stands_beside_the_day_before(self, get):
        seen = get("reports").json()
        assert (seen["current"]["range"]["from"], seen["previous"]["range"]["to"]) == ("2026-03-09", "2026-03-08")
        assert (seen["current"]["messages"]["sent"], seen["previous"]["messages"]["sent"]) == (6, 5)
        assert seen["changes"]["messages.sent"] == 0.2
        assert seen["changes"]["revenue.EUR.revenue_cents"] == 2.0
        assert seen["changes"]["revenue.USD.revenue_cents"] is None
        assert seen["current"]["usage"] == {"api_calls": 40, "messages_sent": 6}
        assert [each["campaign_id"] for each in seen["top_campaigns"]] == [CAMPAIGN]

    @pytest.mark.parametrize(
        ("parameters", "current", "previous"),
        [
            ({"period": "weekly"}, ("2026-03-02", "2026-03-08"), ("2026-02-23", "2026-03-01")),
            ({"period": "weekly", "date": "2026-03-10"}, ("2026-03-09", "2026-03-15"), ("2026-03-02", "2026-03-08")),
            ({"period": "monthly"}, ("2026-02-01", "2026-02-28"), ("2026-01-01", "2026-01-31")),
            ({"period": "monthly", "date": "2024-02-10"}, ("2024-02-01", "2024-02-29"), ("2024-01-01", "2024-01-31")),
            ({"period": "custom", "from": "2026-03-05", "to": "2026-03-09"}, ("2026-03-05", "2026-03-09"),
             ("2026-02-28", "2026-03-04")),
        ],
    )  # fmt: skip
    def test_periods(self, get, parameters, current, previous):
        seen = get("reports", **parameters).json()
        for name, expected in (("current", current), ("previous", previous)):
            assert (seen[name]["range"]["from"], seen[name]["range"]["to"]) == expected

    @pytest.mark.parametrize("period", ["daily", "weekly", "monthly", "custom"])
    @pytest.mark.parametrize("day", ["0001-01-01", "9999-12-31", "1899-12-31", "3000-01-01"])
    def test_a_day_no_calendar_of_a_business_has_is_refused(self, get, period, day):
        days = {"from": day, "to": day} if period == "custom" else {"date": day}
        answer = get("reports", period=period, **days)
        assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
        assert {error["field"] for error in answer.json()["errors"]} == set(days)

    @pytest.mark.parametrize("period", ["daily", "weekly", "monthly", "custom"])
    @pytest.mark.parametrize("day", ["1900-01-01", "2999-12-31"])
    def test_the_first_and_the_last_day_there_are_were_quiet(self, get, period, day):
        days = {"from": day, "to": day} if period == "custom" else {"date": day}
        answer = get("reports", period=period, **days)
        assert (answer.status_code, answer.json()["current"]["messages"]["sent"]) == (200, 0)

    @pytest.mark.parametrize(
        ("parameters", "field"),
        [
            ({"period": "yearly"}, "period"),
            ({"period": "daily", "from": "2026-03-01"}, "from"),
            ({"period": "custom", "date": "2026-03-01"}, "date"),
        ],
    )
    def test_what_does_not_go_together_is_named(self, get, parameters, field):
        answer = get("reports", **parameters)
        assert answer.status_code == 422
        assert [error["field"] for error in answer.json()["errors"]] == [field]


class TestExport:
    def table(self, answer):
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/csv; charset=utf-8"
        return list(csv.DictReader(io.StringIO(answer.content.decode("utf-8"))))

    @pytest.mark.parametrize(
        ("report", "rows"),
        [("campaigns", 2), ("messages", 3), ("engagement", 3), ("hourly-stats", 4), ("revenue", 3), ("usage", 2),
         ("hot-leads", 1)],
    )  # fmt: skip
    def test_every_report_is_a_file_with_a_name(self, get, report, rows):
        answer = get("export", report=report)
        assert len(self.table(answer)) == rows
        assert answer.headers["content-disposition"] == (f'attachment; filename="{report}_2026-02-09_2026-03-10.csv"')
        assert answer.headers["x-snapshot-id"] == "snapshot-1"

    def test_a_day_is_what_the_route_says(self, get):
        (row,) = self.table(get("export", report="messages", from_="2026-03-09", to="2026-03-09"))
        assert (row["date"], row["sent"], row["read_rate"]) == ("2026-03-09", "6", "0.5")

    def test_no_cell_is_a_formula_and_phones_are_digits(self, get):
        (campaign,) = self.table(get("export", report="campaigns", campaign_id=CAMPAIGN))
        assert campaign["name"] == "'=cmd()"
        (lead,) = self.table(get("export", report="hot-leads"))
        assert (lead["name"], lead["phone"]) == ("'=SUM(A1)", "999300000001")

    def test_an_unknown_report_is_named(self, get):
        answer = get("export", report="users")
        assert [error["field"] for error in answer.json()["errors"]] == ["report"]


class TestOutdatedMarts:
    def test_a_mart_without_a_column_is_a_problem_and_no_crash(self, api, published, publish, tables):
        try:
            lacking = tables["mart_usage"].drop_columns("api_calls")
            publish(tables | {"mart_usage": lacking}, "snapshot-2")
            answer = api.get("/api/v1/analytics/reports", headers=published)
            assert (answer.status_code, answer.json()["type"]) == (503, "urn:rapport:problem:marts-outdated")
            without = {name: table for name, table in tables.items() if name != "mart_usage"}
            publish(without, "snapshot-3")
            answer = api.get("/api/v1/analytics/reports", headers=published)
            assert (answer.status_code, answer.json()["missing"]) == (503, ["mart_usage"])
        finally:
            publish(tables)
