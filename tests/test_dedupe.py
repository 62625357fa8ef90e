"""The same bytes are kept once, and live exactly as long as the last that needs them."""

import os
import threading

import pytest

from conftest import BORROWED
from mediakeep import Limits, MediaMeta, QuotaExceeded, UnknownRef, open_store


@pytest.fixture
def store(opened):
    return opened(dedupe=True)


def blobs(store):
    return [it.key for it in store._blobs.scan()]


def test_equal_bytes_are_one_blob_that_goes_with_its_last_ref(store):
    first = store.put(b"the same", MediaMeta("a.txt"), "a")
    second = store.put(b"the same", MediaMeta("b.txt"), "b")
    assert first != second
    assert store.resolve(first) == store.resolve(second)
    assert [store.entry(it).meta.filename for it in (first, second)] == ["a.txt", "b.txt"]
    assert (store.stats().files, store.stats().saved) == (1, 8)
    store.release_all("a")
    assert store.read_bytes(second) == b"the same"
    assert store.stats().saved == 0
    store.release_all("b")
    assert blobs(store) == []


def test_equal_bytes_are_kept_once_by_default_and_not_in_memory(opened, kind):
    store = opened()
    paths = {store.resolve(store.put(b"x")) for _ in range(3)}
    assert len(paths) == (3 if kind == "memory" else 1)


def test_it_can_be_switched_off(opened):
    store = opened(dedupe=False)
    assert store.resolve(store.put(b"x")) != store.resolve(store.put(b"x"))


def test_nothing_is_left_of_bytes_that_were_there_already(store, tmp_path):
    store.put(b"x", scope="a")
    before = {p for p in tmp_path.rglob("*") if p.is_file()}
    store.put(b"x", scope="b")
    assert {p for p in tmp_path.rglob("*") if p.is_file()} == before


def test_other_bytes_and_other_policies_are_kept_apart(store):
    refs = [store.put(b"x"), store.put(b"y"), store.put(b"x", BORROWED), store.put(b"")]
    assert len({store.resolve(ref) for ref in refs}) == 4
    assert store.resolve(store.put(b"x", BORROWED)) == store.resolve(refs[2])
    store.release_all("")
    assert [key.partition("/")[0] for key in blobs(store)] == ["kept"]


def test_a_blob_that_somebody_borrowed_is_no_home_for_bytes_that_must_go(store, kind):
    owned = store.put(b"x", scope="s")
    store.store(store.resolve(owned), BORROWED, "borrower")
    fresh = store.put(b"x", scope="s")
    assert store.resolve(fresh) != store.resolve(owned)
    kept = store.put(b"x", BORROWED, "s")
    assert store.resolve(kept) not in (store.resolve(fresh), store.resolve(owned))


def test_bytes_that_somebody_deleted_or_damaged_are_kept_anew(store):
    for damage in (lambda path: path.unlink(), lambda path: path.write_bytes(b"other")):
        first = store.put(b"precious", scope="s")
        damage(store.resolve(first))
        again = store.put(b"precious", scope="s")
        assert store.read_bytes(again) == b"precious"
        store.release_all("s")


def test_every_scope_is_charged_in_full(opened):
    store = opened(dedupe=True, limits=Limits(max_scope_bytes=10))
    first, second = store.put(b"12345678", scope="a"), store.put(b"12345678", scope="b")
    assert store.resolve(first) != store.resolve(second), "a quota is a wall"
    assert store.resolve(store.put(b"12345678", scope="b")) == store.resolve(second)


def test_a_full_store_refuses_even_what_it_has_since_it_cannot_know_yet(opened):
    store = opened(dedupe=True, limits=Limits(max_store_files=1))
    ref = store.put(b"x", scope="a")
    for data in (b"x", b"y"):
        with pytest.raises(QuotaExceeded, match="max_store_files"):
            store.put(data, scope="a")
    store.share(ref, "b")


def test_a_put_that_races_with_the_last_release_gives_a_ref_whose_bytes_stay(store, kind):
    rounds, data = 60 if kind in ("fleet", "http") else 300, b"contested"
    stop = threading.Event()
    wrong: list[str] = []

    def put_and_release() -> None:
        for _ in range(rounds):
            ref = store.put(data, scope="s")
            if store.read_bytes(ref) != data:
                wrong.append(ref)
            store.release(ref)

    def sweep() -> None:
        while not stop.is_set():
            store.sweep()

    threads = [threading.Thread(target=put_and_release) for _ in range(4)]
    sweeper = threading.Thread(target=sweep)
    for thread in [*threads, sweeper]:
        thread.start()
    for thread in threads:
        thread.join()
    stop.set()
    sweeper.join()
    assert wrong == []
    assert blobs(store) == []
    assert store.stats().files == store.stats().condemned == 0


def test_a_lease_that_holds_ended_bytes_does_not_bring_them_back_to_life(store):
    first = store.put(b"x", scope="s")
    with store.lease(first) as media:
        store.release_all("s")
        second = store.put(b"x", scope="s")
        assert store.resolve(second) != media.path
        assert media.path.read_bytes() == b"x"
    assert not media.path.exists()
    assert store.read_bytes(second) == b"x"


def test_erasing_a_scope_tells_what_another_one_keeps(store):
    store.put(b"x", scope="user:1")
    store.put(b"x", scope="user:2")
    (erased,) = store.erase("user:1")
    assert erased.result.startswith("kept")
    (erased,) = store.erase("user:2")
    assert erased.result == "deleted"


def test_erasing_a_scope_tells_what_became_of_variants_too(store):
    ref = store.put(b"x", scope="user:1")
    path = store.variant(ref, "loud", shout)
    erased = store.erase("user:1")
    assert sorted((it.size, it.refs, it.result) for it in erased) == [
        (1, 0, "deleted"),
        (1, 1, "deleted"),
    ]
    assert not path.exists()


# -- variants


def shout(path):
    return path.read_bytes().upper()


def test_a_variant_is_made_once_and_lives_and_dies_with_its_original(store):
    calls = []

    def make(path):
        calls.append(path)
        return shout(path)

    ref = store.put(b"hello", scope="a")
    other = store.share(ref, "b")
    path = store.variant(ref, "loud", make)
    assert path.read_bytes() == b"HELLO"
    assert store.variant(other, "loud", make) == path
    assert calls == [store.resolve(ref)]
    assert store.variant(ref, "louder", make) != path
    assert (store.stats().variants, store.stats().variants_size) == (2, 10)
    assert store.reconcile(deep=True, grace=0).clean
    store.release_all("a")
    assert path.exists()
    store.release_all("b")
    assert blobs(store) == []
    with pytest.raises(UnknownRef):
        store.variant(ref, "loud", make)


def test_a_lease_on_the_original_holds_its_variants(store):
    ref = store.put(b"hello", scope="a")
    with store.lease(ref) as media:
        path = store.variant(ref, "loud", shout)
        store.release_all("a")
        store.sweep()
        assert media.path.exists()
        assert path.read_bytes() == b"HELLO"
    assert not path.exists()
    assert blobs(store) == []


def test_a_blob_that_was_exported_as_a_link_is_no_home_for_others_bytes(store, folder):
    ref = store.put(b"good", scope="a")
    store.export(ref, folder, link=True).write_bytes(b"evil")
    assert store.read_bytes(store.put(b"good", scope="b")) == b"good"


def test_a_variant_that_somebody_deleted_is_made_again(store):
    ref = store.put(b"hello", scope="a")
    path = store.variant(ref, "loud", shout)
    path.unlink()
    again = store.variant(ref, "loud", shout)
    assert again.read_bytes() == b"HELLO"
    assert store.stats().variants == 1


def test_reconcile_forgets_a_variant_whose_bytes_are_gone_and_keeps_its_original(store):
    ref = store.put(b"hello", scope="a")
    store.variant(ref, "loud", shout)
    store._blobs.delete(store._catalog.variant(ref, "loud"))
    report = store.reconcile(dry_run=False)
    assert (dict(report.counts), report.mended) == ({"missing": 1}, 1)
    assert store.reconcile().clean
    assert store.read_bytes(ref) == b"hello"
    assert store.variant(ref, "loud", shout).read_bytes() == b"HELLO"


def test_a_variant_that_cannot_be_made_leaves_nothing(store):
    ref = store.put(b"hello", scope="a")

    def fail(path):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.variant(ref, "loud", fail)
    assert len(blobs(store)) == 1
    assert store.stats().leases == 0


def test_a_ref_that_ends_while_its_variant_is_made_takes_it_along(store):
    ref = store.put(b"hello", scope="a")

    def make(path):
        store.release_all("a")
        return shout(path)

    with pytest.raises(UnknownRef):
        store.variant(ref, "loud", make)
    assert blobs(store) == []


def test_variants_made_at_once_are_one(store):
    ref = store.put(b"hello", scope="a")
    together = threading.Barrier(4)
    paths = []

    def make(path):
        together.wait(30)
        return shout(path)

    threads = [
        threading.Thread(target=lambda: paths.append(store.variant(ref, "loud", make))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(paths)) == 1
    assert len(blobs(store)) == 2


def test_a_variant_of_a_users_own_file_goes_and_the_file_stays(store, make):
    path = make(data=b"mine")
    ref = store.store(path, BORROWED, "s")
    variant = store.variant(ref, "loud", shout)
    store.release_all("s")
    assert not variant.exists()
    assert path.read_bytes() == b"mine"


def test_variants_survive_the_store_being_opened_again(tmp_path):
    with open_store(tmp_path, fsync=False) as store:
        ref = store.put(b"hello", scope="a")
        path = store.variant(ref, "loud", shout)
    with open_store(tmp_path, fsync=False) as store:
        assert store.variant(ref, "loud", lambda _: pytest.fail("made twice")) == path
        store.release(ref)
    assert not os.path.exists(path)
