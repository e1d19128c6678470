"""`rapport features` on a warehouse made by hand, as a shell sees it."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from feature_store import DuckDBWarehouse
from feature_store.feature_views import contact_messaging_daily, contact_profile
from feature_store.on_demand import ON_DEMAND
from orchestration.cli import console
from orchestration.cli.features import app, bar
from tests.feature_store.stores import Store, empty_store

DAY = dt.timedelta(days=1)
FIRST = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty contacts of `one` known before the first day and ten after it, one of `two`. `sent_7d` is the contact's
    number modulo 4 on the first day and 3 for everybody from the second on; every fifth contact has no row."""
    folder = tmp_path_factory.mktemp("features")
    store = empty_store(DuckDBWarehouse(folder / "warehouse" / "warehouse.duckdb"))
    for number in range(50):
        known = FIRST - 20 * DAY if number < 40 else FIRST + 2 * DAY
        add(
            store, "t1", f"c{number}", known, None if number % 5 == 4 else [(FIRST - DAY, number % 4), (FIRST + DAY, 3)]
        )
    add(store, "t2", "c0", FIRST - 20 * DAY, [(FIRST - DAY, 9)])
    return folder


def add(
    store: Store, tenant: str, contact: str, known: dt.datetime, sent: list[tuple[dt.datetime, int]] | None
) -> None:
    store.write(["INSERT INTO marts.dim_contacts VALUES (?, ?)"], [tenant, contact])
    profile = contact_profile.source.table
    store.write(
        [
            f"INSERT INTO {profile} (tenant_id, contact_id, event_timestamp, created_timestamp, first_known_at,"
            " contact_attributes) VALUES (?, ?, ?, ?, ?, '{}')"
        ],
        [tenant, contact, known, known, known],
    )
    for at, count in sent or []:
        messaging = contact_messaging_daily.source.table
        store.write(
            [
                f"INSERT INTO {messaging} (tenant_id, contact_id, event_timestamp, created_timestamp, sent_7d,"
                " last_sent_at) VALUES (?, ?, ?, ?, ?, ?)"
            ],
            [tenant, contact, at, at, count, at],
        )


@pytest.fixture
def features(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RAPPORT_HOME", str(folder))
    monkeypatch.setattr(console.out, "width", 200)

    def run(*words: str) -> Result:
        return CliRunner().invoke(app, list(words))

    return run


def figures(done: Result):
    assert done.exit_code == 0, done.output
    return json.loads(done.output)


def days(to: dt.datetime) -> tuple[str, ...]:
    return ("--from", f"{FIRST:%Y-%m-%d}", "--to", f"{to:%Y-%m-%d}")


def refusal(done: Result) -> tuple[int, str]:
    assert isinstance(done.exception, console.Refused)
    return done.exception.code, str(done.exception)


class TestList:
    def test_names_every_feature(self, features):
        listed = figures(features("list", "--json"))

        assert {"sent_7d", "contact_attributes", *ON_DEMAND} <= {row["name"] for row in listed}

    def test_a_person_reads_view_unit_and_window(self, features, capsys):
        shown = lines(features, capsys, "list")
        at = next(number for number, line in enumerate(shown) if line.startswith("read_rate_30d "))

        assert shown[at].split()[:4] == ["read_rate_30d", "rate", "30", "days"]
        titles = [line.strip() for line in shown[:at] if len(line.split()) == 1]
        assert titles[-1] == "contact_messaging_daily"


def lines(features, capsys, *words: str) -> list[str]:
    """What a person reads. The console writes to the process's own output, which typer's runner does not replace."""
    done = features(*words)
    assert done.exit_code == 0, done.exception
    return (done.output + capsys.readouterr().out).splitlines()


class TestShow:
    def test_a_feature_says_what_missing_means_and_who_reads_it(self, features):
        shown = figures(features("show", "read_rate_30d", "--json"))

        assert shown["null_means"] == "Nothing was sent in the window."
        assert shown["readers"] == ["lead_scoring_v1", "churn_v1", "engagement_v1"]

    @pytest.mark.parametrize(("name", "count"), [("contact_profile", 2), ("engagement_v1", 46)])
    def test_a_view_or_service_shows_its_features(self, features, name, count):
        assert len(figures(features("show", name, "--json"))) == count

    def test_an_unknown_name_is_refused(self, features):
        code, message = refusal(features("show", "sent_8d"))

        assert code == 2
        assert "sent_8d" in message


class TestSample:
    def test_gives_the_newest_rows_of_the_tenant(self, features):
        rows = figures(features("sample", "contact_messaging_daily", "--tenant", "one", "--rows", "3", "--json"))

        assert [(row["contact_id"], row["sent_7d"]) for row in rows] == [("c0", 3), ("c1", 3), ("c10", 3)]

    def test_gives_all_tenants_rows_without_one(self, features):
        rows = figures(features("sample", "contact_profile", "--rows", "100", "--json"))

        assert len(rows) == 51

    def test_an_unknown_view_or_tenant_is_refused(self, features):
        assert refusal(features("sample", "messages"))[0] == 2
        assert "nobody" in refusal(features("sample", "contact_profile", "--tenant", "nobody"))[1]


class TestDrift:
    def test_compares_two_midnights_among_those_known_then(self, features):
        found = figures(features("drift", "sent_7d", "--tenant", "one", *days(FIRST + 3 * DAY), "--json"))

        assert (found["first"]["contacts"], found["second"]["contacts"]) == (40, 50)
        assert found["edges"] == [0.5, 1.5, 2.5]
        assert found["first"]["shares"] == [0.2] * 4
        assert found["second"]["shares"] == [0, 0, 0, 0.8]
        assert found["first"]["missing_share"] == found["second"]["missing_share"] == pytest.approx(0.2)
        assert (found["first"]["mean"], found["first"]["quantiles"][3], found["second"]["mean"]) == (1.5, 1.5, 3)
        assert found["stability"] > 1

    def test_the_day_a_change_comes_is_the_day_it_is_known(self, features):
        found = figures(features("drift", "sent_7d", "--tenant", "one", *days(FIRST + 0 * DAY), "--json"))

        assert found["stability"] == 0

    def test_of_all_tenants_without_one(self, features):
        found = figures(features("drift", "sent_7d", *days(FIRST), "--json"))

        assert (found["first"]["contacts"], found["first"]["quantiles"][-1]) == (41, 9)

    def test_of_a_feature_made_on_demand(self, features):
        found = figures(features("drift", "days_since_last_sent", "--tenant", "two", *days(FIRST + DAY), "--json"))

        assert (found["first"]["mean"], found["second"]["mean"]) == (1, 2)

    def test_what_nobody_has_is_null_in_json(self, features):
        printed = features("drift", "read_rate_30d", "--tenant", "one", *days(FIRST + DAY), "--json").output
        found = json.loads(printed, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
        assert (found["first"]["missing_share"], found["first"]["mean"]) == (1.0, None)
        assert found["first"]["quantiles"] == [None] * 7

    def test_a_person_sees_bars_and_a_verdict(self, features, capsys):
        printed = lines(features, capsys, "drift", "sent_7d", "--tenant", "one", *days(FIRST + 3 * DAY))

        assert any(line.startswith("median") and line.split() == ["median", "1.5", "3"] for line in printed)
        assert any(line.startswith("> 2.5") and bar(0.2) in line and bar(0.8) in line for line in printed)
        assert any(line.endswith("a large change") for line in printed)

    def test_draws_a_picture(self, features, tmp_path):
        picture = tmp_path / "plots" / "drift.png"

        figures(features("drift", "sent_7d", *days(FIRST + DAY), "--plot", str(picture), "--json"))

        assert picture.read_bytes().startswith(b"\x89PNG\r\n")
        assert picture.stat().st_size > 5_000

    @pytest.mark.parametrize("feature", ["last_sent_at", "contact_attributes", "sent_8d"])
    def test_what_is_no_number_is_refused(self, features, feature):
        code, message = refusal(features("drift", feature, *days(FIRST)))

        assert code == 2
        assert feature in message

    def test_a_day_before_anybody_was_known_is_refused(self, features):
        code, message = refusal(features("drift", "sent_7d", "--from", "2020-01-01", "--to", "2026-03-01"))

        assert code == 2
        assert "2020-01-01 00:00 UTC" in message


def test_without_a_warehouse_nothing_is_read(features, tmp_path, monkeypatch):
    monkeypatch.setenv("RAPPORT_HOME", str(tmp_path))

    assert refusal(features("sample", "contact_profile"))[0] == console.NOT_READY


@pytest.mark.parametrize(("share", "blocks"), [(0, ""), (1, "█" * 32), (0.5, "█" * 16), (1 / 256, "▏")])
def test_a_bar_is_as_long_as_its_share(share, blocks):
    assert bar(share) == f"{blocks} {share:.1%}"
