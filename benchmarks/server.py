"""The server, asked over loopback by wrk, against Starlette's file response, nginx, and a bare `put`.

All servers have one worker and write no line for each request. Ours does what it does when it is served:
it checks a token, looks the ref up, and counts. The others know neither tokens nor refs.

`python -m benchmarks.server PORT FOLDER` runs the peer.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from pathlib import Path

from benchmarks.measure import ROOT, Line, Scale, fresh, fresh_place, interleaved, per_call, scratch
from mediakeep import MediaMeta, open_store
from mediakeep.http import Tokens

FILE, PART, SMALL, LARGE = 200_000, 64_000, 1_000, 64 << 20
CLIENTS, UPLOADERS, POLITE = 8, 8, 2
SECONDS, LONG_SECONDS = 2, 4
PUTS = 200
PATIENCE_SECONDS = 30.0
MISSING = "apt-get install wrk nginx-light"

_UPLOAD = """
local count = 0
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/octet-stream"
local tag, rest
function init(args) tag = args[1]; rest = string.rep("x", tonumber(args[2]) - 32) end
function request()
  count = count + 1
  return wrk.format(nil, nil, nil, string.format("%16s%16d", tag, count) .. rest)
end
"""
_NGINX = """
user root; daemon off; master_process off; pid {folder}/nginx.pid; error_log stderr crit;
events {{ worker_connections 256; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000000; default_type image/jpeg;
  server {{ listen 127.0.0.1:{port}; location / {{ root {folder}; }} }}
}}
"""


# -- the servers


class Address:
    """A server that can be asked: its port, a path, and the header fields that it wants to see."""

    def __init__(self, port: int, path: str = "/", *headers: str) -> None:
        self.port = port
        self.path = path
        self.headers = headers

    def at(self, path: str, *headers: str) -> "Address":
        return Address(self.port, path, *self.headers, *headers)

    def ask(self, method: str, body: bytes | None = None) -> tuple[int, dict[str, str], bytes]:
        asking = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_SECONDS)
        try:
            asking.request(method, self.path, body, dict(it.split(": ", 1) for it in self.headers))
            answer = asking.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        finally:
            asking.close()


@contextmanager
def ours(folder: Path) -> Iterator[tuple[Address, Address]]:
    """Serve a store in `folder` with one file; give the server, and the path of the file."""
    place = folder / "served"
    with open_store(place) as store:
        ref = store.put(os.urandom(FILE), MediaMeta("photo.jpg", "image/jpeg"), "telegram:1")
    token, _ = Tokens(place / "server" / "tokens.json").create(["*"], ["read", "write", "release"])
    port = _free_port()
    (folder / "server.toml").write_text(
        "requests_per_second = 0\nsweep_seconds = 0\naccess_log = false\n"
    )
    command = ["mediakeep", "serve", "--store", str(place), "--port", str(port)]
    with _running(["-m", *command, "--config", str(folder / "server.toml")], port):
        server = Address(port, "/", f"Authorization: Bearer {token}")
        yield server, server.at(f"/v1/media/{ref.removeprefix('media://')}")


@contextmanager
def starlette(folder: Path) -> Iterator[Address]:
    """Run Starlette's file response, and an empty one, under the uvicorn that runs ours."""
    (folder / "photo.jpg").write_bytes(os.urandom(FILE))
    port = _free_port()
    with _running(["-m", "benchmarks.server", str(port), str(folder)], port):
        yield Address(port)


def run_peer(port: int, folder: str) -> None:
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import FileResponse, Response
    from starlette.routing import Route

    async def file(_: Request) -> FileResponse:
        return FileResponse(f"{folder}/photo.jpg", media_type="image/jpeg")

    async def empty(_: Request) -> Response:
        return Response(status_code=304)

    app = Starlette(routes=[Route("/photo.jpg", file), Route("/empty", empty)])
    uvicorn.run(app, port=port, access_log=False, log_level="error")


@contextmanager
def nginx(folder: Path) -> Iterator[Address]:
    folder.mkdir()
    folder.chmod(0o755)
    (folder / "photo.jpg").write_bytes(os.urandom(FILE))
    port = _free_port()
    (folder / "nginx.conf").write_text(_NGINX.format(folder=folder, port=port))
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    with _running(["-p", str(folder), "-c", str(folder / "nginx.conf")], port, program):
        yield Address(port, "/photo.jpg")


@contextmanager
def _running(arguments: list[str], port: int, program: str = sys.executable) -> Iterator[None]:
    with subprocess.Popen(
        [program, *arguments], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            until = time.monotonic() + PATIENCE_SECONDS
            while not _takes(port):
                if process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError(f"{program} {' '.join(arguments)} does not serve")
                time.sleep(0.02)
            yield
        finally:
            process.terminate()
            process.wait()


def _takes(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


# -- wrk


def wrk(
    address: Address, seconds: int = SECONDS, clients: int = CLIENTS, script: tuple[str, ...] = ()
) -> tuple[float, float]:
    """Ask for so many seconds, each client again as soon as it is answered.

    Returns:
        the seconds of one request of all clients together, and the 99th percentile of those of each.
    """
    command = ["wrk", "-t1", f"-c{clients}", f"-d{seconds}s", "--latency"]
    for field in address.headers:
        command += ["-H", field]
    lua, *arguments = script or ("",)
    command += ["-s", lua] if lua else []
    command += [f"http://127.0.0.1:{address.port}{address.path}", *(["--", *arguments] if lua else [])]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in told or "Socket errors" in told:
        raise RuntimeError(f"wrk was refused: {told}")
    rate = re.search(r"Requests/sec:\s+([0-9.]+)", told)
    slow = re.search(r"99%\s+([0-9.]+)(us|ms|s)", told)
    if rate is None or slow is None:
        raise RuntimeError(f"wrk says nothing that can be read: {told}")
    return 1 / float(rate[1]), float(slow[1]) * {"us": 1e-6, "ms": 1e-3, "s": 1.0}[slow[2]]


def _line(
    what: str, reach: float | None, how: str, ask_ours: Callable[[], float], ask: Callable[[], float],
    rounds: int,
) -> Line:  # fmt: skip
    return Line(f"server: {what}", reach, *interleaved(ask_ours, ask, rounds), how=how)


def _missing(*programs: str) -> bool:
    for name in programs:
        if shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin") is None:
            print(f"server: {name} is not installed: {MISSING}", file=sys.stderr)
            return True
    return False


# -- the lines


def file(scale: Scale) -> Line | None:
    if _missing("wrk"):
        return None
    with scratch() as folder, ours(folder) as (_, photo), starlette(folder) as peer:
        return _line(
            "a file of 200 kB against Starlette's `FileResponse`, time of one",
            1 / 5,
            f"{CLIENTS} connections for {SECONDS} s a round, one worker of uvicorn on both sides",
            lambda: wrk(photo)[0],
            lambda: wrk(peer.at("/photo.jpg"))[0],
            scale.long_rounds,
        )


def against_nginx(scale: Scale) -> Line | None:
    if _missing("wrk", "nginx"):
        return None
    with scratch() as folder, ours(folder) as (_, photo), nginx(folder / "nginx") as peer:
        return _line(
            "a file of 200 kB against nginx, time of one",
            None,
            f"{CLIENTS} connections for {SECONDS} s a round; nginx with one process and sendfile",
            lambda: wrk(photo)[0],
            lambda: wrk(peer)[0],
            scale.long_rounds,
        )


def part(scale: Scale) -> Line | None:
    if _missing("wrk"):
        return None
    asked = f"Range: bytes=70000-{70_000 + PART - 1}"
    with scratch() as folder, ours(folder) as (_, photo), starlette(folder) as peer:
        mine, theirs = photo.at(photo.path, asked), peer.at("/photo.jpg", asked)
        if [len(it.ask("GET")[2]) for it in (mine, theirs)] != [PART, PART]:
            raise RuntimeError("a range is not what was asked for")
        return _line(
            "a range of 64 kB out of 200 kB against Starlette's `FileResponse`, time of one",
            1 / 2,
            f"{CLIENTS} connections for {SECONDS} s a round, one worker of uvicorn on both sides",
            lambda: wrk(mine)[0],
            lambda: wrk(theirs)[0],
            scale.long_rounds,
        )


def not_modified(scale: Scale) -> Line | None:
    if _missing("wrk"):
        return None
    with scratch() as folder, ours(folder) as (_, photo), starlette(folder) as peer:
        known = photo.at(photo.path, f"If-None-Match: {photo.ask('GET')[1]['etag']}")
        if known.ask("GET")[0] != 304:
            raise RuntimeError("the server does not know its own ETag")
        return _line(
            "a 304 against an empty response of Starlette, time of one",
            1 / 0.7,
            f"{CLIENTS} connections for {SECONDS} s a round; the empty one looks at nothing",
            lambda: wrk(known)[0],
            lambda: wrk(peer.at("/empty"))[0],
            scale.long_rounds,
        )


def upload(scale: Scale) -> Line | None:
    if _missing("wrk"):
        return None
    with ExitStack() as stack:
        folder = stack.enter_context(scratch())
        server, _ = stack.enter_context(ours(folder))
        store = stack.enter_context(open_store(fresh_place(folder / "direct") / "store"))
        script = folder / "upload.lua"
        script.write_text(_UPLOAD)
        into = server.at("/v1/media?scope=many")

        def ask() -> float:
            tag = os.urandom(8).hex()
            seconds, _ = wrk(into, SECONDS, CLIENTS, (str(script), tag, str(SMALL)))
            server.at("/v1/scopes/many").ask("DELETE")
            return seconds

        def put() -> float:
            files = [fresh(bytes(SMALL)) for _ in range(PUTS)]
            seconds = per_call(lambda: [store.put(it, scope="many") for it in files], PUTS)
            store.release_all("many")
            return seconds

        return _line(
            "an upload of 1 kB into a folder against a direct `put`, time of one",
            1 / 0.5,
            f"{CLIENTS} connections for {SECONDS} s a round, against {PUTS} in one thread; fsync on",
            ask,
            put,
            scale.long_rounds,
        )


def beside_uploads(scale: Scale) -> Line | None:
    if _missing("wrk"):
        return None
    with scratch() as folder, ours(folder) as (server, photo):
        into = server.at("/v1/media?scope=large")
        small = photo.at(f"{photo.path}/entry")

        def busy() -> float:
            with _uploading(into):
                slow = wrk(small, LONG_SECONDS, POLITE)[1]
            server.at("/v1/scopes/large").ask("DELETE")
            return slow

        return _line(
            "p99 of small requests while 8 clients upload 64 MiB each, against idle",
            10,
            f"entries, {POLITE} connections for {LONG_SECONDS} s a round; whoever has uploaded its 64 "
            "MiB begins again; wrk and the uploading clients are on the same cores as the server",
            busy,
            lambda: wrk(small, LONG_SECONDS, POLITE)[1],
            scale.long_rounds,
        )


@contextmanager
def _uploading(into: Address) -> Iterator[None]:
    """Have clients upload for a block, over and over; no two files are the same."""
    enough = threading.Event()
    failed: list[str] = []
    rest = bytes(LARGE - 32)

    def client() -> None:
        while not enough.is_set():
            status, _, said = into.ask("POST", os.urandom(32) + rest)
            if status != 201:
                failed.append(said.decode())
                return

    threads = [threading.Thread(target=client) for _ in range(UPLOADERS)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        enough.set()
        for thread in threads:
            thread.join()
    if failed:
        raise RuntimeError(f"an upload was refused: {failed[0]}")


LINES: dict[str, Callable[[Scale], Line | None]] = {
    "server.file": file,
    "server.nginx": against_nginx,
    "server.range": part,
    "server.304": not_modified,
    "server.upload": upload,
    "server.beside-uploads": beside_uploads,
}

if __name__ == "__main__":
    run_peer(int(sys.argv[1]), sys.argv[2])
