"""Pages of a list: which rows, in what order, and how many there are in all."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar

import sqlalchemy as sa
from fastapi import Depends, Query
from pydantic import BaseModel
from sqlalchemy.orm import InstrumentedAttribute, Session

from serving.errors import Unprocessable
from serving.models.base import Base

Item = TypeVar("Item")
Row = TypeVar("Row", bound=Base)
MAX_LIMIT = 200
# Beyond it a reader should narrow the filter: PostgreSQL reads and drops every row before an OFFSET.
MAX_OFFSET = 100_000


class Pagination(BaseModel):
    """`total` counts the rows of all pages."""

    total: int
    page: int
    limit: int
    pages: int


class Page(BaseModel, Generic[Item]):
    items: list[Item]
    pagination: Pagination


@dataclass(frozen=True, slots=True)
class PageRequest:
    page: int
    limit: int
    sort: str | None


async def _page_request(
    page: Annotated[int, Query(ge=1)] = 1,
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT)] = 50,
    sort: Annotated[str | None, Query(description="A column; a leading minus sorts downwards", max_length=64)] = None,
) -> PageRequest:
    if (page - 1) * limit > MAX_OFFSET:
        errors = [{"field": "page", "message": f"at most {MAX_OFFSET} rows can be skipped", "code": "too_far"}]
        raise Unprocessable(errors=errors)
    return PageRequest(page, limit, sort)


PageRequestDep = Annotated[PageRequest, Depends(_page_request)]


def paginate(
    session: Session,
    statement: sa.Select[Row],
    request: PageRequest,
    *,
    sortable: Mapping[str, InstrumentedAttribute[Any]],
    default_sort: str,
    tie_break: InstrumentedAttribute[Any],
) -> tuple[list[Row], Pagination]:
    """The rows of one page in a total order, and the count of all. Raises: Unprocessable for an unknown sort column."""
    sort = request.sort or default_sort
    column = sortable.get(sort.removeprefix("-"))
    if column is None:
        message = f"sort by one of {', '.join(sorted(sortable))}"
        raise Unprocessable(errors=[{"field": "sort", "message": message, "code": "unknown_column"}])
    order = column.desc().nulls_last() if sort.startswith("-") else column.asc().nulls_last()
    total = session.scalar(sa.select(sa.func.count()).select_from(statement.order_by(None).subquery())) or 0
    rows = session.scalars(
        statement.order_by(order, tie_break).limit(request.limit).offset((request.page - 1) * request.limit)
    ).all()
    return list(rows), Pagination(
        total=total, page=request.page, limit=request.limit, pages=math.ceil(total / request.limit)
    )
