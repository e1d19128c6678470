import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.pacing import TokenBucket, tier_limit, warm_up_limit

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class TestTokenBucket:
    def test_a_full_bucket_gives_its_capacity_then_its_rate(self):
        granted, bucket = TokenBucket.full(80, 80, NOW).take(100, NOW)
        assert granted == 80
        granted, bucket = bucket.take(100, NOW + timedelta(seconds=0.5))
        assert granted == 40
        assert bucket.seconds_until(10, NOW + timedelta(seconds=0.5)) == pytest.approx(0.125)
        assert bucket.seconds_until(81, NOW) == math.inf

    def test_a_clock_set_back_gives_nothing_extra(self):
        _, bucket = TokenBucket.full(10, 1, NOW).take(10, NOW)
        granted, bucket = bucket.take(5, NOW - timedelta(hours=1))
        assert granted == 0
        assert bucket.take(5, NOW + timedelta(seconds=2))[0] == 2

    @given(st.lists(st.tuples(st.integers(0, 50), st.floats(0, 5)), max_size=50))
    def test_never_more_than_capacity_plus_rate_times_time(self, asks):
        now, bucket, total = NOW, TokenBucket.full(20, 3, NOW), 0
        for wanted, pause in asks:
            now += timedelta(seconds=pause)
            granted, bucket = bucket.take(wanted, now)
            assert 0 <= granted <= wanted
            total += granted
        assert total <= 20 + 3 * (now - NOW).total_seconds() + 1e-6


class TestLimits:
    def test_warm_up_grows_from_20_to_1000_in_14_days(self):
        days = [warm_up_limit(day) for day in range(1, 15)]
        assert (days[0], days[-1], warm_up_limit(15)) == (20, 1000, None)
        assert days == sorted(days)
        with pytest.raises(ValueError, match="counts from 1"):
            warm_up_limit(0)

    def test_tiers(self):
        assert tier_limit("TIER_2K") == 2000
        assert tier_limit("TIER_UNLIMITED") is None
        with pytest.raises(ValueError, match="unknown"):
            tier_limit("TIER_9")
