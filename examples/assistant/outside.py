"""What is outside of the assistant, over HTTP: the API of the model, and the chat platform.

It can lose a worker on purpose: one that is named in `blows` is killed when it comes with that request,
which is then never answered. So it dies in the middle of its work, and not somewhere near it.
"""

import http.client
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from os import getpid
from types import TracebackType
from typing import Any, Self

from examples.assistant import model
from examples.assistant.queues import Message

from mediakeep.intake.data_urls import parse_data_url

TIMEOUT_SECONDS = 60.0

THINKING = "thinking"
"""Blow: when the model is asked again, after its tools have made what it called for."""
SENDING = "sending"
"""Blow: when the reply has come to the platform, before the worker hears of that."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A reply as the user sees it: its text, and each medium as its content type and bytes."""

    chat: str
    text: str
    media: tuple[tuple[str, bytes], ...]


@dataclass(slots=True)
class Outside:
    """The server, and what it has seen. `kill` is told process, blow, chat and message."""

    kill: Callable[[int, str, str, str], None]
    blows: set[tuple[str, str]] = field(default_factory=set)
    shown: dict[str, Shown] = field(default_factory=dict)
    sends: int = 0
    requests: int = 0
    pictures: int = 0
    voices: int = 0
    wrong: list[str] = field(default_factory=list)
    _server: ThreadingHTTPServer = field(init=False)
    _thread: threading.Thread = field(init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._server.server_address[1]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def serve(self, path: str, body: dict[str, Any]) -> dict[str, Any] | None:
        """Return the answer to a request, or None if there is nobody any more to answer."""
        return self._think(body) if path == "/model" else self._show(body)

    def _think(self, body: dict[str, Any]) -> dict[str, Any] | None:
        messages = body["messages"]
        seen = model.look_at(messages)
        with self._lock:
            self.requests += 1
            self.pictures += seen.pictures
            self.voices += seen.voices
            self.wrong += seen.wrong
        has_results = messages[-1]["content"][0]["type"] == "tool_result"
        if has_results and self._strike(body, THINKING):
            return None
        return model.answer(messages)

    def _show(self, body: dict[str, Any]) -> dict[str, Any] | None:
        found = [parse_data_url(url) for url in body["media"]]
        shown = Shown(body["chat"], body["text"], tuple((it.content_type, it.data) for it in found))
        with self._lock:
            self.sends += 1
            self.shown.setdefault(body["key"], shown)
        return None if self._strike(body, SENDING) else {}

    def _strike(self, body: dict[str, Any], where: str) -> bool:
        message = body["key"].removesuffix(":reply")
        with self._lock:
            if (message, where) not in self.blows:
                return False
            self.blows.remove((message, where))
        self.kill(body["by"], where, body["chat"], message)
        return True


class Line:
    """A worker's line to the outside."""

    def __init__(self, port: int) -> None:
        self._port = port

    def ask(self, message: Message, messages: list[Any]) -> dict[str, Any]:
        """Send the conversation to the model, and return what it says."""
        about = {"key": message.id, "chat": message.chat}
        return self._post("/model", {**about, "messages": messages})

    def send(self, message: Message, text: str, media: list[str]) -> None:
        """Send a reply to the platform, with its media as data URLs."""
        about = {"key": message.id, "chat": message.chat}
        self._post("/send", {**about, "text": text, "media": media})

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        line = http.client.HTTPConnection("127.0.0.1", self._port, timeout=TIMEOUT_SECONDS)
        try:
            line.request("POST", path, json.dumps({**body, "by": getpid()}))
            return json.loads(line.getresponse().read())
        finally:
            line.close()


def _handler(outside: Outside) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer = outside.serve(self.path, body)
            if answer is not None:
                data = json.dumps(answer).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Say nothing: the timeline does."""

    return Handler
