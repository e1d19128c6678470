"""The only place of the API that asks what time it is; everything else is told."""

from __future__ import annotations

import datetime as dt
from typing import Annotated

from fastapi import Depends


def utc_now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


# A coroutine: FastAPI hands a plain function to a thread, which costs more than all other dependencies together.
async def request_time() -> dt.datetime:
    return utc_now()


NowDep = Annotated[dt.datetime, Depends(request_time)]
