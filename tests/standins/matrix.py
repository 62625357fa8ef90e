"""A stand-in for a Matrix homeserver: the part of the client-server API that a bot in a room needs.

As of https://spec.matrix.org/v1.11/client-server-api: `/sync` that waits, `/send`, uploads up to
`m.upload.size`, and downloads that need the access token in a header (`/_matrix/client/v1/media`). It
hands keys from device to device and forwards what is encrypted, as a server does, without reading it.
"""

import asyncio
import itertools
import json
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from standins.beside import Beside

SERVER = "standin.example"
BOT, ALICE = f"@keeper:{SERVER}", f"@alice:{SERVER}"
TOKEN, ALICES_TOKEN = "syt_keeper", "syt_alice"
USERS = {TOKEN: (BOT, "KEEPER"), ALICES_TOKEN: (ALICE, "PHONE")}
ROOM, SECRET_ROOM = f"!open:{SERVER}", f"!secret:{SERVER}"


@dataclass
class Sent:
    """An event of the bot."""

    room: str
    type: str
    content: dict[str, Any]


class Matrix(Beside):
    """The platform, for an `async with` block."""

    def __init__(self, *, upload_limit: int = 50 * 1024 * 1024) -> None:
        self.upload_limit = upload_limit
        self.sent: asyncio.Queue[Sent] = asyncio.Queue()
        self.syncing = asyncio.Event()
        """Set once the bot waits for what is new."""
        self.media: dict[str, tuple[bytes, str]] = {}
        """By `server/id`: bytes and content type."""
        self.elsewhere: dict[str, str] = {}
        """By `server/id`: where a download is redirected to."""
        self.asked: list[str] = []
        """Paths of whatever was asked for with GET, but for `/sync`."""
        self._numbers = itertools.count(1)
        self._timeline: list[tuple[str, dict[str, Any]]] = []
        self._to_device: list[tuple[str, dict[str, Any]]] = []
        self._devices: dict[str, dict[str, Any]] = {}
        self._one_time_keys: dict[str, dict[str, Any]] = {user: {} for user, _ in USERS.values()}
        self._news = asyncio.Condition()
        v3, v1 = "/_matrix/client/v3", "/_matrix/client/v1/media"
        app = web.Application(client_max_size=1 << 30, middlewares=[self._check_token])
        app.add_routes(
            [
                web.get(f"{v3}/sync", self._sync),
                web.get(f"{v3}/account/whoami", self._whoami),
                web.put(v3 + "/rooms/{room}/send/{type}/{transaction}", self._send),
                web.get(v3 + "/rooms/{room}/joined_members", self._members),
                web.post(v3 + "/keys/upload", self._upload_keys),
                web.post(v3 + "/keys/query", self._query_keys),
                web.post(v3 + "/keys/claim", self._claim_keys),
                web.put(v3 + "/sendToDevice/{type}/{transaction}", self._send_to_device),
                web.get(f"{v1}/config", self._config),
                web.get(v1 + "/download/{server}/{media}", self._download),
                web.post("/_matrix/media/v3/upload", self._upload),
            ]
        )
        super().__init__(app)

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
        if request.method == "GET" and not request.path.endswith("/sync"):
            self.asked.append(request.raw_path)
        # Tokens in queries, which older clients send, are refused.
        if token_of(request) not in USERS:
            return refused(401, "M_MISSING_TOKEN", "Missing access token")
        return await handler(request)

    async def _sync(self, request: web.Request) -> web.Response:
        user, _ = USERS[token_of(request)]
        said, told = map(int, request.query.get("since", "0.0").split("."))
        if "since" in request.query:
            if user == BOT:
                self.syncing.set()
            with suppress(TimeoutError):
                async with (
                    asyncio.timeout(int(request.query.get("timeout", "0")) / 1000),
                    self._news,
                ):
                    await self._news.wait_for(lambda: self._is_new(user, said, told))
        rooms: dict[str, Any] = {}
        for room, event in self._timeline[said:]:
            rooms.setdefault(room, joined())["timeline"]["events"].append(event)
        if "since" not in request.query or request.query.get("full_state") == "true":
            for room in (ROOM, SECRET_ROOM):
                rooms.setdefault(room, joined())["state"]["events"] = state_of(room)
        return web.json_response(
            {
                "next_batch": f"{len(self._timeline)}.{len(self._to_device)}",
                "rooms": {"join": rooms, "invite": {}, "leave": {}},
                "presence": {"events": []},
                "to_device": {"events": [it for to, it in self._to_device[told:] if to == user]},
                "device_lists": {"changed": [], "left": []},
                "device_one_time_keys_count": {"signed_curve25519": len(self._one_time_keys[user])},
            }
        )

    def _is_new(self, user: str, said: int, told: int) -> bool:
        return len(self._timeline) > said or any(to == user for to, _ in self._to_device[told:])

    async def _whoami(self, request: web.Request) -> web.Response:
        user, device = USERS[token_of(request)]
        return web.json_response({"user_id": user, "device_id": device})

    async def _send(self, request: web.Request) -> web.Response:
        room, kind = request.match_info["room"], request.match_info["type"]
        content, sender = await request.json(), USERS[token_of(request)][0]
        if sender == BOT:
            self.sent.put_nowait(Sent(room, kind, content))
        number = await self.send(content, kind, room=room, sender=sender)
        return web.json_response({"event_id": number})

    async def _members(self, _: web.Request) -> web.Response:
        return web.json_response({"joined": {it: {"display_name": it} for it in (ALICE, BOT)}})

    async def _upload_keys(self, request: web.Request) -> web.Response:
        given = await request.json()
        user, device = USERS[token_of(request)]
        if "device_keys" in given:
            self._devices.setdefault(user, {})[device] = given["device_keys"]
        mine = self._one_time_keys[user]
        mine |= given.get("one_time_keys", {})
        return web.json_response({"one_time_key_counts": {"signed_curve25519": len(mine)}})

    async def _query_keys(self, request: web.Request) -> web.Response:
        asked = (await request.json())["device_keys"]
        return web.json_response(
            {"device_keys": {it: self._devices.get(it, {}) for it in asked}, "failures": {}}
        )

    async def _claim_keys(self, request: web.Request) -> web.Response:
        claimed = {
            user: {device: dict([self._one_time_keys[user].popitem()]) for device in devices}
            for user, devices in (await request.json())["one_time_keys"].items()
        }
        return web.json_response({"one_time_keys": claimed, "failures": {}})

    async def _send_to_device(self, request: web.Request) -> web.Response:
        kind, (sender, _) = request.match_info["type"], USERS[token_of(request)]
        for user, devices in (await request.json())["messages"].items():
            for content in devices.values():
                event = {"type": kind, "sender": sender, "content": content}
                self._to_device.append((user, event))
        async with self._news:
            self._news.notify_all()
        return web.json_response({})

    async def _config(self, _: web.Request) -> web.Response:
        return web.json_response({"m.upload.size": self.upload_limit})

    async def _download(self, request: web.Request) -> web.Response:
        address = "{server}/{media}".format(**request.match_info)
        if address in self.elsewhere:
            raise web.HTTPTemporaryRedirect(self.elsewhere[address])
        found = self.media.get(address)
        if found is None:
            return refused(404, "M_NOT_FOUND", "Media not found")
        data, content_type = found
        return web.Response(body=data, content_type=content_type)

    async def _upload(self, request: web.Request) -> web.Response:
        if request.content_length is None:
            return refused(411, "M_MISSING_PARAM", "Content-Length is needed")
        data = await request.read()
        if len(data) > self.upload_limit:
            return refused(413, "M_TOO_LARGE", "Cannot upload files larger than allowed")
        return web.json_response({"content_uri": self.upload(data, request.content_type)})


def token_of(request: web.Request) -> str:
    return request.headers.get("Authorization", "").removeprefix("Bearer ")


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
            "event_id": f"$state{number}in{room[1:]}",
            "sender": ALICE,
            "origin_server_ts": 1700000000000,
            "content": content,
        }
        for number, (kind, key, content) in enumerate(events)
    ]
