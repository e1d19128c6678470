"""The product as a whole: databases first, then the schema, then the processes; down in the other order."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import NoReturn

from orchestration.runtime import processes, procfile, record, servers
from orchestration.runtime.environment import admin_database_url, make_folders
from orchestration.runtime.home import PROJECT_ROOT, Home
from orchestration.runtime.postgres import EmbeddedPostgres
from orchestration.runtime.privacy import close
from orchestration.runtime.redis import EmbeddedRedis

Report = Callable[[str], None]


class StoreUnreachable(Exception):
    """The server that DATABASE_URL or REDIS_URL names cannot be used; the text says which and why."""


def start_stores(home: Home, report: Report = lambda line: None) -> None:
    """PostgreSQL and Redis answer and the schema is the newest. Servers that DATABASE_URL and REDIS_URL name are used.

    What an earlier version left readable in RAPPORT_HOME is closed first. Raises HomeLocked, PostgresUnavailable,
    RedisUnavailable, StoreUnreachable.
    """
    with home.lock():
        close(home)
        if os.environ.get("DATABASE_URL"):
            report("PostgreSQL as DATABASE_URL says")
        else:
            report(f"PostgreSQL on port {EmbeddedPostgres(home).start()}")
        if os.environ.get("REDIS_URL"):
            if not _redis_answers():
                raise StoreUnreachable("REDIS_URL: no Redis answers there")
            report("Redis as REDIS_URL says")
        else:
            report(f"Redis on port {EmbeddedRedis(home).start()}")
        report(f"schema at revision {migrate(home)}")


def migrate(home: Home) -> str:
    """The revision the operational database is at afterwards: the newest. Raises StoreUnreachable."""
    from sqlalchemy.exc import DBAPIError

    from serving.migrations import service

    admin = admin_database_url(home)
    secrets = home.secrets()
    try:
        service.create_database(admin)
        return service.migrate(admin, {role: secrets[f"postgres_{role}"] for role in service.LOGIN_ROLES})
    except DBAPIError as error:
        where = "DATABASE_URL" if os.environ.get("DATABASE_URL") else "PostgreSQL"
        raise StoreUnreachable(f"{where}: {str(error.orig).splitlines()[0]}") from error


def up(home: Home, wanted: Iterable[str] | None = None, report: Report = lambda line: None) -> list[processes.Status]:
    """Everything wanted (default: all) runs and answers. What ran already is left alone if its addresses still hold.

    Raises what `start_stores` does, and ProcessFailed.
    """
    chosen = list(wanted) if wanted is not None else procfile.names()
    start_stores(home, report)
    processes.start(home, chosen)
    processes.wait_healthy(home, chosen, lambda name: report(f"{name} is ready"))
    return [processes.status(home, name) for name in chosen]


def operator_password(home: Home, wanted: Iterable[str] | None = None) -> str | None:
    """The operator's new password when pages are wanted (default: all) that have none yet."""
    if wanted is not None and "pages" not in wanted:
        return None
    from orchestration.pages.operator import Operator

    return Operator.of(home).ensure()


def become(home: Home, name: str) -> NoReturn:
    """This process is the named one of the Procfile afterwards, with the product's settings; nothing is written down.

    Databases and schema are there already. Raises SettingUnusable, PostgresUnavailable, RedisUnavailable.
    """
    make_folders(home)
    environment = os.environ | procfile.settings(home)
    if name in servers.ON_SOCKETS:
        servers.claim_socket(home, name)
    words = procfile.words(procfile.commands()[name], environment)
    os.chdir(PROJECT_ROOT)
    os.execvpe(words[0], words, environment)  # noqa: S606 - the Procfile's own line


def down(home: Home) -> list[str]:
    """The names of what was stopped. Embedded servers stop too when DATABASE_URL or REDIS_URL have been set since."""
    stopped = processes.stop(home, procfile.names())
    if EmbeddedRedis(home).stop():
        stopped.append("redis")
    if EmbeddedPostgres(home).stop():
        stopped.append("postgres")
    return stopped


def status(home: Home) -> list[processes.Status]:
    """One line a service, the databases first."""
    stores = [_postgres_status(home), _redis_status(home)]
    restarts = {name: entry.restarts for name, entry in record.read(home).entries.items()}
    return [
        *(replace(line, restarts=restarts.get(line.name, 0)) for line in stores),
        processes.supervisor_status(home),
        *(processes.status(home, name) for name in procfile.names()),
    ]


def _postgres_status(home: Home) -> processes.Status:
    if os.environ.get("DATABASE_URL"):
        return processes.Status("postgres", None, "as DATABASE_URL says", _postgres_answers(), True)
    port = EmbeddedPostgres(home).port()
    started = bool(home.state().get("postgres_started"))
    return processes.Status("postgres", None, f"127.0.0.1:{port}" if port else None, port is not None, started)


def _redis_status(home: Home) -> processes.Status:
    if os.environ.get("REDIS_URL"):
        return processes.Status("redis", None, "as REDIS_URL says", _redis_answers(), True)
    port = EmbeddedRedis(home).port()
    started = bool(home.state().get("redis_started"))
    return processes.Status("redis", None, f"127.0.0.1:{port}" if port else None, port is not None, started)


def _postgres_answers() -> bool:
    import psycopg

    try:
        psycopg.connect(os.environ["DATABASE_URL"], connect_timeout=3).close()
    except psycopg.Error:
        return False
    return True


def _redis_answers() -> bool:
    import redis

    try:
        with redis.Redis.from_url(os.environ["REDIS_URL"], socket_connect_timeout=3, socket_timeout=3) as client:
            return bool(client.ping())
    except (redis.RedisError, ValueError, OSError):
        return False
