"""Copying a live store into another one: refs unchanged, bytes verified, again and again.

Both catalogs give their entries in the same order, and a copied ref has the same scope, time and name
there. So one look at both side by side tells what is missing, and what has ended since an earlier copy;
it takes the memory of a few pages, however many refs there are. Whatever that look says is looked at
again before anything is done about it.

What a crash between two steps leaves: bytes that are staged without a row, which the target's next sweep
removes, and a lease in the source, which lapses.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from mediakeep.blobs import size_of
from mediakeep.bringing import Bringing
from mediakeep.carrying import OF_THE_FILE, is_blob
from mediakeep.errors import (
    MediaElsewhere,
    MediaError,
    RefExpired,
    RefReconciled,
    RefReleased,
    UnknownRef,
)
from mediakeep.model import Entry
from mediakeep.store import MediaStore

__all__ = ["CopyFailure", "CopyReport", "copy"]

JOBS = 8
"""How many files are copied at a time: what takes long is waiting for the other side."""

GIVE_UP = 10
"""After how many failures in a row that are not the fault of a file it is better to stop."""

NAMED = 1000
"""How many failures a report names."""


@dataclass(frozen=True, slots=True)
class CopyFailure:
    """A ref that could not be copied, and why; the next copy tries again."""

    ref: str
    scope: str
    location: str
    reason: str


@dataclass(frozen=True, slots=True)
class CopyReport:
    """What a copy did, or with `dry_run` would do.

    `refs` are new in the target, for which the bytes of `files` were copied (`size` of them). Of these
    files the source owns `taken` where they lie, and the target has them among its blobs. `registered`
    counts refs of borrowed files, which have the same path in both. `there` were refs that the target
    had. `ended` were ended in the target, since they had ended in the source. `dead` are live in the
    source and have ended in the target, which leaves them so. `failed` refs were not copied; `failures`
    names the first 1,000.
    """

    refs: int = 0
    files: int = 0
    size: int = 0
    taken: int = 0
    registered: int = 0
    there: int = 0
    ended: int = 0
    dead: int = 0
    failed: int = 0
    failures: tuple[CopyFailure, ...] = ()


def copy(
    source: MediaStore,
    target: MediaStore,
    *,
    tell: Callable[[CopyFailure], object] | None = None,
    progress: Callable[[int, int], object] | None = None,
    dry_run: bool = False,
    revive: bool = False,
    jobs: int = JOBS,
) -> CopyReport:
    """Copy all that is live in `source` into `target`, and end there what has ended in `source`.

    Refs keep their names, scopes, metas, policies and times. Both stores may be in use meanwhile. Only
    what is new is copied, so that a second copy takes up where another one was cut off, and is quick
    when little has changed. The source is never changed. Variants and leases are not copied.

    What is read must have the size and sha256 that the source's books say; what was written is read
    again and compared. A file that the source borrows where it lies is registered at the same path. One
    that it owns there is put into the target's blobs, since two stores must not delete the same file.

    A ref of the target ends only if the source knows for certain that it was released or has expired;
    what it does not know are the target's own. A ref that has ended in the target stays ended there.

    Args:
        source: the store to copy from.
        target: the store to copy into; its limits are not looked at.
        tell: hears of every ref that could not be copied; the report names the first 1,000.
        progress: hears now and then how many of about how many refs have been looked at.
        dry_run: change nothing.
        revive: bring back what has ended in the target and is live in the source.
        jobs: how many files are copied at a time.

    Raises:
        MediaError: both stores have the same books, or keep their bytes in the same place.
        CatalogError, BlobError: one of them cannot be read or written at all. What has been copied
            stays, and another copy goes on from there.

    >>> from mediakeep import FileMediaStore
    >>> with FileMediaStore() as old, FileMediaStore() as new:
    ...     ref = old.put(b"hello", scope="chat:1")
    ...     report = copy(old, new)
    ...     report.refs, report.files, new.read_bytes(ref)
    (1, 1, b'hello')
    """
    if not (type(jobs) is int and jobs > 0):
        raise ValueError(f"jobs must be a positive whole number, not {jobs!r}")
    return _Copy(source, target, tell, progress, dry_run=dry_run, revive=revive).run(jobs)


class _Copy:
    """One copy, which one thread leads and several carry out."""

    def __init__(
        self,
        source: MediaStore,
        target: MediaStore,
        tell: Callable[[CopyFailure], object] | None,
        progress: Callable[[int, int], object] | None,
        *,
        dry_run: bool,
        revive: bool,
    ) -> None:
        self._source = source
        self._target = target
        self._tell = tell
        self._progress = progress
        self._dry_run = dry_run
        self._bringing = Bringing(source, target, dry_run=dry_run, revive=revive)
        self._counts: Counter[str] = Counter()
        self._failures: list[CopyFailure] = []
        self._in_a_row = 0
        self._seen = 0
        self._total = 0
        self._under_way: deque[tuple[Entry, Future[Counter[str]]]] = deque()
        self._at_work: set[str] = set()  # locations in either store
        self._checked = False

    def run(self, jobs: int) -> CopyReport:
        if self._progress is not None:
            self._total = self._source._catalog.stats().refs
        pool = ThreadPoolExecutor(jobs, thread_name_prefix="mediakeep-copy")
        try:
            pairs = _side_by_side(self._source._catalog.entries(), self._target._catalog.entries())
            for mine, theirs in pairs:
                if mine is not None and theirs is not None:
                    self._check_books(mine, theirs)
                    self._counts["there"] += 1
                    self._saw_one()
                elif mine is not None:
                    self._check_blobs(mine)
                    self._begin(pool, self._bringing.bring, mine)
                elif theirs is not None:
                    self._begin(pool, self._end, theirs)
                while len(self._under_way) >= 4 * jobs:
                    self._finish_one()
            while self._under_way:
                self._finish_one()
        except BaseException:
            self._bringing.stop()
            raise
        finally:
            pool.shutdown(cancel_futures=True)
        if self._progress is not None:
            self._progress(self._seen, self._seen)
        return self._report()

    def _begin(
        self, pool: ThreadPoolExecutor, work: Callable[[Entry], Counter[str]], entry: Entry
    ) -> None:
        # Refs of one file one after the other, so that its bytes are copied once.
        while entry.location in self._at_work:
            self._finish_one()
        self._at_work.add(entry.location)
        self._under_way.append((entry, pool.submit(work, entry)))

    def _finish_one(self) -> None:
        """Wait for the oldest of what is under way, and take down what came of it."""
        entry, task = self._under_way.popleft()
        try:
            self._counts += task.result()
            self._in_a_row = 0
        except MediaError as error:
            self._fail(entry, error)
        finally:
            self._at_work.remove(entry.location)
        self._saw_one()

    def _fail(self, entry: Entry, error: MediaError) -> None:
        of_the_file = isinstance(error, OF_THE_FILE)
        self._in_a_row = 0 if of_the_file else self._in_a_row + 1
        if self._in_a_row >= GIVE_UP:
            raise error
        failure = CopyFailure(entry.ref, entry.scope, entry.location, str(error))
        self._counts["failed"] += 1
        if len(self._failures) < NAMED:
            self._failures.append(failure)
        if self._tell is not None:
            self._tell(failure)

    def _saw_one(self) -> None:
        self._seen += 1
        if self._progress is not None and (self._under_way or self._seen % 500 == 0):
            self._progress(self._seen, max(self._total, self._seen))

    def _end(self, entry: Entry) -> Counter[str]:
        """End a ref of the target if the source knows that it has ended."""
        try:
            self._source._catalog.get(entry.ref)
        except RefReconciled:
            pass  # its file was lost there, and is here
        except (RefReleased, RefExpired):
            return Counter(ended=1 if self._dry_run else int(self._target.release(entry.ref)))
        except (UnknownRef, MediaElsewhere):
            pass
        return Counter()

    # -- refusals

    def _check_books(self, mine: Entry, theirs: Entry) -> None:
        # Keys are random and never used twice, so a copy has another one.
        if mine.location == theirs.location and is_blob(mine.location):
            raise MediaError(
                f"source and target have the same books: both know {mine.ref} as blob {mine.location}. "
                "Copy into a catalog of its own"
            )

    def _check_blobs(self, entry: Entry) -> None:
        """Refuse, before the first blob is copied, a target with its bytes where the source has them."""
        if self._checked or not is_blob(entry.location):
            return
        self._checked = True
        if size_of(self._target._blobs, entry.location) is not None:
            raise MediaError(
                f"the target has a blob {entry.location}, as the source does: do both keep their bytes "
                "in the same place? Each would take the other's for left over: give the target a place "
                "of its own"
            )

    def _report(self) -> CopyReport:
        counts = self._counts
        return CopyReport(
            refs=counts["refs"],
            files=counts["files"],
            size=counts["size"],
            taken=counts["taken"],
            registered=counts["registered"],
            # Refs that were brought along with another one were met again.
            there=max(0, counts["there"] - counts["ahead"]),
            ended=counts["ended"],
            dead=counts["dead"],
            failed=counts["failed"],
            failures=tuple(self._failures),
        )


def _side_by_side(
    mine: Iterator[Entry], theirs: Iterator[Entry]
) -> Iterator[tuple[Entry | None, Entry | None]]:
    """Yield the entries of both, those of the same ref together."""
    ours, other = next(mine, None), next(theirs, None)
    while ours is not None or other is not None:
        if other is None or (ours is not None and _order(ours) < _order(other)):
            yield ours, None
            ours = next(mine, None)
        elif ours is None or _order(other) < _order(ours):
            yield None, other
            other = next(theirs, None)
        else:
            yield ours, other
            ours, other = next(mine, None), next(theirs, None)


def _order(entry: Entry) -> tuple[object, ...]:
    return entry.scope, entry.stored_at, entry.ref
