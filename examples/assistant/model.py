"""A model that follows a script, behind the API that a real one would have.

It is sent the whole conversation with all media in it, and answers with text or with calls of tools, as
Anthropic's Messages API has them. It does what real models do with media: it looks at the pictures that
it is sent, and it has an agent listen to the files that tags name. It cannot know more than it is sent.
"""

import base64
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LABEL = re.compile(r"^(\S+): (media://\S+)", re.MULTILINE)
TAG = re.compile(r"\[audio:([^\]]+)\]")
PICTURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF")
VOICES = (b"OggS", b"ID3", b"RIFF")


@dataclass(slots=True)
class Seen:
    """The media of a request: how many there are, and what is wrong with them."""

    pictures: int = 0
    voices: int = 0
    wrong: list[str] = field(default_factory=list)


def answer(messages: list[Any]) -> dict[str, Any]:
    """Return the next message of the assistant."""
    begin = max(n for n, it in enumerate(messages) if it["role"] == "user" and not _results(it))
    plan = _plan(messages, begin)
    step = (len(messages) - begin) // 2  # each step is a message with calls, and one with results
    if step < len(plan):
        calls = [
            {"type": "tool_use", "id": f"call-{step}-{n}", "name": name, "input": given}
            for n, (name, given) in enumerate(plan[step])
        ]
        return {"role": "assistant", "content": calls}
    return {"role": "assistant", "content": [{"type": "text", "text": _last_word(messages, begin)}]}


def look_at(messages: list[Any]) -> Seen:
    """Look at every picture of a request and listen to every voice note: all that is named is there."""
    seen = Seen()
    named = 0
    for message in messages:
        if message["role"] == "user":
            named += len(LABEL.findall(_text(message)))
        for part in _parts(message):
            if part["type"] == "image":
                seen.pictures += 1
                if not base64.b64decode(part["source"]["data"]).startswith(PICTURES):
                    seen.wrong.append("a picture is none")
            for name in TAG.findall(part.get("text", "")):
                seen.voices += 1
                path = Path(name)
                if not (path.is_file() and path.read_bytes().startswith(VOICES)):
                    seen.wrong.append(f"{name} cannot be listened to")
            if "left out" in part.get("text", ""):
                seen.wrong.append(part["text"])
    if named != seen.pictures + seen.voices:
        seen.wrong.append(f"{named} media are named, and {seen.pictures + seen.voices} are there")
    return seen


def _plan(messages: list[Any], begin: int) -> list[list[tuple[str, dict[str, str]]]]:
    """Return the calls of each step that answer the user."""
    asked = messages[begin]["content"][0]["text"].lower()  # names and tags come behind it
    subject = _subject(messages[: begin + 1], "the card" in asked)
    at_first = []
    if "keep" in asked:
        at_first.append(("keep", {"media": subject}))
    if "make a card" in asked:
        at_first.append(("draw", {"picture": subject, "caption": f"No. {subject[-6:]}"}))
    aloud = [("speak", {"text": "Here is what I have to say."})] if "aloud" in asked else []
    goodbye: list[tuple[str, dict[str, str]]] = [("goodbye", {})] if "goodbye" in asked else []
    return [step for step in (at_first, aloud, goodbye) if step]


def _subject(messages: list[Any], is_card: bool) -> str:
    """Return the ref that the user speaks of: the newest card, or the newest picture of a user."""
    named = [it for message in messages for it in LABEL.findall(_text(message))]
    chosen = [ref for name, ref in named if (name == "card.png") == is_card and name[-4:] in PICTURE]
    return chosen[-1] if chosen else ""


PICTURE = (".jpg", ".png", "webp")


def _last_word(messages: list[Any], begin: int) -> str:
    after = messages[begin + 1 :]
    calls = {part["name"] for it in after for part in _parts(it) if part["type"] == "tool_use"}
    failed = [_text_of(part) for it in after for part in _results(it) if part.get("is_error")]
    words = [f"That did not work: {why}" for why in failed]
    if not calls:
        seen = look_at(messages)
        words.append(f"I have {seen.pictures} pictures and {seen.voices} voice notes before me.")
    words += [f"![{name}]({ref})" for it in after for name, ref in LABEL.findall(_text(it))]
    if "keep" in calls and not failed:
        words.append("It is kept.")
    if "goodbye" in calls:
        words.append("Goodbye.")
    return " ".join(words)


def _results(message: dict[str, Any]) -> list[dict[str, Any]]:
    return [part for part in message["content"] if part["type"] == "tool_result"]


def _parts(message: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the parts of a message, and those of the results in it."""
    return [
        inner
        for part in message["content"]
        for inner in (part["content"] if part["type"] == "tool_result" else [part])
    ]


def _text(message: dict[str, Any]) -> str:
    return "\n".join(part["text"] for part in _parts(message) if part["type"] == "text")


def _text_of(result: dict[str, Any]) -> str:
    return "\n".join(part["text"] for part in result["content"] if part["type"] == "text")
