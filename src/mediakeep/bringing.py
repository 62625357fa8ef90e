"""Bringing one file with its refs from a store into another, while anybody may do anything to both.

The order: hold the file in the source; stage its bytes in the target and compare them; write down all of
its refs there in one step. If one of them is there already, nothing is staged, and the others join it.
"""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from enum import Enum
from itertools import islice
from typing import NamedTuple

from mediakeep.carrying import Carrier, NotCopiedError, is_blob
from mediakeep.catalogs import Registration
from mediakeep.errors import (
    BlobError,
    CatalogError,
    MediaElsewhere,
    MediaMissing,
    NotAFile,
    RefExpired,
    RefReconciled,
    RefReleased,
    UnknownRef,
)
from mediakeep.files import look
from mediakeep.model import Entry
from mediakeep.store import MediaStore

AT_ONCE = 500
"""How many refs of one file are written down in one step."""

ATTEMPTS = 10
"""How often the target is looked at again, because others changed it meanwhile."""


class _EndedError(Exception):
    """The ref has ended in the source, so there is nothing to bring."""


class _State(Enum):
    """What a ref of the source is in the target."""

    LIVE = 1
    DEAD = 2
    """It was here, and has ended here."""
    MISSING = 3


class _Seen(NamedTuple):
    """What some refs of one file are in the target: those to write, and one that is there."""

    missing: list[Registration]
    home: Registration | None


class Bringing:
    """Brings files from `source` into `target`, from any thread.

    Args:
        source: where they are.
        target: where they go.
        dry_run: only count.
        revive: write down also what has ended in the target.
    """

    def __init__(self, source: MediaStore, target: MediaStore, *, dry_run: bool, revive: bool) -> None:
        self._source = source
        self._target = target
        self._dry_run = dry_run
        self._revive = revive
        self._carrier = Carrier(source, target)

    def stop(self) -> None:
        """Break off what is being copied; what is staged by then is removed."""
        self._carrier.stop()

    def bring(self, entry: Entry) -> Counter[str]:
        """Bring the ref of `entry`, with its file and the file's other refs; return what was done.

        The names are those of a :class:`~mediakeep.copying.CopyReport`; `ahead` counts the other refs
        that come later among the entries of the source.

        Raises:
            MediaError: it cannot be brought; one of `OF_THE_FILE` if that is no sign for other files.
        """
        state, _ = self._look_up(entry.ref)
        if state is _State.LIVE:
            return Counter(there=1)
        if state is _State.DEAD:
            return Counter(dead=1)
        done: Counter[str] = Counter()
        try:
            if self._dry_run:
                self._foresee(entry, done)
            else:
                with self._held(entry.ref) as found:
                    self._bring(found, done)
        except _EndedError:
            return done
        return done

    def _foresee(self, entry: Entry, done: Counter[str]) -> None:
        """Count what bringing `entry` would do; the bytes with the first of the file's refs."""
        try:
            self._source._catalog.get(entry.ref)  # raises where the file is on another host
        except UnknownRef:
            raise _EndedError from None
        done["refs"] = 1
        if entry.refs > 1:
            for it in self._source._catalog.refs_at(entry.location):
                state, _ = self._look_up(it.ref)
                if state is _State.LIVE or (state is _State.MISSING and it.ref < entry.ref):
                    return
        if entry.owned or is_blob(entry.location):
            done.update(files=1, size=entry.size, taken=not is_blob(entry.location))
        else:
            _look_at(entry.location)
            done["registered"] = 1

    @contextmanager
    def _held(self, ref: str) -> Iterator[Registration]:
        """Hold a file of the source for a block."""
        try:
            number, found = self._source._begin_lease(ref)
        except UnknownRef:
            raise _EndedError from None
        try:
            yield found
        finally:
            self._source._end_lease(number)

    def _bring(self, found: Registration, done: Counter[str]) -> None:
        try:
            place = self._source._catalog.entry(found.ref)
        except UnknownRef:
            raise _EndedError from None
        refs = iter((found,)) if place.refs == 1 else self._source._catalog.refs_at(found.location)
        home: Registration | None = None
        mine = False
        while batch := list(islice(refs, AT_ONCE)):
            written, home = self._write(found, place, batch, home, done)
            mine |= found.ref in written
        if not mine:
            done["there"] += self._look_up(found.ref)[0] is _State.LIVE

    def _write(
        self,
        found: Registration,
        place: Entry,
        batch: Sequence[Registration],
        home: Registration | None,
        done: Counter[str],
    ) -> tuple[set[str], Registration | None]:
        """Write down those of `batch` that are missing; return them, and one ref that is there now."""
        seen = self._see(batch, home)
        for _ in range(ATTEMPTS):
            if not seen.missing:
                return set(), seen.home
            staged = seen.home is None and (is_blob(found.location) or place.owned)
            try:
                if seen.home is not None:
                    count, home = self._join(seen.missing, seen.home, found, place)
                elif staged:
                    count, home = self._stage(seen.missing, found, place)
                else:
                    count, home = self._register(seen.missing, found)
            except CatalogError:
                # Another copy was faster, or what the refs were to join has ended. Else it is no use.
                before, seen = seen, self._see(batch, home)
                if seen == before:
                    raise
                continue
            if staged:
                done.update(files=1, size=home.size, taken=not is_blob(found.location))
            if not is_blob(home.location):
                done["registered"] += count
            done["refs"] += count
            if not count:  # all by another copy, just now
                return set(), home
            done["ahead"] += sum(_order(it) > _order(found) for it in seen.missing)
            return {it.ref for it in seen.missing}, home
        raise CatalogError(
            f"the refs of {found.location!r} change in the target as fast as they are copied: "
            "is the source being copied into it several times at once? Let one finish, then copy again"
        )

    # -- the target

    def _look_up(self, ref: str) -> tuple[_State, Registration | None]:
        try:
            return _State.LIVE, self._target._catalog.get(ref)
        except MediaElsewhere:
            return _State.LIVE, None
        except RefReconciled:
            return _State.MISSING, None  # its file was lost here
        except (RefReleased, RefExpired):
            return (_State.MISSING if self._revive else _State.DEAD), None
        except UnknownRef:
            return _State.MISSING, None

    def _see(self, batch: Iterable[Registration], home: Registration | None) -> _Seen:
        if home is not None:
            _, home = self._look_up(home.ref)
        missing = []
        for it in batch:
            state, there = self._look_up(it.ref)
            home = home or there
            if state is _State.MISSING:
                missing.append(it)
        return _Seen(missing, home)

    # Each of these writes refs down, and returns how many, and one of them.

    def _join(
        self, missing: Sequence[Registration], home: Registration, found: Registration, place: Entry
    ) -> tuple[int, Registration]:
        """Write the missing refs down for the file that the target has."""
        try:
            number, there = self._target._begin_lease(home.ref)
        except UnknownRef as error:
            raise CatalogError(f"{home.ref} has just ended in the target: copy again") from error
        try:
            # Held, it is not deleted before the refs are there: at worst it is condemned, and refused.
            if found.sha256 and there.sha256 and found.sha256 != there.sha256:
                raise NotCopiedError(
                    f"{there.ref} has other bytes in the target (sha256 {there.sha256}, and "
                    f"{found.sha256} in the source): release it where it is wrong"
                )
            owned = place.owned or is_blob(there.location) != is_blob(found.location)
            return self._restore(missing, there, owned=owned)
        finally:
            self._target._end_lease(number)

    def _register(
        self, missing: Sequence[Registration], found: Registration
    ) -> tuple[int, Registration]:
        """Write the missing refs down for a borrowed file where it lies."""
        path = found.location
        _look_at(path)
        if self._target._blobs.key(path) is not None:
            raise NotAFile(f"{path!r} is one of the target's own files: share a ref of it there instead")
        if self._target._roots is not None:
            self._target._roots.check(path, path, os.path.realpath(path))
        return self._restore(missing, found, owned=False)

    def _stage(
        self, missing: Sequence[Registration], found: Registration, place: Entry
    ) -> tuple[int, Registration]:
        """Put the bytes into the target, and write the missing refs down for them."""
        books = self._target._catalog
        written = ""
        try:
            with self._carrier.staged(found, owned=place.owned) as staged:
                there = replace(
                    found, location=staged.key, given=None, size=staged.size, sha256=staged.sha256
                )
                count, there = self._restore(missing, there, owned=place.owned)
                written = there.location
                return count, there
        except UnknownRef:
            raise _EndedError from None
        except BlobError:
            if written:
                # The bytes may have been taken for left over, and a live ref needs bytes.
                books.lose(written)
            raise

    def _restore(
        self, missing: Sequence[Registration], there: Registration, *, owned: bool
    ) -> tuple[int, Registration]:
        refs = [
            replace(
                it,
                location=there.location,
                given=None if is_blob(there.location) else it.given,
                size=there.size,
                sha256=there.sha256,
            )
            for it in missing
        ]
        return self._target._catalog.restore(refs, owned=owned), refs[0]


def _look_at(path: str) -> None:
    """Raise unless a borrowed file is there."""
    try:
        look(path)
    except MediaMissing as error:
        raise MediaMissing.at(path, "the source borrows it: put it back, or release its refs") from error


def _order(it: Registration) -> tuple[str, float, str]:
    """Return by what the entries of a catalog are in order."""
    return it.scope, it.stored_at, it.ref
