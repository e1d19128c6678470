"""Brings an operational database from nothing to the newest schema, with its roles."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from serving.kit.database import sqlalchemy_url

LOGIN_ROLES = ("app", "worker", "etl_read", "publisher")
# Two processes that migrate at once wait for each other here.
ADVISORY_LOCK = 7_203_114_001


# For uuidv7(); the embedded server is of this version.
OLDEST_SERVER = 18


class ServerTooOld(Exception):
    """The PostgreSQL server is of a version the schema cannot be made on."""


def create_database(admin_url: str) -> bool:
    """Whether the database had to be created on its server."""
    url = sa.make_url(sqlalchemy_url(admin_url))
    engine = sa.create_engine(url.set(database="postgres"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        exists = connection.scalar(sa.text("SELECT 1 FROM pg_database WHERE datname = :name"), {"name": url.database})
        if not exists:
            connection.execute(sa.text(f'CREATE DATABASE "{url.database}"'))
    engine.dispose()
    return not exists


def migrate(admin_url: str, passwords: Mapping[str, str], revision: str = "head") -> str:
    """The revision the database is at afterwards. `passwords` holds one for each of LOGIN_ROLES.

    The URL's role needs the right to create roles and to grant BYPASSRLS (a superuser has it). Raises ServerTooOld.
    """
    config = _config()
    engine = sa.create_engine(sqlalchemy_url(admin_url))
    with engine.connect() as connection:
        major = int(connection.scalar(sa.text("SHOW server_version_num"))) // 10_000
        if major < OLDEST_SERVER:
            raise ServerTooOld(f"the PostgreSQL server is version {major}; {OLDEST_SERVER} or newer is needed")
        connection.execute(sa.text("SELECT pg_advisory_lock(:key)"), {"key": ADVISORY_LOCK})
        connection.commit()
        _create_roles(connection, passwords)
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        connection.commit()
        current = MigrationContext.configure(connection).get_current_revision()
        connection.execute(sa.text("SELECT pg_advisory_unlock(:key)"), {"key": ADVISORY_LOCK})
        connection.commit()
    engine.dispose()
    return current or "base"


def head() -> str:
    return ScriptDirectory.from_config(_config()).get_current_head() or "base"


def _config() -> Config:
    return Config(str(Path(__file__).parents[1] / "alembic.ini"))


def _create_roles(connection: sa.Connection, passwords: Mapping[str, str]) -> None:
    def ensure(role: str, options: str) -> None:
        exists = connection.scalar(sa.text("SELECT 1 FROM pg_roles WHERE rolname = :role"), {"role": role})
        connection.exec_driver_sql(f"{'ALTER' if exists else 'CREATE'} ROLE {role} {options}")

    ensure("owner", "NOLOGIN")
    ensure("auth", "NOLOGIN BYPASSRLS")
    for role in LOGIN_ROLES:
        bypass = "BYPASSRLS" if role == "etl_read" else "NOBYPASSRLS"
        literal = connection.scalar(sa.text("SELECT quote_literal(:password)"), {"password": passwords[role]})
        ensure(role, f"LOGIN NOSUPERUSER {bypass} PASSWORD {literal}")
    # A worker that stalls inside the send transaction loses it after its HTTP call (5 s), before its lease (30 s) ends.
    connection.exec_driver_sql("ALTER ROLE worker SET idle_in_transaction_session_timeout = '15s'")
    connection.exec_driver_sql("GRANT owner TO CURRENT_USER")
    connection.exec_driver_sql("GRANT auth TO CURRENT_USER")
    connection.exec_driver_sql("GRANT publisher TO CURRENT_USER")
    connection.commit()
