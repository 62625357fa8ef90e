"""What the model may call. A tool is given refs by the model, and gives bytes back, as tools do."""

import base64
import io
import math
import struct
import wave
from typing import Any

from examples.assistant.handover import belongs
from examples.assistant.media import HISTORY, KEEP, KEPT, TURN, scope_of
from examples.assistant.queues import Message

from mediakeep import MediaError, MediaStore
from mediakeep.messages import externalize

RATE = 8_000


class NotYoursError(Exception):
    """The model has named a ref that is not of its chat."""


class Toolbox:
    """The tools of one turn. What they make lives in the scope of the turn."""

    def __init__(self, store: MediaStore, message: Message) -> None:
        self._store = store
        self._message = message
        self._turn = scope_of(TURN, message.chat, message.id)
        self.goodbye = False

    # --8<-- [start:use]
    def use(self, call: dict[str, Any]) -> dict[str, Any]:
        """Do what the model asks for; return the result, in which refs stand for what was made."""
        given = call["input"]
        result: dict[str, Any] = {"type": "tool_result", "tool_use_id": call["id"]}
        try:
            match call["name"]:
                case "draw":
                    made = self._draw(given["picture"], given["caption"])
                case "speak":
                    made = _media("answer.wav", "audio", speak(given["text"]), "audio/wav")
                case "keep":
                    made = self._keep(given["media"])
                case "goodbye":
                    self.goodbye = True
                    made = _said("the conversation ends")
                case name:
                    made = _said(f"there is no tool {name!r}")
        except (MediaError, NotYoursError) as error:
            return {**result, "content": _said(str(error)), "is_error": True}
        source = f"tool:{call['name']}"
        kept = externalize(made, self._store, self._turn, min_bytes=1, source=source)
        return {**result, "content": _labelled(kept)}

    # --8<-- [end:use]

    # --8<-- [start:checked]
    def _checked(self, ref: str) -> str:
        """Return the ref if it is of this chat: what a model names may come from anywhere."""
        if not belongs(self._store, ref, self._turn, f"{HISTORY}:{self._message.chat}"):
            raise NotYoursError(f"{ref} is not of this chat")
        return ref

    # --8<-- [end:checked]

    def _draw(self, picture: str, caption: str) -> list[dict[str, Any]]:
        # While the picture is being worked on nothing takes it away, whatever ends meanwhile.
        with self._store.lease(self._checked(picture)) as media:
            return _media("card.png", "image", draw(media.path.read_bytes(), caption), "image/png")

    def _keep(self, ref: str) -> list[dict[str, Any]]:
        scope = scope_of(KEEP, self._message.chat, self._message.id)
        self._store.share(self._checked(ref), scope, ttl=KEPT)
        return _said("kept")


def draw(picture: bytes, caption: str) -> bytes:
    """Return a card with the picture and a caption, as PNG."""
    from PIL import Image, ImageDraw, ImageOps

    with Image.open(io.BytesIO(picture)) as source:
        small = ImageOps.contain(ImageOps.exif_transpose(source).convert("RGBA"), (240, 240))
    card = Image.new("RGB", (small.width + 32, small.height + 64), "#fdf6e3")
    card.paste(small, (16, 16), small)
    ImageDraw.Draw(card).text((16, card.height - 32), caption, fill="#334155")
    made = io.BytesIO()
    card.save(made, "PNG")
    return made.getvalue()


def speak(text: str) -> bytes:
    """Return a voice note as WAV: the voice of a robot, with a tone for each letter."""
    samples = bytearray()
    for letter in text:
        tone = 220 * 2 ** (ord(letter) % 24 / 12)
        for n in range(RATE // 20):
            loud = 9_000 * math.sin(math.pi * n / (RATE // 20)) * letter.isalnum()
            samples += struct.pack("<h", int(loud * math.sin(2 * math.pi * tone * n / RATE)))
    made = io.BytesIO()
    with wave.open(made, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE)
        out.writeframes(samples)
    return made.getvalue()


def _said(text: str) -> list[dict[str, Any]]:
    return [{"type": "text", "text": text}]


def _media(name: str, kind: str, data: bytes, content_type: str) -> list[dict[str, Any]]:
    """Return what tools over MCP return: the bytes themselves, in base64."""
    part = {"type": kind, "data": base64.b64encode(data).decode(), "mimeType": content_type}
    return [{"type": "text", "text": name}, part]


def _labelled(content: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Write the ref behind the name of what was made, so that the model can speak of it."""
    if len(content) == 2:
        name, part = content
        return [{"type": "text", "text": f"{name['text']}: {part['data']}"}, part]
    return content
