"""How fast a number may send: pure functions of limits, history and `now`."""

import math
from dataclasses import dataclass
from datetime import datetime

WARM_UP_DAYS = 14
WARM_UP_FIRST = 20
WARM_UP_LAST = 1000

# People a portfolio may start conversations with in a rolling 24 hours.
TIER_LIMITS: dict[str, int | None] = {
    "TIER_250": 250,
    "TIER_2K": 2_000,
    "TIER_10K": 10_000,
    "TIER_100K": 100_000,
    "TIER_UNLIMITED": None,
}


@dataclass(frozen=True, slots=True)
class TokenBucket:
    """A bucket holding `tokens` as of `updated_at` (UTC), filling at `rate_per_second` up to `capacity`."""

    capacity: float
    rate_per_second: float
    tokens: float
    updated_at: datetime

    @classmethod
    def full(cls, capacity: float, rate_per_second: float, now: datetime) -> "TokenBucket":
        if capacity <= 0 or rate_per_second <= 0:
            raise ValueError("capacity and rate_per_second must be positive")
        return cls(capacity, rate_per_second, capacity, now)

    def take(self, wanted: int, now: datetime) -> "tuple[int, TokenBucket]":
        """Whole tokens granted (0..wanted) and the bucket afterwards. A clock that went back grants nothing extra."""
        elapsed = max((now - self.updated_at).total_seconds(), 0.0)
        available = min(self.capacity, self.tokens + elapsed * self.rate_per_second)
        granted = min(max(wanted, 0), math.floor(available + 1e-9))
        later = max(now, self.updated_at)
        return granted, TokenBucket(self.capacity, self.rate_per_second, max(available - granted, 0.0), later)

    def seconds_until(self, wanted: int, now: datetime) -> float:
        """Seconds until `wanted` tokens are there; infinite when they never fit the bucket."""
        if wanted > self.capacity:
            return math.inf
        elapsed = max((now - self.updated_at).total_seconds(), 0.0)
        available = min(self.capacity, self.tokens + elapsed * self.rate_per_second)
        return max(wanted - available, 0.0) / self.rate_per_second


def tier_limit(tier: str) -> int | None:
    """Unique people per rolling 24 hours, or None for no limit. Raises: ValueError for a tier not known."""
    try:
        return TIER_LIMITS[tier]
    except KeyError:
        raise ValueError(f"unknown messaging tier {tier!r}") from None


def warm_up_limit(day: int) -> int | None:
    """Messages allowed on a new number's `day` (1 is its first); grows by a constant factor, None once warmed up."""
    if day < 1:
        raise ValueError("day counts from 1")
    if day > WARM_UP_DAYS:
        return None
    growth = (WARM_UP_LAST / WARM_UP_FIRST) ** (1 / (WARM_UP_DAYS - 1))
    return round(WARM_UP_FIRST * math.pow(growth, day - 1))
