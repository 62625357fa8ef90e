"""Judges a store from outside, by sqlite3 and the file system alone: nothing here knows mediakeep.

It reads a copy of the books, so that looking at them neither recovers nor checkpoints them.
"""

import hashlib
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

STORE_FILES = {"catalog.db", "catalog.db-wal", "catalog.db-shm", "catalog.db.lock", "blobs"}
"""What may lie in a store's folder once it has been opened."""


class Live(NamedTuple):
    """A live ref as the books have it."""

    ref: str
    scope: str
    path: Path
    is_blob: bool
    owned: bool
    size: int
    sha256: str
    expires: bool


class Books(NamedTuple):
    """What the books say."""

    refs: dict[str, Live]
    paths: set[Path]
    """Of every location, condemned ones too."""
    owned: set[Path]
    condemned: set[Path]
    leases: int
    faults: list[str]
    """What contradicts itself in them."""


def read_books(store: Path) -> Books | None:
    """Read the books of the store in this folder; None where there are none yet."""
    if not (store / "catalog.db").exists():
        return None
    with tempfile.TemporaryDirectory(dir=_fast()) as copy:
        for name in ("catalog.db", "catalog.db-wal"):
            if (store / name).exists():
                shutil.copyfile(store / name, f"{copy}/{name}")
        db = sqlite3.connect(f"{copy}/catalog.db")
        try:
            return _read(db, store)
        finally:
            db.close()


def _fast() -> str | None:
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def _read(db: sqlite3.Connection, store: Path) -> Books:
    faults = [text for (text,) in db.execute("PRAGMA integrity_check") if text != "ok"]
    faults += [f"broken reference: {row}" for row in db.execute("PRAGMA foreign_key_check")]
    said = db.execute("SELECT files, size FROM totals").fetchall()
    found = db.execute("SELECT count(*), coalesce(sum(size), 0) FROM locations").fetchall()
    if said != found:
        faults.append(f"totals say {said}, the rows add up to {found}")

    refs: dict[str, Live] = {}
    paths: dict[int, Path] = {}
    owned, condemned, named = set(), set(), set()
    for number, place, is_owned, doomed in db.execute(
        "SELECT id, location, owned, condemned IS NOT NULL FROM locations"
    ):
        path = paths[number] = _path(store, place)
        if is_owned:
            owned.add(path)
        if doomed:
            condemned.add(path)
    for key, number, scope, place, is_owned, *more in db.execute(
        "SELECT ref, location_id, scope, location, owned, size, sha256, expires_at IS NOT NULL"
        " FROM refs JOIN locations ON id = location_id"
    ):
        h = key.hex()
        ref = f"media://{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"
        is_blob = not place.startswith(b"/")
        refs[ref] = Live(ref, scope, paths[number], is_blob, bool(is_owned), *more)
        named.add(paths[number])
    # What was made of a live file lives with it.
    columns = {name for _, name, *_ in db.execute("PRAGMA table_info(locations)")}
    if "variant_of" in columns:
        for number, original in db.execute(
            "SELECT id, variant_of FROM locations WHERE variant_of IS NOT NULL AND condemned IS NULL"
        ):
            if paths.get(original) in named:
                named.add(paths[number])
    faults += [f"{path} is condemned, and a ref names it" for path in condemned & named]
    faults += [
        f"{path} has no ref, and is not condemned" for path in {*paths.values()} - condemned - named
    ]
    (leases,) = db.execute("SELECT count(*) FROM leases").fetchone()
    return Books(refs, {*paths.values()}, owned, condemned, leases, faults)


def _path(store: Path, place: bytes) -> Path:
    name = os.fsdecode(place)
    return Path(name) if name.startswith("/") else store / "blobs" / name


def broken(books: Books | None) -> Iterator[str]:
    """Yield what no crash may bring about: live refs without their bytes, books that do not add up."""
    if books is None:
        return
    yield from books.faults
    for it in books.refs.values():
        if not (it.owned or it.is_blob):
            continue
        if not os.path.lexists(it.path):
            yield f"{it.ref} ({it.scope}) is live, and its file {it.path} is gone"
        elif it.is_blob and it.path.stat().st_size != it.size:
            yield f"{it.ref} ({it.scope}): {it.path} has not {it.size} bytes"
        elif it.sha256 and hashlib.sha256(it.path.read_bytes()).hexdigest() != it.sha256:
            yield f"{it.ref} ({it.scope}): {it.path} has other bytes than were put"


def leaked(store: Path, books: Books | None, *, kept: int = 0) -> Iterator[str]:
    """Yield what a sweep past the time of every lease leaves although nothing needs it.

    `kept` files that the store was told never to delete, and whose refs have ended, are no leak.
    """
    if books is None:
        yield "there are no books"
        return
    yield from (f"{path} is still condemned" for path in books.condemned)
    if books.leases:
        yield f"{books.leases} leases are still in the books"
    strays = [name for name in os.listdir(store) if name not in STORE_FILES]
    yield from (f"{store / name} is left" for name in strays)
    blobs = [Path(at, name) for at, _, names in os.walk(store / "blobs") for name in names]
    unnamed = [path for path in blobs if path not in books.paths]
    excused = [path for path in unnamed if path.parent.name == "kept"][:kept]
    yield from (f"{path} is named by nothing" for path in unnamed if path not in excused)
