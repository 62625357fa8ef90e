"""A stand-in for Discord: the REST API, the gateway's WebSocket and the CDN, on one loopback port.

It speaks what discord.py needs to log in, be given messages and answer them, in the shapes of
https://discord.com/developers/docs (API and gateway version 10).
"""

import asyncio
import itertools
import json
import re
import secrets
from dataclasses import dataclass
from typing import Any

from aiohttp import WSMsgType, web

from standins.beside import Beside

TOKEN = "stand.in.token"
BOT = {"id": "100", "username": "keeper", "discriminator": "0", "avatar": None, "bot": True}
ALICE = {"id": "200", "username": "alice", "discriminator": "0", "avatar": None, "global_name": "Alice"}
GUILD, CHANNEL = "300", "400"
DEFAULT_LIMIT = 10 * 1024 * 1024
VOICE_MESSAGE = 1 << 13
"""The flag of a message that was spoken."""

HELLO, IDENTIFY, HEARTBEAT, HEARTBEAT_ACK, RESUME, DISPATCH = 10, 2, 1, 11, 6, 0


@dataclass
class Sent:
    """A message of the bot: its text, and its files by name."""

    channel: str
    content: str
    reply_to: str
    mentions: dict[str, Any]
    files: list[tuple[str, bytes]]


class Discord(Beside):
    """The platform, for an `async with` block."""

    def __init__(self, *, upload_limit: int = DEFAULT_LIMIT) -> None:
        self.upload_limit = upload_limit
        self.sent: asyncio.Queue[Sent] = asyncio.Queue()
        self.ready = asyncio.Event()
        self.fetched: list[str] = []
        self.credentials_at_cdn: list[str] = []
        self._numbers = itertools.count(1000)
        self._cdn: dict[str, tuple[bytes, str]] = {}
        self._socket: web.WebSocketResponse | None = None
        self._sequence = itertools.count(1)
        app = web.Application(client_max_size=1 << 30)
        app.add_routes(
            [
                web.get("/api/v10/users/@me", self._me),
                web.get("/api/v10/oauth2/applications/@me", self._application),
                web.post("/api/v10/channels/{channel}/messages", self._create_message),
                web.get("/gateway/", self._gateway),
                web.get("/cdn/{path:.*}", self._file),
            ]
        )
        super().__init__(app)

    @property
    def api(self) -> str:
        return str(self._server.make_url("/api/v10"))

    @property
    def gateway(self) -> str:
        return str(self._server.make_url("/gateway/").with_scheme("ws"))

    # -- what a user does

    def upload(self, data: bytes, name: str, content_type: str | None, **more: Any) -> dict[str, Any]:
        """Put a file on the CDN; return the attachment that a message names it by."""
        number = str(next(self._numbers))
        path = f"attachments/{CHANNEL}/{number}/{re.sub(r'[^A-Za-z0-9._-]', '_', name)[-100:]}"
        signature = secrets.token_hex(16)
        self._cdn[path] = (data, signature)
        url = f"{self._server.make_url('/cdn/')}{path}?ex=7&is=6&hm={signature}"
        attachment = {
            "id": number,
            "filename": name,
            "size": len(data),
            "url": url,
            "proxy_url": url,
            **more,
        }
        return attachment if content_type is None else {**attachment, "content_type": content_type}

    def sticker(self, data: bytes, name: str, format_type: int = 1) -> dict[str, Any]:
        """Put a sticker on the CDN; return what a message names it by."""
        number = str(next(self._numbers))
        suffix = {1: "png", 2: "png", 3: "json", 4: "gif"}[format_type]
        self._cdn[f"stickers/{number}.{suffix}"] = (data, "")
        return {"id": number, "name": name, "format_type": format_type}

    @property
    def cdn(self) -> str:
        return str(self._server.make_url("/cdn"))

    async def say(
        self,
        text: str,
        *attachments: dict[str, Any],
        guild: bool = True,
        author: dict[str, Any] = ALICE,
        flags: int = 0,
        stickers: list[dict[str, Any]] | None = None,
        number: str = "",
    ) -> str:
        """Have a user write a message; return its id."""
        number = number or str(next(self._numbers))
        message = {
            "id": number,
            "channel_id": CHANNEL if guild else "500",
            "author": author,
            "content": text,
            "timestamp": "2025-01-01T00:00:00+00:00",
            "edited_timestamp": None,
            "tts": False,
            "mention_everyone": False,
            "mentions": [],
            "mention_roles": [],
            "attachments": list(attachments),
            "embeds": [],
            "pinned": False,
            "type": 0,
            "flags": flags,
            "components": [],
            "sticker_items": stickers or [],
        }
        if guild:
            message |= {"guild_id": GUILD, "member": MEMBER}
        await self.dispatch("MESSAGE_CREATE", message)
        return number

    async def dispatch(self, event: str, data: dict[str, Any]) -> None:
        assert self._socket is not None
        await self._socket.send_json({"op": DISPATCH, "t": event, "s": next(self._sequence), "d": data})

    # -- what the bot does

    def _check_token(self, request: web.Request) -> None:
        if request.headers.get("Authorization") != f"Bot {TOKEN}":
            raise web.HTTPUnauthorized(
                text=json.dumps({"message": "401: Unauthorized", "code": 0}),
                content_type="application/json",
            )

    async def _me(self, request: web.Request) -> web.Response:
        self._check_token(request)
        return answer_of(BOT)

    async def _application(self, request: web.Request) -> web.Response:
        self._check_token(request)
        return answer_of(
            {
                "id": BOT["id"],
                "name": "keeper",
                "icon": None,
                "description": "",
                "rpc_origins": [],
                "bot_public": True,
                "bot_require_code_grant": False,
                "verify_key": "",
                "team": None,
                "owner": ALICE,
                "flags": 1 << 18,
            }
        )

    async def _gateway(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_json({"op": HELLO, "d": {"heartbeat_interval": 41250}})
        async for frame in socket:
            if frame.type is not WSMsgType.TEXT:
                continue
            told = json.loads(frame.data)
            if told["op"] == HEARTBEAT:
                await socket.send_json({"op": HEARTBEAT_ACK})
            elif told["op"] == IDENTIFY:
                if told["d"]["token"] != TOKEN:
                    await socket.close(code=4004, message=b"Authentication failed.")
                    break
                self._socket = socket
                await self._welcome()
            elif told["op"] == RESUME:
                self._socket = socket
                await self.dispatch("RESUMED", {})
        return socket

    async def _welcome(self) -> None:
        await self.dispatch(
            "READY",
            {
                "v": 10,
                "user": BOT,
                "guilds": [],
                "session_id": "session",
                "resume_gateway_url": self.gateway,
                "application": {"id": BOT["id"], "flags": 1 << 18},
            },
        )
        await self.dispatch("GUILD_CREATE", guild_of(self.upload_limit))
        self.ready.set()

    async def _create_message(self, request: web.Request) -> web.Response:
        self._check_token(request)
        files: list[tuple[str, bytes]] = []
        if request.content_type == "multipart/form-data":
            payload: dict[str, Any] = {}
            async for part in await request.multipart():
                data = bytes(await part.read())
                if part.name == "payload_json":
                    payload = json.loads(data)
                else:
                    files.append((part.filename, data))
        else:
            payload = await request.json()
        if any(len(data) > self.upload_limit for _, data in files):
            return answer_of({"message": "Request entity too large", "code": 40005}, status=413)
        reference = payload.get("message_reference") or {}
        channel = request.match_info["channel"]
        answer = Sent(
            channel,
            payload.get("content") or "",
            str(reference.get("message_id")),
            payload.get("allowed_mentions", {}),
            files,
        )
        self.sent.put_nowait(answer)
        return answer_of(
            {
                "id": str(next(self._numbers)),
                "channel_id": channel,
                "author": BOT,
                "content": answer.content,
                "timestamp": "2025-01-01T00:00:00+00:00",
                "edited_timestamp": None,
                "tts": False,
                "mention_everyone": False,
                "mentions": [],
                "mention_roles": [],
                "attachments": [],
                "embeds": [],
                "pinned": False,
                "type": 0,
                "components": [],
            }
        )

    async def _file(self, request: web.Request) -> web.StreamResponse:
        path = request.raw_path.split("?")[0].removeprefix("/cdn/")
        if "Authorization" in request.headers:
            self.credentials_at_cdn.append(path)
        data, signature = self._cdn.get(path, (None, ""))
        if data is None or request.query.get("hm", "") != signature:
            raise web.HTTPNotFound(text="This content is no longer available.")
        self.fetched.append(path)
        return web.Response(body=data, content_type="application/octet-stream")


def answer_of(told: dict[str, Any], *, status: int = 200) -> web.Response:
    # To the letter: discord.py takes a type with a charset for one that is not JSON.
    headers = {"Content-Type": "application/json"}
    return web.Response(body=json.dumps(told).encode(), status=status, headers=headers)


MEMBER = {
    "roles": [],
    "joined_at": "2025-01-01T00:00:00+00:00",
    "deaf": False,
    "mute": False,
    "flags": 0,
}


def guild_of(upload_limit: int) -> dict[str, Any]:
    """Return the guild that the bot is in: one whose boosts allow uploads of `upload_limit`."""
    tier = {DEFAULT_LIMIT: 0, 50 * 1024 * 1024: 2, 100 * 1024 * 1024: 3}.get(upload_limit, 0)
    return {
        "id": GUILD,
        "name": "guild",
        "owner_id": ALICE["id"],
        "premium_tier": tier,
        "features": [],
        "roles": [],
        "emojis": [],
        "stickers": [],
        "members": [{**MEMBER, "user": BOT}],
        "member_count": 2,
        "threads": [],
        "voice_states": [],
        "presences": [],
        "stage_instances": [],
        "guild_scheduled_events": [],
        "soundboard_sounds": [],
        "verification_level": 0,
        "default_message_notifications": 0,
        "explicit_content_filter": 0,
        "mfa_level": 0,
        "system_channel_flags": 0,
        "preferred_locale": "en-US",
        "nsfw_level": 0,
        "premium_progress_bar_enabled": False,
        "channels": [
            {
                "id": CHANNEL,
                "type": 0,
                "name": "general",
                "position": 0,
                "permission_overwrites": [],
                "nsfw": False,
                "parent_id": None,
            }
        ],
    }
