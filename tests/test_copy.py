"""Copying a live store into another one: nothing is lost, nothing is deleted that somebody needs."""

import itertools
import os
import random
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from mediakeep import (
    BlobError,
    CatalogError,
    CleanupPolicy,
    MediaError,
    MediaMeta,
    MediaStore,
    RefReleased,
    UnknownRef,
    open_store,
)
from mediakeep.blobs.local import LocalBlobs
from mediakeep.catalogs.memory import MemoryCatalog
from mediakeep.copying import CopyReport, copy
from mediakeep.store import MediaStore as Engine
from postgres_server import PostgresServer
from seaweed_server import BUCKET, Seaweed

schemas = itertools.count()
BORROWED = MediaMeta(cleanup_policy=CleanupPolicy.FORGET_ONLY)

Open = Callable[..., MediaStore]


@pytest.fixture
def places(tmp_path: Path, request: pytest.FixtureRequest) -> Callable[[str], dict[str, object]]:
    """Says what opens the store of a name, which begins with its kind."""
    fleets: dict[str, dict[str, object]] = {}

    def place(name: str) -> dict[str, object]:
        if name.startswith("memory"):
            return {"where": "memory:", "blobs": tmp_path / name}
        if name.startswith("folder"):
            return {"where": tmp_path / name, "fsync": False}
        if name not in fleets:
            postgres: PostgresServer = request.getfixturevalue("postgres")
            seaweed: Seaweed = request.getfixturevalue("seaweed")
            fleets[name] = {
                "where": postgres.url,
                "blobs": f"s3://{BUCKET}/{secrets.token_hex(8)}",
                "catalog_options": {"schema": f"copy_{os.getpid()}_{next(schemas)}"},
                "blob_options": {**seaweed.options, "cache": tmp_path / "cache"},
            }
        return fleets[name]

    return place


@pytest.fixture
def opened(places: Callable[[str], dict[str, object]]) -> Iterator[Open]:
    """Opens the store of a name, and closes it in the end."""
    stores: list[MediaStore] = []

    def opened(name: str, **options: object) -> MediaStore:
        stores.append(open_store(**{**places(name), **options}))
        return stores[-1]

    yield opened
    for store in stores:
        store.close()


@pytest.fixture
def old(opened: Open) -> MediaStore:
    return opened("folder-old")


@pytest.fixture
def new(opened: Open) -> MediaStore:
    return opened("folder-new")


def look(store: MediaStore) -> list[object]:
    """Return all that a copy must not change, of every ref."""
    return [
        (
            *(it.ref, it.scope, it.meta, it.size, it.stored_at, it.expires_at, it.owned, it.refs),
            *(it.declared_type, it.detected_type),
        )
        for it in store.entries()
    ]


def bytes_in(store: MediaStore) -> dict[str, bytes]:
    return {it.ref: store.read_bytes(it.ref) for it in store.entries()}


def assert_sound(*stores: MediaStore) -> None:
    for store in stores:
        assert not store.sweep().failed
        assert store.reconcile(deep=True, grace=timedelta(0)).findings == ()


def fill(store: MediaStore, count: int = 30, size: int = 2000, seed: int = 1) -> list[str]:
    chance = random.Random(seed)
    refs = []
    for number in range(count):
        meta = MediaMeta(f"ö {number}.bin", "application/x-thing", "test")
        ttl = timedelta(hours=number) if number % 3 else None
        refs.append(store.put(chance.randbytes(size + number), meta, f"chat:{number % 4}", ttl=ttl))
        if number % 5 == 0:
            store.share(refs[-1], f"later:{number}", ttl=90.5)
    return refs


# -- what is copied


@pytest.mark.parametrize(
    ("here", "there"),
    [("folder", "fleet"), ("fleet", "folder"), ("memory", "folder"), ("fleet", "fleet-2")],
)
def test_all_is_as_it_was(opened: Open, here: str, there: str) -> None:
    old, new = opened(here), opened(there)
    refs = fill(old)
    before = look(old)

    report = copy(old, new)

    assert report == CopyReport(refs=36, files=30, size=sum(2000 + it for it in range(30)))
    assert look(new) == before == look(old)
    assert bytes_in(new) == bytes_in(old)
    assert new.entry(refs[0]).sha256 == old.entry(refs[0]).sha256
    assert_sound(old, new)


def test_an_empty_store_is_copied_in_no_time(old: MediaStore, new: MediaStore) -> None:
    assert copy(old, new) == CopyReport()


def test_a_dry_run_changes_nothing_and_tells_what_would_be_done(
    old: MediaStore, new: MediaStore, make: Callable[..., Path]
) -> None:
    refs = fill(old)
    old.store(make("owned"), scope="o")
    old.store(make("borrowed"), BORROWED, "o")
    copy(old, new)
    old.release(refs[1])
    for scope in ("a", "b"):
        old.share(refs[0], scope)  # joins what is there
    shared = old.put(b"of two refs", scope="n")
    old.share(shared, "n")
    before = look(new)

    foreseen = copy(old, new, dry_run=True)

    assert look(new) == before
    assert foreseen == CopyReport(refs=4, files=1, size=11, there=37, ended=1)
    assert copy(old, new) == foreseen


def test_a_second_copy_copies_only_what_is_new(old: MediaStore, new: MediaStore) -> None:
    fill(old)
    copy(old, new)
    keys = {it.location for it in new.entries()}
    late = old.put(b"late", scope="chat:0")

    assert copy(old, new) == CopyReport(refs=1, files=1, size=4, there=36)
    assert {it.location for it in new.entries()} - keys == {new.entry(late).location}
    assert copy(old, new) == CopyReport(there=37)


def test_refs_of_one_file_are_refs_of_one_file(old: MediaStore, new: MediaStore) -> None:
    first = old.put(b"shared", scope="z")
    refs = [first, *(old.share(first, f"s{number % 7}") for number in range(1200))]

    report = copy(old, new)

    assert (report.refs, report.files, report.there) == (1201, 1, 0)
    assert {new.entry(it).location for it in refs} == {new.entry(first).location}
    assert new.stats().files == 1


def test_a_ref_that_is_shared_later_joins_the_file_that_is_there(
    old: MediaStore, new: MediaStore
) -> None:
    first = old.put(b"shared", scope="m")
    copy(old, new)
    for scope in ("a", "z"):
        old.share(first, scope)
    report = copy(old, new)
    assert (report.refs, report.files, report.there) == (2, 0, 1)
    assert new.stats().files == 1
    assert look(new) == look(old)


def test_what_must_never_be_deleted_stays_so(old: MediaStore, new: MediaStore) -> None:
    ref = old.put(b"kept", BORROWED, "a")
    copy(old, new)
    path = new.resolve(ref)
    new.release(ref)
    new.sweep()
    assert path.read_bytes() == b"kept"
    assert_sound(new)


def test_variants_are_not_copied_and_can_be_made_again(old: MediaStore, new: MediaStore) -> None:
    ref = old.put(b"original", scope="a")
    old.variant(ref, "small", lambda path: path.read_bytes()[:3])
    assert copy(old, new).files == 1
    assert new.stats().variants == 0
    assert new.variant(ref, "small", lambda path: path.read_bytes()[:3]).read_bytes() == b"ori"
    assert_sound(new)


# -- files that lie where they were registered


def test_a_borrowed_file_keeps_its_path(
    old: MediaStore, new: MediaStore, make: Callable[..., Path]
) -> None:
    path = make()
    ref = old.store(path, BORROWED, "a")
    report = copy(old, new)
    assert (report.refs, report.files, report.registered) == (1, 0, 1)
    assert new.resolve(ref) == path
    new.release(ref)
    old.release(ref)
    assert path.exists()


def test_an_owned_file_in_place_is_copied_so_that_no_two_stores_delete_it(
    old: MediaStore, new: MediaStore, make: Callable[..., Path]
) -> None:
    path = make(data=b"owned in place")
    ref = old.store(path, scope="a")
    report = copy(old, new)
    assert (report.files, report.taken, report.registered) == (1, 1, 0)

    new.release(ref)
    assert path.exists()
    other = old.share(ref, "b")
    copy(old, new, revive=True)
    old.release_all("a")
    old.release_all("b")
    assert not path.exists()
    assert new.read_bytes(ref) == new.read_bytes(other) == b"owned in place"
    assert_sound(old, new)


def test_a_borrowed_file_that_is_gone_is_named_and_the_rest_is_copied(
    old: MediaStore, new: MediaStore, make: Callable[..., Path]
) -> None:
    path = make()
    lost = old.store(path, BORROWED, "a")
    path.unlink()
    ref = old.put(b"here", scope="b")
    heard: list[object] = []

    report = copy(old, new, tell=heard.append)

    assert (report.refs, report.failed) == (1, 1)
    assert list(report.failures) == heard
    (failure,) = report.failures
    assert (failure.ref, failure.scope, failure.location) == (lost, "a", str(path))
    assert "the source borrows it: put it back" in failure.reason
    assert new.read_bytes(ref) == b"here"
    with pytest.raises(UnknownRef):
        new.entry(lost)

    path.write_bytes(b"back")
    assert copy(old, new) == CopyReport(refs=1, registered=1, there=1)


def test_a_borrowed_file_among_the_targets_own_is_not_registered_there(
    old: MediaStore, new: MediaStore
) -> None:
    own = new.put(b"the target's", scope="a")
    ref = old.store(new.resolve(own), BORROWED, "a")
    report = copy(old, new)
    assert [it.ref for it in report.failures] == [ref]
    assert "the target's own" in report.failures[0].reason
    new.release(own)
    assert_sound(new)


def test_the_targets_import_roots_hold(
    opened: Open, old: MediaStore, make: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "root").mkdir()
    new = opened("folder-new", import_roots=[tmp_path / "root"])
    old.store(make(), BORROWED, "a")
    report = copy(old, new)
    assert report.failed == 1
    assert "outside of the folders" in report.failures[0].reason


def test_a_file_of_another_host_is_named(
    opened: Open, new: MediaStore, make: Callable[..., Path]
) -> None:
    with open_elsewhere(opened) as elsewhere:
        ref = elsewhere.store(make(), BORROWED, "a")
    report = copy(opened("fleet"), new)
    assert [it.ref for it in report.failures] == [ref]
    assert "on host 'elsewhere'" in report.failures[0].reason


def open_elsewhere(opened: Open) -> MediaStore:
    options = {"host": "elsewhere"}
    here = opened("fleet")
    schema = here._catalog._database.schema
    return opened("fleet", catalog_options={**options, "schema": schema})


# -- what has ended


def test_what_has_ended_in_the_source_ends_in_the_target(opened: Open) -> None:
    now = time.time()
    old, new = opened("folder-old", clock=lambda: now), opened("folder-new", clock=lambda: now)
    stays, released = old.put(b"stays", scope="a"), old.put(b"released", scope="b")
    expired = old.put(b"expired", scope="c", ttl=10)
    copy(old, new)
    paths = [new.resolve(it) for it in (released, expired)]
    old.release(released)
    now += 11
    old.sweep()

    assert copy(old, new) == CopyReport(there=1, ended=2)

    assert [it.ref for it in new.entries()] == [stays]
    assert not any(it.exists() for it in paths)
    with pytest.raises(RefReleased):
        new.resolve(released)


def test_the_targets_own_refs_stay(old: MediaStore, new: MediaStore) -> None:
    own = new.put(b"own", scope="a")
    fill(old)
    copied = copy(old, new)
    shared = new.share(next(old.entries("later:0")).ref, "own")
    old.release_all("later:0")
    old.release_all("chat:0")
    again = copy(old, new)
    assert again.ended == copied.refs - len(look(old))
    assert new.read_bytes(own) == b"own"
    assert new.read_bytes(shared)
    assert_sound(new)


def test_what_the_source_lost_is_not_ended_where_it_is_there(old: MediaStore, new: MediaStore) -> None:
    ref = old.put(b"the only copy", scope="a")
    copy(old, new)
    old.resolve(ref).unlink()
    old.reconcile(dry_run=False)
    assert copy(old, new) == CopyReport()
    assert new.read_bytes(ref) == b"the only copy"


def test_what_has_ended_in_the_target_is_not_brought_back_unless_asked(
    old: MediaStore, new: MediaStore
) -> None:
    ref = old.put(b"erased by its user", scope="a")
    copy(old, new)
    new.erase("a")
    assert copy(old, new) == CopyReport(dead=1)
    with pytest.raises(RefReleased):
        new.resolve(ref)
    assert copy(old, new, revive=True) == CopyReport(refs=1, files=1, size=18)
    assert new.read_bytes(ref) == b"erased by its user"


def test_what_the_target_lost_is_brought_again(old: MediaStore, new: MediaStore) -> None:
    ref = old.put(b"lost in the target", scope="a")
    copy(old, new)
    new.resolve(ref).unlink()
    new.reconcile(dry_run=False)
    assert copy(old, new).refs == 1
    assert new.read_bytes(ref) == b"lost in the target"


def test_there_and_back_again(opened: Open) -> None:
    old, new = opened("folder"), opened("fleet")
    refs = fill(old)
    copy(old, new)
    new.release(refs[0])
    made = new.put(b"made there", scope="new")
    copy(new, old)
    assert look(old) == look(new)
    assert old.read_bytes(made) == b"made there"
    assert_sound(old, new)


# -- what is wrong


@pytest.mark.parametrize("damage", [b"other bytes!", b"shorter"])
def test_damaged_bytes_are_not_copied(old: MediaStore, new: MediaStore, damage: bytes) -> None:
    fill(old, 3)
    ref = old.put(b"right bytes!", scope="a")
    old.resolve(ref).write_bytes(damage)

    report = copy(old, new)

    assert report.failed == 1
    assert report.failures[0].ref == ref
    assert "restore it from a backup" in report.failures[0].reason
    assert look(new) == [it for it in look(old) if it[0] != ref]
    assert_sound(new)


class Forgetful(LocalBlobs):
    """A disk that gives back other bytes than were written."""

    __slots__ = ()

    def _publish(self, handle: int, temp: str, shard: str, name: str) -> None:
        os.pwrite(handle, b"?", 3)
        super()._publish(handle, temp, shard, name)


def test_what_was_written_is_read_again(old: MediaStore, tmp_path: Path) -> None:
    old.put(b"right bytes", scope="a")
    blobs = Forgetful(tmp_path / "forgetful", fsync=False)
    with Engine(MemoryCatalog(), blobs) as new:
        report = copy(old, new)
        assert report.failed == 1
        assert "what was written" in report.failures[0].reason
        assert look(new) == []
        assert list(blobs.scan()) == []


def test_a_target_that_takes_nothing_is_given_up(
    old: MediaStore, new: MediaStore, tmp_path: Path
) -> None:
    fill(old)
    before = look(old)
    (tmp_path / "folder-new" / "blobs").write_bytes(b"in the way")
    with pytest.raises(BlobError):
        copy(old, new)
    assert look(old) == before
    assert look(new) == []
    (tmp_path / "folder-new" / "blobs").unlink()
    copy(old, new)
    assert look(new) == before


def test_a_ref_that_the_target_cannot_keep_does_not_hold_up_the_others(
    old: MediaStore, opened: Open
) -> None:
    new = opened("fleet")
    bad = old.put(b"bad", scope="a\0b")
    fill(old)
    report = copy(old, new)
    assert [it.ref for it in report.failures] == [bad]
    assert report.refs == 36
    assert_sound(new)


def test_a_store_is_not_copied_into_itself(old: MediaStore, opened: Open, tmp_path: Path) -> None:
    fill(old, 2)
    with pytest.raises(MediaError, match="same books"):
        copy(old, opened("folder-old"))
    same_bytes = opened("folder-new", blobs=tmp_path / "folder-old" / "blobs")
    with pytest.raises(MediaError, match="same place"):
        copy(old, same_bytes)
    assert look(same_bytes) == []
    assert_sound(old)


def test_a_source_that_is_closed_says_so(old: MediaStore, new: MediaStore) -> None:
    fill(old, 2)
    old.close()
    with pytest.raises(CatalogError):
        copy(old, new)


def test_progress_comes_to_its_end(old: MediaStore, new: MediaStore) -> None:
    fill(old)
    heard: list[tuple[int, int]] = []
    copy(old, new, progress=lambda done, total: heard.append((done, total)))
    assert heard == sorted(heard)
    assert heard[-1] == (36, 36)
    assert len(heard) > 10


# -- while others are at work


def test_a_bot_that_works_meanwhile_loses_nothing(opened: Open) -> None:
    old, new, bots = opened("folder"), opened("fleet"), opened("folder")
    fill(old, 100)
    stop = threading.Event()

    def work() -> None:
        chance = random.Random(7)
        live = [it.ref for it in bots.entries()]
        while not stop.is_set():
            what = chance.random()
            ref = chance.choice(live)
            if what < 0.4:
                live.append(bots.put(chance.randbytes(500), scope=f"bot:{chance.randrange(9)}"))
            elif what < 0.6:
                live.append(bots.share(ref, f"bot:{chance.randrange(9)}"))
            else:
                live.remove(ref)
                bots.release(ref)
                if len(live) < 50:
                    live.extend(fill(bots, 30, seed=len(live)))

    bot = threading.Thread(target=work)
    bot.start()
    try:
        first = copy(old, new)
    finally:
        stop.set()
        bot.join()
    last = copy(old, new)

    assert first.refs > 0
    assert first.failed == last.failed == 0
    assert look(new) == look(old)
    assert bytes_in(new) == bytes_in(old)
    assert copy(old, new).refs == 0
    assert_sound(old, new)


def test_two_copies_at_once_do_no_harm(opened: Open) -> None:
    old = opened("folder")
    for ref in fill(old, 60):
        old.share(ref, "again")
    targets = [opened("fleet") for _ in range(2)]
    sources = [opened("folder") for _ in range(2)]
    reports: list[CopyReport] = []

    def run(number: int) -> None:
        reports.append(copy(sources[number], targets[number]))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(2)]
    for it in threads:
        it.start()
    for it in threads:
        it.join()

    assert len(reports) == 2
    assert [it.failed for it in reports] == [0, 0]
    assert sum(it.refs for it in reports) == 132
    assert look(targets[0]) == look(old)
    assert_sound(old, targets[0])


# -- killed


def command(
    here: dict[str, object], there: dict[str, object], environment: dict[str, str]
) -> tuple[list[str], dict[str, str]]:
    """Return what runs `mediakeep copy` between two places, and its environment."""
    line = [sys.executable, "-m", "mediakeep", "copy", "--json"]
    for side, place in (("from", here), ("to", there)):
        line += [f"--{side}", str(place["where"])]
        if "blobs" in place:
            line += [f"--{side}-blobs", str(place["blobs"])]
            line += [f"--{side}-schema", place["catalog_options"]["schema"]]
    return line, {**os.environ, **environment}


def in_environment(seaweed: Seaweed, cache: Path) -> dict[str, str]:
    options = seaweed.options
    return {
        "AWS_ENDPOINT_URL": options["endpoint"],
        "AWS_ACCESS_KEY_ID": options["access_key_id"],
        "AWS_SECRET_ACCESS_KEY": options["secret_access_key"],
        "AWS_REGION": options["region"],
        "XDG_CACHE_HOME": str(cache),
    }


@pytest.mark.parametrize(("here", "there"), [("folder", "fleet"), ("fleet", "folder")])
def test_a_copy_that_is_killed_again_and_again_comes_to_its_end(
    opened: Open,
    places: Callable[[str], dict[str, object]],
    seaweed: Seaweed,
    tmp_path: Path,
    here: str,
    there: str,
) -> None:
    old, new = opened(here), opened(there)
    for ref in fill(old, 100, 40_000)[::3]:
        old.share(ref, "again")
    before = look(old)
    line, environment = command(places(here), places(there), in_environment(seaweed, tmp_path))
    chance = random.Random(11)
    reached, midst = [], 0
    for attempt in range(12):
        process = subprocess.Popen(
            line, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        start = new.stats().refs
        until = time.monotonic() + 60
        while new.stats().refs == start and process.poll() is None and time.monotonic() < until:
            time.sleep(0.005)
        time.sleep(chance.uniform(0, 0.08))
        process.send_signal(signal.SIGKILL)
        process.wait()
        reached.append(new.stats().refs)
        assert all(it in before for it in look_less_refs(new, before))
        midst += 0 < reached[-1] < len(before)
        if midst == 2:
            break
        if reached[-1] == len(before):  # the kill came too late: the next copy has more to do
            fill(old, 50, 40_000, seed=attempt + 2)
            before = look(old)
    assert reached == sorted(reached)
    assert midst, f"no kill came in the midst: {reached}"

    done = subprocess.run(line, env=environment, capture_output=True, timeout=120, check=False)

    assert (done.returncode, done.stderr) == (0, b"")
    assert look(new) == before == look(old)
    assert bytes_in(new) == bytes_in(old)
    if there == "fleet":
        cut_short_the_time_of_writers(new)
    assert_sound(old, new)
    named = {it.location for it in new.entries()}
    assert {it.key for it in new._blobs.scan()} == named


def look_less_refs(store: MediaStore, wanted: list[object]) -> list[object]:
    """Return what is in a store so far, each with the number of refs that its file has in the end."""
    refs = {it[0]: it[7] for it in wanted}
    return [(*it[:7], refs.get(it[0]), *it[8:]) for it in look(store)]


def cut_short_the_time_of_writers(store: MediaStore) -> None:
    """Have the markers of killed writers say that they live for one second, and let that pass."""
    import obstore

    remote = store._blobs._remote.store
    for page in obstore.list(remote, "tmp"):
        for name in (it["path"] for it in page):
            if name.endswith(".60"):
                obstore.copy(remote, name, name.removesuffix("60") + "1")
                obstore.delete(remote, name)
    time.sleep(3)


def test_an_interrupted_copy_leaves_nothing_half_done(opened: Open) -> None:
    old, new = opened("folder-old"), opened("folder-new")
    fill(old, 40, 100_000)

    def interrupt(done: int, total: int) -> None:
        if done > 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copy(old, new, progress=interrupt)
    assert 0 < len(look(new)) < len(look(old))
    assert_sound(old, new)
    copy(old, new)
    assert look(new) == look(old)


def test_the_number_of_jobs_is_checked(old: MediaStore, new: MediaStore) -> None:
    with pytest.raises(ValueError, match="jobs"):
        copy(old, new, jobs=0)


def test_one_job_is_enough(old: MediaStore, new: MediaStore) -> None:
    fill(old)
    with closing(new):
        assert copy(old, new, jobs=1).refs == 36
        assert look(new) == look(old)
