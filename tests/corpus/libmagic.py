"""libmagic, from the wheel of pylibmagic: the library and its database, without a system package."""

import ctypes
from pathlib import Path
from types import TracebackType
from typing import Self

import pylibmagic

_MIME_TYPE = 0x10  # magic.h: MAGIC_MIME_TYPE


class Libmagic:
    """One database, loaded; not for several threads at once."""

    def __init__(self) -> None:
        folder = Path(pylibmagic.__file__).parent
        library = next(
            path for ending in ("so", "dylib", "dll") for path in folder.glob(f"*magic*.{ending}")
        )
        self._library = ctypes.CDLL(str(library))
        self._library.magic_open.restype = ctypes.c_void_p
        for function in (
            self._library.magic_buffer,
            self._library.magic_file,
            self._library.magic_error,
        ):
            function.restype = ctypes.c_char_p
        self._library.magic_buffer.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t]
        self._library.magic_file.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
        self._library.magic_load.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
        self._library.magic_error.argtypes = [ctypes.c_void_p]
        self._library.magic_close.argtypes = [ctypes.c_void_p]
        self._cookie = self._library.magic_open(_MIME_TYPE)
        if self._library.magic_load(self._cookie, bytes(folder / "magic.mgc")):
            raise RuntimeError(f"libmagic has no database: {self._library.magic_error(self._cookie)}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._library.magic_close(self._cookie)

    def of_file(self, path: Path) -> str:
        """Return the type of a file, of which libmagic may read as much as it likes."""
        return self._said(self._library.magic_file(self._cookie, bytes(path)))

    def of_bytes(self, head: bytes) -> str:
        """Return the type of what these bytes begin."""
        return self._said(self._library.magic_buffer(self._cookie, head, len(head)))

    def _said(self, answer: bytes | None) -> str:
        if answer is None:
            raise RuntimeError(f"libmagic failed: {self._library.magic_error(self._cookie)}")
        return answer.decode()
