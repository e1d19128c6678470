"""Tenants become partitions and go again; what runs by the clock runs for each of them; days are refreshed once."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

import dagster as dg
import psycopg
import pytest

from orchestration.defs.automation.backfill import backfill
from orchestration.defs.automation.schedules import daily_features, weekly_training
from orchestration.defs.automation.sensors import refresh_after_backfill, tenant_partitions
from orchestration.lib.running import RUNNER

MONDAY = dt.datetime(2026, 3, 2, 4, 20, tzinfo=dt.UTC)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as instance:
        yield instance


class TestTenantPartitions:
    def test_they_follow_the_database(
        self, database: Any, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from feature_store.settings import settings

        monkeypatch.setenv("FEATURE_STORE_OPERATIONAL_URL", database.etl_read)
        monkeypatch.setenv("FEATURE_STORE_REDIS_URL", "redis://127.0.0.1:9/0")
        settings.cache_clear()
        database.add_tenant("bakery")
        instance.add_dynamic_partitions("tenant", ["gone"])
        with dg.build_sensor_context(instance=instance) as context:
            asked = tenant_partitions(context)
            assert isinstance(asked, dg.SensorResult)
            changes = {type(one).__name__: list(one.partition_keys) for one in asked.dynamic_partitions_requests or []}
            assert changes == {
                "AddDynamicPartitionsRequest": ["bakery"],
                "DeleteDynamicPartitionsRequest": ["gone"],
            }
            instance.add_dynamic_partitions("tenant", ["bakery"])
            instance.delete_dynamic_partition("tenant", "gone")
            assert isinstance(tenant_partitions(context), dg.SkipReason)
        with psycopg.connect(database.admin) as connection:
            connection.execute("DELETE FROM tenants")
        settings.cache_clear()


class TestSchedules:
    @pytest.mark.parametrize("schedule", [daily_features, weekly_training])
    def test_each_tenant_has_a_run_tagged_with_it(
        self, instance: dg.DagsterInstance, schedule: dg.ScheduleDefinition
    ) -> None:
        instance.add_dynamic_partitions("tenant", ["bakery", "acme"])
        with dg.build_schedule_context(instance=instance, scheduled_execution_time=MONDAY) as context:
            runs = list(schedule(context))
        assert [(run.partition_key, run.tags["tenant"]) for run in runs] == [("acme", "acme"), ("bakery", "bakery")]
        assert len({run.run_key for run in runs}) == 2


class TestRefreshAfterBackfill:
    def finished(self, instance: dg.DagsterInstance, status: dg.DagsterRunStatus, **tags: str) -> dg.DagsterRun:
        return instance.create_run_for_job(backfill, status=status, tags=tags)

    def asked(self, instance: dg.DagsterInstance, run: dg.DagsterRun) -> Any:
        event = dg.DagsterEvent(event_type_value="PIPELINE_SUCCESS", job_name=run.job_name)
        return refresh_after_backfill(
            dg.build_run_status_sensor_context(
                sensor_name="refresh_after_backfill", dagster_event=event, dagster_instance=instance, dagster_run=run
            )
        )

    def test_days_that_ended_together_are_refreshed_once(self, instance: dg.DagsterInstance) -> None:
        runs = [self.finished(instance, dg.DagsterRunStatus.SUCCESS) for _ in range(3)]
        assert {self.asked(instance, run).run_key for run in runs} == {runs[-1].run_id}

    def test_it_waits_for_days_to_come(self, instance: dg.DagsterInstance) -> None:
        run = self.finished(instance, dg.DagsterRunStatus.SUCCESS)
        self.finished(instance, dg.DagsterRunStatus.STARTING)
        assert isinstance(self.asked(instance, run), dg.SkipReason)

    def test_the_command_refreshes_by_itself(self, instance: dg.DagsterInstance) -> None:
        run = self.finished(instance, dg.DagsterRunStatus.SUCCESS, **{RUNNER: "here:1"})
        assert isinstance(self.asked(instance, run), dg.SkipReason)
