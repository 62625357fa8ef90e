"""The durable store: what a restart keeps, what is refused untouched, what an opening races with."""

import functools
import hashlib
import multiprocessing
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from mediakeep import (
    CatalogError,
    FileMediaStore,
    Limits,
    MediaMeta,
    MediaStore,
    RefReleased,
    Stats,
    open_store,
)
from mediakeep.catalogs.sqlite import VERSION
from mediakeep.catalogs.sqlite_schema import MIGRATIONS

DATA = Path(__file__).parent / "data"


def test_refs_survive_a_restart(tmp_path, make, clock):
    meta = MediaMeta("a.jpg", "image/jpeg", "telegram")
    with open_store(tmp_path / "store", clock=clock) as store:
        data = store.put(b"bytes", meta, "s", ttl=60)
        path = make()
        mine = store.store(path, meta, "s")
        ended = store.put(b"x", scope="gone")
        store.release_all("gone")
        before = list(store.entries())
    with open_store(str(tmp_path / "store"), clock=clock) as store:
        assert list(store.entries()) == before
        assert store.read_bytes(data) == b"bytes"
        assert store.resolve_with_meta(mine) == (path, meta)
        with pytest.raises(RefReleased):
            store.resolve(ended)
        clock.advance(61)
        assert store.sweep().deleted == 1


def test_a_store_can_be_moved_with_its_folder(tmp_path):
    with open_store(tmp_path / "here") as store:
        ref = store.put(b"bytes")
    (tmp_path / "here").rename(tmp_path / "there")
    with open_store(tmp_path / "there") as store:
        assert store.read_bytes(ref) == b"bytes"
        assert store.resolve(ref).is_relative_to(tmp_path / "there")


def test_a_dead_ref_says_why_for_a_week(tmp_path, clock):
    with open_store(tmp_path / "store", clock=clock) as store:
        ref = store.put(b"x")
        store.release(ref)
        clock.advance(7 * 86_400 - 100)
        store.release(store.put(b"y"))
        with pytest.raises(RefReleased):
            store.resolve(ref)
        clock.advance(1000)
        store.release(store.put(b"z"))
        with pytest.raises(KeyError, match="is unknown here"):
            store.resolve(ref)


def test_folder_and_files_are_private_unless_configured(tmp_path):
    old = os.umask(0)
    try:
        with open_store(tmp_path / "private") as store:
            private = store.resolve(store.put(b"x"))
        with open_store(tmp_path / "group", folder_mode=0o750, file_mode=0o640) as store:
            group = store.resolve(store.put(b"x"))
    finally:
        os.umask(old)
    assert {p.stat().st_mode & 0o077 for p in (tmp_path / "private").rglob("*")} == {0}
    assert (group.stat().st_mode & 0o777, group.parent.stat().st_mode & 0o777) == (0o640, 0o750)
    assert private.parents[2].stat().st_mode & 0o777 == 0o700


def test_blobs_can_lie_in_another_folder(tmp_path):
    with open_store(tmp_path / "books", blobs=tmp_path / "bytes") as store:
        assert store.resolve(store.put(b"x")).is_relative_to(tmp_path / "bytes")


@pytest.mark.parametrize("where", ["", "s3://bucket", "redis:", "sqlite:///x"])
def test_what_is_no_store_is_refused(where, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        ValueError, match="is no store: give a folder, 'memory:', or a postgresql:// address"
    ):
        open_store(where)
    assert os.listdir(tmp_path) == []


def test_memory_is_a_store_too():
    with open_store("memory:") as store:
        assert isinstance(store, FileMediaStore)
        assert isinstance(store, MediaStore)


# -- what is not ours stays untouched


def fingerprint(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def refused(folder, match):
    catalog = folder / "catalog.db"
    before = fingerprint(catalog)
    with pytest.raises(CatalogError, match=match):
        open_store(folder)
    assert fingerprint(catalog) == before


def test_a_catalog_of_a_newer_version_is_refused(tmp_path):
    open_store(tmp_path).close()
    with sqlite3.connect(tmp_path / "catalog.db") as db:
        db.execute(f"PRAGMA user_version={VERSION + 8}")
    db.close()
    refused(tmp_path, rf"newer mediakeep \(schema {VERSION + 8}.*upgrade mediakeep")


def test_an_sqlite_file_of_somebody_else_is_refused(tmp_path):
    with sqlite3.connect(tmp_path / "catalog.db") as db:
        db.execute("CREATE TABLE refs (mine)")
    db.close()
    refused(tmp_path, "not a mediakeep catalog: open the store in another folder")


@pytest.mark.parametrize("content", [b"", b"hello", b"SQLite format 3\0", os.urandom(20_000)])
def test_what_is_no_sqlite_file_is_refused(tmp_path, content):
    (tmp_path / "catalog.db").write_bytes(content)
    refused(tmp_path, "not an SQLite file, or a damaged one")


def test_a_damaged_catalog_gives_a_clear_error(tmp_path):
    with open_store(tmp_path) as store:
        for i in range(200):
            ref = store.put(b"x", scope=f"s{i}")
    path = tmp_path / "catalog.db"
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))
    damaged = fingerprint(path)
    with open_store(tmp_path) as store:
        for verb in (lambda: store.resolve(ref), lambda: list(store.entries()), store.stats):
            with pytest.raises(CatalogError, match="restore it from a backup"):
                verb()
        with pytest.raises(CatalogError):
            store.put(b"y")
    assert fingerprint(path) == damaged


def test_a_folder_that_cannot_be_one_is_refused(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(CatalogError, match="cannot make the store's folder"):
        open_store(tmp_path / "file")
    with pytest.raises(CatalogError, match="cannot make the store's folder"):
        open_store(tmp_path / "file" / "below")
    assert (tmp_path / "file").read_text() == "mine"


def test_odd_characters_in_the_folders_name_are_only_characters(tmp_path):
    folder = tmp_path / "a?b#c%20 d'é\n"
    with open_store(folder) as store:
        ref = store.put(b"x")
    with open_store(folder) as store:
        assert store.read_bytes(ref) == b"x"
    assert sorted(os.listdir(tmp_path)) == [folder.name]


def test_a_closed_store_says_so(tmp_path):
    store = open_store(tmp_path)
    ref = store.put(b"x")
    store.close()
    store.close()
    for verb in (lambda: store.resolve(ref), lambda: store.put(b"y"), store.stats, store.sweep):
        with pytest.raises(CatalogError, match="the store is closed"):
            verb()


# -- many at once


def _open_and_put(folder, start, refs):
    start.wait()
    with open_store(folder, fsync=False) as store:
        refs.put(store.put(b"x"))


def test_processes_that_open_a_new_folder_at_the_same_instant_all_succeed(tmp_path):
    context = multiprocessing.get_context("fork")
    for i in range(20):
        folder = tmp_path / str(i)
        start, refs = context.Barrier(3), context.Queue()
        processes = [context.Process(target=_open_and_put, args=(folder, start, refs)) for _ in range(3)]
        for process in processes:
            process.start()
        found = [refs.get(timeout=30) for _ in processes]
        for process in processes:
            process.join()
        with open_store(folder) as store:
            assert sorted(it.ref for it in store.entries()) == sorted(found)


def test_a_store_can_be_used_in_a_forked_child(tmp_path):
    context = multiprocessing.get_context("fork")
    with open_store(tmp_path, fsync=False) as store:
        ref = store.put(b"parent")
        refs = context.Queue()

        def child() -> None:
            refs.put((store.put(b"child"), store.read_bytes(ref)))

        process = context.Process(target=child)
        process.start()
        mine, seen = refs.get(timeout=30)
        process.join()
        assert process.exitcode == 0
        assert seen == b"parent"
        assert store.read_bytes(mine) == b"child"
        store.release(mine)


def test_importing_mediakeep_needs_only_the_standard_library():
    program = (
        "import sys; before = set(sys.modules); import mediakeep, mediakeep.catalogs.sqlite\n"
        "new = {m.split('.')[0] for m in set(sys.modules) - before}\n"
        "print(sorted(new - set(sys.stdlib_module_names) - {'mediakeep'}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_catalog_of_an_older_version_is_brought_up_to_date(tmp_path):
    shutil.copytree(DATA / "schema-1", tmp_path / "store")
    for _ in range(2):
        with open_store(tmp_path / "store", fsync=False) as store:
            assert [(it.scope, store.read_bytes(it.ref)) for it in store.entries()] == [
                ("old:1", b"hello from schema 1"),
                ("old:2", b"hello from schema 1"),
                ("old:4", b"with a ttl"),
            ]
            entry = next(store.entries("old:1"))
            assert entry.meta == MediaMeta("hello.txt", "text/plain", "test")
            assert (entry.declared_type, entry.detected_type) == ("text/plain", "")
            assert store.reconcile(deep=True, grace=0).clean
    with open_store(tmp_path / "store", fsync=False) as store:
        same = store.put(b"hello from schema 1", scope="new")
        assert store.resolve(same) == entry.path
        store.variant(same, "x", lambda path: b"variant")
        for scope in store.scopes():
            store.release_all(scope)
        assert store.stats() == Stats()
        assert [p for p in (tmp_path / "store" / "blobs").rglob("*") if p.is_file()] == []


def test_a_migration_that_fails_changes_nothing(tmp_path, monkeypatch):
    shutil.copytree(DATA / "schema-1", tmp_path / "store")
    monkeypatch.setitem(MIGRATIONS, 1, (*MIGRATIONS[1][:2], "CREATE TABLE refs (again)"))
    with pytest.raises(CatalogError, match="already exists"):
        open_store(tmp_path / "store")
    monkeypatch.undo()
    with open_store(tmp_path / "store", fsync=False) as store:
        assert store.reconcile(deep=True).clean


def test_no_verb_on_single_refs_scans_a_table_that_grows(tmp_path, monkeypatch):
    asked = {}

    class Watched(sqlite3.Connection):
        def execute(self, sql, *values):
            if sql.split()[0] in ("SELECT", "INSERT", "UPDATE", "DELETE", "WITH"):
                asked.setdefault(sql, values)
            return super().execute(sql, *values)

    monkeypatch.setattr(sqlite3, "connect", functools.partial(sqlite3.connect, factory=Watched))
    limits = Limits(max_store_files=100, max_store_bytes=1000)
    with open_store(tmp_path / "store", fsync=False, limits=limits) as store:
        (tmp_path / "file").write_bytes(b"x")
        refs = [store.put(b"%d" % n, scope="s") for n in range(3)]
        refs += [store.store(tmp_path / "file", scope="s"), store.put(b"1", scope="t")]
        refs += [store.share(refs[0], "u")]
        for ref in refs:
            store.resolve(ref)
            store.variant(ref, "v", lambda path: b"v")
            with store.lease(ref):
                store.release(ref)
        with pytest.raises(RefReleased):
            store.resolve(refs[0])
        store.put(b"z", scope="s:1", ttl=1)
        (entry,) = store.entries("s", nested=True, newest=True)
        assert [it.ref for it in store._catalog.expiring(5)] == [entry.ref]
        assert store._catalog.leased(5) == []
        assert store._catalog.latest() == [("s:1", entry.stored_at)]
        list(store.entries(after=entry)), list(store.entries(after=entry, newest=True))
        store.release_all("s")
        store.sweep()
    scans = []
    with closing(sqlite3.connect(tmp_path / "store" / "catalog.db")) as db:
        for sql, values in asked.items():
            plan = [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {sql}", *values)]
            scans += [(sql, step) for step in plan if re.match(r"SCAN (refs|locations|history)\b", step)]
    allowed = (
        "SELECT 1 FROM leases",
        "FROM history ORDER BY id LIMIT 1",
        "ORDER BY condemned, id LIMIT",
    )
    assert [it for it in scans if not any(text in " ".join(it[0].split()) for text in allowed)] == []
    assert len(asked) > 20


@pytest.mark.parametrize("newest", [False, True])
def test_a_page_from_the_middle_of_a_large_scope_costs_no_more_than_the_first(tmp_path, newest):
    with open_store(tmp_path / "store", fsync=False) as store:
        kept = store.put(b"x", scope="s")
        with closing(sqlite3.connect(tmp_path / "store" / "catalog.db")) as db, db:
            db.execute(
                "WITH RECURSIVE n (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM n WHERE n < 20000)"
                " INSERT INTO locations (location, owned, size, sha256)"
                " SELECT CAST('b/' || n AS BLOB), 1, 1, '' FROM n"
            )
            db.execute(
                "INSERT INTO refs SELECT randomblob(16), l.id, scope, NULL, meta, stored_at + l.id, NULL"
                " FROM refs, locations l WHERE l.id > 1"
            )
        begins = store.entry(kept).stored_at
        steps = 0

        def step():
            nonlocal steps
            steps += 1

        def cost(after):
            nonlocal steps
            steps = 0
            with store._catalog._file.read() as db:
                db.set_progress_handler(step, 10)
            next(store.entries("s", nested=True, after=after, newest=newest))
            return steps

        places = [None]
        for at in (2_000, 10_000, 18_000):
            after = next(store.entries("s", newest=newest))
            places.append(replace(after, stored_at=begins + timedelta(seconds=at)))
        costs = [cost(after) for after in places]
        assert min(costs) > 100
        assert max(costs) < 1.2 * costs[0], costs
