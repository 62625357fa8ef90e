"""Rebuilding a JSON-shaped tree with parts of it changed, at any depth, without recursion."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, cast

from mediakeep.errors import MediaError


class CyclicTree(MediaError, ValueError):
    """The messages contain themselves, so that they have no end."""


class Leaf(NamedTuple):
    """A value that is used as it is; what is inside it is not looked at.

    It may stand for a dict, and for values within one.
    """

    value: object


Node = dict[Any, Any]
Role = str | None
"""That of the nearest message around a value: `user`, `assistant`, `tool` …"""


def rebuild(
    tree: object,
    *,
    node: Callable[[Node, Role], Node | Leaf],
    text: Callable[[str, Role], str],
    sequence: Callable[[list[Any], Role], list[Any]] = lambda values, _role: values,
) -> object:
    """Return a new tree; the one given is not changed and shares no container with the new one.

    Dicts, lists and tuples are walked, and anything else than text is taken over as it is. Keys are
    taken over, too.

    Args:
        tree: what to rebuild.
        node: gives what stands for a dict: a dict whose values are then walked, or a `Leaf`. Values of
            the dict that it gives, at any depth, may be a `Leaf` too.
        text: gives what stands for a text.
        sequence: gives what stands for a list or a tuple, when its values are done. It may change the
            list that it gets.

    Raises:
        CyclicTree: the tree contains itself.
    """
    top = _Frame(tree, (tree,), None)
    frames = [top]
    around = set[int]()
    while True:
        frame = frames[-1]
        for value in frame.rest:
            if isinstance(value, str):
                frame.add(text(value, frame.role))
            elif isinstance(value, Leaf):
                frame.add(value.value)
            elif isinstance(value, (dict, list, tuple)):
                inner = _entered(value, frame.role, node)
                if isinstance(inner, Leaf):
                    frame.add(inner.value)
                    continue
                if id(value) in around:
                    raise CyclicTree(
                        f"these messages contain themselves, in a {type(value).__name__} of "
                        f"{len(value)}: give a tree, as JSON is one"
                    )
                around.add(id(value))
                frames.append(inner)
                break
            else:
                frame.add(value)
        else:
            if frame is top:
                return frame.values[0]
            frames.pop()
            around.discard(id(frame.source))
            frames[-1].add(frame.finished(sequence))


class _Frame:
    """A container that is being rebuilt: what of it is still to come, and what is done."""

    __slots__ = ("keys", "rest", "role", "source", "values")

    def __init__(
        self, source: object, rest: Iterable[Any], role: Role, keys: list[Any] | None = None
    ) -> None:
        self.source = source
        self.rest: Iterator[Any] = iter(rest)
        self.role = role
        self.keys = keys
        self.values: list[Any] = []

    def add(self, value: object) -> None:
        self.values.append(value)

    def finished(self, sequence: Callable[[list[Any], Role], list[Any]]) -> object:
        if self.keys is not None:
            return dict(zip(self.keys, self.values, strict=True))
        values = sequence(self.values, self.role)
        return tuple(values) if isinstance(self.source, tuple) else values


def _entered(value: object, role: Role, node: Callable[[Node, Role], Node | Leaf]) -> _Frame | Leaf:
    if not isinstance(value, dict):
        return _Frame(value, cast("Iterable[Any]", value), role)
    # Anything may have a role; a message has something to say in it.
    named = value.get("role") if "content" in value or "parts" in value else None
    within = named if isinstance(named, str) else role
    changed = node(value, within)
    if isinstance(changed, Leaf):
        return changed
    return _Frame(value, changed.values(), within, list(changed))
