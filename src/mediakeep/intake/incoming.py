"""Bytes on their way in: counted, looked at, and judged before they fill the disk."""

from collections.abc import Iterator
from dataclasses import replace

from mediakeep.blobs.sources import Source, chunks
from mediakeep.catalogs import Use
from mediakeep.catalogs.rules import check_room
from mediakeep.intake.names import display_name
from mediakeep.intake.rules import check_size, check_type
from mediakeep.intake.types import HEAD_BYTES, Sniffed, proven, settle, sniff
from mediakeep.model import Limits, MediaMeta


class Incoming:
    """The chunks of one source, to be iterated over once; then it tells what they were.

    Args:
        source: the bytes.
        meta: what is said of them.
        limits: what may come in.
        before: how much the store has had, where the limits ask for it.
    """

    __slots__ = ("_before", "_limits", "_sniffed", "_source", "meta", "size")

    def __init__(
        self, source: Source, meta: MediaMeta, limits: Limits | None, before: Use | None
    ) -> None:
        self._source = source
        self._limits = limits
        self._before = before
        self._sniffed = Sniffed("", False)
        self.meta = meta
        self.size = 0

    def __iter__(self) -> Iterator[memoryview]:
        """Yield the chunks.

        Raises:
            TooLarge, QuotaExceeded, TypeNotAllowed: they are more, or other, than the limits allow.
        """
        head = b""
        looked = False
        for chunk in chunks(self._source):
            self.size += len(chunk)
            if not looked:
                head += bytes(chunk[: HEAD_BYTES - len(head)])
                looked = len(head) >= HEAD_BYTES
                if looked:
                    self._look(head)
            self._check_size()
            yield chunk
        if not looked:
            self._look(head)
            self._check_size()

    def _look(self, head: bytes) -> None:
        self._sniffed = sniff(head)
        if self._limits is not None:
            check_type(self._limits, self.proven, self.declared)

    def _check_size(self) -> None:
        """Refuse what has come so far.

        The catalog has the last word: two writers may both be let in here, and not both there.
        """
        if self._limits is not None:
            check_size(self._limits, self.size, self.proven)
            if self._before is not None:
                after = Use(self._before.files + 1, self._before.size + self.size)
                check_room(self._limits, self._before, after)

    @property
    def declared(self) -> str:
        """The content type that was said of the bytes."""
        return self.meta.content_type

    @property
    def detected(self) -> str:
        """The content type that the bytes show, or an empty string."""
        return self._sniffed.content_type

    @property
    def proven(self) -> str:
        """The content type that rules go by."""
        return proven(self.declared, self._sniffed)

    def settled_meta(self) -> MediaMeta:
        """Return what is to be kept: with the type that is to be believed, and a clean name."""
        content_type = settle(self.declared, self._sniffed)
        filename = display_name(self.meta.filename) if self.meta.filename else ""
        if (content_type, filename) == (self.meta.content_type, self.meta.filename):
            return self.meta
        return replace(self.meta, content_type=content_type, filename=filename)
