"""Bytes over HTTP: conditional requests, ranges and headers, as RFC 9110 has them."""

import hashlib
import os
import re
import time
from email.message import Message
from email.parser import BytesParser
from email.utils import formatdate, parsedate_to_datetime
from urllib.parse import unquote

import pytest

pytest.importorskip("starlette")

import papers
from http_server import serving
from mediakeep import CleanupPolicy, MediaMeta
from mediakeep.intake import display_name

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40
NO_ID = "00000000-0000-4000-8000-000000000000"


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("files")) as served:
        yield served


@pytest.fixture(scope="module")
def media_id(served):
    return served.put(PNG, filename="cat.png")


def test_what_was_put_comes_back(served, media_id):
    answer = served.get(media_id)
    assert answer.status_code == 200
    assert answer.content == PNG
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["content-length"] == str(len(PNG))
    assert answer.headers["etag"] == f'"{hashlib.sha256(PNG).hexdigest()}"'
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["content-disposition"] == 'inline; filename="cat.png"'
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "sandbox" in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "private, no-cache"


def test_no_file_was_modified_after_it_was_sent(served):
    answer = served.get(served.put(b"just now"))
    modified, date = (parsedate_to_datetime(answer.headers[it]) for it in ("last-modified", "date"))
    assert modified <= date


def test_head_tells_all_but_the_bytes(served, media_id):
    got, head = served.get(media_id), served.client.head(f"/v1/media/{media_id}")
    assert head.status_code == 200
    assert head.content == b""
    assert {**head.headers, "date": ""} == {**got.headers, "date": ""}


@pytest.mark.parametrize("form", ["{}", "W/{}", '"other", {}', "*"])
def test_a_client_that_has_the_bytes_gets_none(served, media_id, form):
    etag = served.get(media_id).headers["etag"]
    answer = served.get(media_id, {"if-none-match": form.format(etag)})
    assert (answer.status_code, answer.content) == (304, b"")
    assert answer.headers["etag"] == etag
    assert "content-length" not in answer.headers
    assert served.get(media_id, {"if-none-match": '"other"'}).status_code == 200


def test_what_came_with_the_bytes_is_not_told_again(served, media_id):
    whole = served.get(media_id)
    answer = served.get(media_id, {"if-none-match": whole.headers["etag"]})
    told = {name: value for name, value in answer.headers.items() if name != "date"}
    assert told == {
        name: whole.headers[name] for name in ("etag", "cache-control", "cross-origin-resource-policy")
    }


def test_dates_count_where_there_is_no_etag(served, media_id):
    date = served.get(media_id).headers["last-modified"]
    before = formatdate(parsedate_to_datetime(date).timestamp() - 10, usegmt=True)
    assert served.get(media_id, {"if-modified-since": date}).status_code == 304
    assert served.get(media_id, {"if-modified-since": before}).status_code == 200
    assert served.get(media_id, {"if-modified-since": "no date"}).status_code == 200
    both = {"if-modified-since": date, "if-none-match": '"other"'}
    assert served.get(media_id, both).status_code == 200, "the etag goes before the date"


def test_a_precondition_that_fails_says_so(served, media_id):
    etag = served.get(media_id).headers["etag"]
    for headers in (
        {"if-match": '"other"'},
        {"if-match": f"W/{etag}"},
        {"if-unmodified-since": formatdate(0, usegmt=True)},
    ):
        answer = served.get(media_id, headers)
        assert answer.status_code == 412
        assert answer.json()["error"] == "PreconditionFailed"
    assert served.get(media_id, {"if-match": f'"other", {etag}'}).status_code == 200
    assert served.get(media_id, {"if-match": "*"}).status_code == 200


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=5-9", 5, 10),
        ("BYTES=5-9", 5, 10),
        ("bytes=10000-", 10000, len(PNG)),
        ("bytes=-10", len(PNG) - 10, len(PNG)),
        ("bytes=-99999999", 0, len(PNG)),
        ("bytes=5-99999999", 5, len(PNG)),
        ("bytes= 5-9 ,", 5, 10),
        ("bytes=5-9,10-19,0-4", 0, 20),
    ],
)
def test_a_range_gives_these_bytes(served, media_id, asked, start, end):
    answer = served.get(media_id, {"range": asked})
    assert answer.status_code == 206
    assert answer.content == PNG[start:end]
    assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{len(PNG)}"
    assert answer.headers["content-length"] == str(end - start)


@pytest.mark.parametrize(
    "asked",
    ["items=0-5", "bytes", "bytes=", "bytes=,", "bytes=-", "bytes=a-b", "bytes=9-5", "bytes=0-5;6-7",
     "bytes=0x1-5", "bytes=" + ",".join(f"{n * 9}-{n * 9}" for n in range(100))],
)  # fmt: skip
def test_what_is_no_range_is_ignored(served, media_id, asked):
    answer = served.get(media_id, {"range": asked})
    assert (answer.status_code, answer.content) == (200, PNG)


@pytest.mark.parametrize("asked", [f"bytes={len(PNG)}-", "bytes=-0", "bytes=99999999-99999999999"])
def test_a_range_that_is_not_there_is_refused(served, media_id, asked):
    answer = served.get(media_id, {"range": asked})
    assert answer.status_code == 416
    assert answer.headers["content-range"] == f"bytes */{len(PNG)}"
    assert answer.json()["error"] == "RangeNotSatisfiable"


def test_several_ranges_come_in_parts(served, media_id):
    answer = served.get(media_id, {"range": "bytes=0-4, 100-199 ,-3"})
    assert answer.status_code == 206
    assert answer.headers["content-length"] == str(len(answer.content))
    head = b"Content-Type: " + answer.headers["content-type"].encode() + b"\r\n\r\n"
    message = BytesParser().parsebytes(head + answer.content)
    assert message.get_content_type() == "multipart/byteranges"
    parts = message.get_payload()
    assert [part["content-range"] for part in parts] == [
        f"bytes 0-4/{len(PNG)}",
        f"bytes 100-199/{len(PNG)}",
        f"bytes {len(PNG) - 3}-{len(PNG) - 1}/{len(PNG)}",
    ]
    assert [part.get_content_type() for part in parts] == ["image/png"] * 3
    boundary = message.get_boundary().encode()
    raw = [it.partition(b"\r\n\r\n")[2] for it in answer.content.split(b"--" + boundary)[1:-1]]
    assert [it.removesuffix(b"\r\n") for it in raw] == [PNG[:5], PNG[100:200], PNG[-3:]]


def test_if_range_gives_the_whole_file_unless_it_is_the_same(served, media_id):
    whole = served.get(media_id)
    etag, date = whole.headers["etag"], whole.headers["last-modified"]
    for same in (etag, date):
        assert served.get(media_id, {"range": "bytes=0-4", "if-range": same}).status_code == 206
    for other in ('"other"', f"W/{etag}", formatdate(0, usegmt=True), "nonsense"):
        answer = served.get(media_id, {"range": "bytes=0-4", "if-range": other})
        assert (answer.status_code, answer.content) == (200, PNG)


def test_a_large_file_comes_whole_and_in_ranges(served):
    data = os.urandom(5_000_001)
    media_id = served.put(data)
    assert served.get(media_id).content == data
    assert served.get(media_id, {"range": "bytes=100000-4000000"}).content == data[100_000:4_000_001]
    parts = served.get(media_id, {"range": "bytes=0-999999,2000000-2999999"})
    assert data[:1_000_000] in parts.content
    assert data[2_000_000:3_000_000] in parts.content
    assert len(parts.content) == int(parts.headers["content-length"])


def test_an_empty_file_is_empty(served):
    media_id = served.put(b"")
    assert (served.get(media_id).status_code, served.get(media_id).content) == (200, b"")
    assert served.get(media_id, {"range": "bytes=0-"}).status_code == 416


def test_bytes_under_way_are_under_a_lease(served):
    media_id = served.put(os.urandom(20_000_000), "leased")
    ref = f"media://{media_id}"
    path = served.store.resolve(ref)
    with served.client.stream("GET", f"/v1/media/{media_id}") as answer:
        chunks = answer.iter_bytes(65536)
        count = len(next(chunks))
        assert served.store.entry(ref).leases == 1
        served.store.release_all("leased")
        assert path.exists(), "the lease holds it"
        count += sum(map(len, chunks))
    assert count == 20_000_000
    wait_until(lambda: not path.exists())


def test_the_lease_of_a_client_that_goes_ends(served):
    media_id = served.put(os.urandom(20_000_000), "left")
    ref = f"media://{media_id}"
    with served.client.stream("GET", f"/v1/media/{media_id}") as answer:
        next(answer.iter_bytes(65536))
        assert served.store.entry(ref).leases == 1
    wait_until(lambda: served.store.entry(ref).leases == 0)


HOSTILE = [
    'a"b\\c.png',
    "x\r\nSet-Cookie: a=b.png",
    "h\u00e9llo w\u00f6rld \u2603.png",
    "../../etc/passwd.png",
    "\u202egnp.exe",
    "100%41.png",
    "a;filename=evil.exe.png",
    "\U0001f600.png",
    "' ; x=y",
    ".htaccess",
    "",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_never_becomes_more_than_a_name(served, name):
    ref = served.store.put(PNG, MediaMeta(filename=name), "names")
    answer = served.get(ref.removeprefix("media://"))
    assert answer.status_code == 200
    assert "set-cookie" not in answer.headers
    shown = answer.headers["content-disposition"]
    assert shown.isascii()
    message = Message()
    message["content-disposition"] = shown
    assert {key for key, _ in message.get_params(header="content-disposition")} <= {
        "inline",
        "filename",
        "filename*",
    }
    extended = re.search(r"filename\*=UTF-8''(\S+)$", shown)
    plain = re.search(r'filename="([^"\\%]*)"', shown)
    told = unquote(extended[1]) if extended else plain[1] if plain else ""
    assert told == display_name(name)


@pytest.mark.parametrize(
    ("said", "data", "shown"),
    [
        ("text/html", b"<!doctype html><script>alert(1)</script>", "attachment"),
        ("image/svg+xml", b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", "attachment"),
        ("application/pdf", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "attachment"),
        ("text/xml", b"<?xml version='1.0'?><a/>", "attachment"),
        ("application/javascript", b"alert(1)", "attachment"),
        ("image/png", b"<html><script>alert(1)</script>", "attachment"),
        ("image/png", PNG, "inline"),
        ("text/plain", b"words\n", "inline"),
        ("audio/ogg", b"OggS" + bytes(40), "inline"),
    ],
)
def test_only_what_runs_nothing_is_shown(served, said, data, shown):
    answer = served.get(served.put(data, type=said))
    assert answer.headers["content-disposition"].partition(";")[0] == shown
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in answer.headers["content-security-policy"]


def test_whoever_asks_gets_an_attachment(served, media_id):
    answer = served.get(media_id, download="true")
    assert answer.headers["content-disposition"] == 'attachment; filename="cat.png"'


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("text/plain; charset=utf-8", "text/plain; charset=utf-8"),
        ("text/plain\r\nSet-Cookie: a=b", "application/octet-stream"),
        ("text/plain; charset=\u00fc", "text/plain"),
        ("no type", "application/octet-stream"),
        ("", "application/octet-stream"),
        ("TEXT/Plain", "text/plain"),
    ],
)
def test_a_content_type_never_becomes_more_than_one(served, tmp_path, said, told):
    path = tmp_path / "file"
    path.write_bytes(b"words")
    ref = served.store.store(path, MediaMeta("", said, "", CleanupPolicy.FORGET_ONLY), "types")
    answer = served.get(ref.removeprefix("media://"))
    assert answer.headers["content-type"] == told
    assert "set-cookie" not in answer.headers


def test_a_file_where_it_lies_may_change(served, tmp_path):
    path = tmp_path / "file.txt"
    path.write_bytes(b"first")
    os.utime(path, (1_000_000_000, 1_000_000_000))
    ref = served.store.store(path, MediaMeta(cleanup_policy="forget_only"), "here")
    first = served.get(ref.removeprefix("media://"))
    assert first.headers["etag"].startswith("W/")
    assert first.headers["last-modified"] == formatdate(1_000_000_000, usegmt=True)
    known = {"if-none-match": first.headers["etag"]}
    assert served.get(ref.removeprefix("media://"), known).status_code == 304
    path.write_bytes(b"second one")
    second = served.get(ref.removeprefix("media://"), known)
    assert (second.status_code, second.content) == (200, b"second one")
    ranged = {"range": "bytes=0-2", "if-range": second.headers["etag"]}
    assert served.get(ref.removeprefix("media://"), ranged).status_code == 200, (
        "weak etags are not enough"
    )


@pytest.mark.parametrize(("times", "status"), [(2, 200), (99, 503)])
def test_a_file_that_is_written_anew_while_it_is_read_is_read_again(
    served, tmp_path, monkeypatch, times, status
):
    path = tmp_path / "file.txt"
    path.write_bytes(b"first")
    ref = served.store.store(path, MediaMeta(cleanup_policy="forget_only"), "anew")
    real, reads = os.pread, []

    def while_it_is_cut_off(handle, length, at):
        reads.append(length)
        path.write_bytes(b"")
        found = real(handle, length, at)
        path.write_bytes(b"second one")
        return found if len(reads) <= times else real(handle, length, at)

    monkeypatch.setattr(os, "pread", while_it_is_cut_off)
    answer = served.get(ref.removeprefix("media://"))
    assert answer.status_code == status
    if status == 200:
        assert answer.content == b"second one"
    else:
        assert (answer.json()["error"], answer.headers["retry-after"]) == ("BlobError", "5")


def test_a_file_that_somebody_deleted_is_gone_and_its_path_stays_secret(served, tmp_path):
    path = tmp_path / "file.txt"
    path.write_bytes(b"bytes")
    ref = served.store.store(path, scope="gone")
    path.unlink()
    answer = served.get(ref.removeprefix("media://"))
    assert answer.status_code == 410
    assert answer.json()["error"] == "MediaMissing"
    assert str(tmp_path) not in answer.text


def test_a_dead_ref_says_why(served):
    released, expired = served.put(scope="dead"), served.put(b"other", scope="dead", ttl="0.001")
    served.client.delete(f"/v1/media/{released}")
    wait_until(lambda: served.store.sweep() and served.get(expired).status_code == 410)
    for media_id, error in ((released, "RefReleased"), (expired, "RefExpired")):
        answer = served.get(media_id)
        assert answer.status_code == 410
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["error"] == error
        assert answer.json()["type"] == f"urn:mediakeep:error:{error}"
        assert answer.json()["status"] == 410
        assert media_id in answer.json()["detail"]


@pytest.mark.parametrize("media_id", [NO_ID, "nonsense", NO_ID.upper(), "%2e%2e", f"{NO_ID}%0a"])
def test_an_unknown_id_is_not_found(served, media_id):
    answer = served.get(media_id)
    assert answer.status_code == 404
    assert answer.json()["error"] in ("UnknownRef", "NotFound")


def test_a_thumbnail_is_small_and_known_by_its_own_etag(served):
    from pictures import photograph, written

    pytest.importorskip("PIL")
    media_id = served.put(written(photograph(640, 480), "JPEG"), filename="big.jpg")
    answer = served.client.get(f"/v1/media/{media_id}/thumbnail", params={"size": "64"})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/jpeg"
    assert len(answer.content) < 20_000
    known = {"if-none-match": answer.headers["etag"]}
    again = served.client.get(f"/v1/media/{media_id}/thumbnail", params={"size": "64"}, headers=known)
    assert again.status_code == 304
    other = served.client.get(f"/v1/media/{media_id}/thumbnail", params={"size": "128"}, headers=known)
    assert other.status_code == 200
    assert served.client.get(f"/v1/media/{media_id}/thumbnail?size=63").status_code == 400


def test_no_thumbnail_is_made_of_words(served):
    answer = served.client.get(f"/v1/media/{served.put(b'just words')}/thumbnail")
    assert answer.status_code == 415
    assert answer.json()["error"] == "NoPicture"
    assert "/" not in answer.json()["detail"].replace("text/", "")


def test_documents_have_thumbnails_that_are_made_once(served):
    pytest.importorskip("PIL")
    pytest.importorskip("pypdfium2")
    documents = (("book.epub", papers.epub(), "image/jpeg"), ("paper.pdf", papers.pdf(), "image/png"))
    for name, data, kind in documents:
        media_id = served.put(data, filename=name)
        where = f"/v1/media/{media_id}/thumbnail?size=64"
        answer = served.client.get(where)
        assert (answer.status_code, answer.headers["content-type"]) == (200, kind)
        made = served.store.stats().files
        assert served.client.get(where).content == answer.content
        assert served.store.stats().files == made
        known = {"if-none-match": answer.headers["etag"]}
        assert served.client.get(where, headers=known).status_code == 304


def test_a_document_that_cannot_be_shown_is_told_as_a_picture_is(served):
    pytest.importorskip("pypdfium2")
    for data in (papers.encrypted_pdf(), papers.epub("<package>"), b"\xff\xd8\xff\xe0" + bytes(99)):
        answer = served.client.get(f"/v1/media/{served.put(data)}/thumbnail")
        assert answer.status_code == 422
        assert answer.json()["error"] == "UnusableImage"


def test_what_may_have_a_thumbnail_links_to_it(served):
    for data, there in ((papers.pdf(), True), (b"just words", False)):
        said = served.client.post("/v1/media?scope=a", content=data).json()
        assert ("thumbnail" in said["links"]) is there


def wait_until(true, seconds: float = 60.0) -> None:
    """Wait for what another thread does."""
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "it did not come about"
        time.sleep(0.01)
