"""Stores to test: every behaviour is tested on each kind, by the same words."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.register_assert_rewrite("mediakeep.testing")

from mediakeep import CleanupPolicy, MediaMeta, MediaStore, open_store
from mediakeep.testing import FakeClock

KINDS = ("memory", "folder")
BORROWED = MediaMeta(cleanup_policy=CleanupPolicy.FORGET_ONLY)

Open = Callable[..., MediaStore]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def opened(kind: str, tmp_path: Path, clock: FakeClock) -> Iterator[Open]:
    """Opens stores of this kind, all at one place, with the test's clock; closes them afterwards."""
    stores: list[MediaStore] = []

    def opened(**options: object) -> MediaStore:
        options = {"clock": clock, "fsync": False, **options}
        if kind == "memory":
            where = "memory:"
            options.setdefault("blobs", tmp_path / "temporary")
        else:
            where = tmp_path / "store"
        stores.append(open_store(where, **options))
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
