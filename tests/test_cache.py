"""The cache of copies: bounded, one download however many ask, safe from kills and from other hands."""

import hashlib
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress

import pytest

from mediakeep import BlobError, MediaMissing
from mediakeep.blobs.cache import Cache, Incoming

KIB = 1024
PATIENCE = 60.0


def key_of(number):
    return f"{number % 256:02x}/{number:032x}"


def data_of(key, size):
    return hashlib.sha256(key.encode()).digest() * (size // 32)


class Source:
    """What copies are made of; counts how often it was asked."""

    def __init__(self, size=10 * KIB):
        self.size = size
        self.asked = []
        self.sha256 = True

    def fetch(self, key):
        @contextmanager
        def fetch():
            self.asked.append(key)
            data = data_of(key, self.size)
            digest = hashlib.sha256(data).hexdigest() if self.sha256 else ""
            yield Incoming(len(data), digest, (data[i : i + 4096] for i in range(0, len(data), 4096)))

        return fetch


@pytest.fixture
def source():
    return Source()


@pytest.fixture
def root(tmp_path):
    return tmp_path / "cache"


def get(cache, source, number):
    key = key_of(number)
    return cache.path(key, source.fetch(key))


def held(cache, source, number):
    key = key_of(number)
    return cache.hold(key, source.fetch(key))


def copies(root):
    return [it for it in root.rglob("*") if it.is_file() and it.name != "room"]


def taken(root):
    return sum(it.stat().st_size for it in copies(root))


def test_a_copy_is_brought_once_and_outlives_the_cache(root, source):
    path = get(Cache(root, 100 * KIB), source, 1)
    assert path.read_bytes() == data_of(key_of(1), 10 * KIB)
    assert get(Cache(root, 100 * KIB), source, 1) == path
    assert len(source.asked) == 1


def test_folders_and_files_are_private(root, source):
    old = os.umask(0)
    try:
        path = get(Cache(root, 100 * KIB), source, 1)
    finally:
        os.umask(old)
    assert {it.stat().st_mode & 0o777 for it in (path, root / "room")} == {0o600}
    assert {it.stat().st_mode & 0o777 for it in (root, path.parent)} == {0o700}


def test_what_was_used_least_recently_goes_first(root, source):
    cache = Cache(root, 100 * KIB)
    for number in range(10):
        path = get(cache, source, number)
        os.utime(path, ns=(10**18 + number, path.stat().st_mtime_ns))
    get(cache, source, 0)  # used just now
    get(cache, source, 10)
    assert taken(root) <= 100 * KIB
    left = {it.name for it in copies(root)}
    assert {key_of(n)[3:] for n in (0, 9, 10)} <= left
    assert key_of(1)[3:] not in left


def test_it_never_takes_more_than_its_limit_also_while_bytes_come(root, source):
    cache = Cache(root, 35 * KIB)
    most = 0

    def watched(key):
        @contextmanager
        def fetch():
            with source.fetch(key)() as coming:

                def pieces():
                    nonlocal most
                    for piece in coming.pieces:
                        most = max(most, taken(root))
                        yield piece

                yield coming._replace(pieces=pieces())

        return fetch

    for number in range(20):
        cache.path(key_of(number), watched(key_of(number)))
    assert 0 < most <= 35 * KIB


def test_a_copy_in_use_is_not_evicted_and_a_full_cache_says_so(root, source):
    cache = Cache(root, 30 * KIB)
    with ExitStack() as stack:
        paths = [stack.enter_context(held(cache, source, number)) for number in range(3)]
        with pytest.raises(BlobError, match=r"end leases, or raise cache_bytes"):
            get(cache, source, 3)
        assert all(it.exists() for it in paths)
        assert len(copies(root)) == 3
    assert get(cache, source, 3).exists()


def test_two_holds_of_one_copy_are_two(root, source):
    cache = Cache(root, 15 * KIB)
    with held(cache, source, 1) as path:
        with held(cache, source, 1):
            pass
        with pytest.raises(BlobError):
            get(cache, source, 2)
        assert path.exists()


def test_what_is_larger_than_the_cache_is_refused_before_a_byte_is_written(root):
    with pytest.raises(BlobError, match=r"do not fit .* raise cache_bytes, or read it with open"):
        get(Cache(root, 9 * KIB), Source(), 1)
    assert copies(root) == []


@pytest.mark.parametrize("damage", ["cut", "written", "replaced", "foreign"])
def test_a_copy_that_somebody_changed_is_brought_again(root, source, damage):
    cache = Cache(root, 100 * KIB)
    path = get(cache, source, 1)
    if damage == "cut":
        os.truncate(path, 100)
    elif damage == "written":
        with open(path, "r+b") as file:
            file.write(b"!")
    elif damage == "replaced":
        path.unlink()
        path.write_bytes(b"x" * 10 * KIB)
    else:
        path.unlink()
        path.symlink_to("/etc/hostname")
    assert get(cache, source, 1).read_bytes() == data_of(key_of(1), 10 * KIB)
    assert not path.is_symlink()
    assert len(source.asked) == 2


def test_bytes_that_are_not_what_was_announced_are_not_kept(root):
    def fetch_of(size, sha256, data):
        @contextmanager
        def fetch():
            yield Incoming(size, sha256, iter([data]))

        return fetch

    cache = Cache(root, 100 * KIB)
    for size, sha256, data, said in (
        (5, "", b"four", "4 bytes instead of 5"),
        (3, "", b"four", "instead of 3"),
        (4, "ab" * 32, b"four", "is damaged where it is stored"),
    ):
        with pytest.raises(BlobError, match=said):
            cache.path(key_of(1), fetch_of(size, sha256, data))
        assert copies(root) == []
    assert (root / "room").read_text() == "0"


def test_however_many_threads_ask_one_brings_it(root, source):
    gate = threading.Barrier(16)

    def ask(_):
        gate.wait(PATIENCE)
        return get(Cache(root, 100 * KIB), source, 1).read_bytes()

    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(ask, range(16))) == {data_of(key_of(1), 10 * KIB)}
    assert len(source.asked) == 1


def test_when_the_one_who_brings_it_fails_the_next_one_does(root, source):
    failed = threading.Event()

    @contextmanager
    def fails():
        source.asked.append("failed")
        thread.start()
        failed.wait(0.2)
        raise BlobError("the service is away")
        yield

    cache = Cache(root, 100 * KIB)
    brought = []
    thread = threading.Thread(target=lambda: brought.append(get(cache, source, 1)))
    with pytest.raises(BlobError, match="away"):
        cache.path(key_of(1), fails)
    thread.join(PATIENCE)
    assert brought[0].read_bytes() == data_of(key_of(1), 10 * KIB)


def _many(root, seed, results):
    source = Source()
    cache = Cache(root, 64 * KIB)
    bad = 0
    for step in range(150):
        number = (seed * 31 + step * 7) % 23
        with held(cache, source, number) as path:
            if path.read_bytes() != data_of(key_of(number), 10 * KIB):
                bad += 1
    results.put((bad, len(source.asked)))


def sizes(root):
    """Return how large each file is; one that is made anew is another one, whatever its name."""
    found = {}
    for it in root.rglob("*"):
        with suppress(FileNotFoundError):
            about = it.stat()
            if it.name != "room" and it.is_file():
                found[about.st_ino, about.st_ctime_ns] = about.st_size
    return found


def test_processes_and_threads_share_it_within_its_limit_and_none_reads_a_wrong_byte(root):
    spawn = multiprocessing.get_context("spawn")
    results = spawn.Queue()
    processes = [spawn.Process(target=_many, args=(root, seed, results)) for seed in range(4)]
    for process in processes:
        process.start()
    most, before = 0, {}
    while any(it.is_alive() for it in processes):
        now = sizes(root)
        # What was there both times was there in between, all at once.
        most = max(most, sum(size for it, size in before.items() if now.get(it) == size))
        before = now
        for process in processes:
            process.join(0.01)
    found = [results.get(timeout=PATIENCE) for _ in processes]
    results.close()
    results.join_thread()
    assert [it.exitcode for it in processes] == [0] * 4
    assert sum(bad for bad, _ in found) == 0
    assert taken(root) <= 64 * KIB
    assert 0 < most <= 64 * KIB


CHILD = """
import os, signal, sys
from contextlib import contextmanager
from mediakeep.blobs.cache import Cache, Incoming
@contextmanager
def fetch():
    def pieces():
        yield b"x" * 1000
        print("half", flush=True)
        if sys.argv[2] == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        yield b"x" * 9000
    yield Incoming(10000, "", pieces())
with Cache(sys.argv[1], 40_000).hold(sys.argv[3], fetch) as path:
    print(path, flush=True)
    sys.stdin.read()
"""


def child(root, do, number):
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, root, do, key_of(number)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_what_a_killed_process_was_bringing_is_brought_anew_and_its_room_is_found_again(root):
    killed = child(root, "die", 1)
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    assert [it.suffix for it in copies(root)] == [".part"]
    source = Source(9984)
    cache = Cache(root, 40_000)
    assert get(cache, source, 1).read_bytes() == data_of(key_of(1), 9984)
    killed = child(root, "die", 2)
    killed.communicate()
    for number in range(3, 9):
        get(cache, source, number)
    assert not [it for it in copies(root) if it.suffix == ".part"]
    assert taken(root) <= 40_000


def test_what_another_process_holds_stays_until_it_ends_even_by_a_kill(root):
    holder = child(root, "live", 1)
    assert holder.stdout.readline() == "half\n"
    path = holder.stdout.readline().strip()
    source, cache = Source(9984), Cache(root, 40_000)
    for number in range(2, 12):
        get(cache, source, number)
    assert os.path.exists(path)
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    for number in range(12, 22):
        get(cache, source, number)
    assert not os.path.exists(path)


FULL = """
import resource, sys
from contextlib import contextmanager
from mediakeep import BlobError, MediaMissing
from mediakeep.blobs.cache import Cache, Incoming
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
@contextmanager
def fetch():
    yield Incoming(10_000, "", iter([b"x" * 10_000]))
try:
    Cache(sys.argv[1], 100_000).path("3f/x", fetch)
except BlobError as error:
    print(error)
"""


def test_a_disk_that_takes_no_more_gives_a_clear_error_and_keeps_nothing(root):
    done = subprocess.run(
        [sys.executable, "-c", FULL, root], capture_output=True, text=True, timeout=PATIENCE, check=True
    )
    assert "cannot keep a copy in the cache" in done.stdout
    assert copies(root) == []
    assert (root / "room").read_text() in ("", "0")


def test_a_lost_account_of_the_room_is_made_up_again(root, source):
    cache = Cache(root, 35 * KIB)
    for number in range(3):
        get(cache, source, number)
    (root / "room").write_text("nonsense")
    get(cache, source, 3)
    assert taken(root) <= 35 * KIB
    assert int((root / "room").read_text()) == taken(root)


def test_a_dropped_copy_is_gone_and_its_room_is_free(root, source):
    cache = Cache(root, 100 * KIB)
    path = get(cache, source, 1)
    cache.drop(key_of(1))
    cache.drop(key_of(1))
    assert not path.exists()
    assert (root / "room").read_text() == "0"


def test_two_who_remove_one_copy_free_its_room_once(root, source, monkeypatch):
    cache = Cache(root, 100 * KIB)
    path, _ = get(cache, source, 1), get(cache, source, 2)
    other = threading.Thread(target=cache.discard, args=(key_of(1),))
    real = os.lstat

    def lstat(it, *args, **kwargs):
        found = real(it, *args, **kwargs)
        if os.fspath(it) == os.fspath(path) and not other.ident:
            other.start()
            other.join(0.3)  # it is waiting, or done
        return found

    monkeypatch.setattr(os, "lstat", lstat)
    cache.discard(key_of(1))
    other.join(PATIENCE)
    assert not path.exists()
    assert int((root / "room").read_text()) == taken(root) == 10 * KIB


@pytest.mark.parametrize("how", ["discard", "drop", "failure"])
def test_what_is_removed_while_others_count_is_not_taken_off_twice(root, source, monkeypatch, how):
    cache = Cache(root, 45 * KIB)
    for number in range(3):
        get(cache, source, number)
    other = threading.Thread(target=get, args=(cache, source, 5))
    real = os.unlink

    def unlink(path, *args, **kwargs):
        real(path, *args, **kwargs)
        if not other.ident:
            (root / "room").write_text("")  # so that the other counts
            other.start()
            other.join(0.3)  # it is waiting, or done

    monkeypatch.setattr(os, "unlink", unlink)
    if how == "failure":

        @contextmanager
        def fails():
            yield Incoming(10 * KIB, "", iter([b"too little"]))

        with pytest.raises(BlobError):
            cache.path(key_of(4), fails)
    else:
        getattr(cache, how)(key_of(1))
    other.join(PATIENCE)
    assert int((root / "room").read_text()) == taken(root)


def test_a_copy_that_gets_its_name_while_others_count_is_counted(root, source, monkeypatch):
    cache = Cache(root, 45 * KIB)
    for number in range(3):
        get(cache, source, number)
    coming, counting, brought = threading.Event(), threading.Event(), threading.Event()

    @contextmanager
    def slow():
        def pieces():
            coming.set()
            counting.wait(PATIENCE)
            yield b"x" * 10 * KIB

        yield Incoming(10 * KIB, "", pieces())

    def bring():
        cache.path(key_of(4), slow)
        brought.set()

    bringing = threading.Thread(target=bring)
    bringing.start()
    assert coming.wait(PATIENCE)
    real = os.scandir

    @contextmanager
    def scandir(folder):
        with real(folder) as them:
            found = list(them)
        if any(it.name == f"{4:032x}.part" for it in found):
            counting.set()
            brought.wait(1.0)
        yield iter(found)

    monkeypatch.setattr(os, "scandir", scandir)
    get(cache, source, 5)
    bringing.join(PATIENCE)
    monkeypatch.undo()
    assert int((root / "room").read_text()) == taken(root)


def test_a_copy_that_is_dropped_while_it_comes_does_not_stay(root):
    cache, coming, gone = Cache(root, 100 * KIB), threading.Event(), threading.Event()

    @contextmanager
    def fetch():
        if gone.is_set():
            raise MediaMissing.at("it", "deleted")

        def pieces():
            coming.set()
            gone.wait(PATIENCE)
            yield b"x" * KIB

        yield Incoming(KIB, "", pieces())

    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(cache.path, key_of(1), fetch)
        assert coming.wait(PATIENCE)
        cache.drop(key_of(1))
        gone.set()
        with pytest.raises(MediaMissing):
            asked.result(PATIENCE)
    assert copies(root) == []
    assert (root / "room").read_text() == "0"


FORKS = """
import os, sys
from contextlib import contextmanager
from mediakeep.blobs.cache import Cache, Incoming
@contextmanager
def fetch():
    yield Incoming(10_000, "", iter([b"x" * 10_000]))
cache = Cache(sys.argv[1], 15_000)
reader, writer = os.pipe()
with cache.hold("3f/x", fetch):
    pid = os.fork()
    if pid == 0:
        os.close(writer)
        os.read(reader, 1)
        os._exit(0)
print(cache.path("3f/y", fetch))
os.close(writer)
os.waitpid(pid, 0)
"""


def test_a_forked_child_does_not_keep_the_locks_of_its_parent(root):
    subprocess.run([sys.executable, "-c", FORKS, root], timeout=PATIENCE, check=True)


ORPHANS = """
import os, sys, signal, threading
from contextlib import contextmanager
from mediakeep.blobs.cache import Cache, Incoming
coming = threading.Event()
@contextmanager
def fetch():
    coming.set()
    threading.Event().wait()
    yield
cache = Cache(sys.argv[1], 15_000)
threading.Thread(target=cache.path, args=(sys.argv[2], fetch), daemon=True).start()
coming.wait()
if os.fork() == 0:
    print("forked", flush=True)
    sys.stdin.read()
    os._exit(0)
threading.Event().wait()
"""


def test_a_forked_child_that_outlives_a_killed_parent_keeps_nobody_waiting(root):
    with subprocess.Popen(
        [sys.executable, "-c", ORPHANS, root, key_of(1)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout.readline() == "forked\n"
        parent.kill()
        parent.wait()
        asked = []
        asking = threading.Thread(
            target=lambda: asked.append(get(Cache(root, 15_000), Source(), 1)), daemon=True
        )
        asking.start()
        asking.join(PATIENCE)
        assert asked
        parent.stdin.close()  # the child ends


def test_a_limit_must_be_one(root):
    for bad in (0, -1):
        with pytest.raises(ValueError, match="cache_bytes"):
            Cache(root, bad)
