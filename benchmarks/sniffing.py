"""What it costs to tell the type of a file from its head, against libmagic."""

import gc
import statistics
import sys
import time
from collections.abc import Callable

from benchmarks.measure import ROOT, Line, Scale, interleaved
from mediakeep.intake.types import sniff


def timed(tell: Callable[[bytes], object], head: bytes) -> float:
    start = time.perf_counter()
    tell(head)
    return time.perf_counter() - start


def sniffing(scale: Scale) -> Line:
    sys.path.insert(0, str(ROOT / "tests"))  # the corpus is that of the tests
    from corpus import samples
    from corpus.libmagic import Libmagic

    heads = [sample.head() for sample in samples()]

    def median(tell: Callable[[bytes], object]) -> float:
        gc.collect(1)
        return statistics.median(timed(tell, head) for head in heads)

    with Libmagic() as libmagic:
        return Line(
            "content type: `sniff` against libmagic, the median of real files",
            0.25,
            *interleaved(lambda: median(sniff), lambda: median(libmagic.of_bytes), scale.long_rounds),
            how=f"the first 4 KB of {len(heads):,} files of the tests' corpus, in memory, one by one; "
            "libmagic through ctypes, its database loaded",
        )


LINES: dict[str, Callable[[Scale], Line | None]] = {"sniffing": sniffing}
