"""What the parts of the contract have in common: a catalog of their own, and what they write into it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from mediakeep.catalogs import Catalog, Clock, Registration
from mediakeep.model import CleanupPolicy, MediaMeta
from mediakeep.refs import new_ref
from mediakeep.testing.clock import FakeClock

PATIENCE_SECONDS = 30.0
"""How long a contract waits for a thread before it calls it stuck."""


class CatalogSetting:
    """A fresh catalog for each test, and a clock that it goes by."""

    OWNED = MediaMeta(filename="cat.jpg", content_type="image/jpeg", source="test")
    BORROWED = MediaMeta(filename="cat.jpg", cleanup_policy=CleanupPolicy.FORGET_ONLY)

    def make_catalog(self, clock: Clock) -> Catalog:
        """Return an empty catalog that takes its time from `clock`."""
        raise NotImplementedError

    @contextmanager
    def _opened(self) -> Iterator[tuple[Catalog, FakeClock]]:
        clock = FakeClock()
        catalog = self.make_catalog(clock)
        try:
            yield catalog, clock
        finally:
            catalog.close()


def new_path(
    location: str, scope: str = "s", meta: MediaMeta | None = None, size: int = 1
) -> Registration:
    """Return the registration of a file where it lies."""
    meta = CatalogSetting.OWNED if meta is None else meta
    return Registration(new_ref(), scope, location, location, meta, size)


def new_blob(
    key: str,
    scope: str = "s",
    *,
    meta: MediaMeta = CatalogSetting.OWNED,
    size: int = 4,
    sha256: str = "ab" * 32,
) -> Registration:
    """Return the registration of bytes that are put."""
    return Registration(new_ref(), scope, key, None, meta, size, sha256)


def past_ref(location: str) -> Registration:
    """Return a registration as another catalog may have had it."""
    given = location if os.path.isabs(location) else None
    meta = CatalogSetting.OWNED
    return Registration(new_ref(), "s", location, given, meta, 1, stored_at=1e9, expires_at=None)


def added(
    catalog: Catalog,
    location: str,
    *,
    scope: str = "s",
    meta: MediaMeta | None = None,
    size: int = 1,
    ttl: float | None = None,
) -> str:
    """Register a file where it lies; return its ref."""
    new = new_path(location, scope, meta, size)
    catalog.register(location, lambda: new, ttl=ttl)
    return new.ref


def refuse(location: str) -> None:
    """Fail to delete, as a file system may."""
    raise PermissionError(13, "Permission denied", location)


def yes(_: str) -> bool:
    """Say that a catalog names a key."""
    return True


def no(_: str) -> bool:
    """Say that no catalog names a key."""
    return False


def never(location: str) -> None:
    """Be the deletion that must not happen."""
    raise AssertionError(f"{location} was deleted")


@contextmanager
def raises(expected: type[BaseException]) -> Iterator[None]:
    """Fail unless the block raises what is `expected`."""
    try:
        yield
    except expected:
        return
    raise AssertionError(f"{expected.__name__} was not raised")
