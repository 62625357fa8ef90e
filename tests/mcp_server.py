"""`mediakeep mcp` as a process, and the SDK's client of it, over each transport."""

import os
import re
import select
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from mcp import Client
from mcp.client.stdio import StdioServerParameters

COMMAND = [sys.executable, "-m", "mediakeep", "mcp"]
DEADLINE = 30.0


@contextmanager
def serving(*arguments: str | Path, **environment: str) -> Iterator[str]:
    """Run the command with --http at a free port, and give its address."""
    with (
        tempfile.TemporaryFile("w+") as log,
        subprocess.Popen(
            [*COMMAND, "--http", "--port", "0", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=log,
            env={**os.environ, **environment},
            text=True,
        ) as process,
    ):
        assert process.stdout is not None
        try:
            ready, _, _ = select.select([process.stdout], [], [], DEADLINE)
            found = re.search(r"http://\S+", process.stdout.readline() if ready else "")
            if found is None:
                process.kill()
                log.seek(0)
                raise AssertionError(f"the server did not start: {log.read()}")
            yield found[0]
        finally:
            process.terminate()
            try:
                process.wait(DEADLINE)
            finally:
                process.kill()


@asynccontextmanager
async def connected(
    transport: str, *arguments: str | Path, mode: str = "auto", handler=None, cwd: Path | None = None
) -> AsyncIterator[Client]:
    """Start the command, and give a client of it."""
    options = {"mode": mode, "message_handler": handler, "read_timeout_seconds": DEADLINE}
    if transport == "http":
        with serving(*arguments) as address:
            async with Client(address, **options) as client:
                yield client
    else:
        started = StdioServerParameters(
            command=COMMAND[0],
            args=[*COMMAND[1:], *map(str, arguments)],
            env=dict(os.environ),
            cwd=cwd,
        )
        async with Client(started, **options) as client:
            yield client
