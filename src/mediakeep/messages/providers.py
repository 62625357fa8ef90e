"""What each provider takes: formats, sizes, numbers, and the roles that may hold media. One table.

The figures are those of the providers' own pages, read in November 2026; `source` names the page of
each. Where a page leaves open what a size counts, it is taken to count base64, the stricter reading.
Make a copy with other figures for another host of the same models:

>>> from dataclasses import replace
>>> on_bedrock = replace(PROVIDERS["anthropic"], image_bytes=5 * 2**20)
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from mediakeep.intake.types import essence
from mediakeep.messages.shapes import kind_of

ANYTHING = frozenset({"*/*"})


@dataclass(frozen=True, slots=True)
class Provider:
    """What one API takes in one request. Sizes are bytes of base64; None means no limit is known."""

    name: str
    families: frozenset[str]
    """The shapes that are the provider's own."""
    types: frozenset[str]
    """The content types it takes, each spelled as it is to be written."""
    image_bytes: int | None = None
    """For one image; where none is known, one may take half of a request."""
    image_edge: int | None = None
    """The most pixels along the longer side."""
    many_images: int | None = None
    """From more images than this on, `many_images_edge` holds."""
    many_images_edge: int | None = None
    max_images: int | None = None
    animated: bool = True
    """Whether it takes a GIF that moves."""
    file_bytes: int | None = None
    """For a medium that is no image."""
    request_bytes: int | None = None
    roles: frozenset[str] | None = None
    """The roles whose messages may hold media; None for any."""
    source: Mapping[str, str] = field(default_factory=dict)
    """Where the figures are from."""

    @property
    def gives_back(self) -> bool:
        """Whether every shape gets back just what it had."""
        return self.types == ANYTHING

    @property
    def most_image_bytes(self) -> int | None:
        """The most bytes of base64 of one image."""
        half = None if self.request_bytes is None else self.request_bytes // 2
        return half if self.image_bytes is None else self.image_bytes

    @property
    def image_types(self) -> frozenset[str]:
        """The formats of images among `types`, in their usual spelling."""
        return frozenset(essence(it) for it in self.types if kind_of(it) == "image")

    def spelled(self, content_type: str) -> str | None:
        """Return how the provider spells a content type, or None if it does not take it."""
        if self.gives_back:
            return content_type
        if content_type in self.types:
            return content_type
        return next((it for it in sorted(self.types) if essence(it) == essence(content_type)), None)


_WEB_IMAGES = ("image/jpeg", "image/png", "image/gif", "image/webp")
_TEXTS = ("text/plain", "text/html", "text/css", "text/csv", "text/markdown", "application/xml")

_OPENAI_IMAGES = "Images and vision (developers.openai.com/api/docs/guides/images-vision)"
_OPENAI_FILES = "File inputs (developers.openai.com/api/docs/guides/file-inputs)"
_OPENAI_REQUEST = (
    f"{_OPENAI_IMAGES}: 512 MB since April 2026, 50 MB before; {_OPENAI_FILES}: 50 MB for all files "
    "together. Requests of many images were still refused at 50 MB in September 2026, counted on "
    "OpenAI's own copies: 46.5 MB passed, 49.3 MB did not"
)
_CLAUDE = "Vision (platform.claude.com/docs/en/build-with-claude/vision)"
_GEMINI = "File input methods (ai.google.dev/gemini-api/docs/file-input-methods)"

_OPENAI = Provider(
    name="openai",
    families=frozenset({"openai"}),
    types=frozenset({*_WEB_IMAGES, "audio/wav", "audio/mpeg", "application/pdf"}),
    max_images=1_500,
    animated=False,
    file_bytes=50_000_000,
    request_bytes=46_000_000,
    roles=frozenset({"user"}),
    source=MappingProxyType(
        {
            "types": f"{_OPENAI_IMAGES}: PNG, JPEG, WEBP, non-animated GIF; {_OPENAI_FILES}: Chat "
            "Completions takes PDF only; the API reference of input_audio: wav, mp3",
            "max_images": _OPENAI_IMAGES,
            "file_bytes": f"{_OPENAI_FILES}: each under 50 MB",
            "request_bytes": _OPENAI_REQUEST,
            "roles": "the API reference: only a user message has parts that are not text",
        }
    ),
)

_OPENAI_RESPONSES = Provider(
    name="openai-responses",
    families=frozenset({"openai-responses"}),
    types=frozenset(
        {
            *_WEB_IMAGES,
            *_TEXTS,
            "application/pdf",
            "application/json",
            "application/rtf",
            "text/rtf",
            "application/msword",
            "application/vnd.ms-excel",
            "application/vnd.ms-powerpoint",
            "application/vnd.oasis.opendocument.text",
            "application/vnd.openxmlformats-officedocument.presentationml.presentation",
            "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
            "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        }
    ),
    max_images=1_500,
    animated=False,
    file_bytes=50_000_000,
    request_bytes=46_000_000,
    roles=frozenset({"user", "system", "developer"}),
    source=MappingProxyType(
        {
            "types": f"{_OPENAI_IMAGES}; {_OPENAI_FILES}: the full list of accepted file types",
            "max_images": _OPENAI_IMAGES,
            "file_bytes": f"{_OPENAI_FILES}: each under 50 MB",
            "request_bytes": _OPENAI_REQUEST,
            "roles": "the API reference: an assistant's message has output_text and refusal only",
        }
    ),
)

_ANTHROPIC = Provider(
    name="anthropic",
    families=frozenset({"anthropic"}),
    types=frozenset({*_WEB_IMAGES, "application/pdf", "text/plain"}),
    image_bytes=10 * 2**20,
    image_edge=8_000,
    many_images=20,
    many_images_edge=2_000,
    max_images=100,
    request_bytes=32 * 2**20,
    roles=frozenset({"user"}),
    source=MappingProxyType(
        {
            "types": f"{_CLAUDE}: JPEG, PNG, GIF, WebP; PDF support (platform.claude.com/docs/en/"
            "build-with-claude/pdf-support): PDF; text as a document of plain text",
            "image_bytes": f"{_CLAUDE}: 10 MB of base64, refused above 10,485,760; 5 MB until 2026, and "
            "still so on Amazon Bedrock and Google Cloud",
            "image_edge": f"{_CLAUDE}: 8000 px",
            "many_images_edge": f"{_CLAUDE}: 2000 px in a request of more than 20 images",
            "max_images": f"{_CLAUDE}: 100 for models with a context of 200k tokens, 600 for others",
            "request_bytes": "API overview, request size limits "
            "(platform.claude.com/docs/en/api/overview): 32 MB",
            "roles": "the Messages API: images and documents in user messages and their tool results",
        }
    ),
)

_GOOGLE = Provider(
    name="gemini",
    families=frozenset({"gemini"}),
    types=frozenset(
        {
            *("image/jpeg", "image/png", "image/webp", "image/heic", "image/heif"),
            *(
                "audio/wav",
                "audio/mp3",
                "audio/mpeg",
                "audio/aiff",
                "audio/aac",
                "audio/ogg",
                "audio/flac",
            ),
            *("video/mp4", "video/mpeg", "video/mov", "video/quicktime", "video/avi", "video/x-flv"),
            *("video/webm", "video/wmv", "video/3gpp"),
            *("application/pdf", "application/json", "text/rtf", "text/xml", *_TEXTS),
        }
    ),
    file_bytes=50_000_000,
    request_bytes=100_000_000,
    source=MappingProxyType(
        {
            "types": "Image, audio, video and document understanding (ai.google.dev/gemini-api/docs/"
            "image-understanding, audio, video-understanding, document-processing)",
            "file_bytes": f"{_GEMINI}: 50 MB for PDFs",
            "request_bytes": f"{_GEMINI}: 100 MB inline since 8 January 2026, 20 MB before (some pages "
            "of Google's still say so)",
        }
    ),
)

_DATA_URL = Provider(
    name="data-url",
    families=frozenset(
        {"openai", "openai-responses", "anthropic", "anthropic-url", "gemini", "mcp", "langchain"}
    ),
    types=ANYTHING,
)

PROVIDERS: Mapping[str, Provider] = MappingProxyType(
    {it.name: it for it in (_OPENAI, _OPENAI_RESPONSES, _ANTHROPIC, _GOOGLE, _DATA_URL)}
)
"""The providers that `inline` knows by name."""


def provider_of(provider: str | Provider) -> Provider:
    """Return the provider of that name, or the one given.

    Raises:
        ValueError: there is none of that name.
    """
    if isinstance(provider, Provider):
        return provider
    try:
        return PROVIDERS[provider]
    except KeyError:
        raise ValueError(
            f"{provider!r} is no provider: use one of {', '.join(PROVIDERS)}, or a Provider of your own"
        ) from None
