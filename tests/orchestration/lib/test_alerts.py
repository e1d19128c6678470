"""Somebody hears of a failed run: by HTTP when an address is set, by a line in the log always."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import ClassVar

import dagster as dg
import pytest

from orchestration.lib.alerts import ALERT_URL, Alert, AlertUndelivered, send

ALERT = Alert("run-1", "refresh", None, "contracts of raw/orders failed", "2026-03-01T12:00:00+00:00")


class Receiver(BaseHTTPRequestHandler):
    got: ClassVar[list[dict[str, object]]] = []
    answer: ClassVar[int] = 204

    def do_POST(self) -> None:
        self.got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(self.answer)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing: the test looks at what was received."""


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Receiver]]:
    Receiver.got.clear()
    monkeypatch.setattr(Receiver, "answer", 204)
    with HTTPServer(("127.0.0.1", 0), Receiver) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv(ALERT_URL, f"http://127.0.0.1:{server.server_port}/hook")
        yield Receiver
        server.shutdown()


class TestSend:
    def test_it_arrives_as_json(self, receiver: type[Receiver]) -> None:
        assert send(ALERT)
        assert receiver.got == [
            {
                "event": "run.failed",
                "run_id": "run-1",
                "job": "refresh",
                "tenant": None,
                "error": "contracts of raw/orders failed",
                "at": "2026-03-01T12:00:00+00:00",
            }
        ]

    def test_a_receiver_that_refuses_is_told(self, receiver: type[Receiver], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(receiver, "answer", 500)
        with pytest.raises(AlertUndelivered, match="500"):
            send(ALERT)

    def test_without_an_address_it_is_a_line_in_the_log(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.delenv(ALERT_URL, raising=False)
        with caplog.at_level(logging.ERROR):
            assert not send(ALERT)
        assert "run.failed run_id=run-1 job=refresh" in caplog.text


def test_a_failed_run_is_told_by_the_sensor(receiver: type[Receiver]) -> None:
    from orchestration.defs.automation.sensors import tell_of_failed_runs

    @dg.op
    def breaking() -> None:
        raise RuntimeError("no luck today")

    @dg.job
    def broken() -> None:
        breaking()

    with dg.instance_for_test() as instance:
        result = broken.execute_in_process(instance=instance, raise_on_error=False, tags={"dagster/partition": "acme"})
        event = next(event for event in result.all_events if event.event_type_value == "PIPELINE_FAILURE")
        context = dg.build_run_status_sensor_context(
            sensor_name="tell_of_failed_runs",
            dagster_event=event,
            dagster_instance=instance,
            dagster_run=result.dagster_run,
        ).for_run_failure()
        tell_of_failed_runs(context)
    (told,) = receiver.got
    assert (told["job"], told["tenant"], told["run_id"]) == ("broken", "acme", result.run_id)
    assert "breaking" in str(told["error"])
