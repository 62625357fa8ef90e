"""What the tests of the channel recipes share: the recipes themselves, and what must hold of a store."""

import asyncio
import importlib
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import ModuleType

from mediakeep import MediaStore

ROOT = Path(__file__).parents[1]
RECIPES = ROOT / "examples" / "channels"
MEDIA = ROOT / "examples" / "media"

DEADLINE = 60.0


def recipe(name: str) -> ModuleType:
    """Import a recipe as it imports its neighbours: from its own folder."""
    if str(RECIPES) not in sys.path:
        sys.path.append(str(RECIPES))
    return importlib.import_module(name)


def play(story: Callable[[], Awaitable[None]]) -> None:
    """Run a story on a loop of its own, for as long as a machine under load may take."""

    async def bounded() -> None:
        async with asyncio.timeout(2 * DEADLINE):
            await story()

    asyncio.run(bounded())


def sample(name: str) -> bytes:
    """Return the bytes of a file of examples/media."""
    return (MEDIA / name).read_bytes()


def blobs_on_disk(folder: Path) -> list[Path]:
    """Return the files that a folder store keeps."""
    return [path for path in (folder / "blobs").rglob("*") if path.is_file() and "tmp" not in path.parts]


def assert_nothing_is_left(store: MediaStore, folder: Path) -> None:
    """Nobody needs anything any more: neither the books nor the disk have anything."""
    stats = store.stats()
    assert (stats.refs, stats.files, stats.condemned, stats.leases) == (0, 0, 0, 0)
    assert blobs_on_disk(folder) == []


class Gate:
    """A `think` that tells when it has been given media, and answers when it may."""

    def __init__(self, think: Callable[..., Awaitable[object]]) -> None:
        self._think = think
        self.reached = asyncio.Event()
        self.open = asyncio.Event()
        self.seen: list[list[tuple[str, bytes]]] = []

    async def __call__(self, text: str, media: list) -> object:
        self.reached.set()
        await self.open.wait()
        # Read only now: whatever ended meanwhile, the lease must have kept the files.
        self.seen.append([(str(it.meta.content_type), it.path.read_bytes()) for it in media])
        return await self._think(text, media)
