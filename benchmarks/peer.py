"""What a store has to do to be compared: the same four verbs, as its users would call them."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, ClassVar

FILENAME, CONTENT_TYPE, SESSION = "photo.jpg", "image/jpeg", "telegram:42:1"


class Peer(ABC):
    """A store in a folder of its own; what it calls the four verbs is in its words."""

    name: ClassVar[str]
    ours: ClassVar[str]
    """The key in `PEERS` of the mediakeep that it is compared with, called as it is and as durable."""
    settings: ClassVar[str] = "as it comes"
    ends: ClassVar[bool] = True
    """Whether it has a verb that ends one file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @abstractmethod
    def put(self, data: bytes) -> Any:
        """Keep `data` under a name that was not there before, and return what finds it again."""

    @abstractmethod
    def read(self, key: Any) -> Any:
        """Return the bytes."""

    @abstractmethod
    def find(self, key: Any) -> Any:
        """Return whether it is there, or where."""

    @abstractmethod
    def end(self, key: Any) -> Any:
        """Delete it."""

    def put_file(self, path: Path) -> None:
        """Keep what is in a file, as sparing of memory as the peer allows."""
        self.each(self.put, [path.read_bytes()])

    def each(self, verb: Callable[[Any], Any], them: Iterable[Any]) -> list[Any]:
        """Call `verb` for each, one after the other."""
        return [verb(it) for it in them]

    def close(self) -> None:  # noqa: B027  # some hold nothing
        """Give back what it holds."""


class Awaited(Peer):
    """A peer whose verbs are awaited, on one event loop, one after the other."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._loop = asyncio.Runner()

    def each(self, verb: Callable[[Any], Any], them: Iterable[Any]) -> list[Any]:
        done: list[Any] = []

        async def run() -> None:
            for it in them:
                done.append(await verb(it))  # noqa: PERF401  # as it is on the other side of `await`

        # What is returned to the runner it may turn into text, for Ctrl-C: 15 ns for each byte.
        self._loop.run(run())
        return done

    def close(self) -> None:
        self._loop.close()
