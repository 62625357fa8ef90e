"""Stores to test: every behaviour is tested on each kind, by the same words."""

import itertools
import logging
import os
import secrets
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

pytest.register_assert_rewrite("mediakeep.testing")

# How long an example takes, or is being made, says something of the machine and what else it does.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")

from http_stores import Served, Stores
from mediakeep import CleanupPolicy, MediaMeta, MediaStore, open_store
from mediakeep.aio import AsyncMediaStore
from mediakeep.catalogs.sqlite import SqliteCatalog
from mediakeep.http.numbers import Numbers
from mediakeep.model import Stats
from mediakeep.testing import FakeClock
from not_over_http import reason_of
from postgres_server import PostgresServer
from seaweed_server import BUCKET, Seaweed

KINDS = ("memory", "folder", "fleet", "http")
"""Books in memory; in SQLite with bytes in a folder; in PostgreSQL with bytes in object storage; a store
in a folder that a server serves: see `not_over_http` for what is left out there."""

OF_CLIENTS = ("import_roots", "lease_seconds", "timeout")
"""Options that a store over HTTP has too. All are its server's."""

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


@pytest.fixture(scope="session")
def stores() -> Iterator[Stores]:
    """A server that every test may have its stores served by."""
    served = Stores()
    yield served
    served.close()


@pytest.fixture
def fresh_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers of a server that are told as they are: else every test that counts would have to wait."""

    async def get(numbers: Numbers, store: AsyncMediaStore) -> Stats:
        return await store.stats(by_scope=numbers._by_scope)

    monkeypatch.setattr(Numbers, "get", get)


@pytest.fixture
def until_renewed(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Waits until the leases of a folder store have been renewed, from now on."""
    ended, more = [0], threading.Condition()
    renew = SqliteCatalog.renew

    def renew_and_tell(catalog: SqliteCatalog, leases: Iterable[int], seconds: float) -> list[int]:
        lost = renew(catalog, leases, seconds)
        with more:
            ended[0] += 1
            more.notify_all()
        return lost

    monkeypatch.setattr(SqliteCatalog, "renew", renew_and_tell)

    def until_renewed() -> None:
        with more:
            enough = ended[0] + 2  # one may be under way
            assert more.wait_for(lambda: ended[0] >= enough, 60), "nobody renews it"

    return until_renewed


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
    urls: list[str] = []
    if kind == "http":
        request.getfixturevalue("fresh_numbers")

    def opened(**options: object) -> MediaStore:
        options = {"clock": clock, "fsync": False, **options}
        if kind == "http":
            mine = {name: options[name] for name in OF_CLIENTS if name in options}
            behind = open_store(tmp_path / "store", **options)
            urls.append(request.getfixturevalue("stores").add(behind))
            stores.append(Served(urls[-1], behind, cache=tmp_path / "cache", **mine))
            return stores[-1]
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
    for url in urls:
        request.getfixturevalue("stores").remove(url)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "[http" in item.name and "kind" in getattr(item, "fixturenames", ()):
            reason = reason_of(item)
            if reason is not None:
                item.add_marker(pytest.mark.skip(reason=f"over HTTP: {reason}"))


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
