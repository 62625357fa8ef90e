"""The media of one scope, found by what they are."""

import hashlib
from contextlib import suppress

from mediakeep.errors import UnknownRef
from mediakeep.integrations.notes import noted
from mediakeep.model import MediaMeta
from mediakeep.store import MediaStore


class Contents:
    """The media of one scope by the sha256 of their bytes, so that the same bytes get one ref there.

    Histories and snapshots are written again and again, each time with all media of the conversation.
    What went in before something failed stays for the next attempt, or until the scope ends: another
    writer may stand on it already.

    There is no index of hashes: to find one, the entries of the scope are read, and nothing of the rest
    of the store. What was read is remembered, and checked before it is given; only for what is not
    known yet they are read again. Media that were registered where they lie have no hash, and are not
    found.

    Safe from any thread. Two writers of the same bytes at the same moment may both make a ref; both end
    with the scope.

    Args:
        store: where the media are.
        scope: the scope, without those below it.
        framework: whose notes mark the refs that may be given again. Those of others are not relied on,
            since others may release them.

    Raises:
        ValueError: the scope is empty, and so the one of all that has no scope.
    """

    def __init__(self, store: MediaStore, scope: str, framework: str) -> None:
        if not scope:
            raise ValueError("media need a scope to end with: give one, such as 'chat:42'")
        self._store = store
        self._scope = scope
        self._framework = framework
        self._own: dict[str, str] = {}
        self._others: dict[str, str] = {}

    def keep(self, data: bytes, meta: MediaMeta, *, ttl: float | None = None) -> str:
        """Return the ref of `data` in the scope: that which was made for it before, or a new one.

        `ttl` is how many seconds a new one lives.

        Raises what :meth:`MediaStore.put` raises.
        """
        digest = hashlib.sha256(data).hexdigest()
        ref = self.own(digest)
        if ref is None:
            ref = self._own[digest] = self._store.put(data, meta, self._scope, ttl=ttl)
        return ref

    def own(self, digest: str) -> str | None:
        """Return the live ref that the framework has for the bytes of this sha256, or None."""
        ref = self._live(self._own, digest)
        if ref is None:
            self._read()
            ref = self._own.get(digest)
        return ref

    def find(self, digest: str) -> str | None:
        """Return a live ref of the scope for the bytes of this sha256, or None."""
        return self.own(digest) or self._live(self._others, digest)

    def renew(self, digest: str, ref: str, ttl: float | None) -> None:
        """Have the bytes live for `ttl` from now on: by another ref, as a ref's own time is fixed."""
        self._own[digest] = self._store.share(ref, self._scope, ttl=ttl)
        self._store.release(ref)

    def _live(self, refs: dict[str, str], digest: str) -> str | None:
        ref = refs.get(digest)
        if ref is not None:
            with suppress(UnknownRef):
                self._store.entry(ref)
                return ref
        return None

    def _read(self) -> None:
        own, others = dict[str, str](), dict[str, str]()
        for entry in self._store.entries(self._scope):
            if entry.sha256:
                is_own = noted(self._framework, entry.meta.source) is not None
                (own if is_own else others)[entry.sha256] = entry.ref
        self._own, self._others = own, others


class KeepingStore:
    """What `externalize` needs of a store, where bytes that are in the scope already get their ref."""

    def __init__(self, store: MediaStore, contents: Contents) -> None:
        self._contents = contents
        self.resolve_with_meta = store.resolve_with_meta

    def put(self, source: bytes, meta: MediaMeta, *_: object, **__: object) -> str:
        """Return the ref of the bytes, in the scope of the contents."""
        return self._contents.keep(source, meta)

    def release(self, _ref: str) -> bool:
        """Leave the ref live: something else may stand on it already, and it ends with its scope."""
        return False
