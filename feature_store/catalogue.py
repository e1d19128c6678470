"""The features as pages for people: docs/features.md and one page a view in docs/features/.

`python -m feature_store.catalogue docs` writes them; a test holds the pages to it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from feature_store.description import readers
from feature_store.feature_services import FEATURE_SERVICES
from feature_store.feature_view import FeatureView
from feature_store.feature_views import FEATURE_VIEWS
from feature_store.model_inputs import TYPES
from feature_store.on_demand import ON_DEMAND

MADE = "Made by `make docs`; what stands here is said in `feature_store/`."
HEAD = f"""# Features

{MADE} Every feature is about a contact of a tenant.
A row of a day holds what was known at that midnight (UTC): an event counts from the first midnight after we knew it,
and leaves a window of w days after w days. A contact without a row has no value, which the models take as missing. The
same rows are read as of any moment for training (`get_historical_features`) and packed in Redis for predictions
(`get_online_features`); tests compare the two.
"""
OWN_ATTRIBUTES = f"""## A tenant's own attributes

What a tenant knows of its contacts (their custom data) and campaigns (their attributes) can be a model's input too.
Name the attribute and its type in the tenant's settings:

```json
{{"model_inputs": {{"contact": {{"age": "number", "city": "category"}}, "campaign": {{"channels": "set"}}}}}}
```

| type | read from | becomes |
|---|---|---|
| `number` | a JSON number up to 3.4e38; anything else is missing | one column |
| `category` | a text, number or boolean | a column of 0 and 1 for each of the 30 values most frequent in training |
| `set` | a list of those | the same for each of the 30 most frequent members |

`rapport import` writes the types for a history it reads. A setting of another shape stops the training of that tenant
and names the field: `model_inputs: contact.age must be one of {", ".join(TYPES)}, not 'int'`.
What is added is taken up by the next training; a trained model keeps the inputs it has. Attributes about a contact are
read as they were at the moment asked about, like every other feature.
"""


def pages() -> dict[str, str]:
    """Each page's Markdown by its path under docs/."""
    return {"features.md": _index()} | {f"features/{view.name}.md": _page(view) for view in FEATURE_VIEWS}


def write_pages(docs: Path) -> list[Path]:
    """Writes the pages under the folder and takes away those of views that are no more. Answers what it wrote."""
    written = []
    for name, text in pages().items():
        path = docs / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        written.append(path)
    for path in (docs / "features").glob("*.md"):
        if path not in written:
            path.unlink()
    return written


def _index() -> str:
    views = _table(
        ("view", "what it holds", "features", "usable for", "owner", "read by"),
        (
            (
                f"[`{view.name}`](features/{view.name}.md)",
                view.description,
                str(len(view.features)),
                _age(view),
                f"`{view.owner}`",
                _code(sorted({reader for feature in view.features for reader in readers(feature.name)})),
            )
            for view in FEATURE_VIEWS
        ),
    )
    on_demand = _table(
        ("feature", "what it is", "unit", "missing means", "made of", "read by"),
        (
            (f"`{f.name}`", f.description, f.unit, f.null_means, _code(f.needs), _code(readers(f.name)))
            for f in ON_DEMAND.values()
        ),
    )
    services = _table(
        ("service", "inputs", "stored", "on demand", "typed attributes of"),
        (
            (
                f"`{service.name}`",
                str(len(service.features) + len(service.on_demand)),
                str(len(service.features)),
                str(len(service.on_demand)),
                "contact and campaign" if service.campaign_attributes else "contact",
            )
            for service in FEATURE_SERVICES.values()
        ),
    )
    return "\n".join(
        (
            HEAD,
            "## Views\n",
            views,
            "## On demand\n\nMade at the moment of use, by the same code in training and in the API.\n",
            on_demand,
            "## Services\n\nThe inputs of a model. A changed list is a new service.\n",
            services,
            OWN_ATTRIBUTES,
        )
    )


def _page(view: FeatureView) -> str:
    keys = ", ".join(f"`{key}`" for key in view.entity.join_keys)
    facts = _table(
        ("", ""),
        (
            ("table", f"`{view.source.table}`"),
            ("one row per", f"{keys}, `{view.source.event_timestamp}` and `{view.source.created_timestamp}`"),
            ("true since", f"`{view.source.event_timestamp}` (UTC)"),
            ("known since", f"`{view.source.created_timestamp}` (UTC)"),
            ("usable for", _age(view)),
            ("owner", f"`{view.owner}`"),
        ),
    )
    features = _table(
        ("feature", "type", "unit", "window", "what it is", "missing means", "read by"),
        (
            (f"`{f.name}`", f.dtype, f.unit, f.window, f.description, f.null_means, _code(readers(f.name)))
            for f in view.features
        ),
    )
    return "\n".join(
        (f"# {view.name}\n", f"{view.description} {MADE} All views: [features](../features.md).\n", facts, features)
    )


def _age(view: FeatureView) -> str:
    return f"{view.ttl.days} days" if view.ttl else "until the next version"


def _code(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    write_pages(Path(sys.argv[1] if len(sys.argv) > 1 else "docs"))
