"""What must hold of leases."""

from mediakeep.errors import (
    RefReleased,
    StillLeased,
    UnknownRef,
)
from mediakeep.testing.setting import CatalogSetting, added, never, raises


class LeasesContract(CatalogSetting):
    """What must hold of leases."""

    def test_a_lease_keeps_what_is_condemned(self) -> None:
        with self._opened() as (catalog, _):
            ref = added(catalog, "/m/f", scope="s")
            (first, found), (second, _) = catalog.lease(ref, 60), catalog.lease(ref, 60)
            assert first != second
            assert found == catalog.get(ref)
            assert catalog.entry(ref).leases == 2
            assert catalog.release_scope("s").condemned == ["/m/f"]
            assert catalog.reap(never).deleted == 0
            assert list(catalog.condemned()) == []
            stats = catalog.stats()
            assert (stats.leases, stats.leased, stats.condemned) == (2, 1, 1)
            assert catalog.end_lease(first) == []
            assert catalog.end_lease(second) == ["/m/f"]
            assert catalog.end_lease(second) == []
            assert catalog.reap(lambda _: None).deleted == 1

    def test_a_dead_ref_cannot_be_leased(self) -> None:
        with self._opened() as (catalog, _):
            ref = added(catalog, "/m/f")
            catalog.release(ref)
            with raises(RefReleased):
                catalog.lease(ref, 60)
            with raises(UnknownRef):
                catalog.lease("media://nope", 60)
            assert catalog.stats().leases == 0

    def test_a_lease_of_a_live_location_ends_without_a_trace(self) -> None:
        with self._opened() as (catalog, _):
            ref = added(catalog, "/m/f")
            assert catalog.end_lease(catalog.lease(ref, 60)[0]) == []
            assert catalog.entry(ref).leases == 0

    def test_a_borrowed_location_stays_undeletable_while_it_is_leased(self) -> None:
        with self._opened() as (catalog, _):
            ref = added(catalog, "/m/f", meta=self.BORROWED)
            lease, _ = catalog.lease(ref, 60)
            assert catalog.release(ref).condemned == []
            assert catalog.stats().condemned == 0
            owned = added(catalog, "/m/f")
            assert catalog.release(owned).condemned == ["/m/f"]
            assert catalog.reap(never).deleted == 0
            catalog.end_lease(lease)
            assert catalog.reap(lambda _: None).deleted == 1

    def test_a_borrowed_location_is_forgotten_when_its_lease_ends(self) -> None:
        with self._opened() as (catalog, _):
            ref = added(catalog, "/m/f", meta=self.BORROWED)
            lease, _ = catalog.lease(ref, 60)
            catalog.release(ref)
            assert catalog.end_lease(lease) == ["/m/f"]
            assert catalog.reap(never).deleted == 0
            assert not catalog.knows("/m/f")

    def test_a_lease_that_is_not_renewed_lapses_where_leases_do(self) -> None:
        with self._opened() as (catalog, clock):
            if not catalog.leases_lapse:
                return
            ref = added(catalog, "/m/f")
            (kept, _), (lost, _) = catalog.lease(ref, 60), catalog.lease(ref, 60)
            catalog.release(ref)
            clock.advance(40)
            assert catalog.renew([kept], 60) == []
            clock.advance(30)
            assert catalog.reap(never).deleted == 0
            assert catalog.renew([kept, lost], 60) == [lost]
            clock.advance(61)
            assert catalog.forget_lapsed() == 2
            assert catalog.forget_lapsed() == 0
            assert catalog.reap(lambda _: None).deleted == 1

    def test_ending_a_scope_can_be_refused_while_a_lease_would_keep_a_file(self) -> None:
        with self._opened() as (catalog, _):
            ref = added(catalog, "/m/f", scope="s:1")
            other = added(catalog, "/m/g", scope="s")
            lease, _ = catalog.lease(ref, 60)
            with raises(StillLeased):
                catalog.release_scope("s", nested=True, refuse_leased=True)
            assert catalog.get(other)
            assert catalog.release_scope("s", refuse_leased=True).refs == 1
            shared = added(catalog, "/m/f", scope="t")
            assert catalog.release_scope("s", nested=True, refuse_leased=True).refs == 1
            with raises(StillLeased):
                catalog.release_scope("t", refuse_leased=True)
            catalog.end_lease(lease)
            assert catalog.release_scope("t", refuse_leased=True).condemned == ["/m/f"]
            with raises(RefReleased):
                catalog.get(shared)
