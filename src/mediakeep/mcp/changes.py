"""Changes of what a server shows, told to those who asked for it.

Others may change the store, in other processes and on other machines. So the refs of the scope are read
again and again: only while somebody listens, and the longer that takes the less often. A resource
changes once, when it ends; the list of them changes when one begins or ends.

Clients with a handshake (until 2025-11-25) get notifications of their session. Newer ones open a stream
(`subscriptions/listen`, 2026-07-28), which the SDK serves from a bus.
"""

import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
from mcp.server.context import ServerRequestContext
from mcp.server.session import ServerSession
from mcp.server.subscriptions import (
    InMemorySubscriptionBus,
    ListenHandler,
    ResourcesListChanged,
    ResourceUpdated,
)
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    EmptyResult,
    NotificationParams,
    ResourceListChangedNotification,
    SubscribeRequestParams,
    SubscriptionsListenRequestParams,
    SubscriptionsListenResult,
    UnsubscribeRequestParams,
)

from mediakeep.aio import AsyncMediaStore
from mediakeep.errors import MediaError

logger = logging.getLogger("mediakeep.mcp")

LOOK_SECONDS = 1.0
"""How often the scope is read, if that takes no more than a twentieth of it."""

MOST_SESSIONS = 1000
"""How many clients with a handshake are told of changes; those who came first are forgotten first."""

MOST_SUBSCRIPTIONS = 1000
"""How many resources one of them may subscribe to."""

PATIENCE_SECONDS = 5.0
"""How long a client may take to accept a notification; one that is slower is forgotten."""

PARTS = ("", "/entry", "/thumbnail")
"""What the addresses of resources end with."""

Context = ServerRequestContext[Any, Any]


@dataclass(slots=True)
class _Listener:
    session: ServerSession
    uris: set[str] = field(default_factory=set)


class Changes:
    """Tells of what begins and ends in a scope and those below it. For one event loop."""

    def __init__(self, store: AsyncMediaStore, scope: str) -> None:
        self._store = store
        self._scope = scope
        self._bus = InMemorySubscriptionBus()
        self._listen = ListenHandler(self._bus)
        self._streams = 0
        self._sessions: OrderedDict[str, _Listener] = OrderedDict()
        self._known: set[str] | None = None
        self._looking = anyio.Lock()
        self._wanted = anyio.Event()
        self._again = anyio.Event()

    @property
    def watches(self) -> bool:
        """Whether the store is being read again and again, since somebody listens."""
        return self._known is not None

    def look_again(self) -> None:
        """Look soon: something has been changed from here."""
        self._again.set()

    def close(self) -> None:
        """End all streams: their clients hear that it is meant."""
        self._listen.close()

    # -- those who listen

    async def listen(
        self, ctx: Context, params: SubscriptionsListenRequestParams
    ) -> SubscriptionsListenResult:
        """Serve a stream of changes until its client goes."""
        self._streams += 1
        try:
            await self._begin()
            return await self._listen(ctx, params)
        finally:
            self._streams -= 1

    async def greet(self, ctx: Context, params: NotificationParams) -> None:  # noqa: ARG002
        """Tell a new client from now on when the list changes."""
        self._session(ctx)
        await self._begin()

    async def subscribe(self, ctx: Context, params: SubscribeRequestParams) -> EmptyResult:
        """Tell a client when this resource changes."""
        uris = self._session(ctx).uris
        if len(uris) >= MOST_SUBSCRIPTIONS:
            raise MCPError(
                INVALID_PARAMS, f"at most {MOST_SUBSCRIPTIONS} resources can be subscribed to"
            )
        uris.add(params.uri)
        await self._begin()
        return EmptyResult()

    async def unsubscribe(self, ctx: Context, params: UnsubscribeRequestParams) -> EmptyResult:
        """Tell it no more."""
        self._session(ctx).uris.discard(params.uri)
        return EmptyResult()

    def _session(self, ctx: Context) -> _Listener:
        # Over HTTP a session is told from others by its header; a pipe has one session.
        key = "" if ctx.request is None else ctx.request.headers.get("mcp-session-id", "")
        if key not in self._sessions and len(self._sessions) >= MOST_SESSIONS:
            self._sessions.popitem(last=False)
        if key not in self._sessions:
            self._sessions[key] = _Listener(ctx.session)
            # The SDK tells handlers of no session's end but this way. Without it they would be forgotten
            # once there are too many.
            connection = getattr(ctx.session, "_connection", None)
            if connection is not None:
                connection.exit_stack.callback(self._sessions.pop, key, None)
        return self._sessions[key]

    # -- what they are told

    async def _begin(self) -> None:
        """Remember what there is now, so that whatever comes after is news."""
        async with self._looking:
            if self._known is None:
                self._known = await self._refs()
            self._wanted.set()

    async def _refs(self) -> set[str]:
        sync, scope = self._store.sync, self._scope
        return await self._store._offload.run(
            lambda: {entry.ref for entry in sync.entries(scope, nested=True)}
        )

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Look for changes during a block, and end all streams at its end."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._watch)
            try:
                yield
            finally:
                self.close()
                tasks.cancel_scope.cancel()

    async def _watch(self) -> None:
        while True:
            await self._wanted.wait()
            began = anyio.current_time()
            try:
                await self._look()
            except (MediaError, OSError) as error:  # whoever listens goes on listening
                logger.warning("no news just now: %s", error)
            took = anyio.current_time() - began
            with anyio.move_on_after(max(LOOK_SECONDS, took * 19)):
                await self._again.wait()
            self._again = anyio.Event()

    async def _look(self) -> None:
        async with self._looking:
            if not self._streams and not self._sessions:
                self._known, self._wanted = None, anyio.Event()
                return
            before, self._known = self._known or set(), await self._refs()
            ended, begun = before - self._known, self._known - before
        if ended or begun:
            await self._tell(ended)

    async def _tell(self, ended: Iterable[str]) -> None:
        updated = [ref + part for ref in ended for part in PARTS]
        for uri in updated:
            await self._bus.publish(ResourceUpdated(uri))
        await self._bus.publish(ResourcesListChanged())
        for key, listener in list(self._sessions.items()):
            told = False
            with anyio.move_on_after(PATIENCE_SECONDS):
                told = await _told(listener, updated)
            if not told:
                self._sessions.pop(key, None)


async def _told(listener: _Listener, updated: Iterable[str]) -> bool:
    """Tell a client, and return whether it is still there."""
    try:
        for uri in listener.uris.intersection(updated):
            await listener.session.send_resource_updated(uri)
            listener.uris.discard(uri)
        await listener.session.send_notification(ResourceListChangedNotification())
    except (anyio.BrokenResourceError, anyio.ClosedResourceError):
        return False
    return True
