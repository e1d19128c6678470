import re

import pytest

from feature_store.catalogue import pages, write_pages
from feature_store.feature_services import FEATURE_SERVICES
from feature_store.feature_views import FEATURE_VIEWS, FEATURES
from feature_store.model_inputs import InvalidModelInputs, check_model_inputs
from feature_store.on_demand import ON_DEMAND
from orchestration.runtime.home import PROJECT_ROOT

DOCS = PROJECT_ROOT / "docs"


class TestPages:
    @pytest.mark.parametrize("name", pages())
    def test_the_page_is_current(self, name):
        assert (DOCS / name).read_text(encoding="utf-8") == pages()[name], "run python -m feature_store.catalogue docs"

    def test_there_is_no_page_of_a_view_that_is_no_more(self):
        on_disk = {f"features/{path.name}" for path in (DOCS / "features").iterdir()}

        assert on_disk == set(pages()) - {"features.md"}

    def test_writing_takes_away_what_is_no_view_any_more(self, tmp_path):
        (tmp_path / "features").mkdir()
        (tmp_path / "features" / "gone.md").write_text("")

        written = write_pages(tmp_path)

        assert {path.relative_to(tmp_path).as_posix() for path in written} == set(pages())
        assert sorted(tmp_path.rglob("*.md")) == sorted(written)

    def test_every_link_leads_to_a_page(self):
        for name, text in pages().items():
            for target in re.findall(r"\]\(([^)]+)\)", text):
                assert ((DOCS / name).parent / target).resolve().is_file()

    def test_every_feature_stands_on_its_views_page_with_its_readers(self):
        for view in FEATURE_VIEWS:
            page = pages()[f"features/{view.name}.md"]
            for feature in view.features:
                (row,) = (line for line in page.splitlines() if line.startswith(f"| `{feature.name}` |"))
                assert "_v1`" in row
                assert f"| {feature.dtype} | {feature.unit} | {feature.window} |" in row

    def test_the_example_of_a_wrong_setting_is_what_is_said(self):
        with pytest.raises(InvalidModelInputs) as caught:
            check_model_inputs({"contact": {"age": "int"}})

        assert str(caught.value) in " ".join(pages()["features.md"].split())


class TestVocabulary:
    def test_every_feature_has_one_name_and_says_what_it_means(self):
        everything = [feature for view in FEATURE_VIEWS for feature in view.features]

        assert len({feature.name for feature in everything}) == len(everything)
        for feature in [*everything, *ON_DEMAND.values()]:
            assert feature.description.endswith(".")
            assert feature.null_means.endswith(".")
            assert feature.unit
            assert feature.window

    def test_a_window_in_a_name_is_the_features_window(self):
        for feature in FEATURES.values():
            days = re.search(r"_(\d+)d$", feature.name)
            assert feature.window == f"{days[1]} days" if days else feature.window in ("ever", "latest")

    def test_every_service_names_features_that_exist(self):
        for service in FEATURE_SERVICES.values():
            assert {FEATURES[name].dtype for name in service.features} == {"float32"}
            assert set(service.on_demand) <= set(ON_DEMAND)
            assert {need for name in service.on_demand for need in ON_DEMAND[name].needs} <= set(FEATURES)
            assert len(set(service.features)) == len(service.features)

    @pytest.mark.parametrize(("name", "least"), [("lead_scoring_v1", 24), ("churn_v1", 32), ("engagement_v1", 27)])
    def test_a_model_has_at_least_as_many_inputs_as_asked(self, name, least):
        service = FEATURE_SERVICES[name]

        assert len(service.features) + len(service.on_demand) >= least

    def test_every_feature_is_read_by_a_model(self):
        read = {name for service in FEATURE_SERVICES.values() for name in service.stored()}

        assert read == set(FEATURES)


class TestModelInputs:
    def test_what_is_right_is_given_back(self):
        given = {"contact": {"age": "number", "city": "category"}, "campaign": {"channels": "set"}}

        assert check_model_inputs(given) == given
        assert check_model_inputs({}) == {}

    @pytest.mark.parametrize(
        ("given", "field", "message"),
        [
            ([], "the whole", "the whole must be an object of contact and campaign, not a list"),
            ({"contacts": {}}, "contacts", "contacts is neither of contact and campaign"),
            ({"contact": ["age"]}, "contact", "contact must be an object of attribute names and types, not a list"),
            ({"campaign": {"reward": 5}}, "campaign.reward", "must be one of number, category, set, not 5"),
            ({"contact": {"age": None}}, "contact.age", "must be one of number, category, set, not None"),
            ({"contact": {" ": "number"}}, "contact. ", "has no name"),
            ({"contact": {"tags": ["set"]}}, "contact.tags", "not a list"),
        ],
    )
    def test_what_is_wrong_is_named(self, given, field, message):
        with pytest.raises(InvalidModelInputs, match=re.escape(message)) as caught:
            check_model_inputs(given)

        assert caught.value.field == field
