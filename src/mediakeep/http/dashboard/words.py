"""Values as people read them: the filters of the templates."""

from datetime import UTC, datetime

from mediakeep.intake.names import display_name

FAMILIES = {
    "image": "Pictures",
    "video": "Video",
    "audio": "Audio",
    "text": "Text",
    "application": "Documents and data",
}
"""What the first part of a content type is called; others are `other`."""

_SHOWN_AS_PICTURE = (
    *("image/jpeg", "image/png", "image/gif", "image/webp", "image/avif", "image/bmp"),
    *("image/heic", "image/heif", "image/tiff", "image/vnd.microsoft.icon"),
)


def size_words(size: float) -> str:
    """Return a number of bytes in decimal units.

    >>> [size_words(it).split() for it in (999, 1500, 2_000_000, 12_345_678_901)]
    [['999', 'B'], ['1.5', 'kB'], ['2', 'MB'], ['12.3', 'GB']]
    """
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 999.5 or unit == "TB":
            break
        size /= 1000
    digits = f"{size:.0f}" if size >= 99.95 or unit == "B" else f"{size:.1f}".removesuffix(".0")
    return f"{digits}\N{NO-BREAK SPACE}{unit}"


def count_words(count: float) -> str:
    """Return a count with its thousands apart.

    >>> count_words(1234567)
    '1,234,567'
    """
    return f"{count:,.0f}"


def span_words(seconds: float) -> str:
    """Return an amount of time in its largest unit.

    >>> [span_words(it).split() for it in (0.2, 59, 61, 7_200, 86_400 * 400)]
    [['0', 's'], ['59', 's'], ['1', 'min'], ['2', 'h'], ['400', 'd']]
    """
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length:.0f}\N{NO-BREAK SPACE}{unit}"
    return f"{max(0.0, seconds):.0f}\N{NO-BREAK SPACE}s"


def ago_words(at: datetime) -> str:
    """Return how long ago a time was, or how far it is ahead."""
    seconds = (datetime.now(UTC) - at).total_seconds()
    return f"{span_words(seconds)} ago" if seconds >= 0 else f"in {span_words(-seconds)}"


def time_words(at: datetime) -> str:
    """Return a time in UTC, to the second; the page's scripts tell it in the reader's own zone."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def extension_words(filename: str) -> str:
    """Return the extension of a file name, as it stands on a tile.

    >>> [extension_words(it) for it in ("a.tar.gz", "README", "x.jpeg", "y.<b>")]
    ['GZ', '', 'JPEG', '']
    """
    extension = filename.rpartition(".")[2] if "." in filename else ""
    return (
        extension.upper() if extension.isascii() and extension.isalnum() and len(extension) < 6 else ""
    )


def family_of(content_type: str) -> str:
    """Return which of FAMILIES a content type belongs to, or `other`."""
    major = content_type.partition("/")[0].strip().lower()
    return major if major in FAMILIES else "other"


def kind_of(content_type: str) -> str:
    """Return how a file of this type is shown: as `picture`, `video`, `audio`, or by a sign."""
    essence = content_type.partition(";")[0].strip().lower()
    if essence in _SHOWN_AS_PICTURE:
        return "picture"
    family = family_of(essence)
    return "file" if family in ("image", "other") else family


def name_words(filename: str) -> str:
    """Return a file name as it is shown, without what makes names dangerous."""
    return display_name(filename) or "Without a name"
