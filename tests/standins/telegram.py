"""A stand-in for the Telegram Bot API: updates in, messages and files out, with the real limits.

Methods, shapes and limits are those of https://core.telegram.org/bots/api (getUpdates, getFile, "Sending
files"). The exact bounds and the words of refusals are those that the server's source has
(tdlib/telegram-bot-api, `MAX_DOWNLOAD_FILE_SIZE`; tdlib/td, "is too big for a photo").
"""

import asyncio
import json
import secrets
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from standins import Standin

TOKEN = "4242:AAF-a_token-for_tests"
CHAT = {"id": 42, "type": "private", "first_name": "Ada"}
ADA = {"id": 42, "is_bot": False, "first_name": "Ada"}
BOT = {"id": 4242, "is_bot": True, "first_name": "Keeper", "username": "keeper_bot"}

DOWNLOAD_BYTES = 20 << 20
UPLOAD_BYTES = 50 << 20
PHOTO_BYTES = 10 << 20
ALBUM = range(2, 11)


@dataclass(frozen=True)
class Sent:
    """What the bot sent: the method, its fields, and the files with name and bytes."""

    method: str
    fields: dict[str, Any]
    files: list[tuple[str, bytes]] = field(default_factory=list)

    @property
    def says(self) -> str:
        """The text, or the caption."""
        album = self.fields.get("media") or [{}]
        return self.fields.get("text") or self.fields.get("caption") or album[0].get("caption", "")


class Refusal(Exception):
    """An answer that is not ok."""

    def __init__(self, code: int, description: str) -> None:
        super().__init__(description)
        self.code = code


class Telegram(Standin):
    """The Bot API, for one bot. Give it updates; read `sent`."""

    def __init__(self) -> None:
        super().__init__(
            [
                Route("/bot{token}/{method}", self._call, methods=["GET", "POST"]),
                Route("/file/bot{token}/{path:path}", self._download),
            ]
        )
        self.sent: list[Sent] = []
        self.confirmed = 0
        """All updates below this number will not be given again."""
        self.calls: Counter[str] = Counter()
        """How often each method was called, and `download`."""
        self.breaks_off = False
        """Whether downloads end after half of the file."""
        self.held: set[str] = set()
        """Methods that are not answered, until they are taken out again."""
        self.holding = 0
        """How many calls are not answered at present."""
        self._updates: list[dict[str, Any]] = []
        self._files: dict[str, tuple[bytes | int, str]] = {}
        self._messages = 1000

    # -- what the tests do

    def give(self, *messages: dict[str, Any], first: int | None = None) -> list[dict[str, Any]]:
        """Have the bot get messages, at once; return the updates."""
        with self.changed:
            number = first or self._next_update()
            updates = []
            for place, message in enumerate(messages):
                updates.append({"update_id": number + place, "message": self._message(**message)})
            self._updates += updates
            self.changed.notify_all()
        return updates

    def give_again(self, updates: list[dict[str, Any]]) -> None:
        """Have the bot get the same messages once more, as after a confirmation that was lost."""
        with self.changed:
            number = self._next_update()
            self._updates += [{**it, "update_id": number + n} for n, it in enumerate(updates)]
            self.changed.notify_all()

    def file(self, data: bytes | int, path: str, *, told: bool = True, **more: Any) -> dict[str, Any]:
        """Keep a file, or one of so many bytes that nobody gets; return what a message says."""
        file_id = secrets.token_urlsafe(24)
        self._files[file_id] = data, path
        size = {"file_size": data if isinstance(data, int) else len(data)} if told else {}
        return {"file_id": file_id, "file_unique_id": file_id[:12], **size, **more}

    def photo(self, data: bytes, **more: Any) -> list[dict[str, Any]]:
        """Return what a message says of a photo: two sizes of it."""
        small = self.file(b"not the size that is wanted", "photos/thumb.jpg", width=90, height=60)
        return [small, self.file(data, "photos/file_1.jpg", width=960, height=640, **more)]

    # -- the API

    async def _call(self, request: Request) -> Response:
        try:
            if request.path_params["token"] != TOKEN:
                raise Refusal(401, "Unauthorized")
            if int(request.headers.get("content-length", 0)) > UPLOAD_BYTES:
                async for _ in request.stream():  # a client that still sends would not hear the answer
                    pass
                raise Refusal(413, "Request Entity Too Large")
            method = request.path_params["method"]
            fields, files = await read_call(request)
            self._count(method)
            await self._hold(method, request)
            if method.startswith("send") and method != "sendChatAction":
                result = self._send(method, fields, files)
            else:
                known = {
                    "getMe": self._get_me,
                    "getUpdates": self._get_updates,
                    "getFile": self._get_file,
                    "deleteWebhook": self._agree,
                    "sendChatAction": self._agree,
                }
                if method not in known:
                    raise Refusal(404, "Not Found: method not found")
                result = await known[method](fields)
        except Refusal as refusal:
            body = {"ok": False, "error_code": refusal.code, "description": str(refusal)}
            return JSONResponse(body, refusal.code)
        return JSONResponse({"ok": True, "result": result})

    def _count(self, method: str) -> None:
        with self.changed:
            self.calls[method] += 1
            self.changed.notify_all()

    async def _hold(self, method: str, request: Request) -> None:
        if method in self.held:
            with self.changed:
                self.holding += 1
                self.changed.notify_all()
            try:
                while method in self.held and not self.stopping:
                    await asyncio.sleep(0.01)
                    if await request.is_disconnected():
                        raise Refusal(499, "the bot has gone")
            finally:
                with self.changed:
                    self.holding -= 1
                    self.changed.notify_all()

    async def _agree(self, _: dict[str, Any]) -> bool:
        return True

    async def _get_me(self, _: dict[str, Any]) -> dict[str, Any]:
        return {
            **BOT,
            "can_join_groups": True,
            "can_read_all_group_messages": False,
            "supports_inline_queries": False,
        }

    async def _get_updates(self, asked: dict[str, Any]) -> list[dict[str, Any]]:
        """Confirm the updates below the offset, and give the others; wait for some if there are none."""
        offset = int(asked.get("offset", 0))
        ends = time.monotonic() + float(asked.get("timeout", 0))
        while True:
            with self.changed:
                self.confirmed = max(self.confirmed, offset)
                self.changed.notify_all()
                found = [it for it in self._updates if it["update_id"] >= self.confirmed]
            if found or self.stopping or time.monotonic() >= ends:
                return found[: int(asked.get("limit", 100))]
            await asyncio.sleep(0.01)

    async def _get_file(self, asked: dict[str, Any]) -> dict[str, Any]:
        file_id = asked.get("file_id", "")
        if file_id not in self._files:
            raise Refusal(400, "Bad Request: invalid file_id")
        data, path = self._files[file_id]
        size = data if isinstance(data, int) else len(data)
        if size > DOWNLOAD_BYTES:
            raise Refusal(400, "Bad Request: file is too big")
        path = f"{file_id}/{path}"
        return {"file_id": file_id, "file_unique_id": file_id[:12], "file_size": size, "file_path": path}

    async def _download(self, request: Request) -> Response:
        data, _ = self._files.get(request.path_params["path"].partition("/")[0], (None, ""))
        if request.path_params["token"] != TOKEN or not isinstance(data, bytes):
            return JSONResponse({"ok": False, "error_code": 404, "description": "Not Found"}, 404)
        self._count("download")
        if self.breaks_off:
            half = iter([data[: len(data) // 2]])
            return StreamingResponse(half, headers={"content-length": str(len(data))})
        return Response(data, media_type="application/octet-stream")

    def _send(self, method: str, fields: dict[str, Any], files: "Files") -> Any:
        if str(fields.get("chat_id")) != str(CHAT["id"]):
            raise Refusal(400, "Bad Request: chat not found")
        kind = method.removeprefix("send").lower()
        media = fields.get("media", []) if kind == "mediagroup" else [{"type": kind, "media": kind}]
        if kind == "message":
            if not fields.get("text"):
                raise Refusal(400, "Bad Request: message text is empty")
            media = []
        elif kind == "mediagroup" and len(media) not in ALBUM:
            raise Refusal(400, "Bad Request: there must be 2 to 10 media in an album")
        sent = []
        for it in media:
            name = str(fields.get(kind) or it["media"]).removeprefix("attach://")
            filename, data = files.get(name) or files.get(kind) or ("", b"")
            if not data:
                raise Refusal(400, f"Bad Request: there is no {it['type']} in the request")
            if it["type"] == "photo" and len(data) > PHOTO_BYTES:
                raise Refusal(
                    400,
                    f"Bad Request: file of size {len(data)} bytes is too big for a photo; "
                    f"the maximum size is {PHOTO_BYTES} bytes",
                )
            sent.append((filename, data))
        with self.changed:
            self.sent.append(Sent(method, fields, sent))
            text = {"text": fields["text"]} if kind == "message" else {}
            made = [self._message(**text, sender=BOT) for _ in media or [None]]
            self.changed.notify_all()
        return made if kind == "mediagroup" else made[0]

    def _message(self, sender: dict[str, Any] = ADA, **content: Any) -> dict[str, Any]:
        self._messages += 1
        when = {"message_id": self._messages, "date": int(time.time())}
        return {**when, "chat": CHAT, "from": sender, **content}

    def _next_update(self) -> int:
        return self._updates[-1]["update_id"] + 1 if self._updates else 7001


Files = dict[str, tuple[str, bytes]]
"""Names and bytes, by the name of the field."""


async def read_call(request: Request) -> tuple[dict[str, Any], Files]:
    """Return the fields of a call, which may be a query, a form or JSON, and the files in it."""
    fields: dict[str, Any] = dict(request.query_params)
    files: Files = {}
    if request.headers.get("content-type", "").startswith("application/json"):
        return fields | await request.json(), files
    async with request.form(max_part_size=UPLOAD_BYTES) as form:
        for name, value in form.items():
            if isinstance(value, UploadFile):
                files[name] = value.filename or "", await value.read()
            else:
                fields[name] = value
    if "media" in fields:
        fields["media"] = json.loads(fields["media"])
    return fields, files
