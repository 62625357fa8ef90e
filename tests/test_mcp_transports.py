"""The command `mediakeep mcp` as a process, asked by the SDK's client over both transports."""

import asyncio
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

pytest.importorskip("mcp.server.subscriptions", reason="needs mediakeep[mcp]")
pytest.importorskip("click")

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import ResourceListChangedNotification, ResourceUpdatedNotification

from mcp_server import COMMAND, connected, serving
from mediakeep import MediaMeta, open_store
from mediakeep.cli import main as command

SCOPE = "telegram:42"
TRANSPORTS = ("stdio", "http")


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


@pytest.mark.parametrize("mode", ["auto", "legacy"])
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_media_are_saved_seen_and_released(transport, mode, place, room):
    (room / "a.txt").write_bytes(b"hello")

    async def main():
        arguments = ("--store", place, "--scope", SCOPE, "--root", room, "--allow-release")
        async with connected(transport, *arguments, mode=mode) as client:
            offered = {it.name for it in (await client.list_tools()).tools}
            (ref,) = links(await client.call_tool("save_media", {"path": "a.txt"}))
            listed = [it.uri for it in (await client.list_resources()).resources]
            text = (await client.read_resource(ref)).contents[0].text
            ended = await client.call_tool("release_media", {"ref": ref})
            after = (await client.list_resources(cache_mode="bypass")).resources
            return offered, [ref] == listed, text, ended.is_error, after

    offered, found, text, failed, after = asyncio.run(main())
    assert {"list_media", "look_at_media", "save_media", "release_media"} <= offered
    assert ("make_upload_link" in offered) is (transport == "http")
    assert (found, text, failed, after) == (True, "hello", False, [])


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_stream_tells_of_what_another_process_releases(transport, place, room):
    with open_store(place, fsync=False) as store:
        ref = store.put(b"x", scope=SCOPE)

        async def main():
            async with (
                connected(transport, "--store", place, "--scope", SCOPE, "--root", room) as client,
                client.listen(resource_subscriptions=[ref]) as events,
                asyncio.timeout(20),
            ):
                store.release(ref)
                return await anext(aiter(events))

        assert asyncio.run(main()).uri == ref


@pytest.mark.filterwarnings("ignore:resources/subscribe is removed")
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_client_with_a_handshake_is_notified_of_what_another_process_does(transport, place, room):
    with open_store(place, fsync=False) as store:
        ref = store.put(b"x", scope=SCOPE)
        told = []

        async def main():
            heard = asyncio.Event()

            async def hear(message) -> None:
                told.append(message)
                if isinstance(message, ResourceListChangedNotification):
                    heard.set()

            arguments = ("--store", place, "--scope", SCOPE, "--root", room)
            async with connected(transport, *arguments, mode="legacy", handler=hear) as client:
                assert client.server_capabilities.resources.subscribe
                assert client.server_capabilities.resources.list_changed
                await client.subscribe_resource(ref)
                store.release(ref)
                async with asyncio.timeout(20):
                    await heard.wait()

        asyncio.run(main())
    assert [it.params.uri for it in told if isinstance(it, ResourceUpdatedNotification)] == [ref]


# -- upload links


def put(url: str, data: bytes, **headers: str) -> tuple[int, str]:
    request = urllib.request.Request(url, data, headers, method="PUT")
    try:
        with urllib.request.urlopen(request, timeout=20) as found:
            return found.status, found.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_an_upload_link_takes_one_file_and_no_other(transport, place, room):
    extra = ("--upload-port", "0") if transport == "stdio" else ()

    async def main():
        arguments = ("--store", place, "--scope", SCOPE, "--root", room, "--max-file", "1k", *extra)
        async with connected(transport, *arguments) as client:
            said = {"filename": "a.txt", "scope": f"{SCOPE}:7"}
            url = (await client.call_tool("make_upload_link", said)).structured_content["url"]
            tries = (
                (b"x" * 1001, {}),
                (b"x", {"content-type": "multipart/form-data"}),
                (b"hi", {}),
                (b"", {}),
            )
            return [await asyncio.to_thread(put, url, data, **headers) for data, headers in tries]

    answers = asyncio.run(main())
    assert [status for status, _ in answers] == [413, 415, 201, 404]
    with open_store(place) as store:
        (entry,) = store.entries()
        assert (entry.scope, entry.meta.filename, entry.size) == (f"{SCOPE}:7", "a.txt", 2)
        assert entry.ref in answers[2][1]


def test_an_upload_that_breaks_off_leaves_nothing_and_the_link(place, room):
    import http.client
    from urllib.parse import urlsplit

    async def main(address):
        async with Client(address) as client:
            return (await client.call_tool("make_upload_link")).structured_content["url"]

    with serving("--store", place, "--scope", SCOPE, "--root", room) as address:
        url = asyncio.run(main(address))
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=20)
        connection.putrequest("PUT", urlsplit(url).path)
        connection.putheader("content-length", "1000")
        connection.endheaders(b"some of it")
        connection.close()
        status = 404
        for _ in range(200):  # until the server has noticed
            status, _ = put(url, b"all of it")
            if status != 404:
                break
        assert status == 201
    with open_store(place) as store:
        assert [entry.size for entry in store.entries()] == [9]


# -- who may


def test_a_web_page_of_elsewhere_is_kept_out(place, room):
    with serving("--store", place, "--scope", SCOPE, "--root", room) as address:
        for headers, status in (
            ({"host": "evil.example"}, 421),
            ({"origin": "http://evil.example"}, 403),
        ):
            found = httpx2.post(address, json={}, headers=headers)
            assert found.status_code == status


def test_with_a_token_only_who_shows_it_is_served(place, room):
    arguments = ("--store", place, "--scope", SCOPE, "--root", room)

    async def main(address):
        headers = {"authorization": "Bearer s3cret"}
        async with (
            httpx2.AsyncClient(headers=headers) as http,
            Client(streamable_http_client(address, http_client=http)) as client,
        ):
            return len((await client.list_tools()).tools)

    with serving(*arguments, MEDIAKEEP_MCP_TOKEN="s3cret") as address:
        for shown in ({}, {"authorization": "Bearer other"}, {"authorization": "Basic s3cret"}):
            assert httpx2.post(address, json={}, headers=shown).status_code == 401
        assert asyncio.run(main(address)) > 5


def test_elsewhere_is_not_served_without_a_token(place, room, capsys, monkeypatch):
    monkeypatch.delenv("MEDIAKEEP_MCP_TOKEN", raising=False)
    arguments = ["mcp", "--store", str(place), "--scope", SCOPE, "--root", str(room)]
    assert command([*arguments, "--http", "--host", "0.0.0.0", "--port", "0"]) == 1
    assert "MEDIAKEEP_MCP_TOKEN" in capsys.readouterr().err
    assert not place.exists()


# -- download links


def test_download_links_come_from_the_server_and_its_token_stays_here(place, room):
    from http_server import running

    with open_store(place, fsync=False) as store:
        ref = store.put(b"hello", MediaMeta("a.txt"), SCOPE)
        other = store.put(b"other", scope="other")
    made = subprocess.run(
        [sys.executable, "-m", "mediakeep", "token", "create", "--store", place, "--scope", SCOPE]
        + ["--can", "read", "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    (token,) = set(re.findall(r"mk_[\w.-]+", made.stdout))

    async def main(server):
        arguments = ("--store", place, "--scope", SCOPE, "--root", room, "--server-url", server)
        async with connected("stdio", *arguments, "--server-token", token) as client:
            yes = await client.call_tool("link_media", {"ref": ref, "seconds": 60})
            no = await client.call_tool("link_media", {"ref": other})
            return yes, no

    with running("--store", place) as server:
        yes, no = asyncio.run(main(server.url))
        assert token not in yes.model_dump_json()
        (url,) = links(yes)
        with urllib.request.urlopen(url, timeout=20) as found:
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
        out, err = process.communicate(b"", timeout=30)
    assert (process.returncode, out, err) == (0, b"", b"")
