"""HTTPMediaStore against real servers: what the shared behaviours do not ask of it."""

import asyncio
import fcntl
import http.server
import itertools
import json
import logging
import os
import select
import socket
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

import httpx2
import pytest
import trustme
import uvicorn

from http_server import Served, serving
from mediakeep import (
    AccessDenied,
    BlobError,
    CatalogError,
    CleanupPolicy,
    Limits,
    MediaMeta,
    MediaStore,
    NotOverHTTP,
    QuotaExceeded,
    RefExpired,
    RefReleased,
    StillLeased,
    TooLarge,
    TypeNotAllowed,
    UnknownRef,
    open_store,
)
from mediakeep.http import ServerConfig, Tokens, create_app
from mediakeep.http.connection import options
from mediakeep.remote import HTTPMediaStore
from mediakeep.remote.connection import Connection
from mediakeep.remote.copies import Copies
from mediakeep.remote.holding import Holds
from pausing import paused

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 100
NEVER = "media://00000000-0000-4000-8000-000000000000"


@pytest.fixture
def served(tmp_path):
    with serving(tmp_path, requests_per_second=0) as served:
        yield served


@pytest.fixture
def client(tmp_path):
    """Opens clients of a server, with copies in a folder of the test's own."""
    stores = []

    def client(where: Served | str, **options):
        url = where if isinstance(where, str) else where.url
        of_cache = {
            "cache": tmp_path / "cache",
            **{it: options.pop(it) for it in ("cache_bytes",) if it in options},
        }
        stores.append(open_store(url, blob_options=of_cache, **options))
        return stores[-1]

    yield client
    for store in stores:
        store.close()


@pytest.fixture
def store(served, client):
    return client(served)


def eventually(holds):
    """Wait until something holds that a server does in its own time."""
    until = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < until, "it never did"
        time.sleep(0.01)


def test_an_address_of_a_server_opens_a_store_over_http(store, served):
    assert type(store) is HTTPMediaStore
    assert isinstance(store, MediaStore)
    assert repr(store) == f"HTTPMediaStore('{served.url}')"


def test_every_verb_is_its_own_or_derived_from_others():
    verbs = {name for name in dir(MediaStore) if not name.startswith("_")}
    derived = {"put", "scope", "lease", "read_bytes", "data_url", "export", "start", "stop"}
    assert verbs - set(vars(HTTPMediaStore)) == derived


def test_an_entry_is_what_the_server_knows(store, served):
    meta = MediaMeta("Käse & „Brot“.png", "text/html", "tool:x", CleanupPolicy.DELETE_ON_CLEANUP)
    ref = store.put(PNG, meta, "telegram:42:7", ttl=3600)
    mine, there = store.entry(ref), served.store.entry(ref)
    told = ("ref", "scope", "meta", "size", "sha256", "stored_at", "expires_at", "owned", "refs")
    assert {it: getattr(mine, it) for it in told} == {it: getattr(there, it) for it in told}
    assert (mine.declared_type, mine.detected_type) == ("text/html", "image/png")
    assert mine.location == f"{served.url}/v1/media/{ref[8:]}"
    assert mine.path is None


def test_a_policy_comes_back_as_it_was_said(store, served, tmp_path):
    (tmp_path / "own.txt").write_text("mine")
    meta = MediaMeta(cleanup_policy=CleanupPolicy.FORGET_ONLY)
    ref = served.store.store(tmp_path / "own.txt", meta, "s")
    assert store.resolve_with_meta(ref).meta == meta
    assert store.read_bytes(ref) == b"mine"


def test_a_file_that_changes_where_it_lies_is_fetched_anew(store, served, tmp_path):
    path = tmp_path / "own.txt"
    path.write_text("before")
    ref = served.store.store(path, scope="s")
    assert store.resolve(ref).read_text() == "before"
    path.write_text("")
    assert store.resolve(ref).read_text() == ""
    path.write_text("after it was empty")
    assert store.resolve(ref).read_text() == "after it was empty"


# -- errors


def test_errors_are_the_servers_with_its_words(tmp_path, client):
    limits = Limits(max_file_bytes=2000, max_scope_bytes=3000, refused_types=["image/png"])
    with serving(tmp_path, limits=limits) as served:
        store = client(served)
        released, expired = store.put(b"1", scope="s"), store.put(b"2", scope="s", ttl=0.05)
        store.release(released)
        eventually(lambda: served.store.sweep().expired)
        full = [b"x" * 1500, b"y" * 1501]
        for verb, error in (
            (lambda it: it.resolve(released), RefReleased),
            (lambda it: it.entry(expired), RefExpired),
            (lambda it: it.share(expired, "t"), RefExpired),
            (lambda it: it.open(NEVER), UnknownRef),
            (lambda it: it.put(b"x" * 2001), TooLarge),
            (lambda it: it.put(PNG), TypeNotAllowed),
            (lambda it: [it.put(data, scope="full") for data in full], QuotaExceeded),
        ):
            said = []
            for asked in (store, served.store):
                asked.release_all("full")
                with pytest.raises(error) as raised:
                    verb(asked)
                assert type(raised.value) is error
                said.append(str(raised.value))
            assert said[0] == said[1]


def test_what_is_no_ref_is_unknown_and_asks_nobody(client):
    store = client("http://127.0.0.1:9")
    for ref in ("", "nonsense", "media://", "media://../scopes", "media://x?y", NEVER.upper(), None):
        with pytest.raises(UnknownRef):
            store.resolve(ref)
        assert store.release(ref) is False


def test_a_server_that_is_not_there_is_named(client):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and so nobody else's, though nobody listens
        port = taken.getsockname()[1]
        store = client(f"http://127.0.0.1:{port}", token="mk_secret")
        for verb in (store.scopes, lambda: store.put(b"x"), lambda: store.release(NEVER)):
            with pytest.raises(CatalogError, match=f"{port} cannot be reached.*running") as raised:
                verb()
            assert "secret" not in str(raised.value)


def test_a_server_that_is_silent_is_given_up(client):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        store = client(f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=0.1)
        with pytest.raises(CatalogError, match="does not answer"):
            store.release(NEVER)


def test_what_is_no_server_of_mediakeep_is_named(client, tmp_path):
    handler = http.server.SimpleHTTPRequestHandler
    handler.log_message = lambda *_: None
    with answering(handler) as url, pytest.raises(CatalogError, match="as a server of mediakeep does"):
        client(url).scopes()


def test_what_only_the_servers_machine_can_do_says_where_to_do_it(store, tmp_path):
    (tmp_path / "file").write_text("x")
    borrowed = MediaMeta(cleanup_policy=CleanupPolicy.FORGET_ONLY)
    for verb, advice in (
        (lambda: store.store(tmp_path / "file"), "put its bytes"),
        (lambda: store.store_many([(tmp_path / "file", MediaMeta())]), "put_many"),
        (lambda: store.put(b"x", borrowed), "forget_only"),
    ):
        with pytest.raises(NotOverHTTP, match=advice):
            verb()
    assert store.scopes() == []


@pytest.mark.parametrize(
    "url",
    [
        "http://",
        "http://host:0",
        "http://host:x",
        "https://u:secret@host",
        "http://host/?q=secret",
        "http://h#f",
        "http://a b",
    ],
)
def test_what_is_no_address_is_refused(url):
    with pytest.raises(ValueError):
        open_store(url)


@pytest.mark.parametrize("token", ["", "two words", "line\r\nbreak", "käse"])
def test_what_is_no_token_is_refused_and_not_told(token):
    with pytest.raises(ValueError, match="token") as raised:
        open_store("http://127.0.0.1:9", token=token)
    assert not token or token not in str(raised.value)


@pytest.mark.parametrize(
    "option", [{"limits": Limits()}, {"blobs": "x"}, {"clock": time.time}, {"dedupe": False}]
)
def test_what_the_server_decides_cannot_be_said_by_a_client(option):
    with pytest.raises(ValueError, match="is for the server to say"):
        open_store("http://127.0.0.1:9", **option)


def test_a_token_is_for_servers(tmp_path):
    with pytest.raises(ValueError, match="a token is for a server"):
        open_store(tmp_path / "store", token="mk_x")


def test_a_closed_store_says_so(served, client):
    store = client(served)
    store.scopes()
    store.close()
    with pytest.raises(CatalogError, match="is closed"):
        store.scopes()


# -- who may


def test_a_token_opens_its_scopes_and_no_others(served, client):
    mine, _ = served.tokens.create(["telegram:*"], ["read", "write", "release"])
    store = client(served, token=mine)
    hidden = served.store.put(b"hidden", scope="web")
    ref = store.put(b"seen", scope="telegram:1")
    assert store.scopes() == ["telegram:1"]
    assert [it.ref for it in store.entries()] == [ref]
    entry = store.entry(ref)
    assert (entry.refs, entry.leases) == (1, 0)  # what the file has besides, this token is not told
    assert (store.stats().refs, store.stats().size) == (1, 4)
    with pytest.raises(UnknownRef):
        store.resolve(hidden)
    with pytest.raises(AccessDenied, match="not one of the token's"):
        store.put(b"x", scope="web")
    with store.lease(ref) as media:
        store.release_all("telegram:1")
        assert media.path.read_bytes() == b"seen"


@pytest.mark.parametrize("token", [None, "mk_0123456789"])
def test_who_shows_no_valid_token_is_told_so_without_it(served, client, token):
    served.tokens.create(["*"], ["read"])
    with pytest.raises(AccessDenied, match="show a valid token") as raised:
        client(served, token=token).scopes()
    assert isinstance(raised.value, PermissionError)
    assert "0123456789" not in str(raised.value)


def test_a_right_that_is_missing_is_named(served, client):
    text, _ = served.tokens.create(["*"], ["read"])
    with pytest.raises(AccessDenied, match="may not write"):
        client(served, token=text).put(b"x")


def test_a_token_is_in_no_log_line(served, client, caplog):
    text, _ = served.tokens.create(["*"], ["read", "write", "release"])
    caplog.set_level(logging.DEBUG)
    store = client(served, token=text)
    ref = store.put(b"x", scope="s")
    store.release(ref)
    with pytest.raises(UnknownRef):
        store.resolve(ref)
    assert "send_request_headers" in caplog.text  # the client's own lines are among those looked at
    assert text not in caplog.text
    assert text not in repr(store)


def test_a_redirect_is_not_followed(client):
    heard = []

    class Elsewhere(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            heard.append(self.headers["authorization"])

        def log_message(self, *_):
            pass

    with answering(Elsewhere) as other:

        class Redirecting(Elsewhere):
            def do_GET(self):
                self.send_response(307)
                self.send_header("location", f"{other}{self.path}")
                self.send_header("content-length", "0")
                self.end_headers()

        with (
            answering(Redirecting) as url,
            pytest.raises(CatalogError, match=r"redirects .*final address"),
        ):
            client(url, token="mk_secret").scopes()
    assert heard == []


@contextmanager
def answering(handler):
    """Run another HTTP server than ours; give its URL."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()


# -- connections that break


class Cutting:
    """Hands connections on to a server, and cuts those that carry a request that begins with `cut`.

    The request arrives; of its answer nothing does.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.cut = b"\0"
        self.times = 1
        self.let = 0
        """How many bytes of an answer that is cut arrive all the same."""
        self.stall: bytes | None = None
        """What a request begins with that is not handed on before `go_on`; only the first is not."""
        self.go_on = threading.Event()
        self.seen: list[bytes] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self.go_on.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                here, _ = self._listener.accept()
                threading.Thread(target=self._carry, args=(here,), daemon=True).start()

    def _carry(self, here: socket.socket) -> None:
        with here, socket.create_connection(("127.0.0.1", self._port)) as there, suppress(OSError):
            cutting, let = False, self.let
            while True:
                for it in select.select([here, there], [], [])[0]:
                    data = it.recv(1 << 16)
                    if it is here and data[:8].split(b" ")[0].isalpha():
                        self.seen.append(data.partition(b" HTTP")[0])
                        cutting = self.times > 0 and data.startswith(self.cut)
                        self.times -= cutting
                        if self.stall is not None and data.startswith(self.stall):
                            self.stall = None
                            self.go_on.wait(30)
                    if it is there and cutting:
                        data, let = data[:let], let - len(data)
                    if not data:
                        return
                    (there if it is here else here).sendall(data)


@pytest.fixture
def cutting(served):
    proxy = Cutting(served.port)
    yield proxy
    proxy.close()


def sources(tmp_path):
    (tmp_path / "file").write_bytes(b"hello")
    yield "bytes", b"hello"
    yield "path", tmp_path / "file"
    yield "many pieces", b"hello" * 200_000


def test_an_upload_whose_answer_is_lost_is_sent_again_and_stored_once(served, client, cutting, tmp_path):
    store = client(cutting.url)
    for scope, source in sources(tmp_path):
        cutting.cut, cutting.times = b"POST", 1
        ref = store.put(source, scope=scope)
        assert [it.ref for it in served.store.entries(scope)] == [ref]
        assert cutting.times == 0
        whole = source.read_bytes() if isinstance(source, Path) else source
        assert store.read_bytes(ref) == whole


def test_an_upload_that_cannot_be_sent_again_is_not(served, client, cutting):
    cutting.cut = b"POST"
    with pytest.raises(CatalogError, match=r"broke off.*may have been done"):
        client(cutting.url).put(iter([b"once"]), scope="s")
    assert sum(it.startswith(b"POST") for it in cutting.seen) == 1


def test_a_question_is_asked_again(client, served, cutting):
    store = client(cutting.url)
    for data, path in ((b"hello", "/entry"), (b"world", " ")):
        ref = served.store.put(data, scope="s")
        cutting.cut, cutting.times = f"GET /v1/media/{ref[8:]}{path}".encode(), 1
        assert store.read_bytes(ref) == data
        assert cutting.times == 0


def test_a_release_is_not_asked_twice_since_it_would_tell_another_thing(client, served, cutting):
    ref = served.store.put(b"hello", scope="s")
    cutting.cut = b"DELETE"
    with pytest.raises(CatalogError, match="may have been done"):
        client(cutting.url).release(ref)
    assert sum(it.startswith(b"DELETE") for it in cutting.seen) == 1


def test_releasing_a_scope_twice_is_releasing_it_once(client, served, cutting):
    served.store.put(b"hello", scope="s")
    cutting.cut = b"DELETE"
    client(cutting.url).release_all("s")
    assert served.store.scopes() == []


def test_a_server_that_breaks_off_again_and_again_is_given_up(client, served, cutting):
    cutting.cut, cutting.times = b"GET", 100
    with pytest.raises(CatalogError, match="broke off"):
        client(cutting.url).scopes()
    assert len(cutting.seen) == 3


def test_bytes_that_break_off_are_fetched_anew(client, served, cutting):
    data = os.urandom(1 << 20)
    ref = served.store.put(data, scope="s")
    store = client(cutting.url)
    cutting.cut, cutting.let, cutting.times = f"GET /v1/media/{ref[8:]} ".encode(), 300_000, 2
    assert store.read_bytes(ref) == data
    assert cutting.times == 0


def test_a_source_that_can_be_read_but_once_is_never_sent_in_part(tmp_path, client):
    with serving(tmp_path, requests_per_second=0.5) as served:
        store = client(served)
        store.put(b"takes all that may be asked for just now", scope="first")
        pieces = iter([b"a" * 70_000, b"b" * 70_000, b"c" * 70_000])
        try:
            store.put(pieces, scope="second")
        except CatalogError as error:
            assert "try again" in str(error)
        assert [it.size for it in served.store.entries("second")] in ([], [210_000])


def test_a_server_that_asks_for_patience_gets_it(tmp_path, client):
    with serving(tmp_path, requests_per_second=0.5) as served:
        store = client(served)
        assert store.put(b"x", scope="s")
        assert store.scopes() == ["s"]  # the second one is over the rate, and told to come back


# -- what comes in


def test_a_source_without_end_is_refused_as_soon_as_the_server_says_so(tmp_path, client):
    pieces = itertools.count()

    def endless():
        while next(pieces) < 4000:
            yield b"x" * 65_536

    with (
        serving(tmp_path, limits=Limits(max_file_bytes=100_000)) as served,
        pytest.raises(TooLarge, match="max_file_bytes"),
    ):
        client(served).put(endless(), scope="s")
    assert next(pieces) < 1000


def test_what_reading_a_source_raises_passes_through_and_nothing_is_kept(store, served):
    def failing():
        yield b"x" * 300_000
        raise TimeoutError("of the source")

    with pytest.raises(TimeoutError, match="of the source"):
        store.put(failing(), scope="s")
    eventually(lambda: list(served.store._blobs.leftovers()) == [])
    assert list(served.store._blobs.scan()) == []
    assert store.put(b"the store goes on", scope="s")


def test_what_gives_no_bytes_is_refused(store):
    with pytest.raises(TypeError, match="put takes bytes"):
        store.put(["text"], scope="s")
    assert store.scopes() == []


def test_many_that_fail_are_taken_back_also_if_one_cannot_be(served, client, cutting):
    store = client(cutting.url)
    cutting.cut = b"DELETE"

    def items():
        yield from ((b"%d" % number, MediaMeta()) for number in range(3))
        raise LookupError("the source is broken")

    with pytest.raises(LookupError):
        store.put_many(items(), "s")
    assert sum(it.startswith(b"DELETE") for it in cutting.seen) == 3
    assert list(served.store.entries("s")) == []  # it had arrived


def test_many_that_fail_are_taken_back(store):
    with pytest.raises(TypeError) as raised:
        store.put_many([(b"1", MediaMeta()), (b"2", MediaMeta()), ([3], MediaMeta())], "s")
    assert "This was item 2" in raised.value.__notes__[0]
    assert store.scopes() == []


def test_a_large_file_takes_little_memory_on_its_way(store, tmp_path):
    with (tmp_path / "large").open("wb") as file:
        file.truncate(64 << 20)
    ref = store.put(tmp_path / "large", scope="s")
    assert store.resolve(ref).stat().st_size == 64 << 20


# -- copies and leases


def test_a_copy_goes_with_its_ref(store):
    ref = store.put(b"hello", scope="a")
    other = store.share(ref, "b")
    path = store.resolve(ref)
    assert store.resolve(other) == path
    store.release(ref)
    assert path.exists()
    store.release_all("b")
    assert not path.exists()


def test_a_copy_of_what_ended_elsewhere_goes_when_that_is_heard(store, served):
    ref = store.put(b"hello", scope="a")
    path = store.resolve(ref)
    served.store.release_all("a")
    with pytest.raises(RefReleased):
        store.resolve(ref)
    assert not path.exists()


def test_who_wants_a_copy_that_is_being_removed_gets_it_anew(store, monkeypatch):
    ended = store.put(b"hello", scope="a")
    store.resolve(ended)
    live = store.put(b"hello", scope="b")
    real, removing, resolved = os.unlink, threading.Event(), threading.Event()

    def late(path, *args, **kwargs):
        if str(path).startswith(str(store._copies._cache.root)):
            removing.set()
            resolved.wait(0.3)
        real(path, *args, **kwargs)

    monkeypatch.setattr(os, "unlink", late)
    releasing = threading.Thread(target=store.release, args=(ended,))
    releasing.start()
    assert removing.wait(10)
    path = store.resolve(live)
    resolved.set()
    releasing.join()
    assert path.read_bytes() == b"hello"


def copies(store):
    root = Path(store._copies._cache.root)
    return [it for it in root.rglob("*") if it.is_file() and it.name != "room"]


def test_a_copy_that_is_held_while_its_ref_ends_goes_with_whoever_is_later(store, monkeypatch):
    ref = store.put(b"hello", scope="a")
    releasing = threading.Thread(target=store.release, args=(ref,))
    refused, left = threading.Event(), threading.Event()
    real = fcntl.flock

    def flock(handle, how):
        try:
            return real(handle, how)
        except BlockingIOError:
            if threading.current_thread() is releasing:
                refused.set()
                left.wait(0.3)  # or it waits for us
            raise

    monkeypatch.setattr(fcntl, "flock", flock)
    with store.lease(ref):
        releasing.start()
        assert refused.wait(10)
    left.set()
    releasing.join()
    assert copies(store) == []


def ends_before_it_is_there(store, monkeypatch, ref, work):
    """Do the work in a thread, and end the ref when the bytes have come and have no name yet."""
    working = threading.Thread(target=work)
    came, ended = threading.Event(), threading.Event()
    real = os.fsync

    def fsync(handle):
        real(handle)
        if threading.current_thread() is working:
            came.set()
            ended.wait(10)

    monkeypatch.setattr(os, "fsync", fsync)
    working.start()
    assert came.wait(10)
    assert store.release(ref)
    ended.set()
    working.join()


def test_a_copy_of_what_ends_while_it_comes_goes_too(store, monkeypatch):
    ref = store.put(b"hello", scope="a")
    ends_before_it_is_there(store, monkeypatch, ref, lambda: store.resolve(ref))
    assert copies(store) == []


def test_a_variant_of_what_ends_while_it_is_made_goes_too(store, monkeypatch):
    ref = store.put(b"hello", scope="a")
    store.resolve(ref)
    ends_before_it_is_there(
        store, monkeypatch, ref, lambda: store.variant(ref, "loud", lambda path: b"HELLO")
    )
    assert copies(store) == []


def test_a_ref_that_ended_before_its_copy_was_wanted_keeps_no_other_copy(store):
    ended = store.put(b"hello", scope="a")
    found = store._find(ended)
    store.release(ended)
    with pytest.raises(RefReleased), store._on_this_machine(found):
        pass
    live = store.put(b"hello", scope="a")
    path = store.resolve(live)
    store.release(live)
    assert not path.exists()


def test_a_lease_holds_file_and_copy_and_both_go_with_it(store, served):
    ref = store.put(b"hello", scope="a")
    with store.lease(ref) as (path, meta):
        assert served.store.entry(ref).leases == 1
        assert store.entry(ref).meta == meta
        store.release_all("a")
        assert path.read_bytes() == b"hello"
        assert served.store.stats().condemned == 1
        with pytest.raises(StillLeased):
            served.store.put(b"other", scope="b")
            with store.lease(store.put(b"more", scope="b")):
                served.store.erase("b")
    assert not path.exists()
    assert served.store.stats().condemned == 0


def test_a_lease_is_renewed_while_it_is_held_and_lapses_with_its_holder(
    tmp_path, client, clock, until_renewed
):
    with serving(tmp_path, clock=clock, requests_per_second=0) as served:
        store = client(served, lease_seconds=0.3)
        ref = store.put(b"hello", scope="a")
        with store.lease(ref):
            store.release_all("a")
            for _ in range(5):
                clock.advance(0.2)
                served.store.sweep()
                assert served.store.stats().condemned == 1
                until_renewed()
            store.close()
            clock.advance(0.4)
            served.store.sweep()
            assert served.store.stats().condemned == 0


def test_a_lease_that_the_server_does_not_renew_keeps_no_other_from_being_renewed():
    asked, names = [], iter("abc")

    class Moody(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["content-length"]))
            asked.append(self.path)
            ends = self.path.endswith
            status = 403 if ends("/a") else 500 if ends("/b") else 200
            said = json.dumps({"lease": next(names)} if ends("/leases") else {}).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *_):
            pass

    with answering(Moody) as url:
        connection = Connection(url, None, timeout=10)
        holds = Holds(connection)
        numbers = [holds.begin("/v1/media/x", NEVER, 60) for _ in range(3)]
        assert holds.renew(numbers, 60) == []
        assert asked[3:] == [f"/v1/media/x/leases/{it}" for it in "abc"]
        connection.close()


def renewals(cutting):
    return sum(b"/leases/" in it and it.startswith(b"POST") for it in cutting.seen)


def test_a_renewal_that_is_not_answered_is_sent_again_before_the_lease_lapses(served, client, cutting):
    store = client(cutting.url, lease_seconds=3.0)
    assert store._connection._timeout["read"] == 60
    ref = store.put(b"hello", scope="a")
    with store.lease(ref):
        (lease,) = store._holds._paths.values()
        cutting.stall = f"POST {lease} ".encode()
        until = time.monotonic() + 30
        while renewals(cutting) < 2 and time.monotonic() < until:
            time.sleep(0.01)
        assert renewals(cutting) >= 2


def test_a_lease_is_renewed_also_while_the_server_is_slow_to_tell_of_its_file(served, client, cutting):
    store = client(cutting.url, lease_seconds=0.6)
    ref = store.put(b"hello", scope="a")
    cutting.stall = b"GET "

    def read():
        with store.lease(ref) as media:
            return media.path.read_bytes()

    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read)
        try:
            eventually(lambda: renewals(cutting))
        finally:
            cutting.go_on.set()
        assert reading.result(10) == b"hello"


def test_a_server_that_is_away_is_not_asked_for_each_lease(served, client, cutting):
    store = client(cutting.url)
    ref = store.put(b"hello", scope="a")
    with store.lease(ref), store.lease(ref):
        cutting.cut, cutting.times = b"POST", 100
        del cutting.seen[:]
        with pytest.raises(CatalogError, match="broke off"):
            store._holds.renew(list(store._holds._paths), 60)
        assert len(set(cutting.seen)) == 1


def test_a_ref_that_has_ended_is_not_leased_and_leaves_no_lease(store, served):
    ref = store.put(b"hello", scope="a")
    store.release(ref)
    with pytest.raises(RefReleased), store.lease(ref):
        pass
    assert served.store.stats().leases == 0


def test_what_is_open_is_read_to_its_end_whatever_ends(store):
    ref = store.put(b"hello" * 1000, scope="a")
    with store.open(ref) as file:
        assert file.read(5) == b"hello"
        store.release_all("a")
        file.seek(4995)
        assert file.read() == b"hello"


def test_what_is_too_large_for_the_cache_is_read_with_open(served, client, tmp_path):
    store = client(served, cache_bytes=1000)
    ref = store.put(b"x" * 1001, scope="a")
    with pytest.raises(BlobError, match="read it with open"):
        store.resolve(ref)
    assert store.read_bytes(ref) == b"x" * 1001
    assert store.data_url(ref).startswith("data:")
    (tmp_path / "out").mkdir()
    assert store.export(ref, tmp_path / "out").stat().st_size == 1001


def test_bytes_that_were_damaged_on_the_server_are_not_given(store, served):
    ref = store.put(b"hello", scope="a")
    path = served.store.resolve(ref)
    path.chmod(0o600)
    path.write_bytes(b"jello")
    with pytest.raises(BlobError, match="damaged"):
        store.resolve(ref)


def test_a_variant_is_made_once_and_goes_with_its_original(store):
    ref, made = store.put(b"hello", scope="a"), []

    def loud(path):
        made.append(path.read_bytes())
        return path.read_bytes().upper()

    paths = {store.variant(ref, "loud", loud) for _ in range(2)}
    assert [path.read_bytes() for path in paths] == [b"HELLO"]
    assert made == [b"hello"]
    store.release(ref)
    assert not any(path.exists() for path in paths)


# -- lists


def test_lists_and_journal_are_whole_however_long(store, served):
    refs = served.store.put_many([(b"%d" % n, MediaMeta()) for n in range(600)], "a")
    refs += [served.store.share(refs[0], f"b:{n:04}") for n in range(1050)]
    assert {it.ref for it in store.entries()} == set(refs)
    assert [it.ref for it in store.entries("b", nested=True)] == refs[600:]
    assert len(store.scopes()) == 1051
    served.store.release_all("b", nested=True)  # all of one moment
    served.store.release_all("a")

    def told(asked):
        return sorted((it.at, it.what, it.ref, it.scope, it.size) for it in asked.history())

    assert len(told(store)) > 2200
    assert told(store) == told(served.store)
    assert [it.what for it in store.history(refs[0])] == [
        it.what for it in served.store.history(refs[0])
    ]


def test_the_empty_scope_ends_ref_by_ref(store):
    store.put(b"1")
    store.put(b"2")
    kept = store.put(b"3", scope=":below")
    store.release_all("")
    assert [it.ref for it in store.entries()] == [kept]
    store.release_all("", nested=True)
    assert store.scopes() == []


# -- links


def test_a_link_lets_read_who_has_no_token(served, client):
    text, _ = served.tokens.create(["*"], ["read", "write", "release"])
    store = client(served, token=text)
    ref = store.put(b"hello", MediaMeta(content_type="text/plain"), "s")
    link = store.url(ref, timedelta(minutes=5))
    assert link.startswith(served.url)
    assert httpx2.get(link, trust_env=False).content == b"hello"
    store.release(ref)
    assert httpx2.get(link, trust_env=False).status_code == 410
    with pytest.raises(ValueError, match="expires_in"):
        store.url(store.put(b"x", scope="s"), timedelta(days=300))


# -- processes and threads


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_has_connections_of_its_own(store):
    ref = store.put(b"hello", scope="s")
    child = os.fork()
    if child == 0:
        os._exit(0 if all(store.read_bytes(ref) == b"hello" for _ in range(20)) else 1)
    assert all(store.read_bytes(ref) == b"hello" for _ in range(20))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_forked_while_a_copy_is_written_down_can_end_its_ref(store):
    ref = store.put(b"hello", scope="s")

    def resolve():
        with suppress(RefReleased):
            store.resolve(ref)

    with paused(resolve, Copies._remember, lambda at: at["key"] in at.get("keys", ())):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                code = 0 if store.release(ref) else 1
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_that_leaves_a_lease_leaves_it_to_its_parent(store, served):
    ref = store.put(b"hello", scope="s")
    lease = store.lease(ref)
    with lease as media:
        child = os.fork()
        if child == 0:
            lease.__exit__(None, None, None)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        store.release_all("s")
        assert media.path.read_bytes() == b"hello"
        assert served.store.stats().leases == 1


# -- TLS


@pytest.fixture
def secured(tmp_path):
    """A server over TLS: its URL, and what trusts its certificate."""
    authority = trustme.CA()
    identity, trusting = authority.issue_cert("localhost"), ssl.create_default_context()
    authority.configure_trust(trusting)
    pem = tmp_path / "server.pem"
    pem.write_bytes(identity.private_key_and_cert_chain_pem.bytes())
    store = open_store(tmp_path / "secured", fsync=False, limits=Limits(max_file_bytes=2_000_000))
    state = tmp_path / "state"
    text, _ = Tokens(state / "tokens.json").create(["*"], ["read", "write", "release"])
    config = ServerConfig(state=str(state))
    listener = socket.create_server(("127.0.0.1", 0))
    app = create_app(store, config, closes=True)
    server = uvicorn.Server(uvicorn.Config(app, ssl_certfile=pem, **options(config)))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])), daemon=True)
    thread.start()
    yield f"https://localhost:{listener.getsockname()[1]}", text, trusting
    server.should_exit = True
    thread.join(20)
    assert not thread.is_alive()


def test_all_is_the_same_over_tls(secured, tmp_path):
    url, token, trusting = secured
    with HTTPMediaStore(url, token=token, cache=tmp_path / "cache", tls=trusting) as store:
        data = os.urandom(1_500_000)
        ref = store.put(iter([data[:700_000], data[700_000:]]), scope="s")
        with store.lease(ref) as media:
            assert media.path.read_bytes() == data
        with pytest.raises((TooLarge, CatalogError)):  # the answer may be lost with the connection
            store.put((b"x" * 65_536 for _ in range(1000)), scope="s")
        assert [it.ref for it in store.entries()] == [ref]


def test_a_server_whose_certificate_nobody_trusts_is_told_nothing(secured, client):
    url, token, _ = secured
    with pytest.raises(CatalogError, match=r"cannot be reached.*certificate"):
        client(url, token=token).scopes()
