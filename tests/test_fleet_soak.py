"""A fleet at full load, and death at random moments: no line of the law breaks, round after round."""

import random

from fleet.soak import Soak


def check(counts) -> None:
    print(dict(counts))
    # Otherwise nothing much was going on.
    assert counts["refs promised"] > counts["kills"] > 10
    for what in ("refs live at a verdict", "deleted by the judge", "writers settled by the judge"):
        assert counts[what] > 0


def seed() -> int:
    return random.SystemRandom().randrange(1 << 32)


def test_twenty_seconds_of_killing_at_random_break_no_line_of_the_law(postgres, seaweed, tmp_path):
    check(Soak(postgres, seaweed, tmp_path, seed()).run(10_000, seconds=18))
