"""What every store does: registering files where they lie, resolving, releasing, expiring."""

import os
import re
from datetime import timedelta
from itertools import islice
from pathlib import Path

import pytest

import mediakeep
from conftest import BORROWED
from mediakeep import (
    CleanupPolicy,
    MediaCleanerConfig,
    MediaMeta,
    MediaMissing,
    RefExpired,
    RefReleased,
    UnknownRef,
)

REF = re.compile(r"media://[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def test_storing_gives_a_fresh_ref_each_time(store, make):
    path = make()
    refs = {store.store(path, MediaMeta(), "s") for _ in range(100)}
    assert len(refs) == 100
    assert all(REF.fullmatch(ref) for ref in refs)


def test_a_stored_file_is_neither_moved_nor_copied(store, make, folder):
    path = make()
    before = path.stat()
    ref = store.store(path, MediaMeta(), "s")
    assert store.resolve(ref) == path
    assert path.stat().st_ino == before.st_ino
    assert os.listdir(folder) == ["photo.jpg"]


def test_a_missing_file_is_refused_in_the_words_of_the_system(store, folder):
    with pytest.raises(FileNotFoundError, match="No such file or directory") as caught:
        store.store(folder / "none.jpg", MediaMeta(), "s")
    assert isinstance(caught.value, MediaMissing)
    assert "none.jpg" in str(caught.value)
    assert store.stats().refs == 0


def test_meta_comes_back_exactly_as_stored(store, make):
    meta = MediaMeta(
        "../../x\0\n\udcff🖼.jpg", 'image/jpeg; a="b"', "telegram", CleanupPolicy.FORGET_ONLY
    )
    path = make()
    ref = store.store(str(path), meta, "s")
    found_path, found = store.resolve_with_meta(ref)
    assert (found_path, found) == (path, meta)
    assert store.entry(ref).meta == meta


def test_an_unknown_ref_is_named(store):
    for verb in (store.resolve, store.resolve_with_meta, store.entry, store.open, store.read_bytes):
        with pytest.raises(UnknownRef, match="media://nope") as caught:
            verb("media://nope")
        assert isinstance(caught.value, KeyError)
        assert caught.value.ref == "media://nope"


def test_an_empty_policy_means_delete(store, make):
    path = make()
    ref = store.store(path, MediaMeta(cleanup_policy=""), "s")
    assert store.resolve_with_meta(ref).meta.cleanup_policy is CleanupPolicy.DELETE_ON_CLEANUP
    store.release_all("s")
    assert not path.exists()


@pytest.mark.parametrize("policy", ["Forget-Only", "forget", "DELETE_ON_CLEANUP", 1])
def test_a_policy_that_is_none_is_refused_and_deletes_nothing(store, make, policy):
    path = make()
    with pytest.raises(ValueError, match="no cleanup policy: use 'delete_on_cleanup' or 'forget_only'"):
        store.store(path, MediaMeta(cleanup_policy=policy), "s")
    store.release_all("s")
    assert path.exists()


def test_releasing_a_scope_ends_its_refs_and_deletes_its_files(store, make):
    mine, other = make("a"), make("b")
    ref, kept = store.store(mine, MediaMeta(), "s1"), store.store(other, MediaMeta(), "s2")
    assert store.release_all("s1") is None
    assert not mine.exists()
    with pytest.raises(RefReleased, match="'s1'"):
        store.resolve(ref)
    assert store.resolve(kept) == other
    assert other.exists()


def test_releasing_what_is_unknown_or_released_or_gone_is_no_error(store, make):
    path = make()
    store.release_all("never heard of")
    store.store(path, MediaMeta(), "s")
    path.unlink()
    store.release_all("s")
    store.release_all("s")
    assert store.stats().condemned == 0
    assert store.release("media://nope") is False


def test_a_borrowed_file_is_never_deleted(store, make):
    path = make()
    store.store(path, BORROWED, "s")
    store.release_all("s")
    store.sweep()
    assert path.exists()
    assert store.stats() == mediakeep.Stats()


def test_a_file_of_two_scopes_goes_with_the_last(store, make):
    path = make()
    store.store(path, MediaMeta(), "s1")
    kept = store.store(path, MediaMeta(), "s2")
    store.release_all("s1")
    assert path.exists()
    assert store.resolve(kept) == path
    store.release_all("s2")
    assert not path.exists()


def test_the_first_registration_decides_and_borrowing_sticks(store, make):
    path = make()
    first = store.store(path, MediaMeta(), "s1")
    store.store(path, BORROWED, "s2")
    last = store.store(path, MediaMeta(), "s3")
    for scope in ("s2", "s1", "s3"):
        store.release_all(scope)
        assert path.exists()
    for ref in (first, last):
        with pytest.raises(RefReleased):
            store.resolve(ref)
    store.store(path, MediaMeta(), "afresh")
    store.release_all("afresh")
    assert not path.exists()


def test_releasing_one_ref_leaves_its_scope(store, make):
    a, b = make("a"), make("b")
    ref, other = store.store(a, MediaMeta(), "s"), store.store(b, MediaMeta(), "s")
    assert store.release(ref) is True
    assert store.release(ref) is False
    assert (a.exists(), b.exists()) == (False, True)
    assert [entry.ref for entry in store.entries("s")] == [other]


def test_entries_come_in_pages_from_either_end(store):
    for n in range(10):
        store.put(b"%d" % n, MediaMeta(), f"s:{n % 2}")
    in_order = [it.ref for it in store.entries()]
    for newest, whole in ((False, in_order), (True, in_order[::-1])):
        seen, last = [], None
        while page := list(islice(store.entries("s", nested=True, after=last, newest=newest), 3)):
            seen += page
            last = page[-1]
        assert [it.ref for it in seen] == whole
    store.release(seen[0].ref)
    assert [it.ref for it in store.entries("s:1", after=seen[0], newest=True)] == in_order[-2:4:-1]


def test_a_shared_file_outlives_the_scope_it_came_in(store, make):
    meta = MediaMeta("voice.ogg", "audio/ogg", "telegram")
    path = make()
    shared = store.share(store.store(path, meta, "handler"), "agent")
    store.release_all("handler")
    assert store.resolve_with_meta(shared) == (path, meta)
    store.release_all("agent")
    assert not path.exists()


def test_sharing_a_dead_ref_says_why(store, make):
    ref = store.store(make(), MediaMeta(), "s")
    store.release(ref)
    with pytest.raises(RefReleased):
        store.share(ref, "t")
    assert store.scopes() == []


def test_nested_scopes_end_with_the_one_above_only_when_asked(store, make):
    paths = [make(name) for name in ("a", "b", "c")]
    for path, scope in zip(paths, ("tg:1", "tg:1:7", "tg:10"), strict=True):
        store.store(path, MediaMeta(), scope)
    store.release_all("tg:1")
    assert [path.exists() for path in paths] == [False, True, True]
    store.release_all("tg:1", nested=True)
    assert [path.exists() for path in paths] == [False, False, True]


# -- time


def aged(**amounts: float) -> MediaCleanerConfig:
    return MediaCleanerConfig(enabled=True, max_age=timedelta(**amounts), interval=timedelta(hours=9))


def test_old_refs_end_across_scopes_and_their_files_go(opened, make, clock):
    store = opened(cleaner=aged(minutes=10))
    old = [make(str(i)) for i in range(3)]
    refs = [store.store(path, MediaMeta(), f"s{i}") for i, path in enumerate(old)]
    clock.advance(timedelta(minutes=6))
    young = make("young")
    kept = store.store(young, MediaMeta(), "s0")
    clock.advance(timedelta(minutes=5))
    assert store.clean_expired() == 3
    assert not any(path.exists() for path in old)
    assert store.resolve(kept) == young
    assert store.scopes() == ["s0"]
    with pytest.raises(RefExpired, match="has expired"):
        store.resolve(refs[0])
    assert store.clean_expired() == 0


def test_a_ref_of_exactly_the_maximal_age_lives(opened, make, clock):
    store = opened(cleaner=aged(seconds=60))
    store.store(make(), MediaMeta(), "s")
    clock.advance(60)
    assert store.clean_expired() == 0
    clock.advance(0.001)
    assert store.clean_expired() == 1


def test_expiry_counts_refs_and_respects_policies(opened, make, clock):
    store = opened(cleaner=aged(seconds=60))
    shared, borrowed = make("shared"), make("borrowed")
    store.store(shared, MediaMeta(), "s1")
    store.store(borrowed, BORROWED, "s1")
    clock.advance(61)
    store.store(shared, MediaMeta(), "s2")
    assert store.clean_expired() == 2
    assert shared.exists()
    assert borrowed.exists()


@pytest.mark.parametrize("seconds", [0, -5])
def test_without_a_maximal_age_nothing_expires(opened, make, clock, seconds):
    store = opened(cleaner=aged(seconds=seconds))
    path = make()
    store.store(path, MediaMeta(), "s", ttl=1)
    clock.advance(10**7)
    assert store.clean_expired() == 0
    assert path.exists()


def test_a_ttl_of_its_own_needs_no_cleaner(store, make, clock):
    path = make()
    ref = store.store(path, MediaMeta(), "s", ttl=timedelta(hours=2))
    data = store.put(b"x", scope="s", ttl=3600.5)
    forever = store.put(b"y", scope="s")
    assert store.entry(ref).expires_at - store.entry(ref).stored_at == timedelta(hours=2)
    clock.advance(3600)
    assert store.sweep().expired == 0
    clock.advance(1)
    assert store.sweep().expired == 1
    with pytest.raises(RefExpired):
        store.resolve(data)
    clock.advance(3600)
    assert store.clean_expired() == 1
    assert not path.exists()
    assert store.read_bytes(forever) == b"y"


@pytest.mark.parametrize("ttl", [0, -1, timedelta(0), float("nan"), float("inf")])
def test_a_ttl_that_is_no_time_is_refused(store, make, ttl):
    with pytest.raises(ValueError, match="ttl must be a positive amount of time"):
        store.store(make(), MediaMeta(), "s", ttl=ttl)
    with pytest.raises(ValueError, match="ttl must be"):
        store.put(b"x", ttl=ttl)
    assert store.stats().refs == 0


def test_a_dry_sweep_says_what_it_would_do_and_does_nothing(opened, make, clock, monkeypatch):
    store = opened(cleaner=aged(seconds=60))
    path = make()
    store.store(path, MediaMeta(), "s")
    clock.advance(61)
    assert store.sweep(dry_run=True).expired == 1
    assert path.exists()
    assert store.stats().refs == 1
    report = store.sweep()
    assert (report.expired, report.deleted, report.freed) == (1, 1, len(b"bytes of a photo"))


# -- bytes


def test_reading_gives_the_bytes(store, make):
    ref = store.store(make(data=b"abc"), MediaMeta(), "s")
    assert store.read_bytes(ref) == b"abc"
    with store.open(ref) as file:
        store.release(ref)
        assert file.read() == b"abc"


def test_a_file_that_somebody_deleted_is_missing(store, make):
    path = make()
    ref = store.store(path, MediaMeta(), "s")
    path.unlink()
    assert store.resolve(ref) == path
    with pytest.raises(MediaMissing, match="somebody deleted its file"):
        store.open(ref)
    with pytest.raises(FileNotFoundError):
        store.read_bytes(ref)


def test_what_is_put_is_the_stores_own(store, clock, kind):
    meta = MediaMeta("cat.png", "image/png", "tool:image-gen")
    ref = store.put(b"\x89PNG", meta, "s")
    path, found = store.resolve_with_meta(ref)
    assert found == meta
    assert path.is_absolute()
    assert path.read_bytes() == b"\x89PNG"
    entry = store.entry(ref)
    assert (entry.size, entry.owned, entry.scope) == (4, True, "s")
    assert entry.path == (None if kind == "fleet" else path)
    assert entry.sha256 == "0f4636c78f65d3639ece5a064b5ae753e3408614a14fb18ab4d7540d2c248543"
    assert entry.stored_at.timestamp() == clock.now
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    store.release_all("s")
    assert not path.exists()


def test_a_put_that_fails_keeps_nothing(store, tmp_path):
    def broken():
        yield b"x" * 100
        raise ConnectionError("the channel went away")

    with pytest.raises(ConnectionError, match="went away"):
        store.put(broken(), MediaMeta(), "s")
    with pytest.raises(TypeError, match=r"Path\(…\)"):
        store.put("text", MediaMeta(), "s")
    with pytest.raises(TypeError, match="gave str"):
        store.put(["text"], MediaMeta(), "s")
    assert store.stats().refs == 0
    left = [p for p in tmp_path.rglob("*") if p.is_file() and "catalog.db" not in p.name]
    assert [p for p in left if p.name != ".lock"] == []


def test_bytes_put_to_be_kept_outlive_refs_and_store(opened):
    store = opened()
    ref = store.put(b"mine", BORROWED, "s")
    path = store.resolve(ref)
    store.release_all("s")
    store.sweep()
    store.close()
    opened().sweep()
    assert path.read_bytes() == b"mine"


def test_a_blob_registered_by_its_path_is_the_same_file(store):
    ref = store.put(b"x", MediaMeta(), "s1")
    path = store.resolve(ref)
    again = store.store(path, MediaMeta(), "s2")
    assert store.entry(again).refs == 2
    assert store.resolve(again) == path
    store.release_all("s1")
    assert path.exists()
    store.release_all("s2")
    assert not path.exists()


@pytest.mark.parametrize(
    "scope", ["", ":", "a:", "🖼:1", "a\0b", "' OR 1=1 --", "../..", "%", "x" * 5000]
)
def test_any_text_can_be_a_scope(store, make, scope, kind):
    if kind == "fleet" and "\0" in scope:
        pytest.skip("PostgreSQL keeps no NUL, and says so: tests/test_postgres.py")
    path = make()
    other = store.put(b"other", scope="other")
    ref = store.store(path, MediaMeta(), scope)
    assert store.entry(ref).scope == scope
    assert [it.ref for it in store.entries(scope)] == [ref]
    assert sorted(store.scopes()) == sorted([scope, "other"])
    store.release_all(scope)
    assert not path.exists()
    assert store.read_bytes(other) == b"other"


def test_what_cannot_be_written_down_is_refused_before_anything_happens(store, make):
    for scope in (None, 5, b"s"):
        with pytest.raises(TypeError, match="scope must be a str"):
            store.put(b"x", MediaMeta(), scope)
    with pytest.raises(ValueError, match="not valid Unicode"):
        store.store(make(), MediaMeta(), "\ud800")
    with pytest.raises(TypeError, match="must be a MediaMeta"):
        store.store(make(), {"filename": "x"}, "s")
    with pytest.raises(TypeError, match=r"MediaMeta.filename must be a str"):
        MediaMeta(filename=None)
    assert store.stats().refs == 0


def test_temp_dir_is_the_shared_name_under_the_systems_folder(monkeypatch, tmp_path):
    import tempfile

    assert mediakeep.TEMP_DIR_NAME == "picoclaw_media"
    assert mediakeep.temp_dir() == Path(tempfile.gettempdir()) / "picoclaw_media"


# -- a scope as a block


def test_a_block_releases_its_scope_at_its_end(store, make):
    path = make()
    with store.scope("turn") as turn:
        ref = turn.store(path, MediaMeta("a"))
        data = turn.put(b"x", ttl=5)
        assert store.entry(ref).scope == store.entry(data).scope == "turn"
        kept = store.share(data, "kept")
    assert not path.exists()
    assert store.read_bytes(kept) == b"x"
    for late in (lambda: turn.put(b"x"), lambda: turn.store(kept)):
        with pytest.raises(mediakeep.ScopeClosed, match="'turn' has ended"):
            late()
    assert store.scopes() == ["kept"]


def test_a_block_that_raises_releases_its_scope_too(store, make):
    path = make()
    with pytest.raises(ZeroDivisionError), store.scope("turn", nested=True) as turn:
        turn.store(path)
        store.put(b"x", scope="turn:tool")
        raise ZeroDivisionError
    assert not path.exists()
    assert store.scopes() == []


def test_what_is_being_stored_while_the_block_ends_does_not_leak(store):
    turn = store.scope("turn")

    def source():
        turn.close()
        yield b"x"

    with pytest.raises(mediakeep.ScopeClosed):
        turn.put(source())
    assert store.stats().refs == 0
    assert store.stats().condemned == 0
