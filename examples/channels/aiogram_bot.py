"""A Telegram bot, with aiogram: send it photos, albums, voice notes, stickers or documents.

    pip install "mediakeep[aio,images]" "aiogram>=3.20"
    TELEGRAM_TOKEN=123:abc python aiogram_bot.py

`agent.py` and `albums.py` are beside it. `TELEGRAM_API_URL` names another server of the Bot API, and
`MEDIA_STORE` another store than ./media. Files come and go as streams: none is in memory as a whole.
"""

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial

from agent import Agent, Answer, Message, open_media, scope_of
from aiogram import Bot, Dispatcher
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from aiogram.exceptions import TelegramBadRequest
from aiogram.types import InputFile, Sticker
from aiogram.types import Message as TelegramMessage
from aiogram.utils.media_group import MediaGroupBuilder
from albums import Albums

from mediakeep import Entry, MediaMeta, TooLarge
from mediakeep.aio import AsyncMediaScope, AsyncMediaStore

# https://core.telegram.org/bots/api#getfile, #sending-files, #sendmessage and #sendmediagroup
TAKES = 20_000_000
PHOTO_BYTES = 10_000_000
CAPTION, TEXT, ALBUM = 1024, 4096, 10

KINDS = ("photo", "voice", "sticker", "video_note", "animation", "video", "audio", "document")


class KeptFile(InputFile):
    """A file of the store, which is read while it is being sent."""

    def __init__(self, store: AsyncMediaStore, entry: Entry) -> None:
        super().__init__(filename=entry.meta.filename or "answer")
        self._stream = partial(store.stream, entry.ref)

    async def read(self, bot: Bot) -> AsyncGenerator[bytes, None]:  # noqa: ARG002
        async for chunk in self._stream():
            yield chunk


class AiogramBot:
    """Brings messages to the agent, and its answers back."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._store = agent.store
        self._albums: Albums[TelegramMessage] = Albums()

    async def receive(self, message: TelegramMessage) -> None:
        """Take a message, or an album as one. Its scope ends when the agent has taken it over."""
        scope = scope_of("telegram", message.chat.id, message.message_id)
        async with self._agent.first_time(scope) as first:
            parts = await self._albums.whole(message.media_group_id, message) if first else []
            if parts:
                await self._take(sorted(parts, key=lambda it: it.message_id))

    async def _take(self, parts: list[TelegramMessage]) -> None:
        scope = scope_of("telegram", parts[0].chat.id, parts[0].message_id)
        async with self._store.scope(scope) as turn:
            refs = [ref for part in parts if (ref := await self._put(part, turn))]
            text = " ".join(filter(None, (part.text or part.caption for part in parts)))
            if refs or text:
                reply = partial(self._reply, parts[0])
                await self._agent.hand_over(Message(scope, text, refs, reply))

    async def _put(self, message: TelegramMessage, turn: AsyncMediaScope) -> str | None:
        """Put the file of a message, if it has one; if it is too large say so, and keep nothing."""
        media = next((it for kind in KINDS if (it := getattr(message, kind))), None)
        if media is None:  # a place, a contact, a poll
            return None
        if isinstance(media, list):
            media = media[-1]  # of the sizes of a photo, the largest
        meta = MediaMeta(getattr(media, "file_name", None) or "", declared_type(media), "telegram")
        try:
            if (media.file_size or 0) > TAKES:
                raise TooLarge(f"it has {media.file_size} bytes")
            return await turn.put(self._download(message.bot, media.file_id), meta)
        except TooLarge:
            await message.reply(f"Sorry, I can take files of up to {TAKES // 1_000_000} MB only.")
            return None

    async def _download(self, bot: Bot, file_id: str) -> AsyncGenerator[bytes, None]:
        try:
            file = await bot.get_file(file_id)
        except TelegramBadRequest as error:
            if "too big" in error.message:
                raise TooLarge(error.message) from error
            raise
        url = bot.session.api.file_url(bot.token, file.file_path)
        async with aclosing(bot.session.stream_content(url, timeout=300)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def _reply(self, message: TelegramMessage, answer: Answer) -> None:
        """Send the agent's answer as streams; pictures together as an album."""
        caption = answer.text[:CAPTION]
        files = [await self._store.entry(ref) for ref in answer.refs]
        if not files:
            await message.reply(answer.text[:TEXT])
        elif len(files) > 1 and all(is_photo(it) for it in files):
            for first in range(0, len(files), ALBUM):
                album = MediaGroupBuilder(caption=None if first else caption)
                for it in files[first : first + ALBUM]:
                    album.add_photo(KeptFile(self._store, it))
                await message.reply_media_group(album.build())
        else:
            for number, it in enumerate(files):
                await self._send(message, it, None if number else caption)

    async def _send(self, message: TelegramMessage, file: Entry, caption: str | None) -> None:
        send = message.reply_document
        if is_photo(file):
            send = message.reply_photo
        elif file.meta.content_type == "audio/ogg":
            send = message.reply_voice
        await send(KeptFile(self._store, file), caption=caption)


def declared_type(media: object) -> str:
    """Return the type that Telegram declares; of photos it says none, of stickers how they move."""
    if isinstance(media, Sticker):
        if media.is_animated:
            return "application/x-tgsticker"
        return "video/webm" if media.is_video else "image/webp"
    return getattr(media, "mime_type", None) or ""


def is_photo(file: Entry) -> bool:
    """Return whether a file can be sent as a photo; a larger picture is sent as a document."""
    return file.size <= PHOTO_BYTES and file.meta.content_type in ("image/jpeg", "image/png")


async def main() -> None:
    """Run the bot until it is asked to stop."""
    api = TelegramAPIServer.from_base(os.environ.get("TELEGRAM_API_URL", "https://api.telegram.org"))
    session = AiohttpSession(api=api)
    async with open_media(TAKES) as store, Bot(os.environ["TELEGRAM_TOKEN"], session=session) as bot:
        await store.start()
        async with Agent(store) as agent:
            dispatcher = Dispatcher()
            dispatcher.message.register(AiogramBot(agent).receive)
            await dispatcher.start_polling(bot, allowed_updates=["message"], close_bot_session=False)


if __name__ == "__main__":
    asyncio.run(main())
