from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import pytest

from orchestration.demo.report import DemoReport
from orchestration.demo.simulator import HISTORY_DAYS, past_campaigns
from orchestration.demo.tenant import zone_by_day
from orchestration.lib.running import RunReport, Step

UNTIL = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)


class TestZoneByDay:
    @pytest.mark.parametrize("hour", range(24))
    def test_it_is_day_there(self, hour):
        now = dt.datetime(2026, 3, 1, hour, 30, tzinfo=dt.UTC)
        assert 9 <= now.astimezone(ZoneInfo(zone_by_day(now))).hour < 19


class TestPastCampaigns:
    def test_each_has_had_its_week(self):
        campaigns = past_campaigns(UNTIL, seed=7)
        assert len(campaigns) == len({campaign.external_id for campaign in campaigns}) >= 10
        for campaign in campaigns:
            assert UNTIL - dt.timedelta(days=HISTORY_DAYS) < campaign.sent_at <= UNTIL - dt.timedelta(days=7)

    def test_the_same_seed_gives_the_same_campaigns(self):
        assert past_campaigns(UNTIL, seed=7) == past_campaigns(UNTIL, seed=7) != past_campaigns(UNTIL, seed=8)


class TestDemoReport:
    def test_steps_are_added_up_by_stage(self):
        run = RunReport(
            "id",
            True,
            [
                Step("ingest", 1.0, 10),
                Step("dbt", 4.0, 99),
                Step("models__churn", 2.0, 5),
                Step("models__engagement", 3.0, 7),
            ],
            metadata={"models/churn": {"auc": 0.8, "calibration": "a picture", "segments": "a table"}},
        )
        report = DemoReport()
        report.add_run(run)
        assert [(stage.name, stage.rows, stage.seconds) for stage in report.stages] == [
            ("ingest", 10, 1.0),
            ("dbt", 99, 4.0),
            ("models", 12, 5.0),
        ]
        assert report.models == {"churn": {"auc": 0.8}}
