"""Where each server of the product listens, and how it is asked whether it is well."""

from __future__ import annotations

import contextlib
import http.client
import socket
from collections.abc import Collection
from pathlib import Path

from orchestration.runtime.home import Home
from orchestration.runtime.ports import free_port, is_free

# The port each address gets unless somebody else holds it. Those of the servers behind a login are held by `pages`.
PORTS = {"simulator": 8010, "api": 8000, "mlflow": 5050, "dagster": 3070}
ON_SOCKETS = ("mlflow", "dagster")
HEALTH = {
    "simulator": "/simulator/health",
    "api": "/api/v1/health/health",
    "mlflow": "/health",
    "dagster": "/server_info",
    "pages": "/-/health",
}
ANSWER_SECONDS = 2.0


def holder(name: str) -> str:
    """The process that listens on the port of that name."""
    return "pages" if name in ON_SOCKETS else name


def ports(home: Home) -> dict[str, int]:
    """The port of each address: the one it was given, else its default."""
    given: dict[str, int] = home.state().get("ports", {})
    return PORTS | given


def reserve_ports(home: Home, running: Collection[str]) -> None:
    """Gives each address the port it had, unless somebody else holds that now; what runs keeps its own."""
    given: dict[str, int] = dict(home.state().get("ports", {}))
    for name, default in PORTS.items():
        if holder(name) in running:
            continue
        if name not in given or not is_free(given[name]):
            others = [port for other, port in given.items() if other != name]
            given[name] = free_port(default, others)
    home.remember(ports=given)


def address(home: Home, name: str) -> str | None:
    """The address people open; None before the first start and for what has none."""
    port = home.state().get("ports", {}).get(name)
    return f"http://127.0.0.1:{port}" if name in PORTS and port else None


def socket_of(home: Home, name: str) -> Path:
    return home.sockets / f"{name}.sock"


def claim_socket(home: Home, name: str) -> None:
    """Makes way for a server that is about to listen on its socket, which is its owner's alone.

    A server gives its socket the rights of the file it finds there, and makes it open to all without one.
    """
    file = socket_of(home, name)
    file.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as placeholder:
        placeholder.bind(str(file))
    file.chmod(0o600)


def answers(home: Home, name: str) -> bool:
    """Whether the server says that it is well."""
    if name in ON_SOCKETS:
        return _says_ok(_OnSocket(socket_of(home, name)), HEALTH[name])
    asked = ON_SOCKETS if name == "pages" else (name,)
    given = ports(home)
    return all(
        _says_ok(http.client.HTTPConnection("127.0.0.1", given[each], timeout=ANSWER_SECONDS), HEALTH[name])
        for each in asked
    )


class _OnSocket(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=ANSWER_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(ANSWER_SECONDS)
        self.sock.connect(str(self._path))


def _says_ok(connection: http.client.HTTPConnection, path: str) -> bool:
    with contextlib.closing(connection):
        try:
            connection.request("GET", path)
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
