"""A stand-in for Slack: the Web API, Socket Mode, files behind a token, and events over HTTP.

The shapes are those of https://docs.slack.dev: Events API, Socket Mode, files.getUploadURLExternal and
files.completeUploadExternal. As there, a file that is asked for without the token is answered by a
redirect to a page for people, with status 200.
"""

import asyncio
import itertools
import json
import re
import secrets
import time
from dataclasses import dataclass, field
from typing import Any

from aiohttp import ClientSession, WSMsgType, web
from slack_sdk.signature import SignatureVerifier

from standins.beside import Beside

BOT_TOKEN, APP_TOKEN, SIGNING_SECRET = "xoxb-stand-in", "xapp-stand-in", "stand-in-secret"
TEAM, APP, BOT_USER, BOT_ID, ALICE, CHANNEL = "T1", "A1", "UBOT", "B1", "UALICE", "C1"
UPLOAD_LIMIT = 1 << 30


@dataclass
class Sent:
    """A message of the bot: its text, and its files by name."""

    channel: str
    thread: str | None
    text: str
    files: list[tuple[str, bytes]] = field(default_factory=list)


class Slack(Beside):
    """The platform, for an `async with` block."""

    def __init__(self) -> None:
        self.sent: asyncio.Queue[Sent] = asyncio.Queue()
        self.connected = asyncio.Event()
        self.events_url = ""
        """Where the bot serves, if it does."""
        self.token = BOT_TOKEN
        """Who may have files."""
        self.fetched: list[str] = []
        self.acknowledged: asyncio.Queue[str] = asyncio.Queue()
        self.files: dict[str, tuple[str, bytes, dict[str, Any]]] = {}
        """By id: where it lies, its bytes, and what files.info tells of it."""
        self._numbers = itertools.count(1000)
        self._uploads: dict[str, tuple[str, int]] = {}
        self._uploaded: dict[str, bytes] = {}
        self._socket: web.WebSocketResponse | None = None
        app = web.Application(client_max_size=1 << 30)
        app.add_routes(
            [
                web.post("/api/{method}", self._call),
                web.get("/api/{method}", self._call),
                web.get("/link", self._link),
                web.post("/upload/v1/{file}", self._upload),
                web.get("/files-pri/{path:.*}", self._download),
                web.get("/signin", self._sign_in),
            ]
        )
        super().__init__(app)

    # -- what a user does

    def file(self, data: bytes, name: str, mimetype: str, **more: Any) -> dict[str, Any]:
        """Upload a file; return what a message says of it."""
        number = f"F{next(self._numbers)}"
        path = f"{TEAM}-{number}/{re.sub(r'[^a-z0-9._-]', '_', name.lower())[-100:]}"
        url = f"{self.url}/files-pri/{path}"
        told = {
            "id": number,
            "name": name,
            "title": name,
            "mimetype": mimetype,
            "size": len(data),
            "mode": "hosted",
            "is_external": False,
            "url_private": url,
            "url_private_download": url,
            **more,
        }
        self.files[number] = (path, data, told)
        return told

    def event(self, text: str, *files: dict[str, Any], **more: Any) -> dict[str, Any]:
        """Return what Slack sends when a user writes a message."""
        stamp = f"17{next(self._numbers)}.000100"
        message = {
            "type": "message",
            "channel": CHANNEL,
            "channel_type": "channel",
            "user": ALICE,
            "text": text,
            "ts": stamp,
            "event_ts": stamp,
            **({"subtype": "file_share", "files": list(files)} if files else {}),
            **more,
        }
        return {
            "token": "unused",
            "team_id": TEAM,
            "api_app_id": APP,
            "type": "event_callback",
            "event_id": f"Ev{next(self._numbers)}",
            "event_time": 1700000000,
            "authorizations": [{"team_id": TEAM, "user_id": BOT_USER, "is_bot": True}],
            "event": message,
        }

    async def deliver(self, event: dict[str, Any], *, retry: int = 0) -> str:
        """Deliver it through the socket; return the envelope that is to be acknowledged."""
        assert self._socket is not None
        envelope = secrets.token_hex(8)
        await self._socket.send_json(
            {
                "envelope_id": envelope,
                "type": "events_api",
                "accepts_response_payload": False,
                "retry_attempt": retry,
                "retry_reason": "timeout" if retry else "",
                "payload": event,
            }
        )
        return envelope

    async def post(self, event: dict[str, Any], *, retry: int = 0, secret: str = SIGNING_SECRET) -> int:
        """Deliver it over HTTP, signed; return the status of the answer."""
        url = self.events_url
        body = json.dumps(event)
        stamp = str(int(time.time()))
        headers = {
            "Content-Type": "application/json",
            "X-Slack-Request-Timestamp": stamp,
            "X-Slack-Signature": SignatureVerifier(secret).generate_signature(timestamp=stamp, body=body)
            or "",
        }
        if retry:
            headers |= {"X-Slack-Retry-Num": str(retry), "X-Slack-Retry-Reason": "http_timeout"}
        async with ClientSession() as session, session.post(url, data=body, headers=headers) as answer:
            return answer.status

    # -- what the bot does

    async def _call(self, request: web.Request) -> web.Response:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        method = request.match_info["method"]
        wanted = APP_TOKEN if method == "apps.connections.open" else BOT_TOKEN
        if token != wanted:
            return web.json_response({"ok": False, "error": "invalid_auth"})
        given: dict[str, Any] = dict(request.query)
        if request.content_type == "application/json":
            given |= await request.json()
        else:
            given |= await request.post()
        answer = getattr(self, "_" + method.replace(".", "_"))(given)
        return web.json_response(answer)

    def _auth_test(self, _: dict[str, Any]) -> dict[str, Any]:
        return {
            "ok": True,
            "url": self.url,
            "team": "team",
            "user": "keeper",
            "team_id": TEAM,
            "user_id": BOT_USER,
            "bot_id": BOT_ID,
        }

    def _apps_connections_open(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"ok": True, "url": str(self._server.make_url("/link").with_scheme("ws"))}

    def _chat_postMessage(self, given: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        self.sent.put_nowait(Sent(given["channel"], given.get("thread_ts"), given["text"]))
        return {"ok": True, "channel": given["channel"], "ts": "1700000000.000200"}

    def _files_info(self, given: dict[str, Any]) -> dict[str, Any]:
        found = self.files.get(given["file"])
        return (
            {"ok": False, "error": "file_not_found"} if found is None else {"ok": True, "file": found[2]}
        )

    def _files_getUploadURLExternal(self, given: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        if int(given["length"]) > UPLOAD_LIMIT:
            return {"ok": False, "error": "file_upload_size_restricted"}
        number = f"F{next(self._numbers)}"
        self._uploads[number] = (given["filename"], int(given["length"]))
        return {"ok": True, "file_id": number, "upload_url": f"{self.url}/upload/v1/{number}"}

    async def _upload(self, request: web.Request) -> web.Response:
        if "Authorization" in request.headers:
            return web.Response(status=400, text="the URL is the credential")
        if request.content_length is None:
            return web.Response(status=411, text="length required")
        number = request.match_info["file"]
        data = await request.read()
        if len(data) != self._uploads[number][1]:
            return web.Response(status=400, text="length mismatch")
        self._uploaded[number] = data
        return web.Response(text=f"OK - {len(data)}")

    def _files_completeUploadExternal(self, given: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        files = json.loads(given["files"]) if isinstance(given["files"], str) else given["files"]
        if any(file["id"] not in self._uploaded for file in files):
            return {"ok": False, "error": "file_not_found"}
        self.sent.put_nowait(
            Sent(
                given["channel_id"],
                given.get("thread_ts"),
                given.get("initial_comment", ""),
                [(self._uploads[file["id"]][0], self._uploaded.pop(file["id"])) for file in files],
            )
        )
        return {"ok": True, "files": [{"id": file["id"]} for file in files]}

    async def _link(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_json(
            {"type": "hello", "num_connections": 1, "connection_info": {"app_id": APP}}
        )
        self._socket = socket
        self.connected.set()
        async for frame in socket:
            if frame.type is WSMsgType.TEXT and frame.data.startswith("{"):
                self.acknowledged.put_nowait(json.loads(frame.data)["envelope_id"])
        return socket

    async def _download(self, request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            raise web.HTTPFound("/signin")
        path = request.raw_path.removeprefix("/files-pri/")
        for where, data, told in self.files.values():
            if where == path:
                self.fetched.append(path)
                return web.Response(body=data, content_type=told["mimetype"])
        raise web.HTTPNotFound

    async def _sign_in(self, _: web.Request) -> web.Response:
        return web.Response(
            text="<!DOCTYPE html><title>Sign in to team</title>", content_type="text/html"
        )
