"""One medium on its way to a model."""

from mediakeep.messages.fetching import Fetched, Withheld, fetch, look
from mediakeep.messages.providers import Provider
from mediakeep.messages.shapes import Slot
from mediakeep.store import MediaStore


def fetched(store: MediaStore, ref: str, content_type: str, provider: Provider) -> Fetched | str:
    """Return what to send of the medium of `ref`, or a text that says why there is nothing.

    Pictures are made to fit the provider's limits for one picture.

    Args:
        store: where it is.
        ref: names it.
        content_type: what the message says of it; may be empty.
        provider: who gets it.
    """
    try:
        known = look(store, ref, Slot("", (), "", (), content_type))
        return fetch(store, known, provider, many=False)
    except Withheld as withheld:
        return str(withheld)
