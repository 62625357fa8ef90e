"""What the tests of the channel recipes share: the recipes themselves, and what must hold of a store."""

import asyncio
import importlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import mediakeep
from mediakeep import MediaMeta, MediaStore

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
    blobs = folder / "blobs"
    files = [path for path in blobs.rglob("*") if path.is_file()]
    return [path for path in files if "tmp" not in path.relative_to(blobs).parts]


def what_is_left(store: MediaStore, folder: Path) -> tuple[dict[str, int], list[Path]]:
    """Return what of refs, files and holds there is in the books, and the files on disk."""
    stats = store.stats()
    books = {name: getattr(stats, name) for name in ("refs", "files", "condemned", "leases", "variants")}
    return {name: count for name, count in books.items() if count}, blobs_on_disk(folder)


def assert_nothing_is_left(store: MediaStore, folder: Path) -> None:
    """Nobody needs anything any more: neither the books nor the disk have anything."""
    assert what_is_left(store, folder) == ({}, [])


def wait_until_nothing_is_left(store: MediaStore, folder: Path) -> None:
    """The same, soon: the turn of a bot in another process ends a moment after its answer has come."""
    wait_until(lambda: what_is_left(store, folder) == ({}, []), otherwise_fail=False)
    assert_nothing_is_left(store, folder)


async def until(holds: Callable[[], object]) -> None:
    """Wait for something to be true while the loop runs on; `play` bounds how long."""
    while not holds():
        await asyncio.sleep(0.01)


def metas_in(store: MediaStore, scope: str) -> list[MediaMeta]:
    """Return the metas of the refs of a scope."""
    return [entry.meta for entry in store.entries(scope)]


def wait_until(what: Callable[[], object], *, otherwise_fail: bool = True) -> None:
    """Wait for something to be true of a store that another process or thread changes."""
    deadline = time.monotonic() + DEADLINE
    while not what():
        if time.monotonic() > deadline:
            assert not otherwise_fail, "what was waited for did not happen"
            return
        time.sleep(0.01)


@contextmanager
def running(
    name: str, packages: Path | None = None, **environment: str
) -> Iterator["subprocess.Popen[str]"]:
    """Run a recipe as a user does, as a program; kill it at the end if it still runs."""
    path = os.pathsep.join(map(str, filter(None, [packages, Path(mediakeep.__file__).parents[1]])))
    with (
        tempfile.TemporaryFile("w+") as log,  # a pipe that nobody reads would stop it once it is full
        subprocess.Popen(
            [sys.executable, "-W", "error::ResourceWarning", RECIPES / f"{name}.py"],
            stdout=log,
            stderr=log,
            env={**os.environ, **environment, "PYTHONPATH": path},
            text=True,
        ) as process,
    ):
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
            log.seek(0)
            said = log.read()
        assert "Traceback" not in said, said
        assert "Exception ignored" not in said, said


def packages_of(group: str) -> Path:
    """Return a folder with the packages of a dependency group that cannot live beside the others."""
    folder = Path(sys.prefix) / "apart" / group
    assert folder.is_dir(), f"{group} is not installed: `make test` does that"
    return folder


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
