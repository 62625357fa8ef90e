"""Uploads in parts whose process was killed: a reconcile finds them and aborts them, and no other."""

import logging
import sys
import threading

import pytest

from fleet.children import Workers
from fleet.killing import Later
from fleet.proxy import Asked, Gate, Proxy, speak_s3
from mediakeep import BlobError, open_store
from mediakeep.blobs.objects import ObjectBlobs
from seaweed_server import KEY, SECRET

MIB = 1 << 20
PATIENCE = 60.0


def upload(where):
    """Put much, and stop in the midst of it: what a worker does."""

    def pieces():
        for n in range(17):  # of which two parts are sent
            yield bytes([n]) * MIB
        threading.Event().wait(PATIENCE)

    with open_store(**where) as store:
        store.put(pieces(), scope="turn")


class Parts(Gate):
    """Hears when a part has been written."""

    def __init__(self) -> None:
        self.written = threading.Event()

    def answer(self, asked: Asked, answer: bytes) -> bytes:
        if asked.what == "PUT part":
            self.written.set()
        return answer


@pytest.fixture(scope="module")
def workers():
    with Workers() as workers:
        yield workers


@pytest.fixture
def cut_off(fleet, seaweed, workers):
    """An upload of a writer that is alive; kill it to have it cut off."""
    before = seaweed.uploads()
    gate = Parts()
    with Proxy(seaweed.ports["s3"], speak_s3, gate) as proxy:
        endpoint = f"http://127.0.0.1:{proxy.port}"
        where = {**fleet, "blob_options": {**fleet["blob_options"], "endpoint": endpoint}}
        worker = workers.start("test_fleet_uploads:upload", where=where)
        assert gate.written.wait(PATIENCE)
        yield worker
        worker.kill()
        worker.wait()
    left = set(seaweed.uploads()) - set(before)
    assert not left, "every test ends with it aborted"


@pytest.fixture
def later(fleet, seaweed):
    """The store some hours on, when a dead writer counts as dead."""
    with Proxy(seaweed.ports["s3"], speak_s3, Later()) as proxy:
        endpoint = f"http://127.0.0.1:{proxy.port}"
        with open_store(
            **{**fleet, "blob_options": {**fleet["blob_options"], "endpoint": endpoint}}
        ) as store:
            yield store


def test_an_upload_whose_process_was_killed_is_told_and_aborted_once_it_is_old_enough(
    fleet, later, seaweed, cut_off
):
    before = len(seaweed.uploads())
    cut_off.kill()
    cut_off.wait()
    assert len(seaweed.uploads()) == before
    assert later.sweep().temps == 1
    with open_store(**fleet) as store:
        assert store.reconcile(dry_run=False).counts == {}, "it is young"
        (found,) = store.reconcile(grace=0).findings
        assert found.kind == "upload" and found.subject[2] == "/"
        assert len(seaweed.uploads()) == before
    (found,) = later.reconcile(dry_run=False).findings
    assert (found.kind, found.mended) == ("upload", True)
    assert len(seaweed.uploads()) == before - 1
    assert later.reconcile(grace=0).counts == {}


def test_an_upload_whose_writer_lives_is_left_alone(fleet, seaweed, cut_off):
    before = seaweed.uploads()
    with open_store(**fleet) as store:
        assert len(list(store._blobs.unfinished())) == 1
        assert store.reconcile(dry_run=False, grace=0).counts == {}
        assert seaweed.uploads() == before
        abort(store)


def abort(store):
    for it in store._blobs.unfinished():
        it.abort()
        it.abort()  # what is gone is no error


def test_uploads_of_other_prefixes_and_of_no_key_are_nobodys(fleet, seaweed, cut_off):
    with open_store(**fleet) as store, open_store(**{**fleet, "blobs": f"{fleet['blobs']}0"}) as other:
        assert list(other._blobs.unfinished()) == []
        assert list(_blobs(f"{fleet['blobs']}/0", seaweed.options).unfinished()) == []
        abort(store)


@pytest.mark.parametrize("by", ["provider", "awaited provider", "environment"])
def test_it_takes_the_credentials_that_obstore_was_given(fleet, seaweed, monkeypatch, cut_off, by):
    options = {"endpoint": seaweed.endpoint, "region": "us-east-1"}

    def provider():
        return {"access_key_id": KEY, "secret_access_key": SECRET, "expires_at": None}

    async def awaited():
        return provider()

    if by == "environment":
        options = {"client_options": {"allow_http": True}}
        for name, value in (
            ("ENDPOINT_URL", seaweed.endpoint),
            ("REGION", "us-east-1"),
            ("ACCESS_KEY_ID", KEY),
            ("SECRET_ACCESS_KEY", SECRET),
        ):
            monkeypatch.setenv(f"AWS_{name}", value)
    else:
        options["credential_provider"] = provider if by == "provider" else awaited
    blobs = _blobs(fleet["blobs"], options)
    assert len(list(blobs.unfinished())) == 1
    for it in blobs.unfinished():
        it.abort()
    assert list(blobs.unfinished()) == []


def _blobs(url, options):
    return ObjectBlobs(url, cache="/nowhere", **options)


def test_refused_access_and_a_dead_service_are_told_without_a_secret(fleet, seaweed, caplog):
    for options, words in (
        ({"secret_access_key": f"wrong-{SECRET}"}, "SignatureDoesNotMatch"),
        ({"endpoint": "http://127.0.0.1:9"}, "cannot be reached"),
    ):
        blobs = _blobs(fleet["blobs"], {**seaweed.options, **options})
        with pytest.raises(BlobError, match=words) as failed:
            list(blobs.unfinished())
        assert isinstance(failed.value, OSError)
        assert SECRET not in f"{failed.value!r} {caplog.text}"


def test_an_upload_that_cannot_be_aborted_stays_and_the_rest_is_mended(fleet, seaweed, later, cut_off):
    cut_off.kill()
    cut_off.wait()
    later.sweep()

    class Refusing(Gate):
        def ask(self, asked):
            if asked.what == "DELETE upload":
                return b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"
            return None

    with Proxy(seaweed.ports["s3"], speak_s3, Refusing()) as proxy:
        endpoint = f"http://127.0.0.1:{proxy.port}"
        where = {**fleet, "blob_options": {**fleet["blob_options"], "endpoint": endpoint}}
        with open_store(**where) as store:
            report = store.reconcile(dry_run=False, grace=0)
            assert (report.counts, report.mended) == ({"upload": 1}, 0)
    later.reconcile(dry_run=False)


def test_without_botocore_a_log_line_names_the_extra_and_the_rest_is_reconciled(
    fleet, caplog, monkeypatch
):
    monkeypatch.setitem(sys.modules, "botocore", None)
    monkeypatch.setitem(sys.modules, "botocore.exceptions", None)
    with open_store(**fleet) as store, caplog.at_level(logging.WARNING):
        assert store.reconcile().clean
    assert 'pip install "mediakeep[objects]"' in caplog.text
