"""The shapes of the APIs, written as their documentation has them, checked by the SDKs' own types."""

import base64
import copy
import json
from functools import cache
from pathlib import Path

import pytest

from mediakeep import MediaStore
from mediakeep.messages import PROVIDERS, externalize, inline
from mediakeep.messages.shapes import find_slot

pydantic = pytest.importorskip("pydantic")

MEDIA = Path(__file__).parents[1] / "examples" / "media"
PHOTO, DIAGRAM, STICKER, WAVE = (
    (MEDIA / name).read_bytes() for name in ("photo.jpg", "diagram.png", "sticker.webp", "wave.gif")
)
INVOICE, JINGLE, VOICE, CLIP = (
    (MEDIA / name).read_bytes() for name in ("invoice.pdf", "jingle.mp3", "voice.ogg", "clip.mp4")
)


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def url(content_type: str, data: bytes) -> str:
    return f"data:{content_type};base64,{b64(data)}"


OPENAI = [
    {"role": "system", "content": "You are a helpful assistant."},
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "What is in these?"},
            {"type": "image_url", "image_url": {"url": url("image/jpeg", PHOTO), "detail": "high"}},
            {"type": "image_url", "image_url": {"url": "https://example.org/boardwalk.jpg"}},
            {"type": "input_audio", "input_audio": {"data": b64(JINGLE), "format": "mp3"}},
            {
                "type": "file",
                "file": {"filename": "invoice.pdf", "file_data": url("application/pdf", INVOICE)},
            },
        ],
    },
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {
                "id": "call_9pq",
                "type": "function",
                "function": {"name": "plot", "arguments": '{"of": "sales"}'},
            }
        ],
    },
    {"role": "tool", "tool_call_id": "call_9pq", "content": "[[1, 2.5], null, true]"},
    {"role": "assistant", "content": "A photo, a jingle and an invoice."},
]

OPENAI_RESPONSES = [
    {"role": "developer", "content": "Be brief."},
    {
        "role": "user",
        "content": [
            {"type": "input_text", "text": "What is in these?"},
            {"type": "input_image", "image_url": url("image/png", DIAGRAM), "detail": "auto"},
            {"type": "input_file", "filename": "in.pdf", "file_data": url("application/pdf", INVOICE)},
            {"type": "input_image", "file_id": "file-6F2ksmvXxt4VdoqmHRw6kL", "detail": "low"},
        ],
    },
    {
        "type": "function_call",
        "call_id": "call_12",
        "name": "screenshot",
        "arguments": "{}",
    },
    {
        "type": "function_call_output",
        "call_id": "call_12",
        "output": [{"type": "input_image", "image_url": url("image/webp", STICKER), "detail": "high"}],
    },
    {
        "type": "computer_call_output",
        "call_id": "call_13",
        "output": {"type": "computer_screenshot", "image_url": url("image/png", DIAGRAM)},
    },
]

ANTHROPIC = [
    {
        "role": "user",
        "content": [
            {
                "type": "image",
                "source": {"type": "base64", "media_type": "image/jpeg", "data": b64(PHOTO)},
                "cache_control": {"type": "ephemeral"},
            },
            {
                "type": "document",
                "source": {"type": "base64", "media_type": "application/pdf", "data": b64(INVOICE)},
                "title": "Invoice",
                "citations": {"enabled": True},
            },
            {"type": "image", "source": {"type": "url", "url": "https://example.org/ant.jpg"}},
            {"type": "text", "text": "What is this?"},
        ],
    },
    {
        "role": "assistant",
        "content": [
            {"type": "text", "text": "I take a picture."},
            {"type": "tool_use", "id": "toolu_01A", "name": "screenshot", "input": {"full": True}},
        ],
    },
    {
        "role": "user",
        "content": [
            {
                "type": "tool_result",
                "tool_use_id": "toolu_01A",
                "content": [
                    {"type": "text", "text": "Done."},
                    {
                        "type": "image",
                        "source": {"type": "base64", "media_type": "image/gif", "data": b64(WAVE)},
                    },
                ],
            }
        ],
    },
]

GEMINI = [
    {
        "role": "user",
        "parts": [
            {"text": "Describe these."},
            {"inline_data": {"mime_type": "image/jpeg", "data": b64(PHOTO)}},
            {"inlineData": {"mimeType": "audio/ogg", "data": b64(VOICE)}},
            {"inline_data": {"mime_type": "video/mp4", "data": b64(CLIP)}},
            {"file_data": {"mime_type": "video/mp4", "file_uri": "https://example.org/v1/files/abc"}},
        ],
    },
    {
        "role": "model",
        "parts": [
            {"inlineData": {"mimeType": "image/png", "data": b64(DIAGRAM)}},
            {"function_call": {"name": "look", "args": {"at": [1, 2]}}},
        ],
    },
    {
        "role": "user",
        "parts": [{"function_response": {"name": "look", "response": {"result": "a diagram"}}}],
    },
]

MCP = {
    "content": [
        {"type": "text", "text": "Here they are."},
        {"type": "image", "data": b64(DIAGRAM), "mimeType": "image/png"},
        {"type": "audio", "data": b64(VOICE), "mimeType": "audio/ogg"},
        {
            "type": "resource",
            "resource": {
                "uri": "file:///reports/invoice.pdf",
                "mimeType": "application/pdf",
                "blob": b64(INVOICE),
            },
        },
        {
            "type": "resource",
            "resource": {"uri": "file:///a.txt", "mimeType": "text/plain", "text": "a"},
        },
    ],
    "isError": False,
}

RECORDED = {
    "openai": OPENAI,
    "openai-responses": OPENAI_RESPONSES,
    "anthropic": ANTHROPIC,
    "gemini": GEMINI,
    "mcp": MCP,
}
API = pytest.mark.parametrize("api", RECORDED)


@cache
def adapter(api: str):
    """The SDK's own word on what the API takes. Imported late: these packages are slow to load."""
    match api:
        case "openai":
            sdk = pytest.importorskip("openai.types.chat")
            return pydantic.TypeAdapter(list[sdk.ChatCompletionMessageParam])
        case "openai-responses":
            sdk = pytest.importorskip("openai.types.responses")
            return pydantic.TypeAdapter(list[sdk.ResponseInputItemParam])
        case "anthropic":
            sdk = pytest.importorskip("anthropic.types")
            return pydantic.TypeAdapter(list[sdk.MessageParam])
        case "gemini":
            sdk = pytest.importorskip("google.genai.types")
            return pydantic.TypeAdapter(list[sdk.Content])
        case "mcp":
            sdk = pytest.importorskip("mcp.types")
            return pydantic.TypeAdapter(sdk.CallToolResult)
    raise AssertionError(api)


def validated(api: str, messages: object) -> object:
    """Return the messages as the SDK reads them; whatever is in them must be of its types."""
    return read_fully(adapter(api).validate_python(messages))


def read_fully(value: object) -> object:
    """Iterate over all of it: what an SDK types as an Iterable is validated only then."""
    if isinstance(value, dict):
        return {key: read_fully(it) for key, it in value.items()}
    if isinstance(value, (str, bytes, pydantic.BaseModel)) or not hasattr(value, "__iter__"):
        return value
    return [read_fully(it) for it in value]


@pytest.mark.parametrize("api", sorted(set(PROVIDERS) - {"data-url"}))
def test_the_types_of_the_sdk_refuse_what_is_wrong(api):
    key = "parts" if api == "gemini" else "content"
    wrong = {"type": "image", "source": {"type": "base64", "media_type": "image/heic", "data": "AA=="}}
    with pytest.raises(pydantic.ValidationError):
        validated(api, [{"role": "user", key: [wrong]}])


@API
def test_the_recorded_shapes_are_what_the_sdk_takes(api):
    read = validated(api, RECORDED[api])
    assert read == RECORDED[api] or api in ("gemini", "mcp")  # those are read into models


@API
def test_externalized_shapes_stay_json_and_lose_all_their_media(store: MediaStore, api):
    kept = externalize(RECORDED[api], store, "chat")
    text = json.dumps(kept)
    assert len(text) < 4000
    assert json.loads(text) == kept
    assert text.count("media://") == text.count('"media://') >= 3


@API
def test_the_exact_way_back(store: MediaStore, api):
    original = copy.deepcopy(RECORDED[api])
    assert inline(externalize(RECORDED[api], store, "chat"), store) == original
    assert RECORDED[api] == original


@pytest.mark.parametrize("provider", ["openai-responses", "anthropic", "gemini"])
def test_a_provider_gets_its_own_shapes_back_as_they_were(store: MediaStore, provider):
    kept = externalize(RECORDED[provider], store, "chat")
    assert inline(kept, store, provider=provider) == RECORDED[provider]


def test_openai_gets_its_own_shapes_back_as_they_were(store: MediaStore):
    assert inline(externalize(OPENAI, store, "chat"), store, provider="openai") == OPENAI


@pytest.mark.parametrize("provider", sorted(set(PROVIDERS) - {"data-url"}))
@API
def test_media_of_any_api_become_parts_that_the_provider_s_sdk_takes(store: MediaStore, api, provider):
    """Whole messages differ between the APIs; here are all parts of one, in one user message."""
    parts = [part for part in parts_of(RECORDED[api]) if "https://" not in str(part)]
    assert parts
    sent = inline(externalize(parts, store, "chat"), store, provider=provider)
    key = "parts" if provider == "gemini" else "content"
    read = validated(provider, [{"role": "user", key: sent}])
    assert read == [{"role": "user", key: sent}] or provider == "gemini"
    assert not any("media://" in json.dumps(part) for part in sent)


def parts_of(tree: object) -> list[dict]:
    """Return every part with media in a tree, except the one that is no part of a message."""
    if isinstance(tree, list):
        return [part for it in tree for part in parts_of(it)]
    if not isinstance(tree, dict) or tree.get("type") == "computer_screenshot":
        return []
    return [tree] if find_slot(tree) else parts_of(list(tree.values()))


def test_contents_of_an_mcp_resource_that_was_read(store: MediaStore):
    from mcp.types import ReadResourceResult

    read = {"contents": [{"uri": "file:///c.png", "mimeType": "image/png", "blob": b64(DIAGRAM)}]}
    kept = externalize(read, store, "chat")
    assert kept["contents"][0]["blob"].startswith("media://")
    assert inline(kept, store) == read
    assert ReadResourceResult.model_validate(inline(kept, store)).contents[0].blob == b64(DIAGRAM)


def test_what_the_sdk_of_gemini_writes_is_read(store: MediaStore):
    """Its models write base64 in the URL-safe alphabet."""
    from google.genai.types import Content, Part

    content = Content(role="user", parts=[Part.from_bytes(data=PHOTO, mime_type="image/jpeg")])
    written = content.model_dump(mode="json", exclude_none=True)
    assert "_" in written["parts"][0]["inline_data"]["data"]
    kept = externalize(written, store, "chat")
    assert store.read_bytes(kept["parts"][0]["inline_data"]["data"]) == PHOTO
    assert Content.model_validate(inline(kept, store)) == content


def test_bytes_that_the_types_of_gemini_allow_come_back_as_bytes(store: MediaStore):
    part = {"inline_data": {"mime_type": "image/jpeg", "data": PHOTO}}
    kept = externalize(part, store, "chat")
    assert json.dumps(kept)
    assert inline(kept, store) == part
    assert inline(kept, store, provider="gemini") == part
