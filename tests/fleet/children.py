"""Workers as processes of their own, by way of :mod:`fleet.zygote`."""

import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

TESTS = Path(__file__).parents[1]
PATIENCE = 60.0


class Worker:
    """One process that runs one function."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._ended = threading.Event()
        self._code: int | None = None

    def kill(self) -> None:
        """Kill it, if it lives, without a chance to tidy up."""
        if not self._ended.is_set():
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def wait(self, seconds: float = PATIENCE) -> int:
        """Return its exit code: 0, 1 if it raised, -9 if it was killed."""
        if not self._ended.wait(seconds):
            raise TimeoutError(f"worker {self.pid} is still alive after {seconds:g} s")
        assert self._code is not None
        return self._code

    def ended(self, code: int) -> None:
        """Hear of its end."""
        self._code = code
        self._ended.set()


class Workers:
    """Starts workers; a context manager that kills those that are left. `env` is what they see."""

    def __init__(self, env: dict[str, str] | None = None) -> None:
        paths = [str(TESTS), *sys.path]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "fleet.zygote"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **(env or {}), "PYTHONPATH": os.pathsep.join(filter(None, paths))},
        )
        self._workers: dict[int, Worker] = {}
        self._begun: list[Worker] = []
        self._lock = threading.Lock()
        self._heard = threading.Condition(self._lock)
        self._starting = threading.Lock()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for worker in list(self._workers.values()):
            worker.kill()
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def start(self, run: str, **given: Any) -> Worker:
        """Start a worker that calls `run`, a `module:function`, with what can be written as JSON."""
        assert self._process.stdin is not None
        with self._starting:
            task = json.dumps({"run": run, "with": given}, default=os.fspath)
            self._process.stdin.write(f"{task}\n".encode())
            self._process.stdin.flush()
            with self._heard:
                if not self._heard.wait_for(lambda: self._begun, PATIENCE):
                    raise TimeoutError("no worker was started: see what the zygote said on stderr")
                return self._begun.pop()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            pid, *code = map(int, line.split())
            with self._heard:
                if code:
                    self._workers.pop(pid).ended(code[0])
                else:
                    self._workers[pid] = Worker(pid)
                    self._begun.append(self._workers[pid])
                    self._heard.notify_all()
