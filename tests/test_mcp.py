"""The MCP server: what a client of it sees and may do. The client is the SDK's, in this process."""

import asyncio
import base64
import json
import os
import re
import socket
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

pytest.importorskip("mcp.server.subscriptions", reason="needs mediakeep[mcp]")

import uvicorn
from mcp import Client
from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import ResourcesListChanged, ResourceUpdated

from mediakeep import CleanupPolicy, FileMediaStore, MediaMeta, open_store
from mediakeep.aio import AsyncMediaStore
from mediakeep.mcp import Bounds, Uploads, create_server, http_app
from pictures import photograph, quarters, written

SCOPE = "telegram:42"
NO_REF = "media://00000000-0000-4000-8000-000000000000"
HOSTILE = "a\x1b[2J\u202e\n</system>\"'`\u200b"
PNG = MediaMeta("cat.png", "image/png")


@pytest.fixture
def store():
    with FileMediaStore() as store:
        yield store


@pytest.fixture
def room(tmp_path: Path) -> Path:
    """The folder that the server may use."""
    room = tmp_path / "room"
    room.mkdir()
    return room


@asynccontextmanager
async def client_of(store, room, *, mode="auto", handler=None, uploads=None, **bounds):
    within = Bounds(scope=SCOPE, roots=[room], **bounds)
    server = create_server(AsyncMediaStore(store), within, uploads=uploads)
    async with Client(server, mode=mode, message_handler=handler) as client:
        yield client


def ask(store, room, *calls, **bounds):
    """Return what tools answer, one after the other."""

    async def main():
        async with client_of(store, room, **bounds) as client:
            return [await client.call_tool(name, said) for name, said in calls]

    found = asyncio.run(main())
    return found[0] if len(calls) == 1 else found


def refused(result) -> str:
    assert result.is_error
    (block,) = result.content
    return block.text


def links(result) -> list[str]:
    return [it.uri for it in result.content if it.type == "resource_link"]


# -- what there is


def test_all_live_refs_of_the_scope_and_below_are_listed_and_no_others(store, room):
    here = [store.put(b"1", scope=SCOPE), store.put(b"2", scope=f"{SCOPE}:7")]
    for other in ("telegram", "telegram:421", "telegram:4", ""):
        store.put(b"3", scope=other)
    store.release(store.put(b"4", scope=SCOPE))

    async def main():
        async with client_of(store, room) as client:
            return await client.list_resources(), await client.call_tool("list_media")

    resources, listed = asyncio.run(main())
    assert [it.uri for it in resources.resources] == here
    assert links(listed) == here
    assert [it["uri"] for it in listed.structured_content["media"]] == here


def test_pages_go_on_where_the_last_one_ended_also_when_its_last_ref_has_gone(store, room):
    refs = [store.put(b"%d" % n, scope=SCOPE) for n in range(5)]
    ((first),) = [ask(store, room, ("list_media", {"limit": 2}))]
    store.release(refs[1])
    cursor = first.structured_content["next"]
    second = ask(store, room, ("list_media", {"limit": 2, "cursor": cursor}))
    last = ask(store, room, ("list_media", {"limit": 2, "cursor": second.structured_content["next"]}))
    assert links(first) + links(second) + links(last) == refs
    assert last.structured_content["next"] is None


def test_what_is_listed_can_be_filtered_by_type_and_name(store, room):
    cat = store.put(written(quarters(), "PNG"), PNG, SCOPE)
    note = store.put(b"hello", MediaMeta("Note.txt", "text/plain"), SCOPE)
    every, by_type, by_kind, by_name = ask(
        store,
        room,
        ("list_media", {"type": "*/*"}),
        ("list_media", {"type": "image/*"}),
        ("list_media", {"type": "text/plain"}),
        ("list_media", {"name": "note"}),
    )
    assert links(every) == [cat, note]
    assert (links(by_type), links(by_kind), links(by_name)) == ([cat], [note], [note])


@pytest.mark.parametrize("cursor", ["x", "é", "W10=", base64.b64encode(b"[1,2,3]").decode(), "bnVsbA=="])
def test_a_cursor_that_is_none_is_refused(store, room, cursor):
    assert "cursor" in refused(ask(store, room, ("list_media", {"cursor": cursor})))


def test_an_entry_tells_what_is_known_and_neither_where_it_lies_nor_who_else_has_it(store, room):
    ref = store.put(b"hello", MediaMeta("a.txt", "text/plain", "telegram"), SCOPE, ttl=60)
    store.share(ref, "elsewhere")
    result = ask(store, room, ("describe_media", {"ref": ref}))
    said = result.structured_content
    assert (said["name"], said["type"], said["size"]) == ("a.txt", "text/plain", 5)
    assert (said["scope"], said["source"]) == (SCOPE, "telegram")
    assert not said.keys() & {"refs", "leases", "path", "location"}
    assert str(store.resolve(ref)) not in result.model_dump_json()
    assert links(result) == [ref]


READING = ("describe_media", "look_at_media", "export_media", "release_media")


@pytest.mark.parametrize("tool", READING)
def test_a_ref_of_another_scope_is_answered_as_one_that_never_was(store, room, tool):
    other = store.put(written(quarters(), "PNG"), PNG, "telegram:421")
    gone = store.put(b"", scope="telegram:421")
    store.release(gone)
    answers = ask(
        store, room, *((tool, {"ref": it}) for it in (other, gone, NO_REF)), allow_release=True
    )
    told = {refused(it).replace(ref, "") for it, ref in zip(answers, (other, gone, NO_REF), strict=True)}
    assert told == {" is unknown here: list_media tells what there is"}
    assert store.entry(other)
    assert not list(room.iterdir())


def test_sharing_neither_reaches_into_another_scope_nor_out_of_this_one(store, room):
    other, own = store.put(b"1", scope="other"), store.put(b"2", scope=SCOPE)
    taken, given = ask(
        store,
        room,
        ("share_media", {"ref": other, "scope": SCOPE}),
        ("share_media", {"ref": own, "scope": "other"}),
    )
    assert "unknown" in refused(taken)
    assert "not one of this server's" in refused(given)
    assert store.stats().refs == 2


def test_a_ref_of_this_scope_that_has_ended_says_why(store, room):
    ref = store.put(b"", scope=f"{SCOPE}:7")
    store.release(ref)
    assert "was released" in refused(ask(store, room, ("describe_media", {"ref": ref})))


# -- nothing hostile


def test_hostile_names_scopes_and_types_are_harmless_everywhere(store, room, tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"x")
    meta = MediaMeta(HOSTILE, f"text/{HOSTILE}", HOSTILE)  # in place: kept exactly as it is said
    ref = store.store(file, meta, f"{SCOPE}:{HOSTILE}")

    async def main():
        async with client_of(store, room, allow_release=True) as client:
            with pytest.raises(MCPError) as no_tool:
                await client.call_tool(HOSTILE, {})
            with pytest.raises(MCPError) as no_resource:
                await client.read_resource(f"media://{HOSTILE}")
            return [
                *(no_tool.value.message, no_resource.value.message),
                await client.list_resources(),
                await client.call_tool("list_media"),
                await client.call_tool("describe_media", {"ref": ref}),
                await client.call_tool("look_at_media", {"ref": ref}),
                await client.call_tool("export_media", {"ref": ref}),
                await client.call_tool("share_media", {"ref": ref, "scope": f"{SCOPE}:{HOSTILE}"}),
                await client.call_tool("list_media", {"scope": HOSTILE}),
                await client.call_tool("export_media", {"ref": ref, "directory": HOSTILE}),
                await client.call_tool("describe_media", {"ref": HOSTILE, HOSTILE: HOSTILE}),
                await client.read_resource(f"{ref}/entry"),
            ]

    for result in asyncio.run(main()):
        for text in _texts(result if isinstance(result, str) else result.model_dump(mode="json")):
            assert text.isprintable()
            assert not re.search("[<>]", text), text


def _texts(node):
    if isinstance(node, str):
        yield node
    elif isinstance(node, dict):
        for value in node.values():
            yield from _texts(value)
    elif isinstance(node, list):
        for value in node:
            yield from _texts(value)


# -- what goes in


def data_url(data: bytes, kind: str = "text/plain") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def test_a_data_url_is_kept_under_the_scope_and_answered_by_a_link(store, room):
    said = {"data_url": data_url(b"hello"), "filename": "../a.txt", "ttl_seconds": 60}
    result = ask(store, room, ("save_media", {**said, "scope": f"{SCOPE}:7"}))
    (ref,) = links(result)
    entry = store.entry(ref)
    assert store.read_bytes(ref) == b"hello"
    assert (entry.scope, entry.meta.filename, entry.meta.source) == (f"{SCOPE}:7", "a.txt", "mcp")
    assert entry.expires_at is not None
    assert base64.b64encode(b"hello").decode() not in result.model_dump_json()


def test_a_file_of_a_root_is_copied_and_stays(store, room):
    (room / "sub").mkdir()
    (room / "sub" / "a.txt").write_bytes(b"hello")
    whole, relative = ask(
        store,
        room,
        ("save_media", {"path": str(room / "sub" / "a.txt")}),
        ("save_media", {"path": "sub/a.txt"}),
    )
    for result in (whole, relative):
        (ref,) = links(result)
        assert store.read_bytes(ref) == b"hello"
        assert store.entry(ref).meta.filename == "a.txt"
    store.release_all(SCOPE)
    assert (room / "sub" / "a.txt").read_bytes() == b"hello"


def test_nothing_is_taken_from_outside_of_the_roots_nor_told_of_it(store, room, tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    (room / "link").symlink_to(secret)
    (room / "up").symlink_to(tmp_path)
    os.mkfifo(room / "fifo")
    paths = ["../secret", str(secret), "link", "up/secret", "/etc/passwd", "fifo", ".", "a\0b"]
    paths += ["missing", "../missing", "/proc/self/environ", "~/x", "\ud800", ""]
    answers = ask(store, room, *(("save_media", {"path": it}) for it in paths))
    told = {
        refused(it)[refused(it).index(" is no file") :]
        for it in answers
        if "cannot be" not in refused(it)
    }
    assert len(told) == 1
    assert store.stats().refs == 0


def test_nothing_of_the_stores_own_folder_is_taken_or_put_there(room):
    with open_store(room / "media", fsync=False) as store:
        other = store.put(b"secret of another scope", scope="other")
        own = store.put(b"own", scope=SCOPE)
        path = store.resolve(other)
        (room / "alias").symlink_to(path)
        takes = [
            ("save_media", {"path": str(it)}) for it in (path, room / "alias", room / "media/catalog.db")
        ]
        gives = [
            ("export_media", {"ref": own, "directory": str(it)})
            for it in (room / "media", path.parent, "media/blobs", "..", "/", "alias", "missing")
        ]
        for result in ask(store, room, *takes, *gives):
            assert "is no f" in refused(result)
        assert store.stats().refs == 2


def test_private_folders_are_nobodys_business(store, room):
    (room / "keys").mkdir()
    (room / "keys" / "token").write_bytes(b"secret")
    result = ask(store, room, ("save_media", {"path": "keys/token"}), private=[room / "keys"])
    assert "is no file" in refused(result)


def test_what_is_too_large_is_refused_and_nothing_kept(store, room):
    (room / "large").write_bytes(b"x" * 1001)
    results = ask(
        store,
        room,
        ("save_media", {"path": "large"}),
        ("save_media", {"data_url": data_url(b"x" * 101)}),
        max_file_bytes=1000,
        max_inline_bytes=100,
    )
    assert "1000" in refused(results[0])
    assert "100" in refused(results[1])
    assert store.stats().files == 0


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"data_url": "data:,x", "path": "x"},
        {"data_url": "http://elsewhere/"},
        {"data_url": "data:,x", "ttl_seconds": -1},
        {"data_url": "data:,x", "scope": "other"},
        {"data_url": "data:,x", "scope": f"{SCOPE}:\n"},
        {"data_url": "data:,x", "cleanup_policy": "forget_only"},
    ],
)
def test_what_cannot_be_saved_is_refused(store, room, said):
    refused(ask(store, room, ("save_media", said)))
    assert store.stats().refs == 0


# -- what comes out


def test_an_export_has_a_readable_name_and_overwrites_nothing(store, room):
    ref = store.put(b"hello", MediaMeta("a.txt", "text/plain"), SCOPE)
    (room / "out").mkdir()
    first, second = ask(store, room, *[("export_media", {"ref": ref, "directory": "out"})] * 2)
    paths = [Path(it.structured_content["path"]) for it in (first, second)]
    assert paths == [room / "out" / "a.txt", room / "out" / "a (2).txt"]
    assert paths[1].read_bytes() == b"hello"


def test_a_share_outlives_the_first_scope(store, room):
    ref = store.put(b"hello", scope=f"{SCOPE}:1")
    (new,) = links(ask(store, room, ("share_media", {"ref": ref, "scope": f"{SCOPE}:2"})))
    store.release_all(f"{SCOPE}:1")
    assert store.read_bytes(new) == b"hello"


def test_nothing_is_released_unless_that_is_allowed(store, room):
    ref = store.put(b"hello", scope=SCOPE)

    async def main():
        async with client_of(store, room) as client:
            offered = {it.name for it in (await client.list_tools()).tools}
            with pytest.raises(MCPError, match="no tool"):
                await client.call_tool("release_media", {"ref": ref})
            return offered

    assert "release_media" not in asyncio.run(main())
    assert store.entry(ref)


def test_a_release_ends_the_ref_and_its_file(store, room):
    ref = store.put(b"hello", scope=SCOPE)
    path = store.resolve(ref)
    once, twice = ask(store, room, *[("release_media", {"ref": ref})] * 2, allow_release=True)
    assert once.structured_content == {"released": ref}
    assert "was released" in refused(twice)
    assert not path.exists()


def test_a_borrowed_file_survives_its_release(store, room):
    (room / "mine").write_bytes(b"x")
    meta = MediaMeta(cleanup_policy=CleanupPolicy.FORGET_ONLY)
    ref = store.store(room / "mine", meta, SCOPE)
    ask(store, room, ("release_media", {"ref": ref}), allow_release=True)
    assert (room / "mine").exists()


# -- pictures


def test_a_picture_is_seen_within_limits(store, room):
    pytest.importorskip("PIL")
    ref = store.put(written(photograph(3000, 2000), "JPEG", quality=95), PNG, SCOPE)
    result = ask(store, room, ("look_at_media", {"ref": ref, "size": 512}))
    (image,) = (it for it in result.content if it.type == "image")
    from io import BytesIO

    from PIL import Image

    with Image.open(BytesIO(base64.b64decode(image.data))) as shown:
        assert shown.size == (512, 341)
    assert image.mime_type == "image/jpeg"
    assert len(image.data) < 1_000_000


def test_a_picture_that_fits_is_passed_on_as_it_is(store, room):
    data = written(quarters(), "PNG")
    ref = store.put(data, PNG, SCOPE)
    result = ask(store, room, ("look_at_media", {"ref": ref}))
    (image,) = (it for it in result.content if it.type == "image")
    assert base64.b64decode(image.data) == data


@pytest.mark.parametrize(
    ("data", "meta"),
    [(b"%PDF-1.7\n%", MediaMeta("a.pdf", "application/pdf")), (b"\x89PNG\r\n\x1a\n" + b"x" * 99, PNG)],
)
def test_what_is_no_picture_is_not_shown(store, room, data, meta):
    ref = store.put(data, meta, SCOPE)
    assert "left out" in refused(ask(store, room, ("look_at_media", {"ref": ref})))


# -- resources


def test_resources_are_text_bytes_entries_and_thumbnails(store, room):
    text = store.put("grüße".encode(), MediaMeta("a.txt", "text/plain"), SCOPE)
    broken = store.put(b"\xff\xfe\xfd", MediaMeta("b.txt", "text/plain"), SCOPE)
    cat = store.put(written(quarters(600, 400), "PNG"), PNG, SCOPE)

    async def main():
        async with client_of(store, room) as client:
            uris = (text, broken, cat, f"{cat}/entry", f"{cat}/thumbnail")
            return [(await client.read_resource(it)).contents[0] for it in uris]

    read = asyncio.run(main())
    assert read[0].text == "grüße"
    assert base64.b64decode(read[1].blob) == b"\xff\xfe\xfd"
    assert base64.b64decode(read[2].blob) == store.read_bytes(cat)
    assert json.loads(read[3].text)["uri"] == cat
    assert len(base64.b64decode(read[4].blob)) < len(store.read_bytes(cat)) + 1000
    assert [it.mime_type for it in read[2:4]] == ["image/png", "application/json"]


def test_resources_elsewhere_unknown_or_too_large_are_errors(store, room):
    other, large = store.put(b"x", scope="other"), store.put(b"x" * 101, scope=SCOPE)

    async def main():
        async with client_of(store, room, max_inline_bytes=100) as client:
            for uri in (other, NO_REF, large, f"{large}/path", large.upper(), "file:///etc/passwd", ""):
                with pytest.raises(MCPError):
                    await client.read_resource(uri)

    asyncio.run(main())


def test_templates_are_told_and_their_ids_completed(store, room):
    refs = [store.put(b"", scope=SCOPE) for _ in range(3)]
    other = store.put(b"", scope="other")

    async def main():
        async with client_of(store, room) as client:
            from mcp_types import ResourceTemplateReference

            known = [
                it.uri_template for it in (await client.list_resource_templates()).resource_templates
            ]
            of = ResourceTemplateReference(uri="media://{id}")
            offered = []
            for begun in (refs[0][8:12], "", other[8:]):
                found = await client.complete(of, {"name": "id", "value": begun})
                offered.append(found.completion.values)
            return known, offered

    known, (one, every, none) = asyncio.run(main())
    assert known == ["media://{id}", "media://{id}/entry", "media://{id}/thumbnail"]
    assert refs[0][8:] in one
    assert sorted(every) == sorted(it[8:] for it in refs)
    assert none == []


# -- changes


def test_a_stream_tells_of_what_others_put_and_release(store, room):
    ref = store.put(b"1", scope=SCOPE)

    async def main():
        async with client_of(store, room, allow_release=True) as client:
            wanted = {"resources_list_changed": True, "resource_subscriptions": [ref]}
            async with client.listen(**wanted) as events, asyncio.timeout(60):
                store.put(b"2", scope=f"{SCOPE}:7")
                first = await anext(aiter(events))
                await client.call_tool("release_media", {"ref": ref})
                return first, {await anext(aiter(events)), await anext(aiter(events))}

    first, both = asyncio.run(main())
    assert first == ResourcesListChanged()
    assert both == {ResourceUpdated(ref), ResourcesListChanged()}


def test_a_stream_tells_nothing_of_other_scopes(store, room):
    other = store.put(b"1", scope="other")

    async def main():
        async with client_of(store, room) as client:
            wanted = {"resources_list_changed": True, "resource_subscriptions": [other]}
            async with client.listen(**wanted) as events, asyncio.timeout(60):
                store.release(other)
                store.put(b"2", scope="telegram:421")
                own = asyncio.create_task(client.call_tool("save_media", {"data_url": "data:,x"}))
                found = await anext(aiter(events))
                await own
                return found, events

    found, _ = asyncio.run(main())
    assert found == ResourcesListChanged()


def test_the_store_is_read_only_while_somebody_listens(store, room):
    async def main():
        server = create_server(AsyncMediaStore(store), Bounds(scope=SCOPE, roots=[room]))
        async with Client(server) as client:
            await client.list_tools()
            before = server.changes.watches
            async with client.listen(resources_list_changed=True):
                during = server.changes.watches
            async with asyncio.timeout(60):
                while server.changes.watches:
                    server.changes.look_again()
                    await asyncio.sleep(0.01)
            return before, during

    assert asyncio.run(main()) == (False, True)


# -- bounds


@pytest.mark.parametrize(
    "bounds", [{"scope": ""}, {"scope": "a", "roots": ["/missing"]}, {"scope": "a", "max_file_bytes": 0}]
)
def test_bounds_that_bound_nothing_are_refused(bounds):
    with pytest.raises(ValueError):
        Bounds(**bounds)


def test_too_many_upload_links_are_refused_until_some_expire():
    now = [0.0]
    uploads = Uploads("http://here", clock=lambda: now[0])
    made = {uploads.make(SCOPE, PNG, None) for _ in range(1000)}
    assert len(made) == 1000
    with pytest.raises(Exception, match="too many"):
        uploads.make(SCOPE, PNG, None)
    now[0] = 901.0
    assert uploads.make(SCOPE, PNG, None).startswith("http://here/upload/")


# -- failures, and ends


def test_an_error_of_the_store_names_no_path(store, room, tmp_path):
    ref = store.put(b"hello", PNG, SCOPE)
    path = store.resolve(ref)
    path.unlink()
    results = ask(store, room, *((it, {"ref": ref}) for it in ("export_media", "look_at_media")))
    assert "missing" in refused(results[0])
    for text in map(refused, results):
        assert str(path) not in text
        assert path.name not in text


def test_a_fault_of_the_catalog_is_told_without_its_words(room, tmp_path):
    store = open_store(tmp_path / "store", fsync=False)
    store.close()

    async def main():
        async with client_of(store, room) as client:
            told = [(await client.call_tool("list_media")).content[0].text]
            for asking in (client.list_resources(), client.read_resource(NO_REF)):
                with pytest.raises(MCPError) as caught:
                    await asking
                told.append(caught.value.message)
            return told

    for words in asyncio.run(main()):
        assert words.endswith("the server's log says why")
        assert str(tmp_path) not in words


def test_any_store_does(opened, room):
    pytest.importorskip("PIL")
    store = opened()
    data = written(quarters(600, 400), "PNG")
    (saved,) = [ask(store, room, ("save_media", {"data_url": data_url(data, "image/png")}))]
    (ref,) = links(saved)
    listed, looked, exported, released = ask(
        store,
        room,
        ("list_media", {}),
        ("look_at_media", {"ref": ref, "size": 256}),
        ("export_media", {"ref": ref}),
        ("release_media", {"ref": ref}),
        allow_release=True,
    )
    assert links(listed) == [ref]
    assert [it.type for it in looked.content] == ["text", "image", "resource_link"]
    assert Path(exported.structured_content["path"]).read_bytes() == data
    assert released.structured_content == {"released": ref}


def test_clients_with_a_handshake_are_forgotten_when_they_go(store, room):
    async def main():
        server = create_server(AsyncMediaStore(store), Bounds(scope=SCOPE, roots=[room]))
        listener = socket.create_server(("127.0.0.1", 0))
        running = uvicorn.Server(uvicorn.Config(http_app(server), log_config=None, ws="none"))
        serving = asyncio.create_task(running.serve([listener]))
        try:
            address = f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"
            async with asyncio.timeout(60):
                while not running.started:
                    await asyncio.sleep(0.01)
                async with Client(address, mode="legacy") as client:
                    await client.list_tools()
                    while not server.changes.watches:
                        await asyncio.sleep(0.01)
                while server.changes.watches:
                    server.changes.look_again()
                    await asyncio.sleep(0.01)
        finally:
            running.should_exit = True
            await serving

    asyncio.run(main())
