"""Another machine of the fleet: a store in a process of its own, perhaps with a wrong clock."""

import glob
import secrets
import tempfile
import time
from contextlib import ExitStack
from datetime import timedelta
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import Any, Self

from mediakeep import MediaCleanerConfig, open_store

from .children import Workers

LIBFAKETIME = sorted(glob.glob("/usr/lib/*/faketime/libfaketime.so.1"))
"""Moves the clock for all of a process, obstore and psycopg too (https://github.com/wolfcw/libfaketime)."""


def wrong_clock(ahead: int, *, everywhere: bool) -> dict[str, str]:
    """Return the environment of a machine whose clock is `ahead` by so many seconds.

    Either for everything in a process, by libfaketime, but for the times of files, which a file server
    gives. Or only where mediakeep itself could look: the time of Python. A service refuses requests of a
    clock that is wrong by more than a quarter of an hour.
    """
    if not everywhere:
        return {"FLEET_AHEAD": str(ahead)}
    return {
        "LD_PRELOAD": LIBFAKETIME[-1],
        "FAKETIME": f"{ahead:+d}",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
    }


class Machine:
    """A store elsewhere; a context manager. `ask` calls a verb of it there.

    Args:
        workers: what starts its process.
        where: what opens the store.
        max_age: of its cleaner, in seconds.
    """

    def __init__(self, workers: Workers, where: dict[str, Any], *, max_age: float | None = None) -> None:
        self._workers = workers
        self._given = {"where": where, "max_age": max_age}

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            address, key = str(Path(folder, "socket")), secrets.token_bytes(16)
            listener = stack.enter_context(Listener(address, "AF_UNIX", authkey=key))
            self._worker = self._workers.start(
                "fleet.machine:serve", address=address, key=key.hex(), **self._given
            )
            self._line: Connection = listener.accept()
            stack.callback(self._worker.wait)  # which ends when nobody is there to ask
            stack.callback(self._line.close)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def ask(self, verb: str, *arguments: Any, **options: Any) -> Any:
        """Return what the verb returns there, a lease with its number; raise what it raises."""
        self.send(verb, *arguments, **options)
        return self.receive()

    def send(self, verb: str, *arguments: Any, **options: Any) -> None:
        """Ask, and do not wait until it is done."""
        self._line.send((verb, arguments, options))

    def receive(self) -> Any:
        """Wait until it is done."""
        result = self._line.recv()
        if isinstance(result, Exception):
            raise result
        return result


def serve(address: str, key: str, where: dict[str, Any], max_age: float | None) -> None:
    """Do what is asked, until nobody is there to ask."""
    leases: dict[str, Any] = {}

    def lease(ref: str) -> Path:
        leases[ref] = store.lease(ref)
        return leases[ref].__enter__().path

    def end_lease(ref: str) -> None:
        leases.pop(ref).__exit__(None, None, None)

    own = {"lease": lease, "end_lease": end_lease, "time": time.time}
    every = timedelta(minutes=5)
    cleaner = max_age and MediaCleanerConfig(
        enabled=True, max_age=timedelta(seconds=max_age), interval=every
    )
    with (
        Client(address, "AF_UNIX", authkey=bytes.fromhex(key)) as line,
        open_store(**where, cleaner=cleaner or None) as store,
    ):
        while True:
            try:
                verb, arguments, options = line.recv()
            except EOFError:
                return
            try:
                result = (own.get(verb) or getattr(store, verb))(*arguments, **options)
            except Exception as error:
                result = error
            line.send(result)
