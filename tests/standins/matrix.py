"""A stand-in for a Matrix homeserver: the part of the client-server API that a bot in a room needs.

As of https://spec.matrix.org/v1.11/client-server-api: `/sync` that waits, `/send`, uploads up to
`m.upload.size`, and downloads that need the access token in a header (`/_matrix/client/v1/media`). It
takes the keys that a client uploads and forwards what is encrypted, as a server does, without reading it.
"""

import asyncio
import itertools
import json
import re
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

TOKEN = "syt_stand_in"
SERVER = "standin.example"
BOT, ALICE, DEVICE = f"@keeper:{SERVER}", f"@alice:{SERVER}", "KEEPER"
ROOM, SECRET_ROOM = f"!open:{SERVER}", f"!secret:{SERVER}"


@dataclass
class Sent:
    """An event of the bot."""

    room: str
    type: str
    content: dict[str, Any]


class Matrix:
    """The platform, for an `async with` block."""

    def __init__(self, *, upload_limit: int = 50 * 1024 * 1024) -> None:
        self.upload_limit = upload_limit
        self.sent: asyncio.Queue[Sent] = asyncio.Queue()
        self.syncing = asyncio.Event()
        """Set once the bot waits for what is new."""
        self.media: dict[str, tuple[bytes, str]] = {}
        """By `server/id`: bytes and content type."""
        self.asked: list[str] = []
        """Paths of downloads, queries and all."""
        self._numbers = itertools.count(1)
        self._timeline: list[tuple[str, dict[str, Any]]] = []
        self._news = asyncio.Condition()
        v3, v1 = "/_matrix/client/v3", "/_matrix/client/v1/media"
        app = web.Application(client_max_size=1 << 30, middlewares=[self._check_token])
        app.add_routes(
            [
                web.get(f"{v3}/sync", self._sync),
                web.get(f"{v3}/account/whoami", self._whoami),
                web.put(v3 + "/rooms/{room}/send/{type}/{transaction}", self._send),
                web.get(v3 + "/rooms/{room}/joined_members", self._members),
                web.post(v3 + "/keys/upload", self._keys),
                web.post(v3 + "/keys/query", self._devices),
                web.post(v3 + "/keys/claim", self._claim),
                web.put(v3 + "/sendToDevice/{type}/{transaction}", self._nothing),
                web.get(f"{v1}/config", self._config),
                web.get(v1 + "/download/{server}/{media}", self._download),
                web.get(v1 + "/download/{server}/{media}/{name}", self._download),
                web.post("/_matrix/media/v3/upload", self._upload),
            ]
        )
        self._server = TestServer(app)

    async def __aenter__(self) -> "Matrix":
        await self._server.start_server()
        return self

    async def __aexit__(self, *error: object) -> None:
        async with self._news:
            self._news.notify_all()
        await self._server.close()

    @property
    def url(self) -> str:
        return str(self._server.make_url("")).rstrip("/")

    # -- what a user does

    def upload(self, data: bytes, content_type: str = "application/octet-stream") -> str:
        """Upload a file; return its `mxc://` address."""
        number = f"media{next(self._numbers)}"
        self.media[f"{SERVER}/{number}"] = (data, content_type)
        return f"mxc://{SERVER}/{number}"

    async def send(
        self,
        content: dict[str, Any],
        kind: str = "m.room.message",
        *,
        room: str = ROOM,
        sender: str = ALICE,
        number: str = "",
    ) -> str:
        """Have a user send an event into a room; return its id."""
        number = number or f"$event{next(self._numbers)}"
        event = {
            "type": kind,
            "event_id": number,
            "sender": sender,
            "origin_server_ts": 1700000000000,
            "content": content,
        }
        async with self._news:
            self._timeline.append((room, event))
            self._news.notify_all()
        return number

    # -- what the bot does

    @web.middleware
    async def _check_token(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if "/media/" in request.path and request.method == "GET":
            self.asked.append(request.raw_path)
        # Tokens in queries, which older clients send, are refused: MSC4126.
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return refused(401, "M_MISSING_TOKEN", "Missing access token")
        return await handler(request)

    async def _sync(self, request: web.Request) -> web.Response:
        since = int(request.query.get("since", "0"))
        if "since" in request.query:
            self.syncing.set()
            async with self._news:
                try:
                    async with asyncio.timeout(int(request.query.get("timeout", "0")) / 1000):
                        while len(self._timeline) <= since:
                            await self._news.wait()
                except TimeoutError:
                    pass  # nothing new: the answer says so
        rooms: dict[str, Any] = {}
        for room, event in self._timeline[since:]:
            rooms.setdefault(room, joined())["timeline"]["events"].append(event)
        if not since:
            for room in (ROOM, SECRET_ROOM):
                rooms.setdefault(room, joined())["state"]["events"] = state_of(room)
        return web.json_response(
            {
                "next_batch": str(len(self._timeline)),
                "rooms": {"join": rooms, "invite": {}, "leave": {}},
                "presence": {"events": []},
                "to_device": {"events": []},
                "device_lists": {"changed": [], "left": []},
                "device_one_time_keys_count": {"signed_curve25519": 50},
            }
        )

    async def _whoami(self, _: web.Request) -> web.Response:
        return web.json_response({"user_id": BOT, "device_id": DEVICE})

    async def _send(self, request: web.Request) -> web.Response:
        told = request.match_info
        self.sent.put_nowait(Sent(told["room"], told["type"], await request.json()))
        return web.json_response({"event_id": f"$answer{next(self._numbers)}"})

    async def _members(self, _: web.Request) -> web.Response:
        return web.json_response({"joined": {it: {"display_name": it} for it in (ALICE, BOT)}})

    async def _keys(self, _: web.Request) -> web.Response:
        return web.json_response({"one_time_key_counts": {"signed_curve25519": 50}})

    async def _devices(self, request: web.Request) -> web.Response:
        asked = (await request.json())["device_keys"]
        return web.json_response({"device_keys": {it: {} for it in asked}, "failures": {}})

    async def _claim(self, _: web.Request) -> web.Response:
        return web.json_response({"one_time_keys": {}, "failures": {}})

    async def _nothing(self, _: web.Request) -> web.Response:
        return web.json_response({})

    async def _config(self, _: web.Request) -> web.Response:
        return web.json_response({"m.upload.size": self.upload_limit})

    async def _download(self, request: web.Request) -> web.Response:
        found = self.media.get("{server}/{media}".format(**request.match_info))
        if found is None:
            return refused(404, "M_NOT_FOUND", "Media not found")
        data, content_type = found
        return web.Response(body=data, content_type=content_type)

    async def _upload(self, request: web.Request) -> web.Response:
        if int(request.headers.get("Content-Length", "-1")) < 0:
            return refused(411, "M_MISSING_PARAM", "Content-Length is needed")
        data = await request.read()
        if len(data) > self.upload_limit:
            return refused(413, "M_TOO_LARGE", "Cannot upload files larger than allowed")
        return web.json_response({"content_uri": self.upload(data, request.content_type)})


def refused(status: int, code: str, error: str) -> web.Response:
    return web.Response(
        status=status,
        text=json.dumps({"errcode": code, "error": error}),
        content_type="application/json",
    )


def joined() -> dict[str, Any]:
    return {
        "timeline": {"events": [], "limited": False, "prev_batch": "0"},
        "state": {"events": []},
        "account_data": {"events": []},
        "ephemeral": {"events": []},
        "unread_notifications": {},
        "summary": {"m.joined_member_count": 2},
    }


def state_of(room: str) -> list[dict[str, Any]]:
    """Return who is in the room, and that what is said in the secret one is encrypted."""
    events: list[tuple[str, str, dict[str, Any]]] = [
        ("m.room.create", "", {"creator": ALICE}),
        *(("m.room.member", it, {"membership": "join"}) for it in (ALICE, BOT)),
    ]
    if room == SECRET_ROOM:
        events.append(("m.room.encryption", "", {"algorithm": "m.megolm.v1.aes-sha2"}))
    return [
        {
            "type": kind,
            "state_key": key,
            "event_id": f"$state{number}{re.sub(r'\W', '', room)}",
            "sender": ALICE,
            "origin_server_ts": 1700000000000,
            "content": content,
        }
        for number, (kind, key, content) in enumerate(events)
    ]
