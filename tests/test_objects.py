"""Blobs in object storage, over a real S3 server: what holds there, also when things break."""

import contextlib
import hashlib
import io
import itertools
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from datetime import timedelta

import pytest

pytest.importorskip("obstore")

import obstore

from mediakeep import BlobError, MediaMeta, MediaMissing, MediaStore, NotAFile
from mediakeep.blobs.objects import ObjectBlobs, ObjectStoreError
from mediakeep.blobs.writers import Writers
from mediakeep.catalogs.memory import MemoryCatalog
from mediakeep.errors import CatalogError
from mediakeep.testing import BlobsContract
from misbehaving import Misbehaving
from pausing import paused
from seaweed_server import BUCKET, SECRET

MIB = 1 << 20
PATIENCE = 20.0


def no(_):
    return False


def yes(_):
    return True


@pytest.fixture
def place(seaweed, tmp_path):
    """Makes blobs under one fresh prefix: all that are made are of the same place."""
    made = []
    url = f"s3://{BUCKET}/{secrets.token_hex(8)}/in here"

    def place(**options):
        given = {**seaweed.options, "cache": tmp_path / "cache", "url": url, **options}
        made.append(ObjectBlobs(given.pop("url"), **given))
        return made[-1]

    yield place
    for blobs in made:
        blobs.close()


@pytest.fixture
def blobs(place):
    return place()


def names(blobs):
    """Return the names of all objects of the place, markers and all."""
    return [it["path"] for page in obstore.list(blobs._remote.store) for it in page]


def keys(blobs):
    return [it.key for it in blobs.scan()]


def put(blobs, data, **options):
    with blobs.stage(data, is_named=no, **options) as staged:
        pass
    return staged.key


def pieces(count, size=MIB):
    return (bytes([n % 251]) * size for n in range(count))


def wait_for(condition):
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.05)


class TestObjectBlobs(BlobsContract):
    @pytest.fixture(autouse=True)
    def _place(self, place, seaweed):
        self.make_blobs = lambda: place(
            url=f"s3://{BUCKET}/{secrets.token_hex(8)}", cache=None, cache_bytes=64 * MIB
        )

    @pytest.fixture(autouse=True)
    def _own_default_cache(self, tmp_path, monkeypatch):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))


# -- in


def test_writers_give_signs_of_life_also_when_a_thread_for_it_could_not_be_started_before(blobs):
    writers = Writers(blobs._remote, 1)
    usual = threading.stack_size(1 << 50)  # which no machine has
    try:
        with pytest.raises(RuntimeError, match="thread"):
            writers.begin(kept=False)
    finally:
        threading.stack_size(usual)
    assert not writers._batches
    key = writers.begin(kept=False)
    batch, began_at = writers._batches[key], writers._batches[key].renewed_at
    wait_for(lambda: batch.renewed_at > began_at or batch.lost)
    writers.end(key, settled=True)
    writers.close()


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_can_close_what_it_cannot_use_whatever_its_parent_was_doing(blobs):
    with paused(lambda: put(blobs, b"x"), Writers._write_marker, lambda at: "batch" in at):
        child = os.fork()
        if child == 0:
            code = 1
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(int(PATIENCE) // 2)  # ends it, if it waits for ever
            try:
                blobs.close()
                code = 0
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert len(keys(blobs)) == 1


def test_one_marker_serves_many_puts_and_goes_with_the_process(blobs):
    for _ in range(70):
        put(blobs, b"x")
    assert len([it for it in names(blobs) if it.startswith("tmp/")]) == 1
    blobs.close()
    assert not [it for it in names(blobs) if it.startswith("tmp/")]


def test_many_bytes_go_in_parts_and_come_back(blobs, seaweed):
    with blobs.stage(pieces(21), is_named=no) as staged:
        assert blobs.being_written(staged.key)
    digest = hashlib.sha256(b"".join(pieces(21))).hexdigest()
    assert (staged.size, staged.sha256) == (21 * MIB, digest)
    with blobs.open(staged.key) as file:
        assert hashlib.file_digest(file, "sha256").hexdigest() == digest
    with open(blobs.path(staged.key, sha256=digest), "rb") as file:
        assert hashlib.file_digest(file, "sha256").hexdigest() == digest
    assert seaweed.uploads() == []


@pytest.mark.parametrize("size", [0, 1, 8 * MIB, 8 * MIB + 1])
def test_bytes_of_any_size_are_whole(blobs, size):
    data = os.urandom(size)
    key = put(blobs, data)
    assert blobs.holds(key, size, kept=False)
    assert blobs.path(key).read_bytes() == data
    with blobs.open(key) as file:
        assert file.read() == data


@pytest.mark.parametrize("size", [MIB, 9 * MIB])
def test_a_part_of_bytes_is_put_without_the_rest(blobs, size):
    data = os.urandom(size)
    with blobs.stage(memoryview(data)[3:-3], is_named=no) as staged:
        pass
    with blobs.open(staged.key) as file:
        assert file.read() == data[3:-3]
    assert (staged.size, staged.sha256) == (size - 6, hashlib.sha256(data[3:-3]).hexdigest())


def test_a_source_that_fails_in_the_midst_of_the_parts_leaves_nothing(blobs, seaweed):
    def broken(error):
        yield from pieces(20)
        raise error

    for error in (ZeroDivisionError, KeyboardInterrupt):
        with pytest.raises(error), blobs.stage(broken(error), is_named=no):
            pass
    assert keys(blobs) == []
    assert list(blobs.leftovers()) == []
    assert seaweed.uploads() == []


def test_a_source_may_be_an_object_itself(blobs):
    first = put(blobs, pieces(12))
    with blobs.open(first) as file, blobs.stage(file, is_named=no) as staged:
        pass
    with blobs.open(first) as one, blobs.open(staged.key) as two:
        assert one.read() == two.read()


def test_a_service_that_fails_in_the_midst_of_the_parts_ends_the_reading_of_the_source(proxy, place):
    blobs = place(endpoint=proxy.endpoint, **QUICK)
    put(blobs, b"a first one, so that the marker is there")
    taken = []

    def endless():
        for piece in itertools.cycle(pieces(3)):
            taken.append(len(piece))
            if len(taken) == 9:
                proxy.cut_after, proxy.cuts = 0, 10_000
            yield piece

    with pytest.raises(ObjectStoreError), blobs.stage(endless(), is_named=no):
        pass
    assert len(taken) < 200
    proxy.cuts = 0
    assert len(keys(blobs)) == 1


@pytest.mark.parametrize("given", [lambda it: it, lambda it: memoryview(it).toreadonly()])
def test_a_source_may_reuse_its_buffer(blobs, given):
    def reusing():
        buffer = bytearray(MIB)
        for n in range(12):
            buffer[:] = bytes([n]) * MIB
            yield given(buffer)

    key = put(blobs, reusing())
    with blobs.open(key) as file:
        assert [file.read(MIB)[:1] for _ in range(12)] == [bytes([n]) for n in range(12)]


def test_objects_are_served_as_what_they_are_and_never_as_a_page(blobs):
    for meta, shown, how in (
        (MediaMeta("ein Bild.png", "image/png"), "image/png", "inline; filename*=UTF-8''ein%20Bild.png"),
        (
            MediaMeta("ü\r\nX: y", "text/html"),
            "text/html",
            "attachment; filename*=UTF-8''%C3%BC%0D%0AX%3A%20y",
        ),
        (MediaMeta("", "image/svg+xml"), "image/svg+xml", "attachment"),
        (MediaMeta("", "image/png\r\nSet-Cookie: a=b"), "application/octet-stream", "attachment"),
    ):
        key = put(blobs, b"x", about=lambda meta=meta: meta)
        with urllib.request.urlopen(blobs.url(key, 60), timeout=10) as answer:
            assert answer.headers["Content-Type"] == shown
            assert answer.headers["Content-Disposition"] == how
            assert answer.read() == b"x"


# -- out


def test_an_open_object_seeks_and_reads_like_a_file(blobs):
    data = os.urandom(3 * MIB + 17)
    key = put(blobs, data)
    like = io.BytesIO(data)
    with blobs.open(key) as file:
        assert file.seekable() and not file.writable()
        for offset, whence, count in (
            (0, 0, 10),
            (2 * MIB, 0, 100),
            (5, 1, 7),
            (-20, 2, 100),
            (0, 2, 5),
            (9, 0, 2 * MIB),
            (1, 0, -1),
        ):
            assert file.seek(offset, whence) == like.seek(offset, whence)
            assert file.read(count) == like.read(count)
            assert file.tell() == like.tell()
        with pytest.raises(ValueError, match="negative"):
            file.seek(-1)


def test_what_is_not_there_is_missing(blobs):
    key = "3f/" + "0" * 32
    for verb in (blobs.open, blobs.path):
        with pytest.raises(MediaMissing, match="never written"):
            verb(key)
    assert not blobs.holds(key, 0, kept=False)
    blobs.delete(key)


def test_a_path_of_the_cache_that_is_no_blob_is_refused(blobs, tmp_path):
    put(blobs, b"x")
    assert blobs.key("/elsewhere/3f") is None
    with pytest.raises(NotAFile, match="cache"):
        blobs.key(str(tmp_path / "cache" / "room"))


def test_a_signed_url_reads_until_it_expires_and_no_longer_than_a_week(blobs):
    key = put(blobs, b"shown")
    with urllib.request.urlopen(blobs.url(key, timedelta(minutes=1)), timeout=10) as answer:
        assert answer.read() == b"shown"
    for bad in (0.5, timedelta(days=8)):
        with pytest.raises(ValueError, match="7 days"):
            blobs.url(key, bad)
    changed = blobs.url(key, 60).replace("X-Amz-Expires=60", "X-Amz-Expires=600")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(changed, timeout=10)
    refused.value.close()
    assert refused.value.code == 403


def test_many_are_deleted_at_once_and_kept_ones_never(blobs):
    mine = [put(blobs, b"x") for _ in range(5)]
    kept = put(blobs, b"x", kept=True)
    path = blobs.path(mine[0])
    blobs.delete_many([*mine, kept, "3f/" + "0" * 32])
    assert keys(blobs) == [kept]
    assert not path.exists(), "a copy of what is deleted goes too"


def test_a_scan_tells_key_size_time_and_keeping_and_ignores_what_is_not_its_own(blobs):
    one, two = put(blobs, b"1"), put(blobs, b"22", kept=True)
    obstore.put(blobs._remote.store, "3f/notes.txt", b"mine")
    found = {it.key: it for it in blobs.scan()}
    assert set(found) == {one, two}
    assert (found[one].size, found[one].kept) == (1, False)
    assert (found[two].size, found[two].kept) == (2, True)
    assert abs(found[one].modified_at - time.time()) < 60


# -- what a dead writer leaves

CHILD = """
import os, signal, sys
from mediakeep.blobs.objects import ObjectBlobs
import json
where, options = sys.argv[1], json.loads(sys.argv[2])
point = sys.argv[3]
blobs = ObjectBlobs(where, **options)
def die(): os.kill(os.getpid(), signal.SIGKILL)
def source():
    yield b"x" * (1 << 20)
    if point == "reading": die()
    for n in range(20):
        yield b"x" * (1 << 20)
        if point == "parts" and n == 18: die()
if point == "marker":
    blobs._writers.begin(kept=False); die()
data = source() if point in ("reading", "parts") else b"x"
with blobs.stage(data, is_named=lambda key: False, kept=point == "kept") as staged:
    print(staged.key, flush=True)
    if point in ("written", "kept", "named"): die()
raise SystemExit("it outlived its death")
"""


def die_at(points, where, options):
    """Have a process for each point die there; return the keys that they had been given."""
    processes = {
        point: subprocess.Popen(
            [sys.executable, "-c", CHILD, where, json.dumps(options), point],
            stdout=subprocess.PIPE,
            text=True,
        )
        for point in points
    }
    written = {point: it.communicate(timeout=PATIENCE)[0].strip() for point, it in processes.items()}
    assert {it.returncode for it in processes.values()} == {-signal.SIGKILL}
    return written


def cut_short_the_time_of_writers(blobs):
    """Have the markers of killed writers say that they live for one second."""
    remote = blobs._remote.store
    for name in names(blobs):
        if name.endswith(".60"):
            obstore.copy(remote, name, name.removesuffix("60") + "1")
            obstore.delete(remote, name)


def test_what_a_killed_writer_left_is_settled_once_its_time_is_over(place, seaweed, tmp_path):
    blobs = place()
    options = {**seaweed.options, "cache": str(tmp_path / "child")}
    points = ("marker", "reading", "parts", "written", "kept", "named")
    written = die_at(points, blobs._remote.url, options)
    assert set(keys(blobs)) == {written["written"], written["kept"], written["named"]}
    assert blobs.being_written(written["written"])
    cut_short_the_time_of_writers(blobs)
    with blobs.stage(b"mine", is_named=no) as staged:
        wait_for(lambda: len(list(blobs.leftovers())) == 5)
        mine = staged.key
        assert blobs.settle(lambda key: key == written["named"]) == 5
        assert set(keys(blobs)) == {mine, written["named"]}
        assert not blobs.being_written(written["named"])
        assert blobs.settle(no) == 0, "one at work is alive, however long it takes"
    blobs.close()
    assert set(names(blobs)) == {mine, written["named"]}


def test_a_writer_that_gave_no_sign_of_life_in_time_gives_no_key(place, monkeypatch):
    blobs, other = place(writer_seconds=1), place()
    monkeypatch.setattr(Writers, "renew", lambda self: True)

    def slow():
        yield from pieces(9)
        wait_for(lambda: other.settle(no))

    with pytest.raises(BlobError, match="put the bytes again"), blobs.stage(slow(), is_named=no):
        raise AssertionError("it has no key to name")
    assert keys(blobs) == []


@pytest.mark.parametrize("seen", [True, False])
def test_a_writer_that_was_late_fails_if_a_sweep_may_have_missed_its_row(place, monkeypatch, seen):
    blobs, other = place(writer_seconds=1), place()
    monkeypatch.setattr(Writers, "renew", lambda self: True)

    def late():
        with blobs.stage(b"x", is_named=no) as staged:
            wait_for(lambda: list(other.leftovers()))
            if not seen:
                assert other.settle(no) == 1
        return staged.key

    if seen:
        key = late()
        assert other.settle(lambda it: it == key) == 1
        assert keys(blobs) == [key]
    else:
        with pytest.raises(BlobError, match="put the bytes again"):
            late()
        assert keys(blobs) == []


def test_what_cannot_be_told_is_asked_again_and_survives_if_it_was_named(place):
    blobs = place()

    def cannot_tell(key):
        raise CatalogError("the catalog is away")

    def unsure():
        with blobs.stage(b"x", is_named=cannot_tell) as staged:
            held.append(staged.key)
            raise ZeroDivisionError

    held = []
    with pytest.raises(ZeroDivisionError):
        unsure()
    assert place().settle(cannot_tell) == 1
    assert blobs.being_written(held[0])
    assert place().settle(yes) == 1
    assert keys(blobs) == held
    assert list(blobs.leftovers()) == []


FORKS = """
import json, os, sys
from mediakeep import BlobError
from mediakeep.blobs.objects import ObjectBlobs
blobs = ObjectBlobs(sys.argv[1], **json.loads(sys.argv[2]))
with blobs.stage(b"x", is_named=lambda key: False) as staged: pass
def tries(verb):
    try: verb()
    except BlobError as error: return "spawn" in str(error)
pid = os.fork()
if pid == 0:
    verbs = (
        lambda: blobs.stage(b"y", is_named=lambda key: False).__enter__(),
        lambda: blobs.open(staged.key),
        lambda: blobs.path(staged.key),
        lambda: blobs.delete(staged.key),
        lambda: list(blobs.scan()),
    )
    told = all(tries(verb) for verb in verbs)
    blobs.close()
    os._exit(7 if told else 1)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
blobs.close()
"""


def test_a_forked_child_is_told_instead_of_hanging(place, seaweed, tmp_path):
    options = {**seaweed.options, "cache": str(tmp_path / "child")}
    arguments = [sys.executable, "-W", "ignore", "-c", FORKS, place()._remote.url, json.dumps(options)]
    subprocess.run(arguments, timeout=PATIENCE, check=True)


# -- when the service is bad

QUICK = {
    "retry_config": {
        "max_retries": 1,
        "backoff": {"init_backoff": timedelta(milliseconds=20)},
        "retry_timeout": timedelta(seconds=3),
    }
}


def answer(status, code):
    body = f"<Error><Code>{code}</Code><Message>no</Message></Error>"
    return (
        f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}"
    ).encode()


class Bad(Misbehaving):
    """A server that answers all requests alike."""

    def __init__(self, said):
        super().__init__()
        self._answers = _Always(lambda wire, _: wire.sendall(said))


class _Always(dict):
    def __init__(self, hand):
        super().__init__()
        self.hand = hand

    def get(self, target, default=None):
        return self.hand


@pytest.mark.parametrize(
    ("status", "code"),
    [("503 Slow Down", "SlowDown"), ("500 Internal Server Error", "InternalError")],
)
def test_an_overloaded_service_is_asked_again_and_then_named(place, status, code):
    with Bad(answer(status, code)) as server:
        blobs = place(endpoint=server.url(""), **QUICK)
        for verb in (
            lambda: blobs.open("3f/" + "0" * 32),
            lambda: blobs.delete("3f/" + "0" * 32),
            lambda: put(blobs, b"x"),
            lambda: list(blobs.scan()),
        ):
            asked = len(server.asked)
            with pytest.raises(ObjectStoreError, match=code) as failed:
                verb()
            assert isinstance(failed.value, OSError) and isinstance(failed.value, BlobError)
            assert failed.value.strerror
            assert len(server.asked) - asked >= 2, "asked once more, and not for ever"
        assert not blobs.holds("3f/" + "0" * 32, 1, kept=False)


def test_refused_access_says_what_to_check_and_tells_no_secret(place, caplog):
    wrong = {"secret_access_key": "wrong-" + SECRET, "session_token": "token-" + SECRET}
    blobs = place(**wrong, **QUICK)
    for verb in (
        lambda: blobs.open("3f/" + "0" * 32),
        lambda: blobs.delete("3f/" + "0" * 32),
        lambda: put(blobs, b"x"),
        lambda: list(blobs.scan()),
        lambda: blobs.settle(no),
    ):
        with pytest.raises(ObjectStoreError, match="check the credentials") as failed:
            verb()
        assert failed.value.__cause__ is None
        assert SECRET not in f"{failed.value!r} {failed.value} {caplog.text}"
    assert SECRET not in repr(blobs)


def test_a_missing_bucket_is_named(place):
    blobs = place(url="s3://no-such-bucket/x", **QUICK)
    for verb in (lambda: blobs.open("3f/" + "0" * 32), lambda: blobs.delete("3f/" + "0" * 32)):
        with pytest.raises(ObjectStoreError, match=r"bucket is not there.*create it"):
            verb()


def test_a_url_that_cannot_be_one_is_refused_without_telling_what_it_holds(place):
    for bad in ("s3://key:hush@bucket/x", "s3://", "ftp://bucket", "bucket", "s3://bucket/x?hush=hush"):
        with pytest.raises(ValueError, match=r"URL must hold|names no bucket") as refused:
            place(url=bad)
        assert "hush" not in str(refused.value)
    with pytest.raises(ValueError, match="no_such_option") as refused:
        place(no_such_option="hush")
    assert "hush" not in str(refused.value)


class Proxy:
    """Between a client and a port: cuts, stalls or slows what comes back after so many bytes."""

    def __init__(self, port):
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.cut_after = None
        self.cuts = 0
        self.stall = threading.Event()
        self._open = set()
        self._threads = []
        self._start(self._listen)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.stall.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for one in list(self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()

    def _start(self, work, *arguments):
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _listen(self):
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self._port))
            self._open |= {near, far}
            self._start(self._pump, near, far, False)
            self._start(self._pump, far, near, True)

    def _pump(self, source, sink, back):
        passed = 0
        with contextlib.suppress(OSError), source:
            while data := source.recv(65536):
                passed += len(data)
                if back and self.cut_after is not None and passed > self.cut_after and self.cuts > 0:
                    self.cuts -= 1
                    if self.stalls:
                        self.stall.wait(PATIENCE)
                    break
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)

    stalls = False


@pytest.fixture
def proxy(seaweed):
    with Proxy(seaweed.ports["s3"]) as proxy:
        yield proxy


def test_a_connection_that_is_cut_while_reading_is_taken_up_where_it_broke(proxy, place):
    data = os.urandom(6 * MIB)
    key = put(place(), data)
    blobs = place(endpoint=proxy.endpoint)
    proxy.cut_after, proxy.cuts = 2 * MIB, 2
    with blobs.open(key) as file:
        assert file.read() == data
    assert proxy.cuts == 0
    proxy.cuts = 2
    assert blobs.path(key).read_bytes() == data
    assert proxy.cuts == 0


def test_a_connection_that_is_always_cut_ends_in_an_error_and_leaves_no_copy(proxy, place, tmp_path):
    key = put(place(), os.urandom(6 * MIB))
    blobs = place(endpoint=proxy.endpoint, **QUICK)
    proxy.cut_after, proxy.cuts = 100_000, 10_000
    with pytest.raises(ObjectStoreError, match="connection broke off"):
        blobs.path(key)
    assert not [it for it in (tmp_path / "cache").rglob("*") if it.is_file() and it.name != "room"]


def test_a_service_that_stalls_is_given_up_in_time(proxy, place):
    key = put(place(), os.urandom(6 * MIB))

    def waiting(seconds):
        options = {"client_options": {"read_timeout": timedelta(seconds=seconds)}}
        return place(endpoint=proxy.endpoint, retry_config={"max_retries": 0}, **options)

    proxy.stalls, proxy.cut_after, proxy.cuts = True, MIB, 1
    with waiting(3).open(key) as file:  # so long as the machine may have the service pause
        assert len(file.read()) == 6 * MIB
    blobs = waiting(0.25)
    proxy.cut_after, proxy.cuts = 100_000, 10_000
    started = time.monotonic()
    with pytest.raises(OSError, match=r"did not answer in time|broke off"), blobs.open(key) as file:
        file.read()
    assert time.monotonic() - started < PATIENCE


def test_an_answer_that_is_lost_does_not_make_a_put_fail(proxy, place):
    blobs = place(endpoint=proxy.endpoint)
    put(blobs, b"a first one, so that the marker is there")
    proxy.cut_after, proxy.cuts = 0, 1
    key = put(blobs, b"x")
    assert proxy.cuts == 0
    assert blobs.holds(key, 1, kept=False)


# -- memory, and the store above

MEMORY = """
import json, resource, sys
from mediakeep.blobs.objects import ObjectBlobs
blobs = ObjectBlobs(sys.argv[1], **json.loads(sys.argv[2]))
def put(count):
    with blobs.stage((bytes(1 << 20) for _ in range(count)), is_named=lambda key: True) as staged:
        pass
    return staged.key
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
put(40); before = peak()
key = put(256)
with open(blobs.path(key), "rb"), blobs.open(key) as file:
    while file.read(1 << 20): pass
blobs.delete(key); blobs.close()
print(peak() - before)
"""


def test_a_large_stream_takes_little_memory(place, seaweed, tmp_path):
    options = {**seaweed.options, "cache": str(tmp_path / "child")}
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, place()._remote.url, json.dumps(options)],
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
        check=True,
    )
    assert int(done.stdout) <= 40, "MiB more for 256 MiB than for 40"


def test_a_store_above_it_keeps_what_is_live_and_deletes_what_is_not(place):
    blobs = place()
    with MediaStore(MemoryCatalog(), blobs) as store:
        one, two = store.put(b"one", scope="a"), store.put(b"two", scope="b")
        assert store.read_bytes(one) == b"one"
        store.release_all("a")
        assert store.sweep().deleted == 0
        assert [it.size for it in blobs.scan()] == [3]
        assert store.resolve(two).read_bytes() == b"two"
        assert store.reconcile(grace=0).counts == {}
