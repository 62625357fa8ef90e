"""A stand-in on the loop of its test, beside the client: for clients that are asynchronous."""

from typing import Self

from aiohttp import web
from aiohttp.test_utils import TestServer


class Beside:
    """Serves an application on a free loopback port, for an `async with` block."""

    def __init__(self, app: web.Application) -> None:
        self._server = TestServer(app)

    async def __aenter__(self) -> Self:
        await self._server.start_server()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._server.close()

    @property
    def url(self) -> str:
        return str(self._server.make_url("")).rstrip("/")
