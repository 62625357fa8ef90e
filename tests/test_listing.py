"""Lists that begin anywhere, as the catalog in memory keeps them, against the simplest way to do it."""

import random
from itertools import count

from mediakeep import MediaMeta
from mediakeep.catalogs import Registration
from mediakeep.catalogs.roll import Roll


def test_a_roll_is_a_sorted_list_whatever_begins_and_ends():
    chance, names = random.Random(7), count()
    live: dict[str, Registration] = {}
    roll = Roll(live)
    longest = 0

    def begin(name, at):
        new = Registration(name, "s", "b/1", None, MediaMeta(), 1, stored_at=at)
        live[name] = new
        roll.add(new)

    for step in range(6000):
        if not live or chance.random() < (0.7 if step // 1000 % 2 == 0 else 0.3):
            # Mostly in order; some at the same time, some restored from long ago.
            at = step // 3 if chance.random() < 0.9 else chance.randrange(6000)
            begin(f"{chance.randrange(10)}-{next(names)}", float(at))
        else:
            # The oldest, the youngest or any ends; now and then it is restored.
            ordered = sorted(live, key=lambda ref: (live[ref].stored_at, ref))
            ref = ordered[chance.choice([0, -1, chance.randrange(len(ordered))])]
            dead = live.pop(ref)
            roll.ended()
            if chance.random() < 0.1:
                begin(ref, dead.stored_at)
        longest = max(longest, len(live))
        assert len(roll) == len(live)
        if step % 20 == 0:
            places = sorted((it.stored_at, it.ref) for it in live.values())
            after = chance.choice([None, (float(chance.randrange(2000)), "5"), *places[:1]])
            newest = chance.random() < 0.5
            wanted = [it for it in places if after is None or (it < after if newest else it > after)]
            wanted = wanted[::-1] if newest else wanted
            found, more = roll.page(after, 50, newest=newest)
            assert [(it.stored_at, it.ref) for it in found] == wanted[:50]
            assert more == (wanted[49] if len(wanted) >= 50 else None)
            assert {it.ref for it in roll} == set(live)
    assert longest > 300
