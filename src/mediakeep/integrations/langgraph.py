"""LangGraph: checkpoints without the media, which end with their thread."""

import builtins
import copy
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from functools import partial
from typing import Any, TypeVar, cast

try:
    from langchain_core.runnables import RunnableConfig
    from langgraph.checkpoint.base import (
        BaseCheckpointSaver,
        ChannelVersions,
        Checkpoint,
        CheckpointMetadata,
        CheckpointTuple,
        DeltaChannelHistory,
    )
    from langgraph.types import Send
    from pydantic import BaseModel
except ImportError as error:
    raise ImportError(
        'mediakeep.integrations.langgraph needs langgraph: pip install "mediakeep[langchain]"'
    ) from error

from mediakeep.integrations.contents import Contents, KeepingStore
from mediakeep.integrations.scopes import scope_of
from mediakeep.integrations.threads import Threads
from mediakeep.integrations.turns import Turns
from mediakeep.messages import externalize, inline
from mediakeep.messages.shapes import find_slot
from mediakeep.store import MediaStore

__all__ = ["MediaCheckpointer", "thread_scope"]

FRAMEWORK = "langgraph"
"""The first level of the scopes of threads, and the source that media out of checkpoints have."""

Tree = TypeVar("Tree")


def thread_scope(thread_id: str) -> str:
    """Return the scope of the media of a thread.

    >>> thread_scope("42")
    'langgraph:42'
    """
    return scope_of(FRAMEWORK, thread_id)


class MediaCheckpointer(BaseCheckpointSaver[Any]):
    """A checkpointer that keeps media out of the checkpoints of another one.

    What is saved has refs where media were, in messages and in any other state; what is loaded has the
    media again, so a graph notices nothing. LangGraph saves the whole list of messages at every step;
    the media go into the store once, into the scope of their thread. They end with it: by
    `delete_thread`, or by `store.release_all(thread_scope(…))`. In checkpoints that are loaded after
    that, a short text stands in their place.

    What else the saver can do (`prune`, `delete_for_runs`) is asked of the saver itself; the media stay
    until their thread ends. A copy of a thread (`copy_thread`) would have the refs of the original, and
    end with it.

    Args:
        saver: keeps the checkpoints; anything that is a `BaseCheckpointSaver`.
        store: where the media are; it is not closed.
        scope: gives the scope of a thread.
        min_bytes: smaller media stay in the checkpoints.
        inline: whether what is loaded has the media. Without it there are refs, for graphs that bring
            them in themselves when they ask a model, as with
            :func:`mediakeep.integrations.langchain.inline_messages`.
    """

    def __init__(
        self,
        saver: BaseCheckpointSaver[Any],
        store: MediaStore,
        *,
        scope: Callable[[str], str] = thread_scope,
        min_bytes: int = 1024,
        inline: bool = True,
    ) -> None:
        super().__init__(serde=saver.serde)
        self._saver = saver
        self._store = store
        self._scope = scope
        self._min_bytes = min_bytes
        self._inlines = inline
        self._threads = Threads()
        self._turns = Turns()

    # -- in

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Save a checkpoint with refs in place of media.

        Raises:
            MediaError: the store refuses a medium or cannot write it. Nothing is saved.
        """
        return self._saver.put(config, self._lean(config, checkpoint), metadata, new_versions)

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Save a checkpoint, as `put` does."""
        lean = await self._threads.run(partial(self._lean, config, checkpoint))
        return await self._saver.aput(config, lean, metadata, new_versions)

    def put_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        """Save what a task wrote, with refs in place of media; raises as `put` does."""
        self._saver.put_writes(config, self._kept(config, list(writes)), task_id, task_path)

    async def aput_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        """Save what a task wrote, as `put_writes` does."""
        lean = await self._threads.run(partial(self._kept, config, list(writes)))
        await self._saver.aput_writes(config, lean, task_id, task_path)

    def _lean(self, config: RunnableConfig, checkpoint: Checkpoint) -> Checkpoint:
        values = self._kept(config, checkpoint["channel_values"])
        return cast("Checkpoint", {**checkpoint, "channel_values": values})

    def _kept(self, config: RunnableConfig, state: Tree) -> Tree:
        """Return `state` with refs in place of media."""
        scope = self._scope(str(config["configurable"]["thread_id"]))
        contents = Contents(self._store, scope, FRAMEWORK)
        keeping = cast("MediaStore", KeepingStore(self._store, contents))

        def keep(tree: Any) -> Any:
            return externalize(tree, keeping, scope, min_bytes=self._min_bytes, source=FRAMEWORK)

        # LangGraph saves a checkpoint and the writes that led to it at once, with the same media.
        with self._turns.of(scope):
            return cast("Tree", _walked(state, keep))

    # -- out

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Return a checkpoint with its media, or None if there is none."""
        found = self._saver.get_tuple(config)
        return found and self._full(found)

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Return a checkpoint with its media, as `get_tuple` does."""
        found = await self._saver.aget_tuple(config)
        return found and await self._threads.run(partial(self._full, found))

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002  LangGraph's name
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """Yield the checkpoints that match, with their media, as the saver gives them."""
        for found in self._saver.list(config, filter=filter, before=before, limit=limit):
            yield self._full(found)

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002  LangGraph's name
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """Yield the checkpoints that match, as `list` does."""
        async for found in self._saver.alist(config, filter=filter, before=before, limit=limit):
            yield await self._threads.run(partial(self._full, found))

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Return what channels were made of, with their media."""
        found = self._saver.get_delta_channel_history(config=config, channels=channels)
        return self._filled(dict(found))

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Return what channels were made of, as `get_delta_channel_history` does."""
        found = await self._saver.aget_delta_channel_history(config=config, channels=channels)
        return await self._threads.run(partial(self._filled, dict(found)))

    def _full(self, found: CheckpointTuple) -> CheckpointTuple:
        values = self._filled(found.checkpoint["channel_values"])
        return found._replace(
            checkpoint=cast("Checkpoint", {**found.checkpoint, "channel_values": values}),
            pending_writes=self._filled(found.pending_writes),
        )

    def _filled(self, state: Tree) -> Tree:
        """Return `state` with media in place of refs."""
        if not self._inlines:
            return state
        return cast("Tree", _walked(state, lambda tree: inline(tree, self._store)))

    # -- ends

    def delete_thread(self, thread_id: str) -> None:
        """Delete the checkpoints of a thread, and end its media."""
        self._saver.delete_thread(thread_id)
        self._store.release_all(self._scope(str(thread_id)))

    async def adelete_thread(self, thread_id: str) -> None:
        """Delete the checkpoints of a thread, and end its media."""
        await self._saver.adelete_thread(thread_id)
        await self._threads.finish(partial(self._store.release_all, self._scope(str(thread_id))))

    # -- the saver's own

    @property
    def config_specs(self) -> "builtins.list[Any]":
        """What can be configured, as the saver says."""
        return self._saver.config_specs

    def get_next_version(self, current: Any, channel: None) -> Any:
        """Return the version after `current`, as the saver counts them."""
        return self._saver.get_next_version(current, channel)

    def with_allowlist(self, extra_allowlist: Collection[tuple[str, ...]]) -> "MediaCheckpointer":
        """Return a clone over the saver's own, whose serializer allows these types too."""
        clone = copy.copy(self)
        clone._saver = self._saver.with_allowlist(extra_allowlist)
        clone.serde = clone._saver.serde
        return clone


def _walked(value: Any, change: Callable[[Any], Any]) -> Any:
    """Return `value` with its texts and parts of messages changed; itself if nothing of it changes.

    Walked are what states are made of: dicts, lists, tuples, dataclasses and pydantic's models, of which
    LangChain's messages are some. All keep their types.
    """
    if isinstance(value, str):
        return _changed(value, change) if "data:" in value or "media://" in value else value
    if type(value) is dict:
        if find_slot(value) is not None:
            return _changed(value, change)
        return _rebuilt(value, value, lambda new: new, change)
    if type(value) in (list, tuple):
        items = dict(enumerate(value))
        return _rebuilt(value, items, lambda new: type(value)(new.values()), change)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        named: Any = value
        return _rebuilt(value, named._asdict(), lambda new: named._replace(**new), change)
    if isinstance(value, BaseModel):
        held = {it: getattr(value, it) for it in type(value).model_fields} | (value.model_extra or {})
        return _rebuilt(value, held, lambda new: value.model_copy(update=new), change)
    if isinstance(value, Send):
        return _rebuilt(value, {"arg": value.arg}, partial(_sent_again, value), change)
    if is_dataclass(value) and not isinstance(value, type):
        held = {it.name: getattr(value, it.name) for it in fields(value) if it.init}
        return _rebuilt(value, held, lambda new: replace(value, **new), change)
    return value


def _changed(value: Any, change: Callable[[Any], Any]) -> Any:
    changed = change(value)
    return value if changed == value else changed


def _rebuilt(
    value: Any,
    held: dict[Any, Any],
    build: Callable[[dict[Any, Any]], Any],
    change: Callable[[Any], Any],
) -> Any:
    """Return what `build` makes of what `value` held, once that is changed; `value` if nothing is."""
    new = {key: _walked(it, change) for key, it in held.items()}
    return value if all(new[key] is it for key, it in held.items()) else build(new)


def _sent_again(packet: Send, new: dict[Any, Any]) -> Send:
    again = copy.copy(packet)
    again.arg = new["arg"]
    return again
