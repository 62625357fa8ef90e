"""The table of content types: their names, file extensions, and which of them contain which.

Names are IANA's where it has one, else the name in use. RFC 6838 section 4.2 has their grammar.
"""

import re
from functools import cache

OCTETS = "application/octet-stream"
"""The type of which nothing more is known."""

# One line a type that `sniff` can find: its name, then its file extensions, the usual one first.
_FOUND = """
image/jpeg .jpg .jpeg .jpe .jfif
image/png .png .apng
image/gif .gif
image/webp .webp
image/avif .avif .avifs
image/heic .heic .heics .hif
image/heif .heif .heifs
image/bmp .bmp .dib
image/tiff .tiff .tif
image/vnd.microsoft.icon .ico .cur
image/svg+xml .svg
image/x-portable-bitmap .pbm .pnm
image/x-portable-graymap .pgm .pnm
image/x-portable-pixmap .ppm .pnm
image/x-xpixmap .xpm
image/jp2 .jp2
image/jpx .jpx .jpf
image/j2c .j2c .j2k .jpc
image/jxl .jxl
image/x-canon-cr3 .cr3
image/vnd.adobe.photoshop .psd
audio/mpeg .mp3 .mp2 .mpga
audio/mp4 .m4a .m4b .m4p
audio/aac .aac .adts
audio/ogg .ogg .oga .opus .spx
audio/flac .flac
audio/wav .wav .wave
audio/aiff .aiff .aif .aifc
audio/amr .amr
audio/amr-wb .awb .amr
audio/midi .mid .midi
video/mp4 .mp4 .m4v .mpg4
video/quicktime .mov .qt
video/3gpp .3gp .3gpp
video/3gpp2 .3g2 .3gpp2
video/webm .webm
video/x-matroska .mkv
video/ogg .ogv .ogg
application/ogg .ogx .ogg
video/x-msvideo .avi
video/x-ms-asf .asf
video/x-flv .flv
video/mpeg .mpg .mpeg .mpe .vob
video/mp2t .ts .m2ts .mts
video/lottie+json .json .lot
application/x-tgsticker .tgs
application/pdf .pdf
application/postscript .ps .eps .ai
application/vnd.openxmlformats-officedocument.wordprocessingml.document .docx
application/vnd.openxmlformats-officedocument.spreadsheetml.sheet .xlsx
application/vnd.openxmlformats-officedocument.presentationml.presentation .pptx
application/vnd.ms-word.document.macroenabled.12 .docm
application/vnd.ms-excel.sheet.macroenabled.12 .xlsm
application/vnd.ms-powerpoint.presentation.macroenabled.12 .pptm
application/vnd.oasis.opendocument.text .odt
application/vnd.oasis.opendocument.spreadsheet .ods
application/vnd.oasis.opendocument.presentation .odp
application/vnd.oasis.opendocument.graphics .odg
application/epub+zip .epub
application/java-archive .jar
application/vnd.android.package-archive .apk
application/zip .zip
application/gzip .gz .gzip
application/x-7z-compressed .7z
application/vnd.rar .rar
application/x-bzip2 .bz2
application/x-xz .xz
application/zstd .zst
application/x-tar .tar
application/x-ole-storage
application/vnd.sqlite3 .sqlite .sqlite3 .db
application/wasm .wasm
application/x-elf .elf .so .bin
application/vnd.microsoft.portable-executable .exe .dll .sys
application/x-mach-binary .dylib
application/java-vm .class
font/ttf .ttf
font/otf .otf
font/woff .woff
font/woff2 .woff2
text/plain .txt .text .log .md .ini .cfg .conf .srt
text/html .html .htm .xhtml
text/rtf .rtf
text/csv .csv
text/javascript .js .mjs .cjs
text/x-php .php .phtml
text/x-shellscript .sh .bash
text/x-python .py
text/x-perl .pl .pm
text/x-ruby .rb
text/x-script
text/x-msdos-batch .bat .cmd
text/vcard .vcf
text/calendar .ics
text/vtt .vtt
application/xml .xml .xsd .xsl
application/json .json .map
application/x-ndjson .ndjson .jsonl
"""

# Types that are not told apart from others by their first bytes, and so are only declared.
_DECLARED = """
image/x-tga .tga
audio/opus .opus
audio/3gpp .3gp
audio/3gpp2 .3g2
audio/webm .weba .webm
audio/x-matroska .mka
video/x-m4v .m4v
audio/x-ms-wma .wma
video/x-ms-wmv .wmv
application/msword .doc
application/vnd.ms-excel .xls
application/vnd.ms-powerpoint .ppt
application/vnd.ms-outlook .msg
application/x-msi .msi
application/rss+xml .rss
application/atom+xml .atom
application/ld+json .jsonld
application/geo+json .geojson
text/css .css
text/markdown .md .markdown
text/tab-separated-values .tsv
application/yaml .yaml .yml
application/toml .toml
application/x-subrip .srt
"""

# Other names in use: the one name first.
_OTHER_NAMES = """
image/jpeg image/jpg image/pjpeg image/x-jpeg image/mpo
image/png image/x-png image/apng image/vnd.mozilla.apng
image/avif image/avif-sequence
image/heic image/heic-sequence
image/heif image/heif-sequence
image/bmp image/x-ms-bmp image/x-bmp image/x-windows-bmp
image/tiff image/x-tiff
image/vnd.microsoft.icon image/x-icon image/ico image/x-win-bitmap
image/svg+xml image/svg image/svg-xml
image/x-xpixmap image/x-xpmi image/xpm
image/x-portable-graymap image/x-portable-greymap
image/jp2 image/jpeg2000 image/jpeg2000-image
image/j2c image/x-jp2-codestream
image/vnd.adobe.photoshop image/x-photoshop image/psd
audio/mpeg audio/mp3 audio/x-mp3 audio/x-mpeg audio/mpeg3 audio/mpg
audio/mp4 audio/m4a audio/x-m4a audio/x-m4b
audio/aac audio/x-aac audio/aacp audio/x-hx-aac-adts audio/x-adts
audio/ogg audio/x-ogg audio/vorbis audio/x-vorbis+ogg
audio/flac audio/x-flac
audio/wav audio/x-wav audio/wave audio/vnd.wave audio/x-pn-wav
audio/aiff audio/x-aiff
audio/amr audio/x-amr audio/amr-nb
audio/amr-wb audio/x-amr-wb
audio/midi audio/x-midi audio/mid
video/mp4 video/x-mp4
video/quicktime video/x-quicktime
video/3gpp video/3gp
video/3gpp2 video/3g2
video/x-matroska video/matroska application/x-matroska
video/ogg video/x-ogg video/theora
video/x-msvideo video/avi video/msvideo
video/x-ms-asf application/vnd.ms-asf
video/mpeg video/mpg video/x-mpeg
video/lottie+json application/lottie+json
application/x-tgsticker application/x-tgs
application/pdf application/x-pdf
application/postscript application/eps image/x-eps image/eps
application/java-archive application/x-java-archive application/x-jar
application/zip application/x-zip-compressed application/x-zip
application/gzip application/x-gzip application/gzip-compressed
application/vnd.rar application/x-rar application/x-rar-compressed
application/x-bzip2 application/bzip2 application/x-bzip
application/zstd application/x-zstd
application/x-tar application/tar application/x-gtar
application/x-ole-storage application/vnd.ms-office application/cdfv2 application/x-cfb
application/vnd.sqlite3 application/x-sqlite3
application/x-elf application/x-executable application/x-sharedlib application/x-pie-executable
application/x-elf application/x-object application/x-coredump
application/vnd.microsoft.portable-executable application/x-dosexec application/x-msdownload
application/vnd.microsoft.portable-executable application/x-msdos-program
application/vnd.microsoft.portable-executable application/x-ms-dos-executable application/exe
application/x-mach-binary application/x-mach-o
application/java-vm application/x-java-applet application/x-java
font/ttf application/x-font-ttf font/sfnt application/font-sfnt
font/otf application/vnd.ms-opentype application/x-font-otf
font/woff application/font-woff
text/plain text/ascii text/x-log
text/html application/xhtml+xml application/xhtml text/xhtml
text/rtf application/rtf text/richtext application/x-rtf
text/csv application/csv text/x-csv text/comma-separated-values
text/javascript application/javascript application/x-javascript application/ecmascript
text/javascript text/ecmascript text/jscript
text/x-php application/x-php application/x-httpd-php application/php text/php
text/x-shellscript application/x-sh application/x-shellscript text/x-sh
text/x-python text/x-script.python application/x-python application/x-python-code
text/x-perl application/x-perl
text/x-ruby application/x-ruby
text/x-msdos-batch application/bat application/x-bat
text/vcard text/x-vcard text/directory
application/xml text/xml
application/json text/json application/x-json
application/x-ndjson application/jsonl application/jsonlines application/x-jsonlines
image/x-tga image/tga image/x-targa
audio/x-matroska audio/matroska
video/x-m4v video/m4v
application/msword application/vnd.ms-word
application/vnd.ms-excel application/msexcel application/x-msexcel
application/vnd.ms-powerpoint application/mspowerpoint
text/markdown text/x-markdown
application/yaml text/yaml text/x-yaml application/x-yaml
"""


def _rows(table: str) -> dict[str, tuple[str, ...]]:
    return {name: tuple(rest) for name, *rest in map(str.split, table.strip().splitlines())}


_ENDINGS = _rows(_FOUND)
FOUND = frozenset(_ENDINGS)
"""Every type that `sniff` can return."""
_ENDINGS.update(_rows(_DECLARED))
_ALIASES = {
    alias: name
    for name, *aliases in map(str.split, _OTHER_NAMES.strip().splitlines())
    for alias in aliases
}

_OOXML = "application/vnd.openxmlformats-officedocument."
_TEMPLATES = ("document.macroenabled.12", "sheet.macroenabled.12", "presentation.macroenabled.12")
_PARENTS = {
    "application/x-tgsticker": "application/gzip",
    "application/java-archive": "application/zip",
    "application/vnd.android.package-archive": "application/java-archive",
    "application/json": "text/plain",
    "application/x-ndjson": "text/plain",
    "application/xml": "text/plain",
    "application/postscript": "text/plain",
    "application/yaml": "text/plain",
    "application/toml": "text/plain",
    "application/x-subrip": "text/plain",
    "image/heic": "image/heif",
    "image/avif": "image/heif",
    "application/msword": "application/x-ole-storage",
    "application/vnd.ms-excel": "application/x-ole-storage",
    "application/vnd.ms-powerpoint": "application/x-ole-storage",
    "application/vnd.ms-outlook": "application/x-ole-storage",
    "application/x-msi": "application/x-ole-storage",
    "audio/x-ms-wma": "video/x-ms-asf",
    "video/x-ms-wmv": "video/x-ms-asf",
}

_MP4 = (
    "audio/mp4",
    "video/quicktime",
    "video/3gpp",
    "video/3gpp2",
    "audio/3gpp",
    "audio/3gpp2",
    "video/x-m4v",
)
# Bytes that are found to be the first may as well be any of the others: the container is the same, and
# what is in it is not told by its head.
_MAY_BE = {
    "video/mp4": _MP4,
    "audio/mp4": ("video/mp4",),
    "video/quicktime": ("audio/quicktime",),
    "video/3gpp": ("audio/3gpp",),
    "video/3gpp2": ("audio/3gpp2",),
    "audio/ogg": ("video/ogg", "application/ogg", "audio/opus"),
    "video/ogg": ("audio/ogg", "application/ogg"),
    "application/ogg": ("audio/ogg", "video/ogg", "audio/opus"),
    "video/webm": ("audio/webm", "video/x-matroska", "audio/x-matroska"),
    "video/x-matroska": ("audio/x-matroska", "video/webm", "audio/webm"),
    "image/heif": ("image/heic", "image/avif"),
    "text/html": ("text/markdown",),  # may begin with it, and is not run as HTML
    "application/xml": ("text/markdown",),
}
_RECOGNISABLE = FOUND | {name for others in _MAY_BE.values() for name in others}

_NAME = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,126}/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}")

# What opens with a click, and runs: never a fitting name for plain text.
_ACTIVE = frozenset(
    {
        "text/html",
        "text/javascript",
        "text/x-php",
        "text/x-shellscript",
        "text/x-python",
        "text/x-perl",
        "text/x-ruby",
        "text/x-msdos-batch",
        "image/svg+xml",
    }
)


def essence(content_type: str) -> str:
    """Return the type alone: lower case, without parameters, by the one name used here.

    >>> essence("Audio/Ogg; codecs=opus"), essence("image/jpg"), essence("audio/x-wav")
    ('audio/ogg', 'image/jpeg', 'audio/wav')
    """
    name = content_type.partition(";")[0].strip().lower()
    return _ALIASES.get(name, name)


def is_name(name: str) -> bool:
    """Return whether it is written as a type must be (RFC 6838 section 4.2), in lower case."""
    return _NAME.fullmatch(name) is not None


def extension(content_type: str) -> str:
    """Return the usual file extension of the type, with its dot; empty for an unknown type.

    >>> extension("image/jpeg"), extension("application/x-unheard-of")
    ('.jpg', '')
    """
    endings = _ENDINGS.get(essence(content_type))
    return endings[0] if endings else ""


def extensions(content_type: str) -> frozenset[str]:
    """Return every file extension that fits the type; none for an unknown type.

    A `.docx` fits a ZIP archive, since it is one, and `.m4a` fits what is only known to be MP4. What
    runs when it is opened (`.html`, `.js`, `.sh`, …) does not fit plain text.

    >>> sorted(extensions("image/jpg"))
    ['.jfif', '.jpe', '.jpeg', '.jpg']
    """
    name = essence(content_type)
    return _fitting(name) if name in _ENDINGS else frozenset()


@cache
def _fitting(name: str) -> frozenset[str]:
    active = _ACTIVE - {name}
    fitting = [it for it in _ENDINGS if it not in active and may_be(name, it)]
    return frozenset(ending for it in fitting for ending in _ENDINGS[it])


def may_be(found: str, said: str) -> bool:
    """Return whether bytes found to be `found` may be `said`: that itself, a special case, or a twin."""
    if said == found or said in _MAY_BE.get(found, ()) or found in ancestors(said):
        return True
    # Other languages begin with the same words as JavaScript, and few shebangs are known here.
    return found in ("text/javascript", "text/x-script") and said.startswith("text/x-")


def ancestors(name: str) -> tuple[str, ...]:
    """Return what the type is a special case of, the nearest first, `application/octet-stream` last.

    >>> ancestors("application/rss+xml")
    ('application/xml', 'text/plain', 'application/octet-stream')
    """
    above = _parent(name)
    return (above, *ancestors(above)) if above else ()


def recognisable(name: str) -> bool:
    """Return whether `sniff` would have found something in bytes of the type."""
    return name in _RECOGNISABLE or not FOUND.isdisjoint(ancestors(name))


def _parent(name: str) -> str:
    if above := _PARENTS.get(name):
        return above
    if name.startswith((_OOXML, "application/vnd.oasis.opendocument.")) or name.endswith("+zip"):
        return "application/zip"
    if name.endswith(_TEMPLATES):
        return "application/zip"
    if name.endswith("+xml"):
        return "application/xml"
    if name.endswith("+json"):
        return "application/json"
    if name.startswith("text/") and name != "text/plain":
        return "text/plain"
    return OCTETS if name and name != OCTETS else ""
