"""What must hold of scopes, and of the lists of what is in them."""

from dataclasses import replace
from itertools import islice

from mediakeep.model import MediaMeta
from mediakeep.refs import new_ref
from mediakeep.testing.setting import CatalogSetting, added, new_blob


class ListsContract(CatalogSetting):
    """What must hold of scopes, and of the lists of what is in them."""

    def test_a_scope_ends_alone_or_with_those_below_it(self) -> None:
        with self._opened() as (catalog, _):
            names = ["", "a", "a:", "a:b", "a:b:c", "a;", "ab", "b", "é:ü", "a_", "A:b", "a%"]
            for name in names:
                added(catalog, f"/m/{name}", scope=name)
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
                refs.setdefault(name, []).append(added(catalog, f"/m/{name}", scope=name))
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
                refs.append(added(catalog, f"/m/{i}", scope=f"s{i % 2}"))
                clock.advance(i % 3 - 1)
            assert sorted(it.ref for it in catalog.entries()) == sorted(refs)
            assert len(list(catalog.entries("s0"))) == 602

    def test_the_newest_come_first_in_a_list_that_goes_the_other_way_round(self) -> None:
        with self._opened() as (catalog, clock):
            for i in range(1300):
                added(catalog, f"/m/{i}", scope=("a", "a!", "a:x", "a:x", "b")[i % 5])
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
                    added(catalog, f"/m/{scope}", scope=scope)
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
                    added(catalog, f"/m/{i}", scope=f"s:{i % 2}")
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
                        added(catalog, f"/m/new{len(seen)}", scope=scope)
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
                last = added(catalog, f"/m/{scope}", scope=scope)
                clock.advance(10)
            catalog.release(last)
            found = {name: at.timestamp() - clock.now for name, at in catalog.latest()}
            assert found == {"a": -30, "a:1": -40, "b": -20}

    def test_what_ends_next_comes_first(self) -> None:
        with self._opened() as (catalog, clock):
            assert catalog.expiring(5) == []
            ttls = [40, 10, 30, 20, 50, 15]
            refs = {ttl: added(catalog, f"/m/{ttl}", scope=f"s{ttl % 3}", ttl=ttl) for ttl in ttls}
            added(catalog, "/m/immortal")
            catalog.release(refs[15])
            assert [it.ref for it in catalog.expiring(3)] == [refs[10], refs[20], refs[30]]
            assert len(catalog.expiring(100)) == 5
            clock.advance(25)
            catalog.expire(None)
            first, *_ = catalog.expiring(1)
            assert first == catalog.entry(refs[30])

    def test_files_that_are_held_come_once_each(self) -> None:
        with self._opened() as (catalog, clock):
            refs = [added(catalog, f"/m/{i}") for i in range(6)]
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
                catalog.add(replace(new_blob(f"3f/{i}", f"s:{i % 2}"), meta=meta))
            twice = replace(new_blob("3f/0", "s:0"), meta=MediaMeta(content_type="image/png"))
            catalog.restore([twice], owned=True)
            found = {(it.scope, it.major): it[2:] for it in catalog.tally(("image", "text"))}
            assert found == {
                ("s:0", "image"): (2, 8),
                ("s:0", "text"): (1, 4),
                ("s:0", ""): (2, 8),
                ("s:1", "image"): (1, 4),
                ("s:1", ""): (2, 8),
            }
