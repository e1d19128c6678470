"""Whose number a webhook is for."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Collection

import sqlalchemy as sa

from serving.kit.database import Database

KNOWN_SECONDS = 60.0
# A number registered a moment ago must not lose its first events for long.
UNKNOWN_SECONDS = 2.0

_ROUTES = sa.text("""
    SELECT number, routed.tenant_id
    FROM unnest(CAST(:numbers AS text[])) AS number CROSS JOIN LATERAL route_number(number) AS routed
""")


class NumberRoutes:
    """Tenants by provider_number_id, remembered for a minute. Safe to share between threads."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._clock = clock
        self._known: dict[str, tuple[float, uuid.UUID | None]] = {}

    def cached(self, numbers: Collection[str]) -> dict[str, uuid.UUID | None] | None:
        """The tenant of each number (None: nobody's), or None when one of them has to be looked up."""
        now = self._clock()
        found = {}
        for number in numbers:
            until, tenant_id = self._known.get(number, (0.0, None))
            if until < now:
                return None
            found[number] = tenant_id
        return found

    def look_up(self, numbers: Collection[str]) -> dict[str, uuid.UUID | None]:
        """As `cached`, asking the database; blocks."""
        with self._database.no_tenant() as session:
            routed: dict[str, uuid.UUID] = dict(
                session.execute(_ROUTES, {"numbers": [number for number in numbers if number]}).tuples().all()
            )
        found = {number: routed.get(number) for number in numbers}
        if len(self._known) > 10_000:
            self._known.clear()
        now = self._clock()
        for number, tenant_id in found.items():
            self._known[number] = (now + (KNOWN_SECONDS if tenant_id else UNKNOWN_SECONDS), tenant_id)
        return found
