"""What the inbox could not apply: shown with the reason, and tried again when somebody says so."""

from __future__ import annotations

import dataclasses
import uuid

import typer

from orchestration.cli import console
from orchestration.runtime.home import Home

app = typer.Typer(no_args_is_help=True)


@app.command("show")
def show(
    tenant: str = typer.Argument(None, help="Slug of one business, to see its events; without it, counts for all."),
    limit: int = typer.Option(100, min=1, max=10_000, help="How many events to show, the newest first."),
    as_json: bool = console.json_option(),
) -> None:
    """Show the events that were set aside. Their reason names fields, not what stood in them."""
    from serving.conversation import aside
    from serving.kit.database import Database

    urls = _urls()
    database = Database(urls.worker, pool_size=1)
    if tenant is not None:
        with database.tenant(_tenants(urls, tenant)[tenant]) as session:
            events = aside.aside_events(session, limit)
        rows: list[list[object]] = [
            [str(event.id), event.kind, f"{event.received_at:%F %T}", event.reason] for event in events
        ]
        _print(f"Set aside in {tenant}", ["event", "kind", "received", "reason"], rows, as_json)
        return
    rows = []
    for slug, tenant_id in _tenants(urls).items():
        with database.tenant(tenant_id) as session:
            rows += [
                [slug, count.kind, count.events, f"{count.latest:%F %T}", count.reason]
                for count in aside.aside_counts(session)
            ]
    _print("Set aside", ["tenant", "kind", "events", "latest", "reason"], rows, as_json)


@app.command("retry")
def retry(
    tenant: str = typer.Argument(help="Slug of the business."),
    event: str = typer.Option(None, help="Id of one event; without it, all that are set aside."),
    as_json: bool = console.json_option(),
) -> None:
    """Apply events that were set aside once more; the worker does so within seconds. Harmless when repeated."""
    from serving.conversation import aside
    from serving.kit.database import Database

    try:
        event_id = uuid.UUID(event) if event else None
    except ValueError as error:
        raise console.Refused(f"{event} is no event's id", console.BAD_INPUT) from error
    urls = _urls()
    with Database(urls.worker, pool_size=1).tenant(_tenants(urls, tenant)[tenant]) as session:
        count = aside.retry(session, event_id)
    if as_json:
        console.print_json({"tenant": tenant, "events": count})
    else:
        console.out.print(f"{count} events will be applied again", highlight=False)


@dataclasses.dataclass(frozen=True)
class _Urls:
    worker: str
    reader: str


def _urls() -> _Urls:
    from orchestration.runtime import services
    from orchestration.runtime.environment import process_environment

    home = Home.from_environment()
    services.start_stores(home)
    environment = process_environment(home)
    return _Urls(environment["SERVING_WORKER_DATABASE_URL"], environment["FEATURE_STORE_OPERATIONAL_URL"])


def _tenants(urls: _Urls, slug: str | None = None) -> dict[str, uuid.UUID]:
    import psycopg

    # Only the role of ingest may ask across tenants which one a slug names.
    with psycopg.connect(urls.reader) as connection:
        rows = connection.execute(
            "SELECT slug, id FROM tenants WHERE %(slug)s::text IS NULL OR slug = %(slug)s ORDER BY slug", {"slug": slug}
        ).fetchall()
    if slug is not None and not rows:
        raise console.Refused(f"no tenant is called {slug}; `rapport tenant create` makes one", console.BAD_INPUT)
    return {name: uuid.UUID(str(tenant_id)) for name, tenant_id in rows}


def _print(title: str, columns: list[str], rows: list[list[object]], as_json: bool) -> None:
    if as_json:
        console.print_json([dict(zip(columns, row, strict=True)) for row in rows])
    elif rows:
        console.table(title, columns, rows)
    else:
        console.out.print("Nothing is set aside.", highlight=False)
