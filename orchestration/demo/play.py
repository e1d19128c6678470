"""The demo: the whole loop on simulated people, told as it happens."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import psycopg

from feature_store.warehouse import warehouse_at
from orchestration.demo import simulator, tenant
from orchestration.demo.report import DemoReport, Stage, campaign_figures
from orchestration.lib import running
from orchestration.runtime import processes, servers, services
from orchestration.runtime.environment import process_environment
from orchestration.runtime.home import Home

SEED = 7
FIRST = ("simulator", "api", "worker")
LATER = ("mlflow", "dagster", "pages", "daemon")
HOLDOUT_RATE = 0.2
CAMPAIGN = {"category": "coffee", "offer_type": "discount", "discount_rate": 0.2}
TEMPLATE = "coffee_discount"
TEXT = "{{name}}, 20% off coffee until Sunday! Reply STOP to leave."

Bar = Callable[[str], Any]


class DemoFailed(Exception):
    """A stage did not come to its end; the text says which and why."""


def play(home: Home, now: dt.datetime, bar: Bar, show_step: Callable[[str, str], None]) -> DemoReport:
    """The finished demo's report; the product is left running.

    `bar(text)` is a context manager that yields progress(done, total); `show_step` hears of the graph's steps.
    """
    report = DemoReport()
    started = time.monotonic()

    @contextmanager
    def stage(name: str) -> Iterator[Stage]:
        begun = time.monotonic()
        entry = Stage(name, None, 0.0)
        yield entry
        entry.seconds = round(time.monotonic() - begun, 2)
        report.stages.append(entry)

    with stage("services"), bar("starting PostgreSQL, Redis, the API, a worker and the simulator"):
        services.start_stores(home)
        business = tenant.ensure(home, now)
        compression = {"GATEWAY_SIMULATOR_TIME_COMPRESSION": str(7 * 86_400 / simulator.WEEK_IN_SECONDS)}
        processes.start(home, FIRST, compression)
        processes.wait_healthy(home, FIRST)
    running.prepare(home)
    environment = process_environment(home)
    people, worker_url = environment["GATEWAY_BASE_URL"], environment["SERVING_WORKER_DATABASE_URL"]
    api = httpx.Client(base_url=environment["SERVING_PUBLIC_URL"], headers={"X-API-Key": business.api_key}, timeout=60)

    with stage("history received") as received:
        until = _replayed_until(home, business)
        campaigns = tenant.record_past(home, business, simulator.past_campaigns(until, SEED))
        with bar("90 days of messages arrive by webhook") as progress:
            posted = simulator.replay(people, until, campaigns, progress)
        with bar("they are processed") as progress:
            received.rows = simulator.wait_processed(worker_url, business.tenant_id, posted, progress)

    for run in _run(home, show_step, None, business.slug):
        report.add_run(run)

    with stage("campaign sent") as sent, bar("the campaign goes out") as progress:
        campaign_id = start_campaign(api, people, now)
        sent.rows = wait_sent(worker_url, business.tenant_id, campaign_id, progress)
    processes.start(home, LATER)
    with stage("answers received") as answered:
        with bar("people read, reply, order") as progress:
            simulator.wait_answered(people, progress)
        with bar("their answers are processed") as progress:
            before = received.rows or 0
            answered.rows = simulator.wait_processed(worker_url, business.tenant_id, before, progress) - before

    for run in _run(
        home, show_step, "group:ingest or group:staging or group:intermediate or group:features or group:marts", None
    ):
        report.add_run(run)
    report.campaign = campaign_figures(
        warehouse_at(environment["FEATURE_STORE_WAREHOUSE"]), str(business.tenant_id), campaign_id
    )
    with stage("pages"), bar("MLflow and Dagster start"):
        processes.wait_healthy(home, LATER)
    report.addresses = _addresses(home)
    report.seconds = round(time.monotonic() - started, 1)
    return report


def start_campaign(api: httpx.Client, people: str, now: dt.datetime) -> str:
    """The id of a new campaign to the likely buyers, started as a marketer would."""
    segment = next(entry for entry in _pages(api, "/api/v1/segments/") if entry["name"] == "Likely buyers")
    httpx.post(f"{people}/simulator/campaigns", json={"template_name": TEMPLATE, "attributes": CAMPAIGN}, timeout=30)
    body = {
        "name": f"Coffee for likely buyers, {now:%Y-%m-%d %H:%M:%S}",
        "type": "broadcast",
        "message_template": TEXT,
        "template_name": TEMPLATE,
        "attributes": CAMPAIGN,
        "segment_id": segment["id"],
        "holdout_rate": HOLDOUT_RATE,
    }
    campaign_id = str(_call(api, "POST", "/api/v1/campaigns/", body)["id"])
    _call(api, "POST", f"/api/v1/campaigns/{campaign_id}/start", None)
    return campaign_id


def wait_sent(
    worker_url: str, tenant_id: object, campaign_id: str, progress: simulator.Progress, limit_seconds: float = 120
) -> int:
    """How many messages the provider accepted, once none is left to send."""
    deadline = time.monotonic() + limit_seconds
    with psycopg.connect(worker_url, autocommit=True) as connection:
        connection.execute("SELECT set_config('app.tenant_id', %s, false)", (str(tenant_id),))
        while True:
            row = connection.execute(
                "SELECT count(*), count(*) FILTER (WHERE state IN ('queued', 'sending')),"
                " count(*) FILTER (WHERE provider_id IS NOT NULL)"
                " FROM outbound_messages WHERE campaign_id = %s",
                (campaign_id,),
            ).fetchone()
            total, waiting, accepted = row or (0, 0, 0)
            progress(total - waiting, total)
            if total and not waiting:
                return int(accepted)
            halted = connection.execute(
                "SELECT status, status_reason FROM campaigns WHERE id = %s AND status IN ('paused', 'stopped')",
                (campaign_id,),
            ).fetchone()
            if halted:
                raise DemoFailed(f"the campaign was {halted[0]}: {halted[1]}")
            if time.monotonic() > deadline:
                raise DemoFailed(
                    f"{waiting} of {total} messages still wait to be sent after {limit_seconds:.0f} s; see worker.log"
                )
            time.sleep(simulator.POLL_SECONDS)


def _run(
    home: Home, show_step: Callable[[str, str], None], select: str | None, slug: str | None
) -> list[running.RunReport]:
    from orchestration.lib import progress

    progress.listeners.append(show_step)
    try:
        return running.run_graph(home, select, [slug] if slug else None)
    finally:
        progress.listeners.remove(show_step)


def _replayed_until(home: Home, business: tenant.DemoTenant) -> dt.datetime:
    """The end of the history: when the tenant was made, in the second that its declaration names."""
    from orchestration.runtime.environment import admin_database_url

    with psycopg.connect(admin_database_url(home)) as connection:
        row = connection.execute("SELECT backfilled_until FROM tenants WHERE id = %s", (business.tenant_id,)).fetchone()
    if row is None:
        raise DemoFailed("the demo tenant is gone")
    until: dt.datetime = row[0]
    return until.astimezone(dt.UTC).replace(microsecond=0)


def _pages(api: httpx.Client, path: str) -> Iterator[dict[str, Any]]:
    page = 1
    while True:
        answer = _call(api, "GET", f"{path}?page={page}&limit=100", None)
        yield from answer["items"]
        if page >= answer["pagination"]["pages"]:
            return
        page += 1


def _call(api: httpx.Client, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
    answer = api.request(method, path, json=body)
    if answer.is_error:
        raise DemoFailed(f"{method} {path} was answered {answer.status_code}: {answer.text[:300]}")
    found: dict[str, Any] = answer.json()
    return found


def _addresses(home: Home) -> dict[str, str]:
    ports = servers.ports(home)
    return {
        "API": f"http://127.0.0.1:{ports['api']}/docs",
        "Dagster": f"http://127.0.0.1:{ports['dagster']}",
        "MLflow": f"http://127.0.0.1:{ports['mlflow']}",
        "simulator": f"http://127.0.0.1:{ports['simulator']}/simulator/status",
    }
