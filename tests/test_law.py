"""The law, line by line, where a naive store breaks it."""

import os
import socket
import stat
import threading
import time

import pytest

from conftest import BORROWED
from mediakeep import (
    BlobError,
    FileMediaStore,
    MediaCleanerConfig,
    MediaMeta,
    MediaMissing,
    NotAFile,
    RefReleased,
)
from mediakeep.catalogs.memory import MemoryCatalog
from pausing import paused

# -- one file under many names (law 2)


def spellings(path):
    """Other names for the same file: relative, dotted, through a linked folder."""
    link = path.parent.parent / "linked"
    if not link.exists():
        link.symlink_to(path.parent)
    return [
        os.path.relpath(path),
        f"{path.parent}/../{path.parent.name}/./{path.name}",
        f"{path.parent}//{path.name}",
        link / path.name,
        f"{link}/../{path.parent.name}/{path.name}",
        os.fsencode(path),
    ]


def test_a_borrowed_file_survives_the_release_of_its_other_names(store, make):
    path = make()
    store.store(path, BORROWED, "user")
    for i, name in enumerate(spellings(path)):
        store.store(name, MediaMeta(), f"alias{i}")
        store.release_all(f"alias{i}")
        assert path.exists(), name
    store.release_all("user")
    assert path.exists()


def test_a_referenced_file_survives_the_release_of_its_other_names(store, make):
    path = make()
    kept = store.store(path, MediaMeta(), "user")
    for i, name in enumerate(spellings(path)):
        store.store(name, MediaMeta(), f"alias{i}")
        store.release_all(f"alias{i}")
        assert store.resolve(kept).exists(), name
    store.release_all("user")
    assert not path.exists()


def test_a_relative_path_means_the_file_it_meant_when_it_was_stored(store, make, tmp_path, monkeypatch):
    path = make()
    monkeypatch.chdir(path.parent)
    ref = store.store(path.name, MediaMeta(), "s")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    decoy = tmp_path / "elsewhere" / path.name
    decoy.write_text("not me")
    assert store.resolve(ref) == path
    store.release_all("s")
    assert not path.exists()
    assert decoy.exists()


def test_an_absolute_path_is_given_back_exactly(store, make):
    path = make()
    for name in spellings(path):
        if os.path.isabs(name):
            assert str(store.resolve(store.store(name, MediaMeta(), "s"))) == os.fsdecode(name).replace(
                "//", "/"
            ).replace("/./", "/")


def test_a_file_name_that_is_not_unicode_is_a_file_name(store, folder):
    path = os.fsencode(folder) + b"/caf\xe9.jpg"
    with open(path, "wb") as file:
        file.write(b"x")
    ref = store.store(path, MediaMeta(os.fsdecode(b"caf\xe9.jpg")), "s")
    assert os.fsencode(store.resolve(ref)) == path
    assert store.entry(ref).meta.filename == "caf\udce9.jpg"
    store.release(ref)
    assert not os.path.exists(path)


# -- only regular files (law 5)


def test_what_is_not_a_regular_file_is_refused(store, folder):
    (folder / "dir").mkdir()
    os.mkfifo(folder / "fifo")
    with socket.socket(socket.AF_UNIX) as sock:
        cwd = os.getcwd()
        os.chdir(folder)
        try:
            sock.bind("socket")
        finally:
            os.chdir(cwd)
    (folder / "to dir").symlink_to(folder / "dir")
    (folder / "to fifo").symlink_to(folder / "fifo")
    for name, kind in {
        "dir": "a directory",
        "dir/": "a directory",
        "dir/..": "a directory",
        "fifo": "a FIFO",
        "socket": "a socket",
        "to dir": "a directory",
        "to fifo": "a FIFO",
    }.items():
        with pytest.raises(NotAFile, match=f"is {kind}"):
            store.store(f"{folder}/{name}", MediaMeta(), "s")
    with pytest.raises(NotAFile, match="character device"):
        store.store("/dev/null", MediaMeta(), "s")
    with pytest.raises(NotAFile, match=r"NUL|null"):
        store.store(f"{folder}/a\0b", MediaMeta(), "s")
    for missing in ("", f"{folder}/dangling", f"{folder}/x.jpg/"):
        with pytest.raises(MediaMissing):
            store.store(missing, MediaMeta(), "s")
    (folder / "loop").symlink_to("loop")
    with pytest.raises(BlobError, match=r"symbolic links"):
        store.store(folder / "loop", MediaMeta(), "s")
    assert store.stats().refs == 0


def test_releasing_a_symlink_removes_the_link_and_not_its_target(store, make, folder):
    target = make()
    link = folder / "link.jpg"
    link.symlink_to(target)
    ref = store.store(link, MediaMeta(), "s")
    assert store.resolve(ref) == link
    assert store.entry(ref).size == target.stat().st_size
    assert store.read_bytes(ref) == target.read_bytes()
    store.release_all("s")
    assert not link.is_symlink()
    assert target.exists()


def test_what_has_taken_a_files_place_is_left_alone(store, make, folder):
    for i, put_there in enumerate((os.mkdir, os.mkfifo)):
        path = make(f"f{i}")
        ref = store.store(path, MediaMeta(), "s")
        path.unlink()
        put_there(path)
        with pytest.raises(NotAFile, match="now, not the file it was"):
            store.open(ref)
        store.release_all("s")
        assert path.exists()
        assert store.stats().condemned == 0


def test_a_folder_that_became_a_symlink_is_not_followed(store, folder, tmp_path, caplog):
    (folder / "in").mkdir()
    path = folder / "in" / "passwd"
    path.write_text("ours")
    store.store(path, MediaMeta(), "s")
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "passwd").write_text("theirs")
    (folder / "in").rename(folder / "moved")
    (folder / "in").symlink_to(victim)
    store.release_all("s")
    assert (victim / "passwd").read_text() == "theirs"
    (failure,) = store.stats().failed
    assert "symbolic link now" in failure.reason
    (folder / "in").unlink()
    (folder / "moved").rename(folder / "in")
    assert store.sweep().deleted == 1
    assert not path.exists()


def test_the_stores_own_files_cannot_be_registered(opened, kind, tmp_path):
    store = opened()
    ref = store.put(b"x")
    blob = store.resolve(ref)
    stray = blob.parent / "stray"
    stray.write_text("x")
    own = [stray]
    if kind == "folder":
        own += [
            tmp_path / "store" / name for name in ("catalog.db", "catalog.db-wal", "catalog.db.lock")
        ]
    for path in own:
        with pytest.raises(NotAFile, match="the store's own"):
            store.store(path, MediaMeta(), "s")
        assert path.exists()


# -- what is condemned is deleted in the end (law 3)


@pytest.fixture
def stubborn(make, monkeypatch):
    """A file whose deletion fails while `stubborn.on` is set; as root no permission would stop it."""
    path = make()
    real = os.unlink

    class Stubborn:
        on = True

    def unlink(name, *args, **kwargs):
        if Stubborn.on and os.path.basename(name) == path.name:
            raise PermissionError(13, "Permission denied", str(path))
        return real(name, *args, **kwargs)

    monkeypatch.setattr(os, "unlink", unlink)
    Stubborn.path = path
    return Stubborn


def test_a_failed_deletion_is_logged_counted_and_retried_until_it_succeeds(store, stubborn, caplog):
    ref = store.store(stubborn.path, MediaMeta(), "s")
    store.release_all("s")
    assert stubborn.path.exists()
    assert f"cannot delete {stubborn.path} (attempt 1)" in caplog.text
    assert "Permission denied" in caplog.text
    for attempts in (2, 3):
        report = store.sweep()
        assert (report.deleted, len(report.failed)) == (0, 1)
        stats = store.stats()
        assert (stats.refs, stats.condemned, stats.failed[0].attempts) == (0, 1, attempts)
    with pytest.raises(MediaMissing.__mro__[1]):
        store.resolve(ref)
    stubborn.on = False
    assert store.sweep().deleted == 1
    assert not stubborn.path.exists()
    assert store.stats().condemned == 0


def test_a_condemned_file_that_is_registered_again_lives(store, stubborn):
    store.store(stubborn.path, MediaMeta(), "s")
    store.release_all("s")
    again = store.store(stubborn.path, MediaMeta(), "s2")
    stubborn.on = False
    assert store.sweep().deleted == 0
    assert store.resolve(again).exists()
    store.release_all("s2")
    assert not stubborn.path.exists()


# -- time (law 1: never earlier)


def test_setting_the_machines_clock_does_not_expire_what_is_in_memory(make, monkeypatch):
    from datetime import timedelta

    for jump in (-(10**6), 10**6):
        real = time.time
        with FileMediaStore(cleaner=MediaCleanerConfig(max_age=timedelta(minutes=5))) as store:
            ref = store.store(make(), MediaMeta(), "s")
            own = store.store(make(), MediaMeta(), "s", ttl=60)
            monkeypatch.setattr(time, "time", lambda real=real, jump=jump: real() + jump)
            store.store(make("second"), MediaMeta(), "s")
            assert store.clean_expired() == 0
            assert store.resolve(ref) == store.resolve(own)
            monkeypatch.setattr(time, "time", real)


# -- threads (law 1)


def racing(first, second, rounds):
    """Run both at the same instant, again and again; return what `second` gave."""
    start = threading.Barrier(2)
    errors: list[BaseException] = []

    def run():
        try:
            for i in range(rounds):
                start.wait()
                first(i)
                start.wait()
        except BaseException as error:
            errors.append(error)
            start.abort()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        for i in range(rounds):
            second(i, start)
    except threading.BrokenBarrierError:
        pass
    finally:
        thread.join()
    if errors:
        raise errors[0]


def test_a_store_that_races_with_the_last_release_gives_a_ref_whose_file_stays(store, folder, kind):
    rounds = 300 if kind in ("fleet", "http") else 1500
    outcome = {"kept": 0, "refused": 0}
    path = folder / "raced"
    refs: list[str] = [""]

    def release(_):
        store.release(refs[0])

    def store_again(i, start):
        path.write_bytes(b"x")
        refs[0] = store.store(path, MediaMeta(), "first")
        start.wait()
        try:
            ref = store.store(path, MediaMeta(), "second")
        except MediaMissing:
            ref = None
        start.wait()
        if ref is None:
            outcome["refused"] += 1
            assert not path.exists()
        else:
            outcome["kept"] += 1
            assert store.resolve(ref).exists(), f"round {i}: a live ref whose file was deleted"
            store.release(ref)
        assert not path.exists()

    racing(release, store_again, rounds)
    assert sum(outcome.values()) == rounds


def test_many_threads_on_few_files_break_no_line_of_the_law(store, folder, kind):
    """Each thread owns some refs; whatever the others do, the files of its live refs are there."""
    paths = [folder / str(i) for i in range(4)]
    user = folder / "user"
    user.write_bytes(b"theirs")
    problems: list[str] = []

    def work(me: int) -> None:
        scope = f"t:{me}"
        for i in range(40 if kind in ("fleet", "http") else 120):
            path = paths[(me + i) % len(paths)]
            mine = []
            for _ in range(3):
                try:
                    path.write_bytes(b"x")
                    mine.append(store.store(path, MediaMeta(), scope))
                except MediaMissing:
                    continue
            mine.append(store.put(b"y", MediaMeta(), scope))
            store.store(user, BORROWED, scope)
            store.store(user, MediaMeta(), scope)
            for ref in mine:
                try:
                    if not store.resolve(ref).exists():
                        problems.append(f"{ref} is live, its file is gone")
                except KeyError as error:
                    problems.append(f"a live ref is dead: {error}")
            if i % 3:
                store.release_all(scope)
            else:
                for ref in mine:
                    store.release(ref)
                store.sweep()
        store.release_all(scope)

    threads = [threading.Thread(target=work, args=(me,)) for me in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    stats = store.stats()
    assert (stats.refs, stats.condemned) == (0, 0)
    assert stat.S_ISREG(user.stat().st_mode)


def test_a_ref_that_is_ending_is_either_live_or_says_why_it_is_not():
    """In memory look-ups take no lock, and may come between any two lines of an end."""
    with FileMediaStore() as store:
        ref, end = store.put(b"x", scope="s"), MemoryCatalog._end
        with (
            paused(lambda: store.release(ref), end, lambda at: ref not in store._catalog._refs),
            pytest.raises(RefReleased),
        ):
            store.resolve(ref)


def test_resolving_and_storing_elsewhere_do_not_wait_for_a_slow_deletion(
    store, make, folder, monkeypatch
):
    slow, other = make("slow"), make("other")
    live = store.store(other, MediaMeta(), "live")
    store.store(slow, MediaMeta(), "s")
    real = os.unlink
    deleting, go_on = threading.Event(), threading.Event()

    def unlink(name, *args, **kwargs):
        if os.path.basename(name) == "slow":
            deleting.set()
            assert go_on.wait(30)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(os, "unlink", unlink)
    release = threading.Thread(target=store.release_all, args=("s",))
    release.start()
    assert deleting.wait(30)
    try:
        assert store.resolve(live) == other
        ref = store.store(make("third"), MediaMeta(), "t")
        assert store.read_bytes(store.put(b"x")) == b"x"
        store.release(ref)
        assert release.is_alive()
    finally:
        go_on.set()
        release.join()
    assert not slow.exists()
