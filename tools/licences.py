"""Which licences may come with mediakeep, and how that of a package is told from its metadata."""

import re
from importlib.metadata import distribution

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

ALLOWED = {
    *("0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MIT-0", "MIT-CMU"),
    *("PSF-2.0", "PostgreSQL", "Unlicense", "Zlib"),
}
"""SPDX identifiers of licences that ask to keep a notice, and for nothing of those who use mediakeep."""

EXCEPTIONS = {
    "psycopg": "used as it is, through its public interface, and can be replaced by another build: what "
    "the LGPL asks of a program that uses a library",
    "psycopg-binary": "as psycopg; with PostgreSQL's libpq and OpenSSL in its wheels",
    "psycopg-pool": "as psycopg",
    "pi-heif": "its code is BSD; its wheels have libheif and libde265 in them, which are LGPL: shared "
    "libraries that can be replaced. Who needs no HEIC can leave it out: Pillow does the rest",
    "certifi": "a list of certificate authorities; the MPL is about changes to its own file",
    "orjson": "comes with LangGraph; the MPL is about changes to the files that are under it",
}
"""Packages whose licence asks for more, and why they come nevertheless."""

KNOWN = {
    "jinja2": "BSD-3-Clause",
    "pi-heif": "BSD-3-Clause AND LGPL-3.0-only",
    "prompt-toolkit": "BSD-3-Clause",
    "pyasn1-modules": "BSD-2-Clause",
    "pypdfium2": "BSD-3-Clause AND Apache-2.0",
    "python-dateutil": "BSD-3-Clause",
    "uvloop": "MIT OR Apache-2.0",
}
"""What the licence files of packages say whose metadata say less, or nothing that has a name."""

SPELLED = {
    "apache 2.0": "Apache-2.0",
    "apache license": "Apache-2.0",
    "apache license, version 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "isc license": "ISC",
    "isc license (iscl)": "ISC",
    "mit license": "MIT",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
}
"""How others than SPDX spell them, in lower case."""

_TOKEN = re.compile(r"\s*(\(|\)|[A-Za-z0-9.+-]+)")


def licence_of(package: str) -> str | None:
    """Return the SPDX expression of an installed package's licence; None if its metadata do not tell."""
    if package in KNOWN:
        return KNOWN[package]
    said = distribution(package).metadata
    for text in (said.get("License-Expression"), said.get("License")):
        found = SPELLED.get((text or "").strip().lower()) or _canonical(text or "")
        if found:
            return found
    classes = [it.split(" :: ")[-1] for it in said.get_all("Classifier", []) if it.startswith("License")]
    names = {SPELLED.get(it.lower()) for it in classes if it != "OSI Approved"}
    # Whether several mean all of them or any they do not say.
    return None if not names or None in names else " AND ".join(sorted(filter(None, names)))


def _canonical(text: str) -> str | None:
    try:
        return canonicalize_license_expression(text)
    except InvalidLicenseExpression:
        return None


def is_allowed(expression: str) -> bool:
    """Return whether one may do with it as ALLOWED says: all of what `AND` joins, any of what `OR` does.

    >>> is_allowed("MIT OR GPL-3.0-only"), is_allowed("MPL-2.0 AND (Apache-2.0 OR MIT)")
    (True, False)
    """
    tokens = _TOKEN.findall(expression)
    if "".join(tokens) != re.sub(r"\s", "", expression):
        return False
    result = _any(tokens)
    return result and not tokens


def _any(tokens: list[str]) -> bool:
    result = _every(tokens)
    while tokens and tokens[0] == "OR":
        tokens.pop(0)
        result = _every(tokens) or result
    return result


def _every(tokens: list[str]) -> bool:
    result = _one(tokens)
    while tokens and tokens[0] == "AND":
        tokens.pop(0)
        result = _one(tokens) and result
    return result


def _one(tokens: list[str]) -> bool:
    first = tokens.pop(0) if tokens else ""
    if first == "(":
        result = _any(tokens)
        return bool(tokens) and tokens.pop(0) == ")" and result
    if tokens and tokens[0] == "WITH":  # an exception only ever allows more
        del tokens[:2]
    return first in ALLOWED
