"""What each extra gives, done once on real data."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import urllib.request
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path
from uuid import uuid4

MEDIA = Path(__file__).parents[2] / "examples" / "media"
PHOTO = MEDIA / "photo.jpg"
PDF = MEDIA / "invoice.pdf"
HEIC = Path(__file__).parents[1] / "data" / "pictures" / "turned.heic"
SECONDS = 120


def core() -> None:
    """Stores in a folder and in memory, with messages and data URLs."""
    import mediakeep
    from mediakeep import MediaMeta, RefReleased, open_store
    from mediakeep.intake import sniff
    from mediakeep.messages import externalize, inline

    assert mediakeep.__version__ == version("mediakeep")
    for where in ("store", "memory:"):
        with open_store(where) as store, store.scope("chat:1") as scope:
            ref = scope.put(PHOTO, MediaMeta(filename="photo.jpg"))
            assert store.entry(ref).meta.content_type == "image/jpeg"
            message = {"type": "image_url", "image_url": {"url": store.data_url(ref)}}
            kept = externalize(message, store, "chat:1")
            assert kept["image_url"]["url"].startswith("media://")
            assert inline(kept, store, provider="data-url") == message
            path = store.resolve(ref)
            with store.lease(ref) as media:
                assert media.path.read_bytes() == PHOTO.read_bytes()
            assert store.reconcile().clean
            scope.close()
            try:
                store.resolve(ref)
            except RefReleased:
                pass
            else:
                raise AssertionError("the scope has ended, and its ref has not")
            assert not path.exists()
    assert sniff(HEIC.read_bytes()[:4096]).content_type == "image/heic"


def cli() -> None:
    """The command, as it is installed, and as a module."""
    command = Path(sys.executable).with_name("mediakeep")

    def run(*arguments: str) -> str:
        done = subprocess.run([*arguments], capture_output=True, text=True, timeout=SECONDS)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert run(str(command), "--version").split()[-1] == version("mediakeep")
    assert "--store" in run(sys.executable, "-m", "mediakeep", "--help")
    ref = run(str(command), "put", str(PHOTO), "--scope", "chat:1", "--store", "store").strip()
    path = Path(run(str(command), "resolve", ref, "--store", "store").strip())
    assert path.read_bytes() == PHOTO.read_bytes()
    assert json.loads(run(str(command), "ls", "--json", "--store", "store"))
    run(str(command), "release", "chat:1", "--store", "store")
    assert not path.exists()
    run(str(command), "check", "--store", "store")


def client() -> None:
    """A store behind the server that SMOKE_SERVER names."""
    _use(os.environ["SMOKE_SERVER"])


def download() -> None:
    """A photo from a web server."""
    from mediakeep import open_store
    from mediakeep.intake import AddressRefused
    from mediakeep.intake import download as fetch

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=MEDIA)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/photo.jpg"
        with open_store("memory:") as store:
            ref = fetch(url, store, "chat:1", allow_private=True)
            assert store.read_bytes(ref) == PHOTO.read_bytes()
            try:
                fetch(url, store)
            except AddressRefused:
                pass
            else:
                raise AssertionError("a private address was asked")
        server.shutdown()


def aio() -> None:
    """The asynchronous store."""
    from mediakeep import open_store
    from mediakeep.aio import AsyncMediaStore

    async def use() -> None:
        async with AsyncMediaStore(open_store("store")) as store:
            ref = await store.put(PHOTO, scope="chat:1")
            async with store.lease(ref) as media:
                assert media.path.stat().st_size == PHOTO.stat().st_size
            assert b"".join([piece async for piece in store.stream(ref)]) == PHOTO.read_bytes()
            await store.release_all("chat:1")

    asyncio.run(use())


def images() -> None:
    """Small copies of a JPEG and a HEIC, and a picture made to fit."""
    from mediakeep.images import ImageRules, fitted, thumbnail

    for picture in (PHOTO, HEIC):
        assert 100 < len(thumbnail(picture, 64)) < 10_000
    rules = ImageRules(frozenset({"image/jpeg"}), max_edge=200)
    small = fitted(PHOTO, rules)
    assert small is not None
    assert len(small) < PHOTO.stat().st_size


def documents() -> None:
    """The first page of a PDF."""
    from mediakeep.images import poster

    assert 100 < len(poster(PDF, 64)) < 10_000


def postgres() -> None:
    """Books in the database that SMOKE_POSTGRES names."""
    schema = f"smoke_{uuid4().hex}"
    _use(os.environ["SMOKE_POSTGRES"], blobs="bytes", catalog_options={"schema": schema})


def objects() -> None:
    """Bytes in the object store that SMOKE_OBJECTS names, which also tells of uploads cut off."""
    options = json.loads(os.environ["SMOKE_OBJECTS"])
    _use("store", blobs=f"s3://media/{uuid4().hex}", blob_options={**options, "cache": "cache"})


def server() -> None:
    """The server, its API, dashboard and numbers, in a process of its own."""
    with _serving() as url:
        assert json.loads(_ask(f"{url}/healthz")) == {"status": "ok"}
        stored = json.loads(_ask(f"{url}/v1/media?scope=chat:1", PHOTO.read_bytes()))
        assert _ask(f"{url}/v1/media/{stored['id']}") == PHOTO.read_bytes()
        page = _ask(f"{url}/").decode()
        assert "<html" in page
        styles = next(it for it in page.split('"') if it.startswith("/static/") and it.endswith(".css"))
        assert _ask(url + styles)
        assert b"mediakeep_refs 1.0" in _ask(f"{url}/metrics")
        assert json.loads(_ask(f"{url}/v1/openapi.json"))["info"]["version"] == version("mediakeep")


def otel() -> None:
    """A span for a request and for what the store does, beside the extra `server`."""
    from opentelemetry import trace

    begun: list[str] = []

    class Tracer(trace.NoOpTracer):
        def start_as_current_span(self, name, *arguments, **more):
            begun.append(name)
            return super().start_as_current_span(name, *arguments, **more)

    class Provider(trace.TracerProvider):
        def get_tracer(self, *_, **__):
            return Tracer()

    trace.set_tracer_provider(Provider())
    from mediakeep import open_store
    from mediakeep.http import ServerConfig, create_app

    app = create_app(open_store("memory:"), ServerConfig(state="state", sweep_seconds=0), closes=True)
    path = f"/v1/media/{uuid4()}/entry"
    scope = {
        "type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "query_string": b"",
        "headers": [(b"host", b"127.0.0.1")], "http_version": "1.1", "scheme": "http", "root_path": "",
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2), "state": {},
    }  # fmt: skip
    statuses: list[int] = []

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, object]) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    asyncio.run(app(scope, receive, send))
    assert statuses == [404], statuses
    assert {"GET", "mediakeep.look_up"} <= set(begun), begun


def mcp() -> None:
    """A picture saved and looked at by a client of the SDK."""
    from mcp import Client

    from mediakeep import open_store
    from mediakeep.aio import AsyncMediaStore
    from mediakeep.mcp import Bounds, create_server

    async def use() -> None:
        async with AsyncMediaStore(open_store("store")) as store:
            bounds = Bounds(scope="chat:1", roots=[MEDIA])
            async with Client(create_server(store, bounds)) as asking:
                saved = await asking.call_tool("save_media", {"path": str(PHOTO)})
                ref = saved.structured_content["uri"]
                assert await store.read_bytes(ref) == PHOTO.read_bytes()
                assert (await asking.list_resources()).resources[0].uri == ref

    asyncio.run(use())


def pydantic_ai() -> None:
    """A snapshot's medium by its hash, and a history without bytes."""
    from pydantic_ai.messages import BinaryContent, ModelRequest, UserPromptPart

    from mediakeep import open_store
    from mediakeep.integrations.pydantic_ai import HarnessMedia, externalize_history, inline_history

    with open_store("store") as store:
        media = HarnessMedia(store, "chat:1")

        async def use() -> None:
            uri = await media.put(PHOTO.read_bytes())
            assert await media.get(uri) == PHOTO.read_bytes()

        asyncio.run(use())
        picture = BinaryContent(PHOTO.read_bytes(), media_type="image/jpeg")
        history = [ModelRequest(parts=[UserPromptPart(["Look", picture])])]
        kept = externalize_history(history, store, "chat:1")
        assert len(repr(kept)) < 2000
        assert inline_history(kept, store)[0].parts[0].content[1].data == picture.data


def agno() -> None:
    """What agno uploads."""
    from mediakeep import open_store
    from mediakeep.integrations.agno import AgnoMedia

    with open_store("store") as store:
        storage = AgnoMedia(store, "chat:1")
        key = storage.upload("one", PHOTO.read_bytes(), mime_type="image/jpeg", filename="photo.jpg")
        assert storage.download(key) == PHOTO.read_bytes()
        assert storage.delete(key)
        assert not storage.exists(key)


def adk() -> None:
    """An artifact saved and loaded."""
    from google.genai import types

    from mediakeep import open_store
    from mediakeep.integrations.adk import AdkArtifacts

    session = {"app_name": "shop", "user_id": "7", "session_id": "42"}
    photo = types.Part.from_bytes(data=PHOTO.read_bytes(), mime_type="image/jpeg")

    async def use(artifacts: AdkArtifacts) -> None:
        assert await artifacts.save_artifact(**session, filename="lake.jpg", artifact=photo) == 0
        found = await artifacts.load_artifact(**session, filename="lake.jpg")
        assert found.inline_data.data == PHOTO.read_bytes()

    with open_store("store") as store:
        asyncio.run(use(AdkArtifacts(store)))


def langchain() -> None:
    """Messages, and a graph whose checkpoints hold refs."""
    import base64

    from langchain_core.messages import AIMessage, HumanMessage
    from langgraph.checkpoint.memory import InMemorySaver
    from langgraph.graph import START, MessagesState, StateGraph

    from mediakeep import open_store
    from mediakeep.integrations.langchain import externalize_messages, inline_messages
    from mediakeep.integrations.langgraph import MediaCheckpointer, thread_scope

    data = base64.b64encode(PHOTO.read_bytes()).decode()
    question = HumanMessage([{"type": "image", "base64": data, "mime_type": "image/jpeg"}])
    with open_store("store") as store:
        kept = externalize_messages([question], store, "chat:1")
        assert inline_messages(kept, store) == [question]
        graph = StateGraph(MessagesState)
        graph.add_node("answer", lambda state: {"messages": [AIMessage("I see")]})
        graph.add_edge(START, "answer")
        chat = graph.compile(checkpointer=MediaCheckpointer(InMemorySaver(), store))
        chat.invoke({"messages": [question]}, {"configurable": {"thread_id": "7"}})
        assert [it.size for it in store.entries(thread_scope("7"))] == [PHOTO.stat().st_size]


WORKS = {
    "core": core,
    "adk": adk,
    "agno": agno,
    "aio": aio,
    "cli": cli,
    "client": client,
    "download": download,
    "documents": documents,
    "images": images,
    "langchain": langchain,
    "mcp": mcp,
    "objects": objects,
    "otel": otel,
    "postgres": postgres,
    "pydantic-ai": pydantic_ai,
    "server": server,
}


# -- what they share


def _use(where: str, **options: object) -> None:
    """Put, read, lease, share and release, in a store of any kind."""
    from mediakeep import MediaMeta, UnknownRef, open_store

    with open_store(where, **options) as store:
        scope = f"smoke:{uuid4().hex}"
        ref = store.put(PHOTO, MediaMeta(filename="photo.jpg"), scope)
        assert store.read_bytes(ref) == PHOTO.read_bytes()
        with store.lease(ref) as media:
            assert media.path.stat().st_size == PHOTO.stat().st_size
        kept = store.share(ref, f"{scope}:kept")
        store.release(ref)
        assert store.read_bytes(kept) == PHOTO.read_bytes()
        if not where.startswith("http"):
            assert store.reconcile().clean
        store.release_all(scope, nested=True)
        try:
            store.read_bytes(kept)
        except UnknownRef:
            return
    raise AssertionError("the scope has ended, and its ref has not")


_SERVE = """
from mediakeep.http import ServerConfig, serve
serve(ServerConfig(store="store", port=0), ready=lambda address: print(address, flush=True))
"""


@contextmanager
def _serving():
    with open("log", "wb") as log:
        process = subprocess.Popen([sys.executable, "-c", _SERVE], stdout=subprocess.PIPE, stderr=log)
    with process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().decode().strip()
            assert address, Path("log").read_text()
            yield address
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS) in (0, -signal.SIGTERM), Path("log").read_text()


def _ask(url: str, body: bytes | None = None) -> bytes:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(urllib.request.Request(url, body), timeout=SECONDS) as answer:
        return answer.read()
