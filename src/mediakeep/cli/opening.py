"""The store for the length of one command."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import click

from mediakeep.cleaner import MediaCleanerConfig
from mediakeep.cli import complain
from mediakeep.opening import is_store, open_store
from mediakeep.store import MediaStore


@contextmanager
def opened(folder: Path, *, make: bool, max_age: timedelta | None) -> Iterator[MediaStore]:
    """Open the store in `folder` for a block; unless it may `make` one, it must be there.

    Refs without a ttl that are older than `max_age` are past their time. What the library warns of is
    shown.
    """
    if not make and not is_store(folder):
        raise click.ClickException(
            f"no store at {folder}: `mediakeep put` makes one, or name another with --store"
        )
    cleaner = None if max_age is None else MediaCleanerConfig(max_age=max_age)
    with _warnings_shown(), open_store(folder, cleaner=cleaner) as store:
        yield store


class _Warnings(logging.Handler):
    """Shows warnings as every other complaint: in one line, safe for a terminal."""

    def emit(self, record: logging.LogRecord) -> None:
        if not hasattr(record, "attempts"):  # the commands list failed deletions themselves
            complain(record.getMessage())


@contextmanager
def _warnings_shown() -> Iterator[None]:
    logger, handler = logging.getLogger("mediakeep"), _Warnings(logging.WARNING)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
