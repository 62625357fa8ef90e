"""The shapes in which the APIs carry media: where in a part the data is, and how to build one.

Sources: the request types of the SDKs `openai` (Chat Completions and Responses), `anthropic` (Messages),
`google-genai` (generateContent), the Model Context Protocol's schema (2025-11-25, ContentBlock and
ResourceContents), and `langchain-core` (1.7, messages/content.py).
"""

from typing import Any, NamedTuple

from mediakeep.messages.trees import Node
from mediakeep.refs import is_ref

KINDS = ("image", "audio", "video", "file")
"""What a medium is to a model; a `file` is whatever is none of the others."""

AUDIO_FORMATS = {"wav": "audio/wav", "mp3": "audio/mpeg"}
"""The `format` of OpenAI's `input_audio`, and the content type of each."""


class Slot(NamedTuple):
    """The place in a part of a message that holds media."""

    family: str
    """Whose shape it is: `openai`, `openai-responses`, `anthropic`, `gemini`, `mcp` or `langchain`;
    `anthropic-url` is Anthropic's for what is not in the message."""
    path: tuple[str, ...]
    """The keys that lead to the data."""
    value: str | bytes
    """The data as it stands there: base64, a data URL, a ref; bytes where an SDK's types have them."""
    carries: tuple[str, ...]
    """The kinds of media that the shape is for."""
    content_type: str = ""
    """As written beside the data; empty where a data URL says it."""
    type_path: tuple[str, ...] = ()
    """The keys that lead to the content type, if it is written beside the data."""
    filename: str = ""
    detail: object = None
    """OpenAI's level of detail of an image."""
    is_url: bool = False
    """Whether the data stands there as a URL, and not as base64."""


def kind_of(content_type: str) -> str:
    """Return which of the `KINDS` a content type is.

    >>> kind_of("image/png"), kind_of("application/pdf")
    ('image', 'file')
    """
    kind = content_type.partition("/")[0]
    return kind if kind in KINDS else "file"


def find_slot(node: Node) -> Slot | None:
    """Return where `node` holds media, or None if it is no part of a known shape."""
    finder = _BY_TYPE.get(kind) if isinstance(kind := node.get("type"), str) else None
    if finder is not None and (slot := finder(node)) is not None:
        return slot
    return _gemini(node) or _contents(node) or _langchain(node)


def replaced(node: Node, path: tuple[str, ...], value: object) -> Node:
    """Return a copy of `node` with `value` at the end of `path`; what is off the path is shared."""
    copy = dict(node)
    copy[path[0]] = value if len(path) == 1 else replaced(copy[path[0]], path[1:], value)
    return copy


# -- finding


def _image_url(node: Node) -> Slot | None:
    image = node.get("image_url")
    if isinstance(image, dict):
        return _slot(
            "openai", node, ("image_url", "url"), ("image",), url=True, detail=image.get("detail")
        )
    return _slot("openai", node, ("image_url",), ("image",), url=True, detail=node.get("detail"))


def _input_image(node: Node) -> Slot | None:
    return _slot(
        "openai-responses", node, ("image_url",), ("image",), url=True, detail=node.get("detail")
    )


def _input_audio(node: Node) -> Slot | None:
    slot = _slot("openai", node, ("input_audio", "data"), ("audio",), type_key="format")
    return slot and slot._replace(
        content_type=AUDIO_FORMATS.get(slot.content_type, f"audio/{slot.content_type}")
    )


def _file(node: Node) -> Slot | None:
    return _slot("openai", node, ("file", "file_data"), ("file",), url=True, name_key="filename")


def _input_file(node: Node) -> Slot | None:
    return _slot("openai-responses", node, ("file_data",), ("file",), url=True, name_key="filename")


def _anthropic_image(node: Node) -> Slot | None:
    return _source(node, "image") or _content(node)


def _document(node: Node) -> Slot | None:
    slot = _source(node, "file")
    title = node.get("title")
    return slot and slot._replace(filename=title if isinstance(title, str) else "")


def _source(node: Node, carries: str) -> Slot | None:
    match node.get("source"):
        case {"type": "base64"}:
            return _slot("anthropic", node, ("source", "data"), (carries,), type_key="media_type")
        case {"type": "url"}:
            # Not what externalize leaves, but what one writes who has a ref at hand.
            return _slot("anthropic-url", node, ("source", "url"), (carries,), url=True)
    return None


def _content(node: Node) -> Slot | None:
    """MCP's image and audio; also those of Gemini's Interactions, which write `mime_type`."""
    key = "mimeType" if "mimeType" in node else "mime_type"
    return _slot("mcp", node, ("data",), (node["type"],), type_key=key)


def _resource(node: Node) -> Slot | None:
    return _slot("mcp", node, ("resource", "blob"), KINDS, type_key="mimeType", name_key="uri")


def _contents(node: Node) -> Slot | None:
    """Return the slot of what `resources/read` of MCP gives, without a part around it."""
    if "uri" not in node:
        return None
    return _slot("mcp", node, ("blob",), KINDS, type_key="mimeType", name_key="uri")


def _gemini(node: Node) -> Slot | None:
    for key, type_key, name_key in (
        ("inline_data", "mime_type", "display_name"),
        ("inlineData", "mimeType", "displayName"),
    ):
        if key in node:
            return _slot("gemini", node, (key, "data"), KINDS, type_key=type_key, name_key=name_key)
    return None


def _langchain(node: Node) -> Slot | None:
    """LangChain's standard blocks, and those before its version 1, which say `source_type`."""
    kind = "file" if node.get("type") == "text-plain" else node.get("type")
    if kind not in KINDS:
        return None
    url = node.get("url")
    if isinstance(url, str):
        if url.lstrip()[:5].lower() != "data:" and not is_ref(url):
            return None
        return _slot("langchain", node, ("url",), (kind,), type_key="mime_type", url=True)
    key = "data" if node.get("source_type") == "base64" else "base64"
    slot = _slot("langchain", node, (key,), (kind,), type_key="mime_type")
    extras = node.get("extras")
    name = extras.get("filename") if isinstance(extras, dict) else node.get("filename")
    return slot and slot._replace(filename=name if isinstance(name, str) else "")


_BY_TYPE = {
    "image_url": _image_url,
    "input_image": _input_image,
    "computer_screenshot": _input_image,
    "input_audio": _input_audio,
    "file": _file,
    "input_file": _input_file,
    "image": _anthropic_image,
    "document": _document,
    "audio": _content,
    "resource": _resource,
}


def _slot(
    family: str,
    node: Node,
    path: tuple[str, ...],
    carries: tuple[str, ...],
    *,
    type_key: str = "",
    name_key: str = "",
    url: bool = False,
    detail: object = None,
) -> Slot | None:
    """Return the slot at `path`, if there is data; type and name stand beside the data."""
    beside: Any = node
    for key in path[:-1]:
        beside = beside.get(key)
        if not isinstance(beside, dict):
            return None
    value = beside.get(path[-1])
    if not isinstance(value, (str, bytes)):
        return None
    name = beside.get(name_key)
    content_type = beside.get(type_key)
    typed = isinstance(content_type, str)
    return Slot(
        family,
        path,
        value,
        carries,
        content_type if typed else "",
        (*path[:-1], type_key) if typed else (),
        name if isinstance(name, str) else "",
        detail,
        url,
    )
