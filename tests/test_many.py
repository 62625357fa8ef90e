"""Many files in one go: all or none, in order, as if each had come by itself."""

import asyncio
import subprocess
import sys
import threading
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from conftest import BORROWED
from mediakeep import (
    BlobError,
    FileMediaStore,
    Limits,
    MediaMeta,
    MediaMissing,
    MediaStore,
    NotAFile,
    PathNotAllowed,
    QuotaExceeded,
    RefExpired,
    ScopeClosed,
    TooLarge,
    TypeNotAllowed,
    UnknownRef,
)
from mediakeep.aio import AsyncMediaStore
from mediakeep.blobs.local import LocalBlobs
from mediakeep.catalogs.memory import MemoryCatalog

META = MediaMeta()
PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 20


def blobs(store):
    return [it.key for it in store._blobs.scan()]


def check_nothing_is_kept(store, refs=0):
    stats = store.stats()
    assert (stats.refs, stats.files, stats.condemned) == (refs, refs, 0)
    assert len(blobs(store)) == refs
    assert list(store._blobs.leftovers()) == []


def notes(caught):
    return " ".join(caught.value.__notes__)


# -- put_many


def test_many_sources_are_put_in_order_and_each_as_by_itself(store, make):
    items = [
        (b"some bytes", MediaMeta("../a.txt", "text/plain")),
        (make("named.png", PNG), MediaMeta(content_type="text/plain")),
        (iter([b"in ", b"pieces"]), MediaMeta("c.bin")),
        (make("other.txt").open("rb"), BORROWED),
        (b"", META),
    ]
    with items[3][0]:
        refs = store.put_many(iter(items), "chat:1", ttl=timedelta(minutes=1))
    assert [store.read_bytes(it) for it in refs] == [
        b"some bytes", PNG, b"in pieces", b"bytes of a photo", b"",
    ]  # fmt: skip
    entries = list(store.entries("chat:1"))
    assert [it.ref for it in entries] == refs
    assert [it.meta.filename for it in entries] == ["a.txt", "named.png", "c.bin", "", ""]
    assert entries[1].meta.content_type == "image/png"
    assert [it.owned for it in entries] == [True, True, True, False, True]
    assert store.put_many([]) == []
    store.release_all("chat:1")
    assert len(blobs(store)) == 1


def test_many_expire_together(store, clock):
    refs = store.put_many([(b"a", META), (b"b", META)], ttl=60)
    clock.advance(61)
    assert store.clean_expired() == 2
    with pytest.raises(RefExpired):
        store.resolve(refs[1])
    check_nothing_is_kept(store)


def test_a_source_that_fails_leaves_none_of_them(store, make):
    def broken():
        yield b"half"
        raise RuntimeError("the line is dead")

    def items():
        yield b"first", META
        yield make(), META
        yield broken(), META

    with pytest.raises(RuntimeError, match="line is dead") as caught:
        store.put_many(items())
    assert "item 2" in notes(caught)
    check_nothing_is_kept(store)


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        ((b"x" * 101, META), TooLarge),
        ((PNG, META), TypeNotAllowed),
        ((Path("/nowhere/there"), META), MediaMissing),
        ((Path("/"), META), NotAFile),
        ((b"x", "a.txt"), TypeError),
        ((17, META), TypeError),
        (b"no pair", TypeError),
        ((b"x",), TypeError),
    ],
)
def test_one_that_may_not_come_in_is_named_and_keeps_all_out(opened, bad, error):
    store = opened(limits=Limits(max_file_bytes=100, refused_types=["image/*"]))
    with pytest.raises(error) as caught:
        store.put_many([(b"one", META), (b"two", META), bad, (b"three", META)])
    assert "item 2" in notes(caught)
    check_nothing_is_kept(store)


@pytest.mark.parametrize("limits", [Limits(max_store_bytes=25), Limits(max_scope_bytes=25)])
def test_what_does_not_fit_together_is_refused_together(opened, limits):
    store = opened(limits=limits)
    ten = [(bytes([n]) * 10, META) for n in range(3)]
    with pytest.raises(QuotaExceeded):
        store.put_many(ten, "s")
    check_nothing_is_kept(store)
    assert len(store.put_many(ten[:2], "s")) == 2


def test_equal_bytes_are_kept_once_also_among_themselves(opened, tmp_path):
    store = opened(dedupe=True, limits=Limits(max_store_bytes=8))
    there = store.put(b"same", scope="old")
    items = [
        (b"same", META),
        (b"two.", META),
        (b"two.", MediaMeta("b")),
        (b"same", META),
        (b"two.", META),
    ]
    refs = store.put_many(items, "new")
    assert len(blobs(store)) == 2
    assert list(store._blobs.leftovers()) == []
    assert [store.read_bytes(it) for it in refs] == [data for data, _ in items]
    assert (store.entry(there).refs, store.entry(refs[1]).refs) == (3, 3)
    store.release_all("new")
    assert store.read_bytes(there) == b"same"
    assert len(blobs(store)) == 1


def test_equal_bytes_are_apart_where_that_is_switched_off(opened):
    store = opened(dedupe=False)
    first, second = store.put_many([(b"same", META), (b"same", META)])
    assert store.entry(first).location != store.entry(second).location


def test_bytes_whose_writer_lost_them_before_the_end_leave_no_ref(tmp_path):
    class Losing(LocalBlobs):
        """A place whose last writer finds, when its bytes have been named, that they may be gone."""

        staged = 0

        @contextmanager
        def stage(self, source, **options):
            with super().stage(source, **options) as staged:
                self.staged += 1
                last = self.staged == 3
                yield staged
                if last:
                    raise BlobError("they may have been removed")

    with MediaStore(MemoryCatalog(), Losing(tmp_path / "blobs", fsync=False)) as store:
        with pytest.raises(BlobError, match="may have been removed"):
            store.put_many([(bytes([n]), META) for n in range(3)])
        store.sweep()
        check_nothing_is_kept(store)
        assert store.put_many([(b"a", META), (b"b", META)])


def test_a_process_without_more_open_files_puts_none(tmp_path):
    code = """
import resource, sys
from mediakeep import BlobError, MediaMeta, open_store
with open_store(sys.argv[1], fsync=False) as store:
    store.put(b"before", scope="before")
    resource.setrlimit(resource.RLIMIT_NOFILE, (60, 60))
    items = [(b"%d" % n, MediaMeta()) for n in range(100)]
    try:
        store.put_many(items)
    except BlobError as error:
        assert "Too many open files" in str(error), error
    else:
        raise AssertionError("it had files enough")
    store.sweep()
    assert [it.scope for it in store.entries()] == ["before"]
    assert len(list(store._blobs.scan())) == 1
    assert not list(store._blobs.leftovers())
    assert len(store.put_many(items[:20])) == 20
"""
    subprocess.run([sys.executable, "-c", code, tmp_path / "store"], check=True, timeout=60)


# -- store_many


def test_many_files_are_registered_where_they_lie(store, make, folder, monkeypatch):
    monkeypatch.chdir(folder)
    paths = [make(f"{n}.txt", b"%d" % n) for n in range(6)]
    (folder / "way").symlink_to(folder)
    given = [paths[0], str(paths[1]), "2.txt", folder / "way" / "3.txt", "../files/4.txt", paths[0]]
    metas = [MediaMeta(f"{n}") for n in range(5)] + [BORROWED]
    refs = store.store_many(zip(given, metas, strict=True), "s")
    assert [it.ref for it in store.entries("s")] == refs
    assert [store.entry(it).location for it in refs] == [str(paths[n]) for n in (0, 1, 2, 3, 4, 0)]
    assert store.resolve(refs[3]) == folder / "way" / "3.txt"
    assert [store.entry(it).meta for it in refs] == metas
    assert store.store_many([]) == []
    store.release_all("s")
    assert [it.exists() for it in paths] == [True, False, False, False, False, True], (
        "what is borrowed stays, and so does what was never given"
    )


@pytest.mark.parametrize("bad", ["missing", "folder", "outside", "large"])
def test_one_file_that_may_not_be_registered_is_named_and_keeps_all_out(
    opened, make, folder, tmp_path, bad
):
    store = opened(import_roots=[folder], limits=Limits(max_file_bytes=20))
    outside = tmp_path / "outside"
    outside.write_bytes(b"x")
    (folder / "folder").mkdir()
    path, error = {
        "missing": (folder / "missing", MediaMissing),
        "folder": (folder / "folder", NotAFile),
        "outside": (outside, PathNotAllowed),
        "large": (make("large", b"x" * 21), TooLarge),
    }[bad]
    good = [make(f"{n}") for n in range(3)]
    with pytest.raises(error) as caught:
        store.store_many([(it, META) for it in (*good, path)])
    assert f"item 3, {str(path)!r}" in notes(caught)
    check_nothing_is_kept(store)
    assert all(it.exists() for it in good)
    store.store_many([(it, META) for it in good])


def test_files_that_are_registered_together_fit_together_or_not_at_all(opened, make):
    store = opened(limits=Limits(max_store_files=3))
    paths = [make(f"{n}") for n in range(4)]
    with pytest.raises(QuotaExceeded):
        store.store_many([(it, META) for it in paths])
    check_nothing_is_kept(store)
    assert len(store.store_many([(it, META) for it in paths[:3] * 2])) == 6


@pytest.mark.parametrize("kind", ["memory", "folder"], indirect=True)
def test_a_blob_and_a_file_are_registered_together(store, make):
    put, path = store.put(b"put", scope="a"), make()
    refs = store.store_many([(store.resolve(put), META), (path, META)], "b")
    assert store.entry(refs[0]).refs == 2
    store.release_all("a")
    assert store.read_bytes(refs[0]) == b"put"


def test_batches_of_the_same_files_at_once_all_end(opened, make):
    store = opened()
    paths = [make(f"{n}") for n in range(20)]
    done = []

    def register(them):
        for n in range(5):
            done.extend(store.store_many([(it, META) for it in them], f"s:{n}"))

    workers = [
        threading.Thread(target=register, args=(them,), daemon=True)
        for them in (paths, paths[::-1], paths[10:] + paths[:10])
    ]
    for it in workers:
        it.start()
    for it in workers:
        it.join(60)
        assert not it.is_alive(), "two batches wait for each other"
    assert len(set(done)) == store.stats().refs == 300
    store.release_all("s", nested=True)
    assert not any(it.exists() for it in paths)


# -- scopes, and the verbs awaited


def test_a_scope_takes_many_and_ends_with_all(store, make):
    with store.scope("turn") as turn:
        refs = turn.put_many([(b"a", META), (b"b", META)], ttl=60)
        refs += turn.store_many([(make(), META)])
        assert {it.ref for it in store.entries("turn")} == {*refs}
    for ref in refs:
        with pytest.raises(UnknownRef):
            store.resolve(ref)
    for verb in (turn.put_many, turn.store_many):
        with pytest.raises(ScopeClosed):
            verb([(b"late", META)])


def test_a_scope_that_ends_while_many_come_in_keeps_none(store):
    turn = store.scope("turn")

    def items():
        yield b"a", META
        turn.close()
        yield b"b", META

    with pytest.raises(ScopeClosed):
        turn.put_many(items())
    check_nothing_is_kept(store)


def test_many_are_awaited(store, make):
    async def main():
        many = AsyncMediaStore(store)
        refs = await many.put_many([(b"a", META), (make(), META)], "s")
        refs += await many.store_many([(make(), META)], "s", ttl=60)
        async with many.scope("turn") as turn:
            inner = await turn.put_many([(b"c", META)])
            inner += await turn.store_many([(make(), META)])
            assert [await many.read_bytes(it) for it in inner] == [b"c", b"bytes of a photo"]
        return refs

    refs = asyncio.run(main())
    assert {it.ref for it in store.entries()} == {*refs}
    assert store.read_bytes(refs[1]) == b"bytes of a photo"


def test_an_asynchronous_source_among_many_is_refused():
    async def chunks():
        yield b"a"

    async def main():
        with FileMediaStore() as store:
            with pytest.raises(TypeError, match="asynchronous"):
                await AsyncMediaStore(store).put_many([(b"first", META), (chunks(), META)])
            check_nothing_is_kept(store)

    asyncio.run(main())


def test_what_are_no_pairs_is_told(store, make):
    with pytest.raises(TypeError, match="takes pairs of a source and its MediaMeta, not bytes"):
        store.put_many([b"one", b"two"])

    async def main():
        with pytest.raises(TypeError, match="takes pairs of a source and its MediaMeta, not bytes"):
            await AsyncMediaStore(store).put_many([b"one", b"two"])

    asyncio.run(main())
    with FileMediaStore() as local:
        with pytest.raises(TypeError, match=r"store_many takes pairs .*, not PosixPath") as caught:
            local.store_many([(make("a"), META), make("b")])
        assert "item 1" in notes(caught)
        with pytest.raises(TypeError, match="and here are 3"):
            local.store_many([(make("a"), META, 60)])
        check_nothing_is_kept(local)
    check_nothing_is_kept(store)


def test_many_that_are_cancelled_leave_nothing(store):
    reading, go_on = threading.Event(), threading.Event()

    def slow():
        yield b"begin"
        reading.set()
        go_on.wait(30)
        yield b"end"

    async def main():
        task = asyncio.create_task(AsyncMediaStore(store).put_many([(b"a", META), (slow(), META)]))
        await asyncio.to_thread(reading.wait, 30)
        task.cancel()
        await asyncio.sleep(0)
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    check_nothing_is_kept(store)
