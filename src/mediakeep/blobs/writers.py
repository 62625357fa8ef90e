"""Who is writing into a bucket: markers, so that what a dead writer left is found without a scan.

    tmp/writer.<id>.<seconds>   the names of keys to be, drawn by one process; renewed while it writes
    tmp/left.<shard>.<name>     a key whose writer failed and could not tell whether it got named
    tmp/clock.<id>              a moment of the service's clock

A key is drawn from a marker that is written before it, and leaves the marker's care when a catalog has
named it. One marker serves many puts, so that it costs next to nothing. The service has no locks: a
marker that has not been renewed for its `seconds`, by the service's own clock, is a dead writer's.
"""

import logging
import re
import secrets
import threading
import time
import weakref
from collections.abc import Callable, Iterator

import obstore

from mediakeep.blobs.remote import Remote
from mediakeep.errors import BlobError

logger = logging.getLogger("mediakeep.blobs")

BATCH = 64
"""How many keys one marker speaks for."""

WRITER_SECONDS = 60.0
"""How long after its last renewal a writer counts as dead."""

_MARKER = re.compile(r"tmp/(?:writer\.[0-9a-f]{16}\.(\d{1,6})|left\.([0-9a-f]{2}|kept)\.([0-9a-f]{32}))")
_CLOCK = re.compile(r"tmp/clock\.[0-9a-f]{16}")
_OLD_CLOCK_SECONDS = 3600.0

_now: Callable[[], float] = (
    # With the time that the machine slept, where the system tells it.
    (lambda: time.clock_gettime(time.CLOCK_BOOTTIME))
    if hasattr(time, "CLOCK_BOOTTIME")
    else time.monotonic
)


class _Batch:
    """A marker, the names left to draw from it, and the keys that still wait to be named."""

    __slots__ = ("at_work", "body", "lost", "marker", "names", "over", "renewed_at", "renewing", "stays")

    def __init__(self, marker: str, names: list[str], renewed_at: float) -> None:
        self.marker = marker
        self.body = "\n".join(names).encode("ascii")
        self.names = names
        self.renewed_at = renewed_at
        self.at_work: set[str] = set()
        self.lost = False
        self.over = False
        self.renewing = False
        self.stays = False


class Writers:
    """The writers of this process, and what is left of others.

    Args:
        remote: the bucket.
        seconds: how long a marker outlives its last renewal; whole seconds, of 1 or more.
    """

    __slots__ = ("__weakref__", "_batch", "_batches", "_lock", "_remote", "_seconds", "_stop")

    def __init__(self, remote: Remote, seconds: float) -> None:
        if not 1 <= seconds < 1_000_000:
            raise ValueError(f"writer_seconds must be from 1 to 999999, not {seconds!r}")
        self._remote = remote
        self._seconds = int(seconds)
        self._lock = threading.Lock()
        self._batch: _Batch | None = None
        self._batches: dict[str, _Batch] = {}  # by the key at work
        self._stop: threading.Event | None = None

    # -- this process

    def begin(self, *, kept: bool) -> str:
        """Return a fresh key that a marker speaks for, until `end`."""
        with self._remote.failing("write into"), self._lock:
            batch = self._batch
            if batch is None or not batch.names or _now() - batch.renewed_at > self._seconds / 2:
                if batch is not None and not batch.at_work:
                    self._retire(batch)
                batch = self._batch = self._write_marker()
            if self._stop is None:
                stop = threading.Event()
                threading.Thread(
                    target=_renew_all,
                    args=(weakref.ref(self), stop, self._seconds / 3),
                    name="mediakeep-writers",
                    daemon=True,
                ).start()  # which may fail: then the next writer tries
                self._stop = stop
            name = batch.names.pop()
            key = f"{'kept' if kept else name[:2]}/{name}"
            batch.at_work.add(key)
            self._batches[key] = batch
        return key

    def check(self, key: str) -> None:
        """Refuse to go on with a key whose writer may have been taken for dead.

        Raises:
            BlobError: its marker was not renewed in time.
        """
        with self._lock:
            batch = self._batches[key]
            if not batch.lost and not self._is_late(batch):
                return
        raise BlobError(
            f"writing {key} gave {self._remote.url} no sign of life for too long, so that a sweep may "
            "have removed it: put the bytes again"
        )

    def survived(self, key: str) -> bool:
        """Return whether nobody has taken the writer of `key` for dead before the key was named.

        Whoever settles a marker takes it away first, and asks for names then. So if the marker is still
        there when the key has been named, the name will be seen.
        """
        with self._lock:
            batch = self._batches[key]
            if not batch.lost and not self._is_late(batch):
                return True
            if batch.lost or batch.renewing:
                return False  # if the marker is there, it may have been put back
        try:
            with self._remote.failing("look at", batch.marker):
                obstore.head(self._remote.store, batch.marker)
        except OSError:
            return False
        return True

    def leave(self, key: str) -> None:
        """Leave `key` to the next sweep, which need not wait until this writer counts as dead.

        Raises:
            OSError: the service fails.
        """
        self._remote.put(f"tmp/left.{key.replace('/', '.')}", b"")

    def end(self, key: str, *, settled: bool) -> None:
        """Speak for `key` no longer; if it is not `settled`, its marker stays, and a sweep finds it."""
        with self._lock:
            batch = self._batches.pop(key)
            batch.at_work.discard(key)
            if not settled:
                batch.stays = True
                if self._batch is batch:
                    self._batch = None
            if batch is not self._batch and not batch.at_work:
                self._retire(batch)

    def close(self) -> None:
        """Remove the marker, unless somebody is still writing."""
        if self._remote.is_the_parents:
            return  # so is the marker; and a thread there may have had the lock, which nobody has here
        with self._lock:
            if self._stop is not None:
                self._stop.set()
                self._stop = None
            batch, self._batch = self._batch, None
            if batch is not None and not batch.at_work:
                self._retire(batch)

    def renew(self) -> bool:
        """Give a sign of life for all that are at work; return whether there may be more to come."""
        with self._lock:
            batches = set(self._batches.values())
            if not batches:
                batch, self._batch, self._stop = self._batch, None, None
                if batch is not None:
                    self._retire(batch)
                return False
        for batch in batches:
            at = _now()
            with self._lock:
                if batch.lost or self._is_late(batch) or not batch.at_work:
                    continue
                batch.renewing = True
            renewed = False
            try:
                with self._remote.failing("renew", batch.marker):
                    # Over what is there: it is the time that counts, and what it says never changes.
                    obstore.put(self._remote.store, batch.marker, batch.body, use_multipart=False)
                renewed = True
            except OSError as error:
                logger.warning("writers give no sign of life, trying again: %s", error)
            with self._lock:
                batch.renewing = False
                if self._is_late(batch):
                    batch.lost = True
                elif renewed:
                    batch.renewed_at = at
                if batch.over:
                    self._retire(batch)
        return True

    def _is_late(self, batch: _Batch) -> bool:
        # Some time before others may call it dead, so that what is begun in time also ends in time.
        return _now() - batch.renewed_at > self._seconds * 0.75

    def _write_marker(self) -> _Batch:
        at = _now()
        names = [secrets.token_hex(16) for _ in range(BATCH)]
        batch = _Batch(f"tmp/writer.{secrets.token_hex(8)}.{self._seconds}", names, at)
        self._remote.put(batch.marker, batch.body)
        return batch

    def _retire(self, batch: _Batch) -> None:
        """Remove a marker that speaks for nothing any more, unless a sweep must look at it."""
        if batch.stays:
            return
        batch.over = True
        if batch.renewing:
            return  # and that would put it back: whoever renews it removes it
        try:
            self._remote.delete([batch.marker])
        except OSError as error:
            logger.warning("%s is left to a sweep: %s", batch.marker, error)

    # -- others

    def dead(self) -> Iterator[str]:
        """Yield the markers of dead writers and those of keys that could not be settled."""
        markers = self._markers()
        if not markers:
            return
        # Taken before a second look, so that whoever is renewed in between is younger than this.
        now = self._remote.now()
        for name, modified_at in self._markers().items():
            found = _MARKER.fullmatch(name)
            if found is None:
                if now - modified_at > _OLD_CLOCK_SECONDS:
                    self._remote.delete([name])
            elif found[1] is None or now - modified_at > int(found[1]) + 1:  # times are in whole seconds
                yield name

    def _markers(self) -> dict[str, float]:
        with self._remote.failing("list", "tmp/"):
            return {
                it["path"]: it["last_modified"].timestamp()
                for page in obstore.list(self._remote.store, "tmp", chunk_size=1000)
                for it in page
                if _MARKER.fullmatch(it["path"]) or _CLOCK.fullmatch(it["path"])
            }

    def keys(self, marker: str) -> list[str]:
        """Return the keys that a marker speaks for, whether they have been written or not."""
        found = _MARKER.fullmatch(marker)
        if found is not None and found[2]:
            return [f"{found[2]}/{found[3]}"]
        with self._remote.failing("read", marker):
            names = bytes(obstore.get(self._remote.store, marker).bytes()).decode("ascii").split()
        return [key for name in names for key in (f"{name[:2]}/{name}", f"kept/{name}")]

    def speaks_for(self, key: str) -> bool:
        """Return whether `key` waits to be named, or may do so.

        What others are at is known by the marker only: a key of theirs is spoken for as long as it is.
        """
        with self._lock:
            if key in self._batches:
                return True
            own = {it.marker for it in (self._batch, *self._batches.values()) if it and not it.stays}
        name = f"tmp/left.{key.replace('/', '.')}"
        for marker in self._markers().keys() - own:
            if marker == name:
                return True
            if marker.startswith("tmp/writer."):
                try:
                    if key in self.keys(marker):
                        return True
                except FileNotFoundError:
                    continue  # it has just ended
        return False

    def claim(self, marker: str) -> str:
        """Take the marker of a dead writer away from it, and return the one that stands for it now.

        If the process that claims it dies too, the new marker is found in its turn.
        """
        found = _MARKER.fullmatch(marker)
        if found is None or found[2]:
            return marker  # left on purpose: its writer has gone
        with self._remote.failing("read", marker):
            body = bytes(obstore.get(self._remote.store, marker).bytes())
        claimed = f"tmp/writer.{secrets.token_hex(8)}.{found[1]}"
        self._remote.put(claimed, body)
        self._remote.delete([marker])
        return claimed

    def remove(self, marker: str) -> None:
        """Remove a marker whose keys have been settled."""
        self._remote.delete([marker])


def _renew_all(writers: "weakref.ref[Writers]", stop: threading.Event, every: float) -> None:
    while not stop.wait(every):
        them = writers()
        if them is None or not them.renew():
            return
        del them
