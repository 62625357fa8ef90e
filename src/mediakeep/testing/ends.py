"""What must hold of time, and of deletions."""

import threading
from collections.abc import Sequence

from mediakeep.catalogs import Registration
from mediakeep.errors import (
    RefExpired,
    RefReleased,
)
from mediakeep.testing.setting import (
    PATIENCE_SECONDS,
    CatalogSetting,
    added,
    never,
    new_blob,
    new_path,
    raises,
    refuse,
)


class EndsContract(CatalogSetting):
    """What must hold of time, and of deletions."""

    # -- time

    def test_a_ref_expires_strictly_after_its_time(self) -> None:
        with self._opened() as (catalog, clock):
            own = added(catalog, "/m/own", ttl=10)
            aged = added(catalog, "/m/aged")
            clock.advance(10)
            assert catalog.due(10) == 0
            assert catalog.expire(10).refs == 0
            clock.advance(0.5)
            assert catalog.due(None) == 1
            assert catalog.due(10) == 2
            assert catalog.expire(None).condemned == ["/m/own"]
            assert catalog.expire(10).condemned == ["/m/aged"]
            for ref in (own, aged):
                with raises(RefExpired):
                    catalog.get(ref)

    def test_a_ttl_of_its_own_replaces_the_common_age(self) -> None:
        with self._opened() as (catalog, clock):
            ref = added(catalog, "/m/f", ttl=1000)
            clock.advance(500)
            assert catalog.expire(10).refs == 0
            assert catalog.get(ref)

    def test_expiry_is_bounded_and_comes_to_an_end(self) -> None:
        with self._opened() as (catalog, clock):
            for i in range(25):
                added(catalog, f"/m/{i}", scope="s", ttl=1 + i % 5)
            clock.advance(60)
            counts = []
            while n := catalog.expire(None, limit=10).refs:
                counts.append(n)
            assert counts == [10, 10, 5]
            assert catalog.stats().refs == 0
            assert catalog.stats().condemned == 25

    def test_refs_that_ended_early_do_not_expire(self) -> None:
        with self._opened() as (catalog, clock):
            kept = added(catalog, "/m/kept", ttl=5)
            for i in range(3000):
                catalog.release(added(catalog, f"/m/{i}", ttl=3 + i % 4))
            clock.advance(6)
            assert catalog.due(None) == 1
            assert catalog.expire(None).refs == 1
            with raises(RefExpired):
                catalog.get(kept)

    # -- deletion

    def test_reaping_deletes_and_forgets(self) -> None:
        with self._opened() as (catalog, _):
            for i in range(700):
                added(catalog, f"/m/{i}", scope="s")
            live = added(catalog, "/m/live", scope="t")
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
            catalog.release(added(catalog, "/m/f"))

            for attempts in (1, 2):
                (failure,) = catalog.reap(refuse).failed
                assert (failure.location, failure.attempts) == ("/m/f", attempts)
                assert "Permission denied" in failure.reason
                assert catalog.stats().failed == (failure,)
            assert catalog.reap(lambda _: None).deleted == 1
            assert catalog.stats().failed == ()

    def test_what_is_deleted_together_fails_for_itself(self) -> None:
        with self._opened() as (catalog, _):
            for i in range(4):
                catalog.add(new_blob(f"5f/{i}", "s"))
            catalog.release(added(catalog, "/m/f"))
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
            catalog.release(added(catalog, "/m/f"))
            ref = added(catalog, "/m/f", meta=self.BORROWED)
            assert catalog.reap(never).deleted == 0
            assert not catalog.entry(ref).owned
            assert catalog.stats().condemned == 0

    def test_a_registration_that_does_not_verify_changes_nothing(self) -> None:
        with self._opened() as (catalog, _):
            catalog.release(added(catalog, "/m/f"))

            def missing() -> Registration:
                raise FileNotFoundError

            with raises(FileNotFoundError):
                catalog.register("/m/f", missing)
            assert catalog.stats().refs == 0
            assert list(catalog.condemned()) == [("/m/f", 1)]
            assert catalog.reap(lambda _: None).deleted == 1

    def test_a_registration_waits_for_the_deletion_of_its_location_and_for_no_other(self) -> None:
        with self._opened() as (catalog, _):
            catalog.release(added(catalog, "/m/f"))
            there = [True]
            seen: list[bool] = []

            def look() -> Registration:
                seen.append(there[0])
                return new_path("/m/f")

            same = threading.Thread(target=lambda: catalog.register("/m/f", look))
            other = threading.Thread(target=lambda: catalog.register("/m/g", lambda: new_path("/m/g")))

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
            catalog.release(added(catalog, "/m/f"))

            def delete(_: str) -> None:
                assert catalog.reap(never).deleted == 0

            assert catalog.reap(delete).deleted == 1

    def test_refs_can_be_looked_up_and_ended_while_a_deletion_is_slow(self) -> None:
        with self._opened() as (catalog, _):
            ref = added(catalog, "/m/live", scope="s")
            catalog.release(added(catalog, "/m/f"))

            def delete(_: str) -> None:
                worker = threading.Thread(
                    target=lambda: (catalog.get(ref), catalog.release(ref), catalog.stats())
                )
                worker.start()
                worker.join(PATIENCE_SECONDS)
                assert not worker.is_alive(), "a slow deletion kept others waiting"

            assert catalog.reap(delete).deleted == 1
            with raises(RefReleased):
                catalog.get(ref)
