"""Connections to a PostgreSQL database: pooled, tried again where that is safe, forkable."""

import logging
import os
import random
import re
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, TypeVar

from mediakeep.errors import CatalogError

try:
    import psycopg
    from psycopg import errors as pg
    from psycopg.conninfo import conninfo_to_dict, make_conninfo
    from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout
except ImportError as missing:  # psycopg raises it too where there is no libpq
    raise ImportError(
        'a catalog in PostgreSQL needs psycopg and psycopg_pool: pip install "mediakeep[postgres]"'
    ) from missing

logger = logging.getLogger("mediakeep.catalogs.postgres")

T = TypeVar("T")
UniqueViolation = pg.UniqueViolation
Connection = psycopg.Connection[tuple[Any, ...]]
Cursor = psycopg.Cursor[tuple[Any, ...]]
Values = Mapping[str, Any]

ATTEMPTS = 8
"""How often one verb is tried where the server is lost or somebody is in the way..."""
FIRST_PAUSE_SECONDS = 0.05
"""...and how long it waits after the first; twice as long after each further one."""

RECONNECT_SECONDS = 2.0
"""For how long the pool tries to connect in the background, until it is asked again."""

LATE_FACTOR = 1.25
"""How much longer than the server is told to take a statement is waited for."""

ASK_SECONDS = 1.0
"""How long it waits for a connection of the pool before it asks why there is none."""

SCHEMA_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")

_SETTINGS = """
    SELECT set_config('lock_timeout', %(timeout)s, false),
           set_config('statement_timeout', %(timeout)s, false),
           set_config('idle_in_transaction_session_timeout', '0', false),
           set_config('default_transaction_isolation', 'read committed', false),
           set_config('default_transaction_read_only', 'off', false)
"""

# What may go well the next time. A server that cannot write is a replica that we were sent to.
_PASSING = (
    pg.SerializationFailure,
    pg.DeadlockDetected,
    pg.LockNotAvailable,
    pg.QueryCanceled,
    pg.ReadOnlySqlTransaction,
    pg.IdleInTransactionSessionTimeout,
)

_databases: "weakref.WeakSet[Database]" = weakref.WeakSet()
_of_the_parent: list[object] = []  # pools that a child must not even finalise


class Database:
    """The database at `url`, with the catalog's tables in `schema`.

    Connections are in autocommit mode. Each of them waits at most `timeout` seconds for a lock or a
    statement, reads what is committed, and is not cut off while it is idle in a transaction: deletions
    run under its locks.

    Args:
        url: a URL or a connection string of libpq.
        schema: the schema's name.
        timeout: how many seconds a statement, or a wait for a connection or a lock, may take.
        pool_size: how many connections this process may have.

    Raises:
        ValueError: one of them cannot be what it should be.
    """

    def __init__(self, url: str, schema: str, *, timeout: float, pool_size: int) -> None:
        if not SCHEMA_NAME.fullmatch(schema) or schema.startswith("pg_"):
            raise ValueError(
                f"{schema!r} cannot be the schema of a catalog: give up to 63 small letters, digits "
                "and underscores, not beginning with a digit or 'pg_'"
            )
        if not (type(pool_size) is int and pool_size > 0):
            raise ValueError(f"pool_size must be a positive whole number, not {pool_size!r}")
        if not 0 < timeout < 86_400:
            raise ValueError(f"timeout must be a positive number of seconds, not {timeout!r}")
        try:
            said = conninfo_to_dict(url)
        except psycopg.Error as error:
            # Not the URL itself: it may hold a password.
            raise ValueError(f"the URL of the database cannot be read: {error}") from None
        self.schema = schema
        self.timeout = timeout
        self._pool_size = pool_size
        self._where = f"PostgreSQL database {said.get('dbname', '(default)')!r} on " + str(
            said.get("host", "this machine")
        )
        # What a dead network takes to be noticed, unless the URL says otherwise.
        usual: dict[str, Any] = {
            "application_name": "mediakeep",
            "connect_timeout": 10,
            "keepalives_idle": 15,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": int(timeout * 1000),
        }
        self._conninfo = make_conninfo(url, **{k: v for k, v in usual.items() if k not in said})
        self._statements: dict[str, str] = {}
        self._lock = threading.Lock()
        self._pool: ConnectionPool[Connection] | None = None
        self._connections: weakref.WeakSet[Connection] = weakref.WeakSet()
        self._lent: set[Connection] = set()
        self._closed = False
        _databases.add(self)

    # -- statements

    def sql(self, statement: str) -> str:
        """Return the statement for the schema of this catalog."""
        found = self._statements.get(statement)
        if found is None:
            found = statement.replace("mediakeep.", f'"{self.schema}".')
            self._statements[statement] = found
        return found

    def rows(self, statement: str, values: Values | None = None) -> list[tuple[Any, ...]]:
        """Return the rows of a statement that may be run again without harm."""
        sql = self.sql(statement)
        return self.run(lambda connection, _: connection.execute(sql, values).fetchall())

    def run(self, work: Callable[[Connection, bool], T]) -> T:
        """Return what `work` returns, with a connection; call it again if it may go better then.

        It is told whether this is another time. If so, what it did the time before may have been
        written down or not.

        Raises:
            CatalogError: it went wrong each time, or in a way that no further time mends.
        """
        until = time.monotonic() + self.timeout
        for attempt in range(1, ATTEMPTS + 1):
            try:
                pool, connection = self._lend()
                try:
                    return work(connection, attempt > 1)
                finally:
                    self._take_back(pool, connection)
            except psycopg.Error as error:
                self._pause(error, attempt, until)
        raise AssertionError("the last attempt returns or raises")

    def transact(self, work: Callable[[Connection], T]) -> T:
        """Return what `work` returns, having run it as one transaction exactly once.

        If the connection is lost while it is committed, the server is asked later whether it was
        (https://www.postgresql.org/docs/current/functions-info.html, `pg_xact_status`).
        """
        until = time.monotonic() + self.timeout
        for attempt in range(1, ATTEMPTS + 1):
            transaction: str | None = None
            try:
                pool, connection = self._lend()
                try:
                    with connection.transaction():
                        result = work(connection)
                        ((transaction,),) = connection.execute(
                            "SELECT pg_current_xact_id_if_assigned()::text"
                        ).fetchall()
                    return result
                finally:
                    self._take_back(pool, connection)
            except psycopg.Error as error:
                if transaction is not None and _is_loss(error) and self._went_through(transaction):
                    return result
                self._pause(error, attempt, until)
        raise AssertionError("the last attempt returns or raises")

    def _went_through(self, transaction: str) -> bool:
        """Return whether a transaction was committed, once it is not under way any more."""
        until = time.monotonic() + self.timeout
        while True:
            try:
                ((status,),) = self.rows(
                    "SELECT pg_xact_status(%(it)s::text::xid8)", {"it": transaction}
                )
            except CatalogError as error:
                if isinstance(error.__cause__, pg.InvalidParameterValue):
                    return False  # a replica took over that never heard of it
                raise
            if status != "in progress":
                return bool(status == "committed")
            if time.monotonic() > until:
                raise CatalogError(
                    f"{self._where}: it is unknown whether transaction {transaction} was committed, "
                    f"since it is still under way after {self.timeout:g} s: look again later"
                )
            time.sleep(FIRST_PAUSE_SECONDS)

    def _pause(self, error: psycopg.Error, attempt: int, until: float) -> None:
        """Wait before the next attempt, or raise what the error means for the caller."""
        lost = _is_loss(error)
        if not (lost or isinstance(error, _PASSING)):
            raise self.error(error, attempt) from error
        if attempt == ATTEMPTS or time.monotonic() > until:
            raise self.error(error, attempt) from error
        if isinstance(error, pg.LockNotAvailable | pg.QueryCanceled):
            # That was a wait of `timeout` seconds, which is as long as anybody should wait.
            raise self.error(error, attempt) from error
        logger.info("%s: trying again after: %s", self._where, error, extra={"attempt": attempt})
        time.sleep(FIRST_PAUSE_SECONDS * 2 ** (attempt - 1) * random.uniform(0.7, 1.3))  # noqa: S311
        if lost and self._pool is not None:
            # The others are most likely lost too: a server that restarts closes all of them.
            with suppress(PoolClosed):
                self._pool.check()

    def error(self, error: psycopg.Error, attempts: int = 1) -> CatalogError:
        """Return what the driver's error means for the caller."""
        state = error.sqlstate or ""
        said = " ".join(str(error).split())
        tried = f" (after {attempts} attempts)" if attempts > 1 else ""
        if state in ("3F000", "42P01"):
            remedy = (
                f"the tables in schema {self.schema!r} have gone: restore them, or open the store again"
            )
        elif state == "42501":
            remedy = f"the role needs rights on the schema {self.schema!r}; docs/postgres.md lists them"
        elif state in ("55P03", "57014"):
            remedy = (
                f"somebody was in the way for {self.timeout:g} s: try again, or give a longer timeout"
            )
        elif state == "53200" and "max_locks" in said:
            remedy = (
                "nothing was changed: begin or register fewer at once, or raise the server's "
                "max_locks_per_transaction"
            )
        elif state == "54000":
            remedy = "a scope may have about 2,000 bytes in PostgreSQL: give it a shorter name"
        elif state.startswith("53"):
            remedy = "the server is short of disk, memory or connections: give it more"
        elif _is_loss(error):
            remedy = "look whether the server runs and can be reached"
        else:
            remedy = "nothing was changed"
        return CatalogError(f"{self._where}: {said or type(error).__name__}{tried}: {remedy}")

    # -- connections

    # Two steps and no context manager, which a look-up would feel.
    def _lend(self) -> tuple[ConnectionPool[Connection], Connection]:
        """Take a connection out of the pool, to which `_take_back` gives it back."""
        pool = self._pool or self._opened()
        connection = self._taken(pool)
        self._lent.add(connection)
        return pool, connection

    def _take_back(self, pool: ConnectionPool[Connection], connection: Connection) -> None:
        self._lent.discard(connection)
        pool.putconn(connection)

    def _taken(self, pool: ConnectionPool[Connection]) -> Connection:
        until = time.monotonic() + self.timeout
        wait = min(ASK_SECONDS, self.timeout)
        while True:
            try:
                return pool.getconn(wait)
            except PoolClosed:
                raise self._is_closed() from None
            except PoolTimeout as error:
                if len(self._lent) < self._pool_size:
                    # All are not in use, so it is the server. This raises what it has to say; if it
                    # has nothing, the pool only waits longer than it need.
                    with _Bounded.connect(self._conninfo, autocommit=True) as probe:
                        self._configure(probe)
                elif time.monotonic() > until:
                    raise CatalogError(
                        f"{self._where}: all {self._pool_size} connections of this process were in use "
                        f"for {self.timeout:g} s: give a larger pool_size, or do less at once"
                    ) from error
                wait = max(0.01, min(ASK_SECONDS, until - time.monotonic()))

    def _opened(self) -> ConnectionPool[Connection]:
        with self._lock:
            if self._closed:
                raise self._is_closed()
            if self._pool is None:
                pool: ConnectionPool[Connection] = ConnectionPool(
                    self._conninfo,
                    connection_class=_Bounded,
                    min_size=0,
                    max_size=self._pool_size,
                    kwargs={"autocommit": True, "client_encoding": "utf8"},
                    configure=self._configure,
                    timeout=self.timeout,
                    reconnect_timeout=RECONNECT_SECONDS,
                    num_workers=1,
                    name="mediakeep",
                    open=True,
                )
                self._pool = pool
            return self._pool

    def _configure(self, connection: Connection) -> None:
        assert isinstance(connection, _Bounded)  # noqa: S101 (the pool's class)
        connection.bound_seconds = self.timeout * LATE_FACTOR + 1
        connection.execute(_SETTINGS, {"timeout": str(max(1, int(self.timeout * 1000)))})
        self._connections.add(connection)

    def _is_closed(self) -> CatalogError:
        return CatalogError(f"{self._where}: the store is closed; open it again")

    def close(self) -> None:
        """Close every connection; a second call does nothing."""
        with self._lock:
            self._closed = True
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()

    def after_fork_in_child(self) -> None:
        """Leave the parent's connections to the parent; the child opens its own when it needs one."""
        _of_the_parent.append(self._pool)
        for connection in list(self._connections):
            _of_the_parent.append(connection)
            if not connection.closed:
                # To close it would end the parent's session: the child's end goes nowhere instead.
                nowhere = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
                os.dup2(nowhere, connection.fileno(), inheritable=False)
                os.close(nowhere)
        self._lock = threading.Lock()
        self._pool = None
        self._connections = weakref.WeakSet()
        self._lent = set()


class _Bounded(psycopg.Connection[tuple[Any, ...]]):
    """A connection that gives a server up which takes too long to answer.

    The server itself ends a statement in time. If nothing is heard of that, it hangs, or what is between
    it and us swallows what is said, and no timeout of TCP need notice.
    """

    bound_seconds: float | None = None

    def wait(self, gen: Any, *arguments: Any, **options: Any) -> Any:
        if self.bound_seconds is not None:
            gen = self._bounded(gen, self.bound_seconds)
        return super().wait(gen, *arguments, **options)

    def _bounded(self, gen: Any, seconds: float) -> Any:
        """Do what `gen` does, step by step: psycopg comes back here several times a second."""
        until = time.monotonic() + seconds
        try:
            waits_for = next(gen)
            while True:
                ready = yield waits_for
                if not ready and time.monotonic() > until:
                    self.pgconn.finish()
                    raise psycopg.OperationalError(f"no answer for {seconds:.3g} s")
                waits_for = gen.send(ready)
        except StopIteration as end:
            return end.value


def _is_loss(error: psycopg.Error) -> bool:
    """Return whether the server was lost, so that it is unknown what became of the statement."""
    state = error.sqlstate or ""
    if isinstance(error, psycopg.OperationalError) and not state:
        return True
    return state.startswith("08") or state in ("57P01", "57P02", "57P03", "57P05", "25P03")


def _after_fork_in_child() -> None:
    for database in list(_databases):
        database.after_fork_in_child()


os.register_at_fork(after_in_child=_after_fork_in_child)
