"""mediakeep among its peers, and a bare file, each with and without waiting for the disk."""

import os
import shutil
from pathlib import Path
from typing import Any, ClassVar

from benchmarks.peer import CONTENT_TYPE, FILENAME, SESSION, Awaited, Peer


class Verbs:
    """What is called alike, at once and awaited."""

    _store: Any
    _meta: Any

    def put(self, data: bytes) -> Any:
        return self._store.put(data, self._meta, SESSION)

    def read(self, key: Any) -> Any:
        return self._store.read_bytes(key)

    def find(self, key: Any) -> Any:
        return self._store.resolve(key)

    def end(self, key: Any) -> Any:
        return self._store.release(key)


class Mediakeep(Verbs, Peer):
    name = "mediakeep"
    ours = "mediakeep"
    settings = "`open_store(folder, fsync=False)`"
    fsync: ClassVar[bool] = False

    def __init__(self, folder: Path) -> None:
        from mediakeep import MediaMeta, open_store

        super().__init__(folder)
        self._store = open_store(folder, fsync=self.fsync)
        self._meta = MediaMeta(FILENAME, CONTENT_TYPE, "telegram")

    def put_file(self, path: Path) -> None:
        self._store.put(path, self._meta, SESSION)

    def close(self) -> None:
        self._store.close()


class MediakeepAwaited(Verbs, Awaited):
    name = "mediakeep, awaited"
    ours = "mediakeep-awaited"
    settings = "`AsyncMediaStore` over the same"
    fsync: ClassVar[bool] = False

    def __init__(self, folder: Path) -> None:
        from mediakeep import MediaMeta, open_store
        from mediakeep.aio import AsyncMediaStore

        super().__init__(folder)
        self._kept = open_store(folder, fsync=self.fsync)
        self._store = AsyncMediaStore(self._kept)
        self._meta = MediaMeta(FILENAME, CONTENT_TYPE, "telegram")

    def put_file(self, path: Path) -> None:
        self.each(lambda it: self._store.put(it, self._meta, SESSION), [path])

    def close(self) -> None:
        super().close()
        self._kept.close()


class MediakeepDurable(Mediakeep):
    ours = "mediakeep-durable"
    settings = "`open_store(folder)`"
    fsync = True


class MediakeepDurableAwaited(MediakeepAwaited):
    ours = "mediakeep-durable-awaited"
    fsync = True


class Bare(Peer):
    """As bare as it gets: a temporary file that is renamed. No books, no names but its own."""

    name = "bare file"
    ours = "mediakeep"
    settings = "a temporary file, then `os.rename`; no books"
    fsync: ClassVar[bool] = False

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        folder.mkdir(exist_ok=True)

    def put(self, data: bytes) -> Any:
        final = f"{self.folder}/{os.urandom(16).hex()}"
        with open(f"{final}.tmp", "xb") as file:
            file.write(data)
            if self.fsync:
                file.flush()
                os.fsync(file.fileno())
        os.rename(f"{final}.tmp", final)
        if self.fsync:
            handle = os.open(self.folder, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        return final

    def read(self, key: Any) -> Any:
        with open(key, "rb") as file:
            return file.read()

    def find(self, key: Any) -> Any:
        return os.path.exists(key)

    def end(self, key: Any) -> Any:
        os.unlink(key)

    def put_file(self, path: Path) -> None:
        shutil.copyfile(path, self.folder / "copy")


class BareDurable(Bare):
    ours = "mediakeep-durable"
    settings = "the same, with `os.fsync` of the file and of its folder"
    fsync = True
