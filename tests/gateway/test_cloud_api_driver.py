import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from uuid import uuid4

import pytest

from gateway.driver import NumberConfig
from gateway.drivers.cloud_api.codec import encode
from gateway.errors import NotSent, OutcomeUnknown, Reaction, SendRejected, SyntheticRecipient, UnknownDriver
from gateway.registry import build_driver, driver_names
from gateway.types import OutboundMessage, PhoneNumber, SendReceipt

RECIPIENT = PhoneNumber.parse("+4915112345678")


def message(to: PhoneNumber = RECIPIENT, seconds: float = 30, **changes) -> OutboundMessage:
    fields = {"kind": "text", "text": "hello", "not_after": datetime.now(UTC) + timedelta(seconds=seconds), **changes}
    return OutboundMessage(message_id=uuid4(), to=to, **fields)


def driver(base_url: str, **changes):
    return build_driver("cloud_api", NumberConfig(base_url, "10", "token", "secret", "verify", **changes))


class Provider:
    """A server that gives one prepared answer to everything, after a pause, and counts what reached it."""

    def __init__(self) -> None:
        self.status, self.body, self.headers, self.pause_seconds = 200, b'{"messages":[{"id":"wamid.1"}]}', {}, 0.0
        self.requests: list[tuple[str, str]] = []
        self.peers: set[int] = set()
        self.hang_up = False
        provider = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                provider.requests.append((self.path, self.headers["Authorization"]))
                provider.peers.add(self.client_address[1])
                if provider.hang_up:
                    self.connection.shutdown(socket.SHUT_RDWR)
                    self.close_connection = True
                    return
                threading.Event().wait(provider.pause_seconds)
                self.send_response(provider.status)
                for name, value in {"Content-Length": str(len(provider.body)), **provider.headers}.items():
                    self.send_header(name, value)
                with contextlib.suppress(BrokenPipeError):
                    self.end_headers()
                    self.wfile.write(provider.body)

            def log_message(self, *args: object) -> None:
                """Keeps the test output clean."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def provider() -> Iterator[Provider]:
    provider = Provider()
    yield provider
    provider.close()


class TestEncode:
    def test_a_template_carries_language_parameters_and_our_id(self):
        sent = message(
            kind="template", text=None, template_name="offer", template_language="de", template_parameters=["Ann"]
        )
        body = encode(sent)
        assert body["biz_opaque_callback_data"] == str(sent.message_id)
        assert body["to"] == "+4915112345678"
        assert body["template"] == {
            "name": "offer",
            "language": {"code": "de"},
            "components": [{"type": "body", "parameters": [{"type": "text", "text": "Ann"}]}],
        }

    def test_attributes_stay_at_home(self):
        assert "secret-segment" not in str(encode(message(attributes={"segment": "secret-segment"})))


class TestSend:
    def test_goes_to_the_number_with_its_token(self, provider):
        receipt = driver(provider.url).send(message())
        assert receipt.provider_id == "wamid.1"
        assert provider.requests == [("/v26.0/10/messages", "Bearer token")]

    def test_a_refused_connection_never_left(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        with pytest.raises(NotSent) as failed:
            driver(f"http://127.0.0.1:{port}").send(message())
        assert failed.value.reaction is Reaction.BACK_OFF

    def test_a_late_answer_leaves_the_outcome_unknown(self, provider):
        provider.pause_seconds = 2
        with pytest.raises(OutcomeUnknown) as failed:
            driver(provider.url, timeout_seconds=0.3).send(message())
        assert failed.value.reaction is Reaction.UNKNOWN
        assert len(provider.requests) == 1

    def test_a_cut_connection_leaves_the_outcome_unknown_and_is_not_resent(self, provider):
        provider.hang_up = True
        with pytest.raises(OutcomeUnknown):
            driver(provider.url).send(message())
        assert len(provider.requests) == 1

    @pytest.mark.parametrize(
        ("status", "body"),
        [
            (200, b"{}"),
            (200, b"<html>"),
            (500, b""),
            (500, b'{"error":{"code":1,"message":"An unknown error occurred"}}'),
            (500, b'{"error":{"code":"131000"}}'),
            (502, b"<html>"),
            (503, b""),
            (503, b'{"error":"busy"}'),
            (504, b""),
            (524, b"<html>"),
        ],
    )
    def test_an_answer_that_says_nothing_is_unknown(self, provider, status, body):
        provider.status, provider.body = status, body
        with pytest.raises(OutcomeUnknown):
            driver(provider.url).send(message())

    @pytest.mark.parametrize(
        ("status", "body", "reaction", "wait"),
        [
            (400, b'{"error":{"code":131026}}', Reaction.THIS_CONTACT, None),
            (400, b'{"error":{"code":132015}}', Reaction.STOP_TEMPLATE, None),
            (401, b'{"error":{"code":190}}', Reaction.STOP_NUMBER, None),
            (429, b'{"error":{"code":130429}}', Reaction.BACK_OFF, 7),
            (429, b"<html>", Reaction.BACK_OFF, 7),
            (500, b'{"error":{"code":131000}}', Reaction.BACK_OFF, 7),
            (503, b'{"error":{"code":131016}}', Reaction.BACK_OFF, 7),
        ],
    )
    def test_a_refusal_says_what_to_do(self, provider, status, body, reaction, wait):
        provider.status, provider.body = status, body
        provider.headers = {"Retry-After": "7"} if wait else {}
        with pytest.raises(SendRejected) as refused:
            driver(provider.url).send(message())
        assert (refused.value.reaction, refused.value.retry_after_seconds) == (reaction, wait)

    def test_nothing_leaves_after_not_after(self, provider):
        with pytest.raises(NotSent):
            driver(provider.url).send(message(seconds=-1))
        assert provider.requests == []

    def test_who_waits_for_a_connection_past_not_after_is_not_sent(self, provider):
        provider.pause_seconds = 0.6
        single = driver(provider.url, max_connections=1)
        first, second = single.send_all([message(), message(seconds=0.3)])
        assert isinstance(first, SendReceipt)
        assert isinstance(second, NotSent)
        assert len(provider.requests) == 1

    def test_a_synthetic_number_goes_to_loopback_only(self, provider):
        person = PhoneNumber.synthetic("ann", "test")
        assert driver(provider.url).send(message(person)).provider_id
        with pytest.raises(SyntheticRecipient):
            driver("https://graph.example.invalid").send(message(person))


class TestSendBatch:
    def test_results_keep_their_places(self, provider):
        batch = [message(), message(seconds=-1), message()]
        results = asyncio.run(driver(provider.url).send_batch(batch))
        assert [type(result) for result in results] == [SendReceipt, NotSent, SendReceipt]
        assert results[2].message_id == batch[2].message_id

    def test_connections_are_kept_between_calls_and_bounded(self, provider):
        kept = driver(provider.url, max_connections=3)
        for _ in range(4):
            kept.send_all([message() for _ in range(6)])
        assert len(provider.requests) == 24
        assert len(provider.peers) <= 3
        kept.close()


class TestRegistry:
    def test_a_name_nobody_has_is_refused(self):
        assert "cloud_api" in driver_names()
        with pytest.raises(UnknownDriver):
            build_driver("pigeon", NumberConfig("http://127.0.0.1:1", "10", "", "", ""))

    def test_secrets_stay_out_of_repr(self):
        assert "token" not in repr(NumberConfig("http://127.0.0.1:1", "10", "token", "secret", "verify"))
