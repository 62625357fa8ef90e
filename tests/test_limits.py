"""What does not fit is refused, whoever else is writing; nothing is thrown out to make room."""

import threading
from datetime import timedelta

import pytest

from conftest import BORROWED
from mediakeep import Limits, MediaMeta, QuotaExceeded, RefExpired, TooLarge

KB = 1000


def blocks(n, size=KB):
    """A source of `n` blocks that says how many were taken."""
    taken = []

    def source():
        for _ in range(n):
            taken.append(size)
            yield b"x" * size

    return source(), taken


def test_a_file_that_is_too_large_is_refused_as_soon_as_it_is(opened, make):
    store = opened(limits=Limits(max_file_bytes=3 * KB))
    source, taken = blocks(1000)
    with pytest.raises(TooLarge, match=r"may have 3000 \(max_file_bytes\)"):
        store.put(source, scope="s")
    assert len(taken) == 4
    with pytest.raises(TooLarge, match="it has 3001 bytes"):
        store.put(b"x" * 3001)
    with pytest.raises(TooLarge):
        store.store(make(data=b"x" * 3001), MediaMeta(), "s")
    assert store.stats().refs == 0
    assert store.read_bytes(store.put(b"x" * 3000)) == b"x" * 3000


def test_a_full_store_refuses_while_streaming_and_says_what_to_do(opened):
    store = opened(limits=Limits(max_store_bytes=10 * KB))
    first = store.put(b"x" * 8 * KB, scope="s")
    source, taken = blocks(1000)
    with pytest.raises(
        QuotaExceeded, match=r"has 8000 bytes and may have 10000 .*release refs or scopes"
    ):
        store.put(source)
    assert len(taken) == 3
    assert store.stats().refs == 1
    store.release(first)
    store.put(b"x" * 10 * KB)


def test_a_full_scope_refuses_and_others_do_not(opened, make):
    store = opened(limits=Limits(max_scope_bytes=2 * KB))
    ref = store.put(b"x" * 2 * KB, scope="a")
    with pytest.raises(QuotaExceeded, match=r"scope 'a' has 2000 bytes and may have 2000"):
        store.put(b"x", scope="a")
    with pytest.raises(QuotaExceeded):
        store.store(make(), BORROWED, "a")
    store.put(b"x" * KB, scope="a:b")
    assert store.share(ref, "a"), "the same file again takes no more room"
    with pytest.raises(QuotaExceeded):
        store.share(ref, "a:b")
    assert store.stats().refs == 3


def test_the_number_of_files_is_limited(opened, make):
    store = opened(limits=Limits(max_store_files=2))
    store.put(b"", scope="a")
    path = make()
    store.store(path, MediaMeta(), "a")
    store.store(path, MediaMeta(), "b")
    with pytest.raises(QuotaExceeded, match="has 2 files and may have 2"):
        store.put(b"")
    store.release_all("a")
    store.put(b"")


def test_writers_cannot_overshoot_together(opened):
    store = opened(limits=Limits(max_store_bytes=10 * KB))
    together = threading.Barrier(8)
    results = []

    def write(n):
        def source():
            together.wait(30)  # all of them have been let in by now
            yield b"%d" % n * 2 * KB

        try:
            results.append(store.put(source(), scope="s"))
        except QuotaExceeded as error:
            results.append(error)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(isinstance(it, str) for it in results) == 5
    assert store.stats().size == 10 * KB
    assert sum(it.size for it in store._blobs.scan()) == 10 * KB


@pytest.mark.parametrize("bad", [0, -1, 1.5, "1GB", True])
def test_a_limit_that_is_none_is_refused(bad):
    with pytest.raises(ValueError, match="max_file_bytes must be a positive whole number"):
        Limits(max_file_bytes=bad)


def test_refs_without_a_ttl_get_the_stores_own(opened, make, clock):
    store = opened(default_ttl=timedelta(hours=1))
    forgotten = store.put(b"x", scope="s")
    shared = store.share(forgotten, "t", ttl=7200)
    path = make()
    in_place = store.store(path, MediaMeta(), "s")
    assert store.entry(in_place).expires_at - store.entry(in_place).stored_at == timedelta(hours=1)
    clock.advance(3601)
    assert store.sweep().expired == 2
    assert not path.exists()
    assert store.read_bytes(shared) == b"x"
    with pytest.raises(RefExpired):
        store.resolve(forgotten)


def test_options_that_make_no_sense_are_refused_and_nothing_stays_open(opened, tmp_path):
    for options in ({"default_ttl": 0}, {"default_ttl": timedelta(days=99999)}):
        with pytest.raises(ValueError, match="default_ttl must be a positive amount of time of at most"):
            opened(**options)


def test_a_block_can_keep_its_scope_on_error(store):
    for keep, left in ((True, ["turn"]), (False, [])):
        with pytest.raises(ZeroDivisionError), store.scope("turn", keep_on_error=keep) as turn:
            turn.put(b"x")
            raise ZeroDivisionError
        assert store.scopes() == left
        store.release_all("turn")
    with store.scope("turn", keep_on_error=True) as turn:
        turn.put(b"x")
    assert store.scopes() == []
