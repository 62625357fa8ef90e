"""Leases: a hold on a file while it is being used, kept alive by a heartbeat where leases can lapse."""

import logging
import os
import threading
import weakref
from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from mediakeep.errors import MediaError
from mediakeep.model import Media

if TYPE_CHECKING:
    from mediakeep.store import MediaStore

logger = logging.getLogger("mediakeep.leases")

LEASE_SECONDS = 60.0
"""How long a lease outlives a holder that died; a living one renews it three times as often."""


class Lease:
    """A hold on the file of a ref, as a context manager that gives its path and meta.

    While the block is open nothing deletes the file, whatever is released, expires or is swept, in any
    process. When it ends and nothing else needs the file, the file goes at once. One object may be
    entered again once it has ended.
    """

    __slots__ = ("_copy", "_number", "_store", "ref")

    def __init__(self, store: "MediaStore", ref: str) -> None:
        self._store = store
        self._number = 0
        self._copy: AbstractContextManager[Path] | None = None
        self.ref = ref

    def __enter__(self) -> Media:
        if self._number:
            raise RuntimeError(
                f"this lease of {self.ref} is held already: ask the store for another one"
            )
        number, found = self._store._begin_lease(self.ref)
        path = found.path
        if path is None:
            try:
                copy = self._store._on_this_machine(found)
                path = copy.__enter__()
            except BaseException:
                self._store._end_lease(number)
                raise
            self._copy = copy
        self._number = number
        return Media(path, found.meta)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        number, self._number = self._number, 0
        copy, self._copy = self._copy, None
        try:
            if copy is not None:
                copy.__exit__(None, None, None)
        finally:
            self._store._end_lease(number)


class Renews(Protocol):
    """What lets leases last longer, such as a catalog; see :meth:`Catalog.renew`."""

    def renew(self, leases: Iterable[int], seconds: float) -> list[int]:
        """Let the leases last for `seconds` from now; return those that had lapsed and are gone."""


class Heartbeat:
    """Renews the live leases of one store from a daemon thread, which runs while there are any."""

    __slots__ = ("__weakref__", "_catalog", "_leases", "_lock", "_lost", "_seconds", "_stop", "_thread")

    def __init__(self, catalog: Renews, seconds: float) -> None:
        self._catalog = catalog
        self._seconds = seconds
        self.after_fork()
        _hearts.add(self)

    def after_fork(self) -> None:
        """Start afresh in a child, which holds none of its parent's leases."""
        self._lock = threading.Lock()
        self._leases: set[int] = set()
        self._lost: set[int] = set()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, lease: int) -> None:
        """Keep `lease` alive from now on."""
        with self._lock:
            if self._thread is None:
                stop = threading.Event()
                thread = threading.Thread(
                    target=self._run, args=(stop,), name="mediakeep-leases", daemon=True
                )
                thread.start()  # which may fail: then the next lease tries
                self._stop, self._thread = stop, thread
            self._leases.add(lease)

    def remove(self, lease: int) -> bool:
        """Keep it alive no longer; return whether it is this process's.

        A child that was forked inside a lease's block leaves the block too, and the lease is its
        parent's.
        """
        with self._lock:
            if lease not in self._leases and lease not in self._lost:
                return False
            self._leases.discard(lease)
            self._lost.discard(lease)
            return True

    def stop(self) -> None:
        """Renew nothing any more; returns when a renewal in progress has ended."""
        with self._lock:
            self._leases.clear()
            thread, self._thread = self._thread, None
            self._stop.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _run(self, stop: threading.Event) -> None:
        while not stop.wait(self._seconds / 3):
            with self._lock:
                if not self._leases:
                    self._thread = None
                    return
                leases = list(self._leases)
            try:
                lost = self._catalog.renew(leases, self._seconds)
            except MediaError as error:
                logger.warning("leases not renewed, trying again in %g s: %s", self._seconds / 3, error)
                continue
            except Exception:  # else this thread would end, and all leases lapse
                logger.exception("leases not renewed, trying again in %g s", self._seconds / 3)
                continue
            with self._lock:
                # What has just ended is no loss.
                lost = [lease for lease in lost if lease in self._leases]
                self._leases.difference_update(lost)
                self._lost.update(lost)
            if lost:
                logger.error(
                    "%d leases had lapsed before they were renewed (was the process stopped for %g s?): "
                    "their files may be gone",
                    len(lost),
                    self._seconds,
                    extra={"leases": lost},
                )


_hearts: "weakref.WeakSet[Heartbeat]" = weakref.WeakSet()


def _after_fork() -> None:
    for heart in _hearts:
        heart.after_fork()


os.register_at_fork(after_in_child=_after_fork)
