"""`python -m orchestration.pages.dagster_server SOCKET …`: Dagster's web server on a Unix socket.

Its own command knows TCP alone. Remove this when `dagster-webserver` has an option for a socket.
"""

from __future__ import annotations

import functools
import sys

import uvicorn
from dagster_webserver.cli import cli

if __name__ == "__main__":
    socket = sys.argv.pop(1)
    # With a socket given, the host and port that Dagster passes are not used.
    uvicorn.run = functools.partial(uvicorn.run, uds=socket)
    cli(auto_envvar_prefix="DAGSTER_WEBSERVER", prog_name="dagster-webserver")
