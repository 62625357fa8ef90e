"""Where did my file go? Every end and every deletion can be accounted for."""

import os
import threading
import time

import pytest

from conftest import BORROWED
from mediakeep import MediaMeta, StillLeased, UnknownRef, open_store


def test_the_journal_says_when_why_and_by_whom(store, make, clock):
    path = make()
    first = store.store(path, MediaMeta(), "tg:1")
    store.store(path, MediaMeta(), "tg:2")
    clock.advance(5)
    store.release(first)
    clock.advance(5)
    store.release_all("tg:2")
    lines = list(store.history(first))
    assert [(it.what, it.at.timestamp() - clock.now) for it in lines] == [
        ("released", -5),
        ("deleted", 0),
    ]
    assert all(it.location == str(path) and f"process {os.getpid()}" in it.by for it in lines)
    assert [it.what for it in store.history(scope="tg")] == ["released", "released", "deleted"]
    assert list(store.history("media://nope")) == []


def test_the_journal_of_a_folder_is_kept_for_a_week_and_survives_a_restart(tmp_path, clock):
    with open_store(tmp_path, clock=clock, fsync=False) as store:
        old = store.put(b"x")
        store.release(old)
    clock.advance(6 * 86_400)
    with open_store(tmp_path, clock=clock, fsync=False) as store:
        store.release(store.put(b"y"))
        assert [it.what for it in store.history(old)] == ["released", "deleted"]
        clock.advance(2 * 86_400)
        store.release(store.put(b"z"))
        assert list(store.history(old)) == []
        with pytest.raises(UnknownRef, match="unknown here"):
            store.resolve(old)
        assert [it.what for it in store.history()] == ["released", "deleted"] * 2


def test_a_long_journal_is_read_in_order(tmp_path, clock):
    with open_store(tmp_path, clock=clock, fsync=False) as store:
        refs = [store.put(b"%d" % n, scope="s") for n in range(600)]
        store.release_all("s")
        lines = list(store.history())
        assert len(lines) == 1200
        assert {it.ref for it in lines} == set(refs)
        assert [it.what for it in lines] == ["released", "deleted"] * 600


# -- erase


def test_erasing_deletes_at_once_and_tells_what_became_of_each_file(store, make):
    own, borrowed, shared, outside = (make(name) for name in ("own", "borrowed", "shared", "outside"))
    store.store(own, MediaMeta(), "user:1")
    store.store(own, MediaMeta(), "user:1:chat")
    store.store(borrowed, BORROWED, "user:1:chat")
    store.store(shared, MediaMeta(), "user:1")
    store.store(shared, MediaMeta(), "user:2")
    store.store(outside, MediaMeta(), "user:10")
    blob = store.resolve(store.put(b"123", scope="user:1:a:b"))
    report = {it.location: (it.result, it.refs) for it in store.erase("user:1")}
    blob_key = next(name for name in report if not name.startswith("/"))
    assert report == {
        str(own): ("deleted", 2),
        str(borrowed): ("kept: borrowed", 1),
        str(shared): ("kept: another scope has a ref of it", 1),
        blob_key: ("deleted", 1),
    }
    assert [p.exists() for p in (own, borrowed, shared, outside, blob)] == [
        False,
        True,
        True,
        True,
        False,
    ]
    assert store.scopes() == ["user:10", "user:2"]
    assert store.erase("user:1") == ()


def test_erasing_reports_also_what_came_in_at_the_last_moment(store, make, monkeypatch):
    first, late = make("first"), make("late")
    store.store(first, MediaMeta(), "user:1")
    release = store._catalog.release_scope

    class Late:
        def __getattr__(self, name):
            return getattr(catalog, name)

        def release_scope(self, *args, **options):
            store.store(late, MediaMeta(), "user:1")
            return release(*args, **options)

    catalog, store._catalog = store._catalog, Late()
    assert {it.location for it in store.erase("user:1")} == {str(first), str(late)}


def test_erasing_is_refused_while_a_lease_holds_a_file_and_changes_nothing(store, make):
    path, other = make(), make("other")
    ref = store.store(path, MediaMeta(), "user:1")
    kept = store.store(other, MediaMeta(), "user:1:x")
    with store.lease(ref):
        with pytest.raises(StillLeased, match=rf"{path.name}.*{ref}.*held by 1 lease"):
            store.erase("user:1")
        assert store.resolve(kept) == other
    assert other.exists()
    assert len(store.erase("user:1")) == 2
    assert not path.exists()


def test_erasing_can_wait_for_the_lease(store, make):
    path = make()
    ref = store.store(path, MediaMeta(), "user:1")
    lease = store.lease(ref)
    lease.__enter__()
    reports = []
    eraser = threading.Thread(target=lambda: reports.append(store.erase("user:1", wait=30)))
    eraser.start()
    deadline = time.monotonic() + 30
    while store.scopes() and time.monotonic() < deadline:
        time.sleep(0.001)
    assert path.exists()
    lease.__exit__(None, None, None)
    eraser.join(30)
    assert [it.result for it in reports[0]] == ["deleted"]
    assert not path.exists()


def test_erasing_does_not_wait_for_ever(store, make):
    path = make()
    ref = store.store(path, MediaMeta(), "user:1")
    with store.lease(ref):
        with pytest.raises(StillLeased, match=r"still held by a lease after 0.05 s"):
            store.erase("user:1", wait=0.05)
        assert store.scopes() == []
        assert path.exists()
    assert not path.exists()


def test_erasing_reports_what_it_could_not_delete(store, make, monkeypatch):
    path = make()
    store.store(path, MediaMeta(), "user:1")
    real = os.unlink

    def unlink(name, *args, **kwargs):
        if os.path.basename(name) == path.name:
            raise PermissionError(13, "Permission denied", str(path))
        return real(name, *args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(os, "unlink", unlink)
        (report,) = store.erase("user:1")
        (waited,) = store.erase("user:1", wait=1) or [report]
    assert report.result.startswith("failed: ")
    assert "Permission denied" in waited.result
    assert store.stats().condemned == 1
    assert store.sweep().deleted == 1
