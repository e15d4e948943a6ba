"""Running the application until it is stopped."""

from __future__ import annotations

import socket

import uvicorn
from fastapi import FastAPI

from hqnn_jax.errors import ServingError

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_SECONDS_TO_FINISH = 2


def is_loopback(host: str) -> bool:
    """Whether nobody but this machine reaches a server there."""
    return host in _LOOPBACK or host.startswith("127.")


def names_of(host: str) -> tuple[str, ...]:
    """Return the names by which a server on this host may be asked for; see `create_app`."""
    return ("localhost", "127.0.0.1", "[::1]", host) if is_loopback(host) else ("*",)


def listen(host: str, port: int) -> socket.socket:
    """Return a socket on which nobody is answered yet.

    Raises:
        ServingError: if the port is taken, or there is no such host.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family)
    except OSError as error:
        raise ServingError(
            f"{host}:{port}: cannot listen there: {error.strerror or error}; choose another "
            "--port or --host"
        ) from error


def serve(app: FastAPI, taken: socket.socket) -> None:
    """Answer on a socket until Ctrl-C, then finish what was begun.

    Nothing is logged of requests: neither names nor contents of files.
    """
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_SECONDS_TO_FINISH,
    )
    uvicorn.Server(config).run(sockets=[taken])
