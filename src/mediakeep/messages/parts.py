"""Parts of messages that are built anew, in the shape of one provider."""

import base64
import json

from mediakeep.intake.types import extension
from mediakeep.messages.shapes import AUDIO_FORMATS, Slot, kind_of, replaced
from mediakeep.messages.trees import Node, Role

_FORMATS = {content_type: name for name, content_type in AUDIO_FORMATS.items()}


def text_part(family: str, text: str, role: Role) -> Node:
    """Return a part that says `text`, as `family` has it in a message of `role`."""
    if family == "gemini":
        return {"text": text}
    if family != "openai-responses":
        return {"type": "text", "text": text}
    if role == "assistant":
        return {"type": "output_text", "text": text, "annotations": []}
    return {"type": "input_text", "text": text}


def media_part(family: str, content_type: str, data: bytes, slot: Slot, filename: str) -> Node | None:
    """Return a part that carries `data`, or None where `family` has none for such.

    What `slot`, where it was before, says of its detail is kept.
    """
    kind = kind_of(content_type)
    match family:
        case "openai":
            return _openai(kind, content_type, data, slot, filename)
        case "openai-responses":
            return _openai_responses(kind, content_type, data, slot, filename)
        case "anthropic":
            return _anthropic(kind, content_type, data, filename)
        case "gemini":
            return {"inline_data": {"mime_type": content_type, "data": encoded(data)}}
    return None


def restored(node: Node, slot: Slot, data: str | bytes, content_type: str) -> Node:
    """Return `node` with `data` in its slot; `content_type`, if given, becomes its type."""
    node = replaced(node, slot.path, data)
    if content_type and slot.type_path:
        audio_format = slot.type_path[-1] == "format"
        said = _FORMATS.get(content_type, content_type) if audio_format else content_type
        node = replaced(node, slot.type_path, said)
    return node


def encoded(data: bytes) -> str:
    """Return `data` in base64 (RFC 4648, section 4)."""
    return base64.b64encode(data).decode("ascii")


def base64_size(size: int) -> int:
    """Return how long `size` bytes are in base64."""
    return -(-size // 3) * 4


def json_size(text: str) -> int:
    """Return how many bytes `text` is in a request: in JSON (RFC 8259, section 7) and UTF-8."""
    written = _JSON.encode(text)
    return len(written) if written.isascii() else len(written.encode("utf-8", "surrogatepass"))


def goes_as_text(family: str, content_type: str) -> bool:
    """Return whether `family` has such a medium as text only, and not in base64."""
    return family == "anthropic" and content_type == "text/plain"


def data_size(family: str, content_type: str, data: bytes) -> int:
    """Return how many bytes `data` takes in a request to `family`."""
    if goes_as_text(family, content_type):
        return json_size(data.decode(errors="replace"))
    return base64_size(len(data))


_JSON = json.JSONEncoder(ensure_ascii=False)


def _openai(kind: str, content_type: str, data: bytes, slot: Slot, filename: str) -> Node | None:
    match kind:
        case "image":
            image = {"url": _data_url(content_type, data), **_detail(slot)}
            return {"type": "image_url", "image_url": image}
        case "audio" if content_type in _FORMATS:
            return {
                "type": "input_audio",
                "input_audio": {"data": encoded(data), "format": _FORMATS[content_type]},
            }
        case "file":
            file = {
                "filename": _named(filename, content_type),
                "file_data": _data_url(content_type, data),
            }
            return {"type": "file", "file": file}
    return None


def _openai_responses(
    kind: str, content_type: str, data: bytes, slot: Slot, filename: str
) -> Node | None:
    url = _data_url(content_type, data)
    match kind:
        case "image":
            return {"type": "input_image", "image_url": url, "detail": "auto", **_detail(slot)}
        case "file":
            return {
                "type": "input_file",
                "filename": _named(filename, content_type),
                "file_data": url,
            }
    return None


def _anthropic(kind: str, content_type: str, data: bytes, filename: str) -> Node | None:
    if goes_as_text("anthropic", content_type):
        try:
            text = data.decode()
        except UnicodeDecodeError:
            return None
        source = {"type": "text", "media_type": content_type, "data": text}
    else:
        source = {"type": "base64", "media_type": content_type, "data": encoded(data)}
    match kind:
        case "image":
            return {"type": "image", "source": source}
        case "file":
            return {"type": "document", "source": source, **({"title": filename} if filename else {})}
    return None


def _named(filename: str, content_type: str) -> str:
    # OpenAI refuses a file without a name.
    return filename or f"file{extension(content_type)}"


def _detail(slot: Slot) -> Node:
    return {"detail": slot.detail} if isinstance(slot.detail, str) else {}


def _data_url(content_type: str, data: bytes) -> str:
    return f"data:{content_type};base64,{encoded(data)}"
