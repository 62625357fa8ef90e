"""Stand-ins for the HTTP APIs of chat platforms: small local servers that the real clients talk to."""

import asyncio
import socket
import threading
from collections.abc import Callable
from typing import Literal, Self, TypeVar

import uvicorn
from starlette.applications import Starlette
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

T = TypeVar("T")

DEADLINE = 60.0
"""How long anything is waited for, on a machine under load."""


class Served:
    """Serves an application on a free loopback port, in a thread, for a `with` block."""

    def __init__(self, app: ASGIApp, *, lifespan: Literal["on", "off"] = "on") -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        config = uvicorn.Config(app, lifespan=lifespan, log_level="warning")
        # Requests that wait for something to happen must not keep the server from stopping.
        config.timeout_graceful_shutdown = 1
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, name="served", daemon=True)

    def _run(self) -> None:
        asyncio.run(self._server.serve(sockets=[self._listener]))

    @property
    def stopping(self) -> bool:
        """Whether the server is about to end: then a request that waits should be answered."""
        return self._server.should_exit

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.should_exit = True
        self._thread.join(DEADLINE)
        assert not self._thread.is_alive(), "the server does not stop"


class Standin(Served):
    """Serves the routes of a stand-in.

    Handlers run on the loop of the server's thread, and tests in another one: what both change is
    changed under `self.changed`, which is a condition to wait for with `wait_until`.
    """

    def __init__(self, routes: list[BaseRoute]) -> None:
        super().__init__(Starlette(routes=routes), lifespan="off")
        self.changed = threading.Condition()

    def wait_until(self, what: Callable[[], T]) -> T:
        """Return what `what` returns once that is true; fail if it never is."""
        with self.changed:
            assert self.changed.wait_for(what, DEADLINE), "what was waited for did not happen"
            return what()

    async def until(self, what: Callable[[], T]) -> T:
        """Wait as `wait_until` does, in a thread, and let the loop run meanwhile."""
        return await asyncio.to_thread(self.wait_until, what)
