"""A champion that speaks of other people than it learnt from fails its checks, and a training starts; one that meets
the same people passes them."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterator
from typing import Any

import dagster as dg
import numpy as np
import polars as pl
import pytest

from feature_store.feature_views import FEATURE_VIEWS
from feature_store.warehouse import DuckDBWarehouse
from orchestration.defs.automation.jobs import train as train_job
from orchestration.defs.automation.sensors import DRIFTED, REASON, drift_starts_training
from orchestration.defs.scoring.checks import CHAMPION_CHECKS, INPUTS, PERFORMANCE, SCORE
from orchestration.lib.partitions import tenants
from tests.training.conftest import warehouse  # noqa: F401 - a fixture
from training.bundle import champion_bundle, export_checked, make_manifest, point_champion, write_bundle
from training.datasets import Dataset, split_by_time
from training.evaluate import evaluate
from training.synthetic import TENANT_ID, synthetic_dataset
from training.train import train

SLUG = "bookshop"
SCORES = dg.AssetKey(["scores", "engagement"])
NOW = dt.datetime.now(dt.UTC)


@pytest.fixture(scope="module")
def learnt() -> Dataset:
    """Four hundred people who were sent something once a week, from fourteen to five weeks ago."""
    return synthetic_dataset("engagement", 400, 10, seed=11, start=NOW - dt.timedelta(weeks=14))[0]


@pytest.fixture(scope="module")
def bundles(database: Any, learnt: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A champion that learnt from them as soon as the last label was settled."""
    folder = tmp_path_factory.mktemp("bundles")
    database.add_tenant(SLUG, id=TENANT_ID)
    split = split_by_time(learnt)
    trained = train(split, seed=1, now=NOW - dt.timedelta(days=27))
    graph, _ = export_checked(trained, split.test)
    figures = evaluate(trained, split, seed=1).figures()
    card = {"model": "engagement", "figures": figures}
    bundle = write_bundle(folder, graph, make_manifest(trained, "7", split), card)
    point_champion(folder, bundle, [], NOW)
    return folder


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as instance:
        instance.add_dynamic_partitions(tenants.name or "", [SLUG])
        yield instance


@pytest.fixture
def judge(
    warehouse: DuckDBWarehouse,  # noqa: F811
    bundles: Any,
    learnt: Dataset,
    database: Any,
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Any]:
    """Runs engagement's checks as Dagster's daily job does, on what was learnt from, what was known of people lately
    and which of it were sends."""
    from feature_store.settings import settings

    monkeypatch.setenv("FEATURE_STORE_OPERATIONAL_URL", database.etl_read)
    monkeypatch.setenv("FEATURE_STORE_REDIS_URL", "redis://127.0.0.1:9/0")
    monkeypatch.setenv("FEATURE_STORE_WAREHOUSE", str(warehouse.path))
    monkeypatch.setenv("TRAINING_BUNDLES_DIR", os.fspath(bundles))
    settings.cache_clear()
    [checks] = [one for one in CHAMPION_CHECKS if SCORES in {key.asset_key for key in one.check_keys}]

    @dg.asset(key=SCORES, partitions_def=tenants)
    def published() -> None: ...

    job = dg.define_asset_job("daily", selection=dg.AssetSelection.assets(SCORES), partitions_def=tenants)
    definitions = dg.Definitions(assets=[published], asset_checks=[checks], jobs=[job])

    def run(rows: pl.DataFrame | None, sent: pl.DataFrame | None = None) -> dg.ExecuteInProcessResult:
        if rows is not None:
            keep(warehouse, learnt.frame, learnt.frame)
            keep(warehouse, rows, rows if sent is None else sent)
        return definitions.resolve_job_def("daily").execute_in_process(instance=instance, partition_key=SLUG)

    yield run
    settings.cache_clear()


def lately(**changed: pl.Expr) -> pl.DataFrame:
    """Sixteen hundred rows of the last four weeks, of people of the kind learnt from unless changed."""
    frame, _ = synthetic_dataset("engagement", 400, 4, seed=5, start=NOW - dt.timedelta(days=27))
    return frame.frame.with_columns(**changed)


def keep(warehouse: DuckDBWarehouse, rows: pl.DataFrame, sent: pl.DataFrame) -> None:  # noqa: F811
    """The rows as features that retrieval finds again, and some of them as sends."""
    at = pl.col("event_timestamp")
    read_at = pl.when(pl.col("label") == 1).then(at + dt.timedelta(hours=1))
    ends = pl.col("label_known_at").alias("attribution_ends_at")
    keys = ("tenant_id", "contact_id", "message_id", "campaign_id")
    tables = {
        "marts.fct_sends": sent.select(*keys, at.alias("sent_at"), ends, read_at=read_at),
        "marts.dim_campaigns": rows.select(
            "tenant_id", "campaign_id", attributes=pl.col("campaign_attributes")
        ).unique(),
        "marts.dim_contacts": rows.select("tenant_id", "contact_id").unique(),
    }
    for view in FEATURE_VIEWS:
        names = [feature.name for feature in view.features if feature.name in rows.columns]
        tables[view.source.table] = rows.select("tenant_id", "contact_id", at, *names, created_timestamp=at)
    with warehouse.connect(read_only=False) as connection:
        for name, table in tables.items():
            connection.register("given", table.to_arrow())
            known = "anti join {name} using (campaign_id)" if name == "marts.dim_campaigns" else ""
            known = "anti join {name} using (contact_id)" if name == "marts.dim_contacts" else known
            connection.execute(f"insert into {name} by name select * from given {known.format(name=name)}")
        connection.execute("insert into marts.dim_tenants values (?, 'UTC')", [TENANT_ID])
        connection.execute("delete from marts.dim_tenants where rowid > 0")


def verdicts(result: dg.ExecuteInProcessResult) -> dict[str, bool]:
    return {one.check_name: one.passed for one in result.get_asset_check_evaluations()}


def asked(instance: dg.DagsterInstance, result: dg.ExecuteInProcessResult) -> Any:
    event = dg.DagsterEvent(event_type_value="PIPELINE_SUCCESS", job_name="daily")
    context = dg.build_run_status_sensor_context(
        sensor_name="drift_starts_training",
        dagster_event=event,
        dagster_instance=instance,
        dagster_run=result.dagster_run,
    )
    return drift_starts_training(context)


class TestChampionChecks:
    def test_the_same_people_once_more_pass_and_nothing_starts(self, judge: Any, instance: dg.DagsterInstance) -> None:
        result = judge(lately())
        assert verdicts(result) == {INPUTS: True, SCORE: True, PERFORMANCE: True}
        told = {one.check_name: one.metadata for one in result.get_asset_check_evaluations()}
        # All lie within four weeks; the labels of the last week have not settled.
        assert (told[INPUTS]["people"].value, told[INPUTS]["sends"].value) == (400, 1600)
        assert told[PERFORMANCE]["rows"].value == 1200
        assert isinstance(asked(instance, result), dg.SkipReason)

    def test_sends_to_those_it_scored_best_are_no_alarm(self, judge: Any, bundles: Any) -> None:
        from feature_store.transforms import encode

        bundle, rows = champion_bundle(bundles, TENANT_ID, "engagement"), lately()
        told = pl.Series(bundle.probability(encode(rows, bundle.inputs)))
        sent = rows.filter(told > told.quantile(0.7))
        result = judge(rows, sent)
        found = {one.check_name: one.metadata for one in result.get_asset_check_evaluations()}
        assert verdicts(result) == {INPUTS: True, SCORE: True, PERFORMANCE: True}, found
        # Among the best alone it ranks far worse than on everybody, as it should.
        card = bundle.card["figures"]
        assert float(found[PERFORMANCE]["auc"].value.split()[0]) < card["auc_lower"] - 0.05

    def test_others_fail_with_what_moved_and_start_one_training(self, judge: Any, instance: dg.DagsterInstance) -> None:
        noise = np.random.default_rng(2).permutation(1600)
        result = judge(
            lately(
                read_7d=pl.col("read_7d") * 0.3,
                read_90d=pl.col("read_90d") * 0.3,
                read_rate_90d=pl.col("read_rate_90d") * 0.3,
                label=pl.col("label").gather(noise),
            )
        )
        assert verdicts(result) == {INPUTS: False, SCORE: False, PERFORMANCE: False}
        assert result.success
        found = {one.check_name: one for one in result.get_asset_check_evaluations()}
        assert found[INPUTS].severity == dg.AssetCheckSeverity.WARN
        assert found[INPUTS].partition == SLUG
        assert "read_7d moved by" in found[INPUTS].metadata["summary"].value
        assert found[SCORE].metadata["picture"].value.startswith("![picture](data:image/png;base64,iVBOR")
        assert "promised" in found[PERFORMANCE].metadata["summary"].value

        request = asked(instance, result)
        assert request.partition_key == SLUG
        assert (request.tags["tenant"], request.tags[DRIFTED]) == (SLUG, "engagement 7")
        assert request.tags[REASON].startswith("drift_of_inputs of engagement: read_7d moved by")
        # The same champion is not challenged again tomorrow; another one's failure is another matter.
        run = instance.create_run_for_job(_any_job(), tags=dict(request.tags))
        assert isinstance(asked(instance, result), dg.SkipReason)
        # Nor when another one fails beside it on that day, and this one alone once more.
        both = instance.create_run_for_job(_any_job(), tags=dict(request.tags) | {DRIFTED: "churn 3, engagement 7"})
        instance.delete_run(run.run_id)
        assert isinstance(asked(instance, result), dg.SkipReason)
        instance.delete_run(both.run_id)
        assert asked(instance, result).run_key == request.run_key

    def test_a_tenant_to_whom_nothing_happened_has_nothing_to_fail(self, judge: Any) -> None:
        result = judge(None)
        assert verdicts(result) == {INPUTS: True, SCORE: True, PERFORMANCE: True}


def _any_job() -> dg.JobDefinition:
    @dg.op
    def nothing() -> None: ...

    @dg.job(name=train_job.name)
    def made() -> None:
        nothing()

    return made
