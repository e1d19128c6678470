"""Serves the API: `python -m serving [--host HOST] [--port PORT] [--workers N]`."""

from __future__ import annotations

import argparse

import uvicorn

from serving.settings import settings


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m serving", description="Serves the API.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--workers", type=int, default=1)
    given = parser.parse_args()
    trusted = settings().trusted_proxies
    uvicorn.run(
        "serving.app:create_app",
        factory=True,
        host=given.host,
        port=given.port,
        workers=given.workers,
        http="serving.kit.http_protocol:BoundedProtocol",
        ws="none",
        access_log=False,
        # Without this option uvicorn believes whoever connects from loopback.
        proxy_headers=bool(trusted),
        forwarded_allow_ips=trusted,
    )


if __name__ == "__main__":
    main()
