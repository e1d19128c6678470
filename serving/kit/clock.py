"""The only place of the API that asks what time it is; everything else is told."""

from __future__ import annotations

import datetime as dt
from typing import Annotated

from fastapi import Depends


def utc_now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


NowDep = Annotated[dt.datetime, Depends(utc_now)]
