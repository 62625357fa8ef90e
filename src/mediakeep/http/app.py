"""The ASGI application that serves a store."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

from starlette.middleware.cors import CORSMiddleware
from starlette.routing import BaseRoute, Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from mediakeep.http.answers import Answer
from mediakeep.http.api import SCHEMAS, operations
from mediakeep.http.config import LINK_KEYS, SWEEPER, TOKENS, ServerConfig
from mediakeep.http.dashboard.routes import keep_samples, make_window
from mediakeep.http.dashboard.routes import routes as pages
from mediakeep.http.edge import Edge
from mediakeep.http.feed import Feed
from mediakeep.http.idempotency import Answers
from mediakeep.http.links import LinkKeys
from mediakeep.http.metrics import Metrics
from mediakeep.http.openapi import describe
from mediakeep.http.operations import Operation, Resource, Result
from mediakeep.http.problems import Problem
from mediakeep.http.service import Call, Service
from mediakeep.http.sweeping import Sweeper
from mediakeep.http.throttles import Throttles
from mediakeep.http.tokens import Tokens
from mediakeep.store import MediaStore

logger = logging.getLogger("mediakeep.http")

LAST_SECONDS = 5.0
"""How long requests that were cancelled may take to leave the store as it should be."""

ANSWERS = "idempotency.db"
MEDIA = "/v1/media/"


def create_app(
    store: MediaStore, config: ServerConfig | None = None, *, closes: bool = False
) -> ASGIApp:
    """Return an ASGI application that serves `store`.

    It must be run with its lifespan, on asyncio. While there is a token file in the config's state
    folder, everybody has to show a token. Without one everybody may do everything, so give access to
    nobody but this machine: requests that name another host are refused.

    Args:
        store: what to serve.
        config: how; of it the application does not use what concerns the process and its sockets.
        closes: whether it closes the store when it is shut down.
    """
    config = config or ServerConfig()
    state = config.state_folder()
    service = Service(
        store,
        config,
        None if state is None else Tokens(state / TOKENS),
        LinkKeys(None if state is None else state / LINK_KEYS),
        Throttles(config),
        Metrics(),
        Feed(store),
        Answers(None if state is None else state / ANSWERS),
    )
    if service.tokens is not None:
        list(service.tokens)  # a file that is damaged is said now, and not to the first who asks
    window = make_window(service, config)
    sweeper = Sweeper(service, None if state is None else state / SWEEPER)

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[Mapping[str, Any]]:
        running = [asyncio.create_task(it) for it in (sweeper.run(), keep_samples(window))]
        try:
            yield {"closing": service.closing, "config": config}
        finally:
            service.closing.set()
            for task in running:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
            for timer in service.lapsing.values():
                timer.cancel()
            try:
                async with asyncio.timeout(LAST_SECONDS):
                    await service.last_answers()
            except TimeoutError:
                logger.error("%d requests are left unfinished", service.requests)
            sweeper.close()
            service.answers.close()
            if closes:
                await service.writes.aclose()

    router = Router(
        [*_routes(service), *pages(window)], redirect_slashes=False, default=_nothing, lifespan=lifespan
    )
    app: ASGIApp = service.traces.around(Edge(service, _fast(router)))
    if config.cors_origins:
        app = CORSMiddleware(
            app,
            allow_origins=config.cors_origins,
            allow_methods=["GET", "HEAD", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "Idempotency-Key", "Range", "Last-Event-ID"],
            expose_headers=["Content-Range", "ETag", "Location", "Content-Disposition", "Retry-After"],
        )
    return app


def _routes(service: Service) -> list[BaseRoute]:
    offered = operations(service.config)
    document = describe(offered, SCHEMAS)

    async def tell(call: Call) -> Answer:  # noqa: ARG001
        return Answer(200, document)

    description = Operation(
        "openapi", "GET", "/v1/openapi.json", "This document", tell, None, {200: Result("It.", {})}
    )
    paths: dict[str, list[Operation]] = {}
    for operation in (*offered, description):
        paths.setdefault(operation.path, []).append(operation)
    return [_route(path, Resource(service, path, them)) for path, them in paths.items()]


def _fast(router: Router) -> ASGIApp:
    """Return `router` with a short way to what is asked for most: the bytes of a file."""
    bytes_of = next(
        it.app for it in router.routes if isinstance(it, Route) and it.path == f"{MEDIA}{{id}}"
    )

    async def routed(scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope.get("path", "")
        if path.startswith(MEDIA) and path.count("/") == 3 and len(path) > len(MEDIA):
            scope["path_params"] = {"id": path[len(MEDIA) :]}
            await bytes_of(scope, receive, send)
        else:
            await router(scope, receive, send)

    return routed


def _route(path: str, resource: Resource) -> Route:
    # A scope is any text, with slashes and line breaks in it.
    route = Route(path.replace("{scope}", "{scope:path}"), resource)
    route.path_regex = re.compile(route.path_regex.pattern, re.DOTALL)
    return route


async def _nothing(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001
    raise Problem(404, "NotFound", "the description of what there is: /v1/openapi.json")
