"""The background sweep: a daemon thread that expires and reaps at an interval."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

logger = logging.getLogger("mediakeep.cleaner")


@dataclass(frozen=True, slots=True)
class MediaCleanerConfig:
    """When refs get too old, and how often to look.

    A ref without a time to live of its own ends when it is older than `max_age`. With a `max_age` or an
    `interval` of zero or less nothing is swept in the background.
    """

    enabled: bool = True
    max_age: timedelta = timedelta(minutes=30)
    interval: timedelta = timedelta(minutes=5)


class Cleaner:
    """Calls `sweep` every interval, in a thread that never keeps the interpreter alive."""

    __slots__ = ("_config", "_lock", "_stop", "_sweep", "_thread")

    def __init__(self, config: MediaCleanerConfig, sweep: Callable[[], object]) -> None:
        self._config = config
        self._sweep = sweep
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()

    def start(self) -> None:
        """Start sweeping, unless it is switched off or running already."""
        config = self._config
        if not config.enabled:
            return
        if config.max_age <= timedelta(0) or config.interval <= timedelta(0):
            logger.warning(
                "media cleaner not started: max_age (%s) and interval (%s) must be more than zero",
                config.max_age,
                config.interval,
            )
            return
        with self._lock:
            if self._thread is not None and self._thread.is_alive():
                return
            # A new event for a new thread: a stopped one can never be woken by accident.
            self._stop = threading.Event()
            self._thread = threading.Thread(
                target=self._run, args=(self._stop,), name="mediakeep-cleaner", daemon=True
            )
            self._thread.start()
        logger.info(
            "media cleaner enabled: every %s, refs older than %s end",
            config.interval,
            config.max_age,
        )

    def stop(self) -> None:
        """Stop sweeping; returns when a sweep in progress has come to its end."""
        with self._lock:
            thread, self._thread = self._thread, None
            self._stop.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _run(self, stop: threading.Event) -> None:
        while not stop.wait(self._config.interval.total_seconds()):
            try:
                self._sweep()
            except Exception:
                logger.exception("a sweep failed; the next one is in %s", self._config.interval)
