"""The one door to the operational database: every transaction is opened for one tenant, or says that it is for none."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.orm import Session, sessionmaker

TENANT = "tenant_id"
NO_TENANT = "no_tenant"


class TenantMissing(Exception):
    """A transaction was begun without saying whose rows it is for."""


def sqlalchemy_url(url: str) -> str:
    return url.replace("postgresql://", "postgresql+psycopg://", 1)


class TenantSession(Session):
    """A session that begins no transaction without knowing its tenant; other libraries' sessions are their own."""


class Database:
    """Connections of one role. `url` is a plain postgresql:// address of `app` or `worker`."""

    def __init__(self, url: str, *, pool_size: int = 10) -> None:
        self.url = url
        self.engine = sa.create_engine(
            sqlalchemy_url(url), pool_size=pool_size, max_overflow=10, pool_pre_ping=True, hide_parameters=True
        )
        event.listen(self.engine, "handle_error", _tell_no_values)
        self._sessions = sessionmaker(self.engine, class_=TenantSession, expire_on_commit=False)

    @contextlib.contextmanager
    def tenant(self, tenant_id: uuid.UUID) -> Iterator[Session]:
        """One transaction that sees and writes this tenant's rows only; committed on leaving, undone on an error."""
        with self._sessions(info={TENANT: tenant_id}) as session, session.begin():
            yield session

    @contextlib.contextmanager
    def no_tenant(self) -> Iterator[Session]:
        """One transaction for the look-ups that find out the tenant; row-level security shows it no tenant's row."""
        with self._sessions(info={TENANT: NO_TENANT}) as session, session.begin():
            yield session

    def dispose(self) -> None:
        self.engine.dispose()


def _tell_no_values(context: ExceptionContext) -> None:
    """Leaves the words of an error that PostgreSQL found and takes out the values it found it in: what is raised here
    ends in logs, and those outlive the rows of a person who is erased. `diag` of the driver's error still has all."""
    original, raised = context.original_exception, context.sqlalchemy_exception
    said = getattr(getattr(original, "diag", None), "message_primary", None)
    if said is None:
        return
    original.args = (said.partition(': "')[0],)
    if raised is not None:
        raised.args = (f"({type(original).__module__}.{type(original).__name__}) {original}",)


@event.listens_for(TenantSession, "after_begin")
def _set_tenant(session: Session, _transaction: object, connection: sa.Connection) -> None:
    tenant_id = session.info.get(TENANT)
    if tenant_id is None:
        raise TenantMissing("open sessions with Database.tenant(...) or Database.no_tenant()")
    value = "" if tenant_id == NO_TENANT else str(tenant_id)
    connection.execute(sa.text("SELECT set_config('app.tenant_id', :tenant, true)"), {"tenant": value})
