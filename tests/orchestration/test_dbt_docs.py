"""What the dbt project says of itself: every model and column has a meaning, an owner, a reader and a grain, and the
generated pages say the same."""

from __future__ import annotations

import re

import pytest

from feature_store.feature_views import FEATURE_VIEWS
from orchestration.lib import doc_pages

LAYERS = ("staging", "intermediate", "features", "marts")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The manifest, and dbt's own pages beside it. Parses the project: ten seconds."""
    from orchestration.lib.dbt_project import _manifest_path
    from orchestration.runtime.home import Home

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAPPORT_HOME", str(tmp_path_factory.mktemp("docs")))
        _manifest_path.cache_clear()
        yield doc_pages.read_manifest(), doc_pages.write_dbt_site(Home.from_environment())
        _manifest_path.cache_clear()


@pytest.fixture(scope="module")
def manifest(site):
    return site[0]


def models(manifest) -> list[dict]:
    return [node for node in manifest["nodes"].values() if node["resource_type"] == "model"]


def marts(manifest) -> list[dict]:
    return [model for model in models(manifest) if model["fqn"][1] == "marts"]


class TestMeaning:
    def test_every_table_says_its_grain_its_owner_and_its_reader(self, manifest):
        tables = [*models(manifest), *manifest["sources"].values()]

        assert len(tables) > 50
        for table in tables:
            meta = table["config"]["meta"]
            assert re.search(r"One row per [^.]+\.$", table["description"]), table["unique_id"]
            assert meta["owner"], table["unique_id"]
            assert meta["reader"], table["unique_id"]

    def test_every_column_that_is_named_is_described(self, manifest):
        for table in [*models(manifest), *manifest["sources"].values()]:
            assert table["columns"], table["unique_id"]
            for column in table["columns"].values():
                # A whole sentence, or at least a name for people: not the column's own name again.
                assert re.search(r"\w+.*\.$", column["description"].strip()), (table["name"], column["name"])

    def test_a_feature_means_the_same_to_dbt_and_to_the_feature_store(self, manifest):
        by_name = {model["name"]: model for model in models(manifest)}

        for view in FEATURE_VIEWS:
            columns = by_name[view.name]["columns"]
            for feature in view.features:
                assert columns[feature.name]["description"].startswith(feature.description), feature.name


class TestMarts:
    def test_every_mart_has_an_enforced_contract_and_a_tested_grain(self, manifest):
        grains = {
            node["attached_node"]
            for node in manifest["nodes"].values()
            if (node.get("test_metadata") or {}).get("name") == "one_row_per"
        }

        for mart in marts(manifest):
            assert mart["config"]["contract"]["enforced"] is True, mart["name"]
            assert mart["unique_id"] in grains, mart["name"]

    def test_what_is_published_belongs_to_a_tenant_and_is_what_the_dashboard_reads(self, manifest):
        published = [mart for mart in marts(manifest) if mart["config"]["meta"].get("published")]
        read = {
            unique_id
            for name in ("dashboard", "analytics_api")
            for unique_id in manifest["exposures"][f"exposure.rapport.{name}"]["depends_on"]["nodes"]
        }

        assert {mart["unique_id"] for mart in published} == read
        assert all("tenant_id" in mart["columns"] for mart in published)
        assert not {"message_id", "phone", "custom_data"} & {name for mart in published for name in mart["columns"]}

    def test_every_model_in_use_has_an_exposure(self, manifest):
        from feature_store.feature_services import FEATURE_SERVICES
        from training.models import MODEL_NAMES

        for model in MODEL_NAMES:
            exposure = manifest["exposures"][f"exposure.rapport.{model}"]
            assert exposure["type"] == "ml"
            assert exposure["owner"]["name"] == "data"
        read = {
            unique_id.split(".")[-1]
            for exposure in manifest["exposures"].values()
            for unique_id in exposure["depends_on"]["nodes"]
        }
        assert {view.name for service in FEATURE_SERVICES.values() for view, _ in service.views()} <= read

    def test_every_truth_says_what_it_claims(self, manifest):
        truths = [
            node
            for node in manifest["nodes"].values()
            if node["resource_type"] == "test" and not node.get("test_metadata")
        ]

        assert len(truths) >= 8
        for truth in truths:
            assert truth["raw_code"].startswith("-- "), truth["name"]


class TestPages:
    def test_every_page_is_what_the_project_says_now(self, manifest):
        # After a change: make docs
        written = {file.name: file.read_text() for file in doc_pages.MARTS.glob("*.md")}

        assert written == doc_pages.mart_pages(manifest)

    def test_a_page_tells_grain_columns_and_truths(self, manifest):
        page = doc_pages.mart_pages(manifest)["mart_revenue.md"]

        assert "tenant_id, local_date, currency" in page
        assert "| revenue_cents | bigint |  | Value of the orders, in cents. |" in page
        assert "`assert_revenue_is_that_of_orders`" in page

    def test_pages_of_marts_that_are_gone_are_removed(self, manifest, tmp_path):
        (tmp_path / "mart_gone.md").write_text("old")

        written = doc_pages.write_mart_pages(manifest, tmp_path)

        assert set(tmp_path.iterdir()) == set(written)

    def test_dbt_makes_its_own_pages_without_a_warehouse(self, site):
        _, index = site

        assert index.name == "index.html"
        assert index.with_name("manifest.json").exists()
        assert not (index.parents[2] / "warehouse" / "warehouse.duckdb").exists()
