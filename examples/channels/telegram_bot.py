"""A Telegram bot, with python-telegram-bot: send it photos, albums, voice notes, stickers or documents.

    pip install "mediakeep[aio,images]" "python-telegram-bot>=22"
    TELEGRAM_TOKEN=123:abc python telegram_bot.py

`agent.py` and `albums.py` are beside it. `TELEGRAM_API_URL` names another server of the Bot API, and
`MEDIA_STORE` another store than ./media. (A file named `telegram.py` would hide the library's module.)
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from agent import Agent, Answer, Message, open_media, scope_of, until_stopped
from albums import Albums
from telegram import InputMediaPhoto, Sticker, Update
from telegram import Message as TelegramMessage
from telegram.constants import FileSizeLimit, MediaGroupLimit, MessageLimit
from telegram.error import BadRequest
from telegram.ext import Application, ApplicationBuilder, ContextTypes, MessageHandler, filters

from mediakeep import Media, MediaMeta, TooLarge
from mediakeep.aio import AsyncMediaScope

TAKES = int(FileSizeLimit.FILESIZE_DOWNLOAD)  # more is not given to bots
API_URL = "https://api.telegram.org"


class TelegramBot:
    """Brings messages to the agent, and its answers back."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._store = agent.store
        self._albums: Albums[TelegramMessage] = Albums()

    async def receive(self, update: Update, _: ContextTypes.DEFAULT_TYPE) -> None:
        """Take a message, or an album as one. Its scope ends when the agent has taken it over."""
        message = update.effective_message
        async with self._agent.first_time(scope_of("telegram", message.chat_id, message.id)) as first:
            parts = await self._albums.whole(message.media_group_id, message) if first else []
            if parts:
                await self._take(sorted(parts, key=lambda it: it.id))

    async def _take(self, parts: list[TelegramMessage]) -> None:
        scope = scope_of("telegram", parts[0].chat_id, parts[0].id)
        async with self._store.scope(scope) as turn:
            refs = [ref for part in parts if (ref := await self._put(part, turn))]
            text = " ".join(filter(None, (part.text or part.caption for part in parts)))
            if refs or text:
                reply = partial(self._reply, parts[0])
                await self._agent.hand_over(Message(scope, text, refs, reply))

    async def _put(self, message: TelegramMessage, turn: AsyncMediaScope) -> str | None:
        """Put the file of a message, if it has one; if it is too large say so, and keep nothing."""
        media = message.effective_attachment
        if isinstance(media, tuple | list):
            media = media[-1]  # of the sizes of a photo, the largest
        if not hasattr(media, "file_id"):  # a place, a contact, a poll
            return None
        meta = MediaMeta(getattr(media, "file_name", None) or "", declared_type(media), "telegram")
        try:
            if (media.file_size or 0) > TAKES:
                raise TooLarge(f"it has {media.file_size} bytes")
            try:
                file = await media.get_file()
            except BadRequest as error:
                if "too big" in error.message:
                    raise TooLarge(error.message) from error
                raise
            return await turn.put(await file.download_as_bytearray(), meta)
        except TooLarge:
            await message.reply_text(f"Sorry, I can take files of up to {TAKES // 1_000_000} MB only.")
            return None

    async def _reply(self, message: TelegramMessage, answer: Answer) -> None:
        """Send the agent's answer by path, under a lease; pictures together as an album."""
        caption = answer.text[: MessageLimit.CAPTION_LENGTH]
        async with AsyncExitStack() as leases:
            files = [await leases.enter_async_context(self._store.lease(ref)) for ref in answer.refs]
            if not files:
                await message.reply_text(answer.text[: MessageLimit.MAX_TEXT_LENGTH])
            elif len(files) > 1 and all(is_photo(it) for it in files):
                for first in range(0, len(files), MediaGroupLimit.MAX_MEDIA_LENGTH):
                    album = files[first : first + MediaGroupLimit.MAX_MEDIA_LENGTH]
                    # In albums the library takes a path for one of the server's own, and sends none.
                    photos = [InputMediaPhoto(it.path.read_bytes()) for it in album]
                    await message.reply_media_group(photos, caption=None if first else caption)
            else:
                for number, it in enumerate(files):
                    await self._send(message, it, None if number else caption)

    async def _send(self, message: TelegramMessage, file: Media, caption: str | None) -> None:
        send = message.reply_document
        if is_photo(file):
            send = message.reply_photo
        elif file.meta.content_type == "audio/ogg":
            send = message.reply_voice
        await send(file.path, caption=caption, filename=file.meta.filename or None)


def declared_type(media: object) -> str:
    """Return the type that Telegram declares; of photos it says none, of stickers how they move."""
    if isinstance(media, Sticker):
        if media.is_animated:
            return "application/x-tgsticker"
        return "video/webm" if media.is_video else "image/webp"
    return getattr(media, "mime_type", None) or ""


def is_photo(file: Media) -> bool:
    """Return whether a file can be sent as a photo; a larger picture is sent as a document."""
    small = file.path.stat().st_size <= FileSizeLimit.PHOTOSIZE_UPLOAD
    return small and file.meta.content_type in ("image/jpeg", "image/png")


@asynccontextmanager
async def polling(agent: Agent, token: str, api_url: str = API_URL) -> AsyncIterator[Application]:
    """Run the bot for a block; at its end what was received is handed over first."""
    builder = ApplicationBuilder().token(token).concurrent_updates(True).read_timeout(30)
    app = builder.base_url(f"{api_url}/bot").base_file_url(f"{api_url}/file/bot").build()
    app.add_handler(MessageHandler(filters.UpdateType.MESSAGE, TelegramBot(agent).receive))
    async with app, agent:  # the agent ends first: it answers by the connection of the app
        await app.start()
        await app.updater.start_polling(allowed_updates=["message"])
        try:
            yield app
        finally:
            await app.updater.stop()
            await app.stop()


async def main() -> None:
    """Run the bot until it is asked to stop."""
    token, api_url = os.environ["TELEGRAM_TOKEN"], os.environ.get("TELEGRAM_API_URL", API_URL)
    async with open_media(TAKES) as store:
        await store.start()
        async with polling(Agent(store), token, api_url):
            await until_stopped()


if __name__ == "__main__":
    asyncio.run(main())
