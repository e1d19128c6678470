"""Businesses on this installation, as the operator sees them."""

from __future__ import annotations

import dataclasses

import typer

from orchestration.cli import console
from orchestration.runtime.home import Home

app = typer.Typer(no_args_is_help=True)


@app.command("create")
def create(
    slug: str = typer.Argument(help="Short name: lower-case letters, digits and hyphens."),
    name: str = typer.Option(..., help="The business's name."),
    admin_email: str = typer.Option(..., help="The first user's address; the password is generated and shown once."),
    timezone: str = typer.Option("UTC", help="IANA zone of the business's people, e.g. Europe/Berlin."),
    provider_number_id: str | None = typer.Option(None, help="Meta's phone_number_id of the number to send from."),
    phone: str | None = typer.Option(None, help="That number, in E.164."),
    as_json: bool = console.json_option(),
) -> None:
    """Make a tenant with its first user and API key. Both secrets are shown this once."""
    from orchestration.runtime import services
    from orchestration.runtime.environment import admin_database_url
    from serving.tenant import service

    home = Home.from_environment()
    services.start_stores(home)
    created = service.create_tenant(
        admin_database_url(home),
        slug=slug,
        name=name,
        admin_email=admin_email,
        timezone=timezone,
        provider_number_id=provider_number_id,
        phone=phone,
    )
    figures = dataclasses.asdict(created)
    if as_json:
        console.print_json(figures)
    else:
        console.table(
            f"Tenant {slug}",
            ["what", "value"],
            [[key.replace("_", " "), str(value)] for key, value in figures.items() if value],
        )
        console.out.print("The password and the key are not shown again.", style="yellow")
