"""What is between a worker and its servers cuts, stalls and slows: verbs succeed or fail, in time."""

import time
from contextlib import ExitStack, contextmanager
from datetime import timedelta

import pytest

from fleet.faults import Cutting, Deaf, Losing, Refusing, Slow, Stalling
from fleet.judge import Judge
from fleet.killing import LATER_SECONDS, Later
from fleet.proxy import Gate, Proxy, speak_postgres, speak_s3
from mediakeep import BlobError, CatalogError, UnknownRef, open_store

BOUND = 25.0
TIMEOUT = 0.5
QUICK = {
    "client_options": {"read_timeout": timedelta(seconds=0.6), "connect_timeout": timedelta(seconds=1)},
    "retry_config": {
        "max_retries": 2,
        "retry_timeout": timedelta(seconds=3),
        "backoff": {"init_backoff": timedelta(milliseconds=10), "max_backoff": timedelta(seconds=0.1)},
    },
}


class Line:
    """A store behind a proxy to each server, and what outlives the faults of both."""

    def __init__(self, fleet, postgres, seaweed, to_books, to_bytes, later):
        self.books, self.bytes = to_books, to_bytes
        self._fleet = fleet
        self._postgres = postgres
        schema = fleet["catalog_options"]["schema"]
        self.judge = Judge(postgres.url, schema, fleet["blobs"][5:], seaweed.options)
        self._later = f"http://127.0.0.1:{later.port}"

    def open(self, *, impatient=""):
        """Open the store; `impatient` is the server that soon counts as one that does not answer."""
        blob_options = {**self._fleet["blob_options"], "endpoint": self._at(self.bytes)}
        given = {"where": f"postgresql://keeper@127.0.0.1:{self.books.port}/postgres"}
        if impatient == "bytes":
            blob_options |= QUICK
        elif impatient == "books":
            given = {"where": f"{given['where']}?connect_timeout=2", "timeout": TIMEOUT}
        return open_store(**{**self._fleet, **given, "blob_options": blob_options})

    @contextmanager
    def at_work(self, impatient):
        """Give an open store that both servers have answered, however busy this machine is."""
        for attempt in range(20):
            with ExitStack() as stack:
                try:
                    store = stack.enter_context(self.open(impatient=impatient))
                    store.put(b"a first one, so that the marker is there", scope="first")
                except (CatalogError, BlobError):
                    if attempt == 19:
                        raise
                    continue
                yield store
                return

    def _at(self, proxy):
        return f"http://127.0.0.1:{proxy.port}"

    def heal(self):
        for proxy in (self.books, self.bytes):
            broken, proxy.gate = proxy.gate, Gate()
            broken.close()

    def open_later(self):
        blob_options = {**self._fleet["blob_options"], "endpoint": self._later}
        clock = {"clock": lambda: time.time() + LATER_SECONDS}
        return open_store(**{**self._fleet, "blob_options": blob_options, **clock})

    def check(self):
        """What holds after any fault: once swept past everybody's time, all is in order."""
        books = self.judge.books()
        assert list(self.judge.broken(books)) == []
        with self.open_later() as later:
            later.sweep()
        books = self.judge.books()
        assert [*self.judge.broken(books), *self.judge.leaked(books)] == []
        return books


@pytest.fixture
def line(fleet, postgres, seaweed):
    with (
        Proxy(postgres.port, speak_postgres) as to_books,
        Proxy(seaweed.ports["s3"], speak_s3) as to_bytes,
        Proxy(seaweed.ports["s3"], speak_s3, Later()) as later,
    ):
        line = Line(fleet, postgres, seaweed, to_books, to_bytes, later)
        yield line
        line.heal()
        line.judge.close()


def verbs(store, refs):
    """What a bot does in a turn; each with the ref that it ends, or None, and what it is to return."""

    def leased():
        with store.lease(refs[0]) as media:
            return media.path.read_bytes()

    return {
        "put": lambda: store.put(b"new", scope="new"),
        "share": lambda: store.share(refs[0], "new"),
        "resolve": lambda: store.resolve(refs[1]).read_bytes(),
        "read_bytes": lambda: store.read_bytes(refs[2]),
        "lease": leased,
        "variant": lambda: store.variant(refs[0], "it", lambda path: b"made").read_bytes(),
        "entries": lambda: [it.ref for it in store.entries()],
        "stats": lambda: store.stats().refs,
        "release": lambda: store.release(refs[3]),
        "release_all": lambda: store.release_all("going"),
        "sweep": store.sweep,
        "reconcile": lambda: store.reconcile(grace=3600).counts,
    }


FAULTS = {
    "cut before it arrives": lambda: Losing(2),
    "cut before its answer": lambda: Deaf(2),
    "cut in its answer": lambda: Cutting(3),
    "slow": lambda: Slow(0.02),
    "cut always": lambda: Losing(1, always=True),
    "refused": Refusing,
    "stalled": Stalling,
    "stalled in the midst": lambda: Stalling(2),
}
PASSING = list(FAULTS)[:4]


@pytest.mark.parametrize("server", ["books", "bytes"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_verb_succeeds_or_fails_in_time_and_nothing_is_half_done(line, server, fault):
    proxy = getattr(line, server)
    with line.open() as sure, line.at_work("" if fault in PASSING else server) as store:
        refs = [sure.put(b"bytes %d" % n, scope="staying" if n < 4 else "going") for n in range(6)]
        live, dead, unsure = set(refs), set(), set()
        done, slowest = {}, 0.0
        for name, verb in verbs(store, refs).items():
            if fault not in PASSING and name not in ("put", "lease", "release"):
                continue  # each takes its time to fail
            gate = FAULTS[fault]()
            proxy.gate = gate
            if fault == "refused":
                proxy.cut_all()
            began = time.monotonic()
            ends = {"release": refs[3:4], "release_all": refs[4:]}.get(name, [])
            try:
                result = verb()
            except (CatalogError, BlobError) as error:
                done[name] = error
                unsure |= {*ends}
            else:
                done[name] = None
                dead |= {*ends}
                if name in ("put", "share"):
                    live.add(result)
            slowest = max(slowest, time.monotonic() - began)
            assert slowest < BOUND, name
            line.heal()
        live -= dead | unsure
        for ref in live:
            assert sure.read_bytes(ref)
        for ref in dead:
            with pytest.raises(UnknownRef):
                sure.resolve(ref)
    books = line.check()
    assert live <= books.refs.keys()
    assert not dead & books.refs.keys()
    if fault in PASSING:
        assert set(done.values()) == {None}, "what passes is tried again"
    elif fault != "stalled in the midst":
        assert isinstance(done["put"], CatalogError if server == "books" else BlobError)
        assert "pool_size" not in str(done["put"]), "it is not for want of connections"


@pytest.mark.parametrize(
    "gate", [lambda: Stalling(3), lambda: Losing(3, always=True)], ids=["stalls", "is cut"]
)
def test_an_upload_in_parts_that_is_cut_off_fails_in_time_and_is_aborted_by_a_reconcile(
    line, seaweed, gate
):
    before = seaweed.uploads()
    with line.at_work("bytes") as store:
        line.bytes.gate = gate()
        began = time.monotonic()
        with pytest.raises(BlobError):
            store.put((bytes(1 << 20) for _ in range(30)), scope="turn")
        assert time.monotonic() - began < 2 * BOUND
        line.heal()
    line.check()
    assert len(seaweed.uploads()) == len(before) + 1
    with line.open_later() as later:
        assert later.reconcile(dry_run=False).counts == {"upload": 1}
    assert seaweed.uploads() == before
