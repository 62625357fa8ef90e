"""Large transfers over HTTP: what a killed server leaves of one, and how much memory it takes."""

import os
import shutil
import signal
import time
from pathlib import Path

import pytest

pytest.importorskip("starlette")

import httpx2

from http_server import DEADLINE, Process, peak_memory, running
from mediakeep import open_store
from mediakeep.leases import LEASE_SECONDS

MIB = 1 << 20
LARGE = 32 * MIB  # more than any socket buffers, so that it stays under way


def client(server: Process) -> httpx2.Client:
    return httpx2.Client(base_url=server.url, timeout=DEADLINE, trust_env=False)


def after_the_lease() -> float:
    return time.time() + LEASE_SECONDS + 1


def test_the_lease_of_a_server_that_is_killed_in_a_download_lapses(tmp_path: Path) -> None:
    place = tmp_path / "store"
    data = os.urandom(LARGE)
    with open_store(place, fsync=False) as store:
        ref, kept = store.put(data, scope="a"), store.put(b"kept", scope="b")
        path = store.resolve(ref)
    with running("--store", place) as server, client(server) as asking:
        with asking.stream("GET", f"/v1/media/{ref.removeprefix('media://')}") as answer:
            chunks = answer.iter_raw(MIB)
            got = next(chunks)
            with open_store(place, fsync=False) as store:
                assert store.stats().leases == 1
                assert store.release(ref)
                assert path.exists(), "the ref has ended, and its bytes are under way"
            server.stop(signal.SIGKILL)
            with pytest.raises(httpx2.TransportError):
                for chunk in chunks:
                    got += chunk
        assert data.startswith(got)
    with open_store(place, fsync=False) as store:
        assert store.sweep().deleted == 0, "nobody can tell yet that it is dead"
        assert path.exists()
    with open_store(place, fsync=False, clock=after_the_lease) as store:
        assert store.sweep().deleted == 1
        assert not path.exists()
        assert (store.stats().leases, store.stats().condemned) == (0, 0)
        assert store.read_bytes(kept) == b"kept"
        assert store.reconcile().clean


def test_a_file_lives_on_when_a_server_is_killed_that_was_sending_it(tmp_path: Path) -> None:
    place = tmp_path / "store"
    data = os.urandom(LARGE)
    with open_store(place, fsync=False) as store:
        name = store.put(data, scope="a").removeprefix("media://")
    path = f"/v1/media/{name}"
    with (
        running("--store", place) as server,
        client(server) as asking,
        asking.stream("GET", path) as answer,
    ):
        next(answer.iter_raw(MIB))
        server.stop(signal.SIGKILL)
    with open_store(place, fsync=False, clock=after_the_lease) as store:
        assert store.sweep().deleted == 0
    with running("--store", place) as server, client(server) as asking:
        assert asking.get(path).content == data
        server.stop()


def test_an_upload_of_a_gibibyte_takes_no_more_memory_than_a_small_one(tmp_path: Path) -> None:
    if shutil.disk_usage(tmp_path).free < 4 << 30:
        pytest.skip("the disk has no room for it")
    size, piece = 1 << 30, bytes(MIB)
    with running("--store", tmp_path / "store") as server, client(server) as asking:
        asking.timeout = 120.0
        asking.post("/v1/media?scope=warm", content=bytes(2 * MIB))
        before = peak_memory(server.process.pid)
        answer = asking.post("/v1/media?scope=large", content=(piece for _ in range(size // MIB)))
        assert answer.json()["entry"]["size"] == size
        assert peak_memory(server.process.pid) - before < 32 * MIB
        last = asking.get(f"/v1/media/{answer.json()['id']}", headers={"range": f"bytes={size - 9}-"})
        assert last.content == bytes(9)
        assert asking.delete(f"/v1/media/{answer.json()['id']}").status_code == 200
        server.stop()
