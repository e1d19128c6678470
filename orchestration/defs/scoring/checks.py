"""Whether the models that score still meet the people they learnt from, and keep what they promised: three checks of
each tenant's scores. They warn and stop nothing; the sensor `drift_starts_training` acts on them."""

import base64
import datetime as dt
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

from feature_store.settings import settings as store_settings
from feature_store.warehouse import warehouse_at
from orchestration.defs.training.assets import MODEL_NAMES, SEED
from orchestration.lib.partitions import tenant_of, tenants
from orchestration.lib.retrying import transient_errors_retried

if TYPE_CHECKING:
    import polars as pl

    from training.bundle import Bundle
    from training.drift import Drift, Movement
    from training.metrics import Interval
    from training.settings import TrainingSettings

INPUTS, SCORE, PERFORMANCE = "drift_of_inputs", "drift_of_score", "performance_on_matured_labels"
DESCRIPTIONS = {
    INPUTS: "Each input of the champion is distributed over the last four weeks as in those before it was made.",
    SCORE: "The champion scores everybody over the last four weeks as it would have in those before it was made.",
    PERFORMANCE: "On labels settled since it learnt, the champion ranks and calibrates as it promises.",
}
SHOWN_INPUTS = 20


def _checks(model: str) -> dg.AssetChecksDefinition:
    with warnings.catch_warnings():
        # Checks by partition are new in Dagster; without them a tenant's result would hide another's.
        warnings.simplefilter("ignore", dg.PreviewWarning)
        specs = [
            dg.AssetCheckSpec(name, asset=["scores", model], description=words, partitions_def=tenants)
            for name, words in DESCRIPTIONS.items()
        ]

    @dg.multi_asset_check(name=f"{model}_champion", specs=specs, can_subset=True)
    def champion(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        from training.bundle import champion_bundle
        from training.follow_up import recent, rows_since
        from training.periods import champion_drift
        from training.settings import TrainingSettings

        tenant, configured = tenant_of(context.partition_key), TrainingSettings()
        now = dt.datetime.now(dt.UTC)
        wanted = {key.name for key in context.selected_asset_check_keys}
        bundle = champion_bundle(configured.bundles_dir, tenant.tenant_id, model)
        if bundle is None:
            for name in sorted(wanted):
                yield _result(model, name, True, "no model speaks yet")
            return
        with transient_errors_retried(context):
            warehouse = warehouse_at(store_settings().warehouse)
            rows = rows_since(warehouse, bundle, now, configured.max_rows, tenant.churn_windows)
            drift = None
            if wanted & {INPUTS, SCORE}:
                drift = champion_drift(warehouse, bundle, recent(rows, now), now, tenant.churn_windows)
        judged = {"champion": bundle.version, "digest": bundle.digest}
        for passed, name, summary, metadata in (
            *_drift(drift, wanted),
            *_performance(bundle, rows, configured, wanted),
        ):
            yield _result(model, name, passed, summary, judged | metadata)

    return champion


Judged = tuple[bool, str, str, dict[str, Any]]


def _drift(found: "Drift | None", wanted: set[str]) -> Iterator[Judged]:
    from training.drift_plots import inputs_picture, score_picture

    if found is None:
        for name in sorted(wanted & {INPUTS, SCORE}):
            yield True, name, "nobody to judge", {}
        return
    counts = {"people": found.people, "sends": found.sends}
    if INPUTS in wanted:
        moved, shown = found.drifted_inputs, found.inputs[:SHOWN_INPUTS]
        summary = "; ".join(_words(one) for one in moved[:3]) + (f"; {len(moved) - 3} more" if len(moved) > 3 else "")
        told = {"inputs": _table(shown), "picture": _picture(lambda: inputs_picture(shown))} if shown else {}
        fine = "all within their limits" if shown else "too few people to say"
        yield not moved, INPUTS, summary or fine, counts | told
    if SCORE in wanted and found.score is None:
        yield True, SCORE, "too few people to say", counts
    elif SCORE in wanted and found.score is not None:
        score = found.score
        picture = _picture(lambda: score_picture(score))
        figures = {"stability": round(score.stability, 4), "limit": round(score.limit, 4), "usual": score.usual}
        words = _words(score) if score.drifted else f"within its limit: {_words(score)}"
        yield not score.drifted, SCORE, words, counts | figures | {"picture": picture}


def _performance(
    bundle: "Bundle", rows: "pl.DataFrame", configured: "TrainingSettings", wanted: set[str]
) -> Iterator[Judged]:
    from feature_store.transforms import encode
    from training.drift_plots import calibration_picture
    from training.errors import TooFewLabels
    from training.follow_up import matured, performance

    if PERFORMANCE not in wanted:
        return
    settled = matured(rows)
    labels = settled["label"].cast(int).to_numpy()
    probabilities = bundle.probability(encode(settled, bundle.inputs))
    try:
        found = performance(
            bundle.card,
            labels,
            probabilities,
            seed=SEED,
            min_labels_per_class=configured.min_labels_per_class,
            max_calibration_error=configured.max_calibration_error,
        )
    except TooFewLabels as too_few:
        yield True, PERFORMANCE, f"too few to say: {too_few}", {"rows": len(labels)}
        return
    metadata = {
        "rows": found.rows,
        "positives": found.positives,
        "auc": _interval(found.auc),
        "auc_promised": _interval(found.promised),
        "calibration_error": _interval(found.calibration_error),
        "calibration_error_promised": f"{found.promised_calibration_error:.3f}",
        "picture": _picture(lambda: calibration_picture(labels, probabilities)),
    }
    yield not found.broken, PERFORMANCE, "; ".join(found.broken) or "as promised", metadata


def _result(
    model: str, name: str, passed: bool, summary: str, metadata: dict[str, Any] | None = None
) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        asset_key=["scores", model],
        check_name=name,
        passed=passed,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"summary": summary} | (metadata or {}),
    )


def _words(moved: "Movement") -> str:
    return f"{moved.name} moved by {moved.stability:.2f} ({moved.limit:.2f} is allowed)"


def _table(moved: "Sequence[Movement]") -> dg.TableMetadataValue:
    return dg.MetadataValue.table(
        [
            dg.TableRecord(
                {
                    "input": one.name,
                    "stability": round(one.stability, 4),
                    "limit": round(one.limit, 4),
                    "usual": one.usual,
                    "independent": one.units,
                    "drifted": "yes" if one.drifted else "",
                }
            )
            for one in moved
        ]
    )


def _interval(figure: "Interval") -> str:
    return f"{figure.value:.3f} ({figure.lower:.3f} to {figure.upper:.3f})"


def _picture(draw: Callable[[], bytes]) -> dg.MetadataValue[Any]:
    return dg.MetadataValue.md(f"![picture](data:image/png;base64,{base64.b64encode(draw()).decode()})")


CHAMPION_CHECKS = [_checks(model) for model in MODEL_NAMES]
