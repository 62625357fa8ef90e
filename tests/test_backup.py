"""Backups that are taken while bots are at work: restored, they lack nothing that is still needed."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
import pytest

from mediakeep import MediaStore, UnknownRef, open_store
from mediakeep.copying import copy
from postgres_server import PostgresServer

PAGE = Path(__file__).parents[1] / "docs" / "backup.md"
ROUNDS = 2
PATIENCE_SECONDS = 120.0

AT_WORK = """
import random, sys
from mediakeep import open_store, MediaError

chance = random.Random(int(sys.argv[1]))
where, blobs, schema = sys.argv[2:5]
options = {"blobs": blobs, "catalog_options": {"schema": schema}} if blobs else {}
with open_store(where, fsync=False, **options) as store:
    mine = []
    print("ready", flush=True)
    for line in sys.stdin:
        if line == "stop\\n":
            break
        for _ in range(int(line)):
            scope = f"bot:{sys.argv[1]}:{chance.randrange(1000)}"
            # Some bytes often, so that files are shared, and end while others of them begin.
            data = b"%d" % chance.randrange(30) if chance.random() < 0.5 else chance.randbytes(2000)
            mine.append(store.put(data, scope=scope))
            if chance.random() < 0.2:
                mine.append(store.share(chance.choice(mine), f"{scope}:shared"))
            if chance.random() < 0.1:
                with store.lease(mine[-1]) as media:
                    store.release(mine.pop())
                    assert media.path.read_bytes()
            while len(mine) > 60:
                store.release(mine.pop(chance.randrange(len(mine))))
        print("done", flush=True)
"""


class Bot:
    """A process that puts, shares, leases and releases."""

    def __init__(self, number: int, where: str, blobs: str = "", schema: str = "") -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", AT_WORK, str(number), where, blobs, schema],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        assert self._process.stdout is not None
        assert self._process.stdin is not None
        self._said, self._told = self._process.stdout, self._process.stdin
        assert self._said.readline() == "ready\n"

    def begin(self, turns: int) -> None:
        self._told.write(f"{turns}\n")
        self._told.flush()

    def finish(self) -> None:
        assert self._said.readline() == "done\n", self._process.wait(PATIENCE_SECONDS)

    def close(self) -> None:
        self._process.kill()
        self._process.wait(PATIENCE_SECONDS)
        self._said.close()
        self._told.close()


@contextmanager
def at_work(where: str, blobs: str = "", schema: str = "") -> Iterator[list[Bot]]:
    """Two bots with some past."""
    with ExitStack() as stack:
        bots = []
        for number in range(2):
            bots.append(Bot(number, where, blobs, schema))
            stack.callback(bots[-1].close)
        for bot in bots:
            bot.begin(80)
        for bot in bots:
            bot.finish()
        yield bots


def live(store: MediaStore) -> dict[str, str]:
    return {entry.ref: entry.sha256 for entry in store.entries()}


def while_at_work(bots: list[Bot], store: MediaStore, back_up: Callable[[], object]) -> dict[str, str]:
    """Back up in the midst of work; return what was live all that time."""
    before = live(store)
    for bot in bots:
        bot.begin(40)
    back_up()
    for bot in bots:
        bot.finish()
    after = live(store)
    assert before != after, "nothing happened meanwhile"
    return {ref: sha256 for ref, sha256 in before.items() if ref in after}


def check_restored(restored: MediaStore, original: MediaStore, needed: dict[str, str]) -> None:
    named = set(live(restored))
    found = restored.reconcile()
    assert set(found.counts) <= {"missing", "condemned", "lease", "temp"}, found
    restored.reconcile(dry_run=False, grace=0, force=True)
    assert restored.reconcile(deep=True, grace=0).clean
    there = live(restored)
    for ref in named - set(there):
        with pytest.raises(UnknownRef):  # what is missing is what the bots have ended since
            original.entry(ref)
    assert needed.items() <= there.items()
    for ref, sha256 in there.items():
        assert hashlib.sha256(restored.read_bytes(ref)).hexdigest() == sha256


def recipe() -> Callable[[Path, Path], None]:
    """Return `back_up` as the page has it."""
    (block,) = re.findall(
        r"^```python\n(import shutil.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE
    )
    namespace: dict[str, object] = {}
    exec(compile(block, str(PAGE), "exec"), namespace)
    return namespace["back_up"]


def test_a_folder_that_is_backed_up_under_load_lacks_only_what_has_ended(tmp_path):
    back_up = recipe()
    with at_work(str(tmp_path / "store")) as bots, open_store(tmp_path / "store", fsync=False) as store:
        for n in range(ROUNDS):
            backup = tmp_path / f"backup{n}"
            needed = while_at_work(bots, store, lambda to=backup: back_up(tmp_path / "store", to))
            with open_store(backup, fsync=False) as restored:
                check_restored(restored, store, needed)


def test_a_folder_that_is_backed_up_lacks_what_ended_between_books_and_bytes(tmp_path, monkeypatch):
    """The same, with the end in the midst of it for certain."""
    back_up = recipe()
    with open_store(tmp_path / "store", fsync=False) as store:
        kept, ended = store.put(b"kept"), store.put(b"ended")
        copytree = shutil.copytree

        def late(*args, **options):
            store.release(ended)
            store.put(b"late")
            return copytree(*args, **options)

        monkeypatch.setattr(shutil, "copytree", late)
        back_up(tmp_path / "store", tmp_path / "backup")
        with open_store(tmp_path / "backup", fsync=False) as restored:
            assert restored.reconcile().counts == {"missing": 1}
            check_restored(restored, store, {kept: store.entry(kept).sha256})
            assert set(live(restored)) == {kept}


def test_a_copy_that_is_made_under_load_is_sound_as_it_is(tmp_path):
    def back_up() -> None:
        assert copy(store, backup).failed == 0

    with (
        at_work(str(tmp_path / "store")) as bots,
        open_store(tmp_path / "store", fsync=False) as store,
        open_store(tmp_path / "backup", fsync=False) as backup,
    ):
        for _ in range(ROUNDS):
            needed = while_at_work(bots, store, back_up)
            assert backup.reconcile(deep=True, grace=0).clean
            assert needed.items() <= live(backup).items()


def test_a_database_that_is_dumped_under_load_lacks_only_what_has_ended(
    postgres: PostgresServer, tmp_path
):
    schema = f"dumped_{os.getpid()}"
    database = f"restored_{os.getpid()}"
    blobs, backup, dump = tmp_path / "blobs", tmp_path / "backup", tmp_path / "books.dump"
    elsewhere = f"{postgres.url.rpartition('/')[0]}/{database}"
    options = {"catalog_options": {"schema": schema}, "fsync": False}
    programs = postgres._install / "bin"

    def back_up() -> None:
        asked = [programs / "pg_dump", "--format=custom", f"--schema={schema}", f"--file={dump}"]
        subprocess.run([*asked, postgres.url], check=True, timeout=PATIENCE_SECONDS)
        shutil.copytree(blobs, backup, copy_function=recipe().__globals__["copy_if_there"])

    with psycopg.connect(postgres.url, autocommit=True) as server:
        server.execute(f"CREATE DATABASE {database}")
    with (
        open_store(postgres.url, blobs=blobs, **options) as store,
        at_work(postgres.url, str(blobs), schema) as bots,
    ):
        needed = while_at_work(bots, store, back_up)
        restore = [programs / "pg_restore", "--no-owner", f"--dbname={elsewhere}", str(dump)]
        subprocess.run(restore, check=True, timeout=PATIENCE_SECONDS)
        with open_store(elsewhere, blobs=backup, **options) as restored:
            check_restored(restored, store, needed)
            ref = restored.put(b"goes on")
            restored.release(ref)
    with psycopg.connect(postgres.url, autocommit=True) as server:
        server.execute(f"DROP DATABASE {database}")
        server.execute(f"DROP SCHEMA {schema} CASCADE")
