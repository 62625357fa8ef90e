"""The part of a bot that belongs to no platform: an agent that answers messages with media.

A channel puts what arrives into the scope of its message, `channel:chat:message`, and hands the refs to
the agent. The agent shares them into a scope of its own, and says so; then the channel's scope may end.
When the answer has been sent the agent's scope ends too, and what nobody else needs is gone.

Every bot in this folder runs this agent. `think` stands for your model.
"""

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Self
from urllib.parse import quote

from mediakeep import Limits, Media, MediaCleanerConfig, MediaMeta, open_store
from mediakeep.aio import AsyncMediaScope, AsyncMediaStore
from mediakeep.images import UnusableImage, thumbnail

logger = logging.getLogger("agent")

TTL = timedelta(hours=1)
"""How long media live that nobody ends, as when the bot is killed: longer than any turn takes."""

REMEMBERED = 10_000
"""How many messages are known to have come already."""

VOICE = Path(__file__).parents[1] / "media" / "voice.ogg"  # stands for what speaks your answers

Made = tuple[bytes | Path, MediaMeta]
Think = Callable[[str, Sequence[Media]], Awaitable[tuple[str, Sequence[Made]]]]


def open_media(max_file_bytes: int) -> AsyncMediaStore:
    """Open the bot's store, a folder that outlives the bot: ./media, or what `MEDIA_STORE` names."""
    where = os.environ.get("MEDIA_STORE", "./media")
    cleaner = MediaCleanerConfig(max_age=2 * TTL, interval=timedelta(minutes=1))
    limits = Limits(max_file_bytes=max_file_bytes)
    return AsyncMediaStore(open_store(where, cleaner=cleaner, limits=limits, default_ttl=TTL))


def scope_of(platform: str, chat: object, message: object) -> str:
    """Return the name of a message's scope. An id of the platform never makes a level of its own."""
    return ":".join([platform, quote(str(chat), safe=""), quote(str(message), safe="")])


@dataclass(frozen=True, slots=True)
class Answer:
    """What the agent says. The refs are in its own scope, and end when `reply` has returned."""

    text: str
    refs: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Message:
    """What a channel hands over: the scope of a message, its text, its media, and how to answer it."""

    scope: str
    text: str
    refs: Sequence[str]
    reply: Callable[[Answer], Awaitable[object]]


async def think(text: str, media: Sequence[Media]) -> tuple[str, Sequence[Made]]:
    """Say what has arrived; answer sound with a voice note, and pictures with small copies."""
    seen = [f"{name_of(it)} ({it.path.stat().st_size:,} bytes)" for it in media]
    says = "; ".join(filter(None, [text, *seen])) or "nothing"
    if any(it.meta.content_type.startswith("audio/") for it in media):
        return f"I heard {says}", [(VOICE, MediaMeta("answer.ogg", "audio/ogg", "tool:speech"))]
    small: list[Made] = []
    for it in media:
        if it.meta.content_type.startswith("image/"):
            try:
                small.append((await asyncio.to_thread(thumbnail, it.path, 320), SMALL))
            except UnusableImage as error:
                says += f"; a picture that {error.reason}"
    if media and not small:
        return f"I got {says}", [
            (says.encode(), MediaMeta("what-i-got.txt", "text/plain", "tool:notes"))
        ]
    return f"I got {says}", small


SMALL = MediaMeta(source="tool:thumbnail")


def name_of(media: Media) -> str:
    """Return what a file is, in words."""
    return f"{media.meta.filename or 'a file'}, {media.meta.content_type or 'of some type'}"


class Agent:
    """Answers messages, several at once, each in a scope of its own: `agent:` and the message's.

    For an `async with` block. At its end what is being received is handed over, and answered.
    """

    def __init__(self, store: AsyncMediaStore, think: Think = think, *, at_once: int = 4) -> None:
        self.store = store
        self._think = think
        self._turns = asyncio.Semaphore(at_once)
        self._queue: asyncio.Queue[tuple[Message, asyncio.Future[None]] | None] = asyncio.Queue()
        self._known: dict[str, None] = {}
        self._receiving = 0
        self._idle = asyncio.Event()
        self._stopped = False

    async def __aenter__(self) -> Self:
        # The journal outlives the process: what it has answered is not answered again.
        async for line in self.store.history():
            if line.what == "released" and line.scope.startswith("agent:"):
                self._remember(line.scope.removeprefix("agent:"))
        self._worker = asyncio.create_task(self._work())
        self._idle.set()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._idle.wait()
        self._stopped = True
        self._queue.put_nowait(None)
        await self._worker

    @asynccontextmanager
    async def first_time(self, scope: str) -> AsyncIterator[bool]:
        """Tell whether a message has not come before: platforms send again what they are unsure of.

        If the block fails the message may come again.
        """
        first = scope not in self._known
        self._remember(scope)
        self._receiving += 1
        self._idle.clear()
        try:
            yield first
        except BaseException:
            if first:
                self._known.pop(scope, None)
            raise
        finally:
            self._receiving -= 1
            if not self._receiving:
                self._idle.set()

    def _remember(self, scope: str) -> None:
        self._known[scope] = None
        for oldest in list(islice(self._known, max(0, len(self._known) - REMEMBERED))):
            del self._known[oldest]

    async def hand_over(self, message: Message) -> None:
        """Queue a message, and return when the agent has refs of its own: then its scope may end.

        Raises:
            MediaError: a ref has ended already.
            RuntimeError: the agent has stopped.
        """
        if self._stopped:
            raise RuntimeError("the agent has stopped: hand over inside its block")
        taken_over = asyncio.get_running_loop().create_future()
        self._queue.put_nowait((message, taken_over))
        await taken_over

    async def _work(self) -> None:
        async with asyncio.TaskGroup() as turns:
            while (item := await self._queue.get()) is not None:
                message, taken_over = item
                try:
                    refs = await self._share(message)
                except Exception as error:  # the channel hears of it, and the agent goes on
                    if not taken_over.done():
                        taken_over.set_exception(error)
                else:
                    if not taken_over.done():
                        taken_over.set_result(None)
                    turns.create_task(self._turn(message, refs))

    async def _share(self, message: Message) -> list[str]:
        try:
            return [await self.store.share(ref, f"agent:{message.scope}") for ref in message.refs]
        except BaseException:
            await self.store.release_all(f"agent:{message.scope}")
            raise

    async def _turn(self, message: Message, refs: list[str]) -> None:
        try:
            async with self._turns, self.store.scope(f"agent:{message.scope}") as turn:
                await message.reply(await self._answer(turn, message, refs))
        except Exception:
            logger.exception("%s: the answer could not be sent", message.scope)

    async def _answer(self, turn: AsyncMediaScope, message: Message, refs: list[str]) -> Answer:
        try:
            async with AsyncExitStack() as leases:
                media = [await leases.enter_async_context(self.store.lease(ref)) for ref in refs]
                says, made = await self._think(message.text, media)
            return Answer(says, [await turn.put(source, meta) for source, meta in made])
        except Exception:
            logger.exception("%s: the agent failed", message.scope)
            return Answer("Sorry, something went wrong here.")


async def until_stopped() -> None:
    """Return when the process is asked to end, by Ctrl-C or SIGTERM."""
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    await stopped.wait()
