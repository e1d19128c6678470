"""How fast a number may send, counted in Redis for all workers at once. Losing it can only slow sends down."""

from __future__ import annotations

import logging
import uuid

from redis import Redis
from redis.exceptions import RedisError

log = logging.getLogger(__name__)

# A bucket that Redis does not know starts empty, so that a lost key never lets a second burst through.
_TAKE = """
local rate, capacity, wanted = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local held = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local tokens, at = tonumber(held[1]), tonumber(held[2])
if tokens == nil then tokens = math.min(capacity, rate / 10) end
if at == nil or at > now then at = now end
tokens = math.min(capacity, tokens + (now - at) * rate)
local granted = math.min(wanted, math.floor(tokens))
redis.call('HSET', KEYS[1], 'tokens', tostring(tokens - granted), 'at', tostring(now))
redis.call('EXPIRE', KEYS[1], 3600)
return granted
"""
_WITHOUT_REDIS = 5


class Pacer:
    """Token buckets by number, one second's worth of messages deep."""

    def __init__(self, redis: Redis) -> None:
        self._take = redis.register_script(_TAKE)

    def take(self, number_id: uuid.UUID, wanted: int, rate_per_second: int) -> int:
        """How many of `wanted` messages may go out now. Without Redis a trickle, which no limit of the provider's is
        under."""
        try:
            return int(
                self._take(keys=[f"pacing:{number_id}"], args=[rate_per_second, max(rate_per_second, 1), wanted])
            )
        except (RedisError, OSError) as error:
            log.warning("pacing.unavailable", extra={"error": type(error).__name__})
            return min(wanted, _WITHOUT_REDIS, rate_per_second)


class Unpaced:
    """Every message may go at once: for numbers that answer for their own pace, and for measurements."""

    def take(self, number_id: uuid.UUID, wanted: int, rate_per_second: int) -> int:
        return wanted
