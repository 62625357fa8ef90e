"""`mediakeep mcp` as a process, over each transport."""

import os
import re
import select
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mcp.client.stdio import StdioServerParameters

COMMAND = [sys.executable, "-m", "mediakeep", "mcp"]
DEADLINE = 30.0


@dataclass
class Process:
    """The command as a process, and the address that it serves at."""

    address: str
    process: subprocess.Popen[str]


@contextmanager
def serving(*arguments: str | Path, **environment: str) -> Iterator[Process]:
    """Run the command with --http at a free port, and give it once it serves."""
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
            yield Process(found[0], process)
        finally:
            process.terminate()
            try:
                process.wait(DEADLINE)
            finally:
                process.kill()


def started(*arguments: str | Path) -> StdioServerParameters:
    """What starts the command for a client that speaks over its standard input and output."""
    said = [*COMMAND[1:], *map(str, arguments)]
    return StdioServerParameters(command=COMMAND[0], args=said, env=dict(os.environ))
