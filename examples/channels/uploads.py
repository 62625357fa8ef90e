"""A web chat, with FastAPI or Starlette: upload files as a form, fetch the answer and its files.

    pip install "mediakeep[aio,images]" fastapi python-multipart uvicorn
    uvicorn uploads:app                     # or uploads:starlette_app
    curl -F text=hello -F files=@photo.jpg -H "Idempotency-Key: 1" http://127.0.0.1:8000/chats/7/messages

`agent.py` is beside it. `MEDIA_STORE` names another store than ./media. An answer names the paths of its
files; each is fetched once and ends then, or after ten minutes. Who may speak in which chat is for your
own code to say.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from agent import Agent, Answer, Message, open_media, scope_of
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from mediakeep import MediaMeta, TooLarge, UnknownRef

TAKES = 20_000_000  # bytes of a file, by the limits of the store
FORM_BYTES = 50_000_000  # of a request, all of which the framework writes to temporary files
FETCH_WITHIN = timedelta(minutes=10)

Answers = dict[str, asyncio.Future[dict[str, Any]]]


class WebChat:
    """Brings uploads to the agent, and keeps its answers until they are fetched."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._store = agent.store
        self._answers: Answers = {}

    async def receive(self, request: Request) -> Response:
        """Take a form with a text and files; return the answer, which a second try gets too."""
        check_length(request)
        message = request.headers.get("idempotency-key") or str(uuid4())
        scope = scope_of("web", request.path_params["chat"], message)
        async with self._agent.first_time(scope) as first:
            if first:
                await self._take(request, scope)
        if scope not in self._answers:
            raise HTTPException(409, "this message is on its way already, or was answered long ago")
        # A client that goes away must not take the answer from one that tries again.
        return JSONResponse(await asyncio.shield(self._answers[scope]))

    async def _take(self, request: Request, scope: str) -> None:
        async with request.form() as form, self._store.scope(scope) as turn:
            files = [it for it in form.getlist("files") if isinstance(it, UploadFile)]
            try:
                refs = [await turn.put(it, meta_of(it)) for it in files]
            except TooLarge:
                most = f"{TAKES // 1_000_000} MB"
                raise HTTPException(413, f"I can take files of up to {most} only") from None
            answered = asyncio.get_running_loop().create_future()
            reply = partial(self._reply, scope, answered)
            await self._agent.hand_over(Message(scope, str(form.get("text", "")), refs, reply))
            self._answers[scope] = answered

    async def _reply(self, scope: str, answered: asyncio.Future, answer: Answer) -> None:
        """Share the files of an answer into a scope where they wait to be fetched."""
        try:
            files = [await self._keep(ref, f"{scope}:answer") for ref in answer.refs]
            answered.set_result({"text": answer.text, "files": files})
        except BaseException:
            answered.set_exception(HTTPException(500, "the answer could not be kept"))
            raise
        finally:
            forget = partial(self._answers.pop, scope, None)
            asyncio.get_running_loop().call_later(FETCH_WITHIN.total_seconds(), forget)

    async def _keep(self, ref: str, scope: str) -> dict[str, str]:
        waiting = await self._store.share(ref, scope, ttl=FETCH_WITHIN)
        meta = (await self._store.entry(waiting)).meta
        path = f"/files/{waiting.removeprefix('media://')}"
        return {"path": path, "filename": meta.filename, "type": meta.content_type}

    async def fetch(self, request: Request) -> Response:
        """Send a file of an answer as a stream. When all of it has gone out it ends."""
        ref = f"media://{request.path_params['file']}"
        try:
            entry = await self._store.entry(ref)
        except UnknownRef as error:
            raise HTTPException(404, f"this file {error.reason}") from None
        if not entry.scope.startswith("web:"):  # its name was guessed, which nobody can, or leaked
            raise HTTPException(404)
        name = quote(entry.meta.filename or "answer", safe="")
        headers = {
            "content-disposition": f"attachment; filename*=UTF-8''{name}",  # RFC 6266, RFC 8187
            "content-length": str(entry.size),
            "x-content-type-options": "nosniff",
        }
        kind = entry.meta.content_type or "application/octet-stream"
        return StreamingResponse(self._once(ref), media_type=kind, headers=headers)

    async def _once(self, ref: str) -> AsyncIterator[bytes]:
        async for chunk in self._store.stream(ref):
            yield chunk
        await self._store.release(ref)  # not if it broke off: then it can be fetched again


def check_length(request: Request) -> None:
    """Refuse a form that is too large before any of it is read."""
    length = request.headers.get("content-length", "")
    if not length.isdecimal():
        raise HTTPException(411, "say how many bytes you send, in Content-Length")
    if int(length) > FORM_BYTES:
        raise HTTPException(413, f"I can take {FORM_BYTES // 1_000_000} MB at a time")


def meta_of(file: UploadFile) -> MediaMeta:
    """Return what the client declares of a file."""
    return MediaMeta(file.filename or "", file.content_type or "", "web")


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    """Open the store and run the agent for as long as the application runs."""
    async with open_media(TAKES) as store:
        await store.start()
        async with Agent(store) as agent:
            app.state.chat = WebChat(agent)
            yield


async def receive(request: Request) -> Response:
    """Take a message."""
    return await request.app.state.chat.receive(request)


async def fetch(request: Request) -> Response:
    """Send a file."""
    return await request.app.state.chat.fetch(request)


app = FastAPI(lifespan=lifespan)
app.add_api_route("/chats/{chat}/messages", receive, methods=["POST"])
app.add_api_route("/files/{file}", fetch, methods=["GET"])

starlette_app = Starlette(
    lifespan=lifespan,
    routes=[
        Route("/chats/{chat}/messages", receive, methods=["POST"]),
        Route("/files/{file}", fetch, methods=["GET"]),
    ],
)
