"""What we and libmagic say of each sample, as the table in docs/content-types.md.

`python -m corpus.agreement` (in tests/, with the environment of the tests) writes it anew.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from corpus import ROOT, Sample, samples
from corpus.libmagic import Libmagic
from mediakeep.intake.kinds import FOUND, OCTETS, ancestors
from mediakeep.intake.types import essence, sniff

PAGE = ROOT / "docs" / "content-types.md"
BEGIN, END = "<!-- agreement: written by tests/corpus/agreement.py -->\n", "<!-- end of agreement -->\n"
NOTHING = "(nothing)"


_ALSO = {"text/html": ("application/xml",)}  # XHTML is both, and HTML is what we call it


class Relation(Enum):
    SAME = "the same"
    NARROWER = "a special case of libmagic's"
    WIDER = "libmagic's is a special case of ours"
    DIFFERENT = "different"


@dataclass(frozen=True)
class Pair:
    """What was said of one sample, each by the one name that `essence` gives it."""

    sample: Sample
    ours: str
    theirs: str

    @property
    def relation(self) -> Relation:
        if self.ours == self.theirs:
            return Relation.SAME
        # To be a special case of octets is no agreement, and nothing found has no special cases.
        above = {*ancestors(self.ours), *_ALSO.get(self.ours, ())} - {OCTETS}
        if self.theirs in above:
            return Relation.NARROWER
        if self.ours in ancestors(self.theirs) and self.ours:
            return Relation.WIDER
        return Relation.DIFFERENT

    @property
    def counts(self) -> bool:
        """Whether the sample is of a format in the table, as either of us says."""
        return bool(self.ours) or self.theirs in FOUND


def compare(among: Iterable[Sample]) -> list[Pair]:
    """Return every pair that counts. We see 4 KB of each sample, libmagic the whole."""
    with Libmagic() as libmagic:
        pairs = [
            Pair(it, sniff(it.head()).content_type, essence(libmagic.of_file(it.path))) for it in among
        ]
    return [pair for pair in pairs if pair.counts]


def agreement(pairs: list[Pair]) -> float:
    """Return the share of pairs that do not differ."""
    return sum(pair.relation is not Relation.DIFFERENT for pair in pairs) / len(pairs)


_DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
# Of each kind of disagreement, what we say first: who is right, and why.
VERDICTS = {
    (_DOCX, OCTETS): ("we", "Word documents with four or more members before those of `word/`"),
    ("image/j2c", OCTETS): ("we", "bare JPEG 2000 codestreams, which libmagic does not know"),
    ("application/xml", "text/html"): (
        "we",
        "feeds that begin with a comment, or have HTML inside; we look at the root",
    ),
    ("audio/mpeg", OCTETS): ("we", "an ID3 tag with an extended header"),
    ("text/html", "text/x-tex"): ("we", "pages about TeX"),
    (NOTHING, "image/bmp"): ("libmagic", "a bitmap without its file header, from a clipboard"),
    ("image/png", OCTETS): ("neither", "a PNG signature with a damaged header behind it"),
    ("image/svg+xml", "text/html"): ("we", "SVG with a script in it; the root element is `svg`"),
    ("image/vnd.microsoft.icon", "image/x-tga"): ("we", "an icon; TGA has no signature"),
    ("text/plain", "image/fits"): (
        "libmagic",
        "an astronomical image, whose header is text of 80 columns",
    ),
    ("text/plain", "image/x-xv-thumbnail"): (
        "libmagic",
        "a thumbnail of the program xv, damaged on purpose",
    ),
    ("video/3gpp2", OCTETS): ("we", "3GPP2 of a Japanese carrier, brand `kddi`"),
}


def differing(pairs: list[Pair]) -> dict[tuple[str, str], list[Pair]]:
    """Return the disagreements, those of a kind together, the most frequent first."""
    groups = defaultdict(list)
    for pair in pairs:
        if pair.relation is Relation.DIFFERENT:
            groups[pair.ours or NOTHING, pair.theirs].append(pair)
    return dict(sorted(groups.items(), key=lambda it: (-len(it[1]), it[0])))


def section(pairs: list[Pair]) -> str:
    """Return the tables as Markdown."""
    relations = Counter(pair.relation for pair in pairs)
    lines = [
        f"{len(pairs):,} samples; **{agreement(pairs):.1%}** agreement: "
        + ", ".join(f"{relations[it]:,} {it.value}" for it in Relation)
        + ".",
        "",
        "| libmagic says | samples | the same | ours narrower | ours wider | different |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    by_type = defaultdict(Counter)
    for pair in pairs:
        by_type[pair.theirs][pair.relation] += 1
    for kind, counts in sorted(by_type.items()):
        figures = [counts.total(), *(counts[it] for it in Relation)]
        lines.append(f"| `{kind}` | " + " | ".join(str(it or "") for it in figures) + " |")
    lines += ["", "Every disagreement:", "", "| we say | libmagic says | samples | right | why |"]
    lines.append("|---|---|--:|---|---|")
    for (ours, theirs), group in differing(pairs).items():
        right, why = VERDICTS.get((ours, theirs), ("", ""))
        lines.append(f"| `{ours}` | `{theirs}` | {len(group)} | {right} | {why} |")
    return "\n".join(lines) + "\n"


def written() -> str:
    """Return the section as it is on the page."""
    return PAGE.read_text().partition(BEGIN)[2].partition(END)[0]


def main() -> None:
    pairs = compare(samples())
    page = PAGE.read_text()
    PAGE.write_text(
        re.sub(f"{BEGIN}.*{END}", lambda _: BEGIN + section(pairs) + END, page, flags=re.DOTALL)
    )


if __name__ == "__main__":
    main()
