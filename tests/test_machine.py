"""Each store against a model that is obviously right: dicts, sets and no cleverness."""

import shutil
import tempfile
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    precondition,
    rule,
)

from conftest import BORROWED
from mediakeep import (
    MediaCleanerConfig,
    MediaMeta,
    MediaMissing,
    RefExpired,
    RefReleased,
    open_store,
)
from mediakeep.testing import FakeClock

OWNED = MediaMeta()
MAX_AGE = 50.0
SCOPES = st.sampled_from(["a", "a:b", "a:b:c", "ab", "b", ""])
NAMES = st.sampled_from(["one", "two", "three"])
DATA = st.sampled_from([b"", b"one", b"two"]) | st.binary(max_size=40)
TTLS = st.sampled_from([None, None, 5.0, 200.0])


class Model:
    """Refs as rows, and the files that should be on disk. Every rule is read off the rows anew."""

    def __init__(self) -> None:
        self.rows: dict[str, tuple[str, Path, bool, float | None, float]] = {}
        self.dead: dict[str, type[Exception]] = {}
        self.files: set[Path] = set()

    def add(
        self, ref: str, scope: str, path: Path, borrowed: bool, ttl: float | None, now: float
    ) -> None:
        live = [row for row in self.rows.values() if row[1] == path]
        # A location is borrowed as long as any of its refs since the path was last free borrowed it.
        borrowed = borrowed or any(row[2] for row in live)
        self.rows[ref] = (scope, path, borrowed, ttl, now)
        for other, row in self.rows.items():
            if row[1] == path and borrowed:
                self.rows[other] = (row[0], path, True, row[3], row[4])

    def end(self, refs: list[str], why: type[Exception]) -> None:
        for ref in refs:
            _, path, borrowed, _, _ = self.rows.pop(ref)
            self.dead[ref] = why
            if not borrowed and not any(row[1] == path for row in self.rows.values()):
                self.files.discard(path)

    def in_scope(self, scope: str, nested: bool) -> list[str]:
        return [
            ref
            for ref, row in self.rows.items()
            if row[0] == scope or (nested and row[0].startswith(scope + ":"))
        ]

    def due(self, now: float) -> list[str]:
        def is_due(row):
            _, _, _, ttl, stored_at = row
            return stored_at + ttl < now if ttl is not None else stored_at < now - MAX_AGE

        return [ref for ref, row in self.rows.items() if is_due(row)]


class StoreMachine(RuleBasedStateMachine):
    dedupes = outlives_its_process = True
    refs = Bundle("refs")

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp()).resolve()
        self.clock = FakeClock()
        self.model = Model()
        self.blobs: dict[Path, bytes] = {}
        self.store = None
        self.open()

    def place(self) -> dict[str, object]:
        """Return where the store is, as `open_store` wants to hear it."""
        raise NotImplementedError

    def open(self) -> None:
        self.store = open_store(
            **self.place(),
            clock=self.clock,
            cleaner=MediaCleanerConfig(max_age=timedelta(seconds=MAX_AGE)),
            fsync=False,
        )

    def teardown(self) -> None:
        if getattr(self, "store", None) is not None:
            self.store.close()
            shutil.rmtree(self.folder)

    @rule(target=refs, name=NAMES, scope=SCOPES, borrowed=st.booleans(), ttl=TTLS, alias=st.booleans())
    def register(self, name, scope, borrowed, ttl, alias):
        path = self.folder / name
        path.write_bytes(name.encode())
        self.model.files.add(path)
        spelled = f"{self.folder}/../{self.folder.name}/{name}" if alias else path
        ref = self.store.store(spelled, BORROWED if borrowed else OWNED, scope, ttl=ttl)
        self.model.add(ref, scope, path, borrowed, ttl, self.clock())
        return ref

    @rule(name=NAMES)
    def register_what_is_missing(self, name):
        path = self.folder / name
        if path not in self.model.files:
            try:
                self.store.store(path, OWNED, "a")
            except MediaMissing:
                return
            raise AssertionError(f"{path} was registered, and it is not there")

    @rule(target=refs, scope=SCOPES, ttl=TTLS, data=DATA, borrowed=st.booleans())
    def put(self, scope, ttl, data, borrowed):
        twins = {
            path
            for _, path, is_borrowed, _, _ in self.model.rows.values()
            if self.blobs.get(path) == data and is_borrowed == borrowed
        }
        ref = self.store.put(data, BORROWED if borrowed else OWNED, scope, ttl=ttl)
        path = self.store.resolve(ref)
        assert path.read_bytes() == data
        if self.dedupes and twins:
            assert twins == {path}, "the same bytes were kept twice"
        else:
            assert path not in self.blobs, "a blob name was given twice"
        self.blobs[path] = data
        self.model.files.add(path)
        self.model.add(ref, scope, path, borrowed, ttl, self.clock())
        return ref

    @rule(target=refs, ref=refs, scope=SCOPES, ttl=TTLS)
    def share(self, ref, scope, ttl):
        if ref in self.model.rows:
            _, path, borrowed, _, _ = self.model.rows[ref]
            new = self.store.share(ref, scope, ttl=ttl)
            self.model.add(new, scope, path, borrowed, ttl, self.clock())
            return new
        try:
            self.store.share(ref, scope)
        except self.model.dead[ref]:
            return ref
        raise AssertionError("a dead ref was shared")

    @rule(ref=consumes(refs))
    def release(self, ref):
        live = ref in self.model.rows
        assert self.store.release(ref) is live
        if live:
            self.model.end([ref], RefReleased)

    @rule(scope=SCOPES, nested=st.booleans())
    def release_all(self, scope, nested):
        self.store.release_all(scope, nested=nested)
        self.model.end(self.model.in_scope(scope, nested), RefReleased)

    @rule(seconds=st.sampled_from([1, 6, 51, 201, -20]))
    def time_passes(self, seconds):
        self.clock.advance(seconds)

    @rule()
    def sweep(self):
        due = self.model.due(self.clock())
        assert self.store.sweep(dry_run=True).expired == len(due)
        assert self.store.clean_expired() == len(due)
        self.model.end(due, RefExpired)

    @precondition(lambda self: self.outlives_its_process)
    @rule()
    def reopen(self):
        self.store.close()
        self.open()

    @invariant()
    def the_disk_is_as_the_model_says(self):
        if getattr(self, "store", None) is None:
            return
        mine = {p for p in self.folder.iterdir() if p.is_file()}
        assert mine | {p for p in self.blobs if p.exists()} == self.model.files

    @invariant()
    def the_books_are_as_the_model_says(self):
        if getattr(self, "store", None) is None:
            return
        assert {it.ref: (it.scope, it.path.resolve()) for it in self.store.entries()} == {
            ref: (row[0], row[1]) for ref, row in self.model.rows.items()
        }
        assert self.store.scopes() == sorted({row[0] for row in self.model.rows.values()})
        stats = self.store.stats()
        paths = {row[1]: row[2] for row in self.model.rows.values()}
        assert (stats.refs, stats.files) == (len(self.model.rows), len(paths))
        assert stats.borrowed == sum(paths.values())
        assert stats.condemned == 0

    @invariant()
    def dead_refs_say_why(self):
        for ref, why in getattr(self, "model", Model()).dead.items():
            try:
                self.store.resolve(ref)
            except why:
                continue
            raise AssertionError(f"{ref} should raise {why.__name__}")


class MemoryMachine(StoreMachine):
    dedupes = outlives_its_process = False

    def place(self):
        return {"where": "memory:", "blobs": self.folder / "store"}


class FolderMachine(StoreMachine):
    def place(self):
        return {"where": self.folder / "store"}


class PostgresMachine(StoreMachine):
    server = None

    def place(self):
        return {
            "where": self.server.url,
            "blobs": self.folder / "store" / "blobs",
            "catalog_options": {"schema": f"machine_{self.folder.name.lower()}", "pool_size": 2},
        }


@pytest.fixture(scope="module", autouse=True)
def _server(postgres):
    PostgresMachine.server = postgres


for machine, examples in ((MemoryMachine, 60), (FolderMachine, 40), (PostgresMachine, 12)):
    machine.TestCase.settings = settings(
        max_examples=examples,
        stateful_step_count=40,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )

TestMemoryStore = MemoryMachine.TestCase
TestFolderStore = FolderMachine.TestCase
TestPostgresStore = PostgresMachine.TestCase
