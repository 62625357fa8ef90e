"""A real server for the tests: in a thread of this process, or in a process of its own."""

import asyncio
import os
import re
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import httpx2
import uvicorn

from mediakeep import MediaStore, open_store
from mediakeep.http import ServerConfig, Tokens, create_app
from mediakeep.http.connection import options

DEADLINE = 20.0


class Served:
    """A store that is being served, and what the tests ask it with."""

    def __init__(self, store: MediaStore, config: ServerConfig) -> None:
        self.store = store
        self.config = config
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.server = uvicorn.Server(uvicorn.Config(create_app(store, config), **options(config)))
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.client = httpx2.Client(base_url=self.url, timeout=DEADLINE, trust_env=False)

    def _run(self) -> None:
        asyncio.run(self.server.serve(sockets=[self._listener]))

    def start(self) -> None:
        self._thread.start()
        assert self.client.get("/healthz").status_code == 200

    def stop(self) -> None:
        self.client.close()
        self.server.should_exit = True
        self._thread.join(DEADLINE)
        assert not self._thread.is_alive(), "the server does not stop"

    @property
    def tokens(self) -> Tokens:
        folder = self.config.state_folder()
        assert folder is not None
        return Tokens(folder / "tokens.json")

    def token(self, *scopes: str, can: str = "read,write,release", **more: Any) -> dict[str, str]:
        """Make a token; return the header that shows it."""
        text, _ = self.tokens.create(scopes, can.split(","), **more)
        return bearer(text)

    def put(self, data: bytes = b"hello", scope: str = "t", **more: Any) -> str:
        """Put bytes through the server; return the id."""
        headers = {
            "content-type": more.pop("type", "application/octet-stream"),
            **more.pop("headers", {}),
        }
        answer = self.client.post(
            "/v1/media", params={"scope": scope, **more}, content=data, headers=headers
        )
        assert answer.status_code == 201, answer.text
        return answer.json()["id"]

    def get(self, media_id: str, headers: dict[str, str] | None = None, **query: str) -> httpx2.Response:
        return self.client.get(f"/v1/media/{media_id}", headers=headers or {}, params=query)

    def connect(self) -> socket.socket:
        """Return a bare connection, for what no client library would send."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE)


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


@contextmanager
def serving(folder: Path, *, where: str | None = None, **settings: Any) -> Iterator[Served]:
    """Serve a new store in `folder`, with those settings of the server; or one `where` it is said."""
    names = ("clock", "import_roots", "limits")
    of_store = {name: settings.pop(name) for name in names if name in settings}
    if where is None:
        of_store |= {"fsync": False}
    if "blobs" in settings:
        of_store |= {"blobs": settings["blobs"], "timeout": 1.0}
    config = ServerConfig(store=where or str(folder / "store"), **settings)
    with open_store(config.store, **of_store) as store:
        served = Served(store, config)
        served.start()
        try:
            yield served
        finally:
            served.stop()


class Process:
    """`mediakeep serve` as a process."""

    def __init__(self, process: "subprocess.Popen[str]", log: IO[str], url: str) -> None:
        self.process = process
        self._log = log
        self.url = url
        self.port = int(url.rpartition(":")[2])

    def stop(self, number: int = signal.SIGTERM) -> str:
        """Send a signal, wait for the end, and return the log."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        self.process.wait(DEADLINE)
        self._log.seek(0)
        return self._log.read()


@contextmanager
def running(*arguments: str | Path, **environment: str) -> Iterator[Process]:
    """Run `mediakeep serve` with a free port."""
    # The log goes into a file: a pipe that nobody reads would stop the server once it is full.
    with (
        tempfile.TemporaryFile("w+") as log,
        subprocess.Popen(
            [sys.executable, "-m", "mediakeep", "serve", "--port", "0", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=log,
            env={**os.environ, **environment},
            text=True,
        ) as process,
    ):
        assert process.stdout is not None
        try:
            ready, _, _ = select.select([process.stdout], [], [], DEADLINE)
            line = process.stdout.readline() if ready else ""
            found = re.search(r"http://\S+", line)
            if found is None:
                process.kill()
                log.seek(0)
                raise AssertionError(f"the server did not start: {line}{log.read()}")
            yield Process(process, log, found[0])
        finally:
            if process.poll() is None:
                process.kill()


def peak_memory(pid: int) -> int:
    """Return the most that a process has had in memory so far, in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
