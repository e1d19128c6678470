"""How old the published figures are, of whom they are held, and what is set aside: for the operator."""

from __future__ import annotations

import datetime as dt
import os
from dataclasses import dataclass, field

from orchestration.runtime.environment import admin_database_url
from orchestration.runtime.home import Home

LATE_MINUTES = 90.0
CONNECT_SECONDS = 3


@dataclass(frozen=True)
class Figures:
    """`as_of` (UTC) is what the newest publication is true for. `held` tells by tenant why it reads an earlier one,
    `rows_set_aside` how many of its rows are in no figure."""

    as_of: dt.datetime
    is_late: bool
    held: dict[str, str] = field(default_factory=dict)
    rows_set_aside: dict[str, int] = field(default_factory=dict)

    @property
    def lines(self) -> list[str]:
        age = "late: no refresh since has come to a good end" if self.is_late else "up to date"
        return [
            f"figures as of {self.as_of:%Y-%m-%d %H:%M} UTC, {age}",
            *(f"{tenant} keeps earlier figures: {why}" for tenant, why in self.held.items()),
            *(f"{tenant}: {rows} rows set aside (raw._set_aside)" for tenant, rows in self.rows_set_aside.items()),
        ]


def published_figures(home: Home, now: dt.datetime) -> Figures | None:
    """None before the first publication, and when the database cannot be asked."""
    import psycopg

    try:
        url = admin_database_url(home)
        with psycopg.connect(url, connect_timeout=CONNECT_SECONDS) as connection:
            row = connection.execute("SELECT max(as_of) FROM marts.publications").fetchone()
            notes = connection.execute(
                "SELECT t.slug, n.held_because, (SELECT coalesce(sum((each->>'rows')::bigint), 0)"
                " FROM jsonb_array_elements(n.set_aside) AS each)::bigint"
                " FROM marts.publication_notes n JOIN tenants t ON t.id = n.tenant_id ORDER BY t.slug"
            ).fetchall()
    except Exception:
        # A product that is down, half made or of another version: `status` tells that itself.
        return None
    if row is None or row[0] is None:
        return None
    late_after = dt.timedelta(minutes=float(os.environ.get("SERVING_FIGURES_LATE_MINUTES") or LATE_MINUTES))
    return Figures(
        as_of=row[0].astimezone(dt.UTC),
        is_late=now - row[0] > late_after,
        held={slug: why for slug, why, _ in notes if why is not None},
        rows_set_aside={slug: rows for slug, _, rows in notes if rows},
    )
