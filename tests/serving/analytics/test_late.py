"""Every answer says how old its figures are, whether and why that is late, and what they leave out."""

from __future__ import annotations

import datetime as dt

import pytest

from serving.publication.notes import Note, SetAside
from tests.serving.analytics.conftest import AS_OF

ROUTES = ("campaigns", "messages", "engagement", "hourly-stats", "reports", "dashboard", "hot-leads")
MINUTE = dt.timedelta(minutes=1)
WHY = "assert_orders_add_up failed (1 row)"


@pytest.fixture
def told(api, published):
    """What a route says of its figures."""

    def told(route="messages", headers=published):
        answer = api.get(f"/api/v1/analytics/{route}", headers=headers)
        assert answer.status_code == 200, answer.text
        return answer.json().get("published") or answer.json()

    return told


class TestWhenTheRefreshIsDead:
    @pytest.mark.parametrize("route", ROUTES)
    def test_figures_are_late_by_the_time_of_the_answer(self, told, clock, route):
        clock.now = AS_OF + 90 * MINUTE
        assert (told(route)["is_late"], told(route)["late_reason"]) == (False, None)
        clock.now = AS_OF + 91 * MINUTE
        seen = told(route)
        assert (seen["is_late"], seen["as_of"]) == (True, "2026-03-10T06:00:00Z")
        assert seen["late_reason"] == (
            "no refresh since 2026-03-10 06:00 UTC has come to a good end, though one is due every hour"
        )


class TestWhenOneTenantIsHeld:
    @pytest.fixture
    def held(self, publish, tables, measured, clock):
        """An hour later the others' figures are new; those of the measured tenant were held."""
        publish(tables, "snapshot-2", AS_OF + 60 * MINUTE, {str(measured[0].tenant_id): Note(WHY)})
        clock.now = AS_OF + 65 * MINUTE
        yield
        publish(tables)

    @pytest.mark.parametrize("route", ROUTES)
    def test_it_reads_its_last_figures_and_why(self, held, told, route):
        seen = told(route)
        assert (seen["snapshot_id"], seen["as_of"], seen["published_at"]) == (
            "snapshot-1",
            "2026-03-10T06:00:00Z",
            "2026-03-10T06:05:00Z",
        )
        assert (seen["is_late"], seen["late_reason"]) == (
            True,
            f"these figures stay because newer ones are in doubt: {WHY}",
        )

    def test_its_figures_are_the_last_ones(self, held, api, published):
        answer = api.get("/api/v1/analytics/messages", headers=published, params={"from": "2026-03-09"})
        assert answer.json()["totals"]["sent"] == 6

    def test_another_is_told_nothing_of_it(self, held, told, as_stranger):
        seen = told(headers=as_stranger)
        assert (seen["snapshot_id"], seen["as_of"], seen["is_late"]) == ("snapshot-2", "2026-03-10T07:00:00Z", False)

    def test_a_file_says_it_in_its_headers(self, held, api, published):
        answer = api.get("/api/v1/analytics/export", headers=published, params={"report": "usage"})
        said = {name: answer.headers[f"x-{name}"] for name in ("as-of", "is-late", "late-reason")}
        assert said == {
            "as-of": "2026-03-10T06:00:00+00:00",
            "is-late": "true",
            "late-reason": f"these figures stay because newer ones are in doubt: {WHY}",
        }


def test_a_first_publication_that_is_held_says_so(api, publish, published, tables, as_stranger, measured, database):
    import psycopg

    tenant = str(measured[0].tenant_id)
    with psycopg.connect(database.admin) as connection:
        connection.execute("DELETE FROM marts.publications")
    publish(tables, notes={tenant: Note(WHY)})
    try:
        answer = api.get("/api/v1/analytics/messages", headers=published)
        assert answer.status_code == 503
        assert answer.json()["detail"] == f"the first figures are held back: {WHY}"
        assert api.get("/api/v1/analytics/dashboard", headers=published).json()["published"] is None
        assert api.get("/api/v1/analytics/messages", headers=as_stranger).status_code == 200
    finally:
        publish(tables)


def test_a_tenant_reads_what_was_set_aside(told, publish, tables, measured, as_stranger):
    left_out = SetAside("messages", "column_values_to_be_between (timestamp)", 3)
    publish(tables, notes={str(measured[0].tenant_id): Note(set_aside=(left_out,))})
    try:
        seen = told()
        assert seen["set_aside"] == [{"table": left_out.table, "reason": left_out.reason, "rows": left_out.rows}]
        assert told(headers=as_stranger)["set_aside"] == []
    finally:
        publish(tables)
