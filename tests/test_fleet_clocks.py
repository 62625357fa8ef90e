"""Two machines of a fleet whose clocks are an hour apart: nothing goes by either of them."""

import secrets
import time

import obstore
import pytest

from fleet.children import Workers
from fleet.machine import LIBFAKETIME, Machine, wrong_clock
from mediakeep import BlobError, RefExpired, open_store

HOUR = 3600
TEN_MINUTES = 600
CLOCKS = {
    "an hour ahead": (HOUR, False),
    "an hour behind": (-HOUR, False),
    "all of it ten minutes ahead": (TEN_MINUTES, True),
    "all of it ten minutes behind": (-TEN_MINUTES, True),
}
needs_libfaketime = pytest.mark.skipif(not LIBFAKETIME, reason="libfaketime is not installed")


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(it, id=name, marks=needs_libfaketime if it[1] else ())
        for name, it in CLOCKS.items()
    ],
)
def clock(request):
    """What starts workers of a wrong clock, and by how much it is wrong."""
    ahead, everywhere = request.param
    with Workers(wrong_clock(ahead, everywhere=everywhere)) as workers:
        yield workers, ahead


@pytest.fixture
def store(fleet):
    """The store on a machine whose clock is right."""
    with open_store(**fleet) as store:
        yield store


@pytest.fixture
def other(clock, fleet):
    """The store on a machine whose clock is not."""
    workers, ahead = clock
    with Machine(workers, fleet) as other:
        assert other.ask("time") - time.time() == pytest.approx(ahead, abs=30)
        yield other


def test_a_ref_expires_when_its_time_has_passed_and_not_before(store, other):
    here = {ttl: store.put(b"of here %d" % ttl, scope="here", ttl=ttl) for ttl in (1, 60)}
    there = {ttl: other.ask("put", b"of there %d" % ttl, scope="there", ttl=ttl) for ttl in (1, 60)}
    time.sleep(1.1)
    assert other.ask("sweep").expired + store.sweep().expired == 2
    for refs in (here, there):
        with pytest.raises(RefExpired):
            store.resolve(refs[1])
        assert store.read_bytes(refs[60]) and other.ask("read_bytes", refs[60])


def test_a_lease_holds_against_a_sweep_of_the_other_machine(store, other):
    mine, theirs = store.put(b"mine", scope="turn"), store.put(b"theirs", scope="turn")
    other.ask("lease", theirs)
    with store.lease(mine) as media:
        store.release_all("turn")
        assert other.ask("sweep").deleted == store.sweep().deleted == 0
        assert media.path.read_bytes() == b"mine"
        assert len(list(store._blobs.scan())) == 2
    other.ask("end_lease", theirs)
    assert list(store._blobs.scan()) == []


def test_a_writer_at_work_is_not_taken_for_dead(store, other):
    store.put(b"first", scope="turn")  # so that the second is drawn from a marker that is there
    with store._blobs.stage(b"bytes", is_named=store._catalog.knows) as staged:
        assert other.ask("sweep").temps == 0
        assert other.ask("reconcile", dry_run=False, grace=0).counts == {}
        assert store._blobs.size(staged.key) == 5


def test_a_young_object_is_nobodys_orphan_on_the_other_machine(store, other):
    obstore.put(store._blobs._remote.store, f"00/{'0' * 32}", b"nothing names it")
    assert other.ask("reconcile", grace=TEN_MINUTES / 2).counts == {}
    assert other.ask("reconcile", grace=0).counts == {"orphan": 1}


def test_what_is_older_than_the_cleaner_allows_is_told_by_the_clock_of_the_database(store, clock, fleet):
    with Machine(clock[0], fleet, max_age=TEN_MINUTES / 2) as other:
        refs = store.put(b"mine", scope="turn"), other.ask("put", b"theirs", scope="turn")
        assert other.ask("clean_expired") == 0
    assert [store.read_bytes(ref) for ref in refs] == [b"mine", b"theirs"]


def test_a_young_blob_in_a_shared_folder_is_nobodys_orphan(postgres, clock, tmp_path):
    where = {
        "where": postgres.url,
        "blobs": tmp_path / "shared",
        "catalog_options": {"schema": f"clocks_{secrets.token_hex(4)}"},
    }
    blob = tmp_path / "shared" / "00" / ("0" * 32)
    blob.parent.mkdir(parents=True)
    blob.write_bytes(b"nothing names it")
    with Machine(clock[0], where) as other:
        assert other.ask("reconcile", grace=TEN_MINUTES / 2).counts == {}
        assert other.ask("reconcile", grace=0).counts == {"orphan": 1}


@needs_libfaketime
def test_a_service_that_refuses_a_wrong_clock_is_told_of_with_what_to_check(fleet):
    with Workers(wrong_clock(HOUR, everywhere=True)) as workers, Machine(workers, fleet) as other:
        with pytest.raises(BlobError, match="the clock of this machine"):
            other.ask("put", b"bytes", scope="turn")
        assert other.ask("stats").refs == 0
