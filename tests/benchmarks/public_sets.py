"""Data sets nobody here wrote, as histories that `rapport import` reads: where each lies, its mapping, and what its
tenant sets. The raw files are only unpacked; where a table names months but no days, its order gives the moments."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from tests.benchmarks.reporting import PROJECT_ROOT

MAPPINGS = Path(__file__).with_name("mappings")


@dataclass(frozen=True)
class PublicSet:
    """`unpack(source, folder)` answers the folder the mapping's `data` names; `settings` are those of its tenant."""

    name: str
    mapping: Path
    unpack: Callable[[Path, Path], Path]
    settings: dict[str, Any] = field(default_factory=dict)


def as_it_is(source: Path, folder: Path) -> Path:
    """Nothing to unpack."""
    return source


def gunzipped(source: Path, folder: Path) -> Path:
    """Every `<name>.gz` of the source as `<name>` in the folder."""
    for packed in sorted(source.glob("*.gz")):
        with gzip.open(packed) as reader, (folder / packed.stem).open("wb") as writer:
            shutil.copyfileobj(reader, writer)
    return folder


# The months stand in the order of time, the years are told beside the table: 2008 from May on, then two whole years.
# A year ends where the number of the month falls.
DATED_CALLS = """
COPY (
    WITH numbered AS (
        SELECT *, CAST("row" AS INTEGER) AS n, month(strptime("month", '%b')) AS number
        FROM read_csv('{source}', all_varchar = true)
    ),
    runs AS (
        SELECT *, 2008 + sum(CASE WHEN number < before THEN 1 ELSE 0 END) OVER (ORDER BY n) AS year
        FROM (SELECT *, lag(number, 1, number) OVER (ORDER BY n) AS before FROM numbered)
    ),
    placed AS (
        SELECT *, make_timestamp(CAST(year AS BIGINT), number, 1, 0, 0, 0) AS month_start,
            row_number() OVER (PARTITION BY year, number ORDER BY n) AS place,
            count(*) OVER (PARTITION BY year, number) AS calls
        FROM runs
    )
    SELECT * EXCLUDE (n, number, before, year, month_start, place, calls),
        strftime(month_start, '%Y-%m') AS called_in,
        month_start + to_seconds(CAST(28 * 86400 * place // (calls + 1) AS BIGINT)) AS called_at
    FROM placed ORDER BY n
) TO '{target}' (HEADER)
"""


def with_moments_of_calls(source: Path, folder: Path) -> Path:
    """calls.csv: the bank's table with `called_in` (year and month) and `called_at`: the calls of a month spread evenly
    over its first 28 days."""
    [packed] = source.glob("*.csv.gz")
    with duckdb.connect() as connection:
        connection.execute(DATED_CALLS.format(source=packed, target=folder / "calls.csv"))
    return folder


STARBUCKS = PublicSet("starbucks_offers", PROJECT_ROOT / "docs" / "examples" / "starbucks" / "mapping.yaml", as_it_is)
# Who bought in the first quarter of 1997 bought in these 273 days; the question is whether they do in the next 90.
CDNOW = PublicSet(
    "cdnow_transactions",
    MAPPINGS / "cdnow.yaml",
    gunzipped,
    {"churn_windows": {"active_days": 273, "horizon_days": 90}},
)
TELCO = PublicSet("telco_churn", MAPPINGS / "telco_churn.yaml", gunzipped)
BANK = PublicSet("bank_marketing", MAPPINGS / "bank_marketing.yaml", with_moments_of_calls)
ALL_SETS = (STARBUCKS, CDNOW, TELCO, BANK)
