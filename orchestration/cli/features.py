"""rapport features: what the models may know about a contact, and how it moves."""

from __future__ import annotations

import dataclasses
import datetime as dt
import math
import os
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from orchestration.cli import console
from orchestration.runtime.home import Home

if TYPE_CHECKING:
    from feature_store.day_drift import DayComparison, DayFigures
    from feature_store.warehouse import Warehouse

app = typer.Typer(no_args_is_help=True)
TENANT = typer.Option(None, "--tenant", help="Only this tenant's contacts; all tenants' without it.")
BAR = 32


@app.command("list")
def list_features(as_json: bool = console.json_option()) -> None:
    """Every feature by view, with its unit and window."""
    from feature_store import describe

    rows = describe().to_dicts()
    if as_json:
        console.print_json(rows)
        return
    columns = ["name", "unit", "window", "description"]
    for view, features in groupby(rows, key=lambda row: row["view"]):
        console.table(view, columns, [[row[column] for column in columns] for row in features])


@app.command("show")
def show(
    name: str = typer.Argument(help="A feature, a view or a service."), as_json: bool = console.json_option()
) -> None:
    """What one feature means and who reads it; of a view or service, all its features."""
    from feature_store import describe

    rows = [row for row in describe().to_dicts() if row["name"] == name]
    if rows:
        (row,) = rows
        if as_json:
            console.print_json(row)
            return
        console.table(None, ["feature", name], [[key, _text(value)] for key, value in row.items() if key != "name"])
        return
    try:
        frame = describe(name)
    except KeyError as unknown:
        raise console.Refused(f"{unknown.args[0]}; `rapport features list` names the features", 2) from unknown
    if as_json:
        console.print_json(frame.to_dicts())
        return
    columns = ["name", "dtype", "unit", "window", "description", "null_means"]
    console.table(name, columns, [list(row) for row in frame.select(columns).iter_rows()])


@app.command("sample")
def sample(
    view: str = typer.Argument(help="A view, e.g. contact_messaging_daily."),
    tenant: str = TENANT,
    rows: int = typer.Option(5, min=1, max=1_000, help="How many of the newest rows."),
    as_json: bool = console.json_option(),
) -> None:
    """The newest rows of a view."""
    from feature_store import FEATURE_VIEWS

    chosen = next((each for each in FEATURE_VIEWS if each.name == view), None)
    if chosen is None:
        raise console.Refused(f"no view is called {view}; there are: {', '.join(e.name for e in FEATURE_VIEWS)}", 2)
    store = _warehouse()
    source = chosen.source
    columns = [*chosen.entity.join_keys, source.event_timestamp, source.created_timestamp]
    columns += [feature.name for feature in chosen.features]
    tenant_id = _tenant_id(store, tenant)
    whose = "" if tenant_id is None else " WHERE tenant_id = $1"
    found = store.query(
        f"SELECT {', '.join(columns)} FROM {source.table}{whose}"
        f" ORDER BY {source.event_timestamp} DESC, {', '.join(chosen.entity.join_keys)} LIMIT {rows}",
        [] if tenant_id is None else [tenant_id],
    ).to_dicts()
    if as_json:
        console.print_json(found)
        return
    # A view is wider than a terminal; its rows stand side by side.
    head = ["feature", *(f"row {number}" for number in range(1, len(found) + 1))]
    console.table(view, head, [[column, *(_text(row[column]) for row in found)] for column in columns])


@app.command("drift")
def drift(
    feature: str = typer.Argument(help="A numeric feature, e.g. read_rate_30d."),
    first: dt.datetime = typer.Option(..., "--from", formats=["%Y-%m-%d"], help="The day compared against (UTC)."),
    second: dt.datetime = typer.Option(..., "--to", formats=["%Y-%m-%d"], help="The day compared (UTC)."),
    tenant: str = TENANT,
    plot: Path = typer.Option(None, "--plot", help="Also draw both days into this PNG file."),
    as_json: bool = console.json_option(),
) -> None:
    """How a feature's values moved between the midnights of two days."""
    from feature_store.day_drift import NobodyKnown, NotANumber, compare_days

    store = _warehouse()
    try:
        found = compare_days(store, feature, first.date(), second.date(), _tenant_id(store, tenant))
    except (NotANumber, NobodyKnown) as refused:
        raise console.Refused(str(refused), 2) from refused
    if plot is not None:
        draw(found, plot)
    if as_json:
        console.print_json(dataclasses.asdict(found))
        return
    _print(found)
    if plot is not None:
        console.out.print(f"drawn: {console.escaped(str(plot))}", highlight=False, soft_wrap=True)


def _print(found: DayComparison) -> None:
    from feature_store.day_drift import QUANTILES
    from feature_store.drift import LARGE, NOTICEABLE

    rows: list[list[Any]] = [
        ["contacts", found.first.contacts, found.second.contacts],
        ["missing", f"{found.first.missing_share:.1%}", f"{found.second.missing_share:.1%}"],
        ["mean", _number(found.first.mean), _number(found.second.mean)],
    ]
    for position, quantile in enumerate(QUANTILES):
        pair = (found.first.quantiles[position], found.second.quantiles[position])
        rows.append(
            [{0.0: "least", 0.5: "median", 1.0: "greatest"}.get(quantile, f"{quantile:.0%}"), *map(_number, pair)]
        )
    days = [f"{day.at:%Y-%m-%d}" for day in (found.first, found.second)]
    console.table(f"{found.feature} ({found.unit})", ["", *days], rows)
    console.table(None, ["bin", *days], [[label, *map(bar, pair)] for label, *pair in bins(found)])
    moved = "large" if found.stability > LARGE else "noticeable" if found.stability > NOTICEABLE else "small"
    console.out.print(f"population stability index {found.stability:.4f}: a {moved} change", highlight=False)


def bins(found: DayComparison) -> list[tuple[str, float, float]]:
    """A label and both days' shares for each bin, the missing values last."""
    edges = [_number(edge) for edge in found.edges]
    labels = [
        "all" if not edges else f"≤ {edges[0]}" if i == 0 else f"> {edges[-1]}" if i == len(edges) else f"≤ {edges[i]}"
        for i in range(len(edges) + 1)
    ]
    shares = zip(labels, found.first.shares, found.second.shares, strict=True)
    return [*shares, ("missing", found.first.missing_share, found.second.missing_share)]


def bar(share: float) -> str:
    """A share as a bar of blocks, an eighth of one the finest, and its per cent."""
    eighths = round(share * BAR * 8)
    return "█" * (eighths // 8) + (" ▏▎▍▌▋▊▉"[eighths % 8].strip()) + f" {share:.1%}"


def draw(found: DayComparison, path: Path) -> None:
    """Both days' shares by bin, as a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = bins(found)
    figure, axes = pyplot.subplots(figsize=(9, 4.5), layout="constrained")
    for offset, position, day in ((-0.2, 1, found.first), (0.2, 2, found.second)):
        heights = [row[position] for row in rows]
        axes.bar([at + offset for at in range(len(rows))], heights, width=0.38, label=_caption(day))
    axes.set_xticks(range(len(rows)), [label for label, _, _ in rows], rotation=30, ha="right")
    axes.set_ylabel("share of contacts")
    axes.set_xlabel(found.unit)
    axes.set_title(f"{found.feature}: population stability index {found.stability:.4f}")
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120, format="png")
    pyplot.close(figure)


def _caption(day: DayFigures) -> str:
    return f"{day.at:%Y-%m-%d}, {day.contacts:,} contacts"


def _warehouse() -> Warehouse:
    """The warehouse of this installation; no server has to run for DuckDB's."""
    from feature_store import DuckDBWarehouse, warehouse_at

    location = os.environ.get("FEATURE_STORE_WAREHOUSE") or Home.from_environment().warehouse
    store = warehouse_at(location)
    if isinstance(store, DuckDBWarehouse) and not store.path.exists():
        raise console.Refused("the warehouse has not been built yet; `rapport run` builds it", console.NOT_READY)
    return store


def _tenant_id(store: Warehouse, slug: str | None) -> str | None:
    if slug is None:
        return None
    found = store.query("SELECT tenant_id FROM marts.dim_tenants WHERE slug = $1", [slug])
    if found.is_empty():
        raise console.Refused(f"the warehouse knows no tenant called {slug}", 2)
    return str(found["tenant_id"][0])


def _text(value: Any) -> str | None:
    if isinstance(value, dt.datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, list):
        return ", ".join(value)
    return None if value is None else str(value)


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.4g}" if abs(value) < 1e6 else f"{value:,.0f}"
