"""A download brings a whole file from where it may come from, within its bounds, or leaves nothing."""

import gzip
import os
import pickle
import socket
import ssl
import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("httpx2", reason="needs mediakeep[download]")
trustme = pytest.importorskip("trustme")

# ruff: noqa: E402
from mediakeep import Limits, MediaMeta, QuotaExceeded, TooLarge, open_store
from mediakeep.intake.addresses import refusal
from mediakeep.intake.decoding import STEP, gunzipped
from mediakeep.intake.downloads import AddressRefused, DownloadError, DownloadTimeout, download
from misbehaving import Misbehaving, drip, flood, ok, redirect, tunnel

CAT = b"GIF89a: a cat"
HEAD = b"HTTP/1.1 200 OK\r\n"
PATIENCE = 20.0


@pytest.fixture(scope="module")
def servers():
    with Misbehaving() as one, Misbehaving() as other:
        yield one, other


@pytest.fixture
def server(servers):
    servers[0].asked.clear()
    return servers[0]


@pytest.fixture
def other(servers):
    servers[1].asked.clear()
    return servers[1]


@pytest.fixture
def store(tmp_path):
    with open_store(tmp_path / "store", fsync=False) as store:
        yield store


@pytest.fixture
def fails(store, tmp_path):
    """Downloads what must fail, and looks that nothing is left."""

    def fails(error, url, match=None, **options):
        options = {"allow_private": True, "max_seconds": PATIENCE, **options}
        with pytest.raises(error, match=match) as raised:
            download(url, store, "s", **options)
        assert list(store.entries()) == []
        blobs = tmp_path / "store" / "blobs"
        assert [path for path in blobs.rglob("*") if path.is_file()] == []
        return raised.value

    return fails


def get(url, store, **options):
    options = {"allow_private": True, "max_seconds": PATIENCE, **options}
    return download(url, store, "s", **options)


@pytest.fixture
def resolver(monkeypatch):
    """Gives names of this test the addresses that it says, one answer after the other."""
    real = socket.getaddrinfo
    answers, asked = {}, []

    def getaddrinfo(host, port, *arguments, **options):
        if host not in answers:
            return real(host, port, *arguments, **options)
        asked.append(host)
        given = answers[host]
        addresses = given.pop(0) if len(given) > 1 else given[0]
        return [found for it in addresses for found in real(it, port, *arguments, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    answers["asked"] = asked
    return answers


# -- what comes in


def test_a_file_comes_in_with_what_its_server_says_of_it(server, store):
    server.answer(
        "/files/1",
        ok(CAT, "Content-Type: image/gif", "content-disposition: attachment; filename=../my%20cat.gif"),
    )
    ref = get(server.url("/files/1"), store, ttl=60)
    assert store.read_bytes(ref) == CAT
    entry = store.entry(ref)
    assert (entry.scope, entry.meta.content_type, entry.meta.filename) == (
        "s",
        "image/gif",
        "my%20cat.gif",
    )
    assert entry.expires_at is not None


def test_what_the_caller_says_goes_before_what_the_server_says(server, store):
    server.answer(
        "/a", ok(CAT, "Content-Type: image/png", "Content-Disposition: inline; filename=x.png")
    )
    meta = MediaMeta("cat.gif", "image/gif", "telegram")
    entry = store.entry(get(server.url("/a"), store, meta=meta))
    assert (entry.meta, entry.declared_type) == (meta, "image/gif")


def test_the_end_of_the_path_is_the_name_where_there_is_no_other(server, store):
    server.answer("/a/K%C3%A4tzchen%2F..%2Fcat.gif?token=1", ok(CAT))
    server.answer("/moved", redirect("/a/K%C3%A4tzchen%2F..%2Fcat.gif?token=1"))
    entry = store.entry(get(server.url("/moved"), store))
    assert (entry.meta.filename, entry.declared_type) == ("cat.gif", "")


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_a_name_beyond_ascii_is_read_as_it_was_meant(server, store, encoding):
    named = 'Content-Length: 0\r\nContent-Disposition: inline; filename="Käse.gif"\r\n\r\n'
    ref = get(server.answer("/cheese", HEAD + named.encode(encoding)), store)
    assert store.entry(ref).meta.filename == "Käse.gif"


def test_an_empty_file_is_a_file(server, store):
    assert store.read_bytes(get(server.answer("/empty", ok(b"")), store)) == b""


def test_chunks_and_the_end_of_the_connection_end_a_file_too(server, store):
    server.answer(
        "/chunks", HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nGIF\r\n3\r\n89a\r\n0\r\n\r\n"
    )
    server.answer("/close", b"HTTP/1.0 200 OK\r\n\r\nGIF89a")
    assert store.read_bytes(get(server.url("/chunks"), store)) == b"GIF89a"
    assert store.read_bytes(get(server.url("/close"), store)) == b"GIF89a"


def test_a_file_that_is_packed_although_nobody_asked_is_unpacked(server, store):
    packed = gzip.compress(b"one " * 50_000) + gzip.compress(b"two")
    server.answer("/packed", ok(packed, "Content-Encoding: gzip"))
    assert store.read_bytes(get(server.url("/packed"), store)) == b"one " * 50_000 + b"two"
    assert server.asked[0].headers["accept-encoding"] == "identity"


def test_a_large_file_is_not_held_in_memory(server, store, tmp_path):
    size = 64 << 20
    piece = bytes(1 << 20)

    def hand(wire, closing):
        wire.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % size)
        for _ in range(size // len(piece)):
            wire.sendall(piece)

    server.answer("/large", hand)
    code = """
import resource, sys
from mediakeep import open_store
from mediakeep.intake.decoding import STEP, gunzipped
from mediakeep.intake.downloads import download
with open_store(sys.argv[2], fsync=False) as store:
    peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    download(sys.argv[1] + "/small", store, allow_private=True)
    before = peak()
    ref = download(sys.argv[1] + "/large", store, allow_private=True)
    print(store.entry(ref).size, peak() - before)
"""
    server.answer("/small", ok(CAT))
    run = subprocess.run(
        [sys.executable, "-c", code, server.url(""), tmp_path / "apart"],
        capture_output=True,
        check=True,
        text=True,
        timeout=60,
    )
    got, grown = map(int, run.stdout.split())
    assert got == size
    assert grown * (1 if sys.platform == "darwin" else 1024) < 8 << 20


# -- bounds


def test_a_file_that_says_that_it_is_too_large_is_refused_unread(server, fails):
    server.answer("/large", flood(HEAD + b"Content-Length: 99999999999999999999\r\n\r\n", b"x"))
    error = fails(TooLarge, server.url("/large"), r"may have 1000 \(max_bytes\)", max_bytes=1000)
    assert "127.0.0.1" in str(error)


def test_a_body_without_end_is_refused_where_it_is_too_large(server, fails, store):
    server.answer("/endless", flood(HEAD + b"\r\n", bytes(10_000)))
    fails(TooLarge, server.url("/endless"), max_bytes=1_000_000)
    server.answer("/endless", flood(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"4\r\nGIF8\r\n" * 99))
    fails(TooLarge, server.url("/endless"), max_bytes=100_000)
    server.answer("/just", ok(bytes(1000)))
    assert get(server.url("/just"), store, max_bytes=1000)
    with pytest.raises(TooLarge):
        get(server.url("/just"), store, max_bytes=999)


def test_a_bomb_is_refused_where_it_is_too_large(server, fails):
    bomb = gzip.compress(bytes(200 << 20), 1)
    server.answer("/bomb", ok(bomb, "Content-Encoding: gzip"))
    begin = time.process_time()
    fails(TooLarge, server.url("/bomb"), max_bytes=2 << 20)
    assert time.process_time() - begin < 1


@given(st.lists(st.binary(max_size=300_000), max_size=3), st.integers(1, 50_000))
@settings(max_examples=30)
def test_gzip_comes_out_whole_in_small_steps_however_it_comes_in(members, size):
    packed = b"".join(map(gzip.compress, members))
    steps = list(gunzipped(packed[at : at + size] for at in range(0, len(packed), size)))
    assert b"".join(steps) == b"".join(members)
    assert max(map(len, steps), default=0) <= STEP
    if packed:
        with pytest.raises(zlib.error):
            list(gunzipped([packed[:-1]]))


def test_a_bomb_comes_out_in_small_steps_too():
    assert max(map(len, gunzipped([gzip.compress(bytes(20 << 20))]))) <= STEP


def test_emptiness_without_end_is_refused_too(server, fails):
    head = HEAD + b"Content-Encoding: gzip\r\n\r\n"
    server.answer("/nothing", flood(head, gzip.compress(b"") * 1000))
    fails(TooLarge, server.url("/nothing"), max_bytes=100_000)


def test_the_limits_of_the_store_hold_while_streaming(server, tmp_path):
    server.answer("/endless", flood(HEAD + b"\r\n", bytes(10_000)))
    limits = Limits(max_store_bytes=100_000)
    with open_store(tmp_path / "small", limits=limits, fsync=False) as store:
        with pytest.raises(QuotaExceeded):
            get(server.url("/endless"), store)
        assert store.stats().files == 0


SLOW = {
    "no answer": drip(b"", b""),
    "headers": drip(HEAD, b"X-Slow: 1\r\n"),
    "one header": drip(HEAD + b"X-Slow: ", b"x"),
    "body": drip(HEAD + b"Content-Length: 100000\r\n\r\n", b"x"),
    "chunks": drip(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    "nothing more": drip(HEAD + b"Content-Length: 10\r\n\r\nGIF", b""),
    "continue": drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "continue at once": flood(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
}


@pytest.mark.parametrize("slow", SLOW)
def test_what_never_ends_ends_in_its_time(server, fails, slow):
    server.answer("/slow", SLOW[slow])
    begin = time.monotonic()
    error = fails(DownloadTimeout, server.url("/slow"), "raise max_seconds", max_seconds=0.3)
    assert 0.3 <= time.monotonic() - begin < PATIENCE
    assert isinstance(error, TimeoutError)


def test_the_time_is_that_of_all_redirects_together(server, fails):
    server.answer("/again", lambda wire, closing: (closing.wait(0.2), wire.sendall(redirect("/again"))))
    begin = time.monotonic()
    fails(DownloadTimeout, server.url("/again"), max_seconds=0.5, max_redirects=20)
    assert time.monotonic() - begin < PATIENCE


def test_a_name_that_is_not_resolved_ends_in_its_time(fails, monkeypatch):
    done = threading.Event()

    def getaddrinfo(*arguments, **options):
        done.wait(60)
        raise socket.gaierror(socket.EAI_AGAIN, "no name server")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    begin = time.monotonic()
    fails(DownloadTimeout, "http://slow.example/", max_seconds=0.2)
    assert time.monotonic() - begin < PATIENCE
    done.set()


def test_a_handshake_that_stalls_ends_in_its_time(server, fails):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        begin = time.monotonic()
        fails(DownloadTimeout, f"https://127.0.0.1:{silent.getsockname()[1]}/", max_seconds=0.3)
        assert time.monotonic() - begin < PATIENCE


# -- answers that are none

BROKEN = {
    "cut": (HEAD + b"Content-Length: 100\r\n\r\nGIF89a", "cut short"),
    "chunks cut": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n6\r\nGIF8", "cut short"),
    "no last chunk": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nGIF\r\n", "cut short"),
    "no answer": (b"", "not answered"),
    "no HTTP": (b"SSH-2.0-OpenSSH_9.9\r\n", "not answered"),
    "half a header": (HEAD + b"Content-Len", "not answered"),
    "huge headers": (HEAD + b"X: " + b"x" * 1_000_000 + b"\r\n\r\n", "not answered"),
    "two lengths": (HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nGIF", "not answered"),
    "no length": (HEAD + b"Content-Length: -1\r\n\r\nGIF", "not answered"),
    "no chunk": (HEAD + b"Transfer-Encoding: chunked\r\n\r\nGIF\r\n", "not answered"),
    "garbage": (ok(b"garbage", "Content-Encoding: gzip"), "packed with gzip, and that is broken"),
    "half gzip": (ok(gzip.compress(CAT)[:-9], "Content-Encoding: gzip"), "ends too soon"),
    "wrong sum": (ok(gzip.compress(CAT)[:-8] + bytes(8), "Content-Encoding: gzip"), "broken"),
    "brotli": (ok(b"garbage", "Content-Encoding: br"), "packed with 'br', which was not asked for"),
    "deflate": (ok(zlib.compress(CAT), "Content-Encoding: deflate"), "'deflate'"),
    "twice": (ok(gzip.compress(CAT), "Content-Encoding: gzip, gzip"), "'gzip, gzip'"),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_answer_is_an_error(server, fails, how):
    answer, words = BROKEN[how]
    fails(DownloadError, server.answer("/broken", answer), words)


def test_a_body_that_goes_on_after_its_length_ends_there(server, store):
    server.answer("/more", ok(CAT) + b"and more")
    assert store.read_bytes(get(server.url("/more"), store)) == CAT


def test_a_connection_that_is_reset_is_an_error(server, fails):
    def reset(wire, closing):
        wire.sendall(HEAD + b"Content-Length: 100\r\n\r\nGIF89a")
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    fails(DownloadError, server.answer("/reset", reset), "cannot be reached|cut short")


@pytest.mark.parametrize(
    "status", [201, 204, 206, 300, 304, 400, 401, 403, 404, 410, 429, 500, 503, 999]
)
def test_a_status_that_brings_no_whole_file_is_an_error(server, fails, status):
    server.answer("/status", b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % status)
    assert fails(DownloadError, server.url("/status"), f"with status {status}").status == status


def test_where_nobody_listens_is_an_error(fails):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and so nobody else's, though nobody listens
        fails(DownloadError, f"http://127.0.0.1:{taken.getsockname()[1]}/", "cannot be reached")
    fails(DownloadError, "http://nobody.invalid/", "not found")


# -- redirects


def test_redirects_are_followed(server, other, store):
    server.answer("/1", redirect("2?x=1", 301))
    server.answer("/2?x=1", redirect(f"//127.0.0.1:{other.port}/3#part", 307))
    other.answer("/3", redirect("/4", 308))
    other.answer("/4", ok(CAT))
    assert store.read_bytes(get(server.url("/1"), store)) == CAT
    assert [asked.method for asked in server.asked + other.asked] == ["GET"] * 4


def test_redirects_that_lead_in_a_circle_end(server, fails):
    server.answer("/loop", redirect("/loop"))
    fails(DownloadError, server.url("/loop"), "5 redirects led")
    assert len(server.asked) == 6
    fails(DownloadError, server.url("/loop"), "raise max_redirects", max_redirects=0)
    assert len(server.asked) == 7


@pytest.mark.parametrize(
    "location",
    [
        "file:///etc/passwd",
        "ftp://127.0.0.1/x",
        "javascript:1",
        "http://[::1",
        "http://a b/",
        "",
    ],
)
def test_a_redirect_to_what_is_no_web_address_is_refused(server, fails, location):
    fails(
        DownloadError, server.answer("/away", redirect(location)), "is a redirect that is not followed"
    )


def test_a_redirect_with_a_password_is_refused_without_telling_it(server, fails):
    server.answer("/away", redirect("http://me:secret@127.0.0.1/x?secret"))
    error = fails(DownloadError, server.url("/away"), r"http://127.0.0.1/x has a user or password in it")
    assert "secret" not in str(error)


SECRET = {"Authorization": "Bearer secret", "X-Key": "secret"}


def secrets_of(asked):
    return {name: value for name, value in asked.headers.items() if "secret" in value}


def test_headers_go_along_to_the_same_origin_only(server, other, store):
    server.answer("/1", redirect("/2"))
    server.answer("/2", redirect(other.url("/3")))
    other.answer("/3", redirect(server.url("/4")))
    server.answer("/4", ok(CAT))
    get(server.url("/1"), store, headers=SECRET)
    assert [bool(secrets_of(it)) for it in server.asked] == [True, True, False], (
        "not even on the way back"
    )
    assert secrets_of(other.asked[0]) == {}


def test_headers_do_not_go_to_another_name_of_the_same_host(server, store, resolver):
    resolver["files.example"] = [["127.0.0.1"]]
    server.answer("/1", redirect(server.url("/2", "files.example")))
    server.answer("/2", ok(CAT))
    get(server.url("/1"), store, headers=SECRET)
    assert [bool(secrets_of(it)) for it in server.asked] == [True, False]
    assert server.asked[1].headers["host"] == f"files.example:{server.port}"


def test_headers_are_ours_where_the_caller_has_none(server, store):
    get(server.answer("/", ok(CAT)), store, headers={"User-Agent": "bot/1"})
    assert server.asked[0].headers == {
        "host": f"127.0.0.1:{server.port}",
        "user-agent": "bot/1",
        "accept": "*/*",
        "accept-encoding": "identity",
    }


@pytest.mark.parametrize(
    "headers", [{"Host": "a"}, {"X": "a\r\nY: b"}, {"X y": "a"}, {"Range": "bytes=0-1"}, {"X": "€"}]
)
def test_headers_that_cannot_be_are_refused_without_telling_them(server, fails, headers):
    error = fails(ValueError, server.url(), headers=headers)
    assert "Y: b" not in str(error)
    assert server.asked == []


def test_cookies_are_not_kept(server, store):
    server.answer("/1", redirect("/2", 302, "Set-Cookie: a=b; Path=/"))
    server.answer("/2", ok(CAT))
    get(server.url("/1"), store)
    assert "cookie" not in server.asked[1].headers


# -- addresses

PUBLIC = ["1.1.1.1", "100.63.255.255", "172.32.0.1", "2606:4700:4700::1111", "64:ff9b::808:808"]
PRIVATE = """
    0.0.0.0 0.1.2.3 10.0.0.1 100.64.0.1 100.100.100.200 127.0.0.1 127.255.0.1 168.63.129.16
    169.254.169.254 172.16.0.1 172.31.255.255 192.0.0.192 192.0.2.1 192.168.1.1 198.18.0.1 198.51.100.1
    203.0.113.1 224.0.0.1 239.1.1.1 240.0.0.1 255.255.255.255
    :: ::1 ::127.0.0.1 ::ffff:127.0.0.1 ::ffff:8.8.8.8 64:ff9b::7f00:1 64:ff9b::a9fe:a9fe 64:ff9b:1::1
    100::1 2001::1 2001:0:4136:e378:8000:63bf:3fff:fdd2 2001:db8::1 2002:7f00:1:: 2002:808:808::1
    3fff::1 4000::1 5f00::1 fc00::1 fd00:ec2::254 fe80::1 fe80::1%1 fec0::1 ff02::1
"""


def test_only_public_addresses_are_public():
    assert [it for it in PUBLIC if refusal(it)] == []
    assert [it for it in PRIVATE.split() if not refusal(it)] == []


SPELLINGS = """
    127.0.0.1 2130706433 0x7f000001 0177.0.0.1 127.1 0x7f.1 0 localhost LOCALHOST localhost. 127.0.0.1.
    [::1] [0:0:0:0:0:0:0:1] [::ffff:127.0.0.1] [::ffff:7f00:1] [::] 127。0。0。1 ①②⑦.0.0.1
    169.254.169.254 [fe80::1%25lo] [fd00:ec2::254] 0xa9fea9fe
"""


UNUSUAL = ("0177.0.0.1", "127.0.0.1.", "localhost.", "①②⑦.0.0.1", "[fe80::1%25lo]")


@pytest.mark.parametrize("host", SPELLINGS.split())
def test_no_spelling_of_a_private_address_is_connected_to(server, fails, host):
    error = fails(DownloadError, f"http://{host}:{server.port}/", allow_private=False)
    # Some are no host to the parser of URLs, or none to this machine's resolver; nearly all are one.
    assert isinstance(error, AddressRefused) or host in UNUSUAL
    assert server.asked == []


def test_a_name_with_a_private_address_among_others_is_refused(server, fails, resolver):
    resolver["mixed.example"] = [["1.1.1.1", "127.0.0.1"]]
    error = fails(AddressRefused, server.url("/", "mixed.example"), allow_private=False)
    assert "mixed.example leads to 127.0.0.1, which is not a public address (loopback)" in str(error)
    assert server.asked == []


def test_a_name_is_resolved_once_and_what_was_judged_is_connected_to(server, fails, store, resolver):
    # Rebinding: whoever asks a second time gets another answer.
    resolver["rebind.example"] = [["127.0.0.1"], ["127.0.0.2"]]
    get(server.answer("/", ok(CAT)).replace("127.0.0.1", "rebind.example"), store)
    assert resolver["asked"] == ["rebind.example"]
    store.release_all("s")
    resolver["rebind.example"] = [["127.0.0.1"], ["1.1.1.1"]]
    fails(AddressRefused, server.url("/", "rebind.example"), allow_private=False)
    assert len(server.asked) == 1


def test_each_redirect_is_judged_anew(server, fails, resolver, monkeypatch):
    # A public address that leads to this server: only what is judged is public, as a test must have it.
    import mediakeep.intake.addresses as addresses

    public = [net for net in addresses._IPV4 if str(net[0]) != "127.0.0.0/8"]
    monkeypatch.setattr(addresses, "_IPV4", public)
    resolver["public.example"] = [["127.0.0.1"]]
    resolver["rebound.example"] = [["127.0.0.1"], ["10.0.0.1"]]
    for target in ("http://169.254.169.254/latest", "http://10.1/", "http://[::ffff:7f00:1]/"):
        server.answer("/away", redirect(target))
        fails(AddressRefused, server.url("/away", "public.example"), allow_private=False)
    server.answer("/self", redirect("/self"))
    fails(AddressRefused, server.url("/self", "rebound.example"), "10.0.0.1", allow_private=False)
    assert len(server.asked) == 4


def test_the_next_address_of_a_name_is_tried_where_one_is_dead(server, store, resolver):
    resolver["two.example"] = [["127.0.0.2", "127.0.0.1"]]  # nobody listens on the first
    server.answer("/", ok(CAT))
    assert get(server.url("/", "two.example"), store)


# -- certificates


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture(scope="module")
def secured(authority):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("files.example").configure_cert(context)
    with Misbehaving(context) as server:
        yield server


@pytest.fixture
def trusting(authority):
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def test_the_certificate_is_that_of_the_name_not_of_the_address(secured, store, resolver, trusting):
    resolver["files.example"] = [["127.0.0.1"]]
    secured.answer("/", ok(CAT))
    assert get(secured.url("/", "files.example"), store, tls=trusting)
    assert secured.asked[-1].headers["host"] == f"files.example:{secured.port}"


def test_a_certificate_of_somebody_else_is_refused(secured, fails, resolver, trusting):
    resolver["other.example"] = resolver["files.example"] = [["127.0.0.1"]]
    fails(DownloadError, secured.url("/", "other.example"), "CERTIFICATE_VERIFY_FAILED", tls=trusting)
    fails(DownloadError, secured.url("/", "files.example"), "CERTIFICATE_VERIFY_FAILED")


def test_headers_do_not_go_from_https_to_http(secured, server, store, resolver, trusting):
    resolver["files.example"] = [["127.0.0.1"]]
    secured.answer("/down", redirect(server.url("/", "files.example")))
    server.answer("/", ok(CAT))
    get(secured.url("/down", "files.example"), store, headers=SECRET, tls=trusting)
    assert secrets_of(secured.asked[-1])
    assert not secrets_of(server.asked[0])


# -- proxies


def test_no_proxy_is_taken_from_the_environment(server, store, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert get(server.answer("/", ok(CAT)), store)


def test_a_proxy_that_is_given_is_used(server, other, store):
    other.answer("http://files.example/cat.gif", ok(CAT))
    ref = get(
        "http://files.example/cat.gif",
        store,
        proxy=f"http://me:pass%20word@127.0.0.1:{other.port}",
        allow_private=False,
    )
    assert store.entry(ref).meta.filename == "cat.gif"
    assert other.asked[0].headers["proxy-authorization"] == "Basic bWU6cGFzcyB3b3Jk"


def test_a_proxy_is_a_tunnel_for_https(secured, other, store, trusting):
    other.answer("files.example:443", tunnel(secured.port))
    secured.answer("/tunnelled", ok(CAT))
    get(
        "https://files.example/tunnelled",
        store,
        proxy=other.url(""),
        allow_private=False,
        headers=SECRET,
        tls=trusting,
    )
    assert not secrets_of(other.asked[0])
    assert secrets_of(secured.asked[-1])


@pytest.mark.parametrize("host", ["127.0.0.1.", "0x7f.1", "[::1]", "LocalHost", "169.254.169.254"])
def test_a_proxy_is_not_asked_for_a_private_address(other, fails, host):
    fails(AddressRefused, f"http://{host}/", proxy=other.url(""), allow_private=False)
    assert other.asked == []


@pytest.mark.parametrize(
    "proxy", ["https://127.0.0.1:1", "socks5://127.0.0.1:1", "127.0.0.1:1", "http://"]
)
def test_what_is_no_proxy_is_refused(fails, proxy):
    fails(ValueError, "http://files.example/", "the proxy must be given as", proxy=proxy)


# -- URLs


@pytest.mark.parametrize(
    "url",
    ["", "cat.gif", "//a/b", "file:///etc/passwd", "http://", "http:///x", "http://a b/", "http://a:0/",
     "http://a:99999/", "http://[::1", "http://a\x00b/", "data:,x", "http://%31/", "http://.a/", "http://a..b/",
     f"http://{'a' * 64}.de/", "http://" + "a" * 70_000, "x" * 70_000],
)  # fmt: skip
def test_what_is_no_web_address_is_refused(fails, url):
    assert len(str(fails(DownloadError, url, allow_private=False))) < 200


def test_errors_do_not_tell_secrets(server, fails):
    server.answer("/bot123:secret/files/cat.gif?key=secret", b"")
    error = fails(DownloadError, server.url("/bot123:secret/files/cat.gif?key=secret#secret"))
    assert f"http://127.0.0.1:{server.port}/…/cat.gif " in str(error)
    for url in ("http://me:secret@127.0.0.1/", "http://me:secret@[", "http://me:secret@127.0.0.1:x/"):
        error = fails(DownloadError, url, "has a user or password in it|the URL cannot be one")
        assert "secret" not in str(error)


@pytest.mark.parametrize("bad", [{"max_bytes": 0}, {"max_seconds": 0}, {"max_redirects": -1}])
def test_a_limit_that_is_none_is_refused(fails, bad):
    fails(ValueError, "http://127.0.0.1/", **bad)


def test_an_error_survives_the_way_between_processes(fails):
    error = pickle.loads(pickle.dumps(fails(DownloadError, "http://nobody.invalid/")))
    assert (type(error), error.status) == (DownloadError, None)
    late = pickle.loads(pickle.dumps(DownloadTimeout("late", status=504)))
    assert (str(late), late.status) == ("late", 504)


def test_a_server_cannot_fill_an_error_with_words(server, fails):
    server.answer("/words", b"x" * 90_000 + b"\r\n\r\n")
    assert len(str(fails(DownloadError, server.url("/words")))) < 400


def test_connections_are_closed_when_a_download_ends(server, store, fails):
    handles = Path("/proc/self/fd")
    if not handles.exists():
        pytest.skip("needs /proc")
    server.answer("/", ok(CAT))
    server.answer("/loop", redirect("/loop"))
    server.answer("/cut", HEAD + b"Content-Length: 100\r\n\r\nGIF89a")
    get(server.url("/"), store)
    store.release_all("s")

    def connected():
        mine = 0
        for handle in os.listdir(handles):
            try:
                with socket.socket(fileno=os.dup(int(handle))) as it:
                    mine += it.family == socket.AF_INET and it.getpeername()[1] == server.port
            except OSError:
                continue
        return mine

    before = connected()
    get(server.url("/"), store)
    store.release_all("s")
    fails(DownloadError, server.url("/loop"))
    fails(DownloadError, server.url("/cut"))
    assert connected() == before == 0
