"""What happened, as lines that people read: notes of all processes, and the journal of the store."""

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import Protocol

from examples.assistant.queues import Note

from mediakeep import MediaStore, Receipt

Part = str | tuple[str, str]
"""A text, perhaps with a style."""


class Tell(Protocol):
    """Prints a line of parts."""

    def __call__(self, *parts: Part) -> None: ...


def teller() -> Tell:
    """Return what prints in colours, or plainly where rich is missing."""
    try:
        from rich.console import Console
        from rich.text import Text
    except ModuleNotFoundError:
        return lambda *parts: print("".join(it if isinstance(it, str) else it[0] for it in parts))
    console = Console(soft_wrap=True)
    return lambda *parts: console.print(Text.assemble(*parts))


def tell_timeline(
    tell: Tell, notes: Sequence[Note], store: MediaStore, names: dict[int, str], until: float
) -> None:
    """Print what was noted and what ended until a time, in order."""
    ended = list(_endings(store.history(), lambda by: names.get(_pid(by), by)))
    begin = notes[0].at
    for note in sorted([*notes, *ended]):
        if note.at <= until:
            style = "red" if note.who == "kill -9" else "dim" if note in ended else ""
            tell(f"  {note.at - begin:6.2f} s  ", (f"{note.who:<13}", "cyan"), (note.what, style))


def _endings(journal: Iterable[Receipt], name_of: Callable[[str], str]) -> Iterable[Note]:
    """Yield one line for all that ended in one go."""
    lines = sorted(journal, key=lambda it: (it.at, it.what, it.scope))
    for (at, what, scope, by), group in groupby(lines, key=lambda it: (it.at, it.what, it.scope, it.by)):
        receipts = list(group)
        if what == "deleted":
            size = sum(it.size for it in receipts)
            words = f"deleted {_count(len(receipts), 'file')}, {size:,} bytes: {scope} was the last"
        else:
            words = f"{what} {_count(len(receipts), 'ref')} of {scope}"
        yield Note(at.timestamp(), name_of(by), words)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _pid(by: str) -> int:
    """Return the number in `process 42 on host`, as the journal names a process."""
    words = by.split()
    return int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
