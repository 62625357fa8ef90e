"""Judges a fleet's store from outside, by psycopg and obstore alone: nothing here knows mediakeep."""

import hashlib
import re
import time
from collections.abc import Iterator
from typing import NamedTuple

import obstore
import psycopg
from obstore.store import S3Store
from psycopg import sql

KEY = re.compile(r"(?:[0-9a-f]{2}|kept)/[0-9a-f]{32}")
PATIENCE = 60.0


class Live(NamedTuple):
    """A live ref as the books have it."""

    ref: str
    scope: str
    key: str
    owned: bool
    size: int
    sha256: str
    expires: bool


class Books(NamedTuple):
    """What the books say of blobs."""

    refs: dict[str, Live]
    keys: dict[str, tuple[int, str]]
    """Size and sha256 of every location, condemned ones too."""
    live: set[str]
    """What a ref names, or what was made of it."""
    condemned: set[str]
    leases: int
    faults: list[str]
    """What contradicts itself in them."""


class Judge:
    """Sees one schema of a database and one prefix of a bucket.

    Args:
        url: of the database, straight to it.
        schema: of the catalog.
        bucket: its name, and the prefix.
        options: of obstore, straight to the service.
    """

    def __init__(self, url: str, schema: str, bucket: str, options: dict[str, str]) -> None:
        self._connection = psycopg.connect(url, autocommit=True, application_name="judge")
        self._schema = schema
        name, _, prefix = bucket.partition("/")
        self.bucket = S3Store(name, prefix=prefix, client_options={"allow_http": True}, **options)

    # -- what is there

    def books(self) -> Books:
        """Read the books, all of one moment."""
        with self._connection.transaction():
            self.ask("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            return self._read()

    def objects(self) -> dict[str, int]:
        """Return the names and sizes of all objects of the prefix."""
        return {it["path"]: it["size"] for page in obstore.list(self.bucket) for it in page}

    def ask(self, statement: str) -> list[tuple]:
        """Return the rows of a statement, in which `{s}` is the schema."""
        name = sql.Identifier(self._schema)
        found = self._connection.execute(sql.SQL(statement).format(s=name))
        return found.fetchall() if found.description else []

    def _read(self) -> Books:
        places = self.ask(
            "SELECT id, location, owned, size, sha256, condemned IS NOT NULL, variant_of"
            " FROM {s}.locations WHERE host = ''",
        )
        rows = self.ask(
            "SELECT ref::text, location_id, scope, expires_at IS NOT NULL FROM {s}.refs",
        )
        by_number = {place[0]: place for place in places}
        refs, live = {}, set()
        for ref, number, scope, expires in rows:
            if number not in by_number:
                continue  # a file of a host
            _, location, owned, size, sha256, _, _ = by_number[number]
            refs[f"media://{ref}"] = Live(
                f"media://{ref}", scope, location.decode(), owned, size, sha256, expires
            )
            live.add(number)
        live |= {it[0] for it in places if it[6] in live and not it[5]}
        names = {number: place[1].decode() for number, place in by_number.items()}
        condemned = {it[0] for it in places if it[5]}
        faults = [f"{names[it]} is condemned, and a ref names it" for it in condemned & live]
        faults += [
            f"{names[it]} has no ref, and is not condemned" for it in by_number.keys() - condemned - live
        ]
        said = self.ask("SELECT sum(files), sum(size) FROM {s}.totals")
        found = self.ask("SELECT count(*), coalesce(sum(size), 0) FROM {s}.locations")
        if said != found:
            faults.append(f"the totals say {said}, the rows add up to {found}")
        faults += [f"{what}: {row}" for what, statement in _TWICE.items() for row in self.ask(statement)]
        ((leases,),) = self.ask("SELECT count(*) FROM {s}.leases")
        return Books(
            refs,
            {names[number]: (place[3], place[4]) for number, place in by_number.items()},
            {names[it] for it in live},
            {names[it] for it in condemned},
            leases,
            faults,
        )

    # -- what is wrong with it

    def broken(self, books: Books, *, but: str = "", deep: bool = True) -> Iterator[str]:
        """Yield what nothing may bring about: live refs without their bytes, books that do not add up.

        Refs of the scope `but` had lost their bytes before. Without `deep` only names and sizes count.
        """
        yield from books.faults
        there = self.objects()
        lost = {it.key for it in books.refs.values() if but and it.scope == but}
        for key in sorted(books.live - lost):
            size, sha256 = books.keys[key]
            if key not in there:
                yield f"{key} is named by a live ref, and is not in the bucket"
            elif there[key] != size:
                yield f"{key} has {there[key]} bytes instead of {size}"
            elif deep:
                data = obstore.get(self.bucket, key).bytes()
                if hashlib.sha256(data).hexdigest() != sha256:
                    yield f"{key} has other bytes than were put"

    def leaked(self, books: Books, *, kept: int = 0) -> Iterator[str]:
        """Yield what a sweep past everybody's time leaves although nothing needs it.

        `kept` objects that the store was told never to delete, and whose refs have ended, are no leak.
        """
        yield from (f"{key} is still condemned" for key in books.condemned)
        if books.leases:
            yield f"{books.leases} leases are still in the books"
        unnamed = sorted(self.objects().keys() - books.keys.keys())
        excused = [it for it in unnamed if it.startswith("kept/")][:kept]
        yield from (f"{name} is named by nothing" for name in unnamed if name not in excused)

    # -- around it

    def wait_for_the_end(self, client: str) -> None:
        """Wait until the server has noticed that all clients with this `application_name` have gone."""
        until = time.monotonic() + PATIENCE
        while self._connection.execute(_SESSIONS, (client,)).fetchone() is not None:
            assert time.monotonic() < until, f"the sessions of {client} do not end"
            time.sleep(0.005)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def wipe(self) -> None:
        """Make it as if nothing had ever been stored."""
        with self._connection.transaction():
            for table in ("refs", "leases", "locations", "history"):
                self.ask(f"DELETE FROM {{s}}.{table}")
        names = list(self.objects())
        if names:
            obstore.delete(self.bucket, names)


_SESSIONS = "SELECT 1 FROM pg_stat_activity WHERE application_name = %s LIMIT 1"

_TWICE = {
    "one location twice": "SELECT location FROM {s}.locations"
    " GROUP BY location, host HAVING count(*) > 1",
    "one end told twice": "SELECT ref FROM {s}.history WHERE ref IS NOT NULL"
    " GROUP BY ref, location_id HAVING count(*) > 1",
    "one blob deleted twice": "SELECT location FROM {s}.history WHERE deleted_at IS NOT NULL"
    " AND get_byte(location, 0) <> 47 GROUP BY location HAVING count(*) > 1",
}
