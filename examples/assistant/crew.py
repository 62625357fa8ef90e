"""The two workers, and whoever starts one again that has died."""

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from dataclasses import dataclass
from multiprocessing.context import SpawnProcess
from pathlib import Path

from examples.assistant.media import OUTBOUND, TURN, scope_of
from examples.assistant.outside import SENDING
from examples.assistant.queues import Queues
from examples.assistant.worker import work

from mediakeep import MediaStore

NAMES = ("worker 1", "worker 2")


@dataclass(frozen=True, slots=True)
class Death:
    """What a killed worker left: the leases that it held, and the refs of what it had half done."""

    where: str
    exit_code: int | None
    leases: int
    refs: tuple[str, ...]


class Crew:
    """Starts the workers, and starts each again when it has died."""

    def __init__(self, folder: Path, store: MediaStore) -> None:
        self._folder = folder
        self._store = store
        self._processes: dict[str, SpawnProcess] = {}
        self._lock = threading.Lock()
        self.port = 0
        self.deaths: list[Death] = []
        self.crashes: list[int | None] = []
        self.names = {os.getpid(): "channel"}
        """Who is which process, the dead among them."""

    def start(self) -> None:
        """Start the workers that do not live."""
        for name in NAMES:
            with self._lock:
                process = self._processes.get(name)
                if process is not None and process.is_alive():
                    continue
                if process is not None:
                    self._buried(process)
                new = multiprocessing.get_context("spawn").Process(
                    target=work, args=(self._folder, name, self.port), name=name, daemon=True
                )
                new.start()
                self._processes[name] = new
                self.names[new.pid or 0] = name
            self._note("a supervisor", f"starts {name}{' again' if process else ''}")

    def wait(self, seconds: float) -> None:
        """Wait for as long, or until a worker dies."""
        sentinels = [process.sentinel for process in self._processes.values()]
        multiprocessing.connection.wait(sentinels, seconds)

    # --8<-- [start:kill]
    def kill(self, pid: int, where: str, chat: str, message: str) -> None:
        """Kill a worker with SIGKILL, and write down what it leaves behind.

        It waits for an answer that it never gets, so what it has does not change while we look.
        """
        scope = scope_of(OUTBOUND if where == SENDING else TURN, chat, message)
        left = list(self._store.entries(scope))
        leases = sum(entry.leases for entry in left)
        counts = f"{len(left)} of its refs live in {scope}, and it holds {leases} lease"
        self._note("kill -9", f"ends {self.names[pid]} while it is {where}: {counts}")
        with self._lock:
            process = next(it for it in self._processes.values() if it.pid == pid)
            process.kill()
            process.join()
            refs = tuple(entry.ref for entry in left)
            self.deaths.append(Death(where, process.exitcode, leases, refs))

    # --8<-- [end:kill]

    def stop(self) -> None:
        """Let the workers finish what they are at."""
        with self._lock:
            for process in self._processes.values():
                process.terminate()
            for process in self._processes.values():
                process.join()
                self._buried(process)
            self._processes.clear()

    def _buried(self, process: SpawnProcess) -> None:
        # One that is stopped before it listens to that ends by SIGTERM itself.
        if process.exitcode not in (0, -signal.SIGTERM, -signal.SIGKILL):
            self.crashes.append(process.exitcode)
        process.close()

    def _note(self, who: str, what: str) -> None:
        with Queues(self._folder) as queues:
            queues.note(who, what)
