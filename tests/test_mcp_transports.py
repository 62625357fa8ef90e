"""The command `mediakeep mcp` as a process, asked by the SDK's client over both transports."""

import asyncio
import http.client
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

pytest.importorskip("mcp.server.subscriptions", reason="needs mediakeep[mcp]")
pytest.importorskip("click")

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import ResourceListChangedNotification, ResourceUpdatedNotification

from http_server import running
from mcp_server import COMMAND, serving, started
from mediakeep import MediaMeta, open_store
from mediakeep.cli import main as command

SCOPE = "telegram:42"


@dataclass
class Served:
    """A server over HTTP that all tests may use, with a store that they share."""

    address: str
    place: Path
    room: Path


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    place, room = folder / "store", folder / "room"
    room.mkdir()
    arguments = ("--scope", SCOPE, "--root", room, "--allow-release", "--max-file", "1k")
    with serving("--store", place, *arguments) as server:
        yield Served(server.address, place, room)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def room(tmp_path: Path) -> Path:
    room = tmp_path / "room"
    room.mkdir()
    return room


def links(result) -> list[str]:
    return [it.uri for it in result.content if it.type == "resource_link"]


@pytest.mark.filterwarnings("ignore:resources/subscribe is removed")
@pytest.mark.parametrize("mode", ["auto", "legacy"])
@pytest.mark.parametrize("transport", ["stdio", "http"])
def test_media_are_saved_read_watched_and_released(transport, mode, place, room, request):
    told, changed = [], asyncio.Event()

    async def hear(message) -> None:
        told.append(message)
        if isinstance(message, ResourceListChangedNotification):
            changed.set()

    @asynccontextmanager
    async def clients():
        options = {"mode": mode, "message_handler": hear, "read_timeout_seconds": 30.0}
        if transport == "http":
            served = request.getfixturevalue("served")
            async with Client(served.address, **options) as client:
                yield client, served.place, served.room
        else:
            arguments = ("--store", place, "--scope", SCOPE, "--root", room, "--allow-release")
            async with Client(started(*arguments), **options) as client:
                yield client, place, room

    async def main():
        async with clients() as (client, place, room):
            name = f"{mode}.txt"
            (room / name).write_bytes(b"hello")
            (ref,) = links(await client.call_tool("save_media", {"path": name}))
            assert ref in [it.uri for it in (await client.list_resources()).resources]
            assert (await client.read_resource(ref)).contents[0].text == "hello"
            async with asyncio.timeout(60):
                await _see_the_end(client, ref, place)
            ended = await client.call_tool("release_media", {"ref": ref})
            assert "was released" in ended.content[0].text

    async def _see_the_end(client, ref, place) -> None:
        if mode == "legacy":
            assert client.server_capabilities.resources.subscribe
            assert client.server_capabilities.resources.list_changed
            await client.subscribe_resource(ref)
            changed.clear()
            await asyncio.to_thread(release_elsewhere, place, ref)
            await changed.wait()
            assert [it.params.uri for it in told if isinstance(it, ResourceUpdatedNotification)] == [ref]
        else:
            async with client.listen(resource_subscriptions=[ref]) as events:
                await asyncio.to_thread(release_elsewhere, place, ref)
                assert (await anext(aiter(events))).uri == ref

    asyncio.run(main())


def release_elsewhere(place: Path, ref: str) -> None:
    with open_store(place, fsync=False) as store:
        assert store.release(ref)


# -- upload links


def put(url: str, data: bytes, **headers: str) -> tuple[int, str]:
    request = urllib.request.Request(url, data, headers, method="PUT")
    try:
        with urllib.request.urlopen(request, timeout=60) as found:
            return found.status, found.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


TOO_LARGE = b"x" * 1001


async def upload_link(client, **said: str) -> str:
    return (await client.call_tool("make_upload_link", said)).structured_content["url"]


def test_an_upload_link_takes_one_file_and_no_other(served):
    async def main():
        async with Client(served.address) as client:
            return await upload_link(client, filename="up.txt", scope=f"{SCOPE}:7")

    url = asyncio.run(main())
    form = {"content-type": "multipart/form-data"}
    answers = [put(url, TOO_LARGE), put(url, b"x", **form), put(url, b"hi"), put(url, b"")]
    assert [status for status, _ in answers] == [413, 415, 201, 404]
    with open_store(served.place) as store:
        (entry,) = store.entries(f"{SCOPE}:7")
        assert (entry.meta.filename, entry.size) == ("up.txt", 2)
        assert entry.ref in answers[2][1]


def test_an_upload_that_breaks_off_leaves_nothing_and_the_link(served):
    async def main():
        async with Client(served.address) as client:
            return await upload_link(client, scope=f"{SCOPE}:8")

    url = urlsplit(asyncio.run(main()))
    connection = http.client.HTTPConnection(url.netloc, timeout=60)
    connection.putrequest("PUT", url.path)
    connection.putheader("content-length", "1000")
    connection.endheaders(b"some of it")
    connection.close()
    status, deadline = 404, time.monotonic() + 60
    while status == 404 and time.monotonic() < deadline:  # until the server has noticed
        status, _ = put(url.geturl(), b"all of it")
    assert status == 201
    with open_store(served.place) as store:
        assert [entry.size for entry in store.entries(f"{SCOPE}:8")] == [9]


def test_upload_links_go_with_standard_input_and_output_too(place, room):
    async def main():
        arguments = ("--store", place, "--scope", SCOPE, "--root", room, "--upload-port", "0")
        async with Client(started(*arguments)) as client:
            return await asyncio.to_thread(put, await upload_link(client), b"hi")

    assert asyncio.run(main())[0] == 201


# -- who may


@pytest.mark.parametrize(
    ("headers", "status"), [({"host": "evil.example"}, 421), ({"origin": "http://evil.example"}, 403)]
)
def test_a_web_page_of_elsewhere_is_kept_out(served, headers, status):
    assert httpx2.post(served.address, json={}, headers=headers).status_code == status


def test_with_a_token_only_who_shows_it_is_served(place, room):
    arguments = ("--store", place, "--scope", SCOPE, "--root", room)

    async def main(address):
        headers = {"authorization": "Bearer s3cret"}
        async with (
            httpx2.AsyncClient(headers=headers) as http,
            Client(streamable_http_client(address, http_client=http)) as client,
        ):
            return len((await client.list_tools()).tools)

    with serving(*arguments, MEDIAKEEP_MCP_TOKEN="s3cret") as server:
        for shown in ({}, {"authorization": "Bearer other"}, {"authorization": "Basic s3cret"}):
            assert httpx2.post(server.address, json={}, headers=shown).status_code == 401
        assert asyncio.run(main(server.address)) > 5


def test_elsewhere_is_not_served_without_a_token(place, room, capsys, monkeypatch):
    monkeypatch.delenv("MEDIAKEEP_MCP_TOKEN", raising=False)
    arguments = ["mcp", "--store", str(place), "--scope", SCOPE, "--root", str(room)]
    assert command([*arguments, "--http", "--host", "0.0.0.0", "--port", "0"]) == 1
    assert "MEDIAKEEP_MCP_TOKEN" in capsys.readouterr().err
    assert not place.exists()


# -- download links


def test_download_links_come_from_the_server_and_its_token_stays_here(place, room, capsys):
    with open_store(place, fsync=False) as store:
        ref = store.put(b"hello", MediaMeta("a.txt"), SCOPE)
        other = store.put(b"other", scope="other")
    assert command(["token", "create", "--store", str(place), "--scope", SCOPE, "--can", "read"]) == 0
    (token,) = set(re.findall(r"mk_[\w.-]+", capsys.readouterr().out))

    async def main(server):
        arguments = ("--store", place, "--scope", SCOPE, "--root", room, "--server-url", server)
        async with Client(started(*arguments, "--server-token", token)) as client:
            yes = await client.call_tool("link_media", {"ref": ref, "seconds": 60})
            no = await client.call_tool("link_media", {"ref": other})
            return yes, no

    with running("--store", place) as server:
        yes, no = asyncio.run(main(server.url))
        assert token not in yes.model_dump_json()
        (url,) = links(yes)
        with urllib.request.urlopen(url, timeout=60) as found:
            assert found.read() == b"hello"
    assert no.is_error


# -- the command


def test_the_extra_is_named_when_the_sdk_is_missing(place):
    code = (
        "import sys; sys.modules['mcp.server.subscriptions'] = None; from mediakeep.cli import main; "
        f"sys.exit(main(['mcp', '--scope', 'a', '--store', {str(place)!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert 'pip install "mediakeep[mcp]"' in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ([], 2),
        (["--scope", ""], 1),
        (["--scope", "a", "--root", "/missing"], 2),
        (["--scope", "a", "--max-file", "0"], 2),
        (["--scope", "a", "--http", "--upload-port", "0"], 2),
        (["--scope", "a", "--server-url", "ftp://x"], 1),
    ],
)
def test_what_cannot_be_served_is_one_line(arguments, code, place, capsys):
    assert command(["mcp", "--store", str(place), *arguments]) == code
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not place.exists()


def test_the_server_ends_when_its_client_goes(place, room):
    with subprocess.Popen(
        [*COMMAND, "--store", place, "--scope", SCOPE, "--root", room, "--upload-port", "0"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=dict(os.environ),
    ) as process:
        out, err = process.communicate(b"", timeout=60)
    assert (process.returncode, out, err) == (0, b"", b"")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_server_ends_when_it_is_told_to_also_while_its_client_stays(number, place, room):
    with subprocess.Popen(
        [*COMMAND, "--store", place, "--scope", SCOPE, "--root", room],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=dict(os.environ),
    ) as process:
        try:
            process.stdin.write(b'{"jsonrpc": "2.0", "id": 1, "method": "ping"}\n')
            process.stdin.flush()
            assert process.stdout.readline()
            process.send_signal(number)
            assert process.wait(60) == -number
        finally:
            process.kill()


def test_a_stream_hears_that_the_server_is_told_to_stop(place, room):
    async def main(server):
        async with (
            Client(server.address) as client,
            client.listen(resources_list_changed=True) as events,
            asyncio.timeout(60),
        ):
            server.process.terminate()
            return [event async for event in events]  # ends, and raises no SubscriptionLost

    with serving("--store", place, "--scope", SCOPE, "--root", room) as server:
        assert asyncio.run(main(server)) == []
        assert server.process.wait(60) == 0
