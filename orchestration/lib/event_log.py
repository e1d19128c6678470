"""Dagster's event log in SQLite, over connections that stay open."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.sql import create_engine
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._serdes import ConfigurableClassData
from sqlalchemy import Connection, Engine, event
from sqlalchemy.pool import StaticPool

OPEN_DATABASES = 8


class OpenEventLog(SqliteEventLogStorage):
    """The files of Dagster's own SqliteEventLogStorage. That one opens and closes a database for every event, and a
    database that is closed is flushed: a third of the time of a short run.

    A power cut may take the last events of a run with it, never the database: its journal is written ahead.
    """

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._open: OrderedDict[str, Engine] = OrderedDict()
        super().__init__(base_dir, inst_data)

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        return {}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> OpenEventLog:
        return cls(str(Path(os.environ["DAGSTER_HOME"]) / "history" / "runs"), inst_data)

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        with self._db_lock, self._engine(shard).connect() as connection, connection.begin():
            yield connection

    def _engine(self, shard: str) -> Engine:
        engine = self._open.pop(shard, None)
        if engine is not None and not Path(self.path_for_shard(shard)).exists():
            engine.dispose()  # the run was deleted
            engine = None
        if engine is None:
            engine = _opened(self.conn_string_for_shard(shard))
            self._initdb(engine)
        self._open[shard] = engine
        while len(self._open) > OPEN_DATABASES:
            self._open.popitem(last=False)[1].dispose()
        return engine

    def dispose(self) -> None:
        while self._open:
            self._open.popitem()[1].dispose()
        super().dispose()


def _opened(url: str) -> Engine:
    settings = {"timeout": SQLITE_BUSY_TIMEOUT_SECONDS, "check_same_thread": False}
    engine = create_engine(url, poolclass=StaticPool, connect_args=settings)

    @event.listens_for(engine, "connect")
    def write_ahead(connection: Any, _: Any) -> None:
        connection.execute("PRAGMA synchronous = NORMAL")

    return engine
