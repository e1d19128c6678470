"""The event log over open connections: Dagster's own reader finds what it wrote."""

from __future__ import annotations

import threading
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.event_log import SqliteEventLogStorage

from orchestration.lib import event_log
from orchestration.lib.event_log import OpenEventLog


@dg.asset
def counted() -> dg.MaterializeResult[None]:
    return dg.MaterializeResult(metadata={"rows": 3})


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dg.DagsterInstance:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    settings = {"module": event_log.__name__, "class": OpenEventLog.__name__, "config": {}}
    overrides = {"event_log_storage": settings, "telemetry": {"enabled": False}}
    return dg.DagsterInstance.from_ref(dg.DagsterInstance.local_temp(str(tmp_path), overrides).get_ref())


def test_dagster_itself_reads_what_was_logged(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    run = dg.materialize([counted], instance=instance)

    reader = SqliteEventLogStorage(str(tmp_path / "history" / "runs"))
    read = [entry.dagster_event_type for entry in reader.get_logs_for_run(run.run_id)]
    assert read == [entry.dagster_event_type for entry in instance.all_logs(run.run_id)]
    assert read.count(dg.DagsterEventType.ASSET_MATERIALIZATION) == 1
    assert reader.get_latest_materialization_events([counted.key])[counted.key].run_id == run.run_id


def test_a_deleted_run_leaves_nothing(instance: dg.DagsterInstance) -> None:
    run = dg.materialize([counted], instance=instance)
    instance.delete_run(run.run_id)
    assert instance.all_logs(run.run_id) == []
    again = dg.materialize([counted], instance=instance)
    assert instance.all_logs(again.run_id)


def test_more_runs_than_stay_open_are_all_kept(instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_log, "OPEN_DATABASES", 2)
    runs = [dg.materialize([counted], instance=instance).run_id for _ in range(4)]
    found: dict[str, int] = {}

    def look(run_id: str) -> None:
        found[run_id] = len(instance.all_logs(run_id))

    threads = [threading.Thread(target=look, args=[run_id]) for run_id in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(set(found.values())) == 1
