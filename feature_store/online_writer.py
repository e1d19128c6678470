"""Many rows into Redis nearly as fast as MSET alone, each with an expiry."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    import redis

# MSET knows no expiry. A command a row costs more in answers than in rows, and SET from a script copies every row into
# the script and out of it: of 100,000 rows that was 0.6 s of Redis's time, against 0.43 s this way and 0.27 s for MSET.
# The moment is worked out once, by Redis's clock: EXPIRE would work it out for each row, and again for its log.
EXPIRE_ALL = """
local call = redis.call
local at = string.format('%.0f', (call('TIME')[1] + ARGV[1]) * 1000)
for i = 1, #KEYS do call('PEXPIREAT', KEYS[i], at) end
return #KEYS
"""
ROWS_A_COMMAND = 1_000


class OnlineWriter:
    """Writes rows while the caller makes the next ones: commands are answered for only when the next are ready.

    The commands are put together here, on a connection of the client's pool: the client's own encoding of a thousand
    keys and values takes longer than Redis takes to store them. Rows and their expiry are sent together; should Redis
    stop between the two, the rows stay until the next materialisation replaces or removes them.
    """

    def __init__(self, client: redis.Redis, ttl_seconds: int) -> None:
        self._client = client
        self._ttl = _argument(b"%d" % ttl_seconds)
        self._waiting = False
        self.written = 0

    def __enter__(self) -> Self:
        sha = self._client.script_load(EXPIRE_ALL)
        self._expire = b"$7\r\nEVALSHA\r\n" + _argument(sha if isinstance(sha, bytes) else str(sha).encode())
        self._connection: Any = self._client.connection_pool.get_connection()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._settle()
        finally:
            if self._waiting:
                # An answer nobody read would be taken for that of the connection's next command.
                self._connection.disconnect()
            self._client.connection_pool.release(self._connection)

    def write(self, keys: Sequence[bytes], values: Sequence[bytes]) -> None:
        """Replaces each key's value. What Redis refuses is raised here or by the next call, as redis.ResponseError."""
        for start in range(0, len(keys), ROWS_A_COMMAND):
            names = [_argument(key) for key in keys[start : start + ROWS_A_COMMAND]]
            rows = zip(names, values[start : start + ROWS_A_COMMAND], strict=True)
            commands = [b"*%d\r\n$4\r\nMSET\r\n" % (1 + 2 * len(names))]
            commands += [b"%s$%d\r\n%s\r\n" % (name, len(row), row) for name, row in rows]
            commands.append(b"*%d\r\n%s%s" % (4 + len(names), self._expire, _argument(b"%d" % len(names))))
            commands += names
            commands.append(self._ttl)
            packed = b"".join(commands)
            self._settle()
            self._connection.send_packed_command([packed])
            self._waiting = True

    def _settle(self) -> None:
        if self._waiting:
            self._connection.read_response()
            self.written += self._connection.read_response()
            self._waiting = False


def _argument(value: bytes) -> bytes:
    return b"$%d\r\n%s\r\n" % (len(value), value)
