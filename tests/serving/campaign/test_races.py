"""What an edit, a pause and a bad neighbour do while a campaign starts or sends."""

from __future__ import annotations

import datetime as dt
import json
import random
import threading
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import psycopg
import pytest
from pydantic import SecretStr

from gateway.settings import GatewaySettings
from serving.campaign.start import start_due
from serving.kit.clock import utc_now
from serving.kit.database import Database
from serving.sending.drivers import Drivers
from serving.sending.pacing import Unpaced
from serving.sending.service import Sender

PATH = "/api/v1/campaigns"
DAY = dt.timedelta(days=1)


@pytest.fixture(scope="module")
def worker(database):
    opened = Database(database.worker)
    yield opened
    opened.dispose()


def schedule(api, as_admin, campaign, start: dt.datetime) -> None:
    body = {"start_date": start.isoformat()}
    assert api.post(f"{PATH}/{campaign['id']}/schedule", json=body, headers=as_admin).status_code == 200


def status(api, as_admin, campaign) -> str:
    return api.get(f"{PATH}/{campaign['id']}", headers=as_admin).json()["status"]


class TestStartDue:
    def test_one_that_is_put_off_while_another_starts_waits_for_its_new_time(
        self, api, as_admin, make_campaign, worker, tenant, settings
    ):
        first, second = make_campaign(), make_campaign()
        schedule(api, as_admin, first, utc_now() + DAY)
        schedule(api, as_admin, second, utc_now() + 1.1 * DAY)
        asked = []

        def templates(number, name):
            if not asked:
                schedule(api, as_admin, second, utc_now() + 9 * DAY)
            asked.append(name)
            return None

        started = start_due(worker, tenant.tenant_id, utc_now() + 2 * DAY, templates, settings)
        assert started == [uuid.UUID(first["id"])]
        assert status(api, as_admin, second) == "scheduled"

    def test_one_that_fails_in_a_way_nobody_foresaw_keeps_no_other_from_starting(
        self, api, as_admin, make_campaign, worker, tenant, settings
    ):
        odd, good = make_campaign(), make_campaign()
        schedule(api, as_admin, odd, utc_now() + DAY)
        schedule(api, as_admin, good, utc_now() + 1.1 * DAY)
        asked = []

        def templates(number, name):
            asked.append(name)
            if len(asked) == 1:
                raise RuntimeError("nobody foresaw this")

        started = start_due(worker, tenant.tenant_id, utc_now() + 2 * DAY, templates, settings)
        assert started == [uuid.UUID(good["id"])]
        assert status(api, as_admin, odd) == "scheduled"


class TestPause:
    def test_it_waits_for_no_answer_and_nothing_more_is_sent(
        self, api, as_admin, make_campaign, database, tenant, settings, worker
    ):
        """A worker in the middle of its sends: the batch on the wire is all that leaves."""
        made = make_campaign(holdout_rate=0)
        with psycopg.connect(database.admin) as connection:
            connection.execute(
                'UPDATE tenants SET settings = settings || \'{"quiet_hours": {"start": 0, "end": 0}}\' WHERE id = %s',
                (tenant.tenant_id,),
            )
        reached, paused, arrived = threading.Event(), threading.Event(), []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                arrived.append((body["biz_opaque_callback_data"], paused.is_set()))
                reached.set()
                paused.wait(4)
                answer = json.dumps({"messages": [{"id": f"wamid.{uuid.uuid4()}"}]}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                """Keeps the output clean."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        gateway = GatewaySettings(
            base_url=f"http://127.0.0.1:{server.server_address[1]}", access_token=SecretStr("t"), max_connections=1
        )
        drivers = Drivers(gateway)
        sender = Sender(worker, settings, drivers, Unpaced(), utc_now, random.Random(7))
        try:
            assert api.post(f"{PATH}/{made['id']}/start", headers=as_admin).json()["plan"]["queued"] == 200
            sending = threading.Thread(target=sender.dispatch, args=(tenant.tenant_id,))
            sending.start()
            assert reached.wait(10)
            assert api.post(f"{PATH}/{made['id']}/pause", headers=as_admin).json()["status"] == "paused"
            paused.set()
            sending.join(20)
            assert not sending.is_alive()
        finally:
            drivers.close()
            server.shutdown()
            server.server_close()
        with psycopg.connect(database.admin) as connection:
            states = connection.execute(
                "SELECT state, count(*) FROM outbound_messages WHERE campaign_id = %s GROUP BY 1 ORDER BY 1",
                (made["id"],),
            ).fetchall()
        assert states == [("accepted", 1), ("queued", 199)]
        assert [was_paused for _, was_paused in arrived] == [False]
