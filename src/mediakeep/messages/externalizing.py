"""From media in messages to refs."""

import hashlib
import logging
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeVar, cast

from mediakeep.errors import MediaError
from mediakeep.intake.data_urls import BadDataURL, DataURL, find_data_urls, parse_data_url
from mediakeep.messages.marks import BASE64, BYTES, Mark, read_mark
from mediakeep.messages.shapes import Slot, find_slot, replaced
from mediakeep.messages.trees import Leaf, Node, Role, rebuild
from mediakeep.model import MediaMeta
from mediakeep.store import MediaStore

logger = logging.getLogger("mediakeep.messages")

Tree = TypeVar("Tree")


def externalize(
    messages: Tree,
    store: MediaStore,
    scope: str,
    *,
    min_bytes: int = 1024,
    source: str = "message",
    ttl: timedelta | float | None = None,
) -> Tree:
    """Return a copy of `messages` in which refs stand where media of `min_bytes` or more were.

    The tree given is never changed. It may be any tree of dicts, lists, tuples, texts and numbers, so a
    list of messages, one message, a whole request or a tool's result; other objects stay as they are.
    What is replaced:

    - media in the shapes of OpenAI (`image_url`, `input_image`, `input_audio`, `file`, `input_file`),
      Anthropic (`image` and `document` in base64), Gemini (`inline_data`, `inlineData`) and MCP
      (`image`, `audio`, blobs of resources). The shape stays, and the ref stands where the data was;
    - data URLs in base64 in any other text. In a Markdown image the ref becomes the target.

    The same bytes become one ref. What cannot be decoded stays as it is, and so does what is a ref
    already, so that doing it twice changes nothing more. `inline` is the way back.

    Args:
        messages: the tree.
        store: where the media go.
        scope: what their refs belong to and end with.
        min_bytes: smaller media, counted decoded, stay in the messages.
        source: what the refs' meta names as their source.
        ttl: how long the refs live, as a timedelta or in seconds.

    Raises:
        CyclicTree: the tree contains itself.
        MediaError: the store refuses a medium or cannot write it (`QuotaExceeded`, `TooLarge`,
            `TypeNotAllowed`, `BlobError` …). No ref of this call is left then.

    >>> from mediakeep import FileMediaStore
    >>> message = {"role": "tool", "content": "![plot](data:image/gif;base64,R0lGODlhAQABAAAAADs=)"}
    >>> with FileMediaStore() as store:
    ...     externalize(message, store, "chat:7", min_bytes=1)["content"]
    '![plot](media://...)'
    """
    taking = _Taking(store, scope, min_bytes, source, ttl)
    try:
        return cast("Tree", rebuild(messages, node=taking.node, text=taking.text))
    except BaseException:
        taking.give_up()
        raise


@dataclass(slots=True)
class _Taking:
    """One call of `externalize`: the refs that it has made, each with the type that the store says."""

    store: MediaStore
    scope: str
    min_bytes: int
    source: str
    ttl: timedelta | float | None
    made: dict[bytes, tuple[str, str]] = field(default_factory=dict)

    def node(self, node: Node, _role: Role) -> Node:
        slot = find_slot(node)
        if slot is None:
            return node
        small = len(slot.value) < max(1, self.min_bytes)
        mark = None if small or read_mark(slot.value) else self._from_slot(slot)
        # What is in a slot is no running text: a ref in the middle of it would go out to a provider.
        return replaced(node, slot.path, Leaf(slot.value if mark is None else str(mark)))

    def text(self, text: str, _role: Role) -> str:
        if len(text) < self.min_bytes:
            return text
        pieces, before = [], 0
        for begin, end in find_data_urls(text):
            url = text[begin:end]
            found = self._decoded(url)
            if found is not None:
                is_target = text.endswith("](", 0, begin) and text.startswith(")", end)
                ref, said = self._ref(found)
                header = _header(url)
                usual = is_target and header == f"data:{said};base64,"
                pieces += [text[before:begin], str(Mark(ref, "" if usual else header))]
                before = end
        return "".join([*pieces, text[before:]]) if pieces else text

    def give_up(self) -> None:
        """End the refs of this call, so that nothing half done is left."""
        for ref, _ in self.made.values():
            try:
                self.store.release(ref)
            except MediaError as error:  # the error that brought us here is the one to raise
                logger.warning("cannot release %s: %s; it ends with scope %r", ref, error, self.scope)

    def _from_slot(self, slot: Slot) -> Mark | None:
        if isinstance(slot.value, bytes):
            ref, _ = self._ref(DataURL(slot.content_type, slot.value, slot.filename))
            return Mark(ref, BYTES)
        is_url = slot.value.lstrip()[:5].lower() == "data:"
        found = self._decoded(slot.value if is_url else f"data:;base64,{slot.value}")
        if found is None:
            return None
        name = slot.filename or found.filename
        if not is_url:
            ref, _ = self._ref(DataURL(slot.content_type, found.data, name))
            return Mark(ref, BASE64 if slot.is_url else "")
        ref, said = self._ref(DataURL(found.content_type, found.data, name))
        header = _header(slot.value)
        return Mark(ref, "" if slot.is_url and header == f"data:{said};base64," else header)

    def _decoded(self, url: str) -> DataURL | None:
        """Return what `url` holds if it is to be replaced."""
        try:
            found = parse_data_url(url)
        except BadDataURL:
            return None
        return found if len(found.data) >= max(1, self.min_bytes) else None

    def _ref(self, found: DataURL) -> tuple[str, str]:
        """Return the ref of these bytes, and the content type that the store gives with it."""
        digest = hashlib.sha256(found.data).digest()
        if digest not in self.made:
            meta = MediaMeta(found.filename, found.content_type, self.source)
            ref = self.store.put(found.data, meta, self.scope, ttl=self.ttl)
            self.made[digest] = ref, ""  # from now on it is ours to release
            self.made[digest] = ref, self.store.resolve_with_meta(ref).meta.content_type
        return self.made[digest]


def _header(url: str) -> str:
    """Return what stands before the data of a data URL, as one in base64 has it."""
    header = url[: url.index(",") + 1]
    return header if header[:-1].rstrip().lower().endswith("base64") else f"{header[:-1]};base64,"
