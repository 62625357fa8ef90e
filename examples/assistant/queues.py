"""Two durable queues, inbound and outbound, and the histories of the chats: one SQLite file.

A message holds refs, never bytes nor paths. It is delivered at least once: who takes it may die, and
then somebody else gets it. It goes through three states, each of which a crash leaves as it is:

- waiting, or taken by somebody who lives: nothing has come of it that counts;
- handled: what came of it (a history, a reply) is written, in the same transaction as this state. What
  is left to do is to end the scopes in `ends`;
- done: that has been done as well.
"""

import fcntl
import json
import secrets
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from examples.assistant.handover import refs_in

SCHEMA = """
CREATE TABLE IF NOT EXISTS messages (
    number INTEGER PRIMARY KEY, id TEXT UNIQUE NOT NULL, queue TEXT NOT NULL, chat TEXT NOT NULL,
    body TEXT NOT NULL, deliveries INTEGER NOT NULL DEFAULT 0, taken_by TEXT, ends TEXT,
    done INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS messages_open ON messages (queue, chat, number) WHERE NOT done;
CREATE TABLE IF NOT EXISTS histories (chat TEXT PRIMARY KEY, messages TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS notes (at REAL NOT NULL, who TEXT NOT NULL, what TEXT NOT NULL);
"""

# The next message of a chat waits until the one before it is done: a conversation has an order. What is
# ready to be sent goes first.
NEXT = """
SELECT id, queue, chat, body, deliveries, taken_by, ends FROM messages AS it
WHERE NOT done AND NOT EXISTS (
    SELECT 1 FROM messages AS before
    WHERE before.queue = it.queue AND before.chat = it.chat AND before.number < it.number
        AND NOT before.done
) ORDER BY queue = 'inbound', number
"""


@dataclass(frozen=True, slots=True)
class Message:
    """A message as it was delivered: for the `deliveries`-th time, and handled if it has `ends`."""

    id: str
    queue: str
    chat: str
    body: dict[str, Any]
    deliveries: int
    ends: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a message: scopes to end, perhaps a history that is new, perhaps a reply."""

    ends: tuple[str, ...]
    history: list[Any] | None = None
    reply: dict[str, Any] | None = None


class Note(NamedTuple):
    """Something that happened, for the timeline."""

    at: float
    who: str
    what: str


class Taker:
    """Somebody who takes messages. The kernel holds its lock for as long as its process lives."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        self.id = f"{name}.{secrets.token_hex(4)}"
        self._path = _takers(folder) / self.id
        self._file = self._path.open("w")
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def close(self) -> None:
        """Take no more; call it when nothing is taken."""
        self._path.unlink()
        self._file.close()


class Queues:
    """The queues in a folder, for one thread; open as many as there are threads and processes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        # With a rollback journal: a reader is a reader, and a message takes milliseconds anyway.
        self._db = sqlite3.connect(folder / "queues.db", timeout=60, isolation_level=None)
        self._db.executescript(SCHEMA)

    def put(self, queue: str, message: str, chat: str, body: dict[str, Any]) -> bool:
        """Put a message in; return whether its id is a new one, since channels repeat themselves."""
        with self._transaction():
            return self._put(queue, message, chat, body)

    def take(self, taker: Taker) -> Message | None:
        """Take the next message that nobody has, or whose taker has died."""
        with self._transaction():
            for message, queue, chat, body, deliveries, taken_by, ends in self._db.execute(NEXT):
                if taken_by is None or self._is_dead(taken_by):
                    self._db.execute(
                        "UPDATE messages SET taken_by = ?, deliveries = deliveries + 1 WHERE id = ?",
                        (taker.id, message),
                    )
                    scopes = None if ends is None else tuple(json.loads(ends))
                    return Message(message, queue, chat, json.loads(body), deliveries + 1, scopes)
        return None

    # --8<-- [start:handled]
    def handled(self, message: Message, outcome: Outcome) -> None:
        """Write all that came of a message, in one transaction."""
        with self._transaction():
            if outcome.history is not None:
                self._db.execute(
                    "REPLACE INTO histories VALUES (?, ?)", (message.chat, json.dumps(outcome.history))
                )
            if outcome.reply is not None:
                self._put("outbound", f"{message.id}:reply", message.chat, outcome.reply)
            self._db.execute(
                "UPDATE messages SET ends = ? WHERE id = ?", (json.dumps(outcome.ends), message.id)
            )

    # --8<-- [end:handled]

    def done(self, message: Message) -> None:
        """Say that nothing is left to do for a message."""
        with self._transaction():
            self._db.execute("UPDATE messages SET done = 1 WHERE id = ?", (message.id,))

    def history(self, chat: str) -> list[Any]:
        """Return what was said in a chat, with refs."""
        found = self._db.execute("SELECT messages FROM histories WHERE chat = ?", (chat,)).fetchone()
        return json.loads(found[0]) if found else []

    def open_messages(self) -> int:
        """Return how many messages are not done."""
        return self._db.execute("SELECT count(*) FROM messages WHERE NOT done").fetchone()[0]

    def delivered_again(self) -> int:
        """Return how many messages were delivered more than once."""
        return self._db.execute("SELECT count(*) FROM messages WHERE deliveries > 1").fetchone()[0]

    def needed(self) -> set[str]:
        """Return the refs that somebody counts on: those of open messages, and of the histories."""
        texts = self._db.execute(
            "SELECT body FROM messages WHERE ends IS NULL UNION ALL SELECT messages FROM histories"
        )
        return {ref for (text,) in texts for ref in refs_in(text)}

    def longest(self) -> int:
        """Return the length of the longest message or history."""
        texts = "SELECT body AS text FROM messages UNION ALL SELECT messages FROM histories"
        return self._db.execute(f"SELECT coalesce(max(length(text)), 0) FROM ({texts})").fetchone()[0]

    def note(self, who: str, what: str) -> None:
        """Write down what happens, for the timeline."""
        self._db.execute("INSERT INTO notes VALUES (?, ?, ?)", (time.time(), who, what))

    def notes(self) -> Sequence[Note]:
        """Return what happened, in order."""
        return [Note(*row) for row in self._db.execute("SELECT at, who, what FROM notes ORDER BY at")]

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _put(self, queue: str, message: str, chat: str, body: dict[str, Any]) -> bool:
        done = self._db.execute(
            "INSERT OR IGNORE INTO messages (id, queue, chat, body) VALUES (?, ?, ?, ?)",
            (message, queue, chat, json.dumps(body)),
        )
        return done.rowcount == 1

    def _is_dead(self, taker: str) -> bool:
        try:
            with (_takers(self._folder) / taker).open() as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except FileNotFoundError:
            return True
        return True

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")


def _takers(folder: Path) -> Path:
    path = folder / "takers"
    path.mkdir(exist_ok=True)
    return path
