"""When an erasure counts as purged, and what is removed whole."""

from __future__ import annotations

import uuid
from pathlib import Path

import psycopg
import pytest

from orchestration.lib import purging
from orchestration.runtime.home import Home
from orchestration.runtime.postgres import EmbeddedPostgres


@pytest.fixture
def ours(home, database, redis_url, tmp_path, monkeypatch) -> Home:
    """An empty RAPPORT_HOME over the databases of the test run."""
    from feature_store.settings import settings

    publisher = EmbeddedPostgres(home).url("publisher", "postgres_publisher", database.name)
    for name, value in {
        "FEATURE_STORE_OPERATIONAL_URL": database.etl_read,
        "FEATURE_STORE_REDIS_URL": redis_url,
        "FEATURE_STORE_WAREHOUSE": str(tmp_path / "warehouse" / "warehouse.duckdb"),
        "SERVING_WORKER_DATABASE_URL": database.worker,
        "PUBLICATION_DATABASE_URL": publisher,
    }.items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()
    yield Home(tmp_path)
    settings.cache_clear()


@pytest.fixture
def instance():
    import dagster as dg

    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def erased(database, slug: str) -> uuid.UUID:
    contact = uuid.uuid4()
    tenant = database.add_tenant(slug)
    with psycopg.connect(database.admin) as connection:
        connection.execute(
            "INSERT INTO erasures (tenant_id, contact_id, erased_at) VALUES (%s, %s, now())", (tenant, contact)
        )
    return contact


def is_purged(database, contact: uuid.UUID) -> bool:
    with psycopg.connect(database.admin) as connection:
        row = connection.execute("SELECT purged_at FROM erasures WHERE contact_id = %s", (contact,)).fetchone()
    assert row is not None
    return row[0] is not None


def rejected(home: Home, slug: str) -> Path:
    file = home.rejects / slug / "contacts.csv"
    file.parent.mkdir(parents=True)
    file.write_text("reason,name\nno number,Ada\n")
    return file


class TestPurge:
    def test_serves_every_tenant_and_leaves_the_files_of_the_others(self, ours, database, instance):
        contacts = [erased(database, f"purged-{number}") for number in range(2)]
        gone, kept = rejected(ours, "purged-0"), rejected(ours, "untouched")
        assert purging.purge(ours, instance).people == 2
        assert all(is_purged(database, contact) for contact in contacts)
        assert not gone.exists()
        assert kept.exists()

    def test_of_nobody_touches_nothing(self, ours, database, instance):
        assert purging.purge(ours, instance) == purging.Purge()
        assert list(ours.path.iterdir()) == []

    def test_is_done_again_after_a_run_that_may_have_read_the_person(self, ours, database, instance):
        import dagster as dg

        contact = erased(database, "read-meanwhile")
        run = instance.create_run_for_job(dg.job(name="reads")(lambda: None), status=dg.DagsterRunStatus.STARTED)
        own = instance.create_run_for_job(dg.job(name="purge")(lambda: None), status=dg.DagsterRunStatus.STARTED)
        assert purging.purge(ours, instance, own_run=own.run_id).waits_for == (run.run_id,)
        assert not is_purged(database, contact)
        instance.report_run_failed(run, "it ended")
        assert purging.purge(ours, instance, own_run=own.run_id).waits_for == ()
        assert is_purged(database, contact)


class TestSamples:
    def test_of_a_table_that_became_empty_are_gone(self, database):
        from serving.contact.purge import tidy

        tenant = database.add_tenant()
        sampled = "SELECT count(*) FROM pg_statistic WHERE starelid = 'contacts'::regclass"
        with psycopg.connect(database.admin, autocommit=True) as connection:
            connection.execute(
                "INSERT INTO contacts (tenant_id, name) SELECT %s, 'Ada' FROM generate_series(1, 50)", (tenant,)
            )
            connection.execute("ANALYZE contacts")
            assert connection.execute(sampled).fetchone() > (0,)
            connection.execute("DELETE FROM contacts")
            tidy(database.worker)
            assert connection.execute(sampled).fetchone() == (0,)
