"""What must hold where many refs begin at once."""

import threading
from dataclasses import replace

from mediakeep.catalogs import Registration
from mediakeep.errors import (
    QuotaExceeded,
)
from mediakeep.model import Limits
from mediakeep.refs import new_ref
from mediakeep.testing.setting import (
    PATIENCE_SECONDS,
    CatalogSetting,
    added,
    never,
    new_blob,
    new_path,
    raises,
)


class ManyContract(CatalogSetting):
    """What must hold where many refs begin at once."""

    def test_many_are_written_at_once_and_stay_in_order(self) -> None:
        with self._opened() as (catalog, clock):
            news = [new_blob(f"3f/{i}", sha256=f"{i:064}", size=i) for i in range(40)]
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
            catalog.add(new_blob("3f/a"), limits=limits)
            for n, news in enumerate(
                (
                    [new_blob(f"3f/{i}", f"s{i}", size=0, sha256="") for i in range(4)],
                    [new_blob("3f/b", "t", size=12), new_blob("3f/c", "u", size=5)],
                    [new_blob("3f/b", "t"), new_blob("3f/c", size=9), new_blob("3f/d", "u")],
                )
            ):
                with raises(QuotaExceeded):
                    catalog.add_many(news, limits=limits)
                with raises(QuotaExceeded):
                    catalog.register_many([it.location for it in news], lambda n=news: n, limits=limits)  # type: ignore[misc]
                assert (catalog.use(), catalog.scopes()) == ((1, 4), ["s"]), n
                assert not catalog.knows("3f/b")
            fits = [
                new_blob("3f/b", "s", size=8),
                new_blob("3f/c", "t", size=8),
                new_blob("3f/c", "t", size=8),
            ]
            catalog.add_many(fits, limits=limits)
            assert catalog.use() == (3, 20)
            assert catalog.stats(by_scope=True).by_scope["t"].size == 8

    def test_many_of_the_same_bytes_are_given_one_blob(self) -> None:
        with self._opened() as (catalog, _):
            live = new_blob("3f/live")
            catalog.add(live)
            news = [
                new_blob("3f/a"),
                new_blob("3f/b", sha256="cd" * 32),
                new_blob("3f/c", sha256="cd" * 32),
                new_blob("3f/d", sha256="cd" * 32, meta=self.BORROWED),
                new_blob("3f/e", sha256=""),
                new_blob("3f/f", sha256=""),
                new_blob("3f/g"),
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
            asis = [new_blob("4f/a"), new_blob("4f/b")]
            assert catalog.add_many(asis) == ["4f/a", "4f/b"]
            gone = [new_blob("5f/a", sha256="cd" * 32), new_blob("5f/b", sha256="cd" * 32)]
            assert catalog.add_many(gone, is_there=lambda *_: False) == ["5f/a", "5f/a"]
            apart = [new_blob("6f/a", "x", sha256="ef" * 32), new_blob("6f/b", "y", sha256="ef" * 32)]
            limits = Limits(max_scope_bytes=100)
            assert catalog.add_many(apart, limits=limits, is_there=lambda *_: True) == ["6f/a", "6f/b"]
            assert list(catalog.faults()) == []

    def test_many_do_not_join_a_blob_that_ends_meanwhile(self) -> None:
        with self._opened() as (catalog, _):
            live = new_blob("3f/live")
            catalog.add(live)

            def is_there(_: str, __: Registration) -> bool:
                return catalog.release(live.ref).refs == 1

            news = [new_blob("3f/a"), new_blob("3f/b")]
            assert catalog.add_many(news, is_there=is_there) == ["3f/a", "3f/a"]
            assert list(catalog.condemned()) == [("3f/live", 4)]
            assert catalog.entry(news[0].ref).refs == 2

    def test_many_registrations_may_name_a_location_several_times(self) -> None:
        with self._opened() as (catalog, _):
            names = ["/m/b", "/m/a", "/m/b", "/m/c", "/m/b"]
            metas = [self.OWNED, self.OWNED, self.BORROWED, self.OWNED, self.OWNED]
            news = [
                replace(new_path(name, "s", meta), given="/link" + name)
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
                catalog.release(added(catalog, name))
            catalog.release(added(catalog, "/m/other"))
            news = [new_path(name) for name in names]

            def look() -> list[Registration]:
                assert (
                    catalog.reap(lambda name: None if name == "/m/other" else never(name)).deleted == 1
                )
                return news

            catalog.register_many(names, look)
            assert catalog.reap(never).deleted == 0
            assert (catalog.stats().condemned, catalog.stats().files) == (0, 20)

    def test_many_registrations_of_which_one_does_not_verify_change_nothing(self) -> None:
        with self._opened() as (catalog, _):
            catalog.release(added(catalog, "/m/f"))

            def missing() -> list[Registration]:
                raise FileNotFoundError

            with raises(FileNotFoundError):
                catalog.register_many(["/m/f", "/m/g"], missing)
            assert (catalog.stats().refs, catalog.knows("/m/g")) == (0, False)
            assert catalog.reap(lambda _: None).deleted == 1

    def test_many_registrations_wait_for_a_deletion_of_one_and_never_in_a_circle(self) -> None:
        with self._opened() as (catalog, _):
            names = [f"/m/{i}" for i in range(12)]
            catalog.release(added(catalog, names[5]))
            order: list[str] = []

            def register(them: list[str]) -> None:
                def look() -> list[Registration]:
                    order.append("looked")
                    return [new_path(name) for name in them]

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
            first = added(catalog, "/m/f", meta=self.BORROWED)
            others = [new_ref() for _ in range(1100)]
            for number, ref in enumerate(others):
                catalog.share(first, ref, f"t:{number % 3}", ttl=number + 1)
            added(catalog, "/m/other")
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
