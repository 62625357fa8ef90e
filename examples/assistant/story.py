"""Who says what: several users, several turns, real photos and voice notes."""

from dataclasses import dataclass
from pathlib import Path

from examples.assistant.outside import SENDING, THINKING

SAMPLES = Path(__file__).resolve().parents[1] / "media"


@dataclass(frozen=True, slots=True)
class Saying:
    """What a user says, and what should come of it.

    `gets` are the content types of the media of the reply, and `hears` are words of it; `keeps` counts
    what is kept for the user. `twice` is a message that the platform tells of twice, and `killed` is
    where the worker that has it dies.
    """

    chat: str
    text: str
    files: tuple[str, ...] = ()
    gets: tuple[str, ...] = ()
    hears: str = ""
    keeps: int = 0
    twice: bool = False
    killed: str = ""


ROUND = (
    Saying("ann", "Make a card of this.", ("photo.jpg",), gets=("image/png",), twice=True),
    Saying(
        "bob",
        "Keep this, make a card of it, and answer me aloud.",
        ("sticker.webp", "jingle.mp3"),
        gets=("image/png", "audio/wav"),
        keeps=1,
        killed=THINKING,
    ),
    Saying("cem", "Answer me aloud.", ("voice.ogg",), gets=("audio/wav",), killed=SENDING),
    Saying("ann", "Listen, and answer me aloud.", ("voice.ogg",), gets=("audio/wav",)),
    Saying("bob", "And this?", ("photo.jpg", "diagram.png"), hears="4 pictures and 2 voice"),
    Saying("ann", "Keep the card, please.", hears="It is kept.", keeps=1),
    Saying("cem", "Goodbye!"),
    Saying("bob", "What was all that?", hears="4 pictures and 2 voice"),
    Saying("ann", "Goodbye!"),
    Saying("bob", "Goodbye!"),
)

LOST = ("dan", "wave.gif")
"""A user who uploads a file, and never sends the message that it is for."""
