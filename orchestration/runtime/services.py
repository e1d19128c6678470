"""The product as a whole: databases first, then the schema, then the processes; down in the other order."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

from orchestration.runtime import processes
from orchestration.runtime.environment import admin_database_url
from orchestration.runtime.home import Home
from orchestration.runtime.postgres import EmbeddedPostgres
from orchestration.runtime.redis import EmbeddedRedis

Report = Callable[[str], None]


def start_stores(home: Home, report: Report = lambda line: None) -> None:
    """PostgreSQL and Redis answer and the schema is the newest; those that DATABASE_URL and REDIS_URL name are not started."""
    if not os.environ.get("DATABASE_URL"):
        report(f"PostgreSQL on port {EmbeddedPostgres(home).start()}")
    if not os.environ.get("REDIS_URL"):
        report(f"Redis on port {EmbeddedRedis(home).start()}")
    report(f"schema at revision {migrate(home)}")


def migrate(home: Home) -> str:
    """The revision the operational database is at afterwards: the newest."""
    from serving.migrations import service

    admin = admin_database_url(home)
    service.create_database(admin)
    secrets = home.secrets()
    return service.migrate(admin, {role: secrets[f"postgres_{role}"] for role in service.LOGIN_ROLES})


def up(home: Home, wanted: Iterable[str] | None = None, report: Report = lambda line: None) -> list[processes.Status]:
    """Everything wanted (default: all) runs and answers. What ran already is left alone."""
    chosen = list(wanted) if wanted is not None else processes.names()
    start_stores(home, report)
    processes.start(home, chosen)
    processes.wait_healthy(home, chosen, lambda name: report(f"{name} is ready"))
    return [processes.status(home, name) for name in chosen]


def down(home: Home) -> list[str]:
    """The names of what was stopped."""
    stopped = processes.stop(home, processes.names())
    if not os.environ.get("REDIS_URL") and EmbeddedRedis(home).stop():
        stopped.append("redis")
    if not os.environ.get("DATABASE_URL") and EmbeddedPostgres(home).stop():
        stopped.append("postgres")
    return stopped


def status(home: Home) -> list[processes.Status]:
    """One line a service, the databases first."""
    lines = []
    for name, given, port in (
        ("postgres", "DATABASE_URL", EmbeddedPostgres(home).port),
        ("redis", "REDIS_URL", EmbeddedRedis(home).port),
    ):
        if os.environ.get(given):
            lines.append(processes.Status(name, None, f"as {given} says", True))
        else:
            found = port()
            lines.append(processes.Status(name, None, f"127.0.0.1:{found}" if found else None, found is not None))
    return lines + [processes.status(home, name) for name in processes.names()]
