from feature_store.catalogue import catalogue
from feature_store.feature_services import FEATURE_SERVICES
from feature_store.feature_views import FEATURE_VIEWS, FEATURES
from feature_store.on_demand import ON_DEMAND
from orchestration.runtime.home import PROJECT_ROOT


def test_the_page_is_current():
    page = PROJECT_ROOT / "docs" / "features.md"

    assert page.read_text() == catalogue(), "run python -m feature_store.catalogue > docs/features.md"


def test_every_feature_has_one_name_and_a_sentence():
    everything = [feature for view in FEATURE_VIEWS for feature in view.features]

    assert len({feature.name for feature in everything}) == len(everything)
    assert all(feature.description.endswith(".") and feature.unit for feature in [*everything, *ON_DEMAND.values()])


def test_every_service_names_features_that_exist():
    for service in FEATURE_SERVICES.values():
        assert {FEATURES[name].kind for name in service.features} == {"number"}
        assert set(service.on_demand) <= set(ON_DEMAND)
        assert {need for name in service.on_demand for need in ON_DEMAND[name].needs} <= set(FEATURES)
        assert len(set(service.features)) == len(service.features)
