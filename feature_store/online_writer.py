"""Many rows into Redis at the speed of one MSET each thousand, each with an expiry."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    import redis

# MSET knows no expiry, and a command a row costs more in answers than in rows.
SET_ALL = """
local ttl = ARGV[1]
for i = 1, #KEYS do redis.call('SET', KEYS[i], ARGV[i + 1], 'EX', ttl) end
return #KEYS
"""
ROWS_A_COMMAND = 1_000


class OnlineWriter:
    """Writes rows while the caller makes the next ones: a command is answered for only when the next one is ready.

    The commands are put together here, on a connection of the client's pool: the client's own encoding of a thousand
    keys and values takes longer than Redis takes to store them.
    """

    def __init__(self, client: redis.Redis, ttl_seconds: int) -> None:
        self._client = client
        self._ttl = _argument(str(ttl_seconds).encode())
        self._waiting = False
        self.written = 0

    def __enter__(self) -> Self:
        sha = self._client.script_load(SET_ALL)
        self._head = b"$7\r\nEVALSHA\r\n" + _argument(sha if isinstance(sha, bytes) else str(sha).encode())
        self._connection: Any = self._client.connection_pool.get_connection()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._settle()
            else:
                # An answer nobody read would be taken for that of the next command.
                self._connection.disconnect()
        finally:
            self._client.connection_pool.release(self._connection)

    def write(self, keys: Sequence[bytes], values: Sequence[bytes]) -> None:
        """Replaces each key's value. What Redis refuses is raised here or by the next call, as redis.ResponseError."""
        for start in range(0, len(keys), ROWS_A_COMMAND):
            part = keys[start : start + ROWS_A_COMMAND]
            command = [b"*%d\r\n%s%s" % (4 + 2 * len(part), self._head, _argument(b"%d" % len(part)))]
            command += [b"$%d\r\n%s\r\n" % (len(key), key) for key in part]
            command.append(self._ttl)
            command += [b"$%d\r\n%s\r\n" % (len(row), row) for row in values[start : start + ROWS_A_COMMAND]]
            packed = b"".join(command)
            self._settle()
            self._connection.send_packed_command([packed])
            self._waiting = True

    def _settle(self) -> None:
        if self._waiting:
            self._waiting = False
            self.written += self._connection.read_response()


def _argument(value: bytes) -> bytes:
    return b"$%d\r\n%s\r\n" % (len(value), value)
