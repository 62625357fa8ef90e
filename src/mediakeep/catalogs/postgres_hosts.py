"""Whose paths are whose: a local path in a shared catalog means something on one host only."""

import functools
import hashlib
import os
import platform
from pathlib import Path

SHARED = ""
"""The host of a blob, which is the same for everybody."""

LONGEST = 1000
"""Bytes from which on a location is known by a digest; a B-tree takes at most 2,704 bytes a row."""


def host_of(location: str, here: str) -> str:
    """Return the host of a location that is spoken of `here`."""
    return here if os.path.isabs(location) else SHARED


def name_of(location: str) -> tuple[bytes, bytes | None]:
    """Return a location as it is indexed, and as a whole where that is not the same.

    No location of fewer bytes looks like the indexed name of a long one.
    """
    whole = os.fsencode(location)
    if len(whole) < LONGEST:
        return whole, None
    digest = hashlib.sha256(whole).digest()
    return whole[: LONGEST - len(digest)] + digest, whole


@functools.cache
def this_host() -> str:
    """Return a name for this host that no other one has, and that is the same after a restart.

    The machine's id alone is not enough: containers of one image may share it, and each of them has
    files of its own.
    """
    found = ""
    for path in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        try:
            found = Path(path).read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            continue
        if found:
            break
    name = platform.node() or "unnamed"
    return f"{name}/{found[:12]}" if found else name
