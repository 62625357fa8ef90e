"""A thread of LangGraph with pictures: what its checkpoints take, and how long a turn is."""

import base64
import random
import time
from collections.abc import Callable

from benchmarks.measure import Line, Scale, interleaved, scratch
from mediakeep import open_store

TURNS = 50
PICTURES = 20
PICTURE_BYTES = 200_000


def thread(saver, pictures: list[bytes]) -> float:
    """Run a thread that gets a picture in most of its first turns; return the seconds of a turn."""
    from langchain_core.messages import AIMessage, HumanMessage
    from langgraph.graph import START, MessagesState, StateGraph

    graph = StateGraph(MessagesState)
    graph.add_node("answer", lambda _: {"messages": [AIMessage("It is a picture of noise. " * 20)]})
    graph.add_edge(START, "answer")
    compiled = graph.compile(checkpointer=saver)
    config = {"configurable": {"thread_id": "42"}}
    begin = time.perf_counter()
    for turn in range(TURNS):
        blocks: list = [{"type": "text", "text": f"Turn {turn}: what is in it? " * 10}]
        if turn % 5 < 2:
            data = base64.b64encode(pictures[turn // 5 * 2 + turn % 5]).decode()
            blocks.append({"type": "image", "base64": data, "mime_type": "image/jpeg"})
        compiled.invoke({"messages": [HumanMessage(blocks)]}, config)
    return (time.perf_counter() - begin) / TURNS


def kept_bytes(saver) -> int:
    """Return how many bytes of checkpoints and writes a saver in memory has, all serialized."""
    blobs = sum(len(data) for _, data in saver.blobs.values())
    writes = sum(len(write[2][1]) for task in saver.writes.values() for write in task.values())
    spaces = (space for spaces in saver.storage.values() for space in spaces.values())
    heads = sum(len(head[1]) + len(meta[1]) for it in spaces for head, meta, _ in it.values())
    return blobs + writes + heads


def noise() -> list[bytes]:
    chance = random.Random(8)
    return [chance.randbytes(PICTURE_BYTES) for _ in range(PICTURES)]


def size(_scale: Scale) -> Line:
    from langgraph.checkpoint.memory import InMemorySaver

    from mediakeep.integrations.langgraph import MediaCheckpointer

    bare, lean = InMemorySaver(), InMemorySaver()
    with scratch() as folder, open_store(folder / "store", fsync=False) as store:
        thread(bare, noise())
        thread(MediaCheckpointer(lean, store), noise())
        media = store.stats().size
    return Line(
        f"LangGraph: checkpoints of {TURNS} turns with {PICTURES} pictures, and the media in the store, "
        "against the same without `MediaCheckpointer`",
        0.05,
        (float(kept_bytes(lean) + media),),
        (float(kept_bytes(bare)),),
        how=f"pictures of {PICTURE_BYTES:,} bytes; all bytes that `InMemorySaver` has serialized; of "
        f"ours {kept_bytes(lean) / 1e6:.2f} MB are checkpoints and {media / 1e6:.2f} MB media",
        scale=1e-6,
        unit="MB",
    )


def turn(scale: Scale) -> Line:
    from langgraph.checkpoint.memory import InMemorySaver

    from mediakeep.integrations.langgraph import MediaCheckpointer

    pictures = noise()
    with scratch() as folder, open_store(folder / "store", fsync=False) as store:

        def ours() -> float:
            taken = thread(MediaCheckpointer(InMemorySaver(), store), pictures)
            store.release_all("langgraph:42")
            return taken

        return Line(
            "LangGraph: a turn of that thread with `MediaCheckpointer`, fsync off, against one without",
            None,
            *interleaved(ours, lambda: thread(InMemorySaver(), pictures), scale.long_rounds),
            how="the whole list of messages is saved at every step, into memory on either side; ours "
            "also decodes, hashes and reads every picture of the thread at every turn",
            scale=1e3,
            unit="ms",
        )


LINES: dict[str, Callable[[Scale], Line | None]] = {
    "checkpoints.size": size,
    "checkpoints.turn": turn,
}
