"""What every operational table has in common."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Annotated, Any, ClassVar

from sqlalchemy import BigInteger, DateTime, ForeignKey, ForeignKeyConstraint, MetaData, Text, Uuid, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql.base import ischema_names
from sqlalchemy.orm import DeclarativeBase, Mapped, declared_attr, mapped_column
from sqlalchemy.types import UserDefinedType

NAMING = {
    "ix": "ix_%(column_0_N_label)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}

Timestamp = Annotated[dt.datetime, mapped_column(DateTime(timezone=True))]
Cents = Annotated[int, mapped_column(BigInteger)]


class Xid8(UserDefinedType[int]):
    """A 64-bit transaction id, the key that gap-free ingest reads by."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "xid8"


ischema_names["xid8"] = Xid8


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map = {dict[str, Any]: JSONB, str: Text, uuid.UUID: Uuid, dt.datetime: DateTime(timezone=True)}


class TenantRow:
    """A row that belongs to one tenant; its key starts with the tenant, so no key tells of a stranger's row.

    A row with a parent in the same tenant belongs to the tenant through it; only one without names the tenant itself,
    or every insert of a million messages would look the tenant up once more.
    """

    HAS_PARENT: ClassVar[bool] = False

    @declared_attr
    def tenant_id(cls) -> Mapped[uuid.UUID]:
        itself = () if cls.HAS_PARENT else (ForeignKey("tenants.id", ondelete="CASCADE"),)
        return mapped_column(*itself, primary_key=True, sort_order=-2, index=False)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, server_default=func.gen_random_uuid(), sort_order=-1)
    created_at: Mapped[Timestamp] = mapped_column(server_default=func.now(), sort_order=90)


class Ingested:
    """A row the warehouse reads. `changed_xid` is set by a trigger on every write."""

    updated_at: Mapped[Timestamp] = mapped_column(server_default=func.now(), sort_order=91)
    changed_xid: Mapped[int] = mapped_column(
        Xid8(), server_default=text("pg_current_xact_id()"), sort_order=92, index=True
    )


class Known:
    """An event with the moment it became known to us: the later of its time and its receipt, or its own time when the
    tenant declared it a replayed history (`tenants.backfilled_until`)."""

    known_at: Mapped[Timestamp] = mapped_column(server_default=func.now(), sort_order=89)


def tenant_key(column: str, table: str, *, ondelete: str | None = None) -> ForeignKeyConstraint:
    """A foreign key that cannot point at another tenant's row."""
    return ForeignKeyConstraint(["tenant_id", column], [f"{table}.tenant_id", f"{table}.id"], ondelete=ondelete)
