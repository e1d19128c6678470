"""What an operator reads of the published figures."""

from __future__ import annotations

import datetime as dt

import psycopg

from orchestration.runtime.figures import published_figures
from orchestration.runtime.home import Home

AS_OF = dt.datetime(2026, 3, 10, 6, tzinfo=dt.UTC)


def test_age_held_tenants_and_rows_set_aside_are_told(database, home: Home, monkeypatch) -> None:
    monkeypatch.setenv("DATABASE_URL", database.admin)
    assert published_figures(home, AS_OF) is None
    with psycopg.connect(database.admin) as connection:
        connection.execute("INSERT INTO marts.publications VALUES ('s', %s, %s, 'mart_usage', 1)", (AS_OF, AS_OF))
        connection.execute("INSERT INTO tenants (slug, name) VALUES ('theirs', 'Theirs'), ('odd', 'Odd')")
        connection.execute(
            "INSERT INTO marts.publication_notes SELECT id, 's', %s, %s,"
            " CASE slug WHEN 'theirs' THEN 'x failed' END,"
            ' CASE slug WHEN \'odd\' THEN \'[{"table": "orders", "reason": "r", "rows": 2}]\' ELSE \'[]\''
            " END::jsonb FROM tenants WHERE slug IN ('theirs', 'odd')",
            (AS_OF, AS_OF),
        )
    figures = published_figures(home, AS_OF + dt.timedelta(minutes=90))
    assert figures is not None
    assert (figures.is_late, figures.held, figures.rows_set_aside) == (False, {"theirs": "x failed"}, {"odd": 2})
    late = published_figures(home, AS_OF + dt.timedelta(minutes=91))
    assert late is not None
    assert late.lines == [
        "figures as of 2026-03-10 06:00 UTC, late: no refresh since has come to a good end",
        "theirs keeps earlier figures: x failed",
        "odd: 2 rows set aside (raw._set_aside)",
    ]
    monkeypatch.setenv("SERVING_FIGURES_LATE_MINUTES", "120")
    again = published_figures(home, AS_OF + dt.timedelta(minutes=91))
    assert again is not None
    assert not again.is_late


def test_a_database_that_does_not_answer_is_no_error(home: Home, monkeypatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:9/nothing")
    assert published_figures(home, AS_OF) is None
