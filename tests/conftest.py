"""Stores to test: every behaviour is tested on each kind, by the same words."""

import itertools
import logging
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.register_assert_rewrite("mediakeep.testing")

from mediakeep import CleanupPolicy, MediaMeta, MediaStore, open_store
from mediakeep.testing import FakeClock
from postgres_server import PostgresServer
from seaweed_server import BUCKET, Seaweed

KINDS = ("memory", "folder", "fleet")
"""Books in memory; in SQLite with bytes in a folder; in PostgreSQL with bytes in object storage."""

BORROWED = MediaMeta(cleanup_policy=CleanupPolicy.FORGET_ONLY)

Open = Callable[..., MediaStore]

schemas = itertools.count()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A server that every test may use and none may stop."""
    server = PostgresServer()
    yield server
    server.close()


@pytest.fixture(scope="session")
def seaweed() -> Iterator[Seaweed]:
    """A server that every test may use and none may stop."""
    with Seaweed() as server:
        yield server


@pytest.fixture
def fleet(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, object]:
    """What opens a store in a schema and a prefix of this test's own."""
    postgres, seaweed = (request.getfixturevalue(it) for it in ("postgres", "seaweed"))
    return {
        "where": postgres.url,
        "blobs": f"s3://{BUCKET}/{secrets.token_hex(8)}",
        "catalog_options": {"schema": f"fleet_{os.getpid()}_{next(schemas)}"},
        "blob_options": {**seaweed.options, "cache": tmp_path / "cache"},
    }


@pytest.fixture
def opened(
    kind: str, tmp_path: Path, clock: FakeClock, request: pytest.FixtureRequest
) -> Iterator[Open]:
    """Opens stores of this kind, all at one place, with the test's clock; closes them afterwards."""
    stores: list[MediaStore] = []

    def opened(**options: object) -> MediaStore:
        options = {"clock": clock, "fsync": False, **options}
        if kind == "memory":
            place = {"where": "memory:", "blobs": tmp_path / "temporary"}
        elif kind == "folder":
            place = {"where": tmp_path / "store"}
        else:
            place = request.getfixturevalue("fleet")
        stores.append(open_store(**{**place, **options}))
        return stores[-1]

    yield opened
    for store in stores:
        store.close()


@pytest.fixture
def store(opened: Open) -> MediaStore:
    return opened()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder for files that belong to the user."""
    folder = tmp_path / "files"
    folder.mkdir()
    return folder


@pytest.fixture
def make(folder: Path) -> Callable[..., Path]:
    """Makes a file of the user's."""

    def make(name: str = "photo.jpg", data: bytes = b"bytes of a photo") -> Path:
        path = folder / name
        path.write_bytes(data)
        return path

    return make


@pytest.fixture(autouse=True)
def _log_everything(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="mediakeep")
