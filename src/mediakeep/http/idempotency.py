"""Idempotency keys: an upload that is sent again, since its answer was lost, is not stored again.

As the IETF draft "The Idempotency-Key HTTP Header Field" has it. What was answered is kept for a day in
an SQLite file of its own, which all workers share: a key is claimed before the upload and settled after
it. A claim of a worker that died lapses; what it had stored by then, if anything, is stored again.
"""

import asyncio
import hashlib
import json
import os
import sqlite3
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from mediakeep.errors import CatalogError
from mediakeep.http.problems import Problem, bad_request
from mediakeep.model import Entry

if TYPE_CHECKING:
    from mediakeep.http.service import Call

T = TypeVar("T")

Claimed = tuple[str, list[str] | None] | None
"""What was there for a key: what about, and the refs if it has ended. None if it is claimed now."""

KEEP_SECONDS = 86_400.0
CLAIM_SECONDS = 60.0
"""How long a claim outlives a worker that died; a living one renews it three times as often."""

LONGEST_KEY = 255

_SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (
    holder TEXT NOT NULL,          -- the id of the token
    key TEXT NOT NULL,             -- a hash of the client's
    about TEXT NOT NULL,           -- what else the request said
    refs TEXT,                     -- JSON; NULL while the upload is under way
    until REAL NOT NULL,           -- when this is forgotten, in seconds since the epoch
    PRIMARY KEY (holder, key)
) STRICT;
CREATE INDEX IF NOT EXISTS answers_until ON answers (until);
"""


class Answers:
    """What was answered to whom, in the SQLite file at `path`; None keeps it in memory.

    Its verbs block. Which of two claims comes first is decided by the one statement that writes it.
    """

    __slots__ = ("_clock", "_db")

    def __init__(self, path: Path | None, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        if path is not None:
            path.parent.mkdir(0o700, parents=True, exist_ok=True)
            os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        # One connection for all threads, which the sqlite3 module itself serialises (threadsafety 3).
        self._db = sqlite3.connect(
            ":memory:" if path is None else path,
            timeout=30,
            isolation_level=None,
            check_same_thread=False,
        )
        self._db.executescript(_SCHEMA)

    def claim(self, holder: str, key: str, about: str) -> Claimed:
        """Claim a key and return None, or return what is there: what about, and the refs if it ended."""
        now = self._clock()
        with closing(self._db.cursor()) as db:
            db.execute("DELETE FROM answers WHERE until < ?", (now,))
            # RETURNING and not `rowcount`, which is that of what any thread has done last.
            claimed = db.execute(
                "INSERT INTO answers VALUES (?, ?, ?, NULL, ?) ON CONFLICT DO NOTHING RETURNING 1",
                (holder, key, about, now + CLAIM_SECONDS),
            ).fetchone()
            if claimed is not None:
                return None
            row = db.execute(
                "SELECT about, refs FROM answers WHERE holder = ? AND key = ?", (holder, key)
            ).fetchone()
        if row is None:  # it ended in between
            return self.claim(holder, key, about)
        return row[0], None if row[1] is None else json.loads(row[1])

    def renew(self, holder: str, key: str) -> None:
        """Say that the upload is still under way."""
        self._db.execute(
            "UPDATE answers SET until = ? WHERE holder = ? AND key = ? AND refs IS NULL",
            (self._clock() + CLAIM_SECONDS, holder, key),
        ).close()

    def settle(self, holder: str, key: str, refs: list[str]) -> None:
        """Keep what was answered."""
        self._db.execute(
            "UPDATE answers SET refs = ?, until = ? WHERE holder = ? AND key = ?",
            (json.dumps(refs), self._clock() + KEEP_SECONDS, holder, key),
        ).close()

    def forget(self, holder: str, key: str) -> None:
        """Give a key free: nothing was kept of its upload, or it has ended since."""
        self._db.execute("DELETE FROM answers WHERE holder = ? AND key = ?", (holder, key)).close()

    def close(self) -> None:
        """Close the file."""
        self._db.close()


class Earlier:
    """The answer that a call's key may have had before."""

    __slots__ = ("_about", "_answers", "_call", "_key")

    def __init__(self, call: "Call", key: str, about: str) -> None:
        if not 0 < len(key) <= LONGEST_KEY:
            raise bad_request(f"an Idempotency-Key has 1 to {LONGEST_KEY} characters")
        self._call = call
        self._key = hashlib.sha256(key.encode("latin-1")).hexdigest()
        self._about = about
        self._answers = call.service.answers

    async def or_now(self, put: Callable[[], Awaitable[list[Entry]]]) -> tuple[list[Entry], bool]:
        """Return what was stored for the key, and whether that was before.

        Raises:
            Problem: it is being stored just now, or the key belongs to another request.
        """
        holder, key, about, answers = self._call.grant.holder, self._key, self._about, self._answers
        offload = self._call.service.reading
        there = await self._run(partial(answers.claim, holder, key, about), undo=self._unclaim)
        if there is not None:
            if there[0] != about:
                raise Problem(
                    422,
                    "IdempotencyKeyReused",
                    "another upload had this Idempotency-Key: take a new one",
                )
            if there[1] is None:
                raise Problem(
                    409,
                    "Conflict",
                    "an upload with this Idempotency-Key is under way: try again when it has ended",
                    [(b"retry-after", b"1")],
                )
            # What has ended since is not stored again: the answer is then why it has.
            entry = self._call.service.store.entry
            return await self._call.service.read(partial(_all, entry, there[1])), True
        renewing = asyncio.create_task(self._renew())
        try:
            entries = await put()
        except BaseException:
            await offload.undo(partial(answers.forget, holder, key))
            raise
        finally:
            renewing.cancel()
        await offload.finish(partial(answers.settle, holder, key, [entry.ref for entry in entries]))
        return entries, False

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(CLAIM_SECONDS / 3)
            await self._run(partial(self._answers.renew, self._call.grant.holder, self._key))

    def _unclaim(self, there: Claimed) -> None:
        if there is None:
            self._answers.forget(self._call.grant.holder, self._key)

    async def _run(self, work: Callable[[], T], undo: Callable[[T], object] | None = None) -> T:
        try:
            return await self._call.service.read(work, undo)
        except sqlite3.Error as error:
            raise CatalogError(f"idempotency keys cannot be looked up: {error}") from error


def _all(entry: Callable[[str], Entry], refs: list[str]) -> list[Entry]:
    return [entry(ref) for ref in refs]


def fingerprint(scope: str, query: bytes, length: str) -> str:
    """Return what tells an upload from another with the same key."""
    said = json.dumps([scope, query.decode("latin-1"), length]).encode()
    return hashlib.sha256(said).hexdigest()
