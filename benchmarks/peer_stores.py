"""The stores that are compared, by name.

What a peer needs is imported when one is made, so that its memory can be measured.
"""

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar

from benchmarks.peer import CONTENT_TYPE, FILENAME, SESSION, Awaited, Peer
from benchmarks.peer_ours import (
    Bare,
    BareDurable,
    Mediakeep,
    MediakeepAwaited,
    MediakeepDurable,
    MediakeepDurableAwaited,
)


class Diskcache(Peer):
    name = "diskcache"
    ours = "mediakeep"
    settings = '`Cache(folder, eviction_policy="none")`: values from 32 kB on in files'
    options: ClassVar[dict[str, int]] = {}

    def __init__(self, folder: Path) -> None:
        import diskcache

        super().__init__(folder)
        # By default it would throw items out once it has 1 GB.
        self._cache = diskcache.Cache(str(folder), eviction_policy="none", **self.options)

    def put(self, data: bytes) -> Any:
        key = os.urandom(16).hex()
        self._cache.set(key, data, tag=SESSION)
        return key

    def read(self, key: Any) -> Any:
        return self._cache.get(key)

    def find(self, key: Any) -> Any:
        return key in self._cache

    def end(self, key: Any) -> Any:
        return self._cache.delete(key)

    def put_file(self, path: Path) -> None:
        with open(path, "rb") as file:
            self._cache.set("file", file, read=True, tag=SESSION)

    def close(self) -> None:
        self._cache.close()


class DiskcacheDurable(Diskcache):
    """Its files are never synced, so that all values must be in its database."""

    ours = "mediakeep-durable"
    settings = "`sqlite_synchronous=2, disk_min_file_size=2**40`: all values in SQLite, which syncs"
    options: ClassVar[dict[str, int]] = {"sqlite_synchronous": 2, "disk_min_file_size": 2**40}


class Depot(Peer):
    name = "filedepot"
    ours = "mediakeep"
    settings = "`LocalFileStorage(folder)`"

    def __init__(self, folder: Path) -> None:
        from depot.io.local import LocalFileStorage

        super().__init__(folder)
        self._depot = LocalFileStorage(str(folder))

    def put(self, data: bytes) -> Any:
        return self._depot.create(data, filename=FILENAME, content_type=CONTENT_TYPE)

    def read(self, key: Any) -> Any:
        with self._depot.get(key) as file:
            return file.read()

    def find(self, key: Any) -> Any:
        return self._depot.exists(key)

    def end(self, key: Any) -> Any:
        self._depot.delete(key)

    def put_file(self, path: Path) -> None:
        with open(path, "rb") as file:
            self._depot.create(file, filename=FILENAME, content_type=CONTENT_TYPE)


class Agno(Peer):
    name = "agno"
    ours = "mediakeep"
    settings = "`LocalMediaStorage(folder)`"

    def __init__(self, folder: Path) -> None:
        from agno.media.storage.local import LocalMediaStorage

        super().__init__(folder)
        self._storage = LocalMediaStorage(str(folder))

    def put(self, data: bytes) -> Any:
        name = f"{SESSION}-{os.urandom(16).hex()}"
        return self._storage.upload(name, data, mime_type=CONTENT_TYPE, filename=FILENAME)

    def read(self, key: Any) -> Any:
        return self._storage.download(key)

    def find(self, key: Any) -> Any:
        return self._storage.exists(key)

    def end(self, key: Any) -> Any:
        return self._storage.delete(key)


class Harness(Awaited):
    name = "pydantic-ai-harness, disk"
    ours = "mediakeep-awaited"
    settings = "`DiskMediaStore(folder)`, awaited"
    ends = False

    def __init__(self, folder: Path) -> None:
        from pydantic_ai_harness.media import DiskMediaStore, MediaContext

        super().__init__(folder)
        self._store: Any = DiskMediaStore(folder)
        self._context = MediaContext(media_type=CONTENT_TYPE, filename=FILENAME)

    def put(self, data: bytes) -> Any:
        return self._store.put(data, context=self._context)

    def read(self, key: Any) -> Any:
        return self._store.get(key)

    def find(self, key: Any) -> Any:
        return self._store.exists(key)

    async def end(self, key: Any) -> Any:
        """It has no such verb. This keeps its folder from growing, and is not measured."""
        os.unlink(self.folder / f"{key.rpartition('/')[2]}.bin")


class HarnessSqlite(Harness):
    name = "pydantic-ai-harness, SQLite"
    ours = "mediakeep-durable-awaited"
    settings = "`SqliteMediaStore(database=…)`, awaited; its SQLite syncs"

    def __init__(self, folder: Path) -> None:
        from pydantic_ai_harness.media import SqliteMediaStore

        super().__init__(folder)
        self._database = folder / "media.db"
        self._store = SqliteMediaStore(database=self._database)

    async def end(self, key: Any) -> Any:
        """It has no such verb. This keeps its database from growing, and is not measured."""
        with closing(sqlite3.connect(self._database, timeout=60)) as connection, connection:
            connection.execute("DELETE FROM media WHERE sha256 = ?", (key.rpartition("/")[2],))


class Adk(Awaited):
    name = "google-adk"
    ours = "mediakeep-awaited"
    settings = "`FileArtifactService(folder)`, awaited"

    def __init__(self, folder: Path) -> None:
        from google.adk.artifacts.file_artifact_service import FileArtifactService
        from google.genai import types

        super().__init__(folder)
        self._service = FileArtifactService(folder)
        self._types = types
        self._where: dict[str, Any] = {"app_name": "bot", "user_id": "42", "session_id": "1"}

    async def put(self, data: bytes) -> Any:
        part = self._types.Part.from_bytes(data=data, mime_type=CONTENT_TYPE)
        key = f"{os.urandom(16).hex()}.jpg"
        await self._service.save_artifact(**self._where, filename=key, artifact=part)
        return key

    async def read(self, key: Any) -> Any:
        part = await self._service.load_artifact(**self._where, filename=key)
        return part.inline_data.data  # type: ignore[union-attr]

    def find(self, key: Any) -> Any:
        return self._service.get_artifact_version(**self._where, filename=key)

    def end(self, key: Any) -> Any:
        return self._service.delete_artifact(**self._where, filename=key)


PEERS: dict[str, type[Peer]] = {
    "mediakeep": Mediakeep,
    "mediakeep-awaited": MediakeepAwaited,
    "bare": Bare,
    "diskcache": Diskcache,
    "filedepot": Depot,
    "agno": Agno,
    "harness": Harness,
    "adk": Adk,
    "mediakeep-durable": MediakeepDurable,
    "mediakeep-durable-awaited": MediakeepDurableAwaited,
    "bare-durable": BareDurable,
    "diskcache-durable": DiskcacheDurable,
    "harness-sqlite": HarnessSqlite,
}
DURABLE = (
    "mediakeep-durable",
    "mediakeep-durable-awaited",
    "bare-durable",
    "diskcache-durable",
    "harness-sqlite",
)
FAST = tuple(name for name in PEERS if name not in DURABLE)
