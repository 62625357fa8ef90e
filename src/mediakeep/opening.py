"""From a word to a store: `open_store`, and the store in memory."""

import os
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

from mediakeep.blobs.local import LocalBlobs
from mediakeep.blobs.temporary import TemporaryBlobs
from mediakeep.catalogs import Catalog
from mediakeep.catalogs.memory import MemoryCatalog
from mediakeep.cleaner import MediaCleanerConfig
from mediakeep.clocks import Clock
from mediakeep.errors import CatalogError
from mediakeep.leases import LEASE_SECONDS
from mediakeep.model import Limits
from mediakeep.store import MediaStore

CATALOG = "catalog.db"
"""The name of the catalog in a store's folder."""

POSTGRES = ("postgresql://", "postgres://")
"""What the address of a catalog in PostgreSQL begins with."""


class FileMediaStore(MediaStore):
    """A store whose books are in memory, for one process; files stay where they lie.

    `put` writes into a folder of its own, which goes when the store is closed or its process ends. Files
    that were registered in place stay where they are when the store is closed.

    Args:
        cleaner: when refs get too old, and how often `start` has the store swept.
        clock: gives the time in seconds; by default one that setting the machine's clock cannot move.
        root: where `put` makes its folder; default :func:`temp_dir`.
        limits: what may come in, and how much.
        dedupe: whether bytes that are there already are kept once, with several refs.
        import_roots: the only folders that files are taken from, if given.
        default_ttl: how long a ref lives that is given no ttl of its own.

    >>> from mediakeep import MediaMeta
    >>> with FileMediaStore() as store:
    ...     ref = store.put(b"hello", MediaMeta(filename="hello.txt"), scope="chat:1")
    ...     path = store.resolve(ref)
    ...     print(path.read_text())
    ...     store.release_all("chat:1")
    ...     print(path.exists())
    hello
    False
    """

    __slots__ = ()

    def __init__(
        self,
        *,
        cleaner: MediaCleanerConfig | None = None,
        clock: Clock | None = None,
        root: str | os.PathLike[str] | None = None,
        limits: Limits | None = None,
        dedupe: bool = False,
        import_roots: Iterable[str | os.PathLike[str]] | None = None,
        default_ttl: timedelta | float | None = None,
    ) -> None:
        super().__init__(
            MemoryCatalog(clock),
            TemporaryBlobs(root),
            cleaner=cleaner,
            limits=limits,
            dedupe=dedupe,
            import_roots=import_roots,
            default_ttl=default_ttl,
        )


def is_store(where: str | os.PathLike[str]) -> bool:
    """Return whether there is a store in the folder `where`, so that `open_store` would not make one."""
    return os.path.isfile(os.path.join(os.fsdecode(where), CATALOG))


def open_store(
    where: str | os.PathLike[str],
    *,
    blobs: str | os.PathLike[str] | None = None,
    cleaner: MediaCleanerConfig | None = None,
    clock: Clock | None = None,
    limits: Limits | None = None,
    fsync: bool = True,
    dedupe: bool | None = None,
    import_roots: Iterable[str | os.PathLike[str]] | None = None,
    default_ttl: timedelta | float | None = None,
    lease_seconds: float = LEASE_SECONDS,
    timeout: float = 60.0,
    folder_mode: int = 0o700,
    file_mode: int = 0o600,
) -> MediaStore:
    """Open the store at `where`, and make it if it is not there yet.

    A folder holds a store that outlives the process: `catalog.db` and `blobs/`. `"memory:"` keeps the
    books in memory and bytes in a temporary folder that goes with the process. A `postgresql://…`
    address keeps the books in that database, for many machines that share the folder `blobs`; it needs
    the extra `mediakeep[postgres]`.

    Args:
        where: a folder, `"memory:"`, or the address of a PostgreSQL database.
        blobs: another folder for the bytes; it must then be given each time.
        cleaner: when refs get too old, and how often `start` has the store swept.
        clock: gives the time in seconds since the epoch.
        limits: what may come in, and how much.
        fsync: whether what returned survives a loss of power. Without it everything still survives the
            death of the process.
        dedupe: whether bytes that are there already are kept once, with several refs; by default in a
            folder, and not in memory.
        import_roots: the only folders that files are taken from, by `store` and by `put` of a path; by
            default all are. Where a path leads is checked, symlinks and all.
        default_ttl: how long a ref lives that is given no ttl of its own, as a timedelta or in seconds.
        lease_seconds: how long a lease outlives a process that died with it.
        timeout: how many seconds a writer waits for its turn among threads and processes.
        folder_mode: permissions of the folders it makes.
        file_mode: permissions of the files it makes.

    Raises:
        CatalogError: the folder cannot be used, or what is there is not a catalog, is damaged, or is of
            a newer version. It is untouched.
        ValueError: `where` is of no kind that this version knows.

    >>> import tempfile
    >>> folder = tempfile.mkdtemp()
    >>> with open_store(folder) as store:
    ...     ref = store.put(b"hello", scope="chat:1")
    >>> with open_store(folder) as store:
    ...     store.read_bytes(ref)
    b'hello'
    """
    place = os.fsdecode(where)
    if place == "memory:":
        return FileMediaStore(
            cleaner=cleaner,
            clock=clock,
            root=blobs,
            limits=limits,
            dedupe=bool(dedupe),
            import_roots=import_roots,
            default_ttl=default_ttl,
        )
    shared = place.startswith(POSTGRES)
    if not shared and (not place or "://" in place or (place.endswith(":") and os.sep not in place)):
        raise ValueError(f"{place!r} is no store: give a folder, 'memory:', or a postgresql:// address")
    if blobs is not None and "://" in os.fsdecode(blobs):
        raise ValueError(f"blobs={os.fsdecode(blobs)!r} is no folder")
    if shared and blobs is None:
        raise ValueError("a store in PostgreSQL needs blobs=…: a folder that all its machines share")
    folder = Path(place)
    kept_in = folder / "blobs" if blobs is None else Path(blobs)
    for made in (kept_in.parent,) if shared else (folder, kept_in.parent):
        try:
            made.mkdir(folder_mode, parents=True, exist_ok=True)
        except OSError as error:
            raise CatalogError(
                f"cannot make the store's folder {str(made)!r}: {error.strerror}"
            ) from error
    catalog = _catalog(place, clock, fsync=fsync, timeout=timeout)
    try:
        return MediaStore(
            catalog,
            LocalBlobs(
                kept_in,
                fsync=fsync,
                territory=folder if blobs is None else None,
                folder_mode=folder_mode,
                file_mode=file_mode,
            ),
            cleaner=cleaner,
            limits=limits,
            dedupe=dedupe is not False,
            import_roots=import_roots,
            default_ttl=default_ttl,
            lease_seconds=lease_seconds,
        )
    except BaseException:
        catalog.close()
        raise


def _catalog(place: str, clock: Clock | None, *, fsync: bool, timeout: float) -> Catalog:
    # Only here, so that nobody pays for a catalog that he does not use.
    if place.startswith(POSTGRES):
        from mediakeep.catalogs.postgres import PostgresCatalog

        return PostgresCatalog(place, clock, timeout=timeout)
    from mediakeep.catalogs.sqlite import SqliteCatalog

    return SqliteCatalog(Path(place, CATALOG), clock, fsync=fsync, timeout=timeout)
