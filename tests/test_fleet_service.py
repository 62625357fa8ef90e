"""An object store that is overloaded or refuses: asked again, or told of; what is condemned stays so."""

import re
from datetime import timedelta

import obstore
import pytest
from obstore.store import S3Store

from fleet.children import Workers
from fleet.faults import Overloaded
from fleet.judge import Judge
from fleet.machine import Machine
from fleet.proxy import Asked, Gate, Proxy, speak_s3
from mediakeep import BlobError, open_store

REFUSALS = [
    ("500 Internal Server Error", "InternalError"),
    ("503 Service Unavailable", "ServiceUnavailable"),
    ("503 Slow Down", "SlowDown"),
]
QUICK = {
    "max_retries": 3,
    "retry_timeout": timedelta(seconds=60),
    "backoff": {"init_backoff": timedelta(milliseconds=5), "max_backoff": timedelta(milliseconds=50)},
}


@pytest.fixture
def proxy(seaweed):
    with Proxy(seaweed.ports["s3"], speak_s3) as proxy:
        yield proxy


@pytest.fixture
def where(fleet, proxy):
    endpoint = f"http://127.0.0.1:{proxy.port}"
    return {**fleet, "blob_options": {**fleet["blob_options"], "endpoint": endpoint}}


@pytest.fixture
def store(where):
    options = {**where["blob_options"], "retry_config": QUICK}
    with open_store(**{**where, "blob_options": options}) as store:
        yield store


@pytest.fixture
def judge(store, fleet, postgres, seaweed):
    schema = fleet["catalog_options"]["schema"]
    judge = Judge(postgres.url, schema, fleet["blobs"][5:], seaweed.options)
    yield judge
    judge.close()


@pytest.mark.parametrize(("status", "code"), REFUSALS)
def test_an_overload_that_passes_is_not_noticed(store, proxy, judge, status, code):
    def overloaded(times):
        proxy.gate = Overloaded(times, status=status, code=code)
        return proxy.gate

    for times in (1, 2):
        gate = overloaded(times)
        ref = store.put(b"bytes", scope="turn")
        assert gate.refused == times
        for verb in (
            lambda ref=ref: store.read_bytes(ref),
            lambda ref=ref, name=code * times: store.variant(ref, name, lambda path: b"made"),
            store.sweep,
            store.reconcile,
            lambda ref=ref: store.release(ref),
        ):
            gate = overloaded(times)
            verb()
            assert gate.refused == times
    books = judge.books()
    assert [*judge.broken(books), *books.refs, *books.keys] == []


@pytest.mark.parametrize(("status", "code"), REFUSALS)
def test_an_overload_that_lasts_is_a_blob_error_and_a_deletion_is_left_to_a_later_sweep(
    store, proxy, judge, status, code
):
    kept, going = store.put(b"kept", scope="staying"), store.put(b"going", scope="going")
    proxy.gate = Overloaded(None, status=status, code=code)
    for verb in (
        lambda: store.put(b"new", scope="new"),
        lambda: store.put((bytes(1 << 20) for _ in range(9)), scope="new"),
        lambda: store.read_bytes(kept),
        lambda: store.resolve(kept),
        lambda: store.reconcile(),
    ):
        with pytest.raises(BlobError, match=code):
            verb()
    assert store.release(going), "its ref has ended, whatever becomes of the bytes"
    (failed,) = store.stats().failed
    assert (failed.attempts, code in failed.reason) == (1, True)
    assert len(judge.books().condemned) == 1

    proxy.gate = Gate()
    assert store.sweep().deleted == 1
    assert store.stats().failed == ()
    books = judge.books()
    assert list(judge.broken(books)) == []
    assert [it.ref for it in books.refs.values()] == [kept]
    assert {it for it in judge.objects() if not it.startswith("tmp/")} == books.keys.keys()


class SomeKeysFail(Gate):
    """Deletes in bulk what it may, and says of the rest that it failed, as S3 does.

    (Amazon S3 API Reference, DeleteObjects: an answer of 200 names what was not deleted.)
    """

    def __init__(self, bucket: S3Store, stuck: set[str]) -> None:
        self._bucket = bucket
        self.stuck = stuck
        self.asked: list[list[str]] = []

    def ask(self, asked: Asked) -> bytes | None:
        if asked.what != "POST delete":
            return None
        names = re.findall(r"<Key>([^<]+)</Key>", asked.data.decode("utf-8", "replace"))
        keys = [name.partition("/")[2] for name in names]
        self.asked.append(keys)
        obstore.delete(self._bucket, [it for it in keys if it not in self.stuck])
        said = "".join(
            f"<Error><Key>{name}</Key><Code>InternalError</Code><Message>We encountered an internal "
            "error. Please try again.</Message></Error>"
            if key in self.stuck
            else f"<Deleted><Key>{name}</Key></Deleted>"
            for name, key in zip(names, keys, strict=True)
        )
        body = f'<?xml version="1.0" encoding="UTF-8"?><DeleteResult>{said}</DeleteResult>'
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n\r\n"
        return (head + body).encode()


def test_of_a_bulk_delete_exactly_what_failed_stays_condemned(store, proxy, judge):
    refs = [store.put(b"bytes %d" % n, scope="going") for n in range(12)]
    keys = [store.entry(ref).location for ref in refs]
    stuck = set(keys[3:5])
    proxy.gate = gate = SomeKeysFail(judge.bucket, stuck)
    store.release_all("going")
    assert judge.books().condemned == stuck
    assert {it for it in judge.objects() if not it.startswith("tmp/")} == stuck
    assert {it.location for it in store.stats().failed} == stuck
    assert store.sweep().deleted == 0
    gate.stuck = set()
    assert store.sweep().deleted == 2
    books = judge.books()
    assert [*judge.broken(books), *books.keys] == []


def test_deleting_many_blobs_at_once_tells_which_of_them_failed(store, proxy, judge):
    keys = [store.entry(store.put(b"bytes %d" % n)).location for n in range(30)]
    stuck = {keys[0], keys[17]}
    proxy.gate = gate = SomeKeysFail(judge.bucket, stuck)
    assert store._blobs.delete_many(keys).keys() == stuck
    assert {it for it in judge.objects() if not it.startswith("tmp/")} == stuck
    assert max(map(len, gate.asked)) == 30


class Deletes(Gate):
    """Hears of what is deleted."""

    def __init__(self) -> None:
        self.keys: list[str] = []

    def ask(self, asked: Asked) -> None:
        if asked.what == "POST delete":
            names = re.findall(r"<Key>([^<]+)</Key>", asked.data.decode("utf-8", "replace"))
            self.keys += [name.partition("/")[2] for name in names if "/tmp/" not in name]


def test_sweepers_of_many_machines_delete_each_object_once(store, where, proxy, judge):
    keys = []
    for n in range(60):
        ref = store.put(b"bytes %d" % n, scope="going", ttl=60)
        keys.append(store.entry(ref).location)
    judge.ask("UPDATE {s}.refs SET expires_at = 0")
    proxy.gate = gate = Deletes()
    with Workers() as workers:
        machines = [Machine(workers, where) for _ in range(4)]
        for machine in machines:
            machine.__enter__()
        try:
            for machine in machines:
                machine.send("sweep")
            reports = [machine.receive() for machine in machines]
        finally:
            for machine in machines:
                machine.__exit__(None, None, None)
    assert sum(it.expired for it in reports) == sum(it.deleted for it in reports) == 60
    assert sorted(gate.keys) == sorted(keys)
    assert judge.books().keys == {}
