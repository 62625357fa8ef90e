"""Where an in-memory store puts bytes: a folder that goes with its process, and nothing else does."""

import os
import signal
import subprocess
import sys

import pytest

from conftest import BORROWED
from mediakeep import BlobError, FileMediaStore
from mediakeep.blobs import temporary

CHILD = """
import sys
from mediakeep import FileMediaStore, MediaMeta
store = FileMediaStore(root=sys.argv[1])
print(store.resolve(store.put(b"x")), flush=True)
print(store.resolve(store.put(b"x", MediaMeta(cleanup_policy="forget_only"))), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def root(tmp_path):
    return tmp_path / "root"


def child(root):
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, root], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    return process, process.stdout.readline().strip(), process.stdout.readline().strip()


def end(process, sig=None):
    if sig:
        process.send_signal(sig)
    process.communicate("")


def test_nothing_is_made_before_the_first_bytes_come(root):
    with FileMediaStore(root=root):
        assert not root.exists()


def test_its_folder_is_private_and_goes_with_the_store(root):
    with FileMediaStore(root=root) as store:
        path = store.resolve(store.put(b"x"))
        assert path.is_relative_to(root)
        assert path.parents[1].stat().st_mode & 0o777 == 0o700
    assert [p.name for p in root.iterdir()] == [".lock"]


def test_a_store_that_is_dropped_takes_its_folder_along(root):
    store = FileMediaStore(root=root)
    path = store.resolve(store.put(b"x"))
    del store
    assert not path.exists()


def test_a_process_that_ends_takes_its_folder_along_but_not_what_is_kept(root):
    process, path, kept = child(root)
    assert os.path.exists(path)
    end(process)
    assert not os.path.exists(path)
    assert os.path.exists(kept)


def test_the_next_process_removes_the_folder_of_a_killed_one_and_nothing_else(root):
    killed, path, kept = child(root)
    living, other, _ = child(root)
    end(killed, signal.SIGKILL)
    (root / "notes.txt").write_text("mine")
    (root / "mine").mkdir()
    (root / "store-link").symlink_to(root / "mine")
    assert os.path.exists(path)
    with FileMediaStore(root=root) as store:
        store.put(b"x")
        assert not os.path.exists(path)
        assert os.path.exists(kept)
        assert os.path.exists(other)
        assert (root / "notes.txt").exists()
        assert (root / "store-link").is_symlink()
    end(living)


def test_a_forked_child_that_ends_leaves_its_parents_folder(root):
    with FileMediaStore(root=root) as store:
        path = store.resolve(store.put(b"x"))
        pid = os.fork()
        if pid == 0:
            store.close()
            os._exit(0)
        os.waitpid(pid, 0)
        assert path.read_bytes() == b"x"


def test_two_stores_of_one_process_do_not_touch_each_other(root):
    with FileMediaStore(root=root) as first:
        ref = first.put(b"x")
        with FileMediaStore(root=root) as second:
            second.put(b"y")
        assert first.read_bytes(ref) == b"x"


def test_it_does_not_trust_a_shared_folder_that_others_can_write(root, monkeypatch):
    root.mkdir()
    root.chmod(0o777)
    monkeypatch.setattr(temporary, "temp_dir", lambda: root)
    with FileMediaStore() as store, pytest.raises(BlobError, match=r"root=…"):
        store.put(b"x")
    root.chmod(0o1777)
    with FileMediaStore() as store:
        store.put(b"x")


def test_a_root_that_cannot_be_made_gives_a_clear_error(root):
    root.write_text("a file")
    with FileMediaStore(root=root) as store, pytest.raises(BlobError, match="cannot make a folder in"):
        store.put(b"x")
    assert store.stats().refs == 0


def test_kept_bytes_of_a_store_survive_its_close(root):
    with FileMediaStore(root=root) as store:
        path = store.resolve(store.put(b"x", BORROWED))
    assert path.read_bytes() == b"x"
