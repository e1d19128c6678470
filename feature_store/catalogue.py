"""The list of features as a page for people: docs/features.md.

`python -m feature_store.catalogue` prints it; a test holds the page to it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

from feature_store.feature_services import FEATURE_SERVICES
from feature_store.feature_view import FeatureView
from feature_store.feature_views import FEATURE_VIEWS
from feature_store.on_demand import ON_DEMAND

HEAD = """# Features

Made by `python -m feature_store.catalogue > docs/features.md`. Every feature is about a contact of a tenant. A row of a
day holds what was known at that midnight (UTC): an event counts from the first midnight after we knew it, and leaves a
window of w days after w days. A contact without a row has no value, which the models take as missing.
"""


def catalogue() -> str:
    """The page, in Markdown."""
    parts = [HEAD, *(_view(view) for view in FEATURE_VIEWS), _on_demand(), _services()]
    return "\n".join(parts)


def _view(view: FeatureView) -> str:
    age = f"usable for {view.ttl.days} days" if view.ttl else "usable until the next version"
    head = f"## {view.name}\n\n{view.description} Table `{view.source.table}`, {age}, owner `{view.owner}`.\n"
    return f"{head}\n{_table((f.name, f.description, f.unit) for f in view.features)}\n"


def _on_demand() -> str:
    rows = ((f.name, f.description, f.unit) for f in ON_DEMAND.values())
    return (
        f"## On demand\n\nMade at the moment of use, by the same code in training and in the API.\n\n{_table(rows)}\n"
    )


def _services() -> str:
    lines = ["## Services", ""]
    for service in FEATURE_SERVICES.values():
        owners = "the contact's and the campaign's" if service.campaign_attributes else "the contact's"
        lines.append(
            f"- `{service.name}`: {len(service.features)} stored, {len(service.on_demand)} on demand, and {owners}"
            " typed attributes."
        )
    return "\n".join(lines) + "\n"


def _table(rows: Iterable[tuple[str, str, str]]) -> str:
    lines = ["| feature | what it is | unit |", "|---|---|---|"]
    lines += [f"| `{name}` | {description} | {unit} |" for name, description, unit in rows]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(catalogue())
