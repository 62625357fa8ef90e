"""A real S3 server for the tests: SeaweedFS on free ports of the loopback, with a folder of its own."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Self

KEY, SECRET = "test-access-key", "test-secret-key"
BUCKET = "media"
START_SECONDS = 120.0


class Seaweed:
    """One server with one empty bucket; a context manager."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="seaweed-"))
        self._process: subprocess.Popen[bytes] | None = None
        names = ("master", "volume", "filer", "s3")
        self._reserved, ports = _reserved_ports(2 * len(names))
        self.ports = dict(zip(names, ports, strict=False))
        self._grpc = dict(zip(names, ports[len(names) :], strict=True))

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.ports['s3']}"

    @property
    def options(self) -> dict[str, str]:
        """What an obstore store needs besides the URL."""
        return {
            "endpoint": self.endpoint,
            "access_key_id": KEY,
            "secret_access_key": SECRET,
            "region": "us-east-1",
        }

    def __enter__(self) -> Self:
        weed = Path(sys.executable).with_name("weed")
        command = [str(weed if weed.exists() else shutil.which("weed")), "server"]
        (self._folder / "data").mkdir()
        (self._folder / "s3.json").write_text(json.dumps(_identities()))
        command += [
            f"-dir={self._folder / 'data'}",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            "-master.telemetry=false",
            "-master.volumeSizeLimitMB=64",
            "-volume.max=100",
            "-s3",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            f"-s3.config={self._folder / 's3.json'}",
            f"-filer.localSocket={self._folder / 'filer.sock'}",
            f"-s3.localSocket={self._folder / 's3.sock'}",
        ]
        for name, port in self.ports.items():
            command += [f"-{name}.port={port}", f"-{name}.port.grpc={self._grpc[name]}"]
        with open(self._folder / "log", "wb") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self._folder,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env={"PATH": os.environ.get("PATH", ""), "HOME": str(self._folder)},
            )
        try:
            self._wait()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Kill the server: asked politely it takes 17 seconds."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        for one in self._reserved:
            one.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def uploads(self, bucket: str = BUCKET) -> list[str]:
        """Return the multipart uploads that have neither been completed nor aborted."""
        url = f"http://127.0.0.1:{self.ports['filer']}/buckets/{bucket}/.uploads/?limit=1000"
        request = urllib.request.Request(url, headers={"Accept": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                found = json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                if error.code == 404:
                    return []
            raise
        return [it["FullPath"] for it in found.get("Entries") or []]

    def _wait(self) -> None:
        import obstore
        from obstore.store import S3Store

        assert self._process is not None
        store = S3Store(
            BUCKET,
            client_options={"allow_http": True, "timeout": "5s"},
            retry_config={"max_retries": 0},
            **self.options,
        )
        until = time.monotonic() + START_SECONDS
        problem = ""
        while time.monotonic() < until:
            if self._process.poll() is not None:
                raise RuntimeError(f"SeaweedFS ended: {self._log()}")
            try:
                self._make_bucket()
                obstore.put(store, "ready", b"x")
                obstore.delete(store, "ready")
                return
            except (OSError, obstore.exceptions.BaseError) as error:
                problem = str(error)
            time.sleep(0.1)
        raise RuntimeError(f"SeaweedFS is not ready: {problem}\n{self._log()}")

    def _make_bucket(self) -> None:
        """Make the bucket, which is a folder of the filer."""
        filer = f"http://127.0.0.1:{self.ports['filer']}/buckets/{BUCKET}/"
        try:
            urllib.request.urlopen(urllib.request.Request(filer, method="POST"), timeout=5).close()
        except urllib.error.HTTPError as error:
            with error:
                if error.code != 409:  # it is there
                    raise

    def _log(self) -> str:
        return (self._folder / "log").read_text(errors="replace")[-20000:]


def _reserved_ports(count: int) -> tuple[list[socket.socket], list[int]]:
    """Return ports of the loopback, all different, and what keeps them for the server.

    They are bound and not listened at: Linux lets an address be bound twice if both say SO_REUSEADDR and
    neither listens yet (socket(7)). Elsewhere they are only free.
    """
    taken = [socket.socket() for _ in range(count)]
    for one in taken:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in taken]
    if sys.platform != "linux":
        for one in taken:
            one.close()
    return taken, ports


def _identities() -> dict[str, object]:
    credentials = [{"accessKey": KEY, "secretKey": SECRET}]
    actions = ["Admin", "Read", "List", "Tagging", "Write"]
    return {"identities": [{"name": "tests", "credentials": credentials, "actions": actions}]}
