"""One server for all tests of a session, with a store of its own for each of them."""

import asyncio
import itertools
import socket
import threading
from concurrent.futures import Future
from contextvars import Context
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from mediakeep import MediaStore
from mediakeep.http import ServerConfig, create_app
from mediakeep.remote import HTTPMediaStore

DEADLINE = 60.0

OPERATORS = ("store", "store_many", "start", "stop")
"""Verbs for which one has to be on the server's machine."""


@dataclass(slots=True)
class _Served:
    app: ASGIApp
    ending: asyncio.Event = field(default_factory=asyncio.Event)
    state: dict[str, Any] = field(default_factory=dict)
    life: "asyncio.Task[None] | None" = None


class Stores:
    """Serves any number of stores, each below a path of its own, from one thread of this process."""

    def __init__(self) -> None:
        self._served: dict[str, _Served] = {}
        self._numbers = itertools.count(1)
        self._loop: asyncio.AbstractEventLoop
        # With its number asyncio knows the protocol, and has no answer wait for an acknowledgement.
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        self._server = uvicorn.Server(
            uvicorn.Config(
                self._app,
                interface="asgi3",
                lifespan="off",
                ws="none",
                log_config=None,
                access_log=False,
            )
        )
        ready: Future[asyncio.AbstractEventLoop] = Future()

        async def serve() -> None:
            ready.set_result(asyncio.get_running_loop())
            await self._server.serve(sockets=[listener])

        self._thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
        self._thread.start()
        self._loop = ready.result(DEADLINE)

    def close(self) -> None:
        self._server.should_exit = True
        self._thread.join(DEADLINE)
        assert not self._thread.is_alive(), "the server does not stop"

    def add(self, store: MediaStore, **settings: Any) -> str:
        """Serve `store`, which is closed with the server's end of it; return its URL."""
        name = str(next(self._numbers))
        config = ServerConfig(**{"sweep_seconds": 0, "requests_per_second": 0, **settings})
        self._run(self._begin(name, store, config))
        return f"{self.url}/{name}"

    def remove(self, url: str) -> None:
        """Stop serving what is at `url`."""
        self._run(self._end(url.rpartition("/")[2]))

    def _run(self, work: Any) -> None:
        # In a context of its own: a test that runs on trio says so in its own.
        running = Context().run(asyncio.run_coroutine_threadsafe, work, self._loop)
        running.result(DEADLINE)

    async def _begin(self, name: str, store: MediaStore, config: ServerConfig) -> None:
        app = create_app(store, config, closes=True)
        served = _Served(app)
        began: asyncio.Future[None] = self._loop.create_future()
        asked = iter(({"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}))

        async def receive() -> Any:
            if began.done():
                await served.ending.wait()
            return next(asked)

        async def send(message: Any) -> None:
            if message["type"] == "lifespan.startup.complete":
                began.set_result(None)
            assert not message["type"].endswith("failed"), message

        scope = {"type": "lifespan", "state": served.state, "asgi": {"version": "3.0"}}
        served.life = asyncio.create_task(app(scope, receive, send))  # type: ignore[arg-type]
        await began
        self._served[name] = served

    async def _end(self, name: str) -> None:
        served = self._served.pop(name)
        served.ending.set()
        assert served.life is not None
        await served.life

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        _, name, path = scope["path"].split("/", 2)
        served = self._served.get(name)
        assert served is not None, f"{name} is not served"
        raw = scope["raw_path"].split(b"/", 2)[2]
        inner = {
            **scope,
            "path": f"/{path}",
            "raw_path": b"/" + raw,
            "root_path": f"/{name}",
            "state": served.state,
        }
        await served.app(inner, receive, send)


class Served(HTTPMediaStore):
    """A store over HTTP, and behind it what whoever is on the server's machine can do to the same store.

    A test that registers a file does so there, and sees over HTTP what has come of it. Its
    looks behind the verbs are looks at the server's catalog and blobs.
    """

    def __init__(self, url: str, behind: MediaStore, **options: Any) -> None:
        super().__init__(url, **options)
        self._catalog, self._blobs = behind._catalog, behind._blobs
        self.behind = behind
        for verb in OPERATORS:
            setattr(self, verb, getattr(behind, verb))

    def close(self) -> None:
        super().close()
        self.behind.stop()
