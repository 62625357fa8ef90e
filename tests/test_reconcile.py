"""Books and bytes are compared, and mended when asked to; nothing is deleted on a guess."""

import os
import shutil
import sqlite3
import time

import pytest

from mediakeep import MediaError, MediaMeta, RefReleased, open_store

OLD = time.time() - 7200


@pytest.fixture
def folder_store(tmp_path):
    with open_store(tmp_path / "store", fsync=False) as store:
        yield store


def kinds(report):
    return [it.kind for it in report.findings]


def stray_blob(store, tmp_path, name="ab" + "0" * 30, age=7200.0):
    path = tmp_path / "store" / "blobs" / name[:2] / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"stray")
    then = time.time() - age
    os.utime(path, (then, then))
    return path


def test_a_sound_store_has_nothing_to_mend(store, make):
    store.put(b"x", scope="a")
    store.store(make(), MediaMeta(), "a")
    for mend in (True, False):
        report = store.reconcile(dry_run=mend, deep=True)
        assert (report.counts, report.locations, report.blobs) == ({}, 2, 1)
        assert report.clean


def test_an_old_blob_that_nothing_names_is_reported_and_deleted_on_request(folder_store, tmp_path):
    kept = folder_store.put(b"x")
    stray = stray_blob(folder_store, tmp_path)
    report = folder_store.reconcile()
    assert kinds(report) == ["orphan"]
    assert "nothing in the catalog names" in report.findings[0].reason
    assert stray.exists()
    report = folder_store.reconcile(dry_run=False)
    assert (report.mended, report.clean) == (1, True)
    assert not stray.exists()
    assert folder_store.read_bytes(kept) == b"x"
    assert [it.what for it in folder_store.history()] == ["reconciled", "deleted"]
    assert folder_store.reconcile().clean


def test_a_young_blob_may_be_somebodys_and_is_left_alone(folder_store, tmp_path):
    stray = stray_blob(folder_store, tmp_path, age=600)
    assert folder_store.reconcile(dry_run=False).clean
    assert stray.exists()
    assert folder_store.reconcile(dry_run=False, grace=60).mended == 1
    assert not stray.exists()


def test_a_blob_that_is_being_written_is_nobodys_orphan_however_old_it_looks(folder_store):
    seen = []

    class Watching:
        """A catalog that is asked to add a row while its blob looks very old."""

        def __init__(self, catalog):
            self._catalog = catalog

        def __getattr__(self, name):
            return getattr(self._catalog, name)

        def add(self, new, **options):
            path = folder_store._blobs.path(new.location)
            os.utime(path, (OLD, OLD))
            seen.append(folder_store.reconcile(dry_run=False, force=True))
            self._catalog.add(new, **options)

    folder_store._catalog = Watching(folder_store._catalog)
    ref = folder_store.put(b"mine")
    assert seen[0].clean
    assert folder_store.read_bytes(ref) == b"mine"


def test_what_is_not_a_blob_in_the_blob_folder_is_never_touched(folder_store, tmp_path):
    folder_store.put(b"x")
    blobs = tmp_path / "store" / "blobs"
    mine = [blobs / "notes.txt", blobs / "ab" / "notes.txt", blobs / "mine" / ("a" * 32)]
    for path in mine:
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
        os.utime(path, (OLD, OLD))
    (blobs / "ab" / ("c" * 32)).mkdir()
    assert folder_store.reconcile(dry_run=False, force=True).clean
    assert all(path.exists() for path in mine)


def test_kept_bytes_are_nobodys_orphans(folder_store):
    ref = folder_store.put(b"x", MediaMeta(cleanup_policy="forget_only"))
    path = folder_store.resolve(ref)
    folder_store.release(ref)
    os.utime(path, (OLD, OLD))
    assert folder_store.reconcile(dry_run=False, force=True).clean
    assert path.exists()


def test_a_missing_file_ends_its_refs_on_request(store, make):
    path = make()
    ref, again = store.store(path, MediaMeta(), "s"), store.store(path, MediaMeta(), "t")
    blob = store.put(b"x", scope="s")
    store._blobs.delete(store.entry(blob).location)
    path.unlink()
    report = store.reconcile()
    assert kinds(report) == ["missing", "missing"]
    assert store.resolve(ref) == path
    assert store.reconcile(dry_run=False).mended == 2
    for dead in (ref, again, blob):
        with pytest.raises(RefReleased, match="because its file was gone"):
            store.resolve(dead)
    assert store.stats().files == 0
    assert store.reconcile().clean


def test_a_folder_that_is_not_there_may_be_a_disk_that_is_not_mounted(store, make, folder, tmp_path):
    ref = store.store(make(), MediaMeta(), "s")
    folder.rename(tmp_path / "unmounted")
    report = store.reconcile(dry_run=False)
    assert "not mounted?" in report.findings[0].reason
    assert not report.clean
    (tmp_path / "unmounted").rename(folder)
    assert store.read_bytes(ref) == b"bytes of a photo"


def test_damaged_bytes_are_reported_and_left(folder_store):
    short, wrong = folder_store.put(b"12345"), folder_store.put(b"abcde")
    folder_store.resolve(short).write_bytes(b"123")
    folder_store.resolve(wrong).write_bytes(b"abXde")
    assert kinds(folder_store.reconcile()) == ["size"]
    report = folder_store.reconcile(dry_run=False, deep=True)
    assert sorted(kinds(report)) == ["sha256", "size"]
    assert report.mended == 0
    assert "restore its bytes from a backup" in report.findings[0].remedy
    assert folder_store.read_bytes(short) == b"123"


def test_a_lost_catalog_does_not_take_the_blobs_with_it(tmp_path):
    where = tmp_path / "store"
    with open_store(where, fsync=False) as store:
        paths = [store.resolve(store.put(b"%d" % n)) for n in range(30)]
    for path in paths:
        os.utime(path, (OLD, OLD))
    for name in os.listdir(where):
        if name.startswith("catalog.db"):
            (where / name).unlink()
    with open_store(where, fsync=False) as store:
        store.put(b"new")
        assert store.reconcile().counts == {"orphan": 30}
        store.sweep()
        with pytest.raises(MediaError, match=r"names 1 of 31 blobs.*Restore it from a backup"):
            store.reconcile(dry_run=False)
        assert all(path.exists() for path in paths)
        assert store.reconcile(dry_run=False, force=True).mended == 30
    assert not any(path.exists() for path in paths)


def test_a_backup_taken_in_use_can_be_opened_and_mended(tmp_path):
    where, copy = tmp_path / "store", tmp_path / "copy"
    copy.mkdir()
    with open_store(where, fsync=False) as store:
        kept, gone = store.put(b"kept"), store.put(b"gone")
        with sqlite3.connect(where / "catalog.db") as db, sqlite3.connect(copy / "catalog.db") as books:
            db.backup(books)
        db.close()
        books.close()
        store.release(gone)
        late = store.put(b"late")
        shutil.copytree(where / "blobs", copy / "blobs")
        assert store.read_bytes(late) == b"late"
    with open_store(copy) as store:
        assert kinds(store.reconcile()) == ["missing"]
        assert store.reconcile(dry_run=False, grace=0).counts == {"missing": 1, "orphan": 1}
        assert [it.ref for it in store.entries()] == [kept]
        assert store.read_bytes(kept) == b"kept"


def test_a_lost_blob_folder_does_not_take_the_refs_with_it(tmp_path):
    with open_store(tmp_path / "store", fsync=False) as store:
        refs = [store.put(b"%d" % n) for n in range(30)]
        (tmp_path / "store" / "blobs").rename(tmp_path / "gone")
        with pytest.raises(MediaError, match="30 of 30 files are missing"):
            store.reconcile(dry_run=False)
        (tmp_path / "gone").rename(tmp_path / "store" / "blobs")
        assert store.read_bytes(refs[0]) == b"0"


def test_what_waits_for_its_deletion_is_found_and_deleted(store, make, monkeypatch):
    path = make()
    store.store(path, MediaMeta(), "s")
    real = os.unlink

    def unlink(name, *args, **kwargs):
        if os.path.basename(name) == path.name:
            raise PermissionError(13, "Permission denied")
        return real(name, *args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(os, "unlink", unlink)
        store.release_all("s")
        assert kinds(store.reconcile()) == ["condemned"]
        report = store.reconcile(dry_run=False)
        assert (report.mended, report.clean) == (0, False)
    assert store.reconcile(dry_run=False).mended == 1
    assert not path.exists()


def test_what_a_lease_holds_is_nothing_wrong(store, make):
    path = make()
    ref = store.store(path, MediaMeta(), "s")
    with store.lease(ref):
        store.release(ref)
        assert store.reconcile(dry_run=False).clean
        assert path.exists()


def test_a_dead_writers_temp_is_found_and_removed(folder_store, tmp_path):
    folder_store.put(b"x")
    temp = tmp_path / "store" / "blobs" / "tmp" / ("ab." + "ab" * 16)
    temp.write_bytes(b"half")
    assert kinds(folder_store.reconcile()) == ["temp"]
    assert temp.exists()
    assert folder_store.reconcile(dry_run=False).clean
    assert not temp.exists()


def test_books_that_contradict_themselves_are_put_right(tmp_path, clock):
    where = tmp_path / "store"
    with open_store(where, fsync=False, clock=clock) as store:
        alive = store.put(b"alive", scope="s")
        store.put(b"adrift", scope="adrift")
        adrift = store.resolve(next(store.entries("adrift")).ref)
        store._catalog.lease(alive, 5)
    clock.advance(10)
    with sqlite3.connect(where / "catalog.db") as db:
        db.execute("PRAGMA foreign_keys=OFF")
        db.execute("DELETE FROM refs WHERE scope = 'adrift'")
        db.execute("UPDATE locations SET condemned = 7 WHERE id IN (SELECT location_id FROM refs)")
        db.execute(
            "INSERT INTO refs SELECT randomblob(16), 999, 'x', NULL, '{}', 0, NULL FROM refs LIMIT 1"
        )
        db.execute("UPDATE totals SET size = 1")
    db.close()
    with open_store(where, fsync=False, clock=clock) as store:
        report = store.reconcile(deep=True)
        assert sorted(report.counts.items()) == [("books", 4), ("lease", 1)]
        store.reconcile(dry_run=False)
        assert store.read_bytes(alive) == b"alive"
        assert not adrift.exists()
        assert store.reconcile(deep=True).clean
        assert store.stats().refs == 1


def test_findings_and_progress_can_be_heard(folder_store, tmp_path):
    for n in range(1500):
        folder_store.put(b"%d" % n, scope="s")
    stray_blob(folder_store, tmp_path)
    heard, progress = [], []
    folder_store.reconcile(tell=heard.append, progress=lambda *numbers: progress.append(numbers))
    assert [it.kind for it in heard] == ["orphan"]
    assert progress == [(1000, 1500)]


def test_reconciling_while_the_store_is_in_use_finds_nothing_wrong(store, make):
    import threading

    stop = threading.Event()

    def work(me):
        while not stop.is_set():
            refs = [store.put(b"x", scope=f"t{me}") for _ in range(5)]
            store.release(refs[0])
            store.release_all(f"t{me}")

    threads = [threading.Thread(target=work, args=(me,)) for me in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(15):
            found = [it for it in store.reconcile(grace=0).findings if it.kind != "condemned"]
            assert found == []
            store.reconcile(dry_run=False, grace=0)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
