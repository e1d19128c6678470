"""The graph as it was last reviewed: every asset with its group, kinds, owners, parents and checks; jobs, schedules and
sensors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

SNAPSHOT = Path(__file__).with_name("definitions.json")


@pytest.fixture(scope="module")
def definitions(tmp_path_factory):
    """The code location as Dagster loads it. Parses the dbt project: ten seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAPPORT_HOME", str(tmp_path_factory.mktemp("graph")))
        from orchestration.lib.dbt_project import _manifest_path

        _manifest_path.cache_clear()
        from orchestration.definitions import defs

        yield defs
        _manifest_path.cache_clear()


@pytest.fixture(scope="module")
def graph(definitions):
    return definitions.resolve_asset_graph()


def described(definitions, graph) -> dict[str, object]:
    return {"assets": assets(graph), "jobs": jobs(definitions), "automation": automation(definitions)}


def jobs(definitions) -> dict[str, object]:
    repository = definitions.get_repository_def()
    found = {}
    for name in sorted(job for job in repository.job_names if not job.startswith("__")):
        job = repository.get_job(name)
        found[name] = {
            "partitions": type(job.partitions_def).__name__ if job.partitions_def else None,
            "steps": sorted(node.name for node in job.nodes),
        }
    return found


def automation(definitions) -> dict[str, object]:
    repository = definitions.get_repository_def()
    schedules = {
        schedule.name: {
            "cron": schedule.cron_schedule,
            "zone": schedule.execution_timezone,
            "job": schedule.job_name,
            "runs": schedule.default_status.value == "RUNNING",
        }
        for schedule in repository.schedule_defs
    }
    sensors = {
        sensor.name: {
            "seconds": sensor.minimum_interval_seconds,
            "kind": sensor.sensor_type.value,
            "runs": sensor.default_status.value == "RUNNING",
        }
        for sensor in repository.sensor_defs
    }
    return {"schedules": schedules, "sensors": sensors}


def assets(graph) -> dict[str, object]:
    found = {}
    for key in sorted(graph.materializable_asset_keys):
        node = graph.get(key)
        found[key.to_user_string()] = {
            "group": node.group_name,
            "kinds": sorted(node.kinds),
            "owners": sorted(node.owners),
            "made_from": sorted(parent.to_user_string() for parent in node.parent_keys),
            "by_tenant": node.partitions_def is not None,
            "kept_fresh": node.freshness_policy is not None,
            "checks": sorted(check.name for check in graph.get_check_keys_for_assets({key})),
        }
    return found


class TestDefinitions:
    def test_the_graph_is_the_reviewed_one(self, definitions, graph):
        # After a change that is meant: python -m pytest tests/orchestration/test_definitions.py, read the difference,
        # then replace definitions.json by what the test wrote beside it.
        now = described(definitions, graph)
        reviewed = json.loads(SNAPSHOT.read_text())
        if now != reviewed:
            SNAPSHOT.with_suffix(".new.json").write_text(json.dumps(now, indent=1, sort_keys=True) + "\n")
        assert now == reviewed

    def test_every_asset_has_an_owner_a_group_and_a_description(self, graph):
        for key in graph.materializable_asset_keys:
            node = graph.get(key)
            assert node.owners, key
            assert node.group_name != "default", key
            assert node.description, key

    def test_what_is_published_is_what_the_project_says(self, graph):
        import dagster as dg

        from orchestration.lib.dbt_project import published_marts

        parents = {key.path[-1] for key in graph.get(dg.AssetKey(["publish", "marts"])).parent_keys}
        assert parents == set(published_marts())
        assert len(parents) > 5

    def test_every_write_of_the_warehouse_is_in_the_pool(self, definitions):
        repository = definitions.get_repository_def()
        pools = {node.name: node.definition.pool for node in repository.get_job("refresh").nodes}
        assert pools == dict.fromkeys(["ingest", "contracts", "dbt", "publish__marts"], "warehouse")
        assert [node.definition.pool for node in repository.get_job("backfill").nodes] == ["warehouse"]

    def test_campaigns_are_made_from_raw_rows(self, graph):
        """Lineage from the operational tables to the segment that campaigns aim at is unbroken."""
        import dagster as dg

        above = dg.AssetSelection.assets(["segments", "likely_buyers"]).upstream().resolve(graph)
        assert {key.path[0] for key in above} == {
            "raw", "staging", "intermediate", "features", "marts", "training", "models", "scores", "segments",
        }  # fmt: skip
        assert dg.AssetKey(["raw", "messages"]) in above
