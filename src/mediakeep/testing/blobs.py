"""What must hold of every place for bytes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mediakeep.blobs import Blobs
from mediakeep.errors import (
    CatalogError,
)
from mediakeep.testing.setting import no, raises, yes


class BlobsContract:
    """What must hold of every place for bytes. Override `make_blobs`; each test gets a fresh one."""

    def make_blobs(self) -> Blobs:
        """Return an empty place."""
        raise NotImplementedError

    @contextmanager
    def _opened(self) -> Iterator[Blobs]:
        blobs = self.make_blobs()
        try:
            yield blobs
        finally:
            blobs.close()

    def test_bytes_come_back_from_every_kind_of_source(self) -> None:
        import hashlib
        import io

        data = bytes(range(256)) * 9000
        sources: list[Callable[[], object]] = [
            lambda: data,
            lambda: bytearray(data),
            lambda: memoryview(data),
            lambda: io.BytesIO(data),
            lambda: iter([data[:1], b"", data[1:70000], memoryview(data)[70000:]]),
        ]
        with self._opened() as blobs:
            for source in sources:
                with blobs.stage(source(), is_named=no) as staged:  # type: ignore[arg-type]
                    pass
                assert (staged.size, staged.sha256) == (
                    len(data),
                    hashlib.sha256(data).hexdigest(),
                )
                assert blobs.path(staged.key).read_bytes() == data
                with blobs.open(staged.key) as file:
                    assert file.read() == data

    def test_a_key_is_never_given_twice_and_comes_back_from_its_path(self) -> None:
        with self._opened() as blobs:
            keys = set()
            for _ in range(50):
                with blobs.stage(b"same", is_named=no) as staged:
                    keys.add(staged.key)
            assert len(keys) == 50
            assert [it.key for it in blobs.scan()] == sorted(keys)
            for key in keys:
                assert blobs.key(str(blobs.path(key))) == key

    def test_a_source_that_fails_leaves_nothing(self) -> None:
        def broken() -> Iterator[bytes]:
            yield b"half"
            raise ZeroDivisionError

        with self._opened() as blobs:
            with raises(ZeroDivisionError), blobs.stage(broken(), is_named=no):
                pass
            with raises(TypeError), blobs.stage(iter([b"x", "text"]), is_named=no):  # type: ignore[arg-type]
                pass
            assert list(blobs.scan()) == []
            assert list(blobs.leftovers()) == []

    def test_bytes_whose_block_raises_go_unless_they_have_been_named(self) -> None:
        for named in (True, False):
            for kept in (True, False):
                with self._opened() as blobs:
                    before = {it.key for it in blobs.scan()}
                    with (
                        raises(ZeroDivisionError),
                        blobs.stage(b"x", is_named=yes if named else no, kept=kept) as staged,
                    ):
                        assert list(blobs.leftovers()) == [], "its writer is still at work"
                        assert blobs.being_written(staged.key)
                        assert blobs.settle(no) == 0
                        raise ZeroDivisionError
                    left = {it.key for it in blobs.scan()} - before
                    assert left == ({staged.key} if named else set())
                    assert list(blobs.leftovers()) == []
                    assert not blobs.being_written(staged.key)

    def test_what_cannot_be_settled_is_left_to_a_later_settling(self) -> None:
        def cannot_tell(key: str) -> bool:
            raise CatalogError(key)

        with self._opened() as blobs:
            keys = []
            for _ in range(2):
                with raises(ZeroDivisionError), blobs.stage(b"x", is_named=cannot_tell) as staged:
                    keys.append(staged.key)
                    raise ZeroDivisionError
            assert len(list(blobs.leftovers())) == 2
            assert blobs.settle(lambda key: key == keys[0]) == 2
            assert [it.key for it in blobs.scan()] == keys[:1]
            assert blobs.settle(no) == 0

    def test_what_it_holds_is_told_by_key_size_and_keeping(self) -> None:
        with self._opened() as blobs:
            for kept in (True, False):
                with blobs.stage(b"four", is_named=no, kept=kept) as staged:
                    pass
                assert blobs.holds(staged.key, 4, kept=kept)
                assert not blobs.holds(staged.key, 5, kept=kept)
                assert not blobs.holds(staged.key, 4, kept=not kept)
            assert not blobs.holds(staged.key[:-1], 4, kept=False)

    def test_deleting_is_final_and_repeatable(self) -> None:
        with self._opened() as blobs:
            with blobs.stage(b"x", is_named=no) as staged:
                pass
            for _ in range(2):
                blobs.delete(staged.key)
                assert list(blobs.scan()) == []
            with raises(FileNotFoundError):
                blobs.open(staged.key)

    def test_kept_bytes_are_not_deleted(self) -> None:
        blobs = self.make_blobs()
        with blobs.stage(b"x", is_named=no, kept=True) as staged:
            path = blobs.path(staged.key)
        blobs.delete(staged.key)
        blobs.close()
        assert path.read_bytes() == b"x"
