"""From a ref to the bytes that a provider takes, or to the reason why there are none."""

import hashlib
import logging
import os
from dataclasses import dataclass, replace
from pathlib import Path

from mediakeep.errors import (
    BlobError,
    MediaError,
    QuotaExceeded,
    RefExpired,
    RefReconciled,
    RefReleased,
    UnknownRef,
)
from mediakeep.images import ImageRules, UnusableImage, fitted
from mediakeep.intake.declared import declared_type
from mediakeep.intake.names import display_name
from mediakeep.intake.types import HEAD_BYTES, essence, settle, sniff
from mediakeep.messages.parts import base64_size
from mediakeep.messages.providers import Provider
from mediakeep.messages.shapes import Slot, kind_of
from mediakeep.model import NO_META, MediaMeta
from mediakeep.store import MediaStore

logger = logging.getLogger("mediakeep.messages")


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a medium before its bytes are asked for."""

    ref: str
    meta: MediaMeta
    content_type: str
    """What the bytes show, else what was said of them; by its one name."""
    size: int | None
    filename: str

    @property
    def kind(self) -> str:
        """Which kind of media it is."""
        return kind_of(self.content_type)


@dataclass(frozen=True, slots=True)
class Fetched:
    """The bytes to send, and what they are."""

    content_type: str
    data: bytes


class Withheld(Exception):
    """There is nothing to send, and `known` is what can be said of it."""

    def __init__(self, reason: str, known: Known) -> None:
        super().__init__(reason)
        self.reason = reason
        self.known = known

    def __str__(self) -> str:
        """Return the text that stands for the medium, in one line."""
        known = self.known
        name = display_name(known.filename).replace("[", "(").replace("]", ")")
        size = "" if known.size is None else in_units(known.size)
        content_type = "" if "*" in known.content_type else short_type(known.content_type)
        what = ", ".join(it for it in (f'"{name}"' if name else "", content_type, size) if it)
        return f"[{known.kind} left out: {what + ': ' if what else ''}{_line(self.reason)}]"


def look(store: MediaStore, ref: str, slot: Slot, said: str = "") -> Known:
    """Return what is known of the medium of `ref`; `said` is the type that its place says.

    Raises:
        Withheld: the ref is not live, or its file is not there.
    """
    content_type = slot.content_type or said
    unknown = Known(ref, NO_META, essence(content_type) or _likely(slot), None, slot.filename)
    try:
        meta = store.resolve_with_meta(ref).meta
        with store.open(ref) as file:
            head = file.read(HEAD_BYTES)
            size = file.seek(0, os.SEEK_END)  # an object in a bucket is no file of this machine
    except UnknownRef as error:
        raise Withheld(_why(error), replace(unknown, size=_last_size(store, ref))) from error
    except (MediaError, OSError) as error:
        raise Withheld(_why(error), unknown) from error
    shown = sniff(head)
    content_type = settle(content_type or meta.content_type, shown) or shown.content_type
    return Known(ref, meta, essence(content_type), size, slot.filename or meta.filename)


def fetch(store: MediaStore, known: Known, provider: Provider, *, many: bool) -> Fetched:
    """Return what to send of a medium: its bytes, or those of a picture that fits the provider's limits.

    Args:
        store: where it is.
        known: what `look` has told of it.
        provider: whose limits hold.
        many: whether there are so many images that the stricter limit holds.

    Raises:
        Withheld: it cannot be sent.
    """
    try:
        if known.kind == "image" and not provider.gives_back:
            return _picture(store, known, provider, many=many)
        spelled = provider.spelled(known.content_type)
        if spelled is None:
            said = short_type(known.content_type) or "unknown type"
            raise Withheld(f"{provider.name} takes no {said}", known)
        most = provider.file_bytes
        if most is not None and base64_size(known.size or 0) > most:
            raise Withheld(f"too large, at most {in_units(most)} of base64 are taken", known)
        return Fetched(spelled, store.read_bytes(known.ref))
    except (MediaError, OSError) as error:
        raise Withheld(_why(error), known) from error


def short_type(content_type: str) -> str:
    """Return a content type as a model may see it: what a stranger wrote is no room for a letter."""
    return declared_type(content_type).partition(";")[0][:100]


def in_units(size: int) -> str:
    """Return a number of bytes as people write it.

    >>> in_units(999), in_units(5_242_880)
    ('999 bytes', '5.2 MB')
    """
    if size < 1000:
        return f"{size} bytes"
    amount, unit = (size / 1e3, "kB") if size < 999_500 else (size / 1e6, "MB")
    return f"{amount:.0f} {unit}" if amount >= 10 else f"{amount:.1f} {unit}"


class _FitsAsItIs(Exception):
    """There is no variant to make."""


def _picture(store: MediaStore, known: Known, provider: Provider, *, many: bool) -> Fetched:
    rules = ImageRules(
        provider.image_types,
        max_bytes=provider.most_image_bytes,
        max_edge=provider.many_images_edge if many else provider.image_edge,
        animated=provider.animated,
    )

    def make(path: Path) -> bytes:
        data = fitted(path, rules)
        if data is None:
            raise _FitsAsItIs
        return data

    if not rules.content_types:
        raise Withheld(f"{provider.name} takes no images", known)
    try:
        with store.lease(known.ref) as media:
            try:
                data = store.variant(known.ref, _variant(rules), make).read_bytes()
            except (QuotaExceeded, BlobError, FileNotFoundError):  # no room to keep it
                data = make(media.path)
        content_type = sniff(data[:HEAD_BYTES]).content_type
    except _FitsAsItIs:
        data = store.read_bytes(known.ref)
        content_type = known.content_type
    except UnusableImage as error:
        raise Withheld(f"it {error.reason}", known) from error
    return Fetched(provider.spelled(content_type) or content_type, data)


def _variant(rules: ImageRules) -> str:
    told = repr((sorted(rules.content_types), rules.max_bytes, rules.max_edge, rules.animated))
    return f"model-{hashlib.sha256(told.encode()).hexdigest()[:16]}"


def _why(error: MediaError | OSError) -> str:
    match error:
        case RefReconciled():
            return "lost, its file was deleted"
        case RefReleased():
            return "released"
        case RefExpired():
            return "expired"
        case UnknownRef():
            return "unknown"
        case FileNotFoundError():
            return "missing, its file was deleted"
    logger.warning("a medium cannot be sent: %s", error)
    return f"it cannot be read now ({type(error).__name__})"


def _last_size(store: MediaStore, ref: str) -> int | None:
    """Return how large the file of an ended ref was, if the journal still tells."""
    try:
        return next((line.size for line in store.history(ref)), None)
    except MediaError as error:  # it would only have told a little more
        logger.warning("cannot tell how large %s was: %s", ref, error)
        return None


def _likely(slot: Slot) -> str:
    """Return a content type that says no more than the kind, for want of a better one."""
    return f"{slot.carries[0]}/*" if len(slot.carries) == 1 and slot.carries[0] != "file" else ""


def _line(text: str) -> str:
    """Return `text` as one line that does not end the brackets around it."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line[:200].replace("[", "(").replace("]", ")")
