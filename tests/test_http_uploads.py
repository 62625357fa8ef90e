"""Files that come in over HTTP: complete or not at all, under limits, and once."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest

pytest.importorskip("starlette")

import httpx2

from http_server import DEADLINE, peak_memory, running, serving
from mediakeep import Limits, open_store

PNG = b"\x89PNG\r\n\x1a\n" + bytes(64)
NO_FILE = b"--b\r\nContent-Disposition: form-data; name=a\r\n\r\nno file\r\n--b--\r\n"


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    limits = Limits(max_file_bytes=3_000_000, refused_types=["application/x-executable", "text/html"])
    folder = tmp_path_factory.mktemp("uploads")
    with serving(folder, limits=limits, max_body_bytes=2_000_000) as served:
        yield served


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """A server that waits for nobody: also not for a test that pauses, so only for those about that."""
    folder = tmp_path_factory.mktemp("quick")
    with serving(folder, body_seconds=0.5, min_bytes_per_second=1000) as served:
        yield served


def stored(served, scope):
    return list(served.store.entries(scope))


def test_an_upload_tells_its_ref_and_where_to_go(served):
    answer = served.client.post(
        "/v1/media?scope=up:1&source=telegram&ttl=3600",
        content=PNG,
        headers={
            "content-type": "image/jpeg",
            "content-disposition": "attachment; filename*=UTF-8''c%C3%A4t.png",
        },
    )
    assert answer.status_code == 201
    said = answer.json()
    entry = said["entry"]
    assert said["ref"] == f"media://{said['id']}"
    assert served.store.read_bytes(said["ref"]) == PNG
    assert entry["filename"] == "c\u00e4t.png"
    assert (entry["declared_type"], entry["detected_type"]) == ("image/jpeg", "image/png")
    assert entry["content_type"] == "image/png"
    assert entry["source"] == "telegram"
    assert entry["expires_at"] > entry["stored_at"]
    assert answer.headers["location"] == said["links"]["self"] == f"/v1/media/{said['id']}"
    assert served.client.get(said["links"]["entry"]).json() == entry
    assert "path" not in answer.text
    assert "location" not in answer.text


def test_a_form_brings_several_files(served):
    big = os.urandom(700_000)
    files = [
        ("a", ("one.png", PNG, "image/png")),
        ("b", ("sub/../tw\u00f6.bin", big, "")),
    ]
    answer = served.client.post("/v1/media?scope=up:2", files=files)
    assert answer.status_code == 201
    one, two = answer.json()["media"]
    assert (one["entry"]["filename"], two["entry"]["filename"]) == ("one.png", "tw\u00f6.bin")
    assert served.store.read_bytes(two["ref"]) == big
    assert one["entry"]["content_type"] == "image/png"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"--b\r\nContent-Disposition: form-data; name=a; filename=x\r\n\r\nwords",
        NO_FILE,
        b"--b--\r\n",
        b"--b\r\nContent-Disposition: form-data; name=a; filename=x\r\n\r\nwords\r\n" + NO_FILE,
        b"--b\r\n" + b"X: y\r\n" * 100 + b"\r\nwords\r\n--b--\r\n",
        b"nonsense",
    ],
)
def test_of_a_form_that_is_malformed_nothing_stays(served, body):
    answer = served.client.post(
        "/v1/media?scope=up:3", content=body, headers={"content-type": "multipart/form-data; boundary=b"}
    )
    assert answer.status_code == 400
    assert answer.json()["error"] == "BadRequest"
    assert stored(served, "up:3") == []


def test_a_body_that_is_encoded_is_refused(served):
    for coding, status in (("gzip", 415), ("identity", 201)):
        headers = {"content-encoding": coding}
        answer = served.client.post("/v1/media?scope=up:3b", content=b"words", headers=headers)
        assert answer.status_code == status


def test_names_in_a_form_are_utf8(served):
    body = (
        '--b\r\nContent-Disposition: form-data; name="\U000e807e"; filename="\u732b \U0001f600.txt"\r\n'
        "\r\nx\r\n--b--\r\n"
    )
    answer = served.client.post(
        "/v1/media?scope=up:3a",
        content=body.encode(),
        headers={"content-type": "multipart/form-data; boundary=b"},
    )
    assert answer.json()["media"][0]["entry"]["filename"] == "\u732b \U0001f600.txt"


def test_a_form_without_boundary_is_refused(served):
    answer = served.client.post(
        "/v1/media?scope=up:3", content=b"x", headers={"content-type": "multipart/form-data"}
    )
    assert answer.status_code == 400


def test_what_the_limits_refuse_is_refused_in_their_words(served):
    answer = served.client.post("/v1/media?scope=up:4", content=b"<!doctype html><p>words</p>")
    assert answer.status_code == 415
    assert answer.json()["error"] == "TypeNotAllowed"
    assert "text/html is refused" in answer.json()["detail"]
    assert stored(served, "up:4") == []


def test_of_files_in_a_form_all_are_stored_or_none(served):
    files = [("a", ("a.png", PNG, "image/png")), ("b", ("b.html", b"<!doctype html><p>words</p>", ""))]
    assert served.client.post("/v1/media?scope=up:5", files=files).status_code == 415
    assert stored(served, "up:5") == []


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_large_is_refused_and_its_sender_reads_why(served, chunked):
    body = bytes(2_000_001)
    with served.connect() as connection:
        head = b"POST /v1/media?scope=up:6 HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
        if chunked:
            head += b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(body)
        else:
            head += b"Content-Length: %d\r\n\r\n" % len(body)
        connection.sendall(head)
        connection.sendall(body + (b"\r\n0\r\n\r\n" if chunked else b""))
        answer = b""
        while part := connection.recv(65536):
            answer += part
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"max_body_bytes" in answer
    assert stored(served, "up:6") == []


def test_nothing_is_sent_in_vain_after_expect_continue(served):
    with served.connect() as connection:
        connection.sendall(
            b"POST /v1/media?scope=up:7 HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 999999999\r\n"
            b"Expect: 100-continue\r\n\r\n"
        )
        assert connection.recv(65536).startswith(b"HTTP/1.1 413 ")


def test_nothing_stays_of_an_upload_that_is_cut_off(served):
    for sent in (b"", b"some of it", bytes(1_500_000)):
        with served.connect() as connection:
            connection.sendall(
                b"POST /v1/media?scope=up:8 HTTP/1.1\r\nHost: [::1]\r\nContent-Length: 1600000\r\n\r\n"
            )
            connection.sendall(sent)
    assert served.client.get("/healthz").status_code == 200
    wait_until(lambda: not being_written(served.config.store))
    assert stored(served, "up:8") == []


def being_written(store):
    """Return the files that uploads under way are written into."""
    folder = Path(store, "blobs", "tmp")
    return list(folder.iterdir()) if folder.exists() else []


def test_a_body_that_stops_is_given_up(quick):
    with quick.connect() as connection:
        connection.sendall(
            b"POST /v1/media?scope=up:9 HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n\r\nhello"
        )
        answer = connection.recv(65536)
    assert answer.startswith(b"HTTP/1.1 408 ")
    wait_until(lambda: not being_written(quick.config.store))
    assert stored(quick, "up:9") == []


def test_a_body_that_trickles_is_given_up(quick):
    began = time.monotonic()
    with quick.connect() as connection:
        connection.sendall(
            b"POST /v1/media?scope=up:9 HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100000\r\n\r\n"
        )
        connection.settimeout(0.05)
        answer = b""
        while not answer and time.monotonic() < began + DEADLINE:
            try:
                connection.sendall(b"x")
                answer = connection.recv(65536)
            except TimeoutError:
                continue
    assert answer.startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize(
    ("query", "word"),
    [
        ("", "scope"),
        ("scope=a&scope=b", "twice"),
        ("scope=a&ttl=0", "ttl"),
        ("scope=a&ttl=nan", "ttl"),
        ("scope=a&ttl=1e400", "ttl"),
        ("scope=a&path=/etc/passwd", "path"),
        ("scope=a&policy=forget_only", "policy"),
        ("scope=%ff", "query"),
        ("scope=a%00b", "scope"),
        ("scope=" + "x" * 2001, "scope"),
        ("&".join(f"p{n}=1" for n in range(100)), "query"),
    ],
)
def test_a_query_that_is_not_as_it_must_be_is_refused(served, query, word):
    answer = served.client.post(f"/v1/media?{query}", content=b"x")
    assert answer.status_code == 400
    assert word in answer.json()["detail"]


def test_sent_again_with_its_key_it_is_not_stored_again(served):
    key = {"idempotency-key": "a b \u00e9".encode()}
    first, again = (
        served.client.post("/v1/media?scope=up:10", content=b"once", headers=key) for _ in range(2)
    )
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json()["ref"] == again.json()["ref"]
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert len(stored(served, "up:10")) == 1


def test_a_key_is_good_for_one_upload_only(served):
    key = {"idempotency-key": "one"}
    assert served.client.post("/v1/media?scope=up:11", content=b"a", headers=key).status_code == 201
    other = served.client.post("/v1/media?scope=up:12", content=b"a", headers=key)
    assert (other.status_code, other.json()["error"]) == (422, "IdempotencyKeyReused")
    longer = served.client.post("/v1/media?scope=up:11", content=b"abc", headers=key)
    assert longer.status_code == 422


def test_what_was_released_is_not_stored_again_by_its_key(served):
    key = {"idempotency-key": "released"}
    first = served.client.post("/v1/media?scope=up:13", content=b"a", headers=key).json()
    served.client.delete(f"/v1/media/{first['id']}")
    again = served.client.post("/v1/media?scope=up:13", content=b"a", headers=key)
    assert (again.status_code, again.json()["error"]) == (410, "RefReleased")


def test_a_key_is_free_again_when_its_upload_failed(served):
    key = {"idempotency-key": "failed"}
    url = "/v1/media?scope=up:14"
    html = b"<!doctype html><p>words</p>"
    assert served.client.post(url, content=html, headers=key).status_code == 415
    assert served.client.post(url, content=html, headers=key).status_code == 415, "and no conflict"


def test_while_it_is_under_way_its_key_is_taken(served):
    with served.connect() as connection:
        connection.sendall(
            b"POST /v1/media?scope=up:15 HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 4\r\n"
            b"Idempotency-Key: busy\r\nExpect: 100-continue\r\n\r\n"
        )
        assert connection.recv(65536).startswith(b"HTTP/1.1 100 "), "the server waits for the body now"

        def second():
            return served.client.post(
                "/v1/media?scope=up:15", content=b"abcd", headers={"idempotency-key": "busy"}
            )

        answer = second()
        assert (answer.status_code, answer.json()["error"]) == (409, "Conflict")
        connection.sendall(b"abcd")
        assert connection.recv(65536).startswith(b"HTTP/1.1 201 ")
    assert second().headers["idempotent-replayed"] == "true"
    assert len(stored(served, "up:15")) == 1


def test_uploads_beyond_what_a_token_may_have_under_way_wait(tmp_path):
    with serving(tmp_path, max_uploads=1) as served:
        with served.connect() as first:
            first.sendall(
                b"POST /v1/media?scope=a HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 4\r\n"
                b"Expect: 100-continue\r\n\r\n"
            )
            assert first.recv(65536).startswith(b"HTTP/1.1 100 "), "the server waits for the body now"
            answer = served.client.post("/v1/media?scope=a", content=b"other")
            assert answer.status_code == 429
            assert answer.headers["retry-after"] == "1"
            first.sendall(b"abcd")
            assert first.recv(65536).startswith(b"HTTP/1.1 201 ")
        assert served.client.post("/v1/media?scope=a", content=b"other").status_code == 201


def test_a_full_store_says_so(tmp_path):
    with serving(tmp_path, limits=Limits(max_store_bytes=10)) as served:
        served.put(b"12345678")
        answer = served.client.post("/v1/media?scope=a", content=b"12345")
        assert (answer.status_code, answer.json()["error"]) == (507, "QuotaExceeded")


def test_a_large_upload_takes_little_memory(tmp_path):
    size, piece = 128 << 20, os.urandom(1 << 20)
    with running("--store", tmp_path / "store") as server:
        with httpx2.Client(base_url=server.url, timeout=DEADLINE, trust_env=False) as client:
            client.post("/v1/media?scope=warm", content=bytes(2 << 20))
            before = peak_memory(server.process.pid)
            body = (piece for _ in range(size >> 20))
            answer = client.post("/v1/media?scope=large", content=body)
            assert answer.json()["entry"]["size"] == size
            count = 0
            with client.stream("GET", f"/v1/media/{answer.json()['id']}") as got:
                for chunk in got.iter_raw():
                    count += len(chunk)
            assert count == size
            assert peak_memory(server.process.pid) - before < 48 << 20
        server.stop()


def test_a_server_that_is_killed_leaves_nothing_of_an_upload(tmp_path):
    with running("--store", tmp_path / "store") as server:
        with httpx2.Client(base_url=server.url, timeout=DEADLINE, trust_env=False) as client:
            kept = client.post("/v1/media?scope=a", content=b"kept").json()["ref"]

        def body():
            while True:
                yield bytes(1 << 20)

        def upload():
            with pytest.raises(httpx2.TransportError):
                url = f"{server.url}/v1/media?scope=a"
                httpx2.post(url, content=body(), timeout=DEADLINE, trust_env=False)

        thread = threading.Thread(target=upload)
        thread.start()
        wait_until(lambda: being_written(tmp_path / "store"))
        server.stop(signal.SIGKILL)
        thread.join(DEADLINE)
    with open_store(tmp_path / "store") as store:
        assert [entry.ref for entry in store.entries()] == [kept]
        assert store.sweep().temps == 1
        assert store.reconcile().clean
        assert store.read_bytes(kept) == b"kept"


def wait_until(true, seconds: float = 60.0) -> None:
    """Wait for what another thread does."""
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "it did not come about"
        time.sleep(0.01)
