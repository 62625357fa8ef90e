"""Where a store is, as it is written on a command line, and as it may be shown."""

import os
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import click

from mediakeep.addresses import BUCKETS, POSTGRES, in_bucket, in_database, is_odd, is_odd_for_bytes

if TYPE_CHECKING:
    from mediakeep.store import MediaStore


@dataclass(frozen=True, slots=True)
class Address:
    """A store: the folder or database of its books, and where its bytes are if not in that folder."""

    store: str
    blobs: str | None = None
    schema: str | None = None

    @property
    def shared(self) -> bool:
        """Whether the books are in a database."""
        return in_database(self.store)

    @property
    def in_bucket(self) -> bool:
        """Whether the bytes are in object storage."""
        return in_bucket(self.blobs)

    def check(self, *, bytes_needed: bool = True) -> "Address":
        """Return itself, if a store can be there.

        Raises:
            click.BadParameter: it cannot.
        """
        where, blobs = self.store, self.blobs
        if where == "memory:":
            raise click.BadParameter(
                "a store in memory would end with the command: give a folder, or a postgresql:// address"
            )
        if is_odd(where):
            raise click.BadParameter(
                f"{shown(where)!r} is no store: give a folder, or a postgresql:// address"
            )
        for place, here in ((where, not self.shared), (blobs, not self.in_bucket)):
            if place and here and os.path.exists(place) and not os.path.isdir(place):
                raise click.BadParameter(f"{place!r} is a file: give a folder")
        if blobs is not None and is_odd_for_bytes(blobs):
            raise click.BadParameter(
                f"{shown(blobs)!r} is no place for bytes: give a folder, or a bucket "
                f"({', '.join(BUCKETS)})"
            )
        if self.shared and blobs is None and bytes_needed:
            raise click.BadParameter(
                f"a store in PostgreSQL ({shown(where)}) needs a place for its bytes: give a bucket, or "
                "a folder that all its machines share, with --blobs"
            )
        if self.schema is not None and not self.shared:
            raise click.BadParameter("a schema goes with a postgresql:// address")
        return self

    def opened(
        self, *, make: bool = False, max_age: timedelta | None = None
    ) -> AbstractContextManager["MediaStore"]:
        """Open the store for a block, as :func:`mediakeep.cli.opening.opened` does."""
        from mediakeep.cli.opening import opened

        return opened(self.check(), make=make, max_age=max_age)

    def __str__(self) -> str:
        return shown(self.store) if self.shared else os.path.abspath(self.store)

    def bytes_shown(self) -> str:
        """Return where the bytes are, without credentials."""
        if self.blobs is None:
            return os.path.join(str(self), "blobs")
        return shown(self.blobs) if self.in_bucket else os.path.abspath(self.blobs)


def shown(place: str) -> str:
    """Return an address without password and options, a path as it is.

    The user of a database is named, and nobody else: elsewhere that may be a key.

    >>> shown("postgresql://keeper:secret@db:5432/media?sslpassword=secret")
    'postgresql://keeper@db:5432/media'
    >>> shown("./media")
    './media'
    """
    scheme, mark, rest = place.partition("://")
    if not mark:
        return place
    # The last @, since a password may hold others where nobody has encoded it.
    said, at, where = rest.rpartition("@")
    where = where.partition("?")[0].partition("#")[0]
    if not place.startswith(POSTGRES):
        return f"{scheme}://{where}"
    return f"{scheme}://{said.partition(':')[0]}{at}{where}"
