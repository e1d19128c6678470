"""What a client may hold of the server: connections, time, headers, address. Over real sockets."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket

import httpx
import pytest

BATCH = "/api/v1/ml/models/lead-scoring/batch"
GET = b"GET / HTTP/1.1\r\nHost: x\r\n"


@pytest.fixture(scope="module")
def impatient(settings, run_api, tmp_path_factory):
    """An API of short patience and few connections."""
    told = settings.model_copy(
        update={"request_head_seconds": 1, "request_body_seconds": 1, "max_connections": 20, "log_level": "INFO"}
    )
    with run_api(told, tmp_path_factory.mktemp("api") / "api.log") as started:
        yield started


def connected(url):
    address = httpx.URL(url)
    return socket.create_connection((address.host, address.port), timeout=30)


def until_closed(connection) -> bytes:
    parts = []
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65_536):
            parts.append(part)
    return b"".join(parts)


class TestSlowClients:
    @pytest.mark.parametrize(
        "begun",
        [
            pytest.param(b"", id="nothing"),
            pytest.param(b"\r\n", id="an empty line"),
            pytest.param(GET + b"X-Slow: ", id="half a header"),
            pytest.param(b"POST /api/v1/auth/login-json HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                         b"Content-Length: 100\r\n\r\n{", id="half a body"),
            pytest.param(b"POST /api/v1/auth/login-json HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n",
                         id="half a chunk"),
        ],
    )  # fmt: skip
    def test_are_answered_408_and_hung_up_on(self, impatient, begun):
        with connected(impatient.url) as connection:
            connection.sendall(begun)
            assert until_closed(connection).startswith(b"HTTP/1.1 408 ")

    def test_gain_nothing_by_a_byte_now_and_then(self, impatient):
        with connected(impatient.url) as connection:
            connection.sendall(GET + b"X-Slow: ")
            connection.settimeout(0.3)
            answer = b""
            for _ in range(100):
                with contextlib.suppress(TimeoutError):
                    answer = connection.recv(4_096)
                    break
                connection.sendall(b"a")
            assert answer.startswith(b"HTTP/1.1 408 ")

    def test_do_not_keep_others_out(self, impatient):
        held = [connected(impatient.url) for _ in range(60)]
        try:
            for connection in held:
                with contextlib.suppress(OSError):
                    connection.sendall(GET)
            assert httpx.get(impatient.url).status_code == 200
        finally:
            for connection in held:
                connection.close()

    def test_that_have_been_answered_may_ask_again(self, impatient):
        address = httpx.URL(impatient.url)
        connection = http.client.HTTPConnection(address.host, address.port, timeout=30)
        connection.connect()
        used = connection.sock
        for _ in range(3):
            connection.request("GET", "/")
            assert connection.getresponse().read()
        assert connection.sock is used
        connection.close()


class TestLargeHeads:
    @pytest.mark.parametrize(
        ("head", "status"),
        [
            pytest.param(b"GET /?q=" + b"a" * 9_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414, id="address"),
            pytest.param(GET + b"".join(b"X-%d: 1\r\n" % n for n in range(200)) + b"\r\n", 431, id="many headers"),
            pytest.param(GET + b"X: " + b"a" * 40_000 + b"\r\n\r\n", 431, id="a long header"),
            pytest.param(GET + b"X: " + b"a" * 200_000, 431, id="a header without end"),
            pytest.param(b"nonsense\r\n\r\n", 400, id="nonsense"),
        ],
    )
    def test_are_refused(self, impatient, head, status):
        with connected(impatient.url) as connection:
            with contextlib.suppress(ConnectionError):
                connection.sendall(head)
            answer = until_closed(connection)
        # What was still under way when the server hung up may have cost the client the answer.
        if answer:
            start, _, body = answer.partition(b"\r\n\r\n")
            assert start.startswith(b"HTTP/1.1 %d " % status)
            assert json.loads(body)["status"] == status
        else:
            assert len(head) > 65_536
        assert httpx.get(impatient.url).status_code == 200


class TestStrangers:
    def test_are_refused_before_their_body_has_come(self, api_process):
        with connected(api_process.url) as connection:
            connection.sendall(
                b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 7600000\r\n\r\n"
                % BATCH.encode()
            )
            assert connection.recv(65_536).startswith(b"HTTP/1.1 401 ")

    def test_with_a_large_body_get_their_answer_and_may_go_on(self, api_process):
        body = b'{"columns":{' + b",".join(b'"%d":[1]' % n for n in range(550_000)) + b"}}"
        with httpx.Client(base_url=api_process.url) as client:
            for _ in range(2):
                answer = client.post(BATCH, content=body, headers={"Content-Type": "application/json"})
                assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json")


class TestForwardedFor:
    LOGIN = "/api/v1/auth/login-json"

    def attempts(self, url, count):
        body = {"password": "wrong"}
        return [
            httpx.post(
                url + self.LOGIN,
                json=body | {"username": f"nobody-{n}"},
                headers={"X-Forwarded-For": f"198.51.100.{n}"},
            ).status_code
            for n in range(count)
        ]

    def test_is_not_believed(self, settings, run_api, tmp_path):
        few = settings.model_copy(update={"login_attempts_per_address": 2})
        with run_api(few, tmp_path / "api.log") as started:
            assert self.attempts(started.url, 4)[-1] == 429

    def test_is_believed_of_a_proxy_named_in_the_settings(self, settings, run_api, tmp_path):
        few = settings.model_copy(update={"login_attempts_per_address": 2, "trusted_proxies": "127.0.0.1"})
        with run_api(few, tmp_path / "api.log") as started:
            assert self.attempts(started.url, 4) == [401] * 4

    @pytest.mark.parametrize("wrong", ["*", "proxy.example", "10.0.0.0/99"])
    def test_needs_an_address(self, settings, wrong):
        from serving.settings import Settings

        with pytest.raises(ValueError, match="trusted_proxies"):
            Settings(**settings.model_dump() | {"trusted_proxies": wrong})
