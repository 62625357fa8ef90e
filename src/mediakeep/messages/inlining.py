"""From refs in messages to what a provider takes."""

from collections import defaultdict
from collections.abc import Collection
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar, cast

from mediakeep.errors import MediaError
from mediakeep.intake.names import display_name
from mediakeep.intake.types import essence
from mediakeep.messages.fetching import Fetched, Known, Withheld, fetch, look, short_type
from mediakeep.messages.marks import BASE64, BYTES, IN_TEXT, Mark, marked_in_text, read_mark
from mediakeep.messages.parts import (
    base64_size,
    data_size,
    encoded,
    goes_as_text,
    json_size,
    media_part,
    restored,
    text_part,
)
from mediakeep.messages.providers import Provider, provider_of
from mediakeep.messages.shapes import Slot, find_slot, kind_of, replaced
from mediakeep.messages.tags import TagPart, settle_tags, tagged_kinds
from mediakeep.messages.trees import Leaf, Node, Role, rebuild
from mediakeep.refs import PREFIX
from mediakeep.store import MediaStore

Tree = TypeVar("Tree")

RESERVE_BYTES = 2**20


def inline(
    messages: Tree,
    store: MediaStore,
    *,
    provider: str | Provider = "data-url",
    tags: bool | Collection[str] = False,
    hold: ExitStack | None = None,
    reserve_bytes: int = RESERVE_BYTES,
) -> Tree:
    """Return a copy of `messages` in which media stand where refs were, as `provider` takes them.

    The tree given is never changed. Refs are found in the places where `externalize` puts them, whatever
    API's shapes these are: those of the provider are filled again, others become the provider's. For a
    model a ref in running text stays text. `data-url` is the exact way back: it gives every shape, and
    every mark in a text, what it had, without limits.

    For a model, images over the provider's limits or of a type that it does not take are made to fit
    (`pip install "mediakeep[images]"`) and kept as variants of the original. What cannot be sent becomes
    a text that names it and says why, and so do the oldest media where the request would be too large.

    Args:
        messages: the tree.
        store: where the refs are.
        provider: `openai` (Chat Completions), `openai-responses`, `anthropic`, `gemini`, `data-url`, or
            a `Provider` with limits of its own.
        tags: give media that are no images as tags in the text, such as `[audio:/path]`, for agents with
            tools for files; or which kinds: `image`, `audio`, `video`, `file`. A tag takes the place
            of a general one of its kind (`[audio]`, `[voice]`) in the same message's texts.
        hold: holds a lease on each file that a tag names; close it when the agent is done with them.
        reserve_bytes: what the rest of the request takes beside the messages: system prompt, tools.

    Raises:
        CyclicTree: the tree contains itself.
        ValueError: there is no such provider or kind, or `tags` are asked for without `hold`.
    """
    kinds = tagged_kinds(tags)
    if kinds and hold is None:
        raise ValueError(
            "tags name files that must stay while the agent works: give hold=stack, an ExitStack that "
            "keeps a lease on each until it is closed"
        )
    target = provider_of(provider)
    survey = _Survey(target)
    rebuild(messages, node=survey.node, text=survey.text)
    rendering = _Rendering(store, target, survey, kinds, hold, reserve_bytes)
    rendering.prepare()
    done = rebuild(messages, node=rendering.node, text=rendering.text, sequence=settle_tags)
    return cast("Tree", done)


class _Place(NamedTuple):
    """A part that holds a ref."""

    node: Node
    slot: Slot
    mark: Mark
    role: Role


@dataclass(slots=True)
class _Survey:
    """What there is in the messages, before anything is fetched."""

    target: Provider
    places: list[_Place] = field(default_factory=list)
    images_there: int = 0
    """How many images are no refs, so that they are sent whatever else is."""
    there_bytes: int = 0
    """What texts, and media that are no refs, take in JSON."""

    def node(self, node: Node, role: Role) -> Node:
        slot = find_slot(node)
        if slot is not None:
            mark = self._mark(slot.value)
            if mark is not None:
                self.places.append(_Place(node, slot, mark, role))
            else:
                kinds = (kind_of(slot.content_type),) if slot.content_type else slot.carries
                self.images_there += kinds == ("image",)
                self._count(slot.value)
            # A leaf, since the dict inside a part may look like a part as well.
            node = replaced(node, slot.path, Leaf(None))
        for value in node.values():
            if isinstance(value, bytes):
                self._count(value)
        return node

    def text(self, text: str, _role: Role) -> str:
        self._count(text)
        return text

    def _mark(self, value: str | bytes) -> Mark | None:
        if self.target.gives_back or not isinstance(value, str):
            return read_mark(value)
        stripped = value.strip()
        # A model never gets a raw ref: what begins like one and is none is a ref to nothing.
        return read_mark(stripped) or (Mark(PREFIX) if stripped.startswith(PREFIX) else None)

    def _count(self, value: str | bytes) -> None:
        if self.target.request_bytes is not None:
            self.there_bytes += json_size(value) if isinstance(value, str) else base64_size(len(value))


@dataclass(slots=True)
class _Rendering:
    """One call of `inline`: what stands for each part that holds a ref."""

    store: MediaStore
    target: Provider
    survey: _Survey
    kinds: frozenset[str]
    hold: ExitStack | None
    reserve_bytes: int
    ready: dict[int, list[Node | Leaf]] = field(default_factory=lambda: defaultdict(list))
    fetched: dict[tuple[str, str], Fetched | str] = field(default_factory=dict)
    """What was fetched, or why nothing was."""
    many: bool = False
    images: int = 0
    used: int = 0
    full: bool = False

    def prepare(self) -> None:
        """Render every place, the newest first, so that the oldest give way when there is no room."""
        self.used = self.survey.there_bytes + self.reserve_bytes
        self.images = self.survey.images_there
        # What a medium is, its bytes tell, and how many are images counts for each of them.
        known = [self._looked_at(place) for place in self.survey.places]
        sent = {"image"} - self.kinds
        images = self.images + sum(isinstance(it, Known) and it.kind in sent for it in known)
        most = self.target.many_images
        self.many = most is not None and images > most
        for place, it in zip(reversed(self.survey.places), reversed(known), strict=True):
            # A part may be in the tree twice: the last of the list is the one that comes first in it.
            self.ready[id(place.node)].append(self._rendered(place, it))

    def node(self, node: Node, _role: Role) -> Node | Leaf:
        waiting = self.ready.get(id(node))
        return waiting.pop() if waiting else node

    def text(self, text: str, _role: Role) -> str:
        if not self.target.gives_back or "media://" not in text:
            return text
        return IN_TEXT.sub(lambda found: self._in_text(found[0], marked_in_text(found)), text)

    def _in_text(self, written: str, mark: Mark) -> str:
        slot = Slot("", (), "", ())
        try:
            known = look(self.store, mark.ref, slot)
            return self._header(mark, known) + encoded(self._fetched(known).data)
        except Withheld:
            return written  # it is a text already, and says that there is something

    def _looked_at(self, place: _Place) -> Known | Withheld:
        try:
            return look(self.store, place.mark.ref, place.slot, _type_of(place.mark.header))
        except Withheld as withheld:
            return withheld

    def _rendered(self, place: _Place, known: Known | Withheld) -> Node | Leaf:
        """Return what stands for a part: with its data, or a text."""
        family = self.target.name if not self.target.gives_back else place.slot.family
        try:
            if isinstance(known, Withheld):
                raise known
            if known.kind in self.kinds:
                return Leaf(self._tag(known, family, place.role))
            return self._with_data(place, known)
        except Withheld as withheld:
            return Leaf(text_part(family, str(withheld), place.role))

    def _tag(self, known: Known, family: str, role: Role) -> TagPart:
        assert self.hold is not None  # noqa: S101  inline has refused that
        try:
            path, _ = self.hold.enter_context(self.store.lease(known.ref))
        except MediaError as error:
            raise Withheld(str(error), known) from error
        return TagPart(known.kind, path, family, role)

    def _with_data(self, place: _Place, known: Known) -> Node | Leaf:
        roles = self.target.roles
        if roles is not None and place.role is not None and place.role not in roles:
            raise Withheld(f"{self.target.name} takes no media in {place.role} messages", known)
        self._check_room(known)
        fetched = self._fetched(known)
        self._take_room(known, fetched)
        own = place.slot.family in self.target.families
        own = own and not goes_as_text(self.target.name, fetched.content_type)
        if own and (self.target.gives_back or kind_of(fetched.content_type) in place.slot.carries):
            return self._own(place, known, fetched)
        name = display_name(known.filename)
        part = media_part(self.target.name, fetched.content_type, fetched.data, place.slot, name)
        if part is None:
            raise Withheld(f"{self.target.name} takes no {short_type(fetched.content_type)}", known)
        same_api = place.slot.family.removesuffix("-url") in self.target.families
        # Not a leaf in the first case: what stands beside the source is the given tree's, and is copied.
        return {**place.node, **part} if same_api and "source" in place.node else Leaf(part)

    def _fetched(self, known: Known) -> Fetched:
        key = known.ref, known.content_type
        if key not in self.fetched:
            try:
                self.fetched[key] = fetch(self.store, known, self.target, many=self.many)
            except Withheld as withheld:
                self.fetched[key] = withheld.reason
        fetched = self.fetched[key]
        if isinstance(fetched, str):
            raise Withheld(fetched, known)
        return fetched

    def _check_room(self, known: Known) -> None:
        most = self.target.max_images
        if self.full:
            raise Withheld("the request is full of newer media", known)
        if known.kind == "image" and most is not None and self.images >= most:
            raise Withheld(f"the request has {most} newer images, and may have no more", known)

    def _take_room(self, known: Known, fetched: Fetched) -> None:
        most = self.target.request_bytes
        needed = data_size(self.target.name, fetched.content_type, fetched.data)
        if most is not None and self.used + needed > most:
            # One that would not fit even alone says nothing about those that are older.
            self.full = needed <= most - self.survey.there_bytes - self.reserve_bytes
            raise Withheld(
                "the request is full of newer media" if self.full else "too large for a request", known
            )
        self.used += needed
        self.images += known.kind == "image"

    def _own(self, place: _Place, known: Known, fetched: Fetched) -> Node:
        """Return the part with its data back, and with another type only where that is not true."""
        slot, mark = place.slot, place.mark
        data: str | bytes = fetched.data if mark.written == BYTES else encoded(fetched.data)
        if mark.written in (BYTES, BASE64) or not (slot.is_url or mark.header):
            said = slot.content_type
        else:
            header = self._header(mark, known)
            said = _type_of(header)
            if not self.target.gives_back:
                header = header.lstrip()
            if self._is_true(said, fetched):
                data = f"{header}{data!s}"
            else:
                data = f"data:{fetched.content_type};base64,{data!s}"
        return restored(
            place.node, slot, data, "" if self._is_true(said, fetched) else fetched.content_type
        )

    def _is_true(self, said: str, fetched: Fetched) -> bool:
        """Return whether a content type as it was written is right, and one that the provider knows."""
        if self.target.gives_back:
            return True
        bare = said.partition(";")[0].strip().lower()
        return bare in self.target.types and essence(bare) == essence(fetched.content_type)

    def _header(self, mark: Mark, known: Known) -> str:
        return mark.header or f"data:{known.meta.content_type or known.content_type};base64,"


def _type_of(header: str) -> str:
    """Return the content type in the header of a data URL."""
    return header.lstrip()[5:].partition(";")[0].strip() if header else ""
