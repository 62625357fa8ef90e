"""Refs in and out of model messages: the history stays small, and the model gets what it can take.

`externalize` puts the media of a message tree into a store and leaves refs in their places; `inline`
is the way back when the messages are sent, in the shape and within the limits of one provider.

>>> from mediakeep import FileMediaStore
>>> import base64
>>> picture = base64.b64encode(b"GIF89a" + bytes(2000)).decode()
>>> part = {"type": "image", "data": picture, "mimeType": "image/gif"}
>>> with FileMediaStore() as store:
...     (kept_part,) = externalize([part], store, "chat:7:turn:1")
...     kept_part.get("data")[:8], inline([kept_part], store) == [part]
('media://', True)
"""

from mediakeep.messages.externalizing import externalize
from mediakeep.messages.inlining import inline
from mediakeep.messages.providers import PROVIDERS, Provider
from mediakeep.messages.trees import CyclicTree

__all__ = ["PROVIDERS", "CyclicTree", "Provider", "externalize", "inline"]
