"""The verbs of a store, awaited: the same ones, off the event loop, on asyncio and on trio."""

import asyncio
import inspect
import io
import os
import threading
from contextlib import aclosing
from itertools import pairwise
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from anyio.streams.file import FileReadStream

from cancelling import Stepped, run, suspends
from mediakeep import (
    FileMediaStore,
    Lease,
    Limits,
    MediaMeta,
    MediaMissing,
    MediaScope,
    MediaStore,
    ScopeClosed,
    TooLarge,
    UnknownRef,
)
from mediakeep.aio import AsyncLease, AsyncMediaScope, AsyncMediaStore

META = MediaMeta("a.bin", "application/x-thing", "test")
LARGE = os.urandom(2_500_000)


@pytest.fixture(params=["asyncio", "trio"])
def backend(request):
    return request.param


# -- the same verbs


def public(kind):
    return {name for name in dir(kind) if not name.startswith("_")}


def parameters(verb):
    """Names, kinds and defaults."""
    found = inspect.signature(verb).parameters.values()
    return [(it.name, it.kind, it.default) for it in found]


@pytest.mark.parametrize(
    ("ours", "theirs", "more"),
    [
        (AsyncMediaStore, MediaStore, {"stream", "sync"}),
        (AsyncMediaScope, MediaScope, set()),
        (AsyncLease, Lease, set()),
    ],
)
def test_no_verb_and_no_parameter_is_forgotten(ours, theirs, more):
    names = {"close": "aclose"}
    assert public(ours) - more == {names.get(name, name) for name in public(theirs)}
    for name in public(theirs):
        if callable(getattr(theirs, name)):
            verb = getattr(ours, names.get(name, name))
            assert parameters(verb) == parameters(getattr(theirs, name)), name


def test_each_verb_gives_what_the_store_gives(store, make, backend, tmp_path):
    async def main():
        awaited = AsyncMediaStore(store)
        assert awaited.sync is store
        taken = await awaited.put(b"bytes", META, "a:b", ttl=60)
        copied = await awaited.put(make(), META, "a:b")
        placed = await awaited.store(make("other.jpg"), META, "a")
        shared = await awaited.share(taken, "c")
        for ref in (taken, copied, placed, shared):
            assert await awaited.resolve(ref) == store.resolve(ref)
            assert await awaited.resolve_with_meta(ref) == store.resolve_with_meta(ref)
            assert await awaited.entry(ref) == store.entry(ref)
            assert await awaited.read_bytes(ref) == store.read_bytes(ref)
            assert await awaited.data_url(ref) == store.data_url(ref)
        assert [it async for it in awaited.entries("a", nested=True)] == list(
            store.entries("a", nested=True)
        )
        assert await awaited.scopes() == ["a", "a:b", "c"]
        assert await awaited.stats(by_scope=True) == store.stats(by_scope=True)
        exported = await awaited.export(taken, tmp_path, mode=0o640)
        assert exported.read_bytes() == b"bytes"
        assert exported.stat().st_mode & 0o777 == 0o640
        variant = await awaited.variant(taken, "upper", lambda path: path.read_bytes().upper())
        assert variant.read_bytes() == b"BYTES"
        assert await awaited.release(taken) is True
        assert await awaited.release(taken) is False
        assert [it async for it in awaited.history(taken)] == list(store.history(taken))
        await awaited.release_all("a", nested=True)
        assert await awaited.scopes() == ["c"]
        assert [it.result for it in await awaited.erase("c")] == ["deleted"] * 2  # and its variant
        assert await awaited.erase("c", wait=1) == ()
        assert await awaited.sweep() == store.sweep()
        assert await awaited.clean_expired() == 0
        assert (await awaited.reconcile()).clean
        await awaited.start()
        await awaited.stop()

    run(backend, main)


def test_errors_are_those_of_the_store(store, backend, tmp_path):
    async def main():
        awaited = AsyncMediaStore(store)
        for verb in (awaited.resolve, awaited.entry, awaited.read_bytes):
            with pytest.raises(UnknownRef):
                await verb("media://nobody")
        with pytest.raises(UnknownRef):
            async with awaited.lease("media://nobody"):
                pass
        with pytest.raises(UnknownRef):
            async with awaited.open("media://nobody"):
                pass
        with pytest.raises(UnknownRef):
            await anext(awaited.stream("media://nobody"))
        with pytest.raises(MediaMissing):
            await awaited.store(tmp_path / "not there")
        with pytest.raises(TypeError, match="scope must be a str"):
            await awaited.put(b"", META, 1)

    run(backend, main)


def test_nothing_but_a_number_of_threads_is_one(store):
    for threads in (0, -1, 1.5, True, None):
        with pytest.raises(ValueError, match="positive whole number"):
            AsyncMediaStore(store, threads=threads)


def test_look_ups_in_memory_are_answered_at_once():
    with FileMediaStore() as store:
        awaited = AsyncMediaStore(store)
        ref = store.put(b"bytes")
        assert not suspends(awaited.resolve(ref))
        assert not suspends(awaited.resolve_with_meta(ref))
        assert not suspends(awaited.entry(ref))
        lease = awaited.lease(ref)
        assert not suspends(lease.__aenter__())
        assert store.stats().leases == 1


@pytest.mark.parametrize("kind", ["folder"], indirect=True)
def test_look_ups_on_a_disk_are_not_made_in_the_loop(store, backend):
    async def main():
        ref = store.put(b"bytes")
        looked = Stepped(lambda: AsyncMediaStore(store).resolve(ref), lambda n: None)
        assert await looked == store.resolve(ref)
        assert looked.steps

    run(backend, main)


# -- threads


def test_other_work_in_threads_does_not_hold_up_the_store(store, backend):
    async def main():
        awaited = AsyncMediaStore(store)
        go_on = threading.Event()
        busy = int(anyio.to_thread.current_default_thread_limiter().total_tokens)
        async with anyio.create_task_group() as group:
            for _ in range(busy + 1):
                group.start_soon(anyio.to_thread.run_sync, go_on.wait)
            with anyio.fail_after(60):
                assert await awaited.read_bytes(await awaited.put(b"bytes")) == b"bytes"
            go_on.set()

    run(backend, main)


def test_a_store_keeps_no_more_threads_busy_than_it_was_given(store, backend):
    async def main():
        awaited = AsyncMediaStore(store, threads=3)
        at_work, most, lock, three = [0], [0], threading.Lock(), threading.Event()

        def source():
            with lock:
                at_work[0] += 1
                most[0] = max(most[0], at_work[0])
                if at_work[0] == 3:
                    three.set()
            three.wait(60)
            threading.Event().wait(0.01)  # in which a fourth would come
            with lock:
                at_work[0] -= 1
            yield b"bytes"

        async with anyio.create_task_group() as group:
            for _ in range(12):
                group.start_soon(awaited.put, source())
        assert most[0] == 3

    run(backend, main)


def test_a_slow_source_keeps_no_thread_from_others(store, backend):
    async def main():
        awaited = AsyncMediaStore(store, threads=1)
        go_on = anyio.Event()
        begun = anyio.Event()

        async def slow():
            yield LARGE
            begun.set()
            await go_on.wait()
            yield b"the end"

        async with anyio.create_task_group() as group:

            async def put():
                ref = await awaited.put(slow())
                assert await awaited.read_bytes(ref) == LARGE + b"the end"

            group.start_soon(put)
            await begun.wait()
            with anyio.fail_after(60):
                await awaited.put(b"bytes")
            go_on.set()

    run(backend, main)


def test_a_file_can_be_put_from_the_store_itself_with_a_single_thread(store, backend):
    async def main():
        awaited = AsyncMediaStore(store, threads=1)
        ref = await awaited.put(LARGE)
        with anyio.fail_after(60):
            copy = await awaited.put(awaited.stream(ref))
        assert store.read_bytes(copy) == LARGE

    run(backend, main)


def test_many_are_not_fetched_one_by_one(store, backend):
    async def main():
        awaited = AsyncMediaStore(store)
        for n in range(60):
            store.put(b"%d" % n, MediaMeta(str(n)), "many")
        store.release_all("many")
        for n in range(120):
            store.put(b"%d" % n, MediaMeta(str(n)), "many")

        async def entries():
            return [it.meta.filename async for it in awaited.entries("many")]

        async def history():
            return [it async for it in awaited.history(scope="many")]

        listed = Stepped(entries, lambda n: None)
        assert sorted(await listed, key=int) == [str(n) for n in range(120)]
        told = Stepped(history, lambda n: None)
        assert len(await told) == 2 * 60
        assert max(listed.steps, told.steps) <= 8

    run(backend, main)


# -- sources


class Upload:
    """What web frameworks give for a file that was sent: an asynchronous `read`, and no more."""

    def __init__(self, content):
        self.file = io.BytesIO(content)

    async def read(self, size=-1):
        return self.file.read(size)


async def same_buffer(content):
    buffer = bytearray(1000)
    for start in range(0, len(content), 1000):
        part = content[start : start + 1000]
        buffer[: len(part)] = part
        yield memoryview(buffer)[: len(part)]


async def in_one(content):
    yield b""
    yield content


SOURCES = {
    "bytes": lambda content, path: content,
    "path": lambda content, path: path,
    "iterable": lambda content, path: iter([content[:10], content[10:]]),
    "stream": lambda content, path: io.BytesIO(content),
    "asynchronous read": lambda content, path: Upload(content),
    "asynchronous iterable": lambda content, path: in_one(content),
    "a buffer that is used again": lambda content, path: same_buffer(content),
}


@pytest.mark.parametrize("content", [b"", b"small", LARGE], ids=["nothing", "small", "large"])
@pytest.mark.parametrize("make_source", SOURCES.values(), ids=SOURCES)
def test_whatever_can_be_read_can_be_put(store, backend, content, make_source, make):
    async def main():
        ref = await AsyncMediaStore(store).put(make_source(content, make("a", content)), META, "turn")
        assert store.read_bytes(ref) == content
        assert store.entry(ref).size == len(content)

    run(backend, main)


@pytest.mark.parametrize("content", [b"small", LARGE], ids=["small", "large"])
def test_streams_of_anyio_can_be_put(store, backend, content, make):
    async def main():
        awaited = AsyncMediaStore(store)
        path = make("a", content)
        async with await FileReadStream.from_path(path) as stream:
            assert store.read_bytes(await awaited.put(stream)) == content
        async with await anyio.open_file(path, "rb") as file:
            assert store.read_bytes(await awaited.put(file)) == content

    run(backend, main)


@pytest.mark.parametrize("content", [b"small\n\nlines", LARGE], ids=["small", "large"])
def test_a_stream_of_asyncio_can_be_put(store, content):
    async def main():
        async def serve(reader, writer):
            writer.write(content)
            await writer.drain()
            writer.close()
            await writer.wait_closed()

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            assert store.read_bytes(await AsyncMediaStore(store).put(reader)) == content
            writer.close()
            await writer.wait_closed()

    asyncio.run(main())


def test_a_source_that_never_waits_gives_others_their_turn(store, backend):
    async def main():
        given = 0
        turns = []

        async def busy():
            nonlocal given
            for given in range(1, 20_001):  # noqa: B007  others look at it
                yield b""
            yield b"x"

        async def other():
            while given < 20_000:
                turns.append(given)
                await anyio.lowlevel.checkpoint()

        async with anyio.create_task_group() as group:
            group.start_soon(other)
            await anyio.lowlevel.checkpoint()
            ref = await AsyncMediaStore(store).put(busy())
        assert store.read_bytes(ref) == b"x"
        assert max(b - a for a, b in pairwise([*turns, 20_000])) <= 1000

    run(backend, main)


class BoomError(Exception):
    pass


@pytest.mark.parametrize("before", [b"", b"small", LARGE], ids=["nothing", "small", "large"])
def test_what_a_source_raises_passes_through_and_nothing_is_kept(store, backend, before, tmp_path):
    async def main():
        async def source():
            yield before
            raise BoomError

        with pytest.raises(BoomError):
            await AsyncMediaStore(store).put(source(), META, "turn")

    run(backend, main)
    assert store.stats().refs == 0
    assert [path for path in tmp_path.rglob("*") if path.is_file() and is_blob(path)] == []


@pytest.mark.parametrize("before", [b"small", LARGE], ids=["small", "large"])
def test_a_source_that_gives_no_bytes_is_refused_in_the_same_words(store, backend, before):
    async def main():
        async def source():
            yield before
            yield "text"

        with pytest.raises(TypeError, match="put takes bytes, and its source gave str"):
            await AsyncMediaStore(store).put(source())
        with pytest.raises(TypeError, match="not 'a/path'"):
            await AsyncMediaStore(store).put("a/path")

    run(backend, main)
    assert store.stats().refs == 0


def test_what_is_too_large_is_refused_before_it_is_read_to_its_end(opened, backend):
    async def main():
        store = opened(limits=Limits(max_file_bytes=3_000_000))
        closed = []

        async def endless():
            try:
                while True:
                    yield b"x" * 100_000
            finally:
                closed.append(True)

        with anyio.fail_after(60), pytest.raises(TooLarge):
            await AsyncMediaStore(store).put(endless())
        assert closed
        assert store.stats().refs == 0

    run(backend, main)


def test_no_thread_stays_behind(store, backend):
    async def main():
        async def source(fails):
            yield LARGE
            if fails:
                raise BoomError

        await AsyncMediaStore(store).put(source(False))
        with pytest.raises(BoomError):
            await AsyncMediaStore(store).put(source(True))
        assert "mediakeep-put" not in {thread.name for thread in threading.enumerate()}

    run(backend, main)


# -- blocks and iterables


def test_a_lease_holds_the_file_for_its_block(store, backend):
    async def main():
        awaited = AsyncMediaStore(store)
        ref = await awaited.put(b"bytes", META, "turn")
        lease = awaited.lease(ref)
        assert lease.ref == ref
        async with lease as (path, meta):
            assert meta == META
            await awaited.release_all("turn")
            await awaited.sweep()
            assert path.read_bytes() == b"bytes"
        assert not path.exists()

    run(backend, main)


def test_a_scope_ends_with_its_block(store, make, backend):
    async def main():
        awaited = AsyncMediaStore(store)
        async with awaited.scope("turn", nested=True) as turn:
            assert turn.name == "turn"
            assert "turn" in repr(turn)
            refs = [await turn.put(b"bytes", META), await turn.store(make(), META)]
            refs.append(await turn.put(in_one(b"other bytes")))
            inner = await awaited.put(b"bytes", META, "turn:1")
        for ref in [*refs, inner]:
            with pytest.raises(UnknownRef):
                await awaited.resolve(ref)
        for late in (turn.put(b"late"), turn.put(in_one(b"late")), turn.store(make())):
            with pytest.raises(ScopeClosed):
                await late
        assert store.stats().refs == 0
        await turn.aclose()

    run(backend, main)


def test_a_scope_is_kept_on_error_if_that_was_asked_for(store, backend):
    async def main():
        with pytest.raises(BoomError):
            async with AsyncMediaStore(store).scope("turn", keep_on_error=True) as turn:
                await turn.put(b"bytes")
                raise BoomError
        assert store.scopes() == ["turn"]

    run(backend, main)


def test_the_store_is_closed_with_its_block(opened, backend, kind):
    async def main():
        async with AsyncMediaStore(opened()) as awaited:
            ref = await awaited.put(b"bytes")
            return await awaited.resolve(ref)

    path = run(backend, main)
    assert isinstance(path, Path)
    assert path.exists() is (kind != "memory")


def test_an_open_file_can_be_read_to_its_end(store, backend):
    async def main():
        awaited = AsyncMediaStore(store)
        ref = await awaited.put(LARGE)
        async with awaited.open(ref) as file:
            head = await file.read(10)
            await awaited.release(ref)
            assert head + await file.read() == LARGE
        assert file.closed

    run(backend, main)


@pytest.mark.parametrize("size", [0, 1, 999, 1000, 1001, 5000])
def test_a_stream_gives_all_bytes_in_chunks(store, backend, size):
    async def main():
        awaited = AsyncMediaStore(store)
        ref = await awaited.put(LARGE[:size])
        chunks = [chunk async for chunk in awaited.stream(ref, chunk_bytes=1000)]
        assert b"".join(chunks) == LARGE[:size]
        assert {len(chunk) for chunk in chunks[:-1]} <= {1000}
        with pytest.raises(ValueError, match="positive"):
            awaited.stream(ref, chunk_bytes=0)

    run(backend, main)


def open_files(folder):
    found = []
    for number in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{number}"))
        except FileNotFoundError:
            continue
    return [path for path in found if path.startswith(f"{folder}/") and is_blob(path)]


def is_blob(path):
    return not os.path.basename(path).startswith(("catalog.db", ".lock"))


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs Linux's /proc")
@pytest.mark.parametrize("closing", [False, True], ids=["dropped", "closed"])
def test_what_is_left_early_leaves_nothing_open(store, backend, closing, tmp_path):
    async def main():
        awaited = AsyncMediaStore(store)
        refs = [await awaited.put(LARGE + bytes([n]), META, "turn") for n in range(3)]
        store.release(refs[0])
        for items in (awaited.stream(refs[1], chunk_bytes=1000), awaited.entries(), awaited.history()):
            if closing:
                async with aclosing(items):
                    await anext(items)
                with pytest.raises(StopAsyncIteration):
                    await anext(items)
            else:
                async for _ in items:
                    break
        del items
        assert open_files(tmp_path) == []

    run(backend, main)


def test_a_stream_whose_reader_was_cancelled_misses_nothing(store, backend):
    async def main():
        awaited = AsyncMediaStore(store)
        ref = await awaited.put(LARGE)
        stream, chunks = awaited.stream(ref, chunk_bytes=100_000), []
        for at in range(1, 12):
            with anyio.CancelScope() as scope:

                def at_step(n, scope=scope, at=at):
                    if n == at:
                        scope.cancel()

                chunks.append(await Stepped(lambda: anext(stream), at_step))
        chunks += [chunk async for chunk in stream]
        assert b"".join(chunks) == LARGE

    run(backend, main)
