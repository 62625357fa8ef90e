"""The two ends of a channel: what comes in is kept and queued, what is to go out is sent."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from examples.assistant.media import INBOUND, OUTBOUND, scope_of
from examples.assistant.outside import Line
from examples.assistant.queues import Message, Outcome, Queues

from mediakeep import MediaMeta, MediaStore, UnknownRef


# --8<-- [start:receive]
def receive(
    store: MediaStore, queues: Queues, chat: str, message: str, text: str, files: Sequence[Path]
) -> bool:
    """Keep the files of a message and queue it; return whether it is a new one.

    A crash after the first line leaves media without a message: they end with their time to live.
    """
    media = [_kept(store, path, scope_of(INBOUND, chat, message)) for path in files]
    is_new = queues.put("inbound", message, chat, {"text": text, "media": media})
    if not is_new:  # the platform has told us twice; the first time counts
        for medium in media:
            store.release(medium["ref"])
    return is_new


# --8<-- [end:receive]


# --8<-- [start:send]
def send(store: MediaStore, line: Line, message: Message) -> Outcome:
    """Send a reply with its media, each leased until the platform has it."""
    words = message.body["text"]
    with ExitStack() as hold:
        media = []
        for ref in message.body["media"]:
            try:
                hold.enter_context(store.lease(ref))
                media.append(store.data_url(ref))
            except UnknownRef as gone:
                words += f" (a file could not be sent: {gone})"
        # The key is the same at each delivery: by it the platform knows what it has shown already.
        line.send(message, words, media)
    return Outcome((scope_of(OUTBOUND, message.chat, message.id.removesuffix(":reply")),))


# --8<-- [end:send]


def _kept(store: MediaStore, path: Path, scope: str) -> dict[str, Any]:
    ref = store.put(path, MediaMeta(source="chat"), scope)
    return {"ref": ref, "name": path.name, "type": store.entry(ref).meta.content_type}
