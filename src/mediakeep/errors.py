"""What can go wrong, each with the words to mend it.

Every error is a :class:`MediaError`. Where Python has a builtin that a caller would expect, the error
is one of those too: an unknown ref is a `KeyError`, missing bytes are a `FileNotFoundError`. An
operation that raises has changed nothing.
"""

import errno
import os


class MediaError(Exception):
    """Anything that mediakeep refuses or fails to do."""


class UnknownRef(MediaError, KeyError):
    """The ref names nothing that this store knows.

    Attributes:
        ref: the ref that was asked for.
    """

    reason = "is unknown here: it was never stored in this store, or ended too long ago to remember"

    def __init__(self, ref: object, *, scope: str | None = None) -> None:
        super().__init__(ref)
        self.ref = ref
        self.scope = scope

    def __str__(self) -> str:
        # KeyError would show the repr of its argument; a person needs a sentence.
        scope = f" (scope {self.scope!r})" if self.scope is not None else ""
        return f"{self.ref!s}{scope} {self.reason}"


class RefReleased(UnknownRef):
    """The ref was live once and has been released."""

    reason = "was released: store the file again, or share the ref before its scope ends"


class RefReconciled(RefReleased):
    """The ref was live once, and was ended because its file had gone without it."""

    reason = "was ended by a reconcile, because its file was gone: store the file again"


class RefExpired(UnknownRef):
    """The ref was live once and outlived its time to live."""

    reason = "has expired: store the file again, or give it a longer ttl"


class MediaMissing(MediaError, FileNotFoundError):
    """The bytes are not where they should be."""

    @classmethod
    def at(cls, path: str | os.PathLike[str], advice: str) -> "MediaMissing":
        """Return the error for the missing file `path`, in the operating system's own words."""
        return cls(errno.ENOENT, f"{os.strerror(errno.ENOENT)} ({advice})", os.fspath(path))


class MediaElsewhere(MediaError):
    """The file lies on another host: it was registered where it lies, and not put into the store."""

    @classmethod
    def at(cls, ref: str, path: str, host: str, here: str) -> "MediaElsewhere":
        """Return the error for a file of `host` that is wanted `here`."""
        return cls(
            f"{ref} names {path!r} on host {host!r}, and this is {here!r}: "
            "resolve it there, or put the file into the store instead of registering it"
        )


class NotAFile(MediaError, ValueError):
    """The path is a directory, a device, a socket or a FIFO, or is no path at all."""


class ScopeClosed(MediaError, RuntimeError):
    """The scope's block has ended, so nothing more can be stored into it."""


class TooLarge(MediaError, ValueError):
    """The bytes are more than a limit allows."""


class TypeNotAllowed(MediaError, ValueError):
    """The content type is one that the limits refuse."""


class PathNotAllowed(MediaError, PermissionError):
    """The file lies outside of the folders that the store takes files from."""


class QuotaExceeded(MediaError):
    """A scope or the store is full."""


class AccessDenied(MediaError, PermissionError):
    """The server that keeps the store wants a token, or one that may do more."""


class NotOverHTTP(MediaError, NotImplementedError):
    """The verb needs the machine of the store, and this is one that a server offers."""


class StillLeased(MediaError):
    """A lease keeps a file that was to be deleted at once."""


class CatalogError(MediaError):
    """The catalog cannot be read or written; the driver's own error is its `__cause__`."""


class BlobError(MediaError):
    """Bytes cannot be read, written or deleted; the disk's own error is its `__cause__`."""
