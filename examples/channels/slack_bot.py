"""A Slack bot, with Bolt: send it files or audio clips.

    pip install "mediakeep[aio,download,images]" "slack-bolt>=1.22" aiohttp
    SLACK_BOT_TOKEN=xoxb-… SLACK_APP_TOKEN=xapp-… python slack_bot.py

This is Socket Mode. With SLACK_SIGNING_SECRET in place of SLACK_APP_TOKEN it serves /slack/events on
PORT (3000). The app needs the scopes chat:write, files:read, files:write and the `…:history` of where
it shall listen, and the events `message.…` of these. `agent.py` is beside this file. `MEDIA_STORE` names
another store than ./media, SLACK_API_URL and SLACK_FILES_URL other servers, such as GovSlack's.
"""

import asyncio
import html
import logging
import mimetypes
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from agent import Agent, Answer, Message, open_media, scope_of, until_stopped
from aiohttp import ClientSession, web
from slack_bolt.adapter.socket_mode.async_handler import AsyncSocketModeHandler
from slack_bolt.async_app import AsyncApp
from slack_sdk.web.async_client import AsyncWebClient

from mediakeep import Entry, MediaError, MediaMeta, TooLarge
from mediakeep.intake import DownloadError, download

logger = logging.getLogger("slack_bot")

TAKES = 50 * 1024 * 1024  # the most that this bot takes; Slack takes 1 GB
TEXT = 4000
API_URL, FILES_URL = "https://slack.com/api/", "https://files.slack.com"


class SlackBot:
    """Brings messages to the agent, and its answers back."""

    def __init__(self, agent: Agent, app: AsyncApp, files_url: str = FILES_URL) -> None:
        self._agent = agent
        self._store = agent.store
        self._client = app.client
        self._files_url = files_url
        app.event("message")(self.receive)

    async def receive(self, event: dict[str, Any]) -> None:
        """Take a message. Its scope ends when the agent has taken it over.

        Bolt has acknowledged it by then. If that came too late Slack sends it again, which is no news.
        """
        if event.get("subtype") not in (None, "file_share") or "bot_id" in event:
            return  # an edit, a deletion, somebody who joins; a bot
        scope = scope_of("slack", event["channel"], event["ts"])
        async with self._agent.first_time(scope) as first:
            if first:
                await self._take(event, scope)

    async def _take(self, event: dict[str, Any], scope: str) -> None:
        reply = partial(self._reply, event["channel"], event.get("thread_ts", event["ts"]))
        async with self._store.scope(scope):
            refs = []
            for file in event.get("files", ()):
                try:
                    refs.append(await self._fetch(file, scope))
                    continue
                except TooLarge:
                    reason = f"it is too large: I take up to {TAKES >> 20} MiB"
                except MediaError as error:
                    logger.warning("%s: %s", scope, error)
                    reason = "I cannot get it"
                await reply(Answer(f"Sorry, I cannot take {file.get('name') or 'a file'}: {reason}."))
            text = html.unescape(event.get("text", ""))
            if refs or text:
                await self._agent.hand_over(Message(scope, text, refs, reply))

    async def _fetch(self, file: dict[str, Any], scope: str) -> str:
        """Put a file of Slack's. The bot's token is what gets it: it must not go to anybody else.

        Raises:
            TooLarge: it is said to be, or is, more than this bot takes. Nothing is kept.
            DownloadError: Slack does not give it, or it lies elsewhere.
        """
        if file.get("file_access") == "check_file_info":  # shared by another workspace
            file = (await self._client.files_info(file=file["id"]))["file"]
        url = file.get("url_private_download") or file.get("url_private") or ""
        if not url.startswith(f"{self._files_url}/"):
            raise DownloadError(f"{file['id']} lies elsewhere, or is gone: {file.get('mode')}")
        if file.get("size", 0) > TAKES:
            raise TooLarge(f"{file['id']} has {file['size']} bytes")
        source = "slack:voice" if file.get("subtype") == "slack_audio" else "slack"
        get = partial(
            download,
            url,
            self._store.sync,
            scope,
            meta=MediaMeta(file.get("name") or "", file.get("mimetype") or "", source),
            headers={"Authorization": f"Bearer {self._client.token}"},
            max_bytes=TAKES,
            max_redirects=0,  # to whom it does not give the file Slack shows a page to sign in
            allow_private=self._files_url != FILES_URL,
        )
        return await asyncio.to_thread(get)

    async def _reply(self, channel: str, thread: str, answer: Answer) -> None:
        """Send the agent's answer; files are streamed from the store to where Slack wants them."""
        text = html.escape(answer.text[:TEXT], quote=False)  # which calls nobody, such as <!channel>
        if not answer.refs:
            await self._client.chat_postMessage(channel=channel, thread_ts=thread, text=text)
            return
        files = []
        for ref in answer.refs:
            entry = await self._store.entry(ref)
            place = await self._client.files_getUploadURLExternal(
                filename=sent_name(entry), length=entry.size
            )
            length = {"Content-Length": str(entry.size)}
            async with (
                ClientSession(raise_for_status=True) as session,
                session.post(place["upload_url"], data=self._store.stream(ref), headers=length),
            ):
                files.append({"id": place["file_id"], "title": sent_name(entry)})
        await self._client.files_completeUploadExternal(
            files=files, channel_id=channel, thread_ts=thread, initial_comment=text
        )


def sent_name(entry: Entry) -> str:
    """Return a name with the ending by which Slack tells what to show."""
    return entry.meta.filename or "file" + (mimetypes.guess_extension(entry.meta.content_type) or "")


@asynccontextmanager
async def connected(agent: Agent, app: AsyncApp, app_token: str) -> AsyncIterator[None]:
    """Receive by Socket Mode for a block; at its end what was received is answered first."""
    async with agent:
        handler = AsyncSocketModeHandler(app, app_token)
        await handler.connect_async()
        try:
            yield
        finally:
            await handler.close_async()


@asynccontextmanager
async def serving(agent: Agent, app: AsyncApp, port: int, host: str | None = None) -> AsyncIterator[int]:
    """Receive over HTTP for a block, as `connected` does; gives the port."""
    async with agent:
        runner = web.AppRunner(app.web_app())
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port).start()
            yield runner.addresses[0][1]
        finally:
            await runner.cleanup()


async def main() -> None:
    """Run the bot until it is asked to stop."""
    environment = os.environ
    api_url = environment.get("SLACK_API_URL", API_URL)
    client = AsyncWebClient(environment["SLACK_BOT_TOKEN"], base_url=api_url)
    app = AsyncApp(client=client, signing_secret=environment.get("SLACK_SIGNING_SECRET"))
    async with open_media(TAKES) as store:
        await store.start()
        agent = Agent(store)
        SlackBot(agent, app, environment.get("SLACK_FILES_URL", FILES_URL))
        if "SLACK_APP_TOKEN" in environment:
            receiving = connected(agent, app, environment["SLACK_APP_TOKEN"])
        else:
            receiving = serving(agent, app, int(environment.get("PORT", "3000")))
        async with receiving:
            await until_stopped()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    asyncio.run(main())
