"""rapport models, train, promote, rollback, score: a tenant's models from a shell. Nothing has to run for them but the
databases."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from orchestration.cli import console
from orchestration.runtime.home import Home

if TYPE_CHECKING:
    from orchestration.lib.partitions import TenantRef
    from training.registry import Registry

TENANT = typer.Option(..., "--tenant", help="The tenant's slug.")
ONE_TENANT_OR_ALL = typer.Option([], "--tenant", help="Only these tenants; all without it.")
MODEL = typer.Argument(help="lead_scoring, churn or engagement.")
ONE_MODEL_OR_ALL = typer.Option(None, "--model", help="lead_scoring, churn or engagement; all without it.")


def models(tenant: str = TENANT, as_json: bool = console.json_option()) -> None:
    """List a tenant's model versions: who speaks, how good each is, and why it may or may not speak."""
    from training.models import MODEL_NAMES
    from training.registry import versions

    _, registry = _registry(tenant)
    found = [(model, version) for model in MODEL_NAMES for version in versions(registry, model)]
    if as_json:
        console.print_json([{"model": model} | dataclasses.asdict(version) for model, version in found])
        return
    rows = [
        [
            model,
            version.version,
            ", ".join(version.aliases),
            round(version.figures.get("auc", float("nan")), 4),
            f"{version.registered_at:%Y-%m-%d %H:%M}",
            version.gate,
        ]
        for model, version in found
    ]
    console.table(f"Models of {tenant}", ["model", "version", "alias", "AUC", "registered (UTC)", "gate"], rows)


def train(
    tenant: list[str] = ONE_TENANT_OR_ALL,
    model: str = ONE_MODEL_OR_ALL,
    as_json: bool = console.json_option(),
) -> None:
    """Train on the warehouse as it is; the gate decides who speaks. `rapport run` would bring the newest rows first."""
    from orchestration.cli.run import run

    keys = [f'key:"training/{name}_dataset" or key:"models/{name}"' for name in _chosen(model)]
    run(select=" or ".join(keys), tenant=tenant, as_json=as_json)


def score(
    tenant: list[str] = ONE_TENANT_OR_ALL,
    model: str = ONE_MODEL_OR_ALL,
    as_json: bool = console.json_option(),
) -> None:
    """Score every contact with the model that speaks, or with the rule where none does, and publish the scores."""
    from orchestration.cli.run import run

    run(select=" or ".join(f'key:"scores/{name}"' for name in _chosen(model)), tenant=tenant, as_json=as_json)


def promote(model: str = MODEL, version: str = typer.Argument(help="Its number."), tenant: str = TENANT) -> None:
    """Let a version speak, whatever the gate said. `rapport rollback` undoes it."""
    from training import promote as promotion
    from training.models import model_named
    from training.settings import TrainingSettings

    with _refusals():
        name = model_named(model).name
        business, registry = _registry(tenant)
        now, folder = dt.datetime.now(dt.UTC), TrainingSettings().bundles_dir
        bundle = promotion.promote(registry, folder, business.tenant_id, name, version, now=now)
    console.out.print(f"{tenant}.{model}: version {bundle.version} speaks now.", highlight=False)


def rollback(model: str = MODEL, tenant: str = TENANT) -> None:
    """Let the version before the present champion speak again."""
    from training import promote as promotion
    from training.models import model_named
    from training.settings import TrainingSettings

    with _refusals():
        name = model_named(model).name
        business, registry = _registry(tenant)
        now, folder = dt.datetime.now(dt.UTC), TrainingSettings().bundles_dir
        bundle = promotion.roll_back(registry, folder, business.tenant_id, name, now=now)
    console.out.print(f"{tenant}.{model}: version {bundle.version} speaks again.", highlight=False)


def _chosen(model: str | None) -> list[str]:
    from training.models import MODEL_NAMES, model_named

    with _refusals():
        return [model_named(model).name] if model else list(MODEL_NAMES)


@contextmanager
def _refusals() -> Iterator[None]:
    """What the caller got wrong ends the command with the code for it."""
    from training.errors import NoEarlierChampion, UnknownModel, UnknownVersion

    try:
        yield
    except (UnknownModel, UnknownVersion, NoEarlierChampion) as error:
        raise console.Refused(str(error), console.BAD_INPUT) from error


def _registry(slug: str) -> tuple[TenantRef, Registry]:
    """The tenant and its models, with the databases up and this process configured. Raises UnknownTenant."""
    from orchestration.lib.partitions import tenant_of
    from orchestration.lib.running import prepare
    from orchestration.runtime import services
    from training.registry import Registry
    from training.settings import TrainingSettings

    home = Home.from_environment()
    services.start_stores(home)
    prepare(home)
    configured = TrainingSettings()
    return tenant_of(slug), Registry(configured.tracking_uri, slug, configured.artifacts_dir)
