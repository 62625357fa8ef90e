"""The folders that a store takes files from, where it does not take them from everywhere."""

import os
from collections.abc import Iterable
from typing import BinaryIO

from mediakeep.errors import PathNotAllowed

_HANDLES = os.path.isdir("/proc/self/fd")


class Roots:
    """Folders outside of which no file is registered, copied or opened.

    They are resolved once, here: a root that is a symlink stands for where it leads now.

    Raises:
        ValueError: one of them is no folder.

    >>> Roots(["/usr"]).check("/usr/../etc/shadow", "/etc/shadow")
    Traceback (most recent call last):
    ...
    mediakeep.errors.PathNotAllowed: '/usr/../etc/shadow' leads to '/etc/shadow', ...
    """

    __slots__ = ("_folders",)

    def __init__(self, folders: Iterable[str | os.PathLike[str]]) -> None:
        if isinstance(folders, str | bytes):
            raise ValueError(f"import_roots must be a list of folders, not {folders!r}")
        given = [os.fsdecode(it) for it in folders]
        if "" in given:  # as an unset variable would give, and it would mean the working directory
            raise ValueError("import_roots: '' is no folder: write '.' for the working directory")
        self._folders = tuple(os.path.realpath(it) for it in given)
        for folder in self._folders:
            if not os.path.isdir(folder):
                raise ValueError(f"import_roots: {folder!r} is no folder: make it first")

    def check(self, given: str, *canonical: str) -> None:
        """Raise PathNotAllowed if a `canonical` path of `given` lies in none of the folders."""
        for path in canonical:
            if not any(path.startswith(it if it == os.sep else it + os.sep) for it in self._folders):
                where = f"{given!r}" if path == given else f"{given!r} leads to {path!r}, which"
                raise PathNotAllowed(
                    f"{where} lies outside of the folders that files are taken from "
                    f"({', '.join(map(repr, self._folders)) or 'none'}): move it there, or add its "
                    "folder to import_roots"
                )

    def check_file(self, given: str, file: BinaryIO) -> None:
        """Raise PathNotAllowed if the open `file` lies in none of the folders, whatever led to it."""
        if _HANDLES:
            path = os.readlink(f"/proc/self/fd/{file.fileno()}").removesuffix(" (deleted)")
        else:
            path = os.path.realpath(given)
        self.check(given, path)
