"""The catalog in PostgreSQL: the contract, and the law with many at work at once, on a real server."""

import contextlib
import os
import re
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import chain, count, islice
from pathlib import Path

import psycopg
import pytest

from mediakeep import (
    Limits,
    MediaElsewhere,
    MediaMeta,
    MediaMissing,
    MediaStore,
    open_store,
)
from mediakeep.blobs.local import LocalBlobs
from mediakeep.catalogs import Registration, postgres_reaping
from mediakeep.catalogs.postgres import PostgresCatalog, migrate
from mediakeep.errors import CatalogError, QuotaExceeded, RefExpired, RefReleased
from mediakeep.refs import new_ref
from mediakeep.testing import CatalogContract, FakeClock
from postgres_server import PostgresServer

numbers = count()

STATEMENTS = ("SELECT", "WITH", "INSERT", "UPDATE", "DELETE")

PATIENCE = 20.0

Open = Callable[..., PostgresCatalog]


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    server = PostgresServer()
    yield server
    server.close()


@pytest.fixture
def schema() -> str:
    return f"test_{os.getpid()}_{next(numbers)}"


@pytest.fixture
def opened(server: PostgresServer, schema: str) -> Iterator[Open]:
    """Opens catalogs, all on the same tables, by the database's clock; closes them afterwards."""
    with contextlib.ExitStack() as stack:

        def opened(**options: object) -> PostgresCatalog:
            options = {"url": server.url, "schema": schema, "timeout": 60, **options}
            return stack.enter_context(contextlib.closing(PostgresCatalog(**options)))

        yield opened


@pytest.fixture
def ask(server: PostgresServer, schema: str) -> Iterator[Callable[..., list[tuple]]]:
    """Asks the server itself, past the catalog; `{s}` is the schema."""
    with psycopg.connect(server.url, autocommit=True) as connection:

        def ask(statement: str, *values: object) -> list[tuple]:
            cursor = connection.execute(statement.format(s=schema), values)
            return cursor.fetchall() if cursor.description else []

        yield ask


def new(location: str = "/m/f", scope: str = "s", *, size: int = 1, sha256: str = "") -> Registration:
    given = location if os.path.isabs(location) else None
    return Registration(new_ref(), scope, location, given, MediaMeta(), size, sha256)


def add(catalog: PostgresCatalog, location: str = "/m/f", scope: str = "s", **options: object) -> str:
    made = new(location, scope)
    catalog.register(location, lambda: made, **options)
    return made.ref


def add_many(catalog: PostgresCatalog, locations: list[str], **options: object) -> list[str]:
    made = [new(it) for it in locations]
    catalog.register_many(locations, lambda: made, **options)
    return [it.ref for it in made]


def at_once(*works: Callable[[], object]) -> list[object]:
    """Return what the works return, begun together in threads of their own."""
    barrier = threading.Barrier(len(works))

    def run(work: Callable[[], object]) -> object:
        barrier.wait()
        return work()

    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(run, works))


class TestPostgresCatalog(CatalogContract):
    @pytest.fixture(autouse=True)
    def _empty(self, server: PostgresServer, schema: str) -> None:
        self.url, self.schema = server.url, schema

    def make_catalog(self, clock):
        return PostgresCatalog(self.url, clock, schema=self.schema, timeout=60)


# -- a store


def test_a_store_is_opened_by_the_address_of_its_database(server, tmp_path):
    blobs = tmp_path / "shared" / "blobs"
    with (
        open_store(server.url, blobs=blobs, fsync=False) as one,
        open_store(server.url, blobs=blobs, fsync=False) as other,
    ):
        ref = one.put(b"hello", MediaMeta("hello.txt"), "chat:1")
        assert other.read_bytes(ref) == b"hello"
        same = other.put(b"hello", scope="chat:2")
        assert one.resolve(same) == one.resolve(ref)
        with other.lease(same) as media:
            one.release_all("chat", nested=True)
            assert media.path.read_bytes() == b"hello"
        assert not media.path.exists()
        assert one.reconcile(deep=True, grace=0).clean


def test_a_store_in_a_database_says_what_it_needs(server, tmp_path):
    with pytest.raises(ValueError, match="needs blobs=…"):
        open_store(server.url)
    with pytest.raises(ValueError, match="is no place for bytes"):
        open_store(server.url, blobs="ftp://host/folder")
    with pytest.raises(ValueError, match="blob_options are for blobs in a bucket"):
        open_store(server.url, blobs=tmp_path, blob_options={"cache_bytes": 1})
    with pytest.raises(ValueError, match="catalog_options are for a postgresql"):
        open_store(tmp_path, catalog_options={"schema": "mine"})
    with pytest.raises(ValueError, match="leave its bytes in the bucket"):
        open_store("memory:", blobs="s3://bucket/prefix")


def test_a_scope_that_cannot_be_kept_is_refused(opened):
    with pytest.raises(CatalogError, match="NUL in it"):
        add(opened(), scope="a\0b")


# -- the tables


def test_many_that_open_an_empty_database_at_once_all_succeed(opened, ask):
    catalogs = at_once(*[opened] * 8)
    refs = [add(catalog, f"/m/{n}") for n, catalog in enumerate(catalogs)]
    assert sorted(it.ref for it in catalogs[0].entries()) == sorted(refs)
    assert ask("SELECT product, version FROM {s}.about") == [("mediakeep", 1)]


def test_migrating_tells_what_was_there(server, schema, opened):
    assert migrate(server.url, schema=schema) == 0
    assert migrate(server.url, schema=schema) == 1
    assert add(opened())


def test_tables_of_another_version_are_refused_and_left_alone(opened, ask):
    opened().close()
    ask("UPDATE {s}.about SET version = 99")
    with pytest.raises(CatalogError, match="newer mediakeep"):
        opened()
    assert ask("SELECT version FROM {s}.about") == [(99,)]


def test_a_schema_with_something_else_in_it_is_refused_and_left_alone(opened, ask):
    ask("CREATE SCHEMA {s}")
    ask("CREATE TABLE {s}.mine (x int)")
    with pytest.raises(CatalogError, match="schema of its own"):
        opened()
    assert ask("SELECT relname FROM pg_class WHERE relnamespace = '{s}'::regnamespace") == [("mine",)]


def test_an_empty_schema_that_was_made_for_it_is_used(opened, ask):
    ask("CREATE SCHEMA {s}")
    assert add(opened())


def test_a_role_with_the_documented_rights_can_do_all_but_migrate(server, schema, opened, ask):
    migrate(server.url, schema=schema)
    ask("CREATE ROLE {s}_worker LOGIN")
    page = Path(__file__).parents[1] / "docs" / "postgres.md"
    for line in page.read_text().splitlines():
        if line.startswith("GRANT"):
            ask(line.replace("SCHEMA mediakeep", "SCHEMA {s}").replace("worker", "{s}_worker"))
    catalog = opened(url=server.url.replace("keeper@", f"{schema}_worker@"))
    for verb in VERBS.values():
        ref = add(catalog)
        lease, _ = catalog.lease(ref, 60)
        verb(catalog, ref, lease)
    ask("INSERT INTO {s}.locations (location, host, owned, size, sha256) VALUES ('x', '', true, 1, '')")
    assert [it.subject for it in catalog.faults()] == ["x"]
    catalog.mend()
    assert list(catalog.faults()) == []
    with pytest.raises(CatalogError, match="rights"):
        opened(url=server.url.replace("keeper@", f"{schema}_worker@"), schema=f"{schema}_other")


@pytest.mark.parametrize("name", ["", "pg_mine", 'a"b', "A", "a" * 64, "1a"])
def test_what_cannot_be_a_schema_is_refused(server, name):
    with pytest.raises(ValueError, match="schema"):
        PostgresCatalog(server.url, schema=name)


def test_a_password_is_not_told(schema):
    url = "postgresql://keeper:geheim@127.0.0.1:1/postgres"
    with pytest.raises(CatalogError) as caught:
        PostgresCatalog(url, schema=schema, timeout=0.3)
    assert "geheim" not in str(caught.value)
    assert "can be reached" in str(caught.value)


def test_paths_longer_than_an_index_takes_are_kept_apart(opened):
    catalog = opened()
    first, second = ("/m/" + os.urandom(1900).hex() for _ in range(2))
    longer = first + "x"
    refs = [add(catalog, path, path[-9:]) for path in (first, second, longer)]
    assert [catalog.get(it).location for it in refs] == [first, second, longer]
    assert catalog.release(refs[0]).condemned == [first]
    deleted: list[str] = []
    assert catalog.reap(deleted.append).deleted == 1
    assert deleted == [first]
    assert catalog.knows(longer)
    assert sorted(it.location for it in catalog.places()) == sorted([second, longer])


def test_odd_scopes_and_names_come_back(opened):
    catalog = opened()
    odd = MediaMeta(filename="a\0b\udcff", source="\0")
    made = Registration(new_ref(), "ü:%s", "3f/x", None, odd, 1)
    catalog.add(made)
    assert catalog.get(made.ref).meta == odd
    assert catalog.scopes() == ["ü:%s"]
    for bad in ("a\0b", "x" * 9000 + os.urandom(9000).hex()):
        with pytest.raises(CatalogError, match="scope"):
            catalog.add(new("3f/y", bad))
    assert not catalog.knows("3f/y")


# -- the law, with many at work


def test_storing_that_races_with_the_last_release_keeps_its_file_or_fails(opened, tmp_path):
    stores = [
        MediaStore(opened(pool_size=4), LocalBlobs(tmp_path / "blobs", fsync=False)) for _ in range(2)
    ]
    path = tmp_path / "photo"
    outcomes = set()

    def register() -> str | None:
        try:
            return stores[1].store(path, scope="b")
        except MediaMissing:
            return None

    for n in range(40):
        path.write_bytes(b"x")
        ref = stores[0].store(path, scope="a")
        works = [lambda ref=ref: stores[0].release(ref), register]
        second = at_once(*works[:: 1 if n % 2 else -1])[1 if n % 2 else 0]
        outcomes.add(second is None)
        if second is not None:
            assert path.exists(), "a live ref without its file"
            assert stores[0].stats().condemned == 0
            stores[1].release(second)
        assert not path.exists()
    assert stores[0].sweep().deleted == 0
    for store in stores:
        store.close()


def test_refs_that_end_at_once_condemn_their_location_once(opened):
    catalogs = [opened(pool_size=2) for _ in range(4)]
    for n in range(15):
        refs = [add(catalogs[0], f"/m/{n}") for _ in range(4)]
        works = [lambda c=c, r=r: c.release(r) for c, r in zip(catalogs, refs, strict=True)]
        ended = at_once(*works)
        assert [it.refs for it in ended] == [1] * 4
        assert list(chain.from_iterable(it.condemned for it in ended)) == [f"/m/{n}"]


def test_sharing_that_races_with_the_end_of_its_ref_keeps_the_location_or_fails(opened):
    catalogs = [opened(pool_size=2) for _ in range(2)]
    for n in range(25):
        ref, shared = add(catalogs[0], f"/m/{n}"), new_ref()

        def share(ref: str = ref, shared: str = shared) -> bool:
            try:
                catalogs[1].share(ref, shared, "t")
            except RefReleased:
                return False
            return True

        ended, lives = at_once(lambda ref=ref: catalogs[0].release(ref), share)
        assert ended.condemned == ([] if lives else [f"/m/{n}"])
        if lives:
            assert catalogs[0].get(shared).location == f"/m/{n}"


def test_sweepers_share_the_work_and_never_delete_twice(opened):
    catalogs = [opened(pool_size=2) for _ in range(4)]
    for n in range(900):
        catalogs[0].add(new(f"3f/{n:04}"))
    catalogs[0].release_scope("s")
    deleted: list[list[str]] = [[] for _ in catalogs]
    shared = threading.Event()

    def sweep(n: int) -> int:
        def delete(location: str) -> None:
            deleted[n].append(location)
            if sum(map(bool, deleted)) > 1:
                shared.set()
            assert shared.wait(60), "one does all the work"

        return catalogs[n].reap(delete).deleted

    counts = at_once(*[lambda n=n: sweep(n) for n in range(4)])
    assert sorted(chain.from_iterable(deleted)) == [f"3f/{n:04}" for n in range(900)]
    assert sum(counts) == 900
    assert list(catalogs[0].condemned()) == []


def test_expiring_is_shared_and_ends_each_ref_once(opened, ask):
    catalogs = [opened(pool_size=2) for _ in range(3)]
    refs = [new(f"3f/{n}") for n in range(300)]
    for it in refs:
        catalogs[0].add(it, ttl=0.001)

    def expire(catalog: PostgresCatalog) -> int:
        total = 0
        while n := catalog.expire(None, limit=20).refs:
            total += n
        return total

    assert sum(at_once(*[lambda c=c: expire(c) for c in catalogs])) == 300
    assert ask("SELECT count(*), count(DISTINCT ref) FROM {s}.history") == [(300, 300)]
    with pytest.raises(RefExpired):
        catalogs[1].get(refs[0].ref)


@pytest.mark.parametrize("limits", [Limits(max_store_files=9), Limits(max_scope_bytes=9)])
def test_writers_cannot_overshoot_a_limit_together(opened, limits):
    catalogs = [opened(pool_size=2) for _ in range(6)]

    def fill(n: int) -> int:
        done = 0
        for i in range(4):
            with contextlib.suppress(QuotaExceeded):
                catalogs[n].add(new(f"3f/{n}-{i}"), limits=limits)
                done += 1
        return done

    assert sum(at_once(*[lambda n=n: fill(n) for n in range(6)])) == 9
    assert catalogs[0].use() == (9, 9)


def test_the_totals_add_up_after_many_have_written_at_once(opened):
    catalogs = [opened(pool_size=2) for _ in range(4)]

    def work(catalog: PostgresCatalog) -> None:
        for n in range(12):
            add(catalog, f"/m/{n % 5}", f"s{n % 3}")
            catalog.release_scope(f"s{(n + 1) % 3}")
            catalog.reap(lambda _: None)

    at_once(*[lambda c=c: work(c) for c in catalogs])
    assert list(catalogs[0].faults()) == []


def test_a_scope_of_many_refs_ends_in_bounded_transactions(opened, ask):
    catalog = opened()
    catalog.close()
    fill(ask, 12_000)
    catalog = opened()
    began = time.monotonic()
    ended = catalog.release_scope("chat", nested=True)
    assert time.monotonic() - began < 60
    assert (ended.refs, len(set(ended.condemned))) == (12_000, 12_000)
    assert ask("SELECT count(DISTINCT xmin::text) >= 3 FROM {s}.history") == [(True,)]
    assert catalog.stats().condemned == 12_000
    ask("DELETE FROM {s}.leases")
    found = list(catalog.condemned())
    assert len(found) == 12_000, "each of them once, in whatever order they are found"
    assert {name for name, _ in found} == set(ended.condemned)


# -- many at once


@pytest.fixture
def statements(monkeypatch) -> list[str]:
    """What is sent to the server from now on."""
    sent: list[str] = []
    plain = psycopg.Connection.execute

    def execute(self, statement, *values, **options):
        sent.append(statement)
        return plain(self, statement, *values, **options)

    monkeypatch.setattr(psycopg.Connection, "execute", execute)
    return sent


def test_many_new_blobs_are_written_in_one_round_trip(opened, statements):
    catalog = opened()
    statements.clear()
    catalog.add_many([new(f"3f/{n}") for n in range(1000)])
    assert len(statements) == 1
    catalog.add_many([new(f"4f/{n}", sha256=f"{n:064}") for n in range(1000)], is_there=lambda *_: True)
    assert len(statements) == 3, "one more to look for twins"
    add_many(catalog, [f"/m/{n}" for n in range(1000)])
    assert len(statements) == 5, "one more to take the locks"
    assert catalog.use() == (3000, 3000)


@pytest.mark.parametrize("limits", [Limits(max_store_files=30), Limits(max_scope_bytes=20)])
def test_batches_cannot_overshoot_a_limit_together(opened, limits):
    catalogs = [opened(pool_size=2) for _ in range(4)]

    def fill(n: int) -> int:
        done = 0
        for i in range(6):
            batch = [new(f"3f/{n}-{i}-{j}", scope) for j, scope in enumerate(("s", "s", f"s{n}"))]
            with contextlib.suppress(QuotaExceeded):
                catalogs[n].add_many(batch[:: 1 - n % 2 * 2], limits=limits)
                done += 1
        return done

    assert sum(at_once(*[lambda n=n: fill(n) for n in range(4)])) == 10
    assert catalogs[0].use() == (30, 30)


def test_batches_of_the_same_locations_and_ends_never_block_each_other_for_good(opened):
    catalogs = [opened(pool_size=2) for _ in range(4)]
    names = [f"/m/{n}" for n in range(30)]

    def register(n: int) -> list[str]:
        mine = names[n * 7 :] + names[: n * 7]
        return list(chain.from_iterable(add_many(catalogs[n], mine[:: 1 - n % 2 * 2]) for _ in range(8)))

    def end() -> None:
        for _ in range(15):
            catalogs[3].release_scope("s")
            catalogs[3].reap(lambda _: None)

    began = time.monotonic()
    refs = at_once(*[lambda n=n: register(n) for n in range(3)], end)[:3]
    assert time.monotonic() - began < 60
    live = {it.ref for it in catalogs[0].entries()}
    assert live <= set(chain.from_iterable(refs))
    assert list(catalogs[0].faults()) == []


def test_more_locations_than_the_server_has_locks_for_are_refused_and_leave_nothing(opened):
    catalog = opened()
    with pytest.raises(CatalogError, match="max_locks_per_transaction"):
        add_many(catalog, [f"/m/{n}" for n in range(60_000)])
    assert catalog.use() == (0, 0)
    assert len(add_many(catalog, [f"/m/{n}" for n in range(3000)])) == 3000


def test_a_path_is_restored_as_one_of_this_host(opened):
    here, there = opened(host="here"), opened(host="there")
    ref = new("/m/f")
    assert here.restore([ref], owned=True) == 1
    assert here.get(ref.ref).path == Path("/m/f")
    with pytest.raises(MediaElsewhere):
        there.get(ref.ref)
    with pytest.raises(CatalogError, match="live here at"):
        there.restore([ref], owned=True)


def test_a_path_longer_than_an_index_takes_is_restored_whole(opened):
    catalog, path = opened(), "/m/" + "x" * 3000
    refs = [new(path), new(path)]
    assert [catalog.restore(refs[:n], owned=True) for n in (1, 2, 2)] == [1, 1, 0]
    assert {catalog.get(it.ref).location for it in refs} == {path}
    assert add_many(catalog, [path, path + "y"])
    assert catalog.use() == (2, 2)


# -- clocks and hosts


def test_the_clock_of_the_database_wins(opened, monkeypatch):
    early, late = opened(), opened()
    monkeypatch.setattr(time, "time", lambda: 3600.0 + time.monotonic())
    ref = add(late, ttl=60)
    lease, _ = late.lease(ref, 60)
    assert early.expire(3000).refs == 0
    assert early.forget_lapsed() == 0
    early.release(ref)
    assert early.reap(lambda _: pytest.fail("a lease is live")).deleted == 0
    assert early.end_lease(lease) == ["/m/f"]


def test_a_path_of_another_host_is_neither_resolved_nor_deleted_here(opened):
    here, there = opened(host="here"), opened(host="there")
    ref = add(here)
    for verb in (there.get, lambda it: there.lease(it, 60)):
        with pytest.raises(MediaElsewhere, match="'here'"):
            verb(ref)
    assert there.entry(ref).leases == 0
    twin = add(there)
    assert here.entry(ref).refs == 1, "the same path on two hosts is two files"
    there.release(ref)
    assert there.reap(lambda it: pytest.fail(it)).deleted == 0
    assert there.knows("/m/f") and there.get(twin)
    deleted: list[str] = []
    assert here.reap(deleted.append).deleted == 1
    blob = new("3f/b")
    here.add(blob)
    assert there.get(blob.ref) == blob


def test_the_journal_keeps_its_length(opened):
    clock = FakeClock()
    catalog = opened(clock=clock, history_seconds=100)
    stuck = add(catalog, "/m/stuck")
    catalog.release(stuck)
    catalog.release(add(catalog, "/m/f"))
    catalog.reap(lambda _: None, ["/m/f"])
    clock.advance(101)
    catalog.forget_lapsed()
    assert [it.ref for it in catalog.history()] == [stuck], "it tells why the file is condemned"


# -- what is lost on the way


def cut(ask: Callable[..., list[tuple]]) -> None:
    """Have the server end every session but the asker's."""
    ask(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE application_name = 'mediakeep' AND pid <> pg_backend_pid()"
    )


VERBS: dict[str, Callable[[PostgresCatalog, str, int], object]] = {
    "add": lambda it, ref, lease: it.add(new("3f/new")),
    "add a twin": lambda it, ref, lease: it.add(new("3f/new", sha256="ab"), is_there=lambda _: True),
    "register": lambda it, ref, lease: add(it, "/m/new"),
    "add_many": lambda it, ref, lease: it.add_many([new("3f/new"), new("3f/other")]),
    "add many twins": lambda it, ref, lease: it.add_many(
        [new("3f/new", sha256="ab"), new("3f/other", sha256="ab")], is_there=lambda *_: True
    ),
    "register_many": lambda it, ref, lease: add_many(it, ["/m/new", "/m/f", "/m/new"]),
    "restore": lambda it, ref, lease: it.restore([new(), new()], owned=True),
    "share": lambda it, ref, lease: it.share(ref, new_ref(), "t"),
    "get": lambda it, ref, lease: it.get(ref).location,
    "entry": lambda it, ref, lease: it.entry(ref).location,
    "entries": lambda it, ref, lease: [entry.ref for entry in it.entries()],
    "release": lambda it, ref, lease: it.release(ref),
    "release_scope": lambda it, ref, lease: it.release_scope("s", nested=True),
    "expire": lambda it, ref, lease: it.expire(0.000001),
    "reap": lambda it, ref, lease: it.reap(lambda _: None),
    "lease": lambda it, ref, lease: it.lease(ref, 60)[1].location,
    "renew": lambda it, ref, lease: it.renew([lease], 60),
    "end_lease": lambda it, ref, lease: it.end_lease(lease),
    "variant": lambda it, ref, lease: it.add_variant(ref, "small", "3f/v", 1, ""),
    "stats": lambda it, ref, lease: it.stats().refs,
    "lose": lambda it, ref, lease: it.lose("/m/f"),
    "adopt": lambda it, ref, lease: it.adopt("3f/stray", 1),
    "history": lambda it, ref, lease: list(it.history()),
    "mend": lambda it, ref, lease: it.mend(),
}


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_whose_connections_were_cut_is_tried_again(opened, ask, verb):
    catalog = opened(pool_size=3)
    ref = add(catalog)
    lease, _ = catalog.lease(ref, 60)
    cut(ask)
    VERBS[verb](catalog, ref, lease)
    assert list(catalog.faults()) == []


def test_a_registration_that_is_cut_while_it_looks_is_made_once(opened, ask):
    catalog, looks = opened(), []
    made = new()

    def check() -> Registration:
        looks.append(1)
        if len(looks) == 1:
            cut(ask)
        return made

    catalog.register("/m/f", check)
    assert len(looks) == 2
    assert [it.ref for it in catalog.entries()] == [made.ref]


def test_a_deletion_whose_lock_was_cut_is_done_again_and_forgotten(opened, ask):
    catalog, deleted = opened(), []
    catalog.release(add(catalog))

    def delete(location: str) -> None:
        deleted.append(location)
        if len(deleted) == 1:
            cut(ask)

    assert catalog.reap(delete).deleted == 1
    assert deleted == ["/m/f"] * 2
    assert not catalog.knows("/m/f")


def test_what_is_registered_since_the_locks_were_cut_is_not_deleted(opened, ask, monkeypatch):
    monkeypatch.setattr(postgres_reaping, "BATCH_SECONDS", PATIENCE)  # also on a slow machine
    catalog, other, deleted = opened(), opened(), []
    places = {"/m/f", "/m/g"}
    for place in places:
        catalog.release(add(catalog, place))

    def delete(location: str) -> None:
        deleted.append(location)
        if len(deleted) == 1:
            cut(ask)
            add(other, *places - {location})

    catalog.reap(delete)
    assert set(deleted) == {deleted[0]}
    assert {it.location for it in catalog.entries()} == places - {deleted[0]}


class Deaf:
    """Passes everything on to the server, until it drops the answer to what it listens for."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"postgresql://keeper@127.0.0.1:{self._listener.getsockname()[1]}/postgres"
        self.listens_for: bytes | None = None
        self.heard = 0
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(client,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._port)) as server:
            back = threading.Thread(target=self._back, args=(server, client))
            back.start()
            deaf = False
            with contextlib.suppress(OSError):
                while data := client.recv(65536):
                    if self.listens_for and self.listens_for in data:
                        self.listens_for, deaf = None, True
                        self.heard += 1
                        client.shutdown(socket.SHUT_WR)
                        server.sendall(data)
                        time.sleep(0.1)
                        break
                    server.sendall(data)
            with contextlib.suppress(OSError):
                (client if deaf else server).shutdown(socket.SHUT_RDWR)
                server.shutdown(socket.SHUT_RDWR)
            back.join()

    def _back(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                client.sendall(data)
        with contextlib.suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()


@pytest.fixture
def deaf(server: PostgresServer) -> Iterator[Deaf]:
    deaf = Deaf(server.port)
    yield deaf
    deaf.close()


BEGUN = {"add": 1, "register": 1, "share": 1, "add_many": 2, "add many twins": 2, "register_many": 3}
"""How many refs the verb writes..."""
RESTORED = {"restore": 2}
"""...and says."""


@pytest.mark.parametrize("verb", [*BEGUN, *RESTORED, "release", "expire", "end_lease", "lease"])
def test_what_was_committed_without_being_heard_is_done_once(deaf, opened, ask, verb):
    catalog = opened(url=deaf.url)
    ref = add(catalog)
    lease, _ = catalog.lease(ref, 60)
    if verb == "end_lease":
        catalog.release(ref)
    twin = new("3f/twin", sha256="ab")
    if verb == "add many twins":
        catalog.add(twin)
    single = ("add", "add_many", "share", "lease")
    deaf.listens_for = b"INSERT INTO" if verb in single else b"COMMIT"
    result = VERBS[verb](catalog, ref, lease)
    assert deaf.heard == 1
    refs, lines, leases = (
        ask(f"SELECT count(*) FROM {{s}}.{table}")[0][0] for table in ("refs", "history", "leases")
    )
    if verb in ("release", "expire"):
        assert (result.refs, result.condemned, refs, lines) == (1, ["/m/f"], 0, 1)
    elif verb == "end_lease":
        assert (result, leases) == (["/m/f"], 0)
    elif verb == "lease":
        assert leases == 2
    elif verb in RESTORED:
        assert (result, refs) == (RESTORED[verb], 1 + RESTORED[verb])
    elif verb == "add many twins":
        assert (result, refs) == (["3f/twin"] * 2, 4)
    else:
        assert refs == 1 + BEGUN[verb]
    assert list(catalog.faults()) == []


def test_a_server_that_crashes_in_mid_load_loses_nothing_and_nobody_notices(server, opened):
    catalogs = [opened() for _ in range(2)]
    stop = threading.Event()
    live: list[set[str]] = [set(), set()]

    def load(n: int) -> None:
        while not stop.is_set():
            ref = add(catalogs[n], f"/m/{n}/{len(live[n])}", f"s{n}")
            assert catalogs[n].get(ref)
            if len(live[n]) % 3:
                live[n].add(ref)
            else:
                live[n].add(ref)
                first = next(iter(live[n]))
                assert catalogs[n].release(first).refs == 1
                live[n].discard(first)

    with ThreadPoolExecutor(2) as pool:
        loads = [pool.submit(load, n) for n in range(2)]
        try:
            for _ in range(2):
                time.sleep(0.3)
                server.stop(immediate=True)
                server.start()
            time.sleep(0.5)
        finally:
            stop.set()
        for it in loads:
            it.result()
    assert {it.ref for it in catalogs[0].entries()} == live[0] | live[1]
    assert list(catalogs[0].faults()) == []


def test_a_server_that_is_gone_is_told_in_time(server, opened):
    catalog = opened(timeout=3)
    ref = add(catalog)
    server.stop(immediate=True)
    try:
        began = time.monotonic()
        with pytest.raises(CatalogError, match="can be reached") as caught:
            catalog.get(ref)
        assert time.monotonic() - began < 25
        assert isinstance(caught.value.__cause__, psycopg.OperationalError)
    finally:
        server.start()
    assert catalog.get(ref)


def test_a_pool_that_is_exhausted_says_so(opened):
    catalog = opened(pool_size=1, timeout=2)

    def check() -> Registration:
        catalog.get(new_ref())
        raise AssertionError

    with pytest.raises(CatalogError, match="pool_size"):
        catalog.register("/m/f", check)
    assert add(catalog)


def test_a_wait_for_a_location_is_bounded(opened):
    catalog, waiting = opened(), opened(timeout=2)

    def check() -> Registration:
        with pytest.raises(CatalogError, match="in the way"):
            add(waiting)
        return new()

    catalog.register("/m/f", check)
    assert add(waiting)


def test_a_closed_catalog_says_so(opened):
    catalog = opened()
    catalog.close()
    catalog.close()
    with pytest.raises(CatalogError, match="closed"):
        catalog.stats()


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_after_a_fork_parent_and_child_have_connections_of_their_own(opened):
    catalog = opened()
    ref = add(catalog, scope="parent")
    child = os.fork()
    if not child:
        try:
            assert catalog.get(ref)
            for n in range(20):
                add(catalog, f"/m/{n}", "child")
            os._exit(0)
        except BaseException as error:
            sys.stderr.write(repr(error))
            os._exit(1)
    for n in range(20):
        add(catalog, f"/m/parent/{n}", "parent")
    assert os.waitpid(child, 0)[1] == 0
    assert catalog.get(ref)
    counts = {name: it.refs for name, it in catalog.stats(by_scope=True).by_scope.items()}
    assert counts == {"parent": 21, "child": 20}


# -- what grows


def fill(ask: Callable[..., list[tuple]], many: int) -> None:
    """Write many refs of as many blobs in the scopes `chat:…`, past the catalog."""
    ask(
        "INSERT INTO {s}.locations (location, host, owned, size, sha256)"
        " SELECT ('ff/' || n)::bytea, '', true, 1, md5(n::text) FROM generate_series(1, %s) n",
        many,
    )
    ask(
        "INSERT INTO {s}.refs SELECT gen_random_uuid(), id, 'chat:' || id %% 1000, NULL, '{{}}',"
        " 1e9 + id, CASE id %% 2 WHEN 0 THEN 4e9 + id END FROM {s}.locations"
    )
    ask(
        "INSERT INTO {s}.history (at, what, ref, scope, location, location_id, size, process)"
        " SELECT extract(epoch FROM now()), 'released', gen_random_uuid(), 'old:' || n %% 500,"
        " ('fe/' || n)::bytea, -n, 1, '' FROM generate_series(1, %s) n",
        many,
    )
    ask(
        "INSERT INTO {s}.leases SELECT n, id, 5e9, '' FROM (SELECT id, row_number() OVER () n"
        " FROM {s}.locations) l"
    )


def test_no_verb_scans_a_table_that_grows(server, opened, ask, monkeypatch):
    opened().close()
    fill(ask, 30_000)
    for table in ("locations", "refs", "history", "leases", "totals"):
        ask(f"ANALYZE {{s}}.{table}")
    catalog = opened(pool_size=1)
    said: dict[str, object] = {}
    plain = psycopg.Connection.execute

    def execute(self, statement, values=None, **options):
        said.setdefault(statement, values)
        return plain(self, statement, values, **options)

    monkeypatch.setattr(psycopg.Connection, "execute", execute)
    limits = Limits(max_store_files=10**6, max_scope_bytes=10**6)
    ref, other = add(catalog, "/m/f"), new("3f/b", "t:1", sha256="c" * 32)
    catalog.add(other, is_there=lambda _: True)
    catalog.add(new("3f/c", sha256="c" * 32), is_there=lambda _: True, limits=limits)
    catalog.add_many([new("3f/d", "m")])
    batch = [new(f"3f/e{n}", f"m{n}", sha256=f"{n % 2}" * 32) for n in range(20)]
    catalog.add_many(batch, is_there=lambda *_: True, limits=limits)
    catalog.add_many([new("3f/g", "m", sha256="c" * 32)], is_there=lambda *_: True)
    catalog.register_many(["/m/n"], lambda: [new("/m/n", "m")], limits=limits)
    assert catalog.restore([replace(new("3f/r", "m"), stored_at=time.time())], owned=True) == 1
    catalog.share(ref, new_ref(), "t", limits=limits)
    catalog.get(ref), catalog.entry(ref), catalog.knows("/m/f"), catalog.is_live("/m/f")
    catalog.add_variant(ref, "v", "3f/v", 1, "")
    assert catalog.variant(ref, "v") == "3f/v"
    number, _ = catalog.lease(ref, 60)
    catalog.renew([number], 60)
    list(catalog.entries("t", nested=True)), list(catalog.refs_at("/m/f"))
    list(catalog.entries(after=catalog.entry(ref), newest=True))
    next(catalog.entries("t", nested=True, newest=True))
    assert len(catalog.latest()) > 1000
    assert len(catalog.expiring(9)) == len(catalog.leased(9)) == 9
    catalog.release(ref)
    catalog.release_scope("s", refuse_leased=True)
    catalog.end_lease(number)
    with pytest.raises(RefReleased):
        catalog.get(ref)
    add(catalog, "/m/g", "u", ttl=0.00001)
    assert catalog.due(None) == 1
    assert catalog.expire(1e9).refs == 1
    assert catalog.release_scope("t", nested=True).refs == 2
    list(catalog.condemned())
    assert catalog.reap(lambda _: None).deleted >= 3
    catalog.forget_lapsed(), catalog.use(), catalog.scopes()
    list(catalog.history(ref)), list(catalog.history(scope="old:7"))
    catalog.adopt("3f/stray", 1), catalog.lose("3f/stray")
    monkeypatch.undo()
    with psycopg.connect(server.url) as connection:
        scanned = {
            (line.get("Relation Name", line.get("Index Name")), statement)
            for statement, values in said.items()
            if isinstance(statement, str) and statement.split()[0] in STATEMENTS
            for plan in plans(connection, statement, values)
            for line in scans(plan)
            if line.get("Relation Name") != "totals"
        }
    assert not scanned
    assert len(said) > 40


@pytest.mark.parametrize("newest", [False, True])
def test_a_page_from_the_middle_of_a_large_scope_reads_a_page(server, opened, ask, monkeypatch, newest):
    catalog = opened()
    fill(ask, 10_000)
    ask("UPDATE {s}.refs SET scope = 'chat'")
    ask("ANALYZE {s}.refs")
    middle = next(islice(catalog.entries("chat"), 5000, None))
    said: dict[str, object] = {}
    plain = psycopg.Connection.execute

    def execute(self, statement, values=None, **options):
        said.setdefault(statement, values)
        return plain(self, statement, values, **options)

    monkeypatch.setattr(psycopg.Connection, "execute", execute)
    some = list(islice(catalog.entries("chat", nested=True, after=middle, newest=newest), 3))
    step = -1 if newest else 1
    assert [it.stored_at.timestamp() for it in some] == [
        middle.stored_at.timestamp() + n * step for n in (1, 2, 3)
    ]
    monkeypatch.undo()
    ((statement, values),) = said.items()
    with psycopg.connect(server.url) as connection:
        ((plan,),) = connection.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", values).fetchall()
    (found,) = [it for it in nodes(plan[0]["Plan"]) if it.get("Index Name") == "refs_scope"]
    read = found["Actual Rows"] + found.get("Rows Removed by Filter", 0)
    assert read == found["Actual Rows"] == 500


def nodes(plan: dict) -> Iterator[dict]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from nodes(part)


def test_the_tables_that_grow_are_vacuumed_early_and_with_their_indexes(opened, ask):
    opened()
    told = dict(
        ask(
            "SELECT relname, reloptions FROM pg_class"
            " WHERE relnamespace = '{s}'::regnamespace AND relname IN ('refs', 'locations', 'history')"
        )
    )
    grow = ("refs", "locations", "history")
    assert all("autovacuum_vacuum_scale_factor=0.01" in told[table] for table in grow)
    assert all("vacuum_index_cleanup=on" in told[table] for table in ("refs", "locations"))


def plans(connection: psycopg.Connection, statement: str, values: object) -> Iterator[dict]:
    """Yield the plan for these values, and the one for any that the server makes in the end."""
    ((plan,),) = connection.execute(f"EXPLAIN (FORMAT JSON) {statement}", values).fetchall()
    yield plan[0]["Plan"]
    names = list(values or ())
    any_values = re.sub(
        r"%\((\w+)\)s", lambda it: f"${names.index(it[1]) + 1}", statement.replace("%%", "%")
    )
    ((plan,),) = connection.execute(f"EXPLAIN (GENERIC_PLAN, FORMAT JSON) {any_values}").fetchall()
    yield plan[0]["Plan"]


def scans(plan: dict, *, limited: bool = False) -> Iterator[dict]:
    """Yield what reads a table, or the index of one, from end to end."""
    node = plan["Node Type"]
    limited = limited or node == "Limit"
    by_index = node in ("Index Scan", "Index Only Scan", "Bitmap Index Scan")
    if node == "Seq Scan" or (by_index and not limited and "Index Cond" not in plan):
        yield plan
    for part in plan.get("Plans", ()):
        yield from scans(part, limited=limited)
