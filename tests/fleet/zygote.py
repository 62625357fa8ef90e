"""A fresh interpreter that has imported what workers need, and forks one worker for each line it reads.

Nothing is opened before the fork: neither obstore nor a pool of connections would survive it. So each
worker is as good as one that was started anew, and is there in some milliseconds.

    {"run": "module:function", "with": {…}}   ->   <pid>, and at its end   <pid> <exit code>
"""

import importlib
import json
import os
import select
import signal
import sys
import time
import traceback

if "FLEET_AHEAD" in os.environ:
    time.time = lambda right=time.time, ahead=float(os.environ["FLEET_AHEAD"]): right() + ahead

import botocore.session

import mediakeep.blobs.objects
import mediakeep.catalogs.postgres  # noqa: F401
from mediakeep.blobs import uploads


def main() -> None:
    # Read once, and not by each of them; nothing is connected to.
    session = botocore.session.Session()
    session.register_component("data_loader", uploads._descriptions())
    session.create_client("s3", "us-east-1", aws_access_key_id="no", aws_secret_access_key="no").close()

    ended, end = os.pipe()
    os.set_blocking(end, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(end, warn_on_full_buffer=False)
    lines = b""
    while True:
        ready, _, _ = select.select([0, ended], [], [])
        if ended in ready:
            os.read(ended, 4096)
            _tell_the_ends()
        if 0 in ready:
            data = os.read(0, 65536)
            if not data:
                return
            *tasks, lines = (lines + data).split(b"\n")
            for task in tasks:
                _start(json.loads(task))


def _tell_the_ends() -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        os.write(1, b"%d %d\n" % (pid, os.waitstatus_to_exitcode(status)))


def _start(task: dict) -> None:
    module, _, name = task["run"].partition(":")
    run = getattr(importlib.import_module(module), name)
    pid = os.fork()
    if pid:
        os.write(1, b"%d\n" % pid)
        return
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, 0)
        os.dup2(2, 1)
        run(**task["with"])
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
