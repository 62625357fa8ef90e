"""LangChain: messages with refs in place of media, in every shape of block that they may have."""

import base64

import pytest

pytest.importorskip("langchain_core", reason="needs mediakeep[langchain]")

from langchain_core.load import dumps
from langchain_core.messages import (
    AIMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
    content,
    messages_from_dict,
    messages_to_dict,
)

from mediakeep import FileMediaStore, Limits, TooLarge, open_store
from mediakeep.integrations.langchain import externalize_messages, inline_messages
from mediakeep.messages import externalize, inline
from pictures import frames, photograph, written

JPEG = written(photograph(320, 240), "JPEG")
PNG = written(photograph(80, 60), "PNG")
SCOPE = "chat:42"


def b64(data):
    return base64.b64encode(data).decode()


URL = f"data:image/jpeg;base64,{b64(JPEG)}"

BLOCKS = {
    "image": content.create_image_block(base64=b64(JPEG), mime_type="image/jpeg"),
    "audio": content.create_audio_block(base64=b64(bytes(2000)), mime_type="audio/wav"),
    "video": content.create_video_block(base64=b64(bytes(2001)), mime_type="video/mp4"),
    "file": content.create_file_block(
        base64=b64(bytes(2002)), mime_type="application/pdf", filename="a.pdf"
    ),
    "text": {"type": "text-plain", "base64": b64(b"a" * 2003), "mime_type": "text/plain"},
    "extras": {"type": "image", "base64": b64(JPEG), "mime_type": "image/jpeg", "extras": {"x": 1}},
    "data URL": {"type": "image", "url": URL, "mime_type": "image/jpeg"},
    "before 1.0": {
        "type": "image",
        "source_type": "base64",
        "data": b64(JPEG),
        "mime_type": "image/jpeg",
        "cache_control": {"type": "ephemeral"},
    },
    "file before 1.0": {
        "type": "file",
        "source_type": "base64",
        "data": b64(bytes(2004)),
        "mime_type": "application/pdf",
        "filename": "b.pdf",
    },
    "openai": {"type": "image_url", "image_url": {"url": URL, "detail": "low"}},
    "anthropic": {
        "type": "image",
        "source": {"type": "base64", "media_type": "image/jpeg", "data": b64(JPEG)},
    },
    "gemini": {"type": "media", "inline_data": {"mime_type": "image/jpeg", "data": b64(JPEG)}},
}


@pytest.fixture
def memory():
    with FileMediaStore() as store:
        yield store


def human(*blocks):
    return HumanMessage(content=[{"type": "text", "text": "What is this?"}, *blocks], id="1")


@pytest.mark.parametrize("block", BLOCKS.values(), ids=BLOCKS)
def test_every_block_comes_back_as_it_was_and_is_small_meanwhile(memory, block):
    message = human(block)
    (kept,) = externalize_messages([message], memory, SCOPE)
    assert len(dumps(kept)) < 900
    assert "media://" in dumps(kept)
    loaded = messages_from_dict(messages_to_dict([kept]))
    assert inline_messages(loaded, memory) == [message]
    assert memory.stats().refs == 1


def test_names_and_types_of_blocks_are_those_of_the_media(memory):
    externalize_messages([human(BLOCKS["file"], BLOCKS["file before 1.0"])], memory, SCOPE)
    metas = [it.meta for it in memory.entries(SCOPE)]
    assert {it.filename for it in metas} == {"a.pdf", "b.pdf"}
    assert {it.source for it in metas} == {"langchain"}
    assert {it.declared_type for it in memory.entries(SCOPE)} == {"application/pdf"}


def test_media_beside_the_content_are_kept_too(memory):
    messages = [
        AIMessage(
            content=f"![a lake]({URL})",
            additional_kwargs={"images": [{"type": "image_url", "image_url": {"url": URL}}]},
            tool_calls=[{"name": "send", "args": {"picture": URL}, "id": "1", "type": "tool_call"}],
        ),
        ToolMessage(content="done", tool_call_id="1", artifact={"plot": URL, "rows": [1, None]}),
    ]
    kept = externalize_messages(messages, memory, SCOPE)
    assert len(dumps(kept)) < 3000
    assert inline_messages(kept, memory) == messages
    assert memory.stats().refs == 1


def test_messages_without_media_are_the_same_objects(memory):
    messages = [SystemMessage("be brief"), HumanMessage("hello"), AIMessage(""), human()]
    kept = externalize_messages(messages, memory, SCOPE)
    assert all(new is old for new, old in zip(kept, messages, strict=True))


def test_the_messages_that_were_given_are_not_changed(memory):
    messages = [human(*BLOCKS.values())]
    before = dumps(messages)
    inline_messages(externalize_messages(messages, memory, SCOPE), memory)
    assert dumps(messages) == before


def test_a_growing_conversation_makes_no_more_refs_than_there_are_media(memory):
    messages = [human(BLOCKS["image"])]
    for _ in range(3):
        messages.append(human(BLOCKS["openai"]))
        first = externalize_messages(messages, memory, SCOPE)
        assert externalize_messages(first, memory, SCOPE) == first
    assert memory.stats().refs == 1


def test_what_failed_half_way_is_found_again_by_the_next_attempt(tmp_path):
    with open_store(tmp_path / "store", limits=Limits(max_file_bytes=len(JPEG))) as store:
        too_large = content.create_image_block(base64=b64(JPEG + b"\0"), mime_type="image/jpeg")
        messages = [human(BLOCKS["image"]), human(too_large)]
        for _ in range(2):
            with pytest.raises(TooLarge):
                externalize_messages(messages, store, SCOPE)
        assert store.stats().refs == 1


@pytest.mark.parametrize("shape", ["image", "data URL", "before 1.0", "openai", "anthropic"])
def test_a_model_gets_the_blocks_of_its_provider(memory, shape):
    (kept,) = externalize_messages([human(BLOCKS[shape])], memory, SCOPE)
    (sent,) = inline_messages([kept], memory, provider="anthropic")
    assert sent.content[1] == BLOCKS["anthropic"]
    (sent,) = inline_messages([kept], memory, provider="openai")
    assert sent.content[1]["type"] == "image_url"
    assert sent.content[1]["image_url"]["url"] == URL


def test_what_lies_in_the_web_stays_where_it_is(memory):
    message = human({"type": "image", "url": "https://example.org/lake.jpg"})
    assert externalize_messages([message], memory, SCOPE, min_bytes=1) == [message]
    assert inline_messages([message], memory, provider="anthropic") == [message]


def test_a_picture_is_made_to_fit_the_provider(memory):
    moving = content.create_image_block(base64=b64(frames("GIF", 2)), mime_type="image/gif")
    (kept,) = externalize_messages([human(moving)], memory, SCOPE, min_bytes=1)
    (sent,) = inline_messages([kept], memory, provider="openai")
    assert not sent.content[1]["image_url"]["url"].startswith("data:image/gif")


def test_in_place_of_media_that_have_ended_stands_why(memory):
    kept = externalize_messages([human(BLOCKS["image"], BLOCKS["openai"])], memory, SCOPE)
    memory.release_all(SCOPE)
    for provider in ("data-url", "openai", "anthropic"):
        (sent,) = inline_messages(kept, memory, provider=provider)
        for block in sent.content[1:]:
            assert block["type"] == "text"
            assert "released" in block["text"]


def test_a_ref_that_is_written_as_an_url_becomes_the_picture(memory):
    ref = memory.put(JPEG, scope=SCOPE)
    (sent,) = inline_messages([human({"type": "image", "url": ref})], memory)
    assert sent.content[1] == {"type": "image", "url": URL}


def test_a_ref_that_is_written_as_an_url_and_has_ended_says_so(memory):
    ref = memory.put(JPEG, scope=SCOPE)
    memory.release(ref)
    (sent,) = inline_messages([human({"type": "image", "url": ref})], memory)
    assert "released" in sent.content[1]["text"]


def test_the_blocks_are_those_of_externalize_and_inline_themselves(memory):
    blocks = list(BLOCKS.values())
    assert inline(externalize(blocks, memory, SCOPE), memory) == blocks
