"""What each tenant's models learn from, and the models. Training decides; the assets only keep the books."""

import base64
import datetime as dt
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from feature_store.settings import settings as store_settings
from feature_store.warehouse import warehouse_at
from orchestration.lib.built import require_sound
from orchestration.lib.partitions import TenantRef, tenant_of, tenants
from orchestration.runtime.home import Home

if TYPE_CHECKING:
    from training.datasets import Dataset
    from training.evaluate import Evaluation

MODEL_NAMES = ("lead_scoring", "churn", "engagement")
LEARNT_FROM = {
    "lead_scoring": ["fct_sends"],
    "engagement": ["fct_sends"],
    "churn": ["fct_contact_days"],
}
FEATURES = (
    "contact_messaging_daily",
    "contact_replies_daily",
    "contact_orders_daily",
    "contact_campaign_daily",
    "contact_timing_daily",
    "contact_profile",
)
SEED = 20_260_101
OWNER = "team:data"


def dataset_folder(tenant: TenantRef) -> Path:
    return Home.from_environment().path / "training" / tenant.slug


def _dataset(model: str) -> dg.AssetsDefinition:
    @dg.asset(
        key=["training", f"{model}_dataset"],
        deps=[["marts", mart] for mart in LEARNT_FROM[model]] + [["features", view] for view in FEATURES],
        partitions_def=tenants,
        group_name="training",
        kinds={"polars", "parquet"},
        owners=[OWNER],
        description=f"Rows {model} learns from: features as they were known, labels whose horizon is over.",
    )
    def dataset(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
        from training.datasets import build_dataset
        from training.errors import TooFewLabels
        from training.settings import TrainingSettings
        from training.snapshots import dataset_file, save_dataset

        tenant, configured = tenant_of(context.partition_key), TrainingSettings()
        warehouse = warehouse_at(store_settings().warehouse)
        require_sound(warehouse, tenant.tenant_id)
        now = dt.datetime.now(dt.UTC)
        try:
            built = build_dataset(
                warehouse,
                tenant.tenant_id,
                model,
                now,
                tenant.model_inputs,
                max_rows=configured.max_rows,
                min_labels_per_class=configured.min_labels_per_class,
                churn_windows=tenant.churn_windows,
            )
        except TooFewLabels as too_few:
            dataset_file(dataset_folder(tenant), model).unlink(missing_ok=True)
            return dg.MaterializeResult(metadata={"rows": 0, "abstains": str(too_few)})
        file = save_dataset(built, dataset_folder(tenant))
        return dg.MaterializeResult(
            metadata={
                "rows": built.frame.height,
                "positives": int(built.labels().sum()),
                "inputs": len(built.inputs),
                "digest": built.digest,
                "path": dg.MetadataValue.path(file),
            },
            data_version=dg.DataVersion(built.digest),
        )

    return dataset


def _model(model: str) -> dg.AssetsDefinition:
    @dg.asset(
        key=["models", model],
        deps=[["training", f"{model}_dataset"]],
        partitions_def=tenants,
        group_name="training",
        kinds={"mlflow", "onnx"},
        owners=[OWNER],
        description=f"{model}: fitted, judged on a later period, registered; champion if it passed the gate.",
    )
    def trained(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
        from orchestration.lib.simulated_truth import truth
        from training.cycle import learn
        from training.errors import EmptySplit, TooFewLabels
        from training.evaluate import Costs
        from training.models import model_named
        from training.registry import Registry, log_abstention
        from training.retention import actions_followed_by_return
        from training.settings import TrainingSettings
        from training.snapshots import load_dataset

        tenant, configured = tenant_of(context.partition_key), TrainingSettings()
        tracked = Registry(configured.tracking_uri, tenant.slug, configured.artifacts_dir)
        tags = {"dagster_run_id": context.run_id}
        try:
            dataset = load_dataset(dataset_folder(tenant), model)
        except FileNotFoundError:
            log_abstention(tracked, model, tenant.tenant_id, "too few labels", tags)
            return dg.MaterializeResult(metadata={"outcome": "abstained: too few labels"})
        moments = _judged(dataset, configured.test_share) if model == "churn" else []
        known = (
            truth(warehouse_at(store_settings().warehouse), tenant.tenant_id, model, moments)
            if tenant.is_simulated
            else None
        )
        now = dt.datetime.now(dt.UTC)
        warehouse = warehouse_at(store_settings().warehouse)
        notes: dict[str, Any] = {}
        if model == "churn":
            notes["actions"] = actions_followed_by_return(warehouse, tenant.tenant_id, now)
            if tenant.churn_windows:
                asked = model_named(model, tenant.churn_windows)
                notes |= {"unit": asked.unit, "label": asked.label, "not_for": asked.not_for}
        costs = Costs(*tenant.costs) if tenant.costs else None
        try:
            turn = learn(
                dataset, tracked, configured, seed=SEED, now=now, truth=known, costs=costs, tags=tags, notes=notes
            )
        except (TooFewLabels, EmptySplit) as reason:
            log_abstention(tracked, model, tenant.tenant_id, str(reason), tags)
            return dg.MaterializeResult(metadata={"outcome": f"abstained: {reason}"})
        figures = {name: round(value, 4) for name, value in turn.evaluation.figures().items()}
        return dg.MaterializeResult(
            metadata={
                "outcome": "promoted" if turn.verdict.promote else "kept as challenger",
                "gate": turn.verdict.reason,
                "version": turn.registered.version,
                "mlflow_run_id": turn.registered.run_id,
                "rows": dataset.frame.height,
                "calibration": _pictures(turn.pictures),
                "segments": _segments(turn.evaluation),
                **figures,
            }
        )

    return trained


def _judged(dataset: "Dataset", test_share: float) -> list[dt.datetime]:
    """The moments the test part of the dataset lies in, however late it is cut off."""
    at = dataset.frame["event_timestamp"].sort()
    return list(at.slice(int(len(at) * (1 - test_share))).unique(maintain_order=True))


def _segments(evaluation: "Evaluation") -> dg.MetadataValue[Any]:
    """How good the model is for some of the people, as a table."""
    lines = [
        f"| {segment.name} | {segment.rows} | {segment.positives} | {segment.auc.value:.3f} |"
        f" {segment.calibration_error:.3f} |"
        for segment in evaluation.segments
    ]
    return dg.MetadataValue.md(
        "\n".join(["| people | rows | positives | AUC | calibration error |", "|---|---|---|---|---|", *lines])
    )


def _pictures(drawn: Mapping[str, bytes]) -> dg.MetadataValue[Any]:
    """The evaluation's plots, shown in the Dagster UI."""
    shown = [f"![{name}](data:image/png;base64,{base64.b64encode(png).decode()})" for name, png in drawn.items()]
    return dg.MetadataValue.md("\n\n".join(shown))


DATASETS = [_dataset(model) for model in MODEL_NAMES]
MODELS = [_model(model) for model in MODEL_NAMES]
