"""A watcher: it opens again and again what somebody counts on, and finds what is deleted early."""

import threading
from pathlib import Path

from examples.assistant.queues import Queues

from mediakeep import MediaError, MediaStore

PAUSE_SECONDS = 0.02


class Watcher(threading.Thread):
    """Looks at each ref of each message that is not handled, and of each history."""

    def __init__(self, folder: Path, store: MediaStore) -> None:
        super().__init__(name="watcher", daemon=True)
        self._folder = folder
        self._store = store
        self._over = threading.Event()
        self.ended = False
        self.looks = 0
        self.longest = 0
        self.early: dict[str, str] = {}

    def run(self) -> None:
        """Look until `stop`."""
        with Queues(self._folder) as queues:
            while not self._over.wait(PAUSE_SECONDS):
                self._look(queues)
                self.longest = max(self.longest, queues.longest())
        self.ended = True

    def stop(self) -> None:
        """Look no more."""
        self._over.set()
        self.join()

    # --8<-- [start:look]
    def _look(self, queues: Queues) -> None:
        for ref in queues.needed():
            try:
                size = self._store.entry(ref).size
                if len(self._store.read_bytes(ref)) != size:
                    self.early[ref] = "the file is not whole"
            except MediaError as error:
                # It may have ended since we were told of it, as it should. If it is needed now, it
                # was needed when it was not there.
                if ref in queues.needed():
                    self.early[ref] = str(error)
            self.looks += 1

    # --8<-- [end:look]
