"""Media as tags in the text, for agents that have tools to read files: `[audio:/path/to/voice.ogg]`."""

import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

from mediakeep.messages.parts import text_part
from mediakeep.messages.shapes import KINDS
from mediakeep.messages.trees import Role

TAGGED = frozenset(KINDS) - {"image"}
"""The kinds that become tags if nothing else is said."""


class TagPart(dict[str, Any]):
    """A text part that is a tag, until it finds its place in a text beside it."""

    def __init__(self, kind: str, path: Path, family: str, role: Role) -> None:
        self.kind = kind
        self.tag = tag(kind, path)
        super().__init__(text_part(family, self.tag, role))


def tagged_kinds(tags: bool | Collection[str]) -> frozenset[str]:
    """Return the kinds of media that become tags.

    Raises:
        ValueError: a kind is none.
    """
    if isinstance(tags, bool):
        return TAGGED if tags else frozenset()
    kinds = frozenset({tags} if isinstance(tags, str) else tags)
    if unknown := kinds - set(KINDS):
        raise ValueError(f"{sorted(unknown)} are no kinds of media: tags may be {', '.join(KINDS)}")
    return kinds


def tag(kind: str, path: Path) -> str:
    """Return the tag of the file at `path`.

    A path that would break the tag or the line is written as a file URI (RFC 8089), in which such
    characters are percent-encoded.

    >>> tag("audio", Path("/media/voice.ogg")), tag("file", Path("/media/a]b.txt"))
    ('[audio:/media/voice.ogg]', '[file:file:///media/a%5Db.txt]')
    """
    written = str(path)
    return f"[{kind}:{written if _HARMLESS.fullmatch(written) else path.as_uri()}]"


def settle_tags(values: list[Any], _role: Role) -> list[Any]:
    """Move tags into the texts beside them: to where a general tag of their kind is, else to the end."""
    tags = [it for it in values if isinstance(it, TagPart)]
    if not tags:
        return values
    texts = [it for it in values if not isinstance(it, TagPart) and _is_text(it)]
    if not texts:
        texts = [dict(tags[0])]
        values[values.index(tags[0])] = texts[0]
        tags = tags[1:]
    for it in tags:
        _place(it, texts)
    return [it for it in values if not isinstance(it, TagPart)]


def _place(it: TagPart, texts: list[dict[str, Any]]) -> None:
    for part in texts:
        part["text"], found = _GENERAL[it.kind].subn(lambda _: it.tag, part["text"], count=1)
        if found:
            return
    last = texts[-1]
    last["text"] = f"{last['text']} {it.tag}" if last["text"] else it.tag


def _is_text(value: object) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("text"), str)
        and value.get("type", "text") in ("text", "input_text", "output_text")
        and all(value.get(key) in (None, False) for key in _NOT_SAID)
    )


_NOT_SAID = ("thought", "thought_signature", "thoughtSignature", "uri")
"""What marks a text that the message does not say: a thought, one that is signed, a resource."""


_HARMLESS = re.compile(r"[^\[\]\x00-\x1f\x7f-\xa0\u2028\u2029\ud800-\udfff]+")

_GENERAL = {
    kind: re.compile(rf"\[(?:{words})\]", re.IGNORECASE)
    for kind, words in {
        "image": "image|photo|picture",
        "audio": "audio|voice",
        "video": "video",
        "file": "file|document",
    }.items()
}
