"""Memory per ref: `python -m benchmarks.footprint 1000000` prints bytes, in a process of its own.

The files are empty ones on a file system in memory where there is one; what they take there is the
kernel's and not counted. Nothing of a registration is kept here: whatever stays, the store keeps.
"""

import gc
import os
import sys
from pathlib import Path

from benchmarks.measure import IN_MEMORY, resident_bytes, scratch
from mediakeep import FileMediaStore, MediaMeta

PER_FOLDER = 10_000
PER_SCOPE = 10


def register(store: FileMediaStore, folder: Path, first: int, count: int) -> None:
    """Register `count` fresh files of one folder, as a bot that downloads them would."""
    within = folder / f"{first:07}"
    within.mkdir()
    for n in range(first, first + count):
        path = f"{within}/{n:07}-photo.jpg"
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        meta = MediaMeta(f"photo-{n}.jpg", "image/jpeg", "telegram")
        store.store(path, meta, f"telegram:{n // 1000}:{n // PER_SCOPE}")


def main(refs: int) -> None:
    with scratch(IN_MEMORY) as folder, FileMediaStore() as store:
        register(store, folder, 0, 100)  # what is made once is not counted
        gc.collect()
        before = resident_bytes()
        for first in range(PER_FOLDER, PER_FOLDER + refs, PER_FOLDER):
            register(store, folder, first, min(PER_FOLDER, PER_FOLDER + refs - first))
        gc.collect()
        print((resident_bytes() - before) / refs)


if __name__ == "__main__":
    main(int(sys.argv[1]))
