"""What comes in: what bytes are, safe names, rules, data URLs and downloads.

A name is imported when it is first asked for: a store needs none of what downloads need.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mediakeep.intake.data_urls import (
        BadDataURL,
        DataURL,
        find_data_urls,
        make_data_url,
        parse_data_url,
        put_data_url,
    )
    from mediakeep.intake.downloads import AddressRefused, DownloadError, DownloadTimeout, download
    from mediakeep.intake.names import display_name, with_number
    from mediakeep.intake.pixels import dimensions
    from mediakeep.intake.types import Sniffed, sniff

__all__ = [
    "AddressRefused",
    "BadDataURL",
    "DataURL",
    "DownloadError",
    "DownloadTimeout",
    "Sniffed",
    "dimensions",
    "display_name",
    "download",
    "find_data_urls",
    "make_data_url",
    "parse_data_url",
    "put_data_url",
    "sniff",
    "with_number",
]

_HOMES = {
    name: f"mediakeep.intake.{home}"
    for home, names in {
        "data_urls": (
            "BadDataURL",
            "DataURL",
            "find_data_urls",
            "make_data_url",
            "parse_data_url",
            "put_data_url",
        ),
        "downloads": ("AddressRefused", "DownloadError", "DownloadTimeout", "download"),
        "names": ("display_name", "with_number"),
        "pixels": ("dimensions",),
        "types": ("Sniffed", "sniff"),
    }.items()
    for name in names
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'mediakeep.intake' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
