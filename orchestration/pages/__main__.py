"""`python -m orchestration.pages`: the pages of Dagster and MLflow, each on its port, behind the operator's login."""

from __future__ import annotations

import asyncio
import logging
import os
import signal

from aiohttp import web

from orchestration.pages.guard import Sessions, Site
from orchestration.pages.operator import Operator
from orchestration.pages.proxy import create_app
from orchestration.runtime import servers
from orchestration.runtime.home import Home

STOP_SECONDS = 3.0


async def serve(home: Home) -> None:
    """Returns when the process is told to end."""
    # One login opens both: cookies know no ports.
    sessions = Sessions(Operator.of(home))
    public = [host.strip() for host in os.environ.get("PAGES_PUBLIC_HOSTS", "").split(",") if host.strip()]
    runners = []
    for name in servers.ON_SOCKETS:
        port = int(os.environ[f"{name.upper()}_PORT"])
        app = create_app(Site.at(name, port, public), servers.socket_of(home, name), sessions)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=STOP_SECONDS)
        await runner.setup()
        await web.TCPSite(runner, os.environ.get("PAGES_LISTEN") or "127.0.0.1", port).start()
        runners.append(runner)
    ending = asyncio.Event()
    for told_to_end in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(told_to_end, ending.set)
    await ending.wait()
    for runner in runners:
        await runner.cleanup()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    asyncio.run(serve(Home.from_environment()))
