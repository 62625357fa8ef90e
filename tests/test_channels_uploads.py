"""Uploads to FastAPI and Starlette: kept until answered, the answer until fetched, and then gone."""

import shutil
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from urllib.parse import unquote

import httpx2
import pytest

pytest.importorskip("fastapi")

from channels import (
    DEADLINE,
    assert_nothing_is_left,
    recipe,
    sample,
    wait_until,
    wait_until_nothing_is_left,
)
from mediakeep import Entry, MediaMeta, MediaStore, open_store
from mediakeep.testing import FakeClock
from standins import Served

HOSTILE = '../..\\"x\r\nSet-Cookie: a=b\u202efdp.html'


@dataclass
class Web:
    """The application, a client of it, and its store seen from outside."""

    client: httpx2.Client
    folder: Path
    store: MediaStore

    def post(self, *files: tuple[str, bytes, str], chat: str = "7", key: str = "") -> httpx2.Response:
        headers = {"idempotency-key": key} if key else {}
        form = [("files", it) for it in files]
        url = f"/chats/{chat}/messages"
        return self.client.post(url, data={"text": "look"}, files=form, headers=headers)

    def waiting(self) -> list[Entry]:
        """Return what waits to be fetched, once that is all there is."""
        wait_until(lambda: all(it.scope.endswith(":answer") for it in self.store.entries()))
        return list(self.store.entries())

    def waiting_scopes(self) -> list[str]:
        """Return the scopes of what was not fetched, once no turn is going on."""
        wait_until(lambda: not any(it.startswith("agent:") for it in self.store.scopes()))
        return self.store.scopes()


@pytest.fixture(scope="module", params=["app", "starlette_app"])
def served(request, tmp_path_factory) -> Iterator[Web]:
    folder = tmp_path_factory.mktemp("web") / "store"
    app = getattr(recipe("uploads"), request.param)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEDIA_STORE", str(folder))
        with (
            Served(app) as server,
            httpx2.Client(base_url=server.url, timeout=DEADLINE, trust_env=False) as client,
            open_store(folder, fsync=False) as store,
        ):
            yield Web(client, folder, store)


@pytest.fixture
def web(served) -> Iterator[Web]:
    """The application, with nothing in its store."""
    yield served
    for scope in served.waiting_scopes():
        served.store.release_all(scope)
    wait_until_nothing_is_left(served.store, served.folder)


PHOTO = ("photo.jpg", sample("photo.jpg"), "image/jpeg")
DIAGRAM = ("a.png", sample("diagram.png"), "image/png")
VOICE = ("voice.ogg", sample("voice.ogg"), "audio/ogg")


def test_an_answer_waits_to_be_fetched_once_and_then_nothing_is_left(web):
    answer = web.post(PHOTO, DIAGRAM).json()
    assert answer["text"].startswith("I got look; photo.jpg, image/jpeg (46,129 bytes); a.png")
    waiting = web.waiting()
    assert len(waiting) == len(answer["files"]) == 2
    assert all(it.expires_at - it.stored_at <= timedelta(minutes=10) for it in waiting)
    for file in answer["files"]:
        got = web.client.get(file["path"])
        assert got.status_code == 200
        assert len(got.content) == int(got.headers["content-length"])
        assert got.headers["x-content-type-options"] == "nosniff"
        assert got.content.startswith(b"\xff\xd8" if file["type"] == "image/jpeg" else b"\x89PNG")
    wait_until_nothing_is_left(web.store, web.folder)
    again = web.client.get(answer["files"][0]["path"])
    assert (again.status_code, "released" in again.text) == (404, True)


def test_a_voice_note_is_answered_by_one(web):
    (file,) = web.post(VOICE).json()["files"]
    assert (file["filename"], file["type"]) == ("answer.ogg", "audio/ogg")
    assert web.client.get(file["path"]).content == sample("voice.ogg")
    wait_until_nothing_is_left(web.store, web.folder)


def test_hostile_names_and_ids_stay_data(web):
    answer = web.post((HOSTILE, sample("invoice.pdf"), "text/html"), chat="7%3A8").json()
    assert "application/pdf" in answer["text"]
    assert not set(answer["text"]) & set("\r\n\u202e")
    (waiting,) = web.waiting()
    assert waiting.scope.startswith("web:7%3A8:"), "a chat's id makes no level of its own"
    got = web.client.get(answer["files"][0]["path"])
    assert got.headers["content-disposition"].startswith("attachment; filename*=UTF-8''")
    assert unquote(got.headers["content-disposition"]).endswith("what-i-got.txt")
    wait_until_nothing_is_left(web.store, web.folder)


def test_a_file_that_is_too_large_is_told_and_leaves_nothing_of_its_message(web):
    refused = web.post(PHOTO, ("big.bin", bytes(20_000_001), "application/octet-stream"), key="k")
    assert refused.status_code == 413
    assert "files of up to 20 MB only" in refused.text
    wait_until_nothing_is_left(web.store, web.folder)
    assert len(web.post(PHOTO, key="k").json()["files"]) == 1, "the same message may be tried again"


def test_a_form_that_is_too_large_is_refused_before_it_is_read(web):
    host = web.client.base_url.host, web.client.base_url.port
    with socket.create_connection(host, timeout=DEADLINE) as connection:
        head = "POST /chats/7/messages HTTP/1.1\r\nHost: x\r\nContent-Length: 50000001\r\n\r\n"
        connection.sendall(head.encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")
    chunked = web.client.post("/chats/7/messages", content=iter([b"--x--"]))
    assert chunked.status_code == 411


def test_a_message_that_is_tried_again_gets_the_same_answer(web):
    first = web.post(PHOTO, key="1")
    assert web.post(PHOTO, key="1").json() == first.json()
    assert len(web.waiting()) == 1
    assert web.post(PHOTO, key="1", chat="8").json() != first.json(), (
        "the key of another chat is another"
    )


def test_a_download_that_breaks_off_can_be_made_again(web):
    (file,) = web.post(PHOTO).json()["files"]
    ref = f"media://{file['path'].rpartition('/')[2]}"
    web.waiting()
    large = web.store.put(bytes(15_000_000), MediaMeta("large.bin"), "web:7:1:answer")
    with web.client.stream("GET", f"/files/{large.removeprefix('media://')}") as got:
        assert next(got.iter_raw(1000))
    assert web.client.get(file["path"]).status_code == 200
    wait_until(lambda: ref not in {it.ref for it in web.store.entries()})
    assert web.store.entry(large)


def test_what_is_no_answer_is_not_given(web):
    ref = web.store.put(b"of another channel", scope="telegram:42:1")
    assert web.client.get(f"/files/{ref.removeprefix('media://')}").status_code == 404
    assert web.client.get("/files/..%2f..%2fetc%2fpasswd").status_code == 404
    assert web.store.read_bytes(ref) == b"of another channel"


def test_an_answer_that_nobody_fetches_ends_after_its_time(web, tmp_path):
    web.post(PHOTO)
    web.waiting()
    copy = shutil.copytree(web.folder, tmp_path / "copy")
    with open_store(copy, clock=FakeClock(time.time() + 601)) as store:
        assert store.sweep().expired == 1
        assert_nothing_is_left(store, copy)
