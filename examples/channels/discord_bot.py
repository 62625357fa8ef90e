"""A Discord bot, with discord.py: send it files, voice messages or stickers.

    pip install "mediakeep[aio,images]" "discord.py>=2.5"
    DISCORD_TOKEN=… python discord_bot.py

The bot needs the intent "Message Content". `agent.py` is beside it, and `MEDIA_STORE` names another
store than ./media. A file that is named `discord.py` would hide the library's own module.
"""

import asyncio
import logging
import mimetypes
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import aiohttp
import discord
from agent import Agent, Answer, Message, open_media, scope_of, until_stopped

from mediakeep import Media, MediaError, MediaMeta, TooLarge
from mediakeep.aio import AsyncMediaScope

logger = logging.getLogger("discord_bot")

TAKES = 25 * 1024 * 1024
"""The most that this bot takes: members may upload 10 MiB, and 500 MiB if they pay."""

FILES_OF_A_MESSAGE = 10
TEXT_OF_A_MESSAGE = 2000


class DiscordBot(discord.Client):
    """Brings messages to the agent, and its answers back."""

    def __init__(self, agent: Agent) -> None:
        intents = discord.Intents.default()
        intents.message_content = True
        # What somebody says comes back in answers: it shall call nobody, such as @everyone.
        super().__init__(intents=intents, allowed_mentions=discord.AllowedMentions.none())
        self._agent = agent
        self._store = agent.store

    async def on_message(self, message: discord.Message) -> None:
        """Take a message: its scope ends when the agent has taken over."""
        if message.author.bot or message.is_system():
            return
        scope = scope_of("discord", message.channel.id, message.id)
        async with self._agent.first_time(scope) as first:
            if first:
                async with self._store.scope(scope) as turn:
                    await self._take(message, turn)

    async def _take(self, message: discord.Message, turn: AsyncMediaScope) -> None:
        refs = []
        for url, size, meta in files_of(message):
            try:
                refs.append(await fetch(url, size, meta, turn))
                continue
            except TooLarge:
                reason = f"is too large: I take up to {TAKES >> 20} MiB"
            except (aiohttp.ClientError, TimeoutError, MediaError):
                logger.exception("%s: %r", turn.name, meta.filename)
                reason = "could not be taken"
            name = discord.utils.escape_markdown(meta.filename[:100])
            await message.reply(f"Sorry, {name} {reason}.")
        if refs or message.content:
            reply = partial(self._reply, message)
            await self._agent.hand_over(Message(turn.name, message.content, refs, reply))

    async def _reply(self, message: discord.Message, answer: Answer) -> None:
        """Answer a message; what is attached is read from where the store has it."""
        guild = message.guild
        most = guild.filesize_limit if guild else discord.utils.DEFAULT_FILE_SIZE_LIMIT_BYTES
        text = discord.utils.escape_markdown(answer.text)
        async with AsyncExitStack() as leases:
            files = []
            for ref in answer.refs:
                media = await leases.enter_async_context(self._store.lease(ref))
                if media.path.stat().st_size > most:
                    text += (
                        f"\n(One more file is too large for Discord: it takes {most >> 20} MiB here.)"
                    )
                else:
                    files.append(media)
            attached = [discord.File(it.path, sent_name(it)) for it in files[:FILES_OF_A_MESSAGE]]
            await message.reply(text[:TEXT_OF_A_MESSAGE], files=attached)


def files_of(message: discord.Message) -> list[tuple[str, int, MediaMeta]]:
    """Return address, size and meta of what comes with a message, as Discord declares them."""
    files = []
    for it in message.attachments:
        source = "discord:voice" if it.is_voice_message() else "discord"
        files.append((it.url, it.size, MediaMeta(it.filename, it.content_type or "", source)))
    for sticker in message.stickers:
        ending = sticker.format.file_extension  # Lottie's is json
        content_type = mimetypes.types_map[f".{ending}"]
        meta = MediaMeta(f"{sticker.name}.{ending}", content_type, "discord:sticker")
        files.append((sticker.url, 0, meta))
    return files


async def fetch(url: str, size: int, meta: MediaMeta, turn: AsyncMediaScope) -> str:
    """Put a file from Discord's CDN as it comes. Its address is signed and needs no token: send none.

    Raises:
        TooLarge: it is said to be, or is, more than this bot takes. Nothing is kept.
    """
    if size > TAKES:
        raise TooLarge(f"{meta.filename!r} has {size} bytes")
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        response.raise_for_status()
        return await turn.put(response.content, meta)


def sent_name(media: Media) -> str:
    """Return a name with the ending by which Discord tells what to show."""
    return media.meta.filename or "file" + (mimetypes.guess_extension(media.meta.content_type) or "")


@asynccontextmanager
async def connected(agent: Agent, token: str) -> AsyncIterator[DiscordBot]:
    """Run the bot for a block; at its end what was received is answered first."""
    async with DiscordBot(agent) as bot, asyncio.TaskGroup() as tasks:
        async with agent:
            tasks.create_task(bot.start(token))
            yield bot
        await bot.close()


async def main() -> None:
    """Run the bot until it is asked to stop."""
    async with open_media(TAKES) as store:
        await store.start()
        async with connected(Agent(store), os.environ["DISCORD_TOKEN"]):
            await until_stopped()


if __name__ == "__main__":
    discord.utils.setup_logging()
    asyncio.run(main())
