"""What must hold of bytes that are the same, and of what is made of a file."""

from mediakeep.catalogs import Registration
from mediakeep.errors import (
    QuotaExceeded,
    RefReleased,
)
from mediakeep.model import Limits
from mediakeep.refs import new_ref
from mediakeep.testing.setting import CatalogSetting, added, new_blob, raises


class ContentsContract(CatalogSetting):
    """What must hold of bytes that are the same, and of what is made of a file."""

    # -- the same bytes once

    def test_the_same_bytes_are_given_the_blob_that_has_them(self) -> None:
        with self._opened() as (catalog, _):
            first, second = new_blob("3f/a", scope="a"), new_blob("3f/b", scope="b")
            asked: list[str] = []

            def is_there(key: str) -> bool:
                asked.append(key)
                return True

            assert catalog.add(first, is_there=is_there) == "3f/a"
            assert asked == []
            assert catalog.add(second, is_there=is_there) == "3f/a"
            assert asked == ["3f/a"]
            assert (catalog.entry(second.ref).refs, catalog.use()) == (2, (1, 4))
            assert catalog.stats().saved == 4
            assert catalog.release(first.ref).condemned == []
            assert catalog.release(second.ref).condemned == ["3f/a"]
            again = new_blob("3f/c")
            assert catalog.add(again, is_there=is_there) == "3f/c", (
                "what is condemned is as good as gone"
            )

    def test_bytes_are_not_the_same_across_size_policy_or_absence(self) -> None:
        with self._opened() as (catalog, _):
            catalog.add(new_blob("3f/a"))
            for n, other in enumerate(
                (
                    new_blob("4f/b", sha256="cd" * 32),
                    new_blob("4f/c", size=5),
                    new_blob("4f/d", meta=self.BORROWED),
                )
            ):
                assert catalog.add(other, is_there=lambda _: True) == other.location, n
            gone = new_blob("4f/e")
            assert catalog.add(gone, is_there=lambda _: False) == "4f/e"
            asis = new_blob("4f/f")
            assert catalog.add(asis) == "4f/f"

    def test_bytes_are_not_shared_across_scopes_with_a_quota_each(self) -> None:
        with self._opened() as (catalog, _):
            limits = Limits(max_scope_bytes=100)
            for key, scope, given in (
                ("3f/a", "a", "3f/a"),
                ("3f/b", "b", "3f/b"),
                ("3f/c", "b", "3f/b"),
                ("3f/d", "a", "3f/a"),
            ):
                new = new_blob(key, scope=scope)
                assert catalog.add(new, limits=limits, is_there=lambda _: True) == given

    # -- variants

    def test_a_variant_lives_and_dies_with_its_original(self) -> None:
        with self._opened() as (catalog, _):
            first = new_blob("3f/a", scope="s")
            catalog.add(first)
            shared = new_ref()
            catalog.share(first.ref, shared, "t")
            assert catalog.variant(first.ref, "small") is None
            assert catalog.add_variant(first.ref, "small", "5f/v", 2, "ef" * 32) == "5f/v"
            assert catalog.add_variant(shared, "small", "5f/w", 2, "ef" * 32) == "5f/v"
            assert catalog.add_variant(shared, "large", "5f/x", 3, "") == "5f/x"
            assert catalog.variant(shared, "small") == "5f/v"
            assert catalog.use() == (3, 9)
            stats = catalog.stats()
            assert (stats.files, stats.size, stats.variants, stats.variants_size) == (1, 4, 2, 5)
            assert catalog.knows("5f/v") and catalog.is_live("5f/v")
            assert [it.location for it in catalog.places()] == ["3f/a", "5f/v", "5f/x"]
            assert list(catalog.faults()) == []
            assert catalog.release(first.ref).condemned == []
            assert sorted(catalog.release_scope("t").condemned) == ["3f/a", "5f/v", "5f/x"]
            assert not catalog.is_live("5f/v")
            for verb in (catalog.variant, lambda ref, name: catalog.add_variant(ref, name, "k", 1, "")):
                with raises(RefReleased):
                    verb(shared, "small")
            deleted: list[str] = []
            assert catalog.reap(deleted.append).deleted == 3
            assert sorted(deleted) == ["3f/a", "5f/v", "5f/x"]
            assert catalog.use() == (0, 0)
            lines = [(it.what, it.location, it.scope) for it in catalog.history()]
            assert ("released", "5f/v", "t") in lines and ("deleted", "5f/v", "t") in lines

    def test_a_variant_of_what_is_borrowed_or_leased_goes_when_the_last_ref_has_ended(self) -> None:
        with self._opened() as (catalog, _):
            borrowed = added(catalog, "/m/f", meta=self.BORROWED)
            catalog.add_variant(borrowed, "small", "5f/v", 2, "")
            assert catalog.release(borrowed).condemned == ["5f/v"]
            leased = added(catalog, "/m/g")
            catalog.add_variant(leased, "small", "5f/w", 2, "")
            number, _ = catalog.lease(leased, 60)
            assert "5f/w" in catalog.release(leased).condemned
            deleted: list[str] = []
            catalog.reap(deleted.append)
            assert deleted == ["5f/v"], "a lease on the original holds what was made of it"
            waiting = catalog.end_lease(number)
            assert sorted(waiting) == ["/m/g", "5f/w"]
            catalog.reap(deleted.append, waiting)
            assert sorted(deleted) == ["/m/g", "5f/v", "5f/w"]
            assert catalog.use() == (0, 0)

    def test_a_variant_that_somebody_registers_is_a_file_of_its_own(self) -> None:
        with self._opened() as (catalog, _):
            for meta, left in ((self.OWNED, ["5f/v"]), (self.BORROWED, [])):
                original = new_blob("3f/a", sha256="")
                catalog.add(original)
                catalog.add_variant(original.ref, "small", "5f/v", 2, "")
                new = Registration(new_ref(), "s", "5f/v", None, meta, 2)
                catalog.register("5f/v", lambda new=new: new)  # type: ignore[misc]
                assert catalog.variant(original.ref, "small") is None
                stats = catalog.stats()
                assert (stats.files, stats.size, stats.variants) == (2, 6, 0)
                assert catalog.use() == (2, 6)
                assert catalog.release(original.ref).condemned == ["3f/a"]
                assert catalog.release(new.ref).condemned == left
                catalog.reap(lambda _: None)
                assert catalog.use() == (0, 0)
                assert list(catalog.faults()) == []

    def test_a_variant_that_is_lost_can_be_made_again(self) -> None:
        with self._opened() as (catalog, _):
            ref = added(catalog, "/m/f")
            catalog.add_variant(ref, "small", "5f/v", 2, "")
            assert catalog.lose("5f/v") == 0
            assert not catalog.knows("5f/v")
            assert catalog.variant(ref, "small") is None
            assert catalog.add_variant(ref, "small", "5f/w", 2, "") == "5f/w"
            assert catalog.get(ref)

    def test_a_variant_needs_room_too(self) -> None:
        with self._opened() as (catalog, _):
            ref = added(catalog, "/m/f")
            with raises(QuotaExceeded):
                catalog.add_variant(ref, "small", "5f/v", 2, "", limits=Limits(max_store_bytes=2))
            assert catalog.variant(ref, "small") is None
            assert catalog.use() == (1, 1)
