"""What a catalog and a place for blobs must do, as tests to inherit: for backends of your own too.

    class TestMyCatalog(CatalogContract):
        def make_catalog(self, clock):
            return MyCatalog(clock)

pytest collects the inherited `test_…` methods. Nothing here needs pytest itself.
"""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from itertools import islice

from mediakeep.blobs import Blobs
from mediakeep.catalogs import Catalog, Clock, Registration
from mediakeep.errors import (
    CatalogError,
    QuotaExceeded,
    RefExpired,
    RefReconciled,
    RefReleased,
    StillLeased,
    UnknownRef,
)
from mediakeep.model import CleanupPolicy, Limits, MediaMeta
from mediakeep.refs import new_ref

__all__ = ["BlobsContract", "CatalogContract", "FakeClock"]

PATIENCE_SECONDS = 30.0
"""How long a contract waits for a thread before it calls it stuck."""


class FakeClock:
    """A clock that moves only when it is told to.

    >>> clock = FakeClock(100.0)
    >>> clock.advance(timedelta(minutes=1))
    >>> clock()
    160.0
    """

    def __init__(self, now: float = 1_767_225_600.0) -> None:  # 2026-01-01T00:00:00Z
        self.now = now

    def __call__(self) -> float:
        """Return the time in seconds since the epoch."""
        return self.now

    def advance(self, by: timedelta | float) -> None:
        """Move by an amount of time, a timedelta or seconds; a negative one moves back."""
        self.now += by.total_seconds() if isinstance(by, timedelta) else by


class CatalogContract:
    """What must hold of every catalog. Override `make_catalog`; each test gets a fresh one."""

    OWNED = MediaMeta(filename="cat.jpg", content_type="image/jpeg", source="test")
    BORROWED = MediaMeta(filename="cat.jpg", cleanup_policy=CleanupPolicy.FORGET_ONLY)

    def make_catalog(self, clock: Clock) -> Catalog:
        """Return an empty catalog that takes its time from `clock`."""
        raise NotImplementedError

    @contextmanager
    def _opened(self) -> Iterator[tuple[Catalog, FakeClock]]:
        clock = FakeClock()
        catalog = self.make_catalog(clock)
        try:
            yield catalog, clock
        finally:
            catalog.close()

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
            live = _add(catalog, "/m/f")
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
                with _raises(UnknownRef):
                    catalog.get(bad)
                assert catalog.release(bad).refs == 0
            assert catalog.get(live)

    def test_a_dead_ref_says_why(self) -> None:
        with self._opened() as (catalog, clock):
            released = _add(catalog, "/m/a", scope="s")
            expired = _add(catalog, "/m/b", scope="s", ttl=1)
            catalog.release(released)
            clock.advance(2)
            catalog.expire(None)
            with _raises(RefReleased):
                catalog.get(released)
            with _raises(RefExpired):
                catalog.entry(expired)
            with _raises(RefReleased):
                catalog.share(released, new_ref(), "t")
            assert catalog.scopes() == []

    # -- custody

    def test_the_last_ref_condemns_an_owned_location(self) -> None:
        with self._opened() as (catalog, _):
            first, second = _add(catalog, "/m/f"), _add(catalog, "/m/f")
            assert catalog.release(first).condemned == []
            assert catalog.release(second).condemned == ["/m/f"]
            assert list(catalog.condemned()) == [("/m/f", 1)]
            assert catalog.knows("/m/f")

    def test_a_borrowed_location_is_forgotten(self) -> None:
        with self._opened() as (catalog, _):
            ref = _add(catalog, "/m/f", meta=self.BORROWED)
            ended = catalog.release(ref)
            assert (ended.refs, ended.condemned) == (1, [])
            assert not catalog.knows("/m/f")

    def test_once_borrowed_a_location_stays_undeletable_until_its_last_ref_ends(self) -> None:
        with self._opened() as (catalog, _):
            refs = [_add(catalog, "/m/f", meta=m) for m in (self.OWNED, self.BORROWED, self.OWNED)]
            assert not catalog.entry(refs[0]).owned
            assert [catalog.release(ref).condemned for ref in refs] == [[], [], []]
            assert not catalog.knows("/m/f")
            assert catalog.release(_add(catalog, "/m/f")).condemned == ["/m/f"]

    def test_an_owning_ref_does_not_make_a_borrowed_location_deletable(self) -> None:
        with self._opened() as (catalog, _):
            borrowed = _add(catalog, "/m/f", meta=self.BORROWED)
            owned = _add(catalog, "/m/f")
            catalog.release(borrowed)
            assert catalog.release(owned).condemned == []

    def test_a_shared_ref_keeps_the_location(self) -> None:
        with self._opened() as (catalog, clock):
            ref = _add(catalog, "/m/f", scope="a", ttl=5)
            shared = new_ref()
            catalog.share(ref, shared, "b")
            assert catalog.get(shared) == replace(catalog.get(ref), ref=shared, scope="b")
            assert catalog.entry(shared).refs == 2
            clock.advance(6)
            assert catalog.expire(None).condemned == []
            assert catalog.release_scope("b").condemned == ["/m/f"]

    # -- the same bytes once

    def test_the_same_bytes_are_given_the_blob_that_has_them(self) -> None:
        with self._opened() as (catalog, _):
            first, second = _blob("3f/a", scope="a"), _blob("3f/b", scope="b")
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
            again = _blob("3f/c")
            assert catalog.add(again, is_there=is_there) == "3f/c", (
                "what is condemned is as good as gone"
            )

    def test_bytes_are_not_the_same_across_size_policy_or_absence(self) -> None:
        with self._opened() as (catalog, _):
            catalog.add(_blob("3f/a"))
            for n, other in enumerate(
                (
                    _blob("4f/b", sha256="cd" * 32),
                    _blob("4f/c", size=5),
                    _blob("4f/d", meta=self.BORROWED),
                )
            ):
                assert catalog.add(other, is_there=lambda _: True) == other.location, n
            gone = _blob("4f/e")
            assert catalog.add(gone, is_there=lambda _: False) == "4f/e"
            asis = _blob("4f/f")
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
                new = _blob(key, scope=scope)
                assert catalog.add(new, limits=limits, is_there=lambda _: True) == given

    # -- many at once

    def test_many_are_written_at_once_and_stay_in_order(self) -> None:
        with self._opened() as (catalog, clock):
            news = [_blob(f"3f/{i}", sha256=f"{i:064}", size=i) for i in range(40)]
            news.append(replace(news[0], ref=new_ref(), meta=self.BORROWED, location="3f/own"))
            assert catalog.add_many(news, ttl=60) == [it.location for it in news]
            assert [it.ref for it in catalog.entries("s")] == [it.ref for it in news]
            assert [catalog.get(it.ref) for it in news] == news
            entry = catalog.entry(news[0].ref)
            assert entry.expires_at is not None
            assert entry.stored_at.timestamp() == clock.now
            assert (entry.expires_at - entry.stored_at).total_seconds() == 60
            assert catalog.stats().refs == 41
            assert catalog.use() == (41, sum(range(40)))
            assert not catalog.entry(news[-1].ref).owned
            clock.advance(61)
            assert catalog.expire(None).refs == 41
            assert len(list(catalog.condemned())) == 40
            assert catalog.add_many([]) == []
            assert list(catalog.faults()) == []

    def test_many_are_written_all_or_none(self) -> None:
        limits = Limits(max_store_bytes=20, max_store_files=4, max_scope_bytes=12)
        with self._opened() as (catalog, _):
            catalog.add(_blob("3f/a"), limits=limits)
            for n, news in enumerate(
                (
                    [_blob(f"3f/{i}", f"s{i}", size=0, sha256="") for i in range(4)],
                    [_blob("3f/b", "t", size=12), _blob("3f/c", "u", size=5)],
                    [_blob("3f/b", "t"), _blob("3f/c", size=9), _blob("3f/d", "u")],
                )
            ):
                with _raises(QuotaExceeded):
                    catalog.add_many(news, limits=limits)
                with _raises(QuotaExceeded):
                    catalog.register_many([it.location for it in news], lambda n=news: n, limits=limits)  # type: ignore[misc]
                assert (catalog.use(), catalog.scopes()) == ((1, 4), ["s"]), n
                assert not catalog.knows("3f/b")
            fits = [_blob("3f/b", "s", size=8), _blob("3f/c", "t", size=8), _blob("3f/c", "t", size=8)]
            catalog.add_many(fits, limits=limits)
            assert catalog.use() == (3, 20)
            assert catalog.stats(by_scope=True).by_scope["t"].size == 8

    def test_many_of_the_same_bytes_are_given_one_blob(self) -> None:
        with self._opened() as (catalog, _):
            live = _blob("3f/live")
            catalog.add(live)
            news = [
                _blob("3f/a"),
                _blob("3f/b", sha256="cd" * 32),
                _blob("3f/c", sha256="cd" * 32),
                _blob("3f/d", sha256="cd" * 32, meta=self.BORROWED),
                _blob("3f/e", sha256=""),
                _blob("3f/f", sha256=""),
                _blob("3f/g"),
            ]
            given = ["3f/live", "3f/b", "3f/b", "3f/d", "3f/e", "3f/f", "3f/live"]
            asked: list[str] = []

            def is_there(key: str, new: Registration) -> bool:
                assert (new.size, new.sha256) == (4, "ab" * 32)
                asked.append(key)
                return True

            assert catalog.add_many(news, is_there=is_there) == given
            assert asked == ["3f/live"], "what is new is there, as its writer knows"
            assert [catalog.get(it.ref).location for it in news] == given
            assert [catalog.entry(it.ref).refs for it in (news[0], news[1])] == [3, 2]
            assert catalog.use() == (5, 20)
            asis = [_blob("4f/a"), _blob("4f/b")]
            assert catalog.add_many(asis) == ["4f/a", "4f/b"]
            gone = [_blob("5f/a", sha256="cd" * 32), _blob("5f/b", sha256="cd" * 32)]
            assert catalog.add_many(gone, is_there=lambda *_: False) == ["5f/a", "5f/a"]
            apart = [_blob("6f/a", "x", sha256="ef" * 32), _blob("6f/b", "y", sha256="ef" * 32)]
            limits = Limits(max_scope_bytes=100)
            assert catalog.add_many(apart, limits=limits, is_there=lambda *_: True) == ["6f/a", "6f/b"]
            assert list(catalog.faults()) == []

    def test_many_do_not_join_a_blob_that_ends_meanwhile(self) -> None:
        with self._opened() as (catalog, _):
            live = _blob("3f/live")
            catalog.add(live)

            def is_there(_: str, __: Registration) -> bool:
                return catalog.release(live.ref).refs == 1

            news = [_blob("3f/a"), _blob("3f/b")]
            assert catalog.add_many(news, is_there=is_there) == ["3f/a", "3f/a"]
            assert list(catalog.condemned()) == [("3f/live", 4)]
            assert catalog.entry(news[0].ref).refs == 2

    def test_many_registrations_may_name_a_location_several_times(self) -> None:
        with self._opened() as (catalog, _):
            names = ["/m/b", "/m/a", "/m/b", "/m/c", "/m/b"]
            metas = [self.OWNED, self.OWNED, self.BORROWED, self.OWNED, self.OWNED]
            news = [
                replace(_new(name, "s", meta), given="/link" + name)
                for name, meta in zip(names, metas, strict=True)
            ]
            catalog.register_many(names, lambda: news, ttl=9)
            assert [it.location for it in catalog.entries("s")] == names
            assert [catalog.get(it.ref).given for it in news] == ["/link" + name for name in names]
            assert (catalog.entry(news[0].ref).refs, catalog.use()) == (3, (3, 3))
            assert sorted(catalog.release_scope("s").condemned) == ["/m/a", "/m/c"]
            assert not catalog.knows("/m/b"), "it was borrowed once"

    def test_many_registrations_look_under_the_locks_of_all_and_revive(self) -> None:
        with self._opened() as (catalog, _):
            names = [f"/m/{i}" for i in range(20)]
            for name in names:
                catalog.release(_add(catalog, name))
            catalog.release(_add(catalog, "/m/other"))
            news = [_new(name) for name in names]

            def look() -> list[Registration]:
                assert (
                    catalog.reap(lambda name: None if name == "/m/other" else _never(name)).deleted == 1
                )
                return news

            catalog.register_many(names, look)
            assert catalog.reap(_never).deleted == 0
            assert (catalog.stats().condemned, catalog.stats().files) == (0, 20)

    def test_many_registrations_of_which_one_does_not_verify_change_nothing(self) -> None:
        with self._opened() as (catalog, _):
            catalog.release(_add(catalog, "/m/f"))

            def missing() -> list[Registration]:
                raise FileNotFoundError

            with _raises(FileNotFoundError):
                catalog.register_many(["/m/f", "/m/g"], missing)
            assert (catalog.stats().refs, catalog.knows("/m/g")) == (0, False)
            assert catalog.reap(lambda _: None).deleted == 1

    def test_many_registrations_wait_for_a_deletion_of_one_and_never_in_a_circle(self) -> None:
        with self._opened() as (catalog, _):
            names = [f"/m/{i}" for i in range(12)]
            catalog.release(_add(catalog, names[5]))
            order: list[str] = []

            def register(them: list[str]) -> None:
                def look() -> list[Registration]:
                    order.append("looked")
                    return [_new(name) for name in them]

                for _ in range(10):
                    catalog.register_many(them, look)

            workers = [
                threading.Thread(target=register, args=(them,), daemon=True)
                for them in (names, names[::-1], names[5:] + names[:5], [names[5]])
            ]

            def delete(_: str) -> None:
                for worker in workers:
                    worker.start()
                workers[0].join(0.05)
                order.append("deleted")

            assert catalog.reap(delete).deleted == 1
            for worker in workers:
                worker.join(PATIENCE_SECONDS)
                assert not worker.is_alive(), "two batches wait for each other"
            assert order == ["deleted"] + ["looked"] * 40
            assert (catalog.use(), catalog.stats().refs) == ((12, 12), 370)

    def test_the_refs_of_a_location_are_told_whole_and_no_others(self) -> None:
        with self._opened() as (catalog, clock):
            assert list(catalog.refs_at("/m/f")) == []
            first = _add(catalog, "/m/f", meta=self.BORROWED)
            others = [new_ref() for _ in range(1100)]
            for number, ref in enumerate(others):
                catalog.share(first, ref, f"t:{number % 3}", ttl=number + 1)
            _add(catalog, "/m/other")
            found = list(catalog.refs_at("/m/f"))
            assert [it.ref for it in found] == sorted([first, *others])
            by_ref = {it.ref: it for it in found}
            assert by_ref[first] == catalog.get(first)
            last = by_ref[others[-1]]
            assert (last.scope, last.expires_at) == ("t:1", clock.now + 1100)
            catalog.release(first)
            assert len(list(catalog.refs_at("/m/f"))) == 1100
            catalog.release_scope("t", nested=True)
            assert list(catalog.refs_at("/m/f")) == []

    # -- refs of another catalog

    def test_refs_are_restored_as_they_were(self) -> None:
        with self._opened() as (catalog, clock):
            refs = [
                replace(
                    _blob("3f/a", scope), stored_at=clock.now - ago, expires_at=until, declared="a/b"
                )
                for scope, ago, until in (
                    ("s", 500.25, None),
                    ("t", 300.5, clock.now + 50.125),
                    ("s", 900.0, clock.now - 1.0),
                )
            ]
            late = _add(catalog, "/m/late", scope="s")
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
            lent = _past("/m/lent")
            assert catalog.restore([lent], owned=False) == 1
            assert not catalog.entry(lent.ref).owned, "a ref that borrowed it has ended there"
            assert catalog.release(lent.ref).condemned == []
            assert not catalog.knows("/m/lent")
            here = _add(catalog, "/m/f")
            assert catalog.restore([_past("/m/f")], owned=True) == 1
            assert catalog.entry(here).owned
            again = _past("/m/f")
            for written in (1, 0):
                assert catalog.restore([again], owned=False) == written
                assert not catalog.entry(here).owned
            assert catalog.restore([again], owned=True) == 0
            assert catalog.release_scope("s").condemned == []
            kept = _past("/m/kept")
            catalog.restore([kept], owned=True)
            catalog.restore([kept], owned=False)
            assert catalog.release(kept.ref).condemned == [], "it was borrowed after the first time"

    def test_what_is_condemned_is_restored_only_where_its_bytes_lie_still(self) -> None:
        with self._opened() as (catalog, _):
            blob = _blob("3f/a")
            catalog.add(blob)
            catalog.release(blob.ref)
            catalog.release(_add(catalog, "/m/f"))
            with _raises(CatalogError):
                catalog.restore([_past("3f/a")], owned=True)
            assert (catalog.stats().refs, catalog.stats().condemned) == (0, 2)
            path = _past("/m/f")

            def delete(location: str) -> None:
                assert location == "3f/a"

            assert catalog.restore([path], owned=True) == 1
            assert catalog.reap(delete).deleted == 1
            assert catalog.get(path.ref) == path

    def test_a_ref_is_not_restored_where_it_is_not(self) -> None:
        with self._opened() as (catalog, _):
            live = _blob("3f/a")
            catalog.add(live)
            other = _past("3f/b")
            try:
                catalog.restore([other, replace(live, location="3f/b")], owned=True)
            except CatalogError as error:
                assert live.ref in str(error) and "3f/a" in str(error)
            else:
                raise AssertionError("a ref has two locations")
            for bad in ([], [other, _past("3f/c")]):
                with _raises(ValueError):
                    catalog.restore(bad, owned=True)
            assert (catalog.stats().refs, catalog.use()) == (1, (1, 4))

    def test_a_ref_that_has_ended_here_is_restored_and_ends_again(self) -> None:
        with self._opened() as (catalog, clock):
            ref = _add(catalog, "/m/f")
            catalog.release(ref)
            again = replace(_past("/m/f"), ref=ref, expires_at=clock.now)
            assert catalog.restore([again], owned=True) == 1
            assert catalog.get(ref).expires_at == clock.now
            clock.advance(1)
            assert catalog.expire(None).refs == 1
            with _raises(RefExpired):
                catalog.get(ref)
            assert [it.what for it in catalog.history(ref)] == ["released", "expired"]

    # -- variants

    def test_a_variant_lives_and_dies_with_its_original(self) -> None:
        with self._opened() as (catalog, _):
            first = _blob("3f/a", scope="s")
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
                with _raises(RefReleased):
                    verb(shared, "small")
            deleted: list[str] = []
            assert catalog.reap(deleted.append).deleted == 3
            assert sorted(deleted) == ["3f/a", "5f/v", "5f/x"]
            assert catalog.use() == (0, 0)
            lines = [(it.what, it.location, it.scope) for it in catalog.history()]
            assert ("released", "5f/v", "t") in lines and ("deleted", "5f/v", "t") in lines

    def test_a_variant_of_what_is_borrowed_or_leased_goes_when_the_last_ref_has_ended(self) -> None:
        with self._opened() as (catalog, _):
            borrowed = _add(catalog, "/m/f", meta=self.BORROWED)
            catalog.add_variant(borrowed, "small", "5f/v", 2, "")
            assert catalog.release(borrowed).condemned == ["5f/v"]
            leased = _add(catalog, "/m/g")
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
                original = _blob("3f/a", sha256="")
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
            ref = _add(catalog, "/m/f")
            catalog.add_variant(ref, "small", "5f/v", 2, "")
            assert catalog.lose("5f/v") == 0
            assert not catalog.knows("5f/v")
            assert catalog.variant(ref, "small") is None
            assert catalog.add_variant(ref, "small", "5f/w", 2, "") == "5f/w"
            assert catalog.get(ref)

    def test_a_variant_needs_room_too(self) -> None:
        with self._opened() as (catalog, _):
            ref = _add(catalog, "/m/f")
            with _raises(QuotaExceeded):
                catalog.add_variant(ref, "small", "5f/v", 2, "", limits=Limits(max_store_bytes=2))
            assert catalog.variant(ref, "small") is None
            assert catalog.use() == (1, 1)

    # -- scopes

    def test_a_scope_ends_alone_or_with_those_below_it(self) -> None:
        with self._opened() as (catalog, _):
            names = ["", "a", "a:", "a:b", "a:b:c", "a;", "ab", "b", "é:ü", "a_", "A:b", "a%"]
            for name in names:
                _add(catalog, f"/m/{name}", scope=name)
            assert catalog.scopes() == sorted(names)
            assert catalog.release_scope("a").condemned == ["/m/a"]
            assert catalog.release_scope("a").refs == 0
            assert sorted(catalog.release_scope("a", nested=True).condemned) == [
                "/m/a:",
                "/m/a:b",
                "/m/a:b:c",
            ]
            assert catalog.release_scope("", nested=True).condemned == ["/m/"]
            assert catalog.scopes() == sorted(["a;", "ab", "b", "é:ü", "a_", "A:b", "a%"])

    def test_entries_come_by_scope_and_age_and_only_those_asked_for(self) -> None:
        with self._opened() as (catalog, clock):
            refs: dict[str, list[str]] = {}
            for name in ("b", "a:x", "a", "a:x"):
                refs.setdefault(name, []).append(_add(catalog, f"/m/{name}", scope=name))
                clock.advance(1)
            listed = [*refs["a"], *refs["a:x"], *refs["b"]]
            assert [it.ref for it in catalog.entries()] == listed
            assert [it.ref for it in catalog.entries("a")] == refs["a"]
            assert [it.ref for it in catalog.entries("a", nested=True)] == listed[:-1]
            assert list(catalog.entries("none")) == []
            entry = next(catalog.entries("a:x"))
            assert (entry.size, entry.refs, entry.owned) == (1, 2, True)
            assert entry == catalog.entry(refs["a:x"][0])

    def test_many_entries_come_once_each(self) -> None:
        with self._opened() as (catalog, clock):
            refs = []
            for i in range(1203):
                refs.append(_add(catalog, f"/m/{i}", scope=f"s{i % 2}"))
                clock.advance(i % 3 - 1)
            assert sorted(it.ref for it in catalog.entries()) == sorted(refs)
            assert len(list(catalog.entries("s0"))) == 602

    def test_the_newest_come_first_in_a_list_that_goes_the_other_way_round(self) -> None:
        with self._opened() as (catalog, clock):
            for i in range(1300):
                _add(catalog, f"/m/{i}", scope=("a", "a!", "a:x", "a:x", "b")[i % 5])
                clock.advance(i % 3)  # some at the same time
            for scope, nested in ((None, False), ("a:x", False), ("a", True), ("none", True)):
                listed = [it.ref for it in catalog.entries(scope, nested=nested)]
                back = [it.ref for it in catalog.entries(scope, nested=nested, newest=True)]
                assert back == listed[::-1]
            assert len(set(listed)) == len(listed)
            assert next(catalog.entries("a", newest=True)).location == "/m/1295"

    def test_a_list_goes_on_from_any_place_of_its_order(self) -> None:
        with self._opened() as (catalog, clock):
            for scope in ("b", "b:1", "c"):
                for _ in range(3):
                    _add(catalog, f"/m/{scope}", scope=scope)
                    clock.advance(1e-6)
            listed = list(catalog.entries())
            for i, it in enumerate(listed):
                assert list(catalog.entries(after=it)) == listed[i + 1 :]
                assert list(catalog.entries(after=it, newest=True)) == listed[:i][::-1]
            within = list(catalog.entries("b:1"))
            for elsewhere, there in ((listed[0], within), (listed[-1], [])):
                assert list(catalog.entries("b:1", after=elsewhere)) == there
                back = [it for it in within if it not in there]
                assert list(catalog.entries("b:1", after=elsewhere, newest=True)) == back[::-1]
            nowhere = replace(listed[0], scope="b:0", ref=new_ref())
            assert list(catalog.entries(after=nowhere)) == listed[3:]
            assert list(catalog.entries(after=nowhere, newest=True)) == listed[2::-1]
            past = replace(listed[0], scope="\U0010ffff")
            assert list(catalog.entries("b", nested=True, after=past)) == []

    def test_pages_join_up_while_others_put_and_release(self) -> None:
        for newest in (False, True):
            with self._opened() as (catalog, clock):
                for i in range(700):
                    _add(catalog, f"/m/{i}", scope=f"s:{i % 2}")
                    clock.advance(i % 4 * 1e-6)
                there = [it.ref for it in catalog.entries("s", nested=True, newest=newest)]
                ended: set[str] = set()
                seen: list[str] = []
                after = None
                while True:
                    page = list(
                        islice(catalog.entries("s", nested=True, after=after, newest=newest), 90)
                    )
                    if not page:
                        break
                    seen += [it.ref for it in page]
                    after = page[-1]
                    # The last of the page ends, and one that comes later; and some begin.
                    at = there.index(after.ref) if after.ref in there else 0
                    for ref in (after.ref, *there[at + 5 : at + 6]):
                        catalog.release(ref)
                        ended.add(ref)
                    for scope in ("s:0", "s:1") if len(seen) < 500 else ():
                        _add(catalog, f"/m/new{len(seen)}", scope=scope)
                    clock.advance(1)
                assert len(seen) == len(set(seen)), "none is repeated"
                old = [ref for ref in seen if ref in set(there)]
                assert old == [ref for ref in there if ref in set(old)]
                assert set(there) - set(old) <= ended, "none is skipped that lives"
                assert len(ended) > 12

    def test_each_scope_tells_when_its_newest_ref_came(self) -> None:
        with self._opened() as (catalog, clock):
            assert catalog.latest() == []
            for scope in ("b", "a:1", "a", "b", "a:1"):
                last = _add(catalog, f"/m/{scope}", scope=scope)
                clock.advance(10)
            catalog.release(last)
            found = {name: at.timestamp() - clock.now for name, at in catalog.latest()}
            assert found == {"a": -30, "a:1": -40, "b": -20}

    def test_what_ends_next_comes_first(self) -> None:
        with self._opened() as (catalog, clock):
            assert catalog.expiring(5) == []
            ttls = [40, 10, 30, 20, 50, 15]
            refs = {ttl: _add(catalog, f"/m/{ttl}", scope=f"s{ttl % 3}", ttl=ttl) for ttl in ttls}
            _add(catalog, "/m/immortal")
            catalog.release(refs[15])
            assert [it.ref for it in catalog.expiring(3)] == [refs[10], refs[20], refs[30]]
            assert len(catalog.expiring(100)) == 5
            clock.advance(25)
            catalog.expire(None)
            first, *_ = catalog.expiring(1)
            assert first == catalog.entry(refs[30])

    def test_files_that_are_held_come_once_each(self) -> None:
        with self._opened() as (catalog, clock):
            refs = [_add(catalog, f"/m/{i}") for i in range(6)]
            catalog.share(refs[0], new_ref(), "t")
            for ref in (refs[0], refs[0], refs[1], refs[2], refs[3]):
                number, _ = catalog.lease(ref, 60)
            catalog.end_lease(number)
            catalog.release(refs[2])  # its file is held, and there is no ref to name it by
            assert {it.location for it in catalog.leased(10)} == {"/m/0", "/m/1"}
            assert sorted(it.leases for it in catalog.leased(10)) == [1, 2]
            assert len(catalog.leased(1)) == 1
            clock.advance(61)
            assert bool(catalog.leased(10)) != catalog.leases_lapse

    def test_refs_are_counted_by_scope_and_sort(self) -> None:
        with self._opened() as (catalog, _):
            types = ("image/png", "IMAGE/jpeg", "text/plain; a=b", "x-image/y", "image", "", "\0/\udcff")
            for i, kind in enumerate(types):
                meta = MediaMeta('a", "content_type": "image/gif', kind)
                catalog.add(replace(_blob(f"3f/{i}", f"s:{i % 2}"), meta=meta))
            twice = replace(_blob("3f/0", "s:0"), meta=MediaMeta(content_type="image/png"))
            catalog.restore([twice], owned=True)
            found = {(it.scope, it.major): it[2:] for it in catalog.tally(("image", "text"))}
            assert found == {
                ("s:0", "image"): (2, 8),
                ("s:0", "text"): (1, 4),
                ("s:0", ""): (2, 8),
                ("s:1", "image"): (1, 4),
                ("s:1", ""): (2, 8),
            }

    # -- time

    def test_a_ref_expires_strictly_after_its_time(self) -> None:
        with self._opened() as (catalog, clock):
            own = _add(catalog, "/m/own", ttl=10)
            aged = _add(catalog, "/m/aged")
            clock.advance(10)
            assert catalog.due(10) == 0
            assert catalog.expire(10).refs == 0
            clock.advance(0.5)
            assert catalog.due(None) == 1
            assert catalog.due(10) == 2
            assert catalog.expire(None).condemned == ["/m/own"]
            assert catalog.expire(10).condemned == ["/m/aged"]
            for ref in (own, aged):
                with _raises(RefExpired):
                    catalog.get(ref)

    def test_a_ttl_of_its_own_replaces_the_common_age(self) -> None:
        with self._opened() as (catalog, clock):
            ref = _add(catalog, "/m/f", ttl=1000)
            clock.advance(500)
            assert catalog.expire(10).refs == 0
            assert catalog.get(ref)

    def test_expiry_is_bounded_and_comes_to_an_end(self) -> None:
        with self._opened() as (catalog, clock):
            for i in range(25):
                _add(catalog, f"/m/{i}", scope="s", ttl=1 + i % 5)
            clock.advance(60)
            counts = []
            while n := catalog.expire(None, limit=10).refs:
                counts.append(n)
            assert counts == [10, 10, 5]
            assert catalog.stats().refs == 0
            assert catalog.stats().condemned == 25

    def test_refs_that_ended_early_do_not_expire(self) -> None:
        with self._opened() as (catalog, clock):
            kept = _add(catalog, "/m/kept", ttl=5)
            for i in range(3000):
                catalog.release(_add(catalog, f"/m/{i}", ttl=3 + i % 4))
            clock.advance(6)
            assert catalog.due(None) == 1
            assert catalog.expire(None).refs == 1
            with _raises(RefExpired):
                catalog.get(kept)

    # -- deletion

    def test_reaping_deletes_and_forgets(self) -> None:
        with self._opened() as (catalog, _):
            for i in range(700):
                _add(catalog, f"/m/{i}", scope="s")
            live = _add(catalog, "/m/live", scope="t")
            some = catalog.release_scope("s").condemned
            deleted: list[str] = []
            reaped = catalog.reap(deleted.append, some[:10])
            assert (reaped.deleted, reaped.freed, sorted(deleted)) == (10, 10, sorted(some[:10]))
            assert catalog.reap(deleted.append).deleted == 690
            assert sorted(deleted) == sorted(some)
            assert catalog.reap(deleted.append, ["/m/live", "/m/0", "/nowhere"]).deleted == 0
            assert catalog.get(live)
            assert catalog.stats().condemned == 0

    def test_a_failed_deletion_stays_condemned_and_visible(self) -> None:
        with self._opened() as (catalog, _):
            catalog.release(_add(catalog, "/m/f"))

            for attempts in (1, 2):
                (failure,) = catalog.reap(_refuse).failed
                assert (failure.location, failure.attempts) == ("/m/f", attempts)
                assert "Permission denied" in failure.reason
                assert catalog.stats().failed == (failure,)
            assert catalog.reap(lambda _: None).deleted == 1
            assert catalog.stats().failed == ()

    def test_what_is_deleted_together_fails_for_itself(self) -> None:
        with self._opened() as (catalog, _):
            for i in range(4):
                catalog.add(_blob(f"5f/{i}", "s"))
            catalog.release(_add(catalog, "/m/f"))
            stuck = PermissionError(13, "Permission denied")
            deleted: list[str] = []

            def delete(name: str) -> None:
                deleted.append(name)
                if name == "5f/2":
                    raise stuck

            def delete_many(names: Sequence[str]) -> dict[str, OSError]:
                assert not any(name.startswith("/") for name in names)
                deleted.extend(names)
                return {"5f/2": stuck} if "5f/2" in names else {}

            condemned = catalog.release_scope("s").condemned
            assert sorted(condemned) == [f"5f/{i}" for i in range(4)]
            reaped = catalog.reap(delete, delete_many=delete_many)
            assert (reaped.deleted, reaped.freed) == (4, 13)
            assert [(it.location, it.attempts) for it in reaped.failed] == [("5f/2", 1)]
            assert sorted(deleted) == ["/m/f", *sorted(condemned)]
            assert [name for name, _ in catalog.condemned()] == ["5f/2"]
            assert [it.location for it in catalog.stats().failed] == ["5f/2"]

    def test_a_registration_revives_what_is_condemned(self) -> None:
        with self._opened() as (catalog, _):
            catalog.release(_add(catalog, "/m/f"))
            ref = _add(catalog, "/m/f", meta=self.BORROWED)
            assert catalog.reap(_never).deleted == 0
            assert not catalog.entry(ref).owned
            assert catalog.stats().condemned == 0

    def test_a_registration_that_does_not_verify_changes_nothing(self) -> None:
        with self._opened() as (catalog, _):
            catalog.release(_add(catalog, "/m/f"))

            def missing() -> Registration:
                raise FileNotFoundError

            with _raises(FileNotFoundError):
                catalog.register("/m/f", missing)
            assert catalog.stats().refs == 0
            assert list(catalog.condemned()) == [("/m/f", 1)]
            assert catalog.reap(lambda _: None).deleted == 1

    def test_a_registration_waits_for_the_deletion_of_its_location_and_for_no_other(self) -> None:
        with self._opened() as (catalog, _):
            catalog.release(_add(catalog, "/m/f"))
            there = [True]
            seen: list[bool] = []

            def look() -> Registration:
                seen.append(there[0])
                return _new("/m/f")

            same = threading.Thread(target=lambda: catalog.register("/m/f", look))
            other = threading.Thread(target=lambda: catalog.register("/m/g", lambda: _new("/m/g")))

            def delete(_: str) -> None:
                same.start()
                other.start()
                other.join(PATIENCE_SECONDS)
                assert not other.is_alive(), "a registration elsewhere waited for this deletion"
                assert seen == [], "a registration looked at the file while it was being deleted"
                there[0] = False

            assert catalog.reap(delete).deleted == 1
            same.join(PATIENCE_SECONDS)
            assert seen == [False]

    def test_two_reapers_do_not_delete_the_same_location(self) -> None:
        with self._opened() as (catalog, _):
            catalog.release(_add(catalog, "/m/f"))

            def delete(_: str) -> None:
                assert catalog.reap(_never).deleted == 0

            assert catalog.reap(delete).deleted == 1

    def test_refs_can_be_looked_up_and_ended_while_a_deletion_is_slow(self) -> None:
        with self._opened() as (catalog, _):
            ref = _add(catalog, "/m/live", scope="s")
            catalog.release(_add(catalog, "/m/f"))

            def delete(_: str) -> None:
                worker = threading.Thread(
                    target=lambda: (catalog.get(ref), catalog.release(ref), catalog.stats())
                )
                worker.start()
                worker.join(PATIENCE_SECONDS)
                assert not worker.is_alive(), "a slow deletion kept others waiting"

            assert catalog.reap(delete).deleted == 1
            with _raises(RefReleased):
                catalog.get(ref)

    # -- leases

    def test_a_lease_keeps_what_is_condemned(self) -> None:
        with self._opened() as (catalog, _):
            ref = _add(catalog, "/m/f", scope="s")
            (first, found), (second, _) = catalog.lease(ref, 60), catalog.lease(ref, 60)
            assert first != second
            assert found == catalog.get(ref)
            assert catalog.entry(ref).leases == 2
            assert catalog.release_scope("s").condemned == ["/m/f"]
            assert catalog.reap(_never).deleted == 0
            assert list(catalog.condemned()) == []
            stats = catalog.stats()
            assert (stats.leases, stats.leased, stats.condemned) == (2, 1, 1)
            assert catalog.end_lease(first) == []
            assert catalog.end_lease(second) == ["/m/f"]
            assert catalog.end_lease(second) == []
            assert catalog.reap(lambda _: None).deleted == 1

    def test_a_dead_ref_cannot_be_leased(self) -> None:
        with self._opened() as (catalog, _):
            ref = _add(catalog, "/m/f")
            catalog.release(ref)
            with _raises(RefReleased):
                catalog.lease(ref, 60)
            with _raises(UnknownRef):
                catalog.lease("media://nope", 60)
            assert catalog.stats().leases == 0

    def test_a_lease_of_a_live_location_ends_without_a_trace(self) -> None:
        with self._opened() as (catalog, _):
            ref = _add(catalog, "/m/f")
            assert catalog.end_lease(catalog.lease(ref, 60)[0]) == []
            assert catalog.entry(ref).leases == 0

    def test_a_borrowed_location_stays_undeletable_while_it_is_leased(self) -> None:
        with self._opened() as (catalog, _):
            ref = _add(catalog, "/m/f", meta=self.BORROWED)
            lease, _ = catalog.lease(ref, 60)
            assert catalog.release(ref).condemned == []
            assert catalog.stats().condemned == 0
            owned = _add(catalog, "/m/f")
            assert catalog.release(owned).condemned == ["/m/f"]
            assert catalog.reap(_never).deleted == 0
            catalog.end_lease(lease)
            assert catalog.reap(lambda _: None).deleted == 1

    def test_a_borrowed_location_is_forgotten_when_its_lease_ends(self) -> None:
        with self._opened() as (catalog, _):
            ref = _add(catalog, "/m/f", meta=self.BORROWED)
            lease, _ = catalog.lease(ref, 60)
            catalog.release(ref)
            assert catalog.end_lease(lease) == ["/m/f"]
            assert catalog.reap(_never).deleted == 0
            assert not catalog.knows("/m/f")

    def test_a_lease_that_is_not_renewed_lapses_where_leases_do(self) -> None:
        with self._opened() as (catalog, clock):
            if not catalog.leases_lapse:
                return
            ref = _add(catalog, "/m/f")
            (kept, _), (lost, _) = catalog.lease(ref, 60), catalog.lease(ref, 60)
            catalog.release(ref)
            clock.advance(40)
            assert catalog.renew([kept], 60) == []
            clock.advance(30)
            assert catalog.reap(_never).deleted == 0
            assert catalog.renew([kept, lost], 60) == [lost]
            clock.advance(61)
            assert catalog.forget_lapsed() == 2
            assert catalog.forget_lapsed() == 0
            assert catalog.reap(lambda _: None).deleted == 1

    def test_ending_a_scope_can_be_refused_while_a_lease_would_keep_a_file(self) -> None:
        with self._opened() as (catalog, _):
            ref = _add(catalog, "/m/f", scope="s:1")
            other = _add(catalog, "/m/g", scope="s")
            lease, _ = catalog.lease(ref, 60)
            with _raises(StillLeased):
                catalog.release_scope("s", nested=True, refuse_leased=True)
            assert catalog.get(other)
            assert catalog.release_scope("s", refuse_leased=True).refs == 1
            shared = _add(catalog, "/m/f", scope="t")
            assert catalog.release_scope("s", nested=True, refuse_leased=True).refs == 1
            with _raises(StillLeased):
                catalog.release_scope("t", refuse_leased=True)
            catalog.end_lease(lease)
            assert catalog.release_scope("t", refuse_leased=True).condemned == ["/m/f"]
            with _raises(RefReleased):
                catalog.get(shared)

    # -- limits

    def test_what_does_not_fit_is_refused_and_changes_nothing(self) -> None:
        limits = Limits(max_store_bytes=10, max_store_files=3, max_scope_bytes=8)
        with self._opened() as (catalog, _):
            ref = new_ref()
            catalog.add(Registration(ref, "s", "/m/a", None, self.OWNED, 6), limits=limits)
            for scope, size in (("s", 3), ("t", 5)):  # too much for the scope, for the store
                with _raises(QuotaExceeded):
                    catalog.add(_new("/m/b", scope, size=size), limits=limits)
            assert not catalog.knows("/m/b")
            assert catalog.use() == (1, 6)
            catalog.add(_new("/m/a", "s", size=6), limits=limits)
            assert catalog.use() == (1, 6)
            catalog.add(_new("/m/b", "t", size=4), limits=limits)
            with _raises(QuotaExceeded):
                catalog.share(ref, new_ref(), "t", limits=limits)
            catalog.add(_new("/m/c", "u", size=0), limits=limits)
            with _raises(QuotaExceeded):
                catalog.add(_new("/m/d", "u", size=0), limits=limits)
            assert catalog.stats().refs == 4
            catalog.release_scope("t")
            assert catalog.use() == (3, 10), "condemned bytes are still there"
            catalog.reap(lambda _: None)
            assert catalog.use() == (2, 6)

    # -- the journal

    def test_every_end_and_every_deletion_has_its_line(self) -> None:
        with self._opened() as (catalog, clock):
            first = _add(catalog, "/m/f", scope="s:1", size=5)
            last = _add(catalog, "/m/f", scope="t", size=5, ttl=1)
            _add(catalog, "/m/g", scope="s")
            catalog.release(first)
            clock.advance(2)
            catalog.expire(None)
            catalog.reap(_refuse)
            catalog.reap(_refuse)
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
                _add(catalog, name)
            catalog.release_scope("s")
            _add(catalog, "/m/a")
            places = list(catalog.places())
            assert [it.location for it in places] == sorted(names, key=os.fsencode)
            assert [it.location for it in places if not it.condemned] == ["/m/a"]

    def test_what_is_lost_ends_with_its_refs_and_is_not_deleted(self) -> None:
        with self._opened() as (catalog, _):
            refs = [_add(catalog, "/m/f", scope="s", size=3) for _ in range(2)]
            assert catalog.is_live("/m/f")
            assert catalog.lose("/m/f") == 2
            assert catalog.lose("/m/f") == 0
            assert not catalog.is_live("/m/f")
            assert not catalog.knows("/m/f")
            assert catalog.reap(_never).deleted == 0
            assert catalog.use() == (0, 0)
            with _raises(RefReconciled):
                catalog.get(refs[0])

    def test_what_is_adopted_is_reaped_unless_it_has_a_row(self) -> None:
        with self._opened() as (catalog, _):
            live = _add(catalog, "0f/live")
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
                _add(catalog, f"/m/{i}", scope=f"s{i}", meta=self.BORROWED if i % 2 else self.OWNED)
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
            ref = _add(catalog, "/m/a", scope="x", size=10)
            clock.advance(5)
            catalog.share(ref, new_ref(), "x")
            catalog.share(ref, new_ref(), "y")
            _add(catalog, "/m/b", scope="y", size=7, meta=self.BORROWED)
            catalog.release(_add(catalog, "/m/c", size=5))
            stats = catalog.stats(by_scope=True)
            assert (stats.refs, stats.scopes, stats.files, stats.size) == (4, 2, 2, 17)
            assert (stats.owned, stats.borrowed) == (1, 1)
            assert (stats.condemned, stats.condemned_size) == (1, 5)
            assert stats.oldest is not None
            assert stats.oldest.timestamp() == clock.now - 5
            by_scope = {name: (it.refs, it.files, it.size) for name, it in stats.by_scope.items()}
            assert by_scope == {"x": (2, 1, 10), "y": (2, 2, 17)}


class BlobsContract:
    """What must hold of every place for bytes. Override `make_blobs`; each test gets a fresh one."""

    def make_blobs(self) -> Blobs:
        """Return an empty place."""
        raise NotImplementedError

    @contextmanager
    def _opened(self) -> Iterator[Blobs]:
        blobs = self.make_blobs()
        try:
            yield blobs
        finally:
            blobs.close()

    def test_bytes_come_back_from_every_kind_of_source(self) -> None:
        import hashlib
        import io

        data = bytes(range(256)) * 9000
        sources: list[Callable[[], object]] = [
            lambda: data,
            lambda: bytearray(data),
            lambda: memoryview(data),
            lambda: io.BytesIO(data),
            lambda: iter([data[:1], b"", data[1:70000], memoryview(data)[70000:]]),
        ]
        with self._opened() as blobs:
            for source in sources:
                with blobs.stage(source(), is_named=_no) as staged:  # type: ignore[arg-type]
                    pass
                assert (staged.size, staged.sha256) == (
                    len(data),
                    hashlib.sha256(data).hexdigest(),
                )
                assert blobs.path(staged.key).read_bytes() == data
                with blobs.open(staged.key) as file:
                    assert file.read() == data

    def test_a_key_is_never_given_twice_and_comes_back_from_its_path(self) -> None:
        with self._opened() as blobs:
            keys = set()
            for _ in range(50):
                with blobs.stage(b"same", is_named=_no) as staged:
                    keys.add(staged.key)
            assert len(keys) == 50
            assert [it.key for it in blobs.scan()] == sorted(keys)
            for key in keys:
                assert blobs.key(str(blobs.path(key))) == key

    def test_a_source_that_fails_leaves_nothing(self) -> None:
        def broken() -> Iterator[bytes]:
            yield b"half"
            raise ZeroDivisionError

        with self._opened() as blobs:
            with _raises(ZeroDivisionError), blobs.stage(broken(), is_named=_no):
                pass
            with _raises(TypeError), blobs.stage(iter([b"x", "text"]), is_named=_no):  # type: ignore[arg-type]
                pass
            assert list(blobs.scan()) == []
            assert list(blobs.leftovers()) == []

    def test_bytes_whose_block_raises_go_unless_they_have_been_named(self) -> None:
        for named in (True, False):
            for kept in (True, False):
                with self._opened() as blobs:
                    before = {it.key for it in blobs.scan()}
                    with (
                        _raises(ZeroDivisionError),
                        blobs.stage(b"x", is_named=_yes if named else _no, kept=kept) as staged,
                    ):
                        assert list(blobs.leftovers()) == [], "its writer is still at work"
                        assert blobs.being_written(staged.key)
                        assert blobs.settle(_no) == 0
                        raise ZeroDivisionError
                    left = {it.key for it in blobs.scan()} - before
                    assert left == ({staged.key} if named else set())
                    assert list(blobs.leftovers()) == []
                    assert not blobs.being_written(staged.key)

    def test_what_cannot_be_settled_is_left_to_a_later_settling(self) -> None:
        def cannot_tell(key: str) -> bool:
            raise CatalogError(key)

        with self._opened() as blobs:
            keys = []
            for _ in range(2):
                with _raises(ZeroDivisionError), blobs.stage(b"x", is_named=cannot_tell) as staged:
                    keys.append(staged.key)
                    raise ZeroDivisionError
            assert len(list(blobs.leftovers())) == 2
            assert blobs.settle(lambda key: key == keys[0]) == 2
            assert [it.key for it in blobs.scan()] == keys[:1]
            assert blobs.settle(_no) == 0

    def test_what_it_holds_is_told_by_key_size_and_keeping(self) -> None:
        with self._opened() as blobs:
            for kept in (True, False):
                with blobs.stage(b"four", is_named=_no, kept=kept) as staged:
                    pass
                assert blobs.holds(staged.key, 4, kept=kept)
                assert not blobs.holds(staged.key, 5, kept=kept)
                assert not blobs.holds(staged.key, 4, kept=not kept)
            assert not blobs.holds(staged.key[:-1], 4, kept=False)

    def test_deleting_is_final_and_repeatable(self) -> None:
        with self._opened() as blobs:
            with blobs.stage(b"x", is_named=_no) as staged:
                pass
            for _ in range(2):
                blobs.delete(staged.key)
                assert list(blobs.scan()) == []
            with _raises(FileNotFoundError):
                blobs.open(staged.key)

    def test_kept_bytes_are_not_deleted(self) -> None:
        blobs = self.make_blobs()
        with blobs.stage(b"x", is_named=_no, kept=True) as staged:
            path = blobs.path(staged.key)
        blobs.delete(staged.key)
        blobs.close()
        assert path.read_bytes() == b"x"


def _new(location: str, scope: str = "s", meta: MediaMeta | None = None, size: int = 1) -> Registration:
    meta = CatalogContract.OWNED if meta is None else meta
    return Registration(new_ref(), scope, location, location, meta, size)


def _blob(
    key: str,
    scope: str = "s",
    *,
    meta: MediaMeta = CatalogContract.OWNED,
    size: int = 4,
    sha256: str = "ab" * 32,
) -> Registration:
    return Registration(new_ref(), scope, key, None, meta, size, sha256)


def _past(location: str) -> Registration:
    """Return a registration as another catalog may have had it."""
    given = location if os.path.isabs(location) else None
    meta = CatalogContract.OWNED
    return Registration(new_ref(), "s", location, given, meta, 1, stored_at=1e9, expires_at=None)


def _add(
    catalog: Catalog,
    location: str,
    *,
    scope: str = "s",
    meta: MediaMeta | None = None,
    size: int = 1,
    ttl: float | None = None,
) -> str:
    new = _new(location, scope, meta, size)
    catalog.register(location, lambda: new, ttl=ttl)
    return new.ref


def _refuse(location: str) -> None:
    raise PermissionError(13, "Permission denied", location)


def _yes(_: str) -> bool:
    return True


def _no(_: str) -> bool:
    return False


def _never(location: str) -> None:
    raise AssertionError(f"{location} was deleted")


@contextmanager
def _raises(expected: type[BaseException]) -> Iterator[None]:
    try:
        yield
    except expected:
        return
    raise AssertionError(f"{expected.__name__} was not raised")
