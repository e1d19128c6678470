from __future__ import annotations

import socket

from orchestration.runtime.ports import free_port, is_free


def test_a_port_somebody_listens_on_is_passed_over() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        taken = server.getsockname()[1]

        assert not is_free(taken)
        assert free_port(taken) != taken


def test_the_preferred_port_is_kept_unless_it_is_promised_to_another() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]

    assert free_port(port) == port
    assert free_port(port, taken=[port]) != port
