"""A Matrix bot, with matrix-nio: send it pictures, voice messages, stickers or files, encrypted or not.

    pip install "mediakeep[aio,images]" "matrix-nio[e2e]>=0.25"
    MATRIX_HOMESERVER=https://matrix.example MATRIX_TOKEN=syt_… python matrix_bot.py

It answers in the rooms that its account is in. `agent.py` is beside it. `MEDIA_STORE` names another
store than ./media, and `MATRIX_KEYS` another folder than ./matrix, where are the keys of what is
encrypted, and how far the bot has read: after a restart it goes on from there.
"""

import asyncio
import logging
import mimetypes
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from agent import Agent, Answer, Message, open_media, scope_of, until_stopped
from aiohttp import ClientError, ClientResponse
from nio import (
    AsyncClient,
    AsyncClientConfig,
    ErrorResponse,
    Event,
    MatrixRoom,
    RoomEncryptedMedia,
    RoomMessageMedia,
    RoomMessageText,
    StickerEvent,
)
from nio.api import MATRIX_MEDIA_API_PATH
from nio.crypto import decrypt_attachment
from nio.exceptions import EncryptionError

from mediakeep import Entry, MediaError, MediaMeta, TooLarge
from mediakeep.aio import AsyncMediaScope

logger = logging.getLogger("matrix_bot")

TAKES = 50 * 1024 * 1024  # from other servers may come more than one's own lets its users upload
MXC = re.compile(r"mxc://([a-zA-Z0-9\[][a-zA-Z0-9.:\]-]*)/([a-zA-Z0-9_-]+)")
VOICE = "org.matrix.msc3245.voice"


class MatrixRefusal(Exception):
    """The server does not do what it is asked for."""


class MatrixBot:
    """Brings messages to the agent, and its answers back."""

    def __init__(self, agent: Agent, client: AsyncClient, upload_limit: int) -> None:
        self._agent = agent
        self._store = agent.store
        self._client = client
        self._upload_limit = upload_limit

    async def receive(self, room: MatrixRoom, event: Event) -> None:
        """Take a message. Its scope ends when the agent has taken it over.

        Raises nothing: an event is whatever another server makes of it.
        """
        if event.sender == self._client.user_id:
            return
        if "m.new_content" in event.source["content"]:  # somebody corrects what was taken already
            return
        scope = scope_of("matrix", room.room_id, event.event_id)
        try:
            async with self._agent.first_time(scope) as first:
                if first:
                    await self._take(room, event, scope)
        except Exception:
            logger.exception("%s was not taken", scope)

    async def _take(self, room: MatrixRoom, event: Event, scope: str) -> None:
        content = event.source["content"]
        reply = partial(self._reply, room, event.event_id)
        says, refs = event.body, []
        async with self._store.scope(scope) as turn:
            if not isinstance(event, RoomMessageText):
                # With a name of its own, a file's body is what is said of it.
                says = event.body if content.get("filename", event.body) != event.body else ""
                try:
                    refs = [await self._fetch(content, meta_of(content, event), turn)]
                except TooLarge:
                    await reply(Answer(f"Sorry, this is too large: I take up to {TAKES >> 20} MiB."))
                    return
                except (ClientError, TimeoutError, EncryptionError, MediaError, ValueError) as error:
                    logger.warning("%s: %s", scope, error)
                    await reply(Answer("Sorry, I cannot get this file."))
                    return
            await self._agent.hand_over(Message(scope, says, refs, reply))

    async def _fetch(self, content: dict[str, Any], meta: MediaMeta, turn: AsyncMediaScope) -> str:
        """Put the file of a message, decrypted if it is encrypted.

        Raises:
            TooLarge: it is said to be, or is, more than this bot takes. Nothing is kept.
            ClientError, TimeoutError: the server does not give it.
            EncryptionError, ValueError: it is not what was sent, or its address or key is none.
        """
        if isinstance(size := info_of(content).get("size"), int) and size > TAKES:
            raise TooLarge(f"it has {size} bytes")
        encrypted = content.get("file")
        address = MXC.fullmatch(encrypted["url"] if encrypted else content["url"])
        if address is None:  # else it could name anything else that the server gives to this bot
            raise ValueError(f"no address of a file: {content.get('url')!r}")
        path = f"{MATRIX_MEDIA_API_PATH}/download/{address[1]}/{address[2]}"
        token = {"Authorization": f"Bearer {self._client.access_token}"}
        async with await self._client.send("GET", path, headers=token, timeout=300) as response:
            response.raise_for_status()
            if not encrypted:
                return await turn.put(response.content, meta)
            key, hashes, iv = encrypted["key"]["k"], encrypted["hashes"]["sha256"], encrypted["iv"]
            data = await read_up_to(TAKES, response)
            return await turn.put(
                await asyncio.to_thread(decrypt_attachment, data, key, hashes, iv), meta
            )

    async def _reply(self, room: MatrixRoom, to: str, answer: Answer) -> None:
        """Send the agent's answer; files are streamed from the store, encrypted where the room is."""
        entries = [await self._store.entry(ref) for ref in answer.refs]
        large = [it for it in entries if it.size > self._upload_limit]
        text = answer.text + "\n(A file is too large for this server.)" * len(large)
        relation = {"m.relates_to": {"m.in_reply_to": {"event_id": to}}, "m.mentions": {}}
        await self._send(room, {"msgtype": "m.notice", "body": text, **relation})
        for entry in entries:
            if entry not in large:
                await self._send(room, await self._uploaded(entry, encrypt=room.encrypted) | relation)

    async def _uploaded(self, entry: Entry, *, encrypt: bool) -> dict[str, Any]:
        """Upload a file; return what a message says of it."""
        meta = entry.meta
        uploaded, keys = await self._client.upload(
            lambda *_: self._store.stream(entry.ref),  # called again if the server was busy
            content_type=meta.content_type,
            encrypt=encrypt,
            filesize=entry.size,
        )
        address = {"url": checked(uploaded).content_uri}
        kind = meta.content_type.partition("/")[0]
        name = meta.filename or "file" + (mimetypes.guess_extension(meta.content_type) or "")
        return {
            "msgtype": f"m.{kind}" if kind in ("image", "audio", "video") else "m.file",
            "body": name,
            "filename": name,
            "info": {"mimetype": meta.content_type, "size": entry.size},
            **({"file": address | keys} if keys else address),
            **({VOICE: {}, "org.matrix.msc1767.audio": {}} if meta.content_type == "audio/ogg" else {}),
        }

    async def _send(self, room: MatrixRoom, content: dict[str, Any]) -> None:
        send = self._client.room_send
        checked(await send(room.room_id, "m.room.message", content, ignore_unverified_devices=True))


def meta_of(content: dict[str, Any], event: Event) -> MediaMeta:
    """Return what the sender says of a file, as far as it is what it should be."""
    name, content_type = content.get("filename", event.body), info_of(content).get("mimetype")
    kind = ":voice" if VOICE in content else ":sticker" if isinstance(event, StickerEvent) else ""
    return MediaMeta(
        name if isinstance(name, str) else "",
        content_type if isinstance(content_type, str) else "",
        f"matrix{kind}",
    )


def info_of(content: dict[str, Any]) -> dict[str, Any]:
    info = content.get("info")
    return info if isinstance(info, dict) else {}


def checked(response: Any) -> Any:
    """Return an answer of the server that is none of its refusals, which nio returns too."""
    if isinstance(response, ErrorResponse):
        raise MatrixRefusal(str(response))
    return response


async def read_up_to(most: int, response: ClientResponse) -> bytes:
    data = bytearray()
    async for chunk in response.content.iter_chunked(1 << 16):
        data += chunk
        if len(data) > most:
            raise TooLarge(f"it has more than {most} bytes")
    return bytes(data)


@asynccontextmanager
async def connected(agent: Agent, homeserver: str, token: str, keys: Path) -> AsyncIterator[AsyncClient]:
    """Run the bot for a block; at its end what was received is answered first."""
    keys.mkdir(mode=0o700, exist_ok=True)
    client = AsyncClient(
        homeserver, store_path=str(keys), config=AsyncClientConfig(store_sync_tokens=True)
    )
    client.access_token = token
    try:
        me = checked(await client.whoami())
        client.restore_login(me.user_id, me.device_id, token)
        upload_limit = checked(await client.content_repository_config()).upload_size or TAKES
        bot = MatrixBot(agent, client, upload_limit)
        async with agent, asyncio.TaskGroup() as tasks:
            if not client.loaded_sync_token:  # what was said before it came is not for this bot
                await client.sync(full_state=True)

            async def received(room: MatrixRoom, event: Event) -> None:
                tasks.create_task(bot.receive(room, event))  # the others need not wait for a large file

            kinds = (RoomMessageText, RoomMessageMedia, RoomEncryptedMedia, StickerEvent)
            client.add_event_callback(received, kinds)
            syncing = tasks.create_task(client.sync_forever(timeout=30_000, full_state=True))
            try:
                yield client
            finally:
                syncing.cancel()
    finally:
        if client.store is not None:
            client.store.database.close()
        await client.close()


async def main() -> None:
    """Run the bot until it is asked to stop."""
    environment = os.environ
    homeserver, token = environment["MATRIX_HOMESERVER"], environment["MATRIX_TOKEN"]
    keys = Path(environment.get("MATRIX_KEYS", "./matrix"))
    async with open_media(TAKES) as store:
        await store.start()
        async with connected(Agent(store), homeserver, token, keys):
            await until_stopped()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    asyncio.run(main())
