"""What a worker is doing when it is killed: one class for each verb, with what was there before."""

import urllib.request
from typing import Any, ClassVar

import obstore

from mediakeep import CleanupPolicy, MediaMeta, MediaStore, open_store
from mediakeep.blobs import objects, parts

from .judge import Judge
from .proxy import ARM

KEPT = MediaMeta(cleanup_policy=CleanupPolicy.FORGET_ONLY)
MIB = 1 << 20
DAY = 86_400.0


class Deed:
    """One deed, in a store that `prepare` has filled before.

    `through` are requests that it has to make, in this order; a test that watched none would prove
    nothing.
    """

    through: ClassVar[tuple[str, ...]] = ()
    expires = False
    """Whether a sweep later on ends refs by itself."""
    mended = False
    """Whether it takes a reconcile to leave no byte behind."""
    uploads = False
    """Whether it writes in parts."""
    late = False
    """Whether the service's clock is hours on when the deed is done."""
    kept = 0
    """Objects that the store was told never to delete, and that have no ref left in the end."""
    lost = ""
    """The scope whose refs have lost their bytes before."""

    def prepare(self, store: MediaStore, judge: Judge) -> None:
        """Bring about what is there before, in another worker."""

    def begin(self, store: MediaStore) -> Any:
        """Do what the same worker did before it was in danger; what it returns is given to `act`."""

    def act(self, store: MediaStore, begun: Any) -> None:
        """Do what the worker dies of."""
        raise NotImplementedError


def act(name: str, where: dict[str, Any], arm: str) -> None:
    """Do the deed `name` in a store that is opened as `where` says; from `arm` on its requests count."""
    deed = DEEDS[name]()
    with open_store(**where) as store:
        begun = deed.begin(store)
        urllib.request.urlopen(f"{arm}{ARM}", timeout=10).close()
        deed.act(store, begun)


def only(store: MediaStore, scope: str) -> str:
    """Return the one ref in `scope`."""
    (entry,) = store.entries(scope)
    return entry.ref


class Put(Deed):
    through = ("PUT marker", "PUT object", "INSERT locations")

    def prepare(self, store: MediaStore, judge: Judge) -> None:
        store.put(b"old", scope="old")

    def act(self, store: MediaStore, begun: Any) -> None:
        store.put(iter([b"bytes ", b"in two chunks"]), scope="new")
        store.close()  # which takes the marker away


class PutInParts(Deed):
    through = ("POST uploads", "PUT part", "PUT part", "POST upload", "INSERT locations")
    mended = True
    uploads = True

    def begin(self, store: MediaStore) -> Any:
        objects.PART_BYTES = parts.PART_BYTES = 5 * MIB  # S3 takes no smaller ones

    def act(self, store: MediaStore, begun: Any) -> None:
        store.put((bytes([n]) * MIB for n in range(6)), scope="new")


class PutOfWhatIsKept(Deed):
    through = ("PUT object", "INSERT locations")

    def act(self, store: MediaStore, begun: Any) -> None:
        store.put(b"bytes", KEPT, "new")


class PutOfBytesThatAreThere(Deed):
    through = ("PUT object", "HEAD object", "INSERT refs", "POST delete")

    def prepare(self, store: MediaStore, judge: Judge) -> None:
        store.put(b"bytes", scope="old")

    def act(self, store: MediaStore, begun: Any) -> None:
        store.put(b"bytes", scope="new")


class Release(Deed):
    through = (
        "DELETE refs", "UPDATE locations", "COMMIT", "POST delete", "DELETE locations", "COMMIT",
    )  # fmt: skip

    def prepare(self, store: MediaStore, judge: Judge) -> None:
        for n in range(2):
            store.put(b"bytes %d" % n, scope="going")
        store.put(b"bytes that stay", scope="staying")

    def act(self, store: MediaStore, begun: Any) -> None:
        store.release_all("going")


class Expire(Deed):
    through = ("DELETE refs", "COMMIT", "POST delete", "DELETE locations", "COMMIT")
    expires = True

    def prepare(self, store: MediaStore, judge: Judge) -> None:
        store.put(b"bytes that stay", scope="staying")
        ref = store.put(b"bytes", scope="going", ttl=1)
        judge.ask(f"UPDATE {{s}}.refs SET expires_at = expires_at - {DAY} WHERE ref = '{ref[8:]}'")

    def act(self, store: MediaStore, begun: Any) -> None:
        store.sweep()


class SweepOfADeadWriter(Deed):
    through = ("PUT clock", "GET marker", "PUT marker", "POST delete", "POST delete", "POST delete")
    late = True

    def prepare(self, store: MediaStore, judge: Judge) -> None:
        key = "00" + "1" * 30
        obstore.put(judge.bucket, f"00/{key}", b"bytes that nobody names")
        # Of a writer that counts as dead a second after its last sign of life.
        obstore.put(judge.bucket, "tmp/writer.0123456789abcdef.1", key.encode())
        obstore.put(judge.bucket, f"tmp/left.00.{'2' * 32}", b"")

    def act(self, store: MediaStore, begun: Any) -> None:
        store.sweep()


class Variant(Deed):
    through = ("INSERT leases", "GET object", "PUT object", "INSERT locations", "DELETE leases")

    def prepare(self, store: MediaStore, judge: Judge) -> None:
        store.put(b"original", scope="turn")

    def act(self, store: MediaStore, begun: Any) -> None:
        store.variant(only(store, "turn"), "reversed", lambda path: path.read_bytes()[::-1])


class Lease(Deed):
    """A lease that is renewed, and that is the last to hold the file when it ends."""

    through = (
        "INSERT leases", "GET object", "UPDATE leases", "DELETE refs", "DELETE leases", "POST delete",
    )  # fmt: skip

    def prepare(self, store: MediaStore, judge: Judge) -> None:
        store.put(b"bytes", scope="turn")

    def act(self, store: MediaStore, begun: Any) -> None:
        ref = only(store, "turn")
        with store.lease(ref) as media:
            # What its heartbeat does every 20 seconds.
            assert store._catalog.renew(store._heartbeat._leases, 60) == []
            store.release(ref)
            assert media.path.read_bytes() == b"bytes"


class Fetch(Deed):
    """A copy for this machine, read from the service in several requests."""

    through = ("GET object",)

    def prepare(self, store: MediaStore, judge: Judge) -> None:
        store.put(b"many bytes" * 100_000, scope="turn")

    def begin(self, store: MediaStore) -> Any:
        return only(store, "turn")

    def act(self, store: MediaStore, begun: Any) -> None:
        assert store.resolve(begun).stat().st_size == 1_000_000


class Share(Deed):
    through = ("INSERT refs",)

    def prepare(self, store: MediaStore, judge: Judge) -> None:
        store.put(b"bytes", scope="old")

    def begin(self, store: MediaStore) -> Any:
        return only(store, "old")

    def act(self, store: MediaStore, begun: Any) -> None:
        store.share(begun, "new")


class Reconcile(Deed):
    """An object that nothing names, one that is missing, and one that could not be deleted."""

    through = ("GET uploads", "INSERT locations", "POST delete", "DELETE locations", "DELETE refs")
    mended = True
    lost = "lost"

    def prepare(self, store: MediaStore, judge: Judge) -> None:
        obstore.put(judge.bucket, f"00/{'0' * 32}", b"an orphan")
        store.put(b"bytes that stay", scope="staying")
        lost = store.put(b"bytes that go", scope="lost")
        (row,) = judge.ask(
            "SELECT location FROM {s}.locations JOIN {s}.refs ON location_id = id"
            f" WHERE ref = '{lost[8:]}'"
        )
        obstore.delete(judge.bucket, row[0].decode())

    def act(self, store: MediaStore, begun: Any) -> None:
        store.reconcile(dry_run=False, grace=0)


DEEDS: dict[str, type[Deed]] = {
    it.__name__: it
    for it in (
        Put,
        PutInParts,
        PutOfWhatIsKept,
        PutOfBytesThatAreThere,
        Share,
        Release,
        Expire,
        SweepOfADeadWriter,
        Variant,
        Lease,
        Fetch,
        Reconcile,
    )
}
