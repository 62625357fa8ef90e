"""A store over a database and a bucket: what the tests of all kinds of stores do not ask."""

import urllib.error
import urllib.request
from datetime import timedelta

import obstore
import pytest

from fleet.proxy import Asked, Gate, Proxy, speak_s3
from mediakeep import BlobError, MediaMeta, MediaMissing, UnknownRef, open_store

KIB = 1 << 10


@pytest.fixture
def store(fleet):
    with open_store(**fleet) as store:
        yield store


def objects(store):
    return [it.key for it in store._blobs.scan()]


def remove(store, ref):
    """Delete the object of a ref, as somebody else may."""
    obstore.delete(store._blobs._remote.store, store.entry(ref).location)


def test_a_url_of_a_ref_is_read_by_plain_http_and_ends_with_its_bytes(store):
    ref = store.put(b"\xff\xd8\xff\xe0 a photo", MediaMeta(filename="photo.jpg"), scope="turn")
    url = store.url(ref, timedelta(minutes=5))
    with urllib.request.urlopen(url, timeout=10) as answer:
        assert answer.read() == b"\xff\xd8\xff\xe0 a photo"
        assert answer.headers["Content-Type"] == "image/jpeg"
        assert "photo.jpg" in answer.headers["Content-Disposition"]
    store.release(ref)
    with pytest.raises(urllib.error.HTTPError, match="404") as gone:
        urllib.request.urlopen(url, timeout=10)
    gone.value.close()
    with pytest.raises(UnknownRef):
        store.url(ref, 60)


def test_a_url_is_of_what_was_put_and_of_no_file_of_the_users(store, tmp_path):
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"bytes")
    with pytest.raises(BlobError, match="put it instead"):
        store.url(store.store(path), 60)
    with pytest.raises(ValueError, match="7 days"):
        store.url(store.put(b"bytes"), timedelta(days=8))


def test_a_lease_keeps_the_copy_while_others_fill_the_cache(fleet):
    options = {**fleet["blob_options"], "cache_bytes": 100 * KIB}
    with open_store(**{**fleet, "blob_options": options}) as store:
        refs = [store.put(bytes([n]) * 30 * KIB) for n in range(8)]
        with store.lease(refs[0]) as media:
            copies = [store.resolve(ref) for ref in refs[1:]]
            assert media.path.read_bytes() == bytes(30 * KIB)
            assert not copies[0].exists(), "the cache was not full"
            store.release(refs[0])
            assert media.path.read_bytes() == bytes(30 * KIB)
        assert not media.path.exists()


class Reads(Gate):
    """Hears of the objects that are read."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def ask(self, asked: Asked) -> None:
        self.heard.append(asked.what)


def test_a_listing_of_a_thousand_refs_asks_nothing_of_the_bucket(fleet, store, seaweed, tmp_path):
    first = store.put(b"bytes", scope="turn")
    for _ in range(999):
        store.share(first, "turn")
    gate = Reads()
    with Proxy(seaweed.ports["s3"], speak_s3, gate) as proxy:
        options = {**fleet["blob_options"], "endpoint": f"http://127.0.0.1:{proxy.port}"}
        options["cache"] = tmp_path / "empty"
        with open_store(**{**fleet, "blob_options": options}) as other:
            found = list(other.entries("turn"))
            assert other.stats().refs == len(found) == 1000
            assert {it.path for it in found} == {None}
            assert gate.heard == []
            other.read_bytes(first)
            assert gate.heard == ["GET object"]


def test_a_reconcile_misses_an_object_of_which_there_is_a_copy(store):
    kept, lost = store.put(b"kept", scope="turn"), store.put(b"lost", scope="turn")
    path = store.resolve(lost)
    location = store.entry(lost).location
    remove(store, lost)
    assert path.read_bytes() == b"lost"
    (found,) = store.reconcile().findings
    assert (found.kind, found.subject) == ("missing", location)
    assert store.reconcile(dry_run=False).mended == 1
    with pytest.raises(UnknownRef, match="reconcile"):
        store.resolve(lost)
    assert store.read_bytes(kept) == b"kept"


def test_a_copy_is_registered_as_its_object_and_refused_when_that_has_gone(store):
    ref = store.put(b"bytes", scope="turn")
    path = store.resolve(ref)
    again = store.store(path, scope="again")
    store.release(ref)
    assert store.read_bytes(again) == b"bytes"
    assert store.entry(again).location == store._blobs.key(str(path))

    copy = path.read_bytes()
    remove(store, again)
    assert path.read_bytes() == copy
    with pytest.raises(MediaMissing, match="put its bytes again"):
        store.store(path, scope="more")
    assert [it.ref for it in store.entries()] == [again]


def test_a_copy_that_outlived_its_object_is_no_reason_to_call_it_there(store):
    """The same bytes, put again when the object has gone, are written again."""
    first = store.put(b"bytes", scope="turn")
    store.resolve(first)
    remove(store, first)
    second = store.put(b"bytes", scope="turn")
    assert len(objects(store)) == 1
    assert store.read_bytes(second) == b"bytes"
    with pytest.raises(MediaMissing, match="somebody deleted"):
        store.read_bytes(first)


def test_blobs_are_deleted_in_batches_and_their_copies_with_them(store, fleet, seaweed):
    refs = [store.put(b"bytes %d" % n) for n in range(40)]
    keys, paths = objects(store), [store.resolve(ref) for ref in refs[:5]]
    gate = Reads()
    with Proxy(seaweed.ports["s3"], speak_s3, gate) as proxy:
        options = {**fleet["blob_options"], "endpoint": f"http://127.0.0.1:{proxy.port}"}
        with open_store(**{**fleet, "blob_options": options}) as other:
            assert other._blobs.delete_many([*keys, "00/" + "0" * 32]) == {}
    assert gate.heard == ["POST delete"]
    assert objects(store) == []
    assert not any(path.exists() for path in paths)


def test_two_machines_share_refs_and_bytes_and_each_has_its_copies(fleet, store, tmp_path):
    options = {**fleet["blob_options"], "cache": tmp_path / "other"}
    with open_store(**{**fleet, "blob_options": options}) as other:
        ref = store.put(b"bytes", scope="turn")
        assert other.resolve(ref).read_bytes() == store.resolve(ref).read_bytes() == b"bytes"
        assert other.resolve(ref) != store.resolve(ref)
        assert other.release(ref)
        with pytest.raises(UnknownRef):
            store.resolve(ref)
        assert objects(store) == []
