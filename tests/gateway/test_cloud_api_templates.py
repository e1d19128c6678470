"""The provider's list of templates, page by page over HTTP."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from gateway.driver import NumberConfig
from gateway.errors import NotSent
from gateway.registry import build_driver


def template(name: str, **fields) -> dict:
    return {"name": name, "language": "en", "status": "APPROVED", "category": "MARKETING"} | fields


class Pages:
    """A provider that answers with `pages`, the last of them again and again, each after a pause."""

    def __init__(self) -> None:
        self.pages: list[dict] = []
        self.pause_seconds = 0.0
        self.cursors: list[str | None] = []
        pages = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                cursor = parse_qs(urlsplit(self.path).query).get("after", [None])[0]
                pages.cursors.append(cursor)
                threading.Event().wait(pages.pause_seconds)
                body = json.dumps(pages.pages[min(len(pages.cursors), len(pages.pages)) - 1]).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

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
def pages() -> Iterator[Pages]:
    served = Pages()
    yield served
    served.close()


def more(*templates: dict, after: str) -> dict:
    return {"data": list(templates), "paging": {"next": "there is more", "cursors": {"after": after}}}


class TestTemplates:
    def test_every_page_is_read_and_only_the_exact_name_kept(self, pages):
        body = [{"type": "BODY", "text": "{{1}} and {{2}}, {{1}}"}]
        pages.pages = [
            more(template("hello", components=body), template("hello_again"), "odd", after="c1"),
            {"data": [template("hello", language="de")]},
        ]
        driver = build_driver("cloud_api", NumberConfig(pages.url, "10", "token", "secret", "verify"))
        found = driver.templates("200", "hello")
        driver.close()
        assert [(one.name, one.language, one.variables) for one in found] == [("hello", "en", 2), ("hello", "de", None)]
        assert pages.cursors == [None, "c1"]

    def test_the_timeout_is_that_of_all_pages_together(self, pages):
        pages.pages, pages.pause_seconds = [more(template("hello"), after="c")], 0.2
        config = NumberConfig(pages.url, "10", "token", "secret", "verify", timeout_seconds=0.7)
        driver = build_driver("cloud_api", config)
        with pytest.raises(NotSent):
            driver.templates("200", "hello")
        driver.close()
