"""The SQLite file of a catalog: opening it safely, reading and writing it from many processes.

Write transactions and checkpoints take turns under one lock between processes
(:meth:`LockFile.turn`), and SQLite never checkpoints on its own. So no commit ever runs beside a
checkpoint, which closes the WAL-reset bug of SQLite 3.7.0 to 3.51.2 (https://sqlite.org/wal.html
#walresetbug) by construction, and nobody sleeps in SQLite's busy handler. Readers take no lock of ours.
"""

import logging
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress

from mediakeep.catalogs.lockfile import (
    LockFile,
    after_fork_in_child,
    after_fork_in_parent,
    before_fork,
)
from mediakeep.errors import CatalogError
from mediakeep.files import sync_folder

APPLICATION_ID = 0x6D6B6570  # "mkep", at offset 68 of the file
OLDEST_SQLITE = (3, 38, 0)  # RETURNING, STRICT, ->>

CHECKPOINT_EVERY = 500
"""Transactions of this process between two checkpoints..."""
ROWS_AT_ONCE = 16
"""...where so many rows that change in one transaction count as another."""

LONG_LOG = 16_000
"""Pages in the write-ahead log (4 KiB each) from which on a checkpoint waits for readers..."""
READERS_MILLISECONDS = 200
"""...and for how long."""

FORK_SECONDS = 5.0
"""How long a fork waits for what is being read or written."""

_FOREIGN = "it is not an SQLite file, or a damaged one: move it away, or restore it from a backup"

logger = logging.getLogger("mediakeep.catalogs.sqlite")

_files: "weakref.WeakSet[SqliteFile]" = weakref.WeakSet()


class SqliteFile:
    """Connections to the catalog at `path`: any number of readers, and one writer per process.

    SQLite's own locks are POSIX record locks too, with the traps that :mod:`.lockfile` tells of. So
    nothing here opens the file but SQLite, and no connection is open while the process forks: a child
    would take locks for held that its parent holds (https://sqlite.org/howtocorrupt.html, sections 2.2
    and 2.6).

    Args:
        path: the file; its folder must exist.
        schema: the SQL that makes a new one, all in one.
        migrations: the statements that bring a file of an older version to the next one.
        version: what `schema` makes, kept as the file's `user_version`.
        fsync: whether a transaction survives a loss of power once it is committed.
        timeout: how many seconds a writer waits for its turn.

    Raises:
        CatalogError: the file is not a catalog, is damaged, or is of a newer version. It is untouched.
    """

    __slots__ = (
        "__weakref__", "_closed", "_forking", "_fsync", "_identity", "_idle", "_path", "_readers",
        "_unsaved", "_writer", "locks", "timeout",
    )  # fmt: skip

    def __init__(
        self,
        path: str,
        schema: str,
        version: int,
        migrations: Mapping[int, Sequence[str]],
        *,
        fsync: bool,
        timeout: float,
    ) -> None:
        if sqlite3.sqlite_version_info < OLDEST_SQLITE:
            raise CatalogError(
                f"SQLite {sqlite3.sqlite_version} is too old: use a Python that has 3.38 or newer"
            )
        self._path = path
        self._fsync = fsync
        self.timeout = timeout
        self._idle: list[sqlite3.Connection] = []
        self._readers: set[object] = set()
        self._writer: sqlite3.Connection | None = None
        self._unsaved = 0
        self._closed = False
        self._forking: threading.Event | None = None
        with self.wrapping():
            self.locks = LockFile.use(f"{path}.lock")
        try:
            with self.wrapping(), self.locks.opening(timeout):
                if not os.path.exists(path):
                    self._make(schema, version)
                elif not os.path.getsize(path):
                    raise CatalogError(f"{path} is empty: {_FOREIGN}")
                self._identity = _identity(path)
                connection = self.borrow()
                try:
                    found = self._check(connection, version)
                    connection.execute("PRAGMA journal_mode=WAL")
                finally:
                    self.give_back(connection)
            if found < version:
                self._migrate(version, migrations)
        except BaseException:
            self.close()
            raise
        _files.add(self)

    # -- opening

    def _make(self, schema: str, version: int) -> None:
        """Make the file under another name and give it its own when it is whole."""
        fresh = f"{self._path}.new"
        try:
            _remove(fresh, f"{fresh}-journal")
            os.close(os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            connection = sqlite3.connect(fresh, isolation_level=None)
            try:
                connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
                connection.executescript(f"BEGIN; {schema}; PRAGMA user_version={version}; COMMIT")
            finally:
                connection.close()
            os.rename(fresh, self._path)
        except BaseException:
            _remove(fresh, f"{fresh}-journal")
            raise
        if self._fsync:
            sync_folder(os.path.dirname(self._path))

    def _check(self, connection: sqlite3.Connection, version: int) -> int:
        """Return the version; refuse what is not ours. So far nothing but the header has been read."""
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        found: int = connection.execute("PRAGMA user_version").fetchone()[0]
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if application != APPLICATION_ID:
            raise CatalogError(
                f"{self._path} is an SQLite file, but not a mediakeep catalog: "
                "open the store in another folder"
            )
        if found > version:
            raise CatalogError(
                f"{self._path} was written by a newer mediakeep (schema {found}; this one knows up "
                f"to {version}): upgrade mediakeep"
            )
        return found

    def _migrate(self, version: int, migrations: Mapping[int, Sequence[str]]) -> None:
        """Bring the file to `version` in one transaction, unless another process has just done so."""
        with self.write() as db:
            found = self._check(db, version)
            for older in range(found, version):
                for statement in migrations[older]:
                    db.execute(statement)
            if found < version:
                db.execute(f"PRAGMA user_version={version}")

    def _connect(self) -> sqlite3.Connection:
        if self._closed:
            raise CatalogError(f"{self._path}: the store is closed; open it again")
        connection = sqlite3.connect(
            f"file:{_quoted(self._path)}?mode=rw",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            timeout=self.timeout,  # for foreign writers, such as a person with the sqlite3 shell
        )
        try:
            connection.execute("PRAGMA foreign_keys=ON")
            connection.execute("PRAGMA wal_autocheckpoint=0")
            connection.execute(f"PRAGMA synchronous={'FULL' if self._fsync else 'NORMAL'}")
        except BaseException:  # the file is no database, for one
            connection.close()
            raise
        return connection

    # -- reading

    def borrow(self) -> sqlite3.Connection:
        """Return a connection to read with; `give_back` it."""
        try:
            return self._idle.pop()
        except IndexError:
            pass
        opening = object()  # known before it is open, so that a fork waits for it
        self._readers.add(opening)
        try:
            while (forking := self._forking) is not None:
                self._readers.discard(opening)
                forking.wait(FORK_SECONDS)
                self._readers.add(opening)
            with self.wrapping():
                connection = self._connect()
            self._readers.add(connection)
            return connection
        finally:
            self._readers.discard(opening)

    def give_back(self, connection: sqlite3.Connection) -> None:
        """Keep a borrowed connection for the next reader."""
        if self._closed or self._forking is not None:
            connection.close()
            self._readers.discard(connection)
        else:
            self._idle.append(connection)

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection for statements that only read, each one a transaction."""
        connection = self.borrow()
        try:
            with self.wrapping():
                yield connection
        finally:
            self.give_back(connection)

    # -- writing

    @contextmanager
    def holding(self, locations: Iterable[str]) -> Iterator[None]:
        """Keep every other thread and process off `locations` while the block runs."""
        with ExitStack() as held:
            with self.wrapping():
                held.enter_context(self.locks.holding(locations, self.timeout))
            yield

    @contextmanager
    def write(self, *, lazily: bool = False) -> Iterator[sqlite3.Connection]:
        """Run the block as one transaction, in turn with all other writers.

        A transaction that may be lost with the power, because it would only be done again, is written
        `lazily`.
        """
        with self.wrapping(), self.locks.turn(self.timeout):
            connection = self._writer
            if connection is None or self._closed:
                connection = self._writer = self._connect()
            self._check_still_there()
            before = connection.total_changes
            try:
                if lazily and self._fsync:
                    connection.execute("PRAGMA synchronous=NORMAL")
                connection.execute("BEGIN IMMEDIATE")
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            finally:
                if lazily and self._fsync:
                    connection.execute("PRAGMA synchronous=FULL")
            self._unsaved += 1 + (connection.total_changes - before) // ROWS_AT_ONCE
            if self._unsaved >= CHECKPOINT_EVERY:
                self._checkpoint(connection)

    def _check_still_there(self) -> None:
        """Refuse to write into a file that has lost its name: what is written there is lost."""
        with suppress(FileNotFoundError):
            if _identity(self._path) == self._identity and self.locks.is_still_there():
                return
        raise CatalogError(
            f"{self._path} or its lock was removed, moved or replaced while it was open: "
            "nothing was changed; close the store and open it again"
        )

    def _checkpoint(self, connection: sqlite3.Connection) -> None:
        """Move what is committed into the main file; called in our turn, so beside no commit."""
        self._unsaved = 0
        try:
            _, frames, _ = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            if frames > LONG_LOG:
                # Readers have kept the log from starting over; wait for them, but not for long.
                connection.execute(f"PRAGMA busy_timeout={READERS_MILLISECONDS}")
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
                connection.execute(f"PRAGMA busy_timeout={int(self.timeout * 1000)}")
        except sqlite3.Error as error:
            # What was to be written is committed; the log only stays longer.
            logger.warning("%s: no checkpoint now: %s", self._path, error, extra={"path": self._path})

    @contextmanager
    def wrapping(self) -> Iterator[None]:
        """Turn the driver's and the disk's errors into one that names the file."""
        try:
            yield
        except sqlite3.Error as error:
            raise self.error(error) from error
        except OSError as error:
            raise CatalogError(f"{self._path}: {error.strerror or error}") from error

    def error(self, error: sqlite3.Error) -> CatalogError:
        """Return what the driver's error means for the caller."""
        name = getattr(error, "sqlite_errorname", "")
        remedy = {
            "SQLITE_FULL": "free some space",
            "SQLITE_READONLY": "the user who runs this must be able to write it and its folder",
            "SQLITE_CANTOPEN": "the folder must exist and be writable for the user who runs this",
            "SQLITE_BUSY": "another program keeps it locked",
            "SQLITE_CORRUPT": "it is damaged: restore it from a backup",
            "SQLITE_NOTADB": _FOREIGN,
        }.get("_".join(name.split("_")[:2]), "nothing was changed")
        return CatalogError(f"{self._path}: {error} ({name or 'driver error'}): {remedy}")

    # -- ends

    def close(self) -> None:
        """Close every connection; a second call does nothing."""
        if self._closed:
            return
        self._closed = True
        self._close_idle()
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        self.locks.leave()

    def _close_idle(self) -> None:
        with suppress(IndexError):
            while True:
                connection = self._idle.pop()
                connection.close()
                self._readers.discard(connection)

    # -- forks

    def before_fork(self) -> None:
        """Close every connection, having waited for those in use, and let nobody open one."""
        self._forking = threading.Event()
        until = time.monotonic() + FORK_SECONDS
        while self._readers and time.monotonic() < until:
            self._close_idle()
            if self._readers:
                time.sleep(0.0005)
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def after_fork(self) -> None:
        """Let everybody go on, in parent and child."""
        forking, self._forking = self._forking, None
        if forking is not None:
            forking.set()


def _identity(path: str) -> tuple[int, int]:
    found = os.stat(path)
    return found.st_dev, found.st_ino


def _remove(*paths: str) -> None:
    for path in paths:
        with suppress(OSError):
            os.unlink(path)


def _quoted(path: str) -> str:
    """Return `path` for an SQLite URI, in which ? # and % have a meaning of their own."""
    return path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")


def _before_fork() -> None:
    before_fork()  # no transaction is under way from here on
    for file in list(_files):
        file.before_fork()


def _after_fork_in_parent() -> None:
    for file in list(_files):
        file.after_fork()
    after_fork_in_parent()


def _after_fork_in_child() -> None:
    after_fork_in_child()
    for file in list(_files):
        file.after_fork()


os.register_at_fork(
    before=_before_fork,
    after_in_parent=_after_fork_in_parent,
    after_in_child=_after_fork_in_child,
)
