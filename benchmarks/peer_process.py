"""A peer in a process of its own: what it takes to be there, and one of several that put at once.

`python -m benchmarks.peer_process memory NAME FOLDER FILE` prints how many bytes the process grows by
when NAME is imported and opened, and by how much more while it puts FILE.

`python -m benchmarks.peer_process put NAME FOLDER COUNT` says when it is ready. For each line that it is
given it then puts COUNT files, and prints when that began and ended.
"""

import os
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

from benchmarks.measure import ROOT, highest_growth, resident_bytes
from benchmarks.peer_stores import PEERS

SMALL = os.urandom(1000)
PATIENCE_SECONDS = 120


class Group:
    """Some processes that put small files into one folder, all at once, whenever they are told to."""

    def __init__(self, name: str, folder: Path, processes: int, count: int) -> None:
        self._total = processes * count
        self._workers = [_started("put", name, str(folder), str(count)) for _ in range(processes)]

    def wait(self) -> None:
        """Return when all are ready."""
        for worker in self._workers:
            self._answer(worker)

    def seconds(self) -> float:
        """Return the seconds of one put, of all together."""
        for worker in self._workers:
            worker.stdin.write("go\n")  # type: ignore[union-attr]
            worker.stdin.flush()  # type: ignore[union-attr]
        times = [[float(it) for it in self._answer(worker).split()] for worker in self._workers]
        return (max(end for _, end in times) - min(start for start, _ in times)) / self._total

    def _answer(self, worker: "subprocess.Popen[str]") -> str:
        line = worker.stdout.readline()  # type: ignore[union-attr]
        if not line:
            raise RuntimeError(f"a process has failed: {worker.args!r}")
        return line

    def close(self) -> None:
        """Have them end, and wait for that."""
        for worker in self._workers:
            worker.communicate(timeout=PATIENCE_SECONDS)


def memory(name: str, folder: Path, file: Path) -> tuple[int, int]:
    """Return by how many bytes a process grows that opens `name`, and that puts `file` then."""
    process = _started("memory", name, str(folder), str(file))
    told, _ = process.communicate(timeout=PATIENCE_SECONDS)
    if process.returncode:
        raise RuntimeError(f"a process has failed: {process.args!r}")
    opened, put = map(int, told.split())
    return opened, put


def _started(*words: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "benchmarks.peer_process", *words]
    return subprocess.Popen(command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def _measure_memory(name: str, folder: Path, file: Path) -> None:
    before = resident_bytes()
    with closing(PEERS[name](folder)) as peer:
        peer.each(peer.put, [SMALL])  # what is loaded once belongs to being there
        print(resident_bytes() - before, highest_growth(lambda: peer.put_file(file)))


def _put_whenever_told(name: str, folder: Path, count: int) -> None:
    with closing(PEERS[name](folder)) as peer:
        peer.each(peer.put, [os.urandom(16) + SMALL])
        print("ready", flush=True)
        for _ in sys.stdin:
            them = [os.urandom(16) + SMALL for _ in range(count)]
            start = time.monotonic()  # one clock for all processes of a machine
            peer.each(peer.put, them)
            print(start, time.monotonic(), flush=True)


if __name__ == "__main__":
    what, name, folder, rest = sys.argv[1:]
    if what == "memory":
        _measure_memory(name, Path(folder), Path(rest))
    else:
        _put_whenever_told(name, Path(folder), int(rest))
