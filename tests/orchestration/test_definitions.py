"""The graph as it was last reviewed: every asset with its group, kinds, owners, parents and checks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

SNAPSHOT = Path(__file__).with_name("definitions.json")


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    """The code location as Dagster loads it. Parses the dbt project: ten seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAPPORT_HOME", str(tmp_path_factory.mktemp("graph")))
        from orchestration.definitions import defs
        from orchestration.lib.dbt_project import manifest_path

        yield defs.resolve_asset_graph()
        manifest_path.cache_clear()


def described(graph) -> dict[str, object]:
    found = {}
    for key in sorted(graph.materializable_asset_keys):
        node = graph.get(key)
        found[key.to_user_string()] = {
            "group": node.group_name,
            "kinds": sorted(node.kinds),
            "owners": sorted(node.owners),
            "made_from": sorted(parent.to_user_string() for parent in node.parent_keys),
            "by_tenant": node.partitions_def is not None,
            "checks": sorted(check.name for check in graph.get_check_keys_for_assets({key})),
        }
    return found


class TestDefinitions:
    def test_the_graph_is_the_reviewed_one(self, graph):
        # After a change that is meant: python -m pytest tests/orchestration/test_definitions.py, read the difference,
        # then replace definitions.json by what the test wrote beside it.
        now = described(graph)
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

    def test_every_raw_table_has_a_contract(self, graph):
        from feature_store.ingest import TABLES
        from orchestration.defs.ingest.contracts import CONTRACTS

        assert set(CONTRACTS) == set(TABLES)
