"""The sweep of a served store: every so often, by one of the workers that serve it."""

import asyncio
import fcntl
import logging
import os
from pathlib import Path

from mediakeep.errors import MediaError
from mediakeep.http.service import Service

logger = logging.getLogger("mediakeep.http")


class Sweeper:
    """Sweeps while it has its turn, which it keeps for as long as the process lives.

    The turn is a lock on a file, so that it passes on at once when its holder dies.
    """

    __slots__ = ("_handle", "_path", "_service")

    def __init__(self, service: Service, path: Path | None) -> None:
        self._service = service
        self._path = path
        self._handle = -1

    async def run(self) -> None:
        """Sweep every `sweep_seconds`, until cancelled."""
        seconds = self._service.config.sweep_seconds
        if not seconds:
            return
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(seconds)
            if not self._has_turn():
                continue
            began = loop.time()
            report = None
            try:
                with self._service.traces.verb("sweep"):
                    report = await self._service.writes.sweep()
            except Exception as error:
                quiet = isinstance(error, MediaError)
                logger.error(
                    "a sweep failed, the next one is in %g s: %s",
                    seconds,
                    error,
                    exc_info=None if quiet else error,
                )
            self._service.metrics.swept(report, loop.time() - began)
            if report is not None and (report.expired or report.deleted):
                self._service.feed.look_again()

    def close(self) -> None:
        """Give the turn to another."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def _has_turn(self) -> bool:
        if self._path is None or self._handle >= 0:
            return True
        handle = os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return False
        self._handle = handle
        return True
