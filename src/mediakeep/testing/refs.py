"""What must hold of refs, of who owns a file, and of refs that come from another catalog."""

from dataclasses import replace

from mediakeep.catalogs import Registration
from mediakeep.errors import (
    CatalogError,
    RefExpired,
    RefReleased,
    UnknownRef,
)
from mediakeep.model import MediaMeta
from mediakeep.refs import new_ref
from mediakeep.testing.setting import CatalogSetting, added, new_blob, past_ref, raises


class RefsContract(CatalogSetting):
    """What must hold of refs, of who owns a file, and of refs that come from another catalog."""

    # -- refs

    def test_a_ref_is_given_back_as_it_was_written(self) -> None:
        with self._opened() as (catalog, _):
            odd = MediaMeta('a"b\n\udcff/../;DROP TABLE refs', "x/y\r\n", "tool:ünïcode 🖼")
            given = Registration(new_ref(), "a:b", "/m/f", "/link/../m/f", odd, 3)
            blob = Registration(
                new_ref(), "a:b", "3f/3fff", None, odd, 4, "ab" * 32, "said/ü", "shown/so"
            )
            for new in (given, blob):
                catalog.add(new)
            assert catalog.get(given.ref) == given
            assert catalog.get(blob.ref) == blob
            entry = catalog.entry(blob.ref)
            assert (entry.declared_type, entry.detected_type) == ("said/ü", "shown/so")

    def test_what_is_no_ref_is_unknown(self) -> None:
        with self._opened() as (catalog, _):
            live = added(catalog, "/m/f")
            for bad in (
                "",
                "media://",
                "media://nonsense",
                live.upper(),
                live + " ",
                live[:-1],
                live.replace("-", ""),
                new_ref(),
                "media://' OR 1=1 --",
                "\udcff",
            ):
                with raises(UnknownRef):
                    catalog.get(bad)
                assert catalog.release(bad).refs == 0
            assert catalog.get(live)

    def test_a_dead_ref_says_why(self) -> None:
        with self._opened() as (catalog, clock):
            released = added(catalog, "/m/a", scope="s")
            expired = added(catalog, "/m/b", scope="s", ttl=1)
            catalog.release(released)
            clock.advance(2)
            catalog.expire(None)
            with raises(RefReleased):
                catalog.get(released)
            with raises(RefExpired):
                catalog.entry(expired)
            with raises(RefReleased):
                catalog.share(released, new_ref(), "t")
            assert catalog.scopes() == []

    # -- custody

    def test_the_last_ref_condemns_an_owned_location(self) -> None:
        with self._opened() as (catalog, _):
            first, second = added(catalog, "/m/f"), added(catalog, "/m/f")
            assert catalog.release(first).condemned == []
            assert catalog.release(second).condemned == ["/m/f"]
            assert list(catalog.condemned()) == [("/m/f", 1)]
            assert catalog.knows("/m/f")

    def test_a_borrowed_location_is_forgotten(self) -> None:
        with self._opened() as (catalog, _):
            ref = added(catalog, "/m/f", meta=self.BORROWED)
            ended = catalog.release(ref)
            assert (ended.refs, ended.condemned) == (1, [])
            assert not catalog.knows("/m/f")

    def test_once_borrowed_a_location_stays_undeletable_until_its_last_ref_ends(self) -> None:
        with self._opened() as (catalog, _):
            refs = [added(catalog, "/m/f", meta=m) for m in (self.OWNED, self.BORROWED, self.OWNED)]
            assert not catalog.entry(refs[0]).owned
            assert [catalog.release(ref).condemned for ref in refs] == [[], [], []]
            assert not catalog.knows("/m/f")
            assert catalog.release(added(catalog, "/m/f")).condemned == ["/m/f"]

    def test_an_owning_ref_does_not_make_a_borrowed_location_deletable(self) -> None:
        with self._opened() as (catalog, _):
            borrowed = added(catalog, "/m/f", meta=self.BORROWED)
            owned = added(catalog, "/m/f")
            catalog.release(borrowed)
            assert catalog.release(owned).condemned == []

    def test_a_shared_ref_keeps_the_location(self) -> None:
        with self._opened() as (catalog, clock):
            ref = added(catalog, "/m/f", scope="a", ttl=5)
            shared = new_ref()
            catalog.share(ref, shared, "b")
            assert catalog.get(shared) == replace(catalog.get(ref), ref=shared, scope="b")
            assert catalog.entry(shared).refs == 2
            clock.advance(6)
            assert catalog.expire(None).condemned == []
            assert catalog.release_scope("b").condemned == ["/m/f"]

    # -- refs of another catalog

    def test_refs_are_restored_as_they_were(self) -> None:
        with self._opened() as (catalog, clock):
            refs = [
                replace(
                    new_blob("3f/a", scope), stored_at=clock.now - ago, expires_at=until, declared="a/b"
                )
                for scope, ago, until in (
                    ("s", 500.25, None),
                    ("t", 300.5, clock.now + 50.125),
                    ("s", 900.0, clock.now - 1.0),
                )
            ]
            late = added(catalog, "/m/late", scope="s")
            assert catalog.restore(refs[:2], owned=True) == 2
            assert catalog.restore([*refs, refs[2]], owned=True) == 1
            assert catalog.restore(refs, owned=True) == 0
            for it in refs:
                found = catalog.get(it.ref)
                assert found == it
                assert (found.stored_at, found.expires_at) == (it.stored_at, it.expires_at)
            assert [it.ref for it in catalog.entries("s")] == [refs[2].ref, refs[0].ref, late]
            entry = catalog.entry(refs[0].ref)
            assert (entry.size, entry.sha256, entry.owned, entry.refs) == (4, "ab" * 32, True, 3)
            assert catalog.use() == (2, 5)
            assert catalog.due(None) == 1, "it is past its time, and ends as any other"
            assert (catalog.due(600), catalog.due(400)) == (1, 2)
            assert catalog.expire(400).refs == 2
            clock.advance(51)
            assert catalog.expire(None).condemned == ["3f/a"]
            assert list(catalog.faults()) == []

    def test_a_restored_location_is_owned_as_it_was(self) -> None:
        with self._opened() as (catalog, _):
            lent = past_ref("/m/lent")
            assert catalog.restore([lent], owned=False) == 1
            assert not catalog.entry(lent.ref).owned, "a ref that borrowed it has ended there"
            assert catalog.release(lent.ref).condemned == []
            assert not catalog.knows("/m/lent")
            here = added(catalog, "/m/f")
            assert catalog.restore([past_ref("/m/f")], owned=True) == 1
            assert catalog.entry(here).owned
            again = past_ref("/m/f")
            for written in (1, 0):
                assert catalog.restore([again], owned=False) == written
                assert not catalog.entry(here).owned
            assert catalog.restore([again], owned=True) == 0
            assert catalog.release_scope("s").condemned == []
            kept = past_ref("/m/kept")
            catalog.restore([kept], owned=True)
            catalog.restore([kept], owned=False)
            assert catalog.release(kept.ref).condemned == [], "it was borrowed after the first time"

    def test_what_is_condemned_is_restored_only_where_its_bytes_lie_still(self) -> None:
        with self._opened() as (catalog, _):
            blob = new_blob("3f/a")
            catalog.add(blob)
            catalog.release(blob.ref)
            catalog.release(added(catalog, "/m/f"))
            with raises(CatalogError):
                catalog.restore([past_ref("3f/a")], owned=True)
            assert (catalog.stats().refs, catalog.stats().condemned) == (0, 2)
            path = past_ref("/m/f")

            def delete(location: str) -> None:
                assert location == "3f/a"

            assert catalog.restore([path], owned=True) == 1
            assert catalog.reap(delete).deleted == 1
            assert catalog.get(path.ref) == path

    def test_a_ref_is_not_restored_where_it_is_not(self) -> None:
        with self._opened() as (catalog, _):
            live = new_blob("3f/a")
            catalog.add(live)
            other = past_ref("3f/b")
            try:
                catalog.restore([other, replace(live, location="3f/b")], owned=True)
            except CatalogError as error:
                assert live.ref in str(error) and "3f/a" in str(error)
            else:
                raise AssertionError("a ref has two locations")
            for bad in ([], [other, past_ref("3f/c")]):
                with raises(ValueError):
                    catalog.restore(bad, owned=True)
            assert (catalog.stats().refs, catalog.use()) == (1, (1, 4))

    def test_a_ref_that_has_ended_here_is_restored_and_ends_again(self) -> None:
        with self._opened() as (catalog, clock):
            ref = added(catalog, "/m/f")
            catalog.release(ref)
            again = replace(past_ref("/m/f"), ref=ref, expires_at=clock.now)
            assert catalog.restore([again], owned=True) == 1
            assert catalog.get(ref).expires_at == clock.now
            clock.advance(1)
            assert catalog.expire(None).refs == 1
            with raises(RefExpired):
                catalog.get(ref)
            assert [it.what for it in catalog.history(ref)] == ["released", "expired"]
