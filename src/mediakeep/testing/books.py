"""What must hold of limits, of the journal, of reconciling and of numbers."""

import os

from mediakeep.catalogs import Registration
from mediakeep.errors import (
    QuotaExceeded,
    RefReconciled,
)
from mediakeep.model import Limits
from mediakeep.refs import new_ref
from mediakeep.testing.setting import (
    CatalogSetting,
    added,
    never,
    new_path,
    raises,
    refuse,
)


class BooksContract(CatalogSetting):
    """What must hold of limits, of the journal, of reconciling and of numbers."""

    # -- limits

    def test_what_does_not_fit_is_refused_and_changes_nothing(self) -> None:
        limits = Limits(max_store_bytes=10, max_store_files=3, max_scope_bytes=8)
        with self._opened() as (catalog, _):
            ref = new_ref()
            catalog.add(Registration(ref, "s", "/m/a", None, self.OWNED, 6), limits=limits)
            for scope, size in (("s", 3), ("t", 5)):  # too much for the scope, for the store
                with raises(QuotaExceeded):
                    catalog.add(new_path("/m/b", scope, size=size), limits=limits)
            assert not catalog.knows("/m/b")
            assert catalog.use() == (1, 6)
            catalog.add(new_path("/m/a", "s", size=6), limits=limits)
            assert catalog.use() == (1, 6)
            catalog.add(new_path("/m/b", "t", size=4), limits=limits)
            with raises(QuotaExceeded):
                catalog.share(ref, new_ref(), "t", limits=limits)
            catalog.add(new_path("/m/c", "u", size=0), limits=limits)
            with raises(QuotaExceeded):
                catalog.add(new_path("/m/d", "u", size=0), limits=limits)
            assert catalog.stats().refs == 4
            catalog.release_scope("t")
            assert catalog.use() == (3, 10), "condemned bytes are still there"
            catalog.reap(lambda _: None)
            assert catalog.use() == (2, 6)

    # -- the journal

    def test_every_end_and_every_deletion_has_its_line(self) -> None:
        with self._opened() as (catalog, clock):
            first = added(catalog, "/m/f", scope="s:1", size=5)
            last = added(catalog, "/m/f", scope="t", size=5, ttl=1)
            added(catalog, "/m/g", scope="s")
            catalog.release(first)
            clock.advance(2)
            catalog.expire(None)
            catalog.reap(refuse)
            catalog.reap(refuse)
            catalog.reap(lambda _: None)
            lines = [(it.what, it.ref, it.scope, it.location, it.size) for it in catalog.history()]
            assert lines == [
                ("released", first, "s:1", "/m/f", 5),
                ("expired", last, "t", "/m/f", 5),
                ("failed", last, "t", "/m/f", 5),
                ("deleted", last, "t", "/m/f", 5),
            ]
            of_first = [it.what for it in catalog.history(first)]
            assert of_first == ["released", "failed", "deleted"]
            assert [it.what for it in catalog.history(scope="s")] == ["released"]
            assert [it.what for it in catalog.history(scope="t")] == ["expired", "failed", "deleted"]
            assert list(catalog.history("media://nope")) == []
            failed = next(it for it in catalog.history() if it.what == "failed")
            assert "Permission denied" in failed.error
            assert str(os.getpid()) in failed.by
            assert failed.at.timestamp() == clock.now

    # -- reconciling

    def test_places_come_in_the_order_of_their_bytes(self) -> None:
        with self._opened() as (catalog, _):
            names = ["/m/b", "/m/a", "0f/0f1", "ff/ffa", "kept/aa", "/m/\udcff", "/m/é"]
            for name in names:
                added(catalog, name)
            catalog.release_scope("s")
            added(catalog, "/m/a")
            places = list(catalog.places())
            assert [it.location for it in places] == sorted(names, key=os.fsencode)
            assert [it.location for it in places if not it.condemned] == ["/m/a"]

    def test_what_is_lost_ends_with_its_refs_and_is_not_deleted(self) -> None:
        with self._opened() as (catalog, _):
            refs = [added(catalog, "/m/f", scope="s", size=3) for _ in range(2)]
            assert catalog.is_live("/m/f")
            assert catalog.lose("/m/f") == 2
            assert catalog.lose("/m/f") == 0
            assert not catalog.is_live("/m/f")
            assert not catalog.knows("/m/f")
            assert catalog.reap(never).deleted == 0
            assert catalog.use() == (0, 0)
            with raises(RefReconciled):
                catalog.get(refs[0])

    def test_what_is_adopted_is_reaped_unless_it_has_a_row(self) -> None:
        with self._opened() as (catalog, _):
            live = added(catalog, "0f/live")
            catalog.adopt("0f/live", 1)
            catalog.adopt("0f/stray", 9)
            assert catalog.use() == (2, 10)
            deleted: list[str] = []
            assert catalog.reap(deleted.append).freed == 9
            assert deleted == ["0f/stray"]
            assert catalog.get(live)
            assert [it.what for it in catalog.history()] == ["reconciled", "deleted"]

    def test_sound_books_have_no_faults(self) -> None:
        with self._opened() as (catalog, _):
            for i in range(5):
                added(catalog, f"/m/{i}", scope=f"s{i}", meta=self.BORROWED if i % 2 else self.OWNED)
            catalog.lease(next(catalog.entries()).ref, 60)
            for i in range(4):
                catalog.release_scope(f"s{i}")
            assert list(catalog.faults(deep=True)) == []
            catalog.mend()
            assert catalog.stats().condemned == 2
            assert catalog.stats().leases == 1

    # -- numbers

    def test_stats_count_what_there_is(self) -> None:
        with self._opened() as (catalog, clock):
            assert catalog.stats().oldest is None
            ref = added(catalog, "/m/a", scope="x", size=10)
            clock.advance(5)
            catalog.share(ref, new_ref(), "x")
            catalog.share(ref, new_ref(), "y")
            added(catalog, "/m/b", scope="y", size=7, meta=self.BORROWED)
            catalog.release(added(catalog, "/m/c", size=5))
            stats = catalog.stats(by_scope=True)
            assert (stats.refs, stats.scopes, stats.files, stats.size) == (4, 2, 2, 17)
            assert (stats.owned, stats.borrowed) == (1, 1)
            assert (stats.condemned, stats.condemned_size) == (1, 5)
            assert stats.oldest is not None
            assert stats.oldest.timestamp() == clock.now - 5
            by_scope = {name: (it.refs, it.files, it.size) for name, it in stats.by_scope.items()}
            assert by_scope == {"x": (2, 1, 10), "y": (2, 2, 17)}
