"""What the end of some refs does to their files: which go, and what keeps the others."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

from mediakeep.model import Entry


class Fate(NamedTuple):
    """What becomes of one file if nobody else does anything meanwhile."""

    entry: Entry
    """One of the refs that end."""
    refs: int
    """How many of those that end name the file."""

    @property
    def others(self) -> int:
        """How many refs of the file do not end."""
        return self.entry.refs - self.refs

    @property
    def kept_by(self) -> Literal["", "others", "borrowed", "leased"]:
        """What keeps the file; nothing if it goes."""
        if self.others > 0:
            return "others"
        if not self.entry.owned:
            return "borrowed"
        return "leased" if self.entry.leases else ""


def fates_of(entries: Iterable[Entry]) -> Iterator[Fate]:
    """Yield the fate of each file that `entries` name, if these end."""
    refs: Counter[str] = Counter()
    files: dict[str, Entry] = {}
    for entry in entries:
        refs[entry.location] += 1
        files[entry.location] = entry
    return (Fate(entry, refs[location]) for location, entry in files.items())
