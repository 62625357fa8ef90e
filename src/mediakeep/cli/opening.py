"""The store for the length of one command."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import click

from mediakeep.cleaner import MediaCleanerConfig
from mediakeep.cli import complain
from mediakeep.cli.address import Address
from mediakeep.opening import is_store, open_store
from mediakeep.store import MediaStore


@contextmanager
def opened(address: Address, *, make: bool, max_age: timedelta | None) -> Iterator[MediaStore]:
    """Open the store at `address` for a block; unless it may `make` one, it must be there.

    Refs without a ttl that are older than `max_age` are past their time. What the library warns of is
    shown.
    """
    cleaner = None if max_age is None else MediaCleanerConfig(max_age=max_age)
    with warnings_shown():
        if address.shared:
            check_database(address)
        if not make and not is_there(address):
            raise click.ClickException(
                f"no store at {address}: `mediakeep put` makes one, or name another with --store"
            )
        with open_store(
            address.store,
            blobs=address.blobs,
            cleaner=cleaner,
            catalog_options={"schema": address.schema} if address.schema else None,
        ) as store:
            yield store


def check_database(address: Address) -> None:
    """Refuse the address of a database that is not written as one, without a word of its password.

    Raises:
        click.ClickException: it is not.
        ImportError: psycopg is not installed.
    """
    import mediakeep.catalogs.postgres_database  # noqa: F401, I001 (names the extra, if it is missing)
    from psycopg import Error
    from psycopg.conninfo import conninfo_to_dict

    try:
        said = {name: str(value) for name, value in conninfo_to_dict(address.store).items()}
    except Error:
        said = {"host": "@"}
    odd = any("@" in said.get(name, "") for name in ("host", "dbname"))
    odd = odd or not said.get("port", "0").replace(",", "").isdecimal()
    if odd:
        # Whatever it is taken for may be part of a password.
        raise click.ClickException(
            "the address of the database cannot be read: write postgresql://user@host:port/database, "
            "and / : @ ? # % in a password as %2F %3A %40 %3F %23 %25"
        )


def is_there(address: Address) -> bool:
    """Return whether there is a store, so that opening it would not make one; raises as opening does."""
    if not address.shared:
        return is_store(address.store)
    check_database(address)
    from mediakeep.catalogs.postgres_migrations import SCHEMA, version_of

    return version_of(address.store, schema=address.schema or SCHEMA) > 0


class _Warnings(logging.Handler):
    """Shows warnings as every other complaint: in one line, safe for a terminal."""

    def emit(self, record: logging.LogRecord) -> None:
        if not hasattr(record, "attempts"):  # the commands list failed deletions themselves
            complain(record.getMessage())


@contextmanager
def warnings_shown() -> Iterator[None]:
    """Show what the library warns of while a block runs, each as one line."""
    logger, handler = logging.getLogger("mediakeep"), _Warnings(logging.WARNING)
    driver, nowhere = logging.getLogger("psycopg"), logging.NullHandler()  # its errors are told once
    logger.addHandler(handler)
    driver.addHandler(nowhere)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        driver.removeHandler(nowhere)
