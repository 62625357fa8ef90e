"""A process of its own for each picture that is decoded, and what it may not do there.

Decoders are large C libraries that are handed what strangers send. Within this process nothing could
stop one that loops or fills the memory, nor save the program from one that crashes. So each picture
gets a fresh interpreter: its standard input is the picture, its standard output the answer, and it
has none of this process's environment, open files or secrets of other pictures. It binds itself to
MAX_MEMORY_BYTES and MAX_SECONDS before it looks at the first byte, and is killed when it overstays.
What Pillow keeps for a whole process (the largest picture, its warnings, its formats) is set there, and
never in the program that uses this library.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import BinaryIO

from mediakeep.errors import MediaError
from mediakeep.images.bounds import MAX_FILE_BYTES, MAX_MEMORY_BYTES, MAX_SECONDS
from mediakeep.images.header import DECODED, Header
from mediakeep.images.unusable import ImagesExtraMissing, UnusableImage
from mediakeep.images.wanted import Wanted

_BOOT = (
    "import json, sys; asked = json.loads(sys.argv[1]); sys.path[:] = asked['path']; "
    "from mediakeep.images.worker import work; work(asked)"
)
_KEPT = ("DYLD_LIBRARY_PATH", "LD_LIBRARY_PATH", "SYSTEMROOT")  # without these some cannot start Python
_MAX_ANSWER = 128 * 2**20


def changed(file: BinaryIO, header: Header, wanted: Wanted) -> bytes:
    """Return the picture in `file`, decoded and encoded as `wanted` in a process of its own.

    At most one such process for each processor runs at a time; others wait for their turn.

    Raises:
        UnusableImage: it cannot be decoded within bounds, or not be made to fit.
        ImagesExtraMissing: Pillow, or pi-heif for HEIC, is not installed.
    """
    packages = {"PIL": "Pillow"}
    if DECODED[header.content_type] == ("HEIF",):
        packages["pi_heif"] = "pi-heif"
    _require(packages, f"is {header.content_type} and would have to be changed, which takes", "images")
    return _made(file, header.size, DECODED[header.content_type], wanted)


def first_page(file: BinaryIO, wanted: Wanted) -> bytes:
    """Return the first page of the PDF in `file`, rendered as `changed` decodes pictures.

    Raises:
        UnusableImage: it cannot be rendered within bounds: encrypted, malformed, or too much.
        ImagesExtraMissing: Pillow or pypdfium2 is not installed.
    """
    packages = {"PIL": "Pillow", "pypdfium2": "pypdfium2"}
    _require(packages, "is application/pdf, and to show a page takes", "documents")
    return _made(file, file.seek(0, os.SEEK_END), ("PDF",), wanted)


def _made(file: BinaryIO, size: int, formats: Sequence[str], wanted: Wanted) -> bytes:
    if size > MAX_FILE_BYTES:
        raise UnusableImage(
            f"has {size} bytes, and at most {MAX_FILE_BYTES} are decoded: make it smaller"
        )
    asked = {
        "path": [folder for folder in sys.path if isinstance(folder, str)],
        "formats": formats,
        "wanted": wanted,
        "seconds": MAX_SECONDS,
        "memory": MAX_MEMORY_BYTES,
    }
    with _turns:
        return _answer(file, json.dumps(asked))


def _require(packages: Mapping[str, str], why: str, extra: str) -> None:
    missing = [package for module, package in packages.items() if not find_spec(module)]
    if missing:
        raise ImagesExtraMissing(f'{why} {" and ".join(missing)}: pip install "mediakeep[{extra}]"')


_turns = threading.BoundedSemaphore(os.cpu_count() or 1)


def _begin_anew() -> None:
    """Forget, in a forked child, the turns of threads that it does not have."""
    global _turns
    _turns = threading.BoundedSemaphore(os.cpu_count() or 1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)


def _answer(file: BinaryIO, asked: str) -> bytes:
    begun = time.monotonic()
    with _started(file, asked) as process:
        alarm = threading.Timer(MAX_SECONDS, process.kill)
        alarm.daemon = True
        try:
            alarm.start()
            assert process.stdout is not None  # noqa: S101  a pipe was asked for
            answer = process.stdout.read(_MAX_ANSWER + 1)
            if len(answer) > _MAX_ANSWER:
                process.kill()
            code = process.wait()
        finally:
            alarm.cancel()
            process.kill()
    verdict, _, data = answer.partition(b"\n")
    if verdict == b"made %d" % len(data):
        return data
    if verdict == b"refused %d" % len(data):
        # The reason may go on to a model or a person, and the bytes of a stranger had a hand in it.
        text = data[:500].decode(errors="replace")
        raise UnusableImage("".join(c if c.isprintable() else " " for c in text))
    used_up = hasattr(signal, "SIGXCPU") and code == -signal.SIGXCPU
    if used_up or time.monotonic() - begun >= MAX_SECONDS:
        raise UnusableImage(f"takes more than {MAX_SECONDS:g} s to decode: make it smaller")
    if code > 0:
        raise UnusableImage(
            f"could not be decoded, since the process for it failed (exit status {code}): "
            "see if Python can import mediakeep.images.worker"
        )
    raise UnusableImage(f"made its decoder fail ({_ended(code)}): it is malformed, or too large")


def _started(file: BinaryIO, asked: str) -> subprocess.Popen[bytes]:
    python = _python()
    try:
        return subprocess.Popen(  # noqa: S603  the interpreter that runs this, and words of ours
            [python, "-I", "-c", _BOOT, asked],
            stdin=file,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # One arena: each other reserves address space that is then missing for the picture.
            env={"MALLOC_ARENA_MAX": "1", **{k: v for k in _KEPT if (v := os.environ.get(k))}},
        )
    except OSError as error:
        raise MediaError(f"cannot start {python!r} to decode a picture: {error.strerror}") from error


def _python() -> str:
    # A program that embeds or freezes Python may say where an interpreter is, as it must for
    # multiprocessing. Its own executable is none: it would start the whole program again.
    from multiprocessing import spawn

    python = os.fsdecode(spawn.get_executable() or "")
    if not python or (getattr(sys, "frozen", False) and python == sys.executable):
        raise MediaError(
            "pictures are decoded in a Python process of their own, and this program does not know "
            "where Python is: tell multiprocessing.set_executable"
        )
    return python


def _ended(code: int) -> str:
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}" if code else "cut short"
