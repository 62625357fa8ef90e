"""Media leave the messages: what is replaced, what is not, and that nothing is ever half done."""

import base64
import copy
import json
import random
import re
import string
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mediakeep import FileMediaStore, Limits, MediaStore, QuotaExceeded
from mediakeep.messages import CyclicTree, externalize, inline

REF = re.compile(r"media://[0-9a-f-]{36}")
NOISE = random.Random(7)
DIAGRAM = (Path(__file__).parents[1] / "examples" / "media" / "diagram.png").read_bytes()


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def noise(size: int = 3000) -> bytes:
    return NOISE.randbytes(size)


def test_the_tree_given_is_not_changed_and_shares_nothing_with_the_new_one(store: MediaStore):
    part = {"type": "image", "data": b64(noise()), "mimeType": "image/png", "annotations": {"a": [1]}}
    messages = [{"role": "user", "content": [part, part]}]
    before = copy.deepcopy(messages)
    kept = externalize(messages, store, "chat")
    kept[0]["content"][0]["annotations"]["a"].append(2)
    assert messages == before
    assert kept[0]["content"][1]["annotations"] == {"a": [1]}


def test_the_refs_are_in_the_scope_with_what_the_message_says(store: MediaStore):
    data = noise()
    file = {"filename": "report.pdf", "file_data": f"data:application/pdf;base64,{b64(data)}"}
    kept = externalize({"type": "file", "file": file}, store, "chat:7", source="history", ttl=60)
    (entry,) = store.entries("chat:7")
    assert kept["file"]["file_data"] == entry.ref
    assert store.read_bytes(entry.ref) == data
    assert (entry.meta.filename, entry.meta.content_type) == ("report.pdf", "application/pdf")
    assert entry.meta.source == "history"
    assert entry.expires_at is not None


@pytest.mark.parametrize(("size", "replaced"), [(1023, False), (1024, True)])
def test_small_media_stay(store: MediaStore, size, replaced):
    messages = {"type": "image", "data": b64(noise(size)), "mimeType": "image/png"}
    assert (externalize(messages, store, "chat") != messages) is replaced


def test_nothing_is_no_medium_however_small_they_may_be(store: MediaStore):
    messages = [
        {"type": "image", "data": "", "mimeType": "image/png"},
        {"inline_data": {"mime_type": "image/png", "data": b""}},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,"}},
        "data:,",
    ]
    assert externalize(messages, store, "chat", min_bytes=0) == messages
    assert store.stats().refs == 0


def test_the_same_bytes_become_one_ref_in_whatever_shape(store: MediaStore):
    data = noise()
    kept = externalize(
        [
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{b64(data)}"}},
            {"type": "input_image", "image_url": f"data:image/x-png;base64,{b64(data)}"},
            {
                "type": "image",
                "source": {"type": "base64", "media_type": "image/png", "data": b64(data)},
            },
            f"see ![it](data:image/png;base64,{b64(data)})",
        ],
        store,
        "chat",
    )
    assert len(set(REF.findall(json.dumps(kept)))) == 1
    assert len(REF.findall(json.dumps(kept))) == 4
    assert store.stats().refs == 1


def test_a_markdown_image_keeps_its_words_and_gets_a_ref_as_its_target(store: MediaStore):
    text = f"Here:\n\n![sales by month](data:image/png;base64,{b64(noise())})\n\nThat is all."
    kept = externalize({"role": "tool", "content": text}, store, "chat")
    assert re.fullmatch(
        rf"Here:\n\n!\[sales by month\]\({REF.pattern}\)\n\nThat is all\.", kept["content"]
    )


def test_data_urls_in_any_text_and_field(store: MediaStore):
    first, second = noise(), noise()
    text = f'<img src="data:image/png;base64,{b64(first)}"> and data:audio/wav;base64,{b64(second)}, too'
    messages = {"html": text, "avatar": f"data:image/png;base64,{b64(first)}", "n": [1, None, True, 2.5]}
    kept = externalize(messages, store, "chat")
    assert len(json.dumps(kept)) < 400
    assert kept["n"] == messages["n"]
    assert inline(kept, store) == messages


def test_json_within_a_text_stays_json(store: MediaStore):
    output = json.dumps({"image": f"data:image/png;base64,{b64(noise())}", "ok": True})
    kept = externalize({"role": "tool", "content": output}, store, "chat")
    assert json.loads(kept["content"])["ok"] is True
    assert inline(kept, store)["content"] == output


def test_what_cannot_be_decoded_stays_as_it_is(store: MediaStore):
    messages = [
        {"type": "image", "data": "!" * 2000, "mimeType": "image/png"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 4001}},
        {"type": "image_url", "image_url": {"url": "https://example.org/" + "a" * 2000}},
        {"type": "input_audio", "input_audio": {"data": "é" * 2000, "format": "wav"}},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": 17}},
        {"type": "image", "source": "nonsense"},
        {"type": ["image"], "data": b64(noise())},
        {"inline_data": None, "inlineData": []},
        "the scheme data: is no URL " * 100,
    ]
    assert externalize(messages, store, "chat") == messages
    assert store.stats().refs == 0


def test_base64_in_other_spellings_is_read_too(store: MediaStore):
    data = noise()
    lines = "\n".join(re.findall(".{1,76}", b64(data)))
    url_safe = base64.urlsafe_b64encode(data).decode().rstrip("=")
    kept = externalize(
        [{"type": "image", "data": it, "mimeType": "image/png"} for it in (lines, url_safe)],
        store,
        "chat",
    )
    assert kept[0] == kept[1]
    assert store.read_bytes(kept[0]["data"]) == data
    assert inline(kept, store)[0]["data"] == b64(data)


@pytest.mark.parametrize(
    "header",
    [
        "data:image/jpg;base64,",
        "DATA:Image/PNG;Base64,",
        "data:;base64,",
        "data:text/plain;charset=utf-8;base64,",
        'data:image/png;name="a %41#b.png" ; base64,',
    ],
)
def test_the_spelling_of_a_data_url_is_kept(store: MediaStore, header):
    part = {"type": "input_image", "image_url": header + b64(noise()), "detail": "low"}
    kept = externalize(part, store, "chat")
    assert store.read_bytes(kept["image_url"].partition("#")[0])
    assert inline(kept, store) == part


@pytest.mark.parametrize(
    "header", ["data:a/\ud800;base64,", "data:a/%FF;base64,", "data:a/%ed%a0;base64,"]
)
def test_a_header_may_hold_what_is_no_text_at_all(store: MediaStore, header):
    url = header + b64(noise())
    messages = [f"x {url} y", {"type": "image_url", "image_url": {"url": url}}]
    kept = externalize(messages, store, "chat")
    assert all("media://" in repr(it) for it in kept)
    assert inline(kept, store) == messages


def test_a_mark_that_somebody_wrote_may_be_no_text(store: MediaStore):
    ref = store.put(noise())
    text = f"x {ref}#data:a/%FF;base64, y"
    assert inline(text, store).startswith("x data:a/\ufffd;base64,")


@pytest.mark.parametrize("behind", [") see, this", " see it: ", "#base64", "\ud800"])
def test_what_stands_behind_a_data_url_in_its_place_is_not_lost(store: MediaStore, behind):
    url = f"data:image/gif;base64,{b64(noise())}{behind}"
    messages = [
        {"type": "image_url", "image_url": {"url": url}},
        {"type": "input_image", "image_url": url},
        {"type": "resource", "resource": {"uri": "a:b", "blob": url, "mimeType": "image/gif"}},
    ]
    kept = externalize(messages, store, "chat")
    assert inline(kept, store) == messages
    for provider in ("openai", "openai-responses", "anthropic", "gemini"):
        assert "media://" not in repr(inline(kept, store, provider=provider))


def test_a_ref_with_something_behind_it_is_no_mark(store: MediaStore):
    ref = store.put(noise())
    part = {"type": "image_url", "image_url": {"url": f"{ref}#data:image/gif;base64,) see, this"}}
    assert inline(part, store)["image_url"]["url"].endswith(") see, this")


@pytest.mark.parametrize("before", ["\n", " \t", "\u2003"])
def test_white_space_before_a_data_url_comes_back_and_no_model_gets_it(store: MediaStore, before):
    url = f"data:image/png;base64,{b64(DIAGRAM)}"
    message = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": before + url}}]}
    kept = externalize(message, store, "chat")
    assert kept["content"][0]["image_url"]["url"].startswith("media://")
    assert inline(kept, store) == message
    assert inline(kept, store, provider="openai")["content"][0]["image_url"]["url"] == url


def test_twice_is_once(store: MediaStore):
    messages = [
        {"type": "image_url", "image_url": {"url": f"data:image/jpg;base64,{b64(noise())}"}},
        {"type": "resource", "resource": {"uri": "a:b", "blob": b64(noise())}},
        f"![it](data:image/png;base64,{b64(noise())}) data:image/png;base64,{b64(noise())}",
    ]
    kept = externalize(messages, store, "chat", min_bytes=1)
    refs = store.stats().refs
    assert externalize(kept, store, "chat", min_bytes=1) == kept
    assert store.stats().refs == refs == 4


def test_a_tree_may_be_deeper_than_python_can_recurse(store: MediaStore):
    tree: object = {"type": "image", "data": b64(noise()), "mimeType": "image/png"}
    for n in range(50_000):
        tree = [tree] if n % 3 else {"deeper": (tree,)}
    kept = externalize(tree, store, "chat")
    for n in reversed(range(50_000)):
        kept = kept[0] if n % 3 else kept["deeper"][0]
    assert REF.fullmatch(kept["data"])


def test_a_tree_that_contains_itself_is_refused_and_leaves_no_ref(store: MediaStore):
    messages: list = [{"type": "image", "data": b64(noise()), "mimeType": "image/png"}]
    messages.append({"again": messages})
    with pytest.raises(CyclicTree, match="contain themselves, in a list of 2"):
        externalize(messages, store, "chat")
    assert store.stats().refs == 0


def test_the_same_part_at_two_places_is_no_cycle(store: MediaStore):
    part = {"type": "image", "data": b64(noise()), "mimeType": "image/png"}
    messages = [part, {"also": [part]}, part]
    assert inline(externalize(messages, store, "chat"), store) == messages


def test_other_objects_stay_what_they_are(store: MediaStore):
    thing = object()
    kept = externalize({"a": thing, 3: {4}, "b": range(2)}, store, "chat")
    assert kept["a"] is thing
    assert kept[3] == {4}


def test_when_one_does_not_fit_nothing_is_left_of_those_before(opened):
    store = opened(limits=Limits(max_store_bytes=10_000))
    before = store.put(b"x", scope="chat")
    messages = [{"type": "image", "data": b64(noise(4000)), "mimeType": "image/png"} for _ in range(3)]
    with pytest.raises(QuotaExceeded):
        externalize(messages, store, "chat")
    assert [entry.ref for entry in store.entries()] == [before]
    assert store.stats().size == 1


class Interrupted(Exception):
    pass


class Breaking(dict):
    """Breaks when it is walked."""

    def values(self):
        raise Interrupted


def test_whatever_breaks_a_call_ends_its_refs(store: MediaStore):
    messages = [{"type": "image", "data": b64(noise()), "mimeType": "image/png"}, Breaking()]
    with pytest.raises(Interrupted):
        externalize(messages, store, "chat")
    assert store.stats().refs == 0


# -- for all trees

WORDS = st.text(string.ascii_letters + " !()[]#:;,/%4é", max_size=12)
TYPES = st.sampled_from(["image/png", "image/jpg", "application/pdf", "audio/wav", "text/plain", "x/y"])
DATA = st.binary(min_size=1, max_size=90)


@st.composite
def parts(draw: st.DrawFn) -> object:
    content_type, data, name = draw(TYPES), draw(DATA), draw(WORDS)
    text, url = b64(data), f"data:{content_type};base64,{b64(data)}"
    named = f"data:{content_type};name=a%20%41{name.replace(',', '')};base64,{text}"
    spoken = draw(st.sampled_from(["wav", "ogg"]))
    shapes = [
        {"type": "image_url", "image_url": {"url": url, "detail": "low"}},
        {"type": "image_url", "image_url": url},
        {"type": "input_image", "image_url": url, "detail": "auto"},
        {"type": "input_audio", "input_audio": {"data": text, "format": spoken}},
        {"type": "file", "file": {"file_data": draw(st.sampled_from([text, url])), "filename": name}},
        {"type": "input_file", "filename": name, "file_data": url},
        {"type": "image", "source": {"type": "base64", "media_type": content_type, "data": text}},
        {"type": "document", "source": {"type": "base64", "data": text}, "title": name, "context": url},
        {"inline_data": {"mime_type": content_type, "data": draw(st.sampled_from([text, data]))}},
        {"inlineData": {"mimeType": content_type, "data": text}, "thought": True},
        {"type": "image", "data": text, "mimeType": content_type},
        {"type": "audio", "data": text, "mimeType": content_type, "_meta": {"a": url}},
        {"type": "resource", "resource": {"uri": name, "blob": text}, "x": {"uri": "y", "blob": text}},
        {"uri": name, "mimeType": content_type, "blob": text},
        {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}, "alt": url},
        f"{name}![{name}]({url}){name} {url} {name}",
        f"[{name}]({url})({url} \"{name}\"){url}",
        f"data:{content_type};charset=utf-8;name={name};base64,{text}",
        f"DATA:{content_type.upper()};Base64,{text}",
        {"type": "image_url", "image_url": named},
        url,
    ]  # fmt: skip
    return draw(st.sampled_from(shapes))


TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | WORDS | parts(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(
            WORDS | st.sampled_from(["type", "data", "role", "content"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)

THOROUGH = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@THOROUGH
@given(tree=TREES, min_bytes=st.integers(0, 60))
def test_for_every_tree_there_is_an_exact_way_back(tree, min_bytes):
    before = copy.deepcopy(tree)
    with FileMediaStore() as store:
        kept = externalize(tree, store, "chat", min_bytes=min_bytes)
        assert externalize(kept, store, "chat", min_bytes=min_bytes) == kept
        back = inline(kept, store)
    assert tree == before
    assert back == tree
    assert repr(back) == repr(tree)  # a tuple is still one, and True is not 1


@THOROUGH
@given(tree=TREES)
def test_every_tree_can_be_sent_to_every_provider_and_none_sees_a_change(tree):
    with FileMediaStore() as store:
        kept = externalize(tree, store, "chat", min_bytes=1)
        before = copy.deepcopy(kept)
        for provider in ("openai", "openai-responses", "anthropic", "gemini"):
            inline(kept, store, provider=provider)
        assert kept == before
