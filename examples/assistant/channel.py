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

    A crash before they are queued leaves media without a message: they end with their time to live.
    """
    came = [(path, MediaMeta(source="chat")) for path in files]
    refs = store.put_many(came, scope_of(INBOUND, chat, message))
    media = [_described(store, ref) for ref in refs]
    is_new = queues.put("inbound", message, chat, {"text": text, "media": media})
    if not is_new:  # the platform has told us twice; the first time counts
        for ref in refs:
            store.release(ref)
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


def _described(store: MediaStore, ref: str) -> dict[str, Any]:
    meta = store.entry(ref).meta
    return {"ref": ref, "name": meta.filename, "type": meta.content_type}
