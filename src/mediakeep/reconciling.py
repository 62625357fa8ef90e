"""Reconcile: compare what the books say with what is there, and mend it when asked to.

Both sides are streamed in the order of their keys and merged, so a million blobs take no more memory
than a few, and the store stays in use meanwhile. What looks wrong is looked at again before it counts:
a blob whose writer has not written its row yet, or a row whose file has just been deleted, is fine.
"""

import hashlib
import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace

from mediakeep.blobs import Blob, Blobs, Unfinished, size_of
from mediakeep.catalogs import Catalog, Place
from mediakeep.errors import BlobError, MediaError
from mediakeep.model import Finding, ReconcileReport

logger = logging.getLogger("mediakeep.reconciling")

MANY = 10
"""From how many losses on a mending asks whether it is really meant."""

NAMED = 1000
"""How many findings a report names."""

Progress = Callable[[int, int], object]

Mend = Callable[[], bool]
"""Puts one finding right, and returns whether it is right now."""


class Reconciler:
    """One comparison of a catalog with its blobs.

    Args:
        catalog: the books.
        blobs: the bytes.
        reap: deletes condemned locations.
        settle: removes what dead writers left, and returns how many that were.
        deep: also read every file and compare its sha256.
        grace: how old in seconds a blob must be before it counts as an orphan.
        tell: hears of every finding.
        progress: hears how many of about how many places have been looked at.
    """

    def __init__(
        self,
        catalog: Catalog,
        blobs: Blobs,
        *,
        reap: Callable[[list[str] | None], object],
        settle: Callable[[], int],
        deep: bool,
        grace: float,
        tell: Callable[[Finding], object] | None,
        progress: Progress | None,
    ) -> None:
        self._catalog = catalog
        self._blobs = blobs
        self._reap = reap
        self._settle = settle
        self._deep = deep
        self._grace = grace
        self._tell = tell
        self._progress = progress
        self._ahead: float | None = None
        self._start_over()

    def _start_over(self) -> None:
        self._counts: Counter[str] = Counter()
        self._mended = 0
        self._named: list[Finding] = []
        self._seen_blobs = 0
        self._seen_places = 0

    def check(self) -> ReconcileReport:
        """Look at everything and change nothing."""
        self._run(mend=False, tell=self._tell)
        return self._report()

    def mend(self, *, force: bool) -> ReconcileReport:
        """Look at everything, then mend what can be mended.

        Raises:
            MediaError: most of the blobs or files would go, and `force` is not set. Nothing is changed.
        """
        self._run(mend=False, tell=None)
        if not force:
            self._refuse_disaster()
        self._start_over()
        self._run(mend=True, tell=self._tell)
        return self._report()

    def _refuse_disaster(self) -> None:
        orphans, missing = self._counts["orphan"], self._counts["missing"]
        if orphans >= MANY and orphans * 2 > self._seen_blobs:
            raise MediaError(
                f"the catalog names {self._seen_blobs - orphans} of {self._seen_blobs} blobs, so "
                f"mending would delete the other {orphans}: is this the right catalog? Restore it from "
                "a backup, or force it if these blobs may go. Nothing was changed"
            )
        if missing >= MANY and missing * 2 > self._seen_places:
            raise MediaError(
                f"{missing} of {self._seen_places} files are missing, so mending would end their refs: "
                "is a disk not mounted? Put the files back, or force it if they are lost. "
                "Nothing was changed"
            )

    def _report(self) -> ReconcileReport:
        return ReconcileReport(
            blobs=self._seen_blobs,
            locations=self._seen_places,
            counts=dict(self._counts),
            mended=self._mended,
            findings=tuple(self._named),
        )

    # -- the looks

    def _run(self, *, mend: bool, tell: Callable[[Finding], object] | None) -> None:
        for finding, put_right in self._findings():
            if mend and put_right is not None and put_right():
                finding = replace(finding, mended=True)
                self._mended += 1
            self._counts[finding.kind] += 1
            if len(self._named) < NAMED:
                self._named.append(finding)
            if tell is not None:
                tell(finding)

    def _findings(self) -> Iterator[tuple[Finding, Mend | None]]:
        """Yield what is wrong, each with what puts it right, or None where nobody but a person can."""
        mended_books = False

        def mend_books() -> bool:  # once puts all of them right
            nonlocal mended_books
            if not mended_books:
                self._catalog.mend()
                self._reap(None)
                mended_books = True
            return True

        def settle() -> bool:
            self._settle()
            return True

        for fault in self._catalog.faults(deep=self._deep):
            mendable = fault.subject != "catalog.db"
            yield Finding(*fault), mend_books if mendable else None
        for name in list(self._blobs.leftovers()):
            yield (
                Finding("temp", name, "a writer died while it wrote this", "a sweep removes it"),
                settle,
            )
        for unfinished in self._blobs.unfinished():
            yield from self._unfinished(unfinished)
        for done, (place, blob) in enumerate(self._merged(), 1):
            self._seen_blobs += blob is not None
            self._seen_places += place is not None
            if place is None:
                if blob is not None:
                    yield from self._orphan(blob)
            elif (
                self._deep or blob is None or place.condemned or blob.size != place.size
            ):  # else it is as it should be, like nearly all of them
                yield from self._place(place, blob)
            if self._progress is not None and done % 1000 == 0:
                self._progress(done, max(self._catalog.use().files, done))

    def _merged(self) -> Iterator[tuple[Place | None, Blob | None]]:
        """Yield places and blobs, those of one key together."""
        blobs = self._blobs.scan()
        blob = next(blobs, None)
        for place in self._catalog.places():
            if os.path.isabs(place.location):
                yield place, None
                continue
            while blob is not None and blob.key < place.location:
                yield None, blob
                blob = next(blobs, None)
            if blob is not None and blob.key == place.location:
                yield place, blob
                blob = next(blobs, None)
            else:
                yield place, None
        while blob is not None:
            yield None, blob
            blob = next(blobs, None)

    def _orphan(self, blob: Blob) -> Iterator[tuple[Finding, Mend | None]]:
        age = self._age(blob.modified_at)
        # In this order: a writer names its key before it is done, a key is forgotten after its bytes.
        if (
            blob.kept
            or age < self._grace
            or self._blobs.being_written(blob.key)
            or self._catalog.knows(blob.key)
            or size_of(self._blobs, blob.key) is None
        ):
            return

        def delete() -> bool:
            self._catalog.adopt(blob.key, blob.size)
            return self._delete(blob.key)

        yield (
            Finding(
                "orphan",
                blob.key,
                f"{blob.size} bytes, {age / 3600:.1f} h old, that nothing in the catalog names",
                "mending deletes it",
            ),
            delete,
        )

    def _unfinished(self, upload: Unfinished) -> Iterator[tuple[Finding, Mend | None]]:
        age = self._age(upload.modified_at)
        if age < self._grace or self._blobs.being_written(upload.key):
            return

        def abort() -> bool:
            try:
                upload.abort()
            except OSError as error:
                logger.warning("%s", error, extra={"key": upload.key})
                return False
            return True

        yield (
            Finding(
                "upload",
                upload.key,
                f"an upload of {age / 3600:.1f} h ago was cut off, and its parts are still there",
                "mending aborts it",
            ),
            abort,
        )

    def _age(self, modified_at: float) -> float:
        """Return how old something is in seconds, by the clock of the place where it is."""
        if self._ahead is None:
            self._ahead = self._blobs.now() - time.monotonic()
        return max(0.0, time.monotonic() + self._ahead - modified_at)

    def _place(self, place: Place, blob: Blob | None) -> Iterator[tuple[Finding, Mend | None]]:
        if place.condemned:
            # It may have been forgotten since, or registered again; and a lease may well hold it.
            stuck = self._catalog.knows(place.location) and not self._catalog.is_live(place.location)
            if stuck and not place.leased:
                yield (
                    Finding(
                        "condemned",
                        place.location,
                        "its last ref has ended, and its bytes are still to be deleted",
                        "a sweep tries again; `stats` says why it failed",
                    ),
                    lambda: self._delete(place.location),
                )
            return
        size = blob.size if blob is not None else self._size(place.location)
        if size is None:
            # Between the two looks it may have been released and deleted.
            if self._catalog.is_live(place.location) and self._size(place.location) is None:
                folder = os.path.dirname(place.location)
                there = os.path.isdir(folder) or not os.path.isabs(place.location)
                yield (
                    Finding(
                        "missing",
                        place.location,
                        "its file is gone"
                        if there
                        else f"its folder {folder} is not there (not mounted?)",
                        "put it back; mending ends its refs" if there else "put the folder back",
                    ),
                    (lambda: self._lose(place.location)) if there else None,
                )
        elif size != place.size and not os.path.isabs(place.location):
            yield self._damaged("size", place, f"it has {size} bytes instead of {place.size}")
        elif self._deep and place.sha256:
            try:
                found = self._sha256(place.location)
            except BlobError:
                raise
            except OSError as error:
                yield self._damaged("sha256", place, f"it cannot be read: {error.strerror}")
                return
            if found not in (None, place.sha256):
                yield self._damaged("sha256", place, f"its sha256 is {found} instead of {place.sha256}")

    def _damaged(self, kind: str, place: Place, reason: str) -> tuple[Finding, None]:
        remedy = "restore its bytes from a backup, or release its refs"
        return Finding(kind, place.location, reason, remedy), None

    def _lose(self, location: str) -> bool:
        self._catalog.lose(location)
        return not self._catalog.is_live(location)

    def _delete(self, location: str) -> bool:
        self._reap([location])
        return not self._catalog.knows(location)

    def _size(self, location: str) -> int | None:
        """Return how many bytes are there, or None if it is gone."""
        if not os.path.isabs(location):
            return size_of(self._blobs, location)
        try:
            return os.stat(location).st_size
        except OSError:
            return None

    def _sha256(self, location: str) -> str | None:
        try:
            with open(location, "rb") if os.path.isabs(location) else self._blobs.open(location) as file:
                digest = hashlib.sha256()
                while chunk := file.read(1 << 20):
                    digest.update(chunk)
                return digest.hexdigest()
        except FileNotFoundError:
            return None
