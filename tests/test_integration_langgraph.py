"""LangGraph: checkpoints without media, in every place of a state; they end with their thread."""

import asyncio
import base64
import operator
from dataclasses import dataclass, field
from typing import Annotated, Any, NamedTuple

import pytest

pytest.importorskip("langgraph", reason="needs mediakeep[langchain]")

from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint import conformance
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command, Send, interrupt
from pydantic import BaseModel
from typing_extensions import TypedDict

from mediakeep import FileMediaStore, Limits, TooLarge, open_store
from mediakeep.integrations.langchain import inline_messages
from mediakeep.integrations.langgraph import MediaCheckpointer, thread_scope
from pictures import photograph, written

JPEG = written(photograph(320, 240), "JPEG")
BASE64 = base64.b64encode(JPEG).decode()
PICTURE = {"type": "image", "base64": BASE64, "mime_type": "image/jpeg"}
THREAD = {"configurable": {"thread_id": "42"}}
SPACE = {"configurable": {"thread_id": "42", "checkpoint_ns": ""}}


def asked(words="What is this?"):
    return HumanMessage(content=[{"type": "text", "text": words}, PICTURE])


@pytest.fixture
def memory():
    with FileMediaStore() as store:
        yield store


@pytest.fixture
def saver():
    return InMemorySaver()


def saved(saver):
    """All bytes that the saver keeps."""
    blobs = [data for _, data in saver.blobs.values()]
    writes = [write[2][1] for task in saver.writes.values() for write in task.values()]
    heads = [
        it[0][1] for spaces in saver.storage.values() for of in spaces.values() for it in of.values()
    ]
    return b"".join([*blobs, *writes, *heads])


def checkpoint_of(value):
    return {
        "v": 1,
        "id": "1",
        "ts": "",
        "channel_values": {"it": value},
        "channel_versions": {"it": 1},
        "versions_seen": {},
        "updated_channels": None,
    }


def chat(seen):
    """A graph that answers, and keeps what its node was given."""

    def answer(state):
        seen.append(state["messages"])
        return {"messages": [AIMessage(f"a lake ({len(state['messages'])})")]}

    graph = StateGraph(MessagesState)
    graph.add_node("answer", answer)
    graph.add_edge(START, "answer")
    return graph


def test_it_does_what_langgraph_asks_of_a_checkpointer():
    @conformance.checkpointer_test(name="mediakeep")
    async def checkpointer():
        with FileMediaStore() as store:
            yield MediaCheckpointer(InMemorySaver(), store)

    report = asyncio.run(conformance.validate(checkpointer))
    assert report.passed_all_base()


def test_a_thread_has_its_pictures_and_its_checkpoints_have_none(store, saver):
    seen = []
    graph = chat(seen).compile(checkpointer=MediaCheckpointer(saver, store))
    graph.invoke({"messages": [asked()]}, THREAD)
    graph.invoke({"messages": [HumanMessage("And now?")]}, THREAD)
    assert seen[-1][0].content == asked().content
    assert graph.get_state(THREAD).values["messages"][0].content[1] == PICTURE
    assert b"media://" in saved(saver)
    assert BASE64.encode() not in saved(saver)
    assert [(it.scope, it.size) for it in store.entries()] == [("langgraph:42", len(JPEG))]


def test_without_it_the_checkpoints_have_the_pictures(saver):
    graph = chat([]).compile(checkpointer=saver)
    graph.invoke({"messages": [asked()]}, THREAD)
    assert saved(saver).count(BASE64.encode()) >= 2


def test_a_thread_that_is_awaited_too(memory, saver):
    async def main():
        seen = []
        checkpointer = MediaCheckpointer(saver, memory)
        graph = chat(seen).compile(checkpointer=checkpointer)
        await graph.ainvoke({"messages": [asked()]}, THREAD)
        await graph.ainvoke({"messages": [HumanMessage("And now?")]}, THREAD)
        assert seen[-1][0].content == asked().content
        assert BASE64.encode() not in saved(saver)
        history = [it async for it in graph.aget_state_history(THREAD)]
        assert history[0].values["messages"][0].content[1] == PICTURE
        await checkpointer.adelete_thread("42")
        assert memory.stats().files == 0
        assert await graph.checkpointer.aget_tuple(THREAD) is None

    asyncio.run(main())


def test_media_end_with_their_thread_and_no_other(memory, saver):
    checkpointer = MediaCheckpointer(saver, memory)
    graph = chat([]).compile(checkpointer=checkpointer)
    for thread in ("42", "42:1"):
        graph.invoke({"messages": [asked()]}, {"configurable": {"thread_id": thread}})
    checkpointer.delete_thread("42")
    assert memory.scopes() == [thread_scope("42:1")] == ["langgraph:42%3A1"]


def test_a_thread_whose_media_have_ended_goes_on_and_says_so(memory, saver):
    seen = []
    graph = chat(seen).compile(checkpointer=MediaCheckpointer(saver, memory))
    graph.invoke({"messages": [asked()]}, THREAD)
    memory.release_all(thread_scope("42"))
    graph.invoke({"messages": [HumanMessage("And now?")]}, THREAD)
    assert seen[-1][0].content[1]["type"] == "text"
    assert "released" in seen[-1][0].content[1]["text"]


def test_an_older_state_of_a_thread_is_gone_back_to_with_its_pictures(memory, saver):
    seen = []
    graph = chat(seen).compile(checkpointer=MediaCheckpointer(saver, memory))
    graph.invoke({"messages": [asked("first")]}, THREAD)
    graph.invoke({"messages": [HumanMessage("second")]}, THREAD)
    history = list(graph.get_state_history(THREAD))
    before = next(it for it in history if it.next == ("answer",) and len(it.values["messages"]) == 1)
    graph.invoke(None, before.config)
    assert seen[-1][0].content == asked("first").content
    assert len(seen[-1]) == 1


def test_a_question_to_a_person_may_show_a_picture(memory, saver):
    class State(TypedDict):
        answer: str

    def node(state):
        return {"answer": interrupt({"look": [PICTURE], "say": "yes or no"})}

    builder = StateGraph(State)
    builder.add_node("ask", node)
    builder.add_edge(START, "ask")
    graph = builder.compile(checkpointer=MediaCheckpointer(saver, memory))
    graph.invoke({"answer": ""}, THREAD)
    assert BASE64.encode() not in saved(saver)
    ((shown,),) = [it.interrupts for it in graph.get_state(THREAD).tasks]
    assert shown.value == {"look": [PICTURE], "say": "yes or no"}
    assert graph.invoke(Command(resume="yes"), THREAD) == {"answer": "yes"}


def test_what_is_sent_to_a_node_may_be_a_picture(memory, saver):
    class State(TypedDict):
        sizes: Annotated[list, operator.add]

    def measure(picture):
        return {"sizes": [len(picture["base64"])]}

    builder = StateGraph(State)
    builder.add_node("measure", measure)
    builder.add_conditional_edges(START, lambda _: [Send("measure", PICTURE)] * 2)
    builder.add_edge("measure", END)
    graph = builder.compile(checkpointer=MediaCheckpointer(saver, memory))
    assert graph.invoke({"sizes": []}, THREAD) == {"sizes": [len(BASE64)] * 2}
    assert BASE64.encode() not in saved(saver)
    assert memory.stats().refs == 1


@dataclass(frozen=True)
class Plot:
    block: dict
    points: list = field(default_factory=list)


class Pair(NamedTuple):
    left: Any
    right: Any


class Report(BaseModel):
    title: str
    messages: list[Any]


@pytest.mark.parametrize(
    "value",
    [
        [asked(), (1, PICTURE), {"deep": [{"er": PICTURE}]}],
        Plot(PICTURE, [1.5]),
        Pair("text", [asked()]),
        Report(title="lake", messages=[asked()]),
        f"![lake](data:image/jpeg;base64,{BASE64}) and text",
        Send("node", {"messages": [asked()]}),
        {"a ref of somebody's own": "media://0a7f4c1e-58f5-4d27-9d5f-2a1d64c31b77"},
        {1, 2},
        None,
    ],
    ids=lambda it: type(it).__name__,
)
def test_every_value_of_a_state_comes_back_as_it_was(memory, saver, value):
    """As the saver by itself gives it: what its serializer makes of a value is not ours."""
    checkpoint = checkpoint_of(value)
    written_before = repr(value)
    bare, checkpointer = InMemorySaver(), MediaCheckpointer(saver, memory)
    for it in (bare, checkpointer):
        config = it.put(SPACE, checkpoint, {}, {"it": 1})
        it.put_writes(config, [("it", value)], "task")
    assert BASE64.encode() not in saved(saver)
    expected, found = bare.get_tuple(config), checkpointer.get_tuple(config)
    assert found == expected
    assert type(found.checkpoint["channel_values"]["it"]) is type(
        expected.checkpoint["channel_values"]["it"]
    )
    assert list(checkpointer.list(None)) == list(bare.list(None))
    assert repr(value) == written_before
    assert memory.stats().refs == (BASE64[:100] in written_before)


def test_what_channels_were_made_of_is_told_with_its_pictures(memory, saver):
    def history(checkpointer):
        graph = chat([]).compile(checkpointer=checkpointer)
        first = HumanMessage(asked().content, id="1")
        graph.invoke({"messages": [first]}, THREAD)
        graph.invoke({"messages": [HumanMessage("And now?", id="2")]}, THREAD)
        config = graph.get_state(THREAD).config
        told = checkpointer.get_delta_channel_history(config=config, channels=["messages"])
        awaited = checkpointer.aget_delta_channel_history(config=config, channels=["messages"])
        assert asyncio.run(awaited) == told
        return [it.content for it in told["messages"]["seed"]]

    assert history(MediaCheckpointer(saver, memory)) == history(InMemorySaver())
    assert BASE64.encode() not in saved(saver)


def test_types_that_are_allowed_are_those_of_the_saver(memory):
    saver = InMemorySaver(serde=JsonPlusSerializer(allowed_msgpack_modules=None))
    checkpointer = MediaCheckpointer(saver, memory)
    clone = checkpointer.with_allowlist([(Plot.__module__, "Plot")])
    config = clone.put(SPACE, checkpoint_of(Plot(PICTURE)), {}, {"it": 1})
    assert clone.get_tuple(config).checkpoint["channel_values"] == {"it": Plot(PICTURE)}
    refused = checkpointer.get_tuple(config).checkpoint["channel_values"]["it"]
    assert not isinstance(refused, Plot)
    assert clone.config_specs == saver.config_specs


def test_what_is_loaded_may_keep_its_refs(memory, saver):
    seen = []
    graph = chat(seen).compile(checkpointer=MediaCheckpointer(saver, memory, inline=False))
    graph.invoke({"messages": [asked()]}, THREAD)
    graph.invoke({"messages": [HumanMessage("And now?")]}, THREAD)
    first = seen[-1][0]
    assert first.content[1]["base64"].startswith("media://")
    assert inline_messages([first], memory)[0].content == asked().content
    assert memory.stats().refs == 1


def test_a_picture_that_the_store_refuses_saves_nothing(tmp_path, saver):
    with open_store(tmp_path / "store", limits=Limits(max_file_bytes=1000)) as store:
        graph = chat([]).compile(checkpointer=MediaCheckpointer(saver, store))
        with pytest.raises(TooLarge):
            graph.invoke({"messages": [asked()]}, THREAD)
        assert BASE64.encode() not in saved(saver)


def test_threads_go_on_after_a_restart(tmp_path, saver):
    seen = []
    for words in ("first", "second"):
        with open_store(tmp_path / "store", fsync=False) as store:
            graph = chat(seen).compile(checkpointer=MediaCheckpointer(saver, store))
            graph.invoke({"messages": [asked(words)]}, THREAD)
            assert store.stats().refs == 1
    assert [it.content for it in seen[-1][::2]] == [asked("first").content, asked("second").content]
