"""Bytes in object storage, with the books in PostgreSQL, against bare obstore and two agent frameworks.

All talk to one S3 server (SeaweedFS) on this machine. Ours is the whole store: the object, its row, and
what it does to be sure of both. The others keep no books.
"""

import asyncio
import itertools
import os
import random
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import obstore
from agno.media.storage.s3 import S3MediaStorage
from obstore.store import S3Store
from pydantic_ai_harness.media import S3MediaStore
from tests.seaweed_server import BUCKET, KEY, SECRET, Seaweed

from benchmarks.catalogs import server
from benchmarks.measure import Line, Scale, Side, fresh, interleaved, per_call, scratch
from mediakeep import MediaMeta, MediaStore, open_store

MIB = 1 << 20
SMALL, LARGE = MIB, 64 * MIB
BYTES = random.Random(7).randbytes(LARGE)
CALLS = {SMALL: 10, LARGE: 1}
RESOLVES = 200
THROUGHPUT = 0.85
META = MediaMeta("photo.jpg", "image/jpeg", "telegram")
OPENS = 3


class Bench:
    """A store, and a bucket that others may write to beside it."""

    def __init__(self, store: MediaStore, weed: Seaweed) -> None:
        self.store = store
        self.bare = S3Store(BUCKET, prefix="bare", client_options={"allow_http": True}, **weed.options)
        self.agno = S3MediaStorage(
            BUCKET,
            region="us-east-1",
            endpoint_url=weed.endpoint,
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
        )
        self.endpoint = weed.endpoint

    def put_seconds(self, size: int) -> float:
        kept: list[str] = []
        seconds = self._each(size, lambda data: kept.append(self.store.put(data, META, "telegram:1")))
        for ref in kept:
            self.store.release(ref)
        return seconds

    def bare_put_seconds(self, size: int) -> float:
        kept: list[str] = []

        def put(data: bytes) -> None:
            name = os.urandom(16).hex()
            obstore.put(self.bare, name, data)
            kept.append(name)

        seconds = self._each(size, put)
        obstore.delete(self.bare, kept)
        return seconds

    def agno_put_seconds(self, size: int) -> float:
        kept: list[str] = []

        def put(data: bytes) -> None:
            name = os.urandom(16).hex()
            kept.append(self.agno.upload(name, data, mime_type="image/jpeg", filename="photo.jpg"))

        seconds = self._each(size, put)
        self.agno.delete_many(kept)
        return seconds

    def _each(self, size: int, put: Callable[[bytes], object]) -> float:
        them = [fresh(BYTES[:size]) for _ in range(CALLS[size])]

        def run() -> None:
            for data in them:
                put(data)

        return per_call(run, len(them))


class Harness:
    """Pydantic AI's harness as its users run it: on an event loop, with one client for all requests."""

    def __init__(self, endpoint: str) -> None:
        self._loop = asyncio.Runner()
        self._client = httpx.AsyncClient(timeout=60)
        self.store = S3MediaStore(
            bucket=BUCKET,
            endpoint=endpoint,
            region="us-east-1",
            access_key_id=KEY,
            secret_access_key=SECRET,
            key_prefix="harness/",
            client=self._client,
        )

    def put_seconds(self, size: int) -> float:
        them = [fresh(BYTES[:size]) for _ in range(CALLS[size])]

        async def put_all() -> None:
            for data in them:
                await self.store.put(data)

        return per_call(lambda: self._loop.run(put_all()), len(them))

    def get_seconds(self, uris: list[str]) -> float:
        async def get_all() -> None:
            for uri in uris:
                await self.store.get(uri)

        return per_call(lambda: self._loop.run(get_all()), len(uris))

    def put(self, data: bytes) -> str:
        return self._loop.run(self.store.put(data))

    def close(self) -> None:
        self._loop.run(self._client.aclose())
        self._loop.close()


@contextmanager
def bench() -> Iterator[Bench]:
    with server() as postgres, Seaweed() as weed, scratch() as folder:
        # What is in the bucket is on the disk of this machine, and so is the cache.
        options = {**weed.options, "cache": folder / "cache"}
        with open_store(postgres.url, blobs=f"s3://{BUCKET}/ours", blob_options=options) as store:
            yield Bench(store, weed)


def put(size: int) -> Callable[[Scale], Line]:
    def measured(scale: Scale) -> Line:
        with bench() as it:
            return Line(
                f"objects: `put` of {size // MIB} MiB against bare obstore `put`, time",
                1 / THROUGHPUT,
                *interleaved(
                    lambda: it.put_seconds(size), lambda: it.bare_put_seconds(size), _rounds(scale, size)
                ),
                how=f"{CALLS[size]} a round, bytes in memory that nobody had before; obstore as it "
                "comes, which sends large bytes in parts at once",
            )

    return measured


def read_bytes(size: int) -> Callable[[Scale], Line]:
    def measured(scale: Scale) -> Line:
        with bench() as it:
            refs = [it.store.put(fresh(BYTES[:size]), META, "telegram:1") for _ in range(CALLS[size])]
            for n in range(CALLS[size]):
                obstore.put(it.bare, str(n), fresh(BYTES[:size]))

            def ours() -> None:
                for ref in refs:
                    assert len(it.store.read_bytes(ref)) == size

            def bare() -> None:
                for n in range(CALLS[size]):
                    assert len(bytes(obstore.get(it.bare, str(n)).bytes())) == size

            return Line(
                f"objects: `read_bytes` of {size // MIB} MiB against bare obstore `get`, time",
                1 / THROUGHPUT,
                *interleaved(_calling(ours, size), _calling(bare, size), _rounds(scale, size)),
                how=f"{CALLS[size]} a round; both end with `bytes` of Python",
            )

    return measured


def resolve_cached(scale: Scale) -> Line:
    with bench() as it, scratch() as folder:
        refs = [it.store.put(fresh(BYTES[:SMALL]), META, "telegram:1") for _ in range(20)]
        files = [Path(folder, str(n)) for n in range(len(refs))]
        for ref, file in zip(refs, files, strict=True):
            it.store.resolve(ref)
            file.write_bytes(fresh(BYTES[:SMALL]))
        asked = list(itertools.islice(itertools.cycle(zip(refs, files, strict=True)), RESOLVES))
        catalog = it.store._catalog

        def ours() -> None:
            for ref, _ in asked:
                it.store.resolve(ref)

        def peer() -> None:
            for ref, file in asked:
                catalog.get(ref)
                for _ in range(OPENS):
                    os.close(os.open(file, os.O_RDONLY))

        return Line(
            "objects: `resolve` of what is in the cache, against one catalog read and opening a local "
            f"file {OPENS} times",
            1.0,
            *interleaved(
                lambda: per_call(ours, RESOLVES), lambda: per_call(peer, RESOLVES), scale.rounds
            ),
            how=f"{len(refs)} objects of 1 MiB, {RESOLVES} look-ups a round; opening is `os.open` and "
            "`os.close`",
        )


def _calling(run: Callable[[], object], size: int) -> Side:
    return lambda: per_call(run, CALLS[size])


def _rounds(scale: Scale, size: int) -> int:
    return scale.rounds if size == SMALL else scale.long_rounds


# -- against the media stores of agent frameworks


def put_harness(scale: Scale) -> Line:
    with bench() as it, closing(Harness(it.endpoint)) as harness:
        return _put_line(it, "pydantic-ai-harness `S3MediaStore`", harness.put_seconds, scale)


def put_agno(scale: Scale) -> Line:
    with bench() as it:
        return _put_line(it, "agno `S3MediaStorage`", it.agno_put_seconds, scale)


def get_harness(scale: Scale) -> Line:
    with bench() as it, closing(Harness(it.endpoint)) as harness:
        uris = [harness.put(fresh(BYTES[:SMALL])) for _ in range(CALLS[SMALL])]
        line = _get_line(
            it, "pydantic-ai-harness `S3MediaStore`", lambda: harness.get_seconds(uris), scale
        )
        return replace(line, how=f"{line.how}; its client keeps its connection")


def get_agno(scale: Scale) -> Line:
    with bench() as it:
        keys = [it.agno.upload(str(n), fresh(BYTES[:SMALL])) for n in range(CALLS[SMALL])]

        def peer() -> None:
            for key in keys:
                it.agno.download(key)

        return _get_line(it, "agno `S3MediaStorage`", _calling(peer, SMALL), scale)


def _put_line(it: Bench, peer: str, seconds: Callable[[int], float], scale: Scale) -> Line:
    return Line(
        f"objects: `put` of 1 MiB against {peer}",
        1.0,
        *interleaved(lambda: it.put_seconds(SMALL), lambda: seconds(SMALL), scale.rounds),
        how=f"{CALLS[SMALL]} a round, one after the other; ours has its row in PostgreSQL, too",
    )


def _get_line(it: Bench, peer: str, seconds: Side, scale: Scale) -> Line:
    refs = [it.store.put(fresh(BYTES[:SMALL]), META, "telegram:1") for _ in range(CALLS[SMALL])]

    def ours() -> None:
        for ref in refs:
            it.store.read_bytes(ref)

    return Line(
        f"objects: `read_bytes` of 1 MiB against {peer}",
        1.0,
        *interleaved(_calling(ours, SMALL), seconds, scale.rounds),
        how=f"{CALLS[SMALL]} a round, one after the other, out of the bucket on both sides",
    )


LINES: dict[str, Callable[[Scale], Line | None]] = {
    "objects.put": put(SMALL),
    "objects.put_large": put(LARGE),
    "objects.read_bytes": read_bytes(SMALL),
    "objects.read_bytes_large": read_bytes(LARGE),
    "objects.resolve": resolve_cached,
    "objects.put_harness": put_harness,
    "objects.put_agno": put_agno,
    "objects.read_bytes_harness": get_harness,
    "objects.read_bytes_agno": get_agno,
}
