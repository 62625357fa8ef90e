"""PostgreSQL is stopped and started under load: what a verb said holds afterwards."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from fleet.judge import Judge
from mediakeep import BlobError, CatalogError, UnknownRef, open_store
from postgres_server import PostgresServer

LOADS = 4


@pytest.fixture(scope="module")
def server():
    """A server that these tests may stop."""
    server = PostgresServer()
    yield server
    server.close()


@pytest.fixture
def where(fleet, server):
    return {**fleet, "where": server.url}


class Load:
    """What one bot does, over and over, and what it was told."""

    def __init__(self, store, number):
        self._store = store
        self._scope = f"bot{number}"
        self._made = 0
        self.live = {}
        self.dead = set()
        self.unsure = set()
        self.errors = []
        self.done = 0

    def run(self, stop):
        while not stop.is_set():
            for verb in (self._put, self._put, self._share, self._read, self._lease, self._release):
                try:
                    verb()
                    self.done += 1
                except (CatalogError, BlobError) as error:
                    self.errors.append(error)

    def _put(self):
        self._made += 1
        data = f"{self._scope} {self._made}".encode()
        self.live[self._store.put(data, scope=self._scope)] = data

    def _some(self):
        return next(iter(self.live)) if self.live else None

    def _share(self):
        if (ref := self._some()) is not None:
            self.live[self._store.share(ref, f"{self._scope}:shared")] = self.live[ref]

    def _read(self):
        for ref in list(self.live)[-3:]:
            assert self._store.read_bytes(ref) == self.live[ref]

    def _lease(self):
        if (ref := self._some()) is not None:
            with self._store.lease(ref) as media:
                assert media.path.read_bytes() == self.live[ref]

    def _release(self):
        if (ref := self._some()) is not None:
            self.unsure.add(ref)
            del self.live[ref]
            assert self._store.release(ref)
            self.unsure.discard(ref)
            self.dead.add(ref)


def opened(where, timeout):
    """Open the store as often as it takes: its patience is for what comes then."""
    until = time.monotonic() + 60
    while True:
        try:
            return open_store(**where, timeout=timeout)
        except CatalogError:
            if time.monotonic() > until:
                raise


@pytest.mark.parametrize("immediate", [False, True], ids=["fast", "immediate"])
@pytest.mark.parametrize("timeout", [60.0, 0.2], ids=["patient", "impatient"])
def test_what_a_verb_said_holds_when_the_server_is_stopped_under_load(
    where, server, seaweed, immediate, timeout
):
    stop = threading.Event()
    with (
        open_store(**where) as sure,
        opened(where, timeout) as one,
        opened(where, timeout) as two,
        ThreadPoolExecutor(LOADS) as pool,
    ):
        loads = [Load((one, two)[n % 2], n) for n in range(LOADS)]
        running = [pool.submit(it.run, stop) for it in loads]
        try:
            for _ in range(2):
                time.sleep(0.3)
                server.stop(immediate=immediate)
                time.sleep(0.0 if timeout > 1 else 0.5)
                server.start()
            before = sum(it.done for it in loads)
            until = time.monotonic() + 60
            while sum(it.done for it in loads) < before + 40:
                assert time.monotonic() < until, "nothing works any more"
                time.sleep(0.05)
        finally:
            stop.set()
        for it in running:
            it.result()
        for load in loads:
            for ref, data in load.live.items():
                assert sure.read_bytes(ref) == data
            for ref in load.dead:
                with pytest.raises(UnknownRef):
                    sure.resolve(ref)
        sure.sweep()
    errors = [error for load in loads for error in load.errors]
    if timeout > 1:
        assert errors == [], "a restart in time is waited for"
    else:
        assert any(isinstance(error, CatalogError) for error in errors)

    judge = Judge(server.url, where["catalog_options"]["schema"], where["blobs"][5:], seaweed.options)
    books = judge.books()
    assert list(judge.broken(books)) == []
    for load in loads:
        assert load.live.keys() <= books.refs.keys()
        assert not load.dead & books.refs.keys()
    assert books.condemned == set()
    judge.close()


def test_a_lease_that_began_before_a_restart_holds_after_it(where, server):
    with open_store(**where) as store, open_store(**where) as other:
        ref = store.put(b"bytes", scope="turn")
        with store.lease(ref) as media:
            server.stop(immediate=True)
            server.start()
            other.release(ref)
            assert other.sweep().deleted == 0
            assert media.path.read_bytes() == b"bytes"
            assert len(list(store._blobs.scan())) == 1
        assert list(store._blobs.scan()) == []
