"""What a server may touch: a scope and those below it, some folders, and so many bytes."""

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

from mediakeep.errors import NotAFile, PathNotAllowed
from mediakeep.files import open_regular, path_of
from mediakeep.intake.roots import Roots
from mediakeep.mcp.telling import Refused, quoted

LONGEST_SCOPE = 1024
"""Characters of a scope that a client may name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What clients of a server may do, whatever they ask for.

    Args:
        scope: they see it and the scopes below it (`scope:…`), and no others.
        roots: the folders that files are taken from and exported into; by default the working directory.
        private: folders in the roots that are none of their business, as those of the store are: what
            the store itself says is its own is refused in any case.
        allow_release: whether they may end refs.
        max_file_bytes: the largest file that is taken, from a path or by an upload link.
        max_inline_bytes: the most bytes that pass through a message: in a data URL, or of a resource.

    Raises:
        ValueError: the scope is empty, a root is no folder, or a number is not a positive one.
    """

    scope: str
    roots: Sequence[str | os.PathLike[str]] = (".",)
    private: Sequence[str | os.PathLike[str]] = ()
    allow_release: bool = False
    max_file_bytes: int = 256 << 20
    max_inline_bytes: int = 8 << 20
    _folders: "Folders" = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.scope:
            raise ValueError("scope: '' would be no bound: name the scope that clients may see")
        for name in ("max_file_bytes", "max_inline_bytes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be a positive number, not {getattr(self, name)!r}")
        object.__setattr__(self, "_folders", Folders(self.roots, self.private))

    @property
    def folders(self) -> "Folders":
        """The folders, as they were when the bounds were set."""
        return self._folders

    def sees(self, scope: str) -> bool:
        """Return whether `scope` is within.

        >>> bounds = Bounds(scope="telegram:42")
        >>> bounds.sees("telegram:42"), bounds.sees("telegram:42:7"), bounds.sees("telegram:421")
        (True, True, False)
        """
        return scope == self.scope or scope.startswith(f"{self.scope}:")

    def checked(self, scope: str | None) -> str:
        """Return the scope that a client has named, or the server's own if it has named none.

        Raises:
            Refused: it lies outside, or would do harm where it is shown.
        """
        if not scope:
            return self.scope
        if not self.sees(scope):
            raise Refused(
                f"scope {quoted(scope)} is not one of this server's: use {quoted(self.scope)}, "
                f"or one below it such as {quoted(self.scope + ':notes')}"
            )
        below = scope[len(self.scope) :]
        if len(scope) > LONGEST_SCOPE or not below.isprintable() or _MARKUP.search(below):
            raise Refused(
                f"a scope has at most {LONGEST_SCOPE} characters, all of them printable, "
                "and no angle brackets"
            )
        return scope


_MARKUP = re.compile("[<>]")


class Folders:
    """The roots as a client may name what is in them; a path that is relative begins at the first."""

    __slots__ = ("_first", "_private", "_roots")

    def __init__(
        self,
        roots: Sequence[str | os.PathLike[str]],
        private: Sequence[str | os.PathLike[str]],
    ) -> None:
        self._roots = Roots(roots)
        self._first = os.path.realpath(roots[0]) if roots else None
        self._private = tuple(os.path.realpath(it) for it in private)

    def open(self, path: str, key: Callable[[str], object]) -> BinaryIO:
        """Open a file that may be taken; `key` is that of the store's blobs, which knows its own files.

        What has been opened is what is checked: nobody can exchange it in between.

        Raises:
            Refused: there is no such file, or it lies where nothing is taken from.
        """
        whole = self._whole(path)
        outside = f"{quoted(path)} is no file in the folders that this server takes files from"
        try:
            # What is outside gets the same answer whether it is there or not.
            self._check(path, os.path.realpath(whole), key)
            file = open_regular(whole)
        except (OSError, ValueError) as error:
            raise Refused(outside) from error
        try:
            self._roots.check_file(path, file)
            self._check(path, os.path.realpath(path_of(file) or whole), key)
        except BaseException as error:
            file.close()
            if isinstance(error, PathNotAllowed | NotAFile):
                raise Refused(outside) from error
            raise
        return file

    def folder(self, path: str, key: Callable[[str], object]) -> str:
        """Return the canonical path of a folder that may be exported into.

        Raises:
            Refused: there is no such folder, or it lies where nothing is exported.
        """
        try:
            found = os.path.realpath(self._whole(path), strict=True)
            # The roots themselves are folders to export into, and not files in them.
            inside = os.path.join(found, "file")
            self._check(path, inside, key)
            if os.path.isdir(found):
                return found
        except (OSError, ValueError) as error:
            raise Refused(_no_folder(path)) from error
        raise Refused(_no_folder(path))

    def _whole(self, path: str) -> str:
        if self._first is None:
            raise Refused("this server takes no files from paths, and exports none")
        return os.path.join(self._first, path)

    def _check(self, given: str, canonical: str, key: Callable[[str], object]) -> None:
        self._roots.check(given, canonical)
        if any(canonical == it or canonical.startswith(it + os.sep) for it in self._private):
            raise PathNotAllowed("it is the store's own")
        if key(canonical) is not None:
            raise NotAFile("it is the store's own")


def _no_folder(path: str) -> str:
    return f"{quoted(path)} is no folder among those that this server exports into"
