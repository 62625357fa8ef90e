"""Full load, and death at random moments: no line of the law breaks, round after round."""

import random

from crashes.apart import apart
from crashes.soak import Soak


def soak(folder, rounds: int) -> None:
    counts = Soak(folder, seed=random.SystemRandom().randrange(1 << 32)).run(rounds)
    print(dict(counts))
    # Otherwise nothing much was going on.
    assert counts["refs promised"] > rounds
    for what in ("refs live", "condemned", "leases"):
        assert counts[f"{what} at a verdict"] > 0
    for what in ("expired by the judge", "deleted by the judge", "temps of the dead"):
        assert counts[what] > 0


@apart
def test_two_hundred_rounds_of_killing_at_random_break_no_line_of_the_law(tmp_path):
    soak(tmp_path, 200)
