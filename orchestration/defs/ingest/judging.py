"""Great Expectations at the boundary: a suite a table, verdicts that name the broken rows, pages that show them."""

from __future__ import annotations

import datetime as dt
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestration.defs.ingest.contracts import CONTRACTS, EARLIEST, FURTHEST, Contract
from orchestration.defs.ingest.pages import settle, write_index

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

# Read when Great Expectations is imported; it would tell its makers of every call.
os.environ["GX_ANALYTICS_ENABLED"] = "false"

# Clocks of providers run ahead of ours by seconds; more is a broken row.
CLOCK_SKEW = dt.timedelta(minutes=5)
# Broken rows are counted without end and named up to this many an expectation.
NAMED_ROWS = 1_000
KEPT_PAGES = 20
SITE = "boundary"


@dataclass(frozen=True)
class BrokenRow:
    """`key` is what tells the row from others; `value` what stood in `column`, as text."""

    table: str
    key: dict[str, str]
    column: str
    expectation: str
    value: str | None


@dataclass
class Verdict:
    """What a contract said of some rows. `broken` maps an expectation in words to how many rows break it; `rows_named`
    holds at most NAMED_ROWS of them each, `reasons` all, as `feature_store.set_aside` takes them. `tenants` counts
    broken rows by tenant. `run` names the judging whose page shows it."""

    rows: int = 0
    expectations: int = 0
    broken: dict[str, int] = field(default_factory=dict)
    tenants: dict[str, int] = field(default_factory=dict)
    rows_named: list[BrokenRow] = field(default_factory=list)
    reasons: list[pa.Table] = field(default_factory=list, compare=False)
    run: str | None = None

    @property
    def passed(self) -> bool:
        return not self.broken

    def add(self, other: Verdict) -> None:
        """Takes in the verdict on further rows of the same table."""
        # Of several parts the first broken one is shown, else the last.
        self.run = other.run if self.passed else self.run
        self.rows += other.rows
        self.expectations = max(self.expectations, other.expectations)
        for words, count in other.broken.items():
            self.broken[words] = self.broken.get(words, 0) + count
        for tenant, count in other.tenants.items():
            self.tenants[tenant] = self.tenants.get(tenant, 0) + count
        self.rows_named += other.rows_named
        self.reasons += other.reasons


class ContractNotJudged(Exception):
    """An expectation could not be asked of a column; the text says which, and why."""


class Judge:
    """Holds one Great Expectations context, made when the first rows are judged: its import takes seconds.

    `folder` is where the context keeps its suites and results; the pages go to `docs`.
    """

    def __init__(self, folder: Path, docs: Path) -> None:
        self.folder, self.docs = folder, docs
        self._judged: list[tuple[str, str]] = []

    def judge(self, table: str, rows: pd.DataFrame, now: dt.datetime, run: str) -> Verdict:
        """The verdict on `rows`, which have (at least) the contract's columns and `_load_id`; times are UTC, the index
        counts from 0. No rows keep every contract. `run` names this judging in the pages."""
        if rows.empty:
            return Verdict()
        context, contract = self._context, CONTRACTS[table]
        import great_expectations as gx
        from great_expectations.core.run_identifier import RunIdentifier

        suite = context.suites.add_or_update(gx.ExpectationSuite(name=table, expectations=_expectations(contract, now)))
        source = context.data_sources.add_or_update_pandas("raw")
        batch = source.add_dataframe_asset(table).add_batch_definition_whole_dataframe("new rows")
        definition = gx.ValidationDefinition(name=table, data=batch, suite=suite)
        result = context.validation_definitions.add_or_update(definition).run(
            batch_parameters={"dataframe": rows},
            result_format={
                "result_format": "SUMMARY",
                "partial_unexpected_count": NAMED_ROWS,
                "unexpected_index_column_names": list(contract.keys),
            },
            run_id=RunIdentifier(run_name=run),
        )
        self._judged.append((table, run))
        verdict = Verdict(len(rows), len(result.results), run=run)
        broken_rows: set[int] = set()
        for outcome in result.results:
            if outcome.success:
                continue
            column = outcome.expectation_config.kwargs["column"]
            expectation = outcome.expectation_config.type.removeprefix("expect_")
            verdict.rows_named += [
                _broken_row(table, contract, column, expectation, found)
                for found in outcome.result.get("partial_unexpected_index_list") or []
            ]
            # What is kept of a result names some rows; asked once more, it tells all by their places.
            whole = batch.get_batch({"dataframe": rows}).validate(
                outcome.expectation_config.to_domain_obj(),
                result_format={"result_format": "COMPLETE", "exclude_unexpected_values": True},
            )
            places = list(whole.result.get("unexpected_index_list") or [])
            if not places:
                # An expectation that could not be asked says so; no row is at fault.
                raise ContractNotJudged(f"{table}.{column}: {outcome.exception_info}")
            words = f"{expectation} ({column})"
            verdict.broken[words] = verdict.broken.get(words, 0) + len(places)
            verdict.reasons.append(_reasons(table, contract, rows.iloc[places], column, expectation, now))
            broken_rows.update(places)
        if broken_rows:
            counted = rows[contract.tenant].iloc[sorted(broken_rows)].value_counts()
            verdict.tenants = {str(tenant): int(count) for tenant, count in counted.items()}
        return verdict

    def write_pages(self) -> None:
        """The pages of all that was judged since the last call are there, the index lists them; of each table the
        oldest are gone."""
        if not self._judged:
            return
        for table in {table for table, _ in self._judged}:
            for kept in (self.folder / "gx" / "uncommitted" / "validations" / table, self.docs / "validations" / table):
                for old in sorted(kept.glob("*"), key=lambda one: one.stat().st_mtime, reverse=True)[KEPT_PAGES:]:
                    shutil.rmtree(old)
        store = self._context.validation_results_store
        named = {(key.expectation_suite_identifier.name, key.run_id.run_name): key for key in store.list_keys()}
        self._context.build_data_docs(
            site_names=[SITE],
            resource_identifiers=[named[judged] for judged in self._judged if judged in named],
            build_index=False,
        )
        judged = (self.docs / "validations" / table / run for table, run in self._judged)
        for folder, files in [(self.docs / "static", "*.css"), *((folder, "*.html") for folder in judged)]:
            for file in folder.rglob(files):
                settle(file)
        write_index(self.docs, self.folder / "gx" / "uncommitted" / "validations")
        self._judged.clear()

    def page(self, table: str, run: str) -> Path | None:
        """The page that shows a judging, None when it is not (or no longer) kept."""
        pages = (self.docs / "validations" / table / run).rglob("*.html")
        return max(pages, key=lambda page: page.stat().st_mtime, default=None)

    @cached_property
    def _context(self) -> Any:
        import great_expectations as gx
        from great_expectations.data_context.types.base import ProgressBarsConfig

        self.folder.mkdir(parents=True, exist_ok=True)
        context = gx.get_context(mode="file", project_root_dir=str(self.folder))
        context.variables.progress_bars = ProgressBarsConfig(globally=False)
        for site in list(context.variables.data_docs_sites or {}):
            context.delete_data_docs_site(site)
        site_config: Any = {
            "class_name": "SiteBuilder",
            "show_how_to_buttons": False,
            "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(self.docs)},
            "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
        }
        context.add_data_docs_site(SITE, site_config)
        return context


def _broken_row(table: str, contract: Contract, column: str, expectation: str, found: Mapping[str, Any]) -> BrokenRow:
    value = found.get(column)
    key = {name: str(found.get(name)) for name in contract.keys}
    # A missing value is NaN, NaT or None to pandas, none of which equals itself or tells more than "none".
    return BrokenRow(table, key, column, expectation, None if value is None or value != value else str(value))


def _reasons(
    table: str, contract: Contract, rows: pd.DataFrame, column: str, expectation: str, now: dt.datetime
) -> pa.Table:
    """The rows with what is wrong with them. A time that is yet to come is when to try again."""
    import pyarrow as pa

    found = [None if value is None or value != value else str(value) for value in rows[column]]
    waits = column in contract.past and expectation.endswith("between")
    retry_at = [
        value.to_pydatetime() if waits and value == value and value > now + CLOCK_SKEW else None
        for value in rows[column]
    ]
    count, text = len(rows), pa.string()
    return pa.table(
        {
            "table_name": pa.repeat(pa.scalar(table, text), count),
            "tenant_id": pa.array([str(tenant) for tenant in rows[contract.tenant]], text),
            "row_id": pa.array([str(row) for row in rows["id"]], text),
            "row_load": pa.array([int(load) for load in rows["_load_id"]], pa.int64()),
            "column_name": pa.repeat(pa.scalar(column, text), count),
            "expectation": pa.repeat(pa.scalar(expectation, text), count),
            "found": pa.array(found, text),
            "retry_at": pa.array(retry_at, pa.timestamp("us", "UTC")),
        }
    )


def _expectations(contract: Contract, now: dt.datetime) -> list[Any]:
    import great_expectations.expectations as gxe
    import pandas as pd

    earliest, latest, furthest = pd.Timestamp(EARLIEST), pd.Timestamp(now + CLOCK_SKEW), pd.Timestamp(FURTHEST)
    between = gxe.ExpectColumnValuesToBeBetween
    return [
        *(gxe.ExpectColumnValuesToNotBeNull(column=column) for column in contract.filled),
        *(
            gxe.ExpectColumnValuesToBeInSet(column=column, value_set=values)
            for column, values in contract.allowed.items()
        ),
        *(between(column=column, min_value=earliest, max_value=latest) for column in contract.past),
        *(between(column=column, min_value=earliest, max_value=furthest) for column in contract.times),
        *(
            between(column=column, min_value=EARLIEST.date(), max_value=now.date() + dt.timedelta(days=1))
            for column in contract.days
        ),
        *(
            between(column=column, min_value=least, max_value=most)
            for column, (least, most) in contract.between.items()
        ),
        *(
            gxe.ExpectColumnValuesToMatchRegex(column=column, regex=pattern)
            for column, pattern in contract.matching.items()
        ),
    ]
