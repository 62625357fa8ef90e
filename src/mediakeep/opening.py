"""From a word to a store: `open_store`, and the store in memory."""

import os
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

from mediakeep.addresses import BUCKETS, SERVERS, in_bucket, in_database, is_odd, is_odd_for_bytes
from mediakeep.blobs import Blobs
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
    token: str | None = None,
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
    catalog_options: Mapping[str, Any] | None = None,
    blob_options: Mapping[str, Any] | None = None,
) -> MediaStore:
    """Open the store at `where`, and make it if it is not there yet.

    A folder holds a store that outlives the process: `catalog.db` and `blobs/`. `"memory:"` keeps the
    books in memory and bytes in a temporary folder that goes with the process. A `postgresql://…`
    address keeps the books in that database, for many machines that share `blobs`; it needs the extra
    `mediakeep[postgres]`. An `http://…` or `https://…` address is that of a server (`mediakeep serve`);
    it needs the extra `mediakeep[client]`, and gives a :class:`~mediakeep.remote.HTTPMediaStore`. What
    comes in there, for how long and under which limits is then for the server to say.

    Args:
        where: a folder, `"memory:"`, or the address of a PostgreSQL database or of a server.
        token: for a server that wants one: what `mediakeep token create` printed.
        blobs: another place for the bytes, which must then be given each time: a folder, or a bucket
            as `s3://bucket/prefix`, `gs://…` or `az://…`, which needs the extra `mediakeep[objects]`.
        cleaner: when refs get too old, and how often `start` has the store swept.
        clock: gives the time in seconds since the epoch.
        limits: what may come in, and how much.
        fsync: whether what returned survives a loss of power. Without it everything still survives the
            death of the process.
        dedupe: whether bytes that are there already are kept once, with several refs; by default
            everywhere but in memory.
        import_roots: the only folders that files are taken from, by `store` and by `put` of a path; by
            default all are. Where a path leads is checked, symlinks and all.
        default_ttl: how long a ref lives that is given no ttl of its own, as a timedelta or in seconds.
        lease_seconds: how long a lease outlives a process that died with it.
        timeout: how many seconds a writer waits for its turn among threads and processes, or how long
            a server may be silent.
        folder_mode: permissions of the folders it makes.
        file_mode: permissions of the files it makes.
        catalog_options: for PostgreSQL: `schema`, `pool_size`, `history_seconds`, `host`; see
            :class:`~mediakeep.catalogs.postgres.PostgresCatalog`.
        blob_options: for a bucket: `cache`, `cache_bytes`, `writer_seconds`, and what obstore takes,
            such as `endpoint` and `region`; see :class:`~mediakeep.blobs.objects.ObjectBlobs`. For a
            server: `cache` and `cache_bytes`.

    Raises:
        CatalogError: the folder cannot be used, or what is there is not a catalog, is damaged, or is of
            a newer version. It is untouched.
        ValueError: `where` is of no kind that this version knows, or an option is not for it.

    >>> import tempfile
    >>> folder = tempfile.mkdtemp()
    >>> with open_store(folder) as store:
    ...     ref = store.put(b"hello", scope="chat:1")
    >>> with open_store(folder) as store:
    ...     store.read_bytes(ref)
    b'hello'
    """
    place = os.fsdecode(where)
    kept_in = None if blobs is None else os.fsdecode(blobs)
    shared = in_database(place)
    if place.startswith(SERVERS):
        of_the_server = {
            "blobs": blobs is not None,
            "cleaner": cleaner is not None,
            "clock": clock is not None,
            "limits": limits is not None,
            "dedupe": dedupe is not None,
            "catalog_options": bool(catalog_options),
        }
        for name, given in of_the_server.items():
            if given:
                raise ValueError(f"{name} is for the server to say, and not for those who ask it")
        from mediakeep.remote import HTTPMediaStore

        return HTTPMediaStore(
            place,
            token=token,
            import_roots=import_roots,
            default_ttl=default_ttl,
            lease_seconds=lease_seconds,
            timeout=timeout,
            **(blob_options or {}),
        )
    if token is not None:
        raise ValueError("a token is for a server, at an http:// or https:// address")
    _check_options(place, kept_in, catalog_options, blob_options)
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
    if not shared:
        _make_folder(place, folder_mode)
    with ExitStack() as opened:
        bytes_in: Blobs
        if kept_in is not None and in_bucket(kept_in):
            # Only here, as with the catalogs, so that nobody pays for what he does not use.
            from mediakeep.blobs.objects import ObjectBlobs

            bytes_in = ObjectBlobs(kept_in, **(blob_options or {}))
        else:
            folder = os.path.join(place, "blobs") if kept_in is None else kept_in
            _make_folder(os.path.dirname(os.path.abspath(folder)), folder_mode)
            bytes_in = LocalBlobs(
                folder,
                fsync=fsync,
                territory=place if kept_in is None else None,
                folder_mode=folder_mode,
                file_mode=file_mode,
            )
        opened.callback(bytes_in.close)
        catalog: Catalog
        if shared:
            from mediakeep.catalogs.postgres import PostgresCatalog

            catalog = PostgresCatalog(place, clock, timeout=timeout, **(catalog_options or {}))
        else:
            from mediakeep.catalogs.sqlite import SqliteCatalog

            catalog = SqliteCatalog(Path(place, CATALOG), clock, fsync=fsync, timeout=timeout)
        opened.callback(catalog.close)
        store = MediaStore(
            catalog,
            bytes_in,
            cleaner=cleaner,
            limits=limits,
            dedupe=dedupe is not False,
            import_roots=import_roots,
            default_ttl=default_ttl,
            lease_seconds=lease_seconds,
        )
        opened.pop_all()
        return store


def _check_options(
    place: str,
    kept_in: str | None,
    catalog_options: Mapping[str, Any] | None,
    blob_options: Mapping[str, Any] | None,
) -> None:
    """Raise ValueError unless a store can be there, and its bytes too."""
    shared, bucket = in_database(place), in_bucket(kept_in)
    if is_odd(place) and place != "memory:":
        raise ValueError(
            f"{place!r} is no store: give a folder, 'memory:', or a postgresql:// address, or "
            "the http:// one of a server"
        )
    if kept_in is not None and is_odd_for_bytes(kept_in):
        raise ValueError(
            f"blobs={kept_in!r} is no place for bytes: give a folder, or a bucket ({', '.join(BUCKETS)})"
        )
    if shared and kept_in is None:
        raise ValueError(
            "a store in PostgreSQL needs blobs=…: a bucket, or a folder that all its machines share"
        )
    if bucket and place == "memory:":
        raise ValueError(
            "a store in memory would leave its bytes in the bucket when its process dies: "
            "keep the books in a folder or in PostgreSQL"
        )
    if catalog_options and not shared:
        raise ValueError("catalog_options are for a postgresql:// address")
    if blob_options and not bucket:
        raise ValueError("blob_options are for blobs in a bucket")


def _make_folder(folder: str, mode: int) -> None:
    try:
        os.makedirs(folder, mode, exist_ok=True)
    except OSError as error:
        raise CatalogError(f"cannot make the store's folder {folder!r}: {error.strerror}") from error
